"""
Walk through a segment: which blocks are sound, where it stops, and whether anything sound comes after that.

Pure: bytes are asked for by offset. What a stop means (still being written, torn, damage) is the caller's to say.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from kubewitness.keep.store.segment import (
    END,
    END_BYTES,
    MAGIC,
    SKIPPABLE,
    START_BYTES,
    Start,
    is_sound,
    read_start,
)

ReadAt = Callable[[int, int], bytes]
"""Gives so many bytes from an offset; fewer where the file ends."""

SEGMENTS = "segments"
"""The directory of them in a log."""

_NAME = re.compile(r"([0-9]{20})\.zst")
_SEARCH_BYTES = 1 << 22


@dataclass(frozen=True, slots=True)
class Found:
    """A sound block or end, and where it lies."""

    offset: int
    start: Start

    @property
    def after(self) -> int:
        """The offset after it."""
        return self.offset + self.start.length


@dataclass(frozen=True, slots=True)
class Stop:
    """Bytes that are no sound block, and where the next sound one begins, if there is one."""

    offset: int
    next: Found | None


def name_of(first: int) -> str:
    """Give the name of the segment that begins with an index."""
    return f"{first:020}.zst"


def first_of(name: str) -> int | None:
    """Give the index with which the segment of this name begins; None for another file."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


def segments_in(names: Iterable[str]) -> list[int]:
    """Give the first indexes of the segments among some names, ascending."""
    return sorted(first for name in names if (first := first_of(name)) is not None)


def block_at(read_at: ReadAt, offset: int, size: int) -> Found | None:
    """Give the sound block or end that begins here and ends within `size`."""
    start = read_start(read_at(offset, START_BYTES))
    if start is None or offset + start.length > size or not is_sound(read_at(offset, start.length), start):
        return None
    return Found(offset, start)


def end_of(read_at: ReadAt, size: int) -> int | None:
    """Give the index after the last Event of a finished segment; None if it is not finished."""
    if size < END_BYTES:
        return None
    found = block_at(read_at, size - END_BYTES, size)
    return found.start.first if found and found.start.kind == END else None


def walk(read_at: ReadAt, size: int, offset: int = 0) -> Iterator[Found | Stop]:
    """Give what lies in the first `size` bytes from an offset on, up to the first stop."""
    while offset < size:
        found = block_at(read_at, offset, size)
        if found is None:
            yield Stop(offset, _search(read_at, offset + 1, size))
            return
        yield found
        offset = found.after


def _search(read_at: ReadAt, offset: int, size: int) -> Found | None:
    """Find the next sound block."""
    lead = len(SKIPPABLE) + 4
    while offset < size:
        data = read_at(offset, min(_SEARCH_BYTES, size - offset))
        at = data.find(MAGIC)
        while at >= 0:
            if at >= lead and data[at - lead : at - lead + 4] == SKIPPABLE:
                found = block_at(read_at, offset + at - lead, size)
                if found is not None:
                    return found
            at = data.find(MAGIC, at + 1)
        # so that what lies across two pieces is seen whole in the second
        offset += max(len(data) - lead - len(MAGIC), 1)
    return None
