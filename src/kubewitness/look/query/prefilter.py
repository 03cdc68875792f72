r"""
Find the few lines of a log that can match, without parsing the others.

`shared_needles(filter_)` gives texts of which a line holds one if its Event matches, or if the answer is unknown, and
so does every later stage of its request: only fields that the stages share are used. `Picks` finds the lines while the
engine gets ready: with `rg` where there is one, else with the C library's `memmem` in two threads. Lines that may hide
a text behind an escape that Go does not write (`\u0073ecrets`, `\/`) are candidates too, so what is found is exact;
what is not looked at is damage elsewhere, and the account says so.
"""

import ctypes
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from kubewitness._kit.opening import Compression
from kubewitness.event.derive import expand
from kubewitness.event.expr import And, Expr, paths
from kubewitness.event.expr_logic import disjunction, nullness, simplify, truth
from kubewitness.event.filter import PLAIN, needles
from kubewitness.look.query.relation import FILLED_LATER, SAME_IN_EVERY_STAGE
from kubewitness.look.query.source import Input

T = TypeVar("T")
Needles: TypeAlias = frozenset[bytes]
"""Alternatives: at least one of them is in the line."""

_SHARED = SAME_IN_EVERY_STAGE | FILLED_LATER
_MOST_ALTERNATIVES = 8

_CHUNK_BYTES = 4 << 20
_SAMPLE_BYTES = 1 << 18
_SELECTIVE = 0.04  # of the lines of the sample; with more candidates parsing everything is as fast
_MOST_BYTES = 64 << 20  # of candidates held in memory

_ESCAPE, _SLASH = b"\\u00", b"\\/"
# escapes of what is no printable ASCII, and of `<`, `>` and `&`, which Go writes and needles know
_HARMLESS = frozenset(b"%02x" % code for code in range(256) if not 0x20 <= code <= 0x7E) | {b"3c", b"3e", b"26"}


# --- which texts -----------------------------------------------------------------------------------------------


def shared_needles(filter_: Expr, *, joins_stages: bool) -> list[Needles]:
    """Give sets of texts, each of which is enough to find every line that may matter; none where nothing is certain."""
    whole = _wanted(filter_)
    parts = [*(whole.parts if isinstance(whole, And) else (whole,))]
    if isinstance(filter_, And):  # what is true or unknown of the whole is so of each part
        parts += map(_wanted, filter_.parts)
    found = [
        group
        for part in parts
        if not joins_stages or paths(part) <= _SHARED
        for group in needles(part, with_unknown=False)
        if len(group) <= _MOST_ALTERNATIVES and all(text.isascii() for text in group)
    ]
    return list(dict.fromkeys(found))


def _wanted(filter_: Expr) -> Expr:
    expanded = expand(filter_)
    return simplify(disjunction((truth(expanded), nullness(expanded))), PLAIN)


# --- where they stand ------------------------------------------------------------------------------------------


class TooManyError(Exception):
    """So many lines are candidates that reading everything is as good."""


def choose(path: str, groups: Sequence[Needles]) -> Needles | None:
    """Give the alternatives that are rarest in the first bytes of a file; None when none is rare."""
    with Path(path).open("rb") as file:
        sample = bytearray(file.read(_SAMPLE_BYTES))
    if not sample or not groups:
        return None
    lines = sample.count(b"\n") or 1
    counts = [(sum(1 for _ in _Finder(group).lines(sample, len(sample))), -min(map(len, group))) for group in groups]
    best = min(range(len(groups)), key=counts.__getitem__)
    return groups[best] if counts[best][0] <= _SELECTIVE * lines else None


def candidates(path: str, group: Needles, running: "_Running | None" = None) -> list[tuple[int, bytes]]:
    """Give offset and bytes of every line that may hold one of the needles, in order. Raises TooManyError."""
    program = shutil.which("rg")
    if program is not None and (found := _search_with_rg(program, path, group, running)) is not None:
        return found
    middle = os.stat(path).st_size // 2  # noqa: PTH116
    later = _Task(lambda: _search(path, group, middle, None))
    return [*_search(path, group, 0, middle), *later.result()]


class _Task(Generic[T]):
    """Something done in a thread of its own, which ends with the program."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._thread = threading.Thread(target=self._run, name="prefilter", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value = self._work()
        except Exception as exc:  # noqa: BLE001 - whoever asks for the result gets it
            self._error: Exception | None = exc
        else:
            self._error = None

    def result(self) -> T:
        """Wait for it and give what came of it."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._value


class _Running:
    """The program that searches now, if any, so that it can be stopped."""

    process: "subprocess.Popen[bytes] | None" = None
    is_over = False


class Picks:
    """The candidate lines of inputs, searched for in the background, one input after the other."""

    def __init__(self, inputs: Iterable[Input], groups: Sequence[Needles]) -> None:
        self._running = _Running()
        paths = [one.path for one in inputs if one.is_lines and one.compression is Compression.NONE]
        self._found: dict[str, list[tuple[int, bytes]] | None] = {}
        self._is_done = {path: threading.Event() for path in paths if groups}
        self._task = _Task(lambda: self._search(groups))

    def _search(self, groups: Sequence[Needles]) -> None:
        try:
            for path, is_done in self._is_done.items():
                if self._running.is_over:
                    return
                self._found[path] = _pick(path, groups, self._running)
                is_done.set()
        finally:
            for is_done in self._is_done.values():
                is_done.set()

    def take(self, one: Input) -> list[tuple[int, bytes]] | None:
        """Give offset and bytes of the lines to be parsed; None when every line is to be."""
        if one.path not in self._is_done:
            return None
        self._is_done[one.path].wait()
        if one.path not in self._found:
            self._task.result()  # raises what went wrong
        return self._found.get(one.path)

    def close(self) -> None:
        """Let what has not begun be, and stop what has."""
        self._running.is_over = True
        if self._running.process is not None:
            self._running.process.kill()


