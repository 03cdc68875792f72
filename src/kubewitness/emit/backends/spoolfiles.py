"""
A queue on disk: items are appended, read in their order, and let go of once they are delivered.

`Spool` keeps segment files `<number>.spool` of framed items and a file `cursor` that says what was delivered. After a
crash everything synced is there again; what was let go of shortly before may be read once more. A torn end of a
segment is passed over, its bytes are in `lost_bytes`. Not thread-safe; clocks, threads and networks are `spool`'s.

A frame is a length and a CRC-32 of the item, both 4 bytes little-endian, then the item.
"""

import contextlib
import json
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kubewitness._kit.files import Appender, Directory, read_whole, write_lightly

SEGMENT_BYTES = 8 * 1024 * 1024
_FRAME = struct.Struct("<II")
_SUFFIX = ".spool"
_DIGITS = 20
_CURSOR = "cursor"
_LOCK = "lock"


class SpoolFullError(Exception):
    """What is to be kept does not fit."""


@dataclass(slots=True)
class _Segment:
    """One file: where its whole frames end, and how many of them there are."""

    number: int
    end: int = 0
    items: int = 0

    @property
    def name(self) -> str:
        return f"{self.number:0{_DIGITS}}{_SUFFIX}"


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Between two items: the segment, and the offset in it."""

    segment: int
    offset: int


class Spool:
    """The queue in one directory, which nobody else may use meanwhile. Raises BlockingIOError and OSError."""

    def __init__(self, directory: Directory, max_bytes: int, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._lock = directory.lock(_LOCK)
        self._file: Appender | None = None
        self._syncing: Appender | None = None
        self._is_dirty = False
        self.lost_bytes = 0
        names = directory.names()
        self._cursor = self._read_cursor(names)
        numbers = [int(name.removesuffix(_SUFFIX)) for name in names if _is_segment(name)]
        # a number is never used twice, whatever became of its file
        self._next = max([*numbers, self._cursor.segment, 0]) + 1
        self._segments: list[_Segment] = []
        for number in numbers:
            segment = _Segment(number)
            if number < self._cursor.segment:
                directory.remove(segment.name)
            else:
                self._scan(segment)
                self._segments.append(segment)
        self._delivered_items = self._count_before_cursor()

    def _read_cursor(self, names: Sequence[str]) -> Position:
        if _CURSOR in names:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                found = json.loads(read_whole(self._directory, _CURSOR))
                return Position(int(found["segment"]), int(found["offset"]))
        return Position(0, 0)

    def _scan(self, segment: _Segment) -> None:
        """Find where the whole frames of a segment end."""
        file = self._directory.open(segment.name)
        try:
            size, at = file.size(), 0
            while (frame := _frame_at(file.read_at, at, size)) is not None:
                at += _FRAME.size + len(frame)
                segment.items += 1
            segment.end = at
            self.lost_bytes += size - at
        finally:
            file.close()

    def _count_before_cursor(self) -> int:
        """Count the items of the first segment that were delivered; the cursor may be beyond its end, too."""
        if not self._segments or self._segments[0].number != self._cursor.segment:
            return 0
        segment = self._segments[0]
        if self._cursor.offset > segment.end:
            self._cursor = Position(segment.number, segment.end)
        file = self._directory.open(segment.name)
        try:
            at = count = 0
            while at < self._cursor.offset and (frame := _frame_at(file.read_at, at, segment.end)) is not None:
                at += _FRAME.size + len(frame)
                count += 1
        finally:
            file.close()
        return count

    @property
    def waiting(self) -> int:
        """How many items were not let go of."""
        return sum(segment.items for segment in self._segments) - self._delivered_items

    @property
    def used_bytes(self) -> int:
        """How much of the disk the items take that were not let go of."""
        passed = self._cursor.offset if self._segments and self._segments[0].number == self._cursor.segment else 0
        return sum(segment.end for segment in self._segments) - passed

    def append(self, items: Sequence[bytes]) -> None:
        """Keep these items, all or none. Raises SpoolFullError, OSError."""
        data = b"".join(_FRAME.pack(len(item), zlib.crc32(item)) + item for item in items)
        if self.used_bytes + len(data) > self._max_bytes:
            raise SpoolFullError(f"the spool is full: {self.used_bytes} of {self._max_bytes} bytes wait")
        segment = self._open()
        file = self._file
        assert file is not None  # noqa: S101  _open() has made it
        try:
            file.append(data)
        except OSError:
            # what is half there must not come before what comes next
            self._abandon()
            raise
        segment.end += len(data)
        segment.items += len(items)
        self._is_dirty = True

    def sync(self) -> None:
        """Make what was appended last. Raises OSError; then nothing is known of what was appended since the last."""
        if self._file is not None and self._is_dirty:
            try:
                self._file.sync()
            except OSError:
                self._abandon()
                raise
            self._is_dirty = False

    def begin_sync(self) -> Appender | None:
        """Give the file whose sync the caller makes, while others may append; then `end_sync` must follow."""
        if self._file is None or not self._is_dirty:
            return None
        self._is_dirty = False
        self._syncing = self._file
        return self._file

    def end_sync(self, *, is_failed: bool) -> None:
        """Take the file back; after an error nothing more is written to it."""
        file, self._syncing = self._syncing, None
        if file is not None and file is not self._file:
            file.close()
        elif is_failed:
            self._abandon()

    def read(self, max_items: int, max_bytes: int) -> tuple[list[bytes], Position]:
        """Give the first items that were not let go of, one at least if there is one, and where they end."""
        items: list[bytes] = []
        position, size = self._cursor, 0
        for segment in self._segments:
            if segment.number < position.segment:
                continue
            if segment.number > position.segment:
                position = Position(segment.number, 0)
            file = self._directory.open(segment.name)
            try:
                while len(items) < max_items and (not items or size < max_bytes):
                    frame = _frame_at(file.read_at, position.offset, segment.end)
                    if frame is None:
                        break
                    items.append(frame)
                    size += len(frame)
                    position = Position(segment.number, position.offset + _FRAME.size + len(frame))
            finally:
                file.close()
            if len(items) >= max_items or size >= max_bytes:
                break
        return items, position

    def release(self, position: Position, items: int) -> None:
        """Let go of what was read up to there, so many items."""
        self._cursor = position
        self._delivered_items += items
        text = json.dumps({"segment": position.segment, "offset": position.offset}).encode()
        # a cursor that a crash takes away costs a second delivery, and never an item
        write_lightly(self._directory, _CURSOR, text)
        while self._segments and self._is_passed(self._segments[0]):
            segment = self._segments.pop(0)
            self._delivered_items -= segment.items
            self._directory.remove(segment.name)

    def _is_passed(self, segment: _Segment) -> bool:
        is_written = self._file is not None and segment is self._segments[-1]
        at_end = segment.number == self._cursor.segment and self._cursor.offset >= segment.end
        return not is_written and (segment.number < self._cursor.segment or at_end)

    def close(self) -> None:
        """Sync what is there and let others in."""
        try:
            self.sync()
        finally:
            if self._file is not None:
                self._file.close()
            self._lock.close()
            self._directory.close()

    def _open(self) -> _Segment:
        if self._file is not None and self._segments[-1].end >= self._segment_bytes:
            self.sync()
            self._abandon()
        if self._file is None:
            segment = _Segment(self._next)
            self._next += 1
            self._file = self._directory.create(segment.name)
            self._segments.append(segment)
            try:
                self._directory.sync()
            except OSError:
                self._abandon()
                raise
        return self._segments[-1]

    def _abandon(self) -> None:
        file, self._file = self._file, None
        self._is_dirty = False
        # who is syncing it closes it afterwards
        if file is not None and file is not self._syncing:
            file.close()


def _is_segment(name: str) -> bool:
    return name.endswith(_SUFFIX) and name.removesuffix(_SUFFIX).isdecimal() and len(name) == _DIGITS + len(_SUFFIX)


def _frame_at(read_at: Callable[[int, int], bytes], offset: int, end: int) -> bytes | None:
    """Give the item whose frame begins there; None where no whole frame is."""
    head = read_at(offset, _FRAME.size)
    if len(head) < _FRAME.size or offset + _FRAME.size > end:
        return None
    length, checksum = _FRAME.unpack(head)
    # an empty item does not exist: a row of zeros, as a crash leaves it, is no frame
    if not length or offset + _FRAME.size + length > end:
        return None
    item = read_at(offset + _FRAME.size, length)
    return item if len(item) == length and zlib.crc32(item) == checksum else None
