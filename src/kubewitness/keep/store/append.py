"""
Append blocks to segments: written, synced, and only then acknowledged. One writer per store.

A segment whose write or sync failed is never touched again: what was not acknowledged goes to a new one
(after an error of fsync the kernel forgets which pages it did not write). What a crash leaves is `recover`'s.
"""

from collections.abc import Sequence
from contextlib import suppress

from kubewitness._kit.files import Appender, Directory
from kubewitness.keep.store.errors import UnavailableError
from kubewitness.keep.store.scan import name_of
from kubewitness.keep.store.segment import HOT_LEVEL, Block, Commit, encode_block, encode_end

SEGMENT_BYTES = 64 << 20  # what a start after a crash may have to copy


class SegmentWriter:
    """Writes blocks, in the directory of a store that was recovered and is locked."""

    def __init__(
        self, directory: Directory, end: int, segment_bytes: int = SEGMENT_BYTES, level: int = HOT_LEVEL
    ) -> None:
        """Go on after index `end - 1`, in a new segment."""
        self.end = end
        self._directory = directory
        self._limit = segment_bytes
        self._level = level
        self._file: Appender | None = None
        self._first = end
        self._size = 0
        self._void = False  # a segment of the next name was begun and abandoned with nothing good in it

    @property
    def has_events(self) -> bool:
        """Whether the segment being written holds an Event; only then may a block without Events follow."""
        return self._file is not None and self.end > self._first

    def write(self, commits: Sequence[Commit]) -> Block:
        """Write commits as one block; they last when this returns. Raises UnavailableError: none of them counts."""
        block = Block(self.end, commits)
        data = encode_block(block, self._level)
        if self.has_events and self._size + len(data) > self._limit:
            self.finish()
        try:
            self._append(data)
        except OSError as exc:
            self._abandon()
            raise UnavailableError(f"cannot write {name_of(self._first)}: {exc}") from exc
        self._size += len(data)
        self.end = block.end
        return block

    def _append(self, data: bytes) -> None:
        is_new = self._file is None
        if self._file is None:
            self._first, self._size = self.end, 0
            if self._void:
                self._directory.remove(name_of(self.end))
                self._void = False
            self._file = self._directory.create(name_of(self.end))
        self._file.append(data)
        self._file.sync()
        if is_new:
            self._directory.sync()

    def _abandon(self) -> None:
        """Leave the segment with what is known to be good, as far as the disk still obeys."""
        if self._file is None:
            return
        # Whether this succeeds or not, no reader counts what comes after: the next segment's name says so.
        with suppress(OSError):
            self._file.cut(self._size)
        with suppress(OSError):
            self._file.close()
        self._file = None
        self._void = self.end == self._first

    def finish(self) -> None:
        """Write the end of the segment. If that fails it stays unfinished, which the next start mends."""
        if self._file is None:
            return
        try:
            self._file.append(encode_end(self.end))
            self._file.sync()
        except OSError:
            self._abandon()
            return
        self._file.close()
        self._file = None
