"""
Turn source arguments (files, directories, `-`) into the ordered list of inputs to read.

Each input is recognised by its content: how it is packed, and whether it holds one Event a line, which an engine
can read as it stands, or another shape, which goes through `event.split`. A directory gives the logs in it, rotated
ones included, ordered by the time inside them, not by name: clocks and rotation schemes differ.
Pipes are spooled to an unlinked file of mode 0600, as a question may need two passes.
"""

import os
import stat
import sys
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from kubewitness._kit import lazy
from kubewitness._kit.opening import Compression, TornError, compression_of, read_chunks
from kubewitness.look.query.spill import naming_place

if TYPE_CHECKING:
    from pathlib import Path

STDIN = "-"
_HEAD_BYTES = 1 << 18  # what is looked at to recognise an input
_TAIL_BYTES = 1 << 16  # a last line that is longer than this is taken to be whole until it is read
# a number or a date may follow, as logrotate writes: audit.log.1, audit.log-20261123
_LOG_NAME = lazy.pattern(r"(?!\.).*\.(?:log|json|jsonl|ndjson)(?:[.-]\d[\d.:TZ_-]*)?(?:\.(?:gz|zst|zstd))?")
_ROTATED_BY_APISERVER = lazy.pattern(r".*-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}(?:\.[^.]+)?")
_BOM = b"\xef\xbb\xbf"


class SourceError(Exception):
    """A source argument that cannot be read; the text names it and says why."""


class Input(msgspec.Struct, frozen=True):
    """One input: how people call it, where its bytes are, and what they look like."""

    name: str
    path: str
    compression: Compression
    size_bytes: int
    is_lines: bool
    """It begins as one JSON object a line does."""
    is_clean_at_ends: bool
    """The first and the last line are whole, so that there may be no damage at all."""
    has_line_end: bool
    """The last byte of a file that is not packed ends a line."""
    spool: BinaryIO | None = None
    """Keeps the spooled bytes of a pipe alive."""
    is_store: bool = False
    """It is the log of a store, and `path` its directory; `look.query.store` reads it."""

    @property
    def shares_audit_ids(self) -> bool:
        """Two of the first Events have the same auditID: it holds several stages of a request, or one twice."""
        return not self.is_store and _shares_audit_ids(_head(self.path))

    def chunks(self) -> Iterator[bytes]:
        """Give the bytes, decompressed. Raises TornError after what could be read."""
        return read_chunks(self.path)


def find_inputs(sources: Sequence[str]) -> list[Input]:
    """Give the inputs that these arguments name, in order. Raises SourceError."""
    inputs: list[Input] = []
    for source in sources:
        if source != STDIN and os.path.isdir(source):  # noqa: PTH112 - pathlib costs start-up
            inputs += _directory(source)
        else:
            inputs.append(_open(source))
    return inputs


def _directory(named: str) -> list[Input]:
    from pathlib import Path

    folders = os.walk(named, onerror=_refuse)
    is_log = _LOG_NAME().fullmatch
    paths = {Path(folder, name): None for folder, _, names in folders for name in sorted(names) if is_log(name)}
    found = [_open(str(path)) for path in paths if path.is_file() and not _is_being_packed(path, paths)]
    if not found:
        raise SourceError(
            f"{Path(named)}: no file in it is named like a log (*.log, *.json, *.jsonl, *.ndjson, rotated or not, "
            "packed or not)"
        )
    return sorted(found, key=lambda one: (_first_time(one), one.name))


def _is_being_packed(path: "Path", others: Container["Path"]) -> bool:
    """Tell of a rotated file that stands here as it was, too: kube-apiserver packs it, or was cut off when it did."""
    plain = path.with_suffix("")
    return path.suffix == ".gz" and plain in others and _ROTATED_BY_APISERVER().fullmatch(plain.name) is not None


def _refuse(error: OSError) -> None:
    """Refuse a folder that cannot be looked into: what is in it would be missing from the answer, unsaid."""
    raise SourceError(f"{error.filename}: {error.strerror}")


