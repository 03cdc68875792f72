"""
Find Events of a store by their index, without reading what stands before them.

A segment is walked by the heads of its blocks, some fifty bytes each; only the blocks that are wanted are read, and
their checksums tested. Where the chain of heads breaks, the segment is read through as `reader` does.
"""

import bisect
from collections.abc import Iterator, Sequence

from kubewitness._kit.files import Directory, Reader
from kubewitness.keep.store.errors import DamagedError
from kubewitness.keep.store.reader import Lost, Record, read_blocks, records
from kubewitness.keep.store.scan import name_of, segments_in
from kubewitness.keep.store.segment import EVENTS, START_BYTES, Block, decode_block, read_start


class Finder:
    """Finds Events in the segments of one store, which may be growing."""

    def __init__(self, segments: Directory) -> None:
        self._segments = segments
        self._heads: dict[int, list[tuple[int, int, int]]] = {}

    def find(self, indexes: Sequence[int]) -> Iterator[Record | None]:
        """Give the Events with these indexes, which ascend; None for one that cannot be read."""
        block: Block | None = None
        block_records: list[Record] = []
        for index in indexes:
            if block is None or not block.first <= index < block.end:
                block = self._block(index)
                block_records = list(records(block)) if block is not None else []
            yield block_records[index - block.first] if block is not None else None

    def _block(self, index: int) -> Block | None:
        firsts = segments_in(self._segments.names())
        at = bisect.bisect_right(firsts, index)
        if not at:
            return None
        segment = firsts[at - 1]
        for is_fresh in (False, True):
            try:
                block = self._read(segment, index, is_fresh=is_fresh)
            except (DamagedError, FileNotFoundError):
                block = None
            if block is not None:
                return block
        return self._search(index)

    def _read(self, segment: int, index: int, *, is_fresh: bool) -> Block | None:
        """Read the block of an index where the heads say it is."""
        file = self._segments.open(name_of(segment))
        try:
            heads = self._heads.get(segment)
            if heads is None or is_fresh:
                heads = self._heads[segment] = list(_heads(file))
            at = bisect.bisect_right(heads, index, key=lambda head: head[0]) - 1
            if at < 0:
                return None
            _, offset, length = heads[at]
            block = decode_block(file.read_at(offset, length))
        finally:
            file.close()
        return block if block.first <= index < block.end else None

    def _search(self, index: int) -> Block | None:
        for part in read_blocks(self._segments, index, index + 1):
            if not isinstance(part, Lost) and part.first <= index < part.end:
                return part
        return None


def _heads(file: Reader) -> Iterator[tuple[int, int, int]]:
    """Give first index, offset and length of each block that has Events, as far as the heads lead."""
    offset, size = 0, file.size()
    while offset < size:
        start = read_start(file.read_at(offset, START_BYTES))
        if start is None:
            return
        if start.kind == EVENTS and start.count:
            yield start.first, offset, start.length
        offset += start.length
