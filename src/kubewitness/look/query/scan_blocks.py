"""
Streams in blocks: what cannot be read where it stands is laid out in memory files, one block after another.

A block holds whole lines. While the engine reads one, a thread fills the next, so that decompression takes the time of
one core and parsing that of the others. A line too long for the engine is handed out by itself.
"""

import errno
import os
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from kubewitness._kit.opening import CHUNK_BYTES, TornError

if TYPE_CHECKING:
    import queue

_FIRST_BLOCK_BYTES = 8 << 20  # while it is filled the engine has nothing to do; each next one is twice as large
_MOST_BLOCK_BYTES = 96 << 20  # each costs the engine some 15 ms to begin with
LONG_LINE_BYTES = 24 << 20  # DuckDB's buffer is 32 MiB, and a block may begin with the rest of a line
SHORT_LINE_BYTES = 1 << 20  # a chunk, at least: what stands within one is not measured
_SAMPLE_BYTES, _SAMPLE_LINES = 4096, 8
_FILES = 2


def path_of(fd: int) -> str:
    """Give the path at which this process finds an open file."""
    return f"/proc/self/fd/{fd}"


class BlockFiles:
    """Memory files whose paths are known before the engine is locked down."""

    def __init__(self) -> None:
        *self.fds, self.rescue_fd, self.lengths_fd = (
            os.memfd_create("kubewitness", os.MFD_CLOEXEC) for _ in range(_FILES + 2)
        )
        self.paths = {fd: path_of(fd) for fd in (*self.fds, self.rescue_fd, self.lengths_fd)}

    def close(self) -> None:
        """Give the memory back."""
        for fd in self.paths:
            os.close(fd)
        self.paths = {}

    def write(self, fd: int, pieces: Iterable[bytes | memoryview]) -> None:
        """Make these bytes the content of a file."""
        os.ftruncate(fd, self.append(fd, 0, pieces))

    def append(self, fd: int, at: int, pieces: Iterable[bytes | memoryview]) -> int:
        """Put these bytes at this place of a file; give where they end."""
        if not at and not os.path.exists(self.paths[fd]):  # noqa: PTH110 - pathlib costs start-up
            raise FileNotFoundError(
                errno.ENOENT, "is not there, and the engine reads memory files by it", self.paths[fd]
            )
        for piece in pieces:
            view = memoryview(piece)
            while view:
                written = os.pwrite(fd, view, at)
                at, view = at + written, view[written:]
        return at

    def size(self, fd: int) -> int:
        """Give how many bytes a file holds."""
        return os.fstat(fd).st_size

    def read(self, fd: int) -> Iterator[bytes]:
        """Give the content of a file in chunks."""
        at = 0
        while chunk := os.pread(fd, CHUNK_BYTES, at):
            yield chunk
            at += len(chunk)


class Block(msgspec.Struct, frozen=True):
    """Whole lines: in a memory file, or one long line by itself."""

    offset: int
    line: int
    lines: int
    fd: int = -1
    long_line: bytes = b""
    has_short_lines: bool = False
    """None of the lines is longer than SHORT_LINE_BYTES."""


def blocks(chunks: Iterable[bytes], files: BlockFiles) -> Iterator[Block]:
    """Give the stream in blocks. A Block is to be used before the next is asked for; its file is then refilled."""
    import queue
    from concurrent.futures import ThreadPoolExecutor

    free: queue.Queue[int] = queue.Queue()
    full: queue.Queue[Block | None] = queue.Queue()
    for fd in files.fds:
        free.put(fd)
    stopped = threading.Event()

    def fill() -> None:
        try:
            for block in _cut(chunks, free, files, stopped):
                full.put(block)
        finally:
            full.put(None)

    with ThreadPoolExecutor(1, thread_name_prefix="blocks") as pool:
        filling = pool.submit(fill)
        try:
            while (block := full.get()) is not None:
                yield block
                if block.fd >= 0:
                    free.put(block.fd)
            filling.result()  # raises what the thread met
        finally:
            stopped.set()
            free.put(-1)  # a filler that waits for a file is let go


def _cut(
    chunks: Iterable[bytes], free: "queue.Queue[int]", files: BlockFiles, stopped: threading.Event
) -> Iterator[Block]:
    offset, line, fd, wanted = 0, 1, -1, _FIRST_BLOCK_BYTES
    length = lines = 0
    is_short = True
    error: TornError | OSError | None = None
    runs = _runs(chunks)
    while True:
        try:
            run = next(runs, None)
        except (TornError, OSError) as exc:  # what was read before it is given first
            run, error = None, exc
        is_over = run is None or run.is_one_long
        if length and (is_over or length >= wanted):
            os.ftruncate(fd, length)
            yield Block(offset, line, lines, fd, has_short_lines=is_short)
            offset, line, length, lines, is_short = offset + length, line + lines, 0, 0, True
            wanted = min(2 * wanted, _MOST_BLOCK_BYTES)
        if run is None:
            break
        if run.is_one_long:
            whole = b"".join(run.pieces)
            yield Block(offset, line, run.lines, long_line=whole)
            offset, line = offset + len(whole), line + run.lines
            continue
        if not length:
            fd = free.get()
        if stopped.is_set():
            return
        length = files.append(fd, length, run.pieces)
        lines += run.lines
        is_short = is_short and run.longest <= SHORT_LINE_BYTES
    if error is not None:
        raise error


class _Run(NamedTuple):
    """Pieces of some whole lines, or of one long line."""

    pieces: list[bytes | memoryview]
    lines: int
    longest: int
    """No line is longer."""

    @property
    def is_one_long(self) -> bool:
        return self.lines <= 1 and self.longest > LONG_LINE_BYTES


def _runs(chunks: Iterable[bytes]) -> Iterator[_Run]:
    begun: list[bytes | memoryview] = []  # a line whose end has not come
    begun_bytes = 0
    error: TornError | OSError | None = None
    stream = iter(chunks)
    while True:
        try:
            chunk = next(stream, b"")
        except (TornError, OSError) as exc:
            error = exc
            break
        if not chunk:
            break
        end = chunk.find(b"\n") + 1
        if not end:
            begun.append(chunk)
            begun_bytes += len(chunk)
            continue
        if begun_bytes + end > LONG_LINE_BYTES:
            yield _Run([*begun, chunk[:end]], 1, begun_bytes + end)
            begun, begun_bytes, chunk, end = [], 0, chunk[end:], 0
        cut = chunk.rfind(b"\n") + 1
        if cut:
            yield _Run([*begun, memoryview(chunk)[:cut]], _count_ends(chunk), max(begun_bytes + end, cut))
            begun, begun_bytes = [], 0
        if cut < len(chunk):
            begun.append(chunk[cut:])
            begun_bytes += len(chunk) - cut
    if begun_bytes:
        # without its end the engine would give the last line first
        is_long = begun_bytes > LONG_LINE_BYTES
        yield _Run(begun if is_long else [*begun, b"\n"], 0, begun_bytes)
    if error is not None:
        raise error


def _count_ends(chunk: bytes) -> int:
    """Count line ends: where they are far apart, finding one after the other takes a third of the time of `count`."""
    if chunk.count(b"\n", 0, _SAMPLE_BYTES) > _SAMPLE_LINES:
        return chunk.count(b"\n")
    count, at = 0, chunk.find(b"\n")
    while at >= 0:
        count += 1
        at = chunk.find(b"\n", at + 1)
    return count