class Picker:
    """Searches of some inputs, each begun once: what a question begins, the next one about the same has already."""

    def __init__(self, inputs: Sequence[Input]) -> None:
        self._inputs = inputs
        self._picks: dict[tuple[Expr, bool], Picks | None] = {}

    def begin(self, filter_: Expr, *, joins_stages: bool) -> Picks | None:
        """Search for the lines that a filter needs; None where no text is certain to be in them."""
        key = (filter_, joins_stages)
        if key not in self._picks:
            groups = shared_needles(filter_, joins_stages=joins_stages)
            self._picks[key] = Picks(self._inputs, groups) if groups else None
        return self._picks[key]

    def close(self) -> None:
        """Stop all searches."""
        for picks in self._picks.values():
            if picks is not None:
                picks.close()


def _pick(path: str, groups: Sequence[Needles], running: _Running) -> list[tuple[int, bytes]] | None:
    group = choose(path, groups)
    if group is None:
        return None
    try:
        return candidates(path, group, running)
    except TooManyError:
        return None


def _search_with_rg(
    program: str, path: str, group: Needles, running: _Running | None
) -> list[tuple[int, bytes]] | None:
    """Let `rg` search; None when it cannot."""
    pattern = b"|".join(re.escape(needle) for needle in sorted(group))
    pattern += rb"|\\u00(?:2[0-57-9a-fA-F]|3[0-9abdfABDF]|[4-7][0-9a-fA-F])"
    if any(b"/" in needle for needle in group):
        pattern += rb"|\\/"
    # no configuration, no guessing of encodings, no Unicode: bytes in, bytes out, each line with its offset
    options = [
        "--no-config",
        "-a",
        "--encoding",
        "none",
        "--no-unicode",
        "-b",
        "-N",
        "--no-filename",
        "--color",
        "never",
    ]
    with subprocess.Popen(  # noqa: S603 - the program is what the user calls rg, the path follows --
        [program, *options, "-e", pattern, "--", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        if running is not None:
            running.process = process
        found, held = [], 0
        assert process.stdout is not None  # noqa: S101 - it was asked for
        for answer in process.stdout:
            offset, _, line = answer.partition(b":")
            held += len(line)
            if held > _MOST_BYTES:
                process.kill()
                raise TooManyError
            found.append((int(offset), line))
    if running is not None:
        running.process = None
    return found if process.returncode in {0, 1} else None


def _search(path: str, group: Needles, start: int, end: int | None) -> list[tuple[int, bytes]]:
    """Search the lines that begin in this span; None is the end of the file."""
    end = sys.maxsize if end is None else end
    finder = _Finder(group)
    found: list[tuple[int, bytes]] = []
    held = 0
    buffer = bytearray(_CHUNK_BYTES)
    with Path(path).open("rb", buffering=0) as file:
        at = _line_start(file.fileno(), start)
        while at < end:
            filled = os.preadv(file.fileno(), [buffer], at)
            if not filled:
                break
            is_last = filled < len(buffer)
            whole = filled if is_last else buffer.rfind(b"\n", 0, filled) + 1
            if not whole:  # a line longer than the buffer
                buffer = bytearray(2 * len(buffer))
                continue
            for first, last in finder.lines(buffer, whole):
                if at + first >= end:
                    break
                found.append((at + first, bytes(buffer[first:last])))
                held += last - first
                if held > _MOST_BYTES // 2:
                    raise TooManyError
            at += whole
    return found


def _line_start(fd: int, at: int) -> int:
    """Give the first line start at or after this offset."""
    if at == 0:
        return 0
    at -= 1
    while chunk := os.pread(fd, 1 << 16, at):
        cut = chunk.find(b"\n") + 1
        if cut:
            return at + cut
        at += len(chunk)
    return at


class _Finder:
    """Finds lines with needles in a buffer."""

    def __init__(self, group: Needles) -> None:
        self._needles = [*sorted(group), _ESCAPE]
        if any(b"/" in needle for needle in group):
            self._needles.append(_SLASH)

    def lines(self, buffer: bytearray, length: int) -> Iterator[tuple[int, int]]:
        """Give start and end (after the line end) of each candidate line, in order."""
        spans: dict[int, int] = {}
        for needle in self._needles:
            self._collect(buffer, length, needle, spans)
        return iter(sorted(spans.items()))

    @staticmethod
    def _collect(buffer: bytearray, length: int, needle: bytes, spans: dict[int, int]) -> None:
        at = 0
        while (hit := find(buffer, needle, at, length)) >= 0:
            if needle is _ESCAPE and bytes(buffer[hit + 4 : hit + 6]).lower() in _HARMLESS:
                at = hit + 6
                continue
            end = buffer.find(b"\n", hit, length) + 1 or length
            spans[buffer.rfind(b"\n", 0, hit) + 1] = end
            at = end


def _memmem() -> "ctypes._NamedFuncPointer | None":
    try:
        function = ctypes.CDLL(None).memmem
    except (OSError, AttributeError):  # not a C library that has it
        return None
    function.restype = ctypes.c_void_p
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    return function


_MEMMEM = _memmem()


def find(buffer: bytearray, needle: bytes, start: int, end: int) -> int:
    """Give where the needle stands first, -1 for nowhere: bytearray.find, but without the interpreter's lock."""
    if _MEMMEM is None or start >= end:
        return buffer.find(needle, start, end)
    view = (ctypes.c_char * len(buffer)).from_buffer(buffer)
    base = ctypes.addressof(view)
    hit = _MEMMEM(base + start, end - start, needle, len(needle))
    return -1 if hit is None else hit - base
