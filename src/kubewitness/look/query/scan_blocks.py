"""
Streams in blocks: what cannot be read where it stands is laid out in memory files, one block after another.

A block holds whole lines. While the engine reads one, a thread fills the next, so that decompression takes the time of
one core and parsing that of the others. A line too long for the engine is handed out by itself.
"""

import os
import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kubewitness._kit.opening import CHUNK_BYTES, TornError

BLOCK_BYTES = 32 << 20  # each costs the engine some 15 ms to begin with
LONG_LINE_BYTES = 24 << 20  # DuckDB's buffer is 32 MiB, and a block may begin with the rest of a line
SHORT_LINE_BYTES = 1 << 20  # a chunk, at least: what stands within one is not measured
_FILES = 2


class BlockFiles:
    """Memory files whose paths are known before the engine is locked down."""

    def __init__(self) -> None:
        *self.fds, self.rescue_fd, self.lengths_fd = (
            os.memfd_create("kubewitness", os.MFD_CLOEXEC) for _ in range(_FILES + 2)
        )
        self.paths = {fd: f"/proc/self/fd/{fd}" for fd in (*self.fds, self.rescue_fd, self.lengths_fd)}

    def close(self) -> None:
        """Give the memory back."""
        for fd in self.paths:
            os.close(fd)
        self.paths = {}

    def write(self, fd: int, pieces: Iterable[bytes]) -> None:
        """Make these bytes the content of a file."""
        at = 0
        for piece in pieces:
            view = memoryview(piece)
            while view:
                written = os.pwrite(fd, view, at)
                at, view = at + written, view[written:]
        os.ftruncate(fd, at)

    def read(self, fd: int) -> Iterator[bytes]:
        """Give the content of a file in chunks."""
        at = 0
        while chunk := os.pread(fd, CHUNK_BYTES, at):
            yield chunk
            at += len(chunk)


@dataclass(frozen=True, slots=True)
class Block:
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
    offset, line = 0, 1
    for pieces in _pieces(chunks):
        length, lines = sum(map(len, pieces)), sum(piece.count(b"\n") for piece in pieces)
        if lines <= 1 and length > LONG_LINE_BYTES:
            yield Block(offset, line, lines, long_line=b"".join(pieces))
        else:
            fd = free.get()
            if stopped.is_set():
                return
            has_end = pieces[-1].endswith(b"\n")
            files.write(fd, pieces if has_end else [*pieces, b"\n"])  # without it the engine gives the last line first
            yield Block(offset, line, lines, fd, has_short_lines=_are_short(pieces))
        offset, line = offset + length, line + lines


def _are_short(pieces: Iterable[bytes]) -> bool:
    """Say whether no line can be long: one that is would leave little room for line ends between two of its own."""
    since = 0
    for piece in pieces:
        end = piece.find(b"\n")
        if since + (len(piece) if end < 0 else end) > SHORT_LINE_BYTES or len(piece) > SHORT_LINE_BYTES:
            return False
        since = since + len(piece) if end < 0 else len(piece) - piece.rfind(b"\n")
    return True


def _pieces(chunks: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Give the pieces of some whole lines, or of one long line. What was read before an error is given first."""
    ready: list[bytes] = []  # whole lines
    begun: list[bytes] = []  # a line whose end has not come
    ready_bytes = begun_bytes = 0
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
            if ready:
                yield ready
            yield [*begun, chunk[:end]]
            ready, ready_bytes, chunk = [], 0, chunk[end:]
        else:
            ready += begun
            ready_bytes += begun_bytes
        cut = chunk.rfind(b"\n") + 1
        if cut:
            ready.append(chunk[:cut])
        ready_bytes += cut
        begun, begun_bytes = [chunk[cut:]], len(chunk) - cut
        if ready_bytes >= BLOCK_BYTES:
            yield ready
            ready, ready_bytes = [], 0
    if begun_bytes > LONG_LINE_BYTES and ready:
        yield ready
        ready = []
    if ready_bytes or begun_bytes:
        yield [*ready, *begun]
    if error is not None:
        raise error
