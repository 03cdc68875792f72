"""
Find the lines of files that hold one of some texts, at the speed of memory.

`LineSearch` runs in processes of its own, one a processor, while this one goes on; they take pieces of the files from
a common list until it is empty. A file is mapped, and a piece looked through for one text after the other, while it is
in the processor's cache; alone in its automaton, a text is searched for as `rg` does it, with vector instructions.
Processes, because Python lets one thread at a time run, and because somebody who cuts a mapped file short kills who
reads it: a helper, then, and the answer is that nothing could be found out.

Loaded before anything else is (`cli/ahead.py`), so it imports little.
"""

import mmap
import os
import warnings

from ahocorasick_rs import BytesAhoCorasick

from kubewitness._kit.descriptors import processors, write_all

Span = tuple[int, int]
"""Offset of the first byte of a line, and of that after its end."""
Texts = tuple[tuple[bytes, ...], tuple[bytes, ...]]
r"""What is looked for: texts, and beginnings of escapes (`\u00`, `\u006`), of which harmless ones do not count."""

PIECE_BYTES = 4 << 20
MOST_BYTES = 64 << 20  # of lines found in one file; beyond, reading everything is as good
_MOST_PIECES = 1 << 14
_MOST_WORKERS = 4
_PLACE_BYTES = 8
_NEWLINE, _ESCAPE = b"\n", b"\\u00"
# escapes of what is no printable ASCII, and of `<`, `>` and `&`, which Go writes and needles know
_HARMLESS = frozenset(b"%02x" % code for code in range(256) if not 0x20 <= code <= 0x7E) | {b"3c", b"3e", b"26"}
_END = b"end\n"


class Finder:
    """Finds lines in a buffer."""

    def __init__(self, buffer: bytes | mmap.mmap, texts: Texts) -> None:
        plain, escapes = texts
        self._buffer = buffer
        self._view = memoryview(buffer)
        self._searches = [(BytesAhoCorasick([text]), text in escapes) for text in (*plain, *escapes)]

    def lines(self, start: int, end: int) -> list[Span]:
        """Give the candidates between the beginning of a line and the end of one, in order."""
        buffer, piece = self._buffer, self._view[start:end]
        spans: dict[int, int] = {}
        for search, is_escape in self._searches:
            for _, at, _ in search.find_matches_as_indexes(piece):
                hit = start + at
                digits = hit + len(_ESCAPE)
                if not (is_escape and buffer[digits : digits + 2] in _HARMLESS):
                    spans[buffer.rfind(_NEWLINE, start, hit) + 1 or start] = buffer.find(_NEWLINE, hit, end) + 1 or end
        return sorted(spans.items())

    def line_start(self, at: int) -> int:
        """Give where the first line begins that begins at this offset or behind it."""
        if at == 0:
            return 0
        size = len(self._buffer)
        return self._buffer.find(_NEWLINE, at - 1) + 1 or size if at < size else size


