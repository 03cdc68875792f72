"""
Read Events in the order of their indexes, from segments that may be growing, and say what is missing.

No lock is needed beside a writer. A block that is seen may not be durable yet: who signs, or promises anything,
says up to which index it is.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass

from kubewitness._kit.files import Directory, Reader
from kubewitness.keep.seal.leaf import Kept
from kubewitness.keep.store.errors import DamagedError
from kubewitness.keep.store.scan import Found, Stop, block_at, end_of, name_of, segments_in, walk
from kubewitness.keep.store.segment import END, Block, decode_block


@dataclass(frozen=True, slots=True)
class Lost:
    """Events [first, end) that should be there and cannot be read: in which file, from which byte on."""

    first: int
    end: int
    segment: str
    offset: int


@dataclass(frozen=True, slots=True)
class Record:
    """One Event of a store."""

    index: int
    kept: Kept
    received_ns: int
    source: str
    identity: bytes | None = None
    """The keyed identity, of an Event of which something was never written."""


def records(block: Block) -> Iterator[Record]:
    """Give the Events of a block, one by one."""
    index = block.first
    for commit in block.commits:
        for number, kept in enumerate(commit.events):
            yield Record(index, kept, commit.received_ns, commit.source, commit.identities.get(number))
            index += 1


class Tail:
    """A place in a store, from which what has come is read again and again."""

    def __init__(self, directory: Directory, index: int = 0, at: tuple[int, int] | None = None) -> None:
        """Begin with the block that holds Event `index`, which the first one read may begin before.

        `at` is the `position` that another Tail had at this index, which saves the way there.
        """
        self.index = index
        self._directory = directory
        self._segment = -1
        self._offset = 0
        self._wanted = index
        if at is not None and self._is_right(*at):
            self._segment, self._offset = at

    @property
    def position(self) -> tuple[int, int]:
        """Where the block of Event `index` begins, or will: the first index of its segment, and the byte in it."""
        return self._segment, self._offset

    def _is_right(self, segment: int, offset: int) -> bool:
        """Whether a block of Event `index`, or the end of what was written, is there: segments may be made anew."""
        try:
            file = self._directory.open(name_of(segment))
        except FileNotFoundError:
            return False
        try:
            if offset == file.size():
                return end_of(file.read_at, offset) is None
            found = block_at(file.read_at, offset, file.size())
            return found is not None and found.start.first == self.index
        finally:
            file.close()

    def poll(self, until: int | None = None) -> Iterator[Block | Lost]:
        """Give the blocks that are there and were not given yet; only those that end at or before `until`."""
        while True:
            firsts = segments_in(self._directory.names())
            if self._segment < 0 and not self._enter(firsts):
                return
            following = next((first for first in firsts if first > self._segment), None)
            try:
                file = self._directory.open(name_of(self._segment))
            except FileNotFoundError:
                if following is None:
                    return
                yield from self._leave(following)
                continue
            try:
                is_held = yield from self._read(file, following, until)
            finally:
                file.close()
            if is_held or following is None:
                return
            yield from self._leave(following)

    def _enter(self, firsts: list[int]) -> bool:
        """Find the segment to begin with."""
        if not firsts:
            return False
        self._segment = max((first for first in firsts if first <= self._wanted), default=firsts[0])
        self.index = min(self._segment, self._wanted)
        return True

    def _leave(self, following: int) -> Iterator[Lost]:
        if self.index < following:
            yield Lost(self.index, following, name_of(self._segment), self._offset)
            self.index = following
        self._segment, self._offset = following, 0

    def _read(self, file: Reader, following: int | None, until: int | None) -> Generator[Block | Lost, None, bool]:
        """Read on in one segment; tell whether a block had to be left because of `until`."""
        size = file.size()
        while True:
            resume: Found | None = None
            for step in walk(file.read_at, size, self._offset):
                if isinstance(step, Stop):
                    resume = step.next
                    break
                if step.start.kind == END or (following is not None and step.start.end > following):
                    return False
                if until is not None and step.start.end > until:
                    return True
                yield from self._take(file, step)
            if resume is None or (following is not None and resume.start.end > following):
                return False
            yield Lost(self.index, resume.start.first, name_of(self._segment), self._offset)
            self.index, self._offset = resume.start.first, resume.offset

    def _take(self, file: Reader, found: Found) -> Iterator[Block | Lost]:
        start, name = found.start, name_of(self._segment)
        if start.first < self.index:
            raise DamagedError(f"{name}, byte {found.offset}: a block of Event {start.first} follows {self.index}")
        if start.first > self.index:
            yield Lost(self.index, start.first, name, found.offset)
        self.index, self._offset = start.end, found.after
        if start.end <= self._wanted and start.count:
            return
        try:
            yield decode_block(file.read_at(found.offset, start.length))
        except DamagedError:
            yield Lost(start.first, start.end, name, found.offset)


def read_blocks(directory: Directory, begin: int = 0, end: int | None = None) -> Iterator[Block | Lost]:
    """Give the blocks that hold Events of [begin, end), as far as they are there now."""
    for part in Tail(directory, begin).poll():
        if end is not None and part.first >= end:
            return
        yield part