def _open(source: str) -> Input:
    spool = None
    try:
        if source == STDIN:
            path, name = f"/proc/self/fd/{sys.stdin.fileno()}", "standard input"
        else:
            path = name = source
        mode = os.stat(path).st_mode  # noqa: PTH116
        if stat.S_ISDIR(mode):
            raise SourceError(f"{name}: is a directory")
        if not stat.S_ISREG(mode):
            spool = _spool(path)
            path = f"/proc/self/fd/{spool.fileno()}"
        with open(path, "rb") as file:  # noqa: PTH123
            size_bytes = os.fstat(file.fileno()).st_size
            compression = compression_of(file.read(4))
    except OSError as exc:
        raise SourceError(f"{source}: {exc.strerror or exc}") from exc
    head = _head(path)
    is_clean, has_line_end = head[:1] == b"{", False
    if compression is Compression.NONE and size_bytes:
        last, has_line_end = _end(path, size_bytes)
        is_clean = is_clean and last
    return Input(name, path, compression, size_bytes, _is_lines(head), is_clean, has_line_end, spool)


def _spool(path: str) -> BinaryIO:
    import tempfile

    spool: BinaryIO = tempfile.TemporaryFile(prefix="kubewitness-")  # noqa: SIM115 - lives as long as its Input
    with naming_place(), open(path, "rb", buffering=0) as pipe:  # noqa: PTH123
        while chunk := pipe.read(1 << 20):
            spool.write(chunk)
        spool.flush()
    return spool


def _head(path: str) -> bytes:
    head = b""
    try:
        for chunk in read_chunks(path, _HEAD_BYTES):
            head += chunk
            if len(head) >= _HEAD_BYTES:
                break
    except TornError:
        pass  # the reading proper will meet it again and count it
    return head


class _Peek(msgspec.Struct):
    auditID: str | None = None  # noqa: N815 - the wire's name
    stage: str | None = None
    kind: str | None = None
    requestReceivedTimestamp: str | None = None  # noqa: N815
    stageTimestamp: str | None = None  # noqa: N815


_decode = msgspec.json.Decoder(_Peek).decode


def _peek(line: bytes) -> _Peek | None:
    try:
        return _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _lines(head: bytes) -> Iterable[bytes]:
    return (line for line in head.removeprefix(_BOM).split(b"\n") if line.strip())


def _is_lines(head: bytes) -> bool:
    """One Event among the first lines will do; so will nothing at all, and a first line longer than the head.

    A byte order mark is not of an Event's bytes, but the engine passes over it in silence: so that is another shape.
    """
    if head.startswith(_BOM):
        return False
    lines = list(_lines(head))
    if not lines:
        return True
    if len(lines) == 1 and len(head) >= _HEAD_BYTES:
        return lines[0].startswith(b'{"kind":"Event"')
    return any((peek := _peek(line)) is not None and peek.stage is not None for line in lines)


def _end(path: str, size_bytes: int) -> tuple[bool, bool]:
    """Say whether the last line is whole, and whether it has its end."""
    with open(path, "rb") as file:  # noqa: PTH123
        file.seek(max(0, size_bytes - _TAIL_BYTES))
        tail = file.read()
    *before, last = tail.rstrip().split(b"\n")
    return _peek(last) is not None or (not before and size_bytes > _TAIL_BYTES), tail.endswith(b"\n")


def _shares_audit_ids(head: bytes) -> bool:
    ids = [peek.auditID for line in _lines(head) if (peek := _peek(line)) is not None]
    return len(set(ids)) < len(ids)


def _first_time(one: Input) -> str:
    """Text of the first time inside; RFC 3339 in UTC sorts as text at the same precision, which suffices here."""
    for line in _lines(_head(one.path)):
        peek = _peek(line)
        if peek is not None and (time := peek.requestReceivedTimestamp or peek.stageTimestamp):
            return time
    return "9999"