class LineSearch:
    """A search that has begun."""

    def __init__(self, files: list[tuple[str, Texts]]) -> None:
        self._files = files
        self._running: dict[int, int] = {}  # process: where it answers
        self._found: list[list[Span] | None] | None = None
        sizes = [os.stat(path).st_size for path, _ in files]  # noqa: PTH116 - pathlib costs start-up
        self._piece_bytes = max(PIECE_BYTES, sum(sizes) // _MOST_PIECES)
        pieces = [(number, at) for number, size in enumerate(sizes) for at in range(0, size, self._piece_bytes)]
        self._places: int | None = _shared(pieces)
        self._places_bytes = 2 * _PLACE_BYTES * len(pieces)
        self._most = min(processors(), _MOST_WORKERS, len(pieces))
        for _ in range(max(1, self._most - 1) if pieces else 0):
            self._fork()

    def _fork(self) -> None:
        reading, writing = os.pipe()
        parent = os.getpid()
        try:
            with warnings.catch_warnings():
                # Python warns of threads, whose locks a fork leaves taken; the helper takes none
                warnings.simplefilter("ignore", DeprecationWarning)
                process = os.fork()
        except OSError:
            os.close(reading)
            os.close(writing)
            return
        if process:
            os.close(writing)
            self._running[process] = reading
            return
        try:
            self._help(parent, writing, self._places or 0)
        finally:
            os._exit(0)  # whatever happened: the answer has its end, or has not

    def _help(self, parent: int, answer: int, places: int) -> None:
        """Search pieces until none is left or the program has gone, and say what was found."""
        held = [0] * len(self._files)
        found = [bytearray() for _ in self._files]
        open_file, finder = -1, None
        while (place := os.read(places, 2 * _PLACE_BYTES)) and os.getppid() == parent:
            number, at = (int.from_bytes(place[i : i + _PLACE_BYTES], "little") for i in (0, _PLACE_BYTES))
            if number != open_file:
                open_file, finder = number, _mapped(*self._files[number])
            if finder is None or held[number] > MOST_BYTES:
                continue
            for first, last in finder.lines(finder.line_start(at), finder.line_start(at + self._piece_bytes)):
                held[number] += last - first
                found[number] += b"%d %d %d\n" % (number, first, last)
        for number, lines in enumerate(found):
            write_all(answer, bytes(lines) if held[number] <= MOST_BYTES else b"%d 0 %d\n" % (number, MOST_BYTES + 1))
        write_all(answer, _END)

    def result(self) -> list[list[Span] | None]:
        """Wait for it; give the lines of each file in order, None for a file with too many or that was not read."""
        if self._found is None:
            found: list[set[Span]] = [set() for _ in self._files]  # sets: no row twice, whoever searched
            if self._running and len(self._running) < self._most and self.fraction < 1:
                self._fork()
            is_whole = bool(self._running) or not any(os.stat(path).st_size for path, _ in self._files)  # noqa: PTH116
            for process in list(self._running):
                answer = _read(self._running[process])
                self._reap(process)
                is_whole = is_whole and answer.endswith(_END)
                for line in answer.removesuffix(_END).splitlines():
                    number, first, last = map(int, line.split())
                    found[number].add((first, last))
            self._close_places()
            self._found = [
                sorted(spans) if is_whole and sum(last - first for first, last in spans) <= MOST_BYTES else None
                for spans in found
            ]
        return self._found

    @property
    def fraction(self) -> float:
        """How far it is, 0 to 1: who takes a piece moves on in the list of all."""
        places = self._places
        try:
            return 1 if places is None else os.lseek(places, 0, os.SEEK_CUR) / self._places_bytes
        except (OSError, ZeroDivisionError):  # just closed; or there is nothing to search
            return 1

    def close(self) -> None:
        """Stop what still runs."""
        for process in list(self._running):
            try:  # noqa: SIM105 - contextlib costs start-up
                os.kill(process, 9)
            except ProcessLookupError:
                pass
            self._reap(process)
        self._close_places()

    def _close_places(self) -> None:
        places, self._places = self._places, None
        if places is not None:
            os.close(places)

    def _reap(self, process: int) -> None:
        os.close(self._running.pop(process))
        try:  # noqa: SIM105
            os.waitpid(process, 0)
        except ChildProcessError:  # who started us may ignore the ends of processes, and so do we
            pass


def _mapped(path: str, texts: Texts) -> Finder:
    with open(path, "rb") as file:  # noqa: PTH123
        return Finder(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), texts)


def _shared(pieces: list[tuple[int, int]]) -> int:
    """Give a file of numbers: who reads it takes the next ones, whichever process it is.

    Linux lets processes take turns at the place of a file that was opened, but not of one that memfd_create gave.
    """
    data = b"".join(number.to_bytes(_PLACE_BYTES, "little") for piece in pieces for number in piece)
    try:
        made = os.memfd_create("kubewitness")
        try:
            places = os.open(f"/proc/self/fd/{made}", os.O_RDWR)
        finally:
            os.close(made)
    except (AttributeError, OSError):  # not Linux, or forbidden
        import tempfile

        with tempfile.TemporaryFile(buffering=0) as file:
            places = os.dup(file.fileno())
    write_all(places, data)
    os.lseek(places, 0, os.SEEK_SET)
    return places


def _read(fd: int) -> bytes:
    parts = []
    while part := os.read(fd, 1 << 16):
        parts.append(part)
    return b"".join(parts)
