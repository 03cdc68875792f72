"""
Read the leaves of a store out of its segments: bundles of them, in order, and what cannot be read.

The usual segment, in which every block is sound, is read in pieces that other processes can take; from where a piece
is not, the careful reader goes on and says which Events are missing. Both give the same leaves.
"""

import hashlib
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, field

import msgspec

from kubewitness._kit.files import Directory, DiskDirectory, Reader
from kubewitness.keep.seal import merkle
from kubewitness.keep.seal.errors import LeafError
from kubewitness.keep.seal.leaf import LEAF_BYTES, LEAF_VERSION
from kubewitness.keep.seal.leaf_cut import GROUP_NAMES, Group
from kubewitness.keep.store.crew import Crew
from kubewitness.keep.store.errors import DamagedError
from kubewitness.keep.store.reader import Lost, read_blocks
from kubewitness.keep.store.scan import block_at, name_of, segments_in
from kubewitness.keep.store.segment import END, END_BYTES, START_BYTES, Block, decode_block, read_start
from kubewitness.keep.store.tree import block_commitments

ENTRY_BYTES = 2 + LEAF_BYTES
PIECE_EVENTS = 4096
_AHEAD = 8
_LEAD = LEAF_BYTES.to_bytes(2) + bytes((LEAF_VERSION,))
_HASHED = b"\x00" + bytes((LEAF_VERSION,))
_PATIENCE_S = 0.25


@dataclass(frozen=True, slots=True)
class Leaves:
    """The leaves of Events from index `first` on: as a bundle holds them, and their hashes, end to end."""

    first: int
    bundle: bytes
    hashes: bytes
    lacking: Mapping[str, int] = field(default_factory=dict)
    """How many of these Events lack what, by words for it: `requestObject redacted`, `event expired`."""

    @property
    def end(self) -> int:
        """The index after the last."""
        return self.first + len(self.hashes) // merkle.HASH_BYTES


@dataclass(frozen=True, slots=True)
class Odd:
    """Events [first, end) that were read and cannot be what their evidence says; or a file that cannot be read."""

    first: int
    end: int
    segment: str
    what: str
    is_lost: bool = False


@dataclass(frozen=True, slots=True)
class Surplus:
    """What does not count in a segment, from byte `offset` on: torn, left by a failed write, added, or no end."""

    first: int
    segment: str
    offset: int
    what: str
    is_behind_the_end: bool = False


Part = Leaves | Lost | Odd | Surplus
Read = Callable[[Directory], Iterator[Part]]


@dataclass(frozen=True, slots=True)
class _Piece:
    """Blocks of a segment that follow each other: Events [first, end) in its bytes [begin, stop)."""

    segment: int
    first: int
    end: int
    begin: int
    stop: int


def leaves_of(first: int, commitments: Sequence[bytes], lacking: Mapping[str, int]) -> Leaves:
    """Put the leaves of these commitments end to end, and their hashes: what `merkle.leaf_hash` gives."""
    sha256 = hashlib.sha256
    bundle = _LEAD.join((b"", *commitments))
    return Leaves(first, bundle, b"".join([sha256(_HASHED + of).digest() for of in commitments]), lacking)


def lacking_in(block: Block) -> Counter[str]:
    """Count what was removed from the Events of a block."""
    found: Counter[str] = Counter()
    for commit in block.commits:
        for kept in commit.events:
            if kept.tombstone is not None:
                found[f"event {kept.tombstone.state.name.lower()}"] += 1
            if kept.removed:
                for group, gone in kept.removed.items():
                    found[f"{GROUP_NAMES[Group(group)]} {gone.state.name.lower()}"] += 1
    return found


def read_leaves(directory: Directory) -> Iterator[Part]:
    """Read a store in this process. Raises DamagedError for blocks out of order, OSError."""
    yield from _Walk(directory, lambda piece: _Done(_read_piece(directory, piece))).parts()


@contextmanager
def in_processes(path: str, workers: int) -> Iterator[Read]:
    """Give what reads the segments at `path` with the help of other processes, for as long as the context lasts."""

    def work(task: Sequence[int]) -> bytes | None:
        leaves = _read_piece(segments, _Piece(*task))
        return None if leaves is None else _pack(leaves)

    with DiskDirectory.at(path) as segments, Crew(work, workers, len(astuple(_Piece(0, 0, 0, 0, 0)))) as crew:
        yield lambda directory: _Walk(directory, lambda piece: _Begun(crew, piece), workers + _AHEAD).parts()


class _Begun:
    """A piece that another process reads."""

    def __init__(self, crew: Crew, piece: _Piece) -> None:
        self._crew = crew
        self._first = piece.first
        self._number = crew.begin((piece.segment, piece.first, piece.end, piece.begin, piece.stop))

    def result(self) -> Leaves | None:
        """Wait for its leaves."""
        data = self._crew.take(self._number)
        return None if data is None else _unpack(self._first, data)


def _pack(leaves: Leaves) -> bytes:
    count = len(leaves.hashes) // merkle.HASH_BYTES
    return b"".join((count.to_bytes(8), leaves.bundle, leaves.hashes, msgspec.json.encode(leaves.lacking)))


def _unpack(first: int, data: bytes) -> Leaves:
    begin = 8 + int.from_bytes(data[:8]) * ENTRY_BYTES
    end = begin + int.from_bytes(data[:8]) * merkle.HASH_BYTES
    return Leaves(first, data[8:begin], data[begin:end], msgspec.json.decode(data[end:], type=dict[str, int]))


def _read_piece(directory: Directory, piece: _Piece) -> Leaves | None:
    """Read a piece; None when anything in it is not as it should be."""
    try:
        file = directory.open(name_of(piece.segment))
    except OSError:
        return None
    commitments: list[bytes] = []
    lacking: Counter[str] = Counter()
    offset = piece.begin
    try:
        while offset < piece.stop:
            start = read_start(file.read_at(offset, START_BYTES))
            if start is None or start.first != piece.first + len(commitments):
                return None
            block = decode_block(file.read_at(offset, start.length))
            commitments += block_commitments(block)
            lacking += lacking_in(block)
            offset += start.length
    except (DamagedError, LeafError, OSError):
        return None
    finally:
        file.close()
    is_whole = piece.first + len(commitments) == piece.end
    return leaves_of(piece.first, commitments, lacking) if is_whole else None


class _Done:
    """A result that is there already, with the face of one to be waited for."""

    def __init__(self, leaves: Leaves | None) -> None:
        self._leaves = leaves

    def result(self) -> Leaves | None:
        """Give it."""
        return self._leaves


class _Walk:
    """One way through the segments of a store."""

    def __init__(self, directory: Directory, begin: Callable[[_Piece], _Begun | _Done], ahead: int = 1) -> None:
        self._directory = directory
        self._begin = begin
        self._ahead = ahead
        self._firsts = segments_in(directory.names())
        self._surplus: Surplus | None = None

    def parts(self) -> Iterator[Part]:
        if self._firsts and self._firsts[0]:
            yield Lost(0, self._firsts[0], name_of(self._firsts[0]), 0)
        for first, following in zip(self._firsts, [*self._firsts[1:], None], strict=False):
            index = yield from self._sound(first, following)
            if index != following:
                yield from self._careful(index, following)
            surplus = self._take_surplus()
            if surplus and (following is not None or self._stays(surplus)):
                yield surplus

    def _sound(self, first: int, following: int | None) -> Generator[Part, None, int]:
        """Give what is sound from the beginning of a segment on; return the index after it."""
        begun: deque[tuple[_Piece, _Begun | _Done]] = deque()
        index = first
        for piece in self._pieces(first, following):
            begun.append((piece, self._begin(piece)))
            if len(begun) >= self._ahead:
                leaves = begun.popleft()[1].result()
                if leaves is None:
                    return index
                yield leaves
                index = leaves.end
        for _, result in begun:
            leaves = result.result()
            if leaves is None:
                return index
            yield leaves
            index = leaves.end
        return index

    def _pieces(self, first: int, following: int | None) -> Generator[_Piece, None, None]:
        """Cut a segment into pieces by what the heads of its blocks say, as far as they follow each other."""
        with suppress(OSError):  # the careful reader says what is wrong
            file = self._directory.open(name_of(first))
            try:
                self._surplus = yield from _cut(file, first, following)
            finally:
                file.close()

    def _take_surplus(self) -> Surplus | None:
        surplus, self._surplus = self._surplus, None
        return surplus

    def _stays(self, surplus: Surplus) -> bool:
        """Look again at the end of the last segment: what is being written becomes a block, or grows."""
        with suppress(OSError):
            file = self._directory.open(surplus.segment)
            try:
                size = file.size()
                time.sleep(_PATIENCE_S)
                grown = file.size()
                found = block_at(file.read_at, surplus.offset, grown)
                is_block = found is not None and found.start.first == surplus.first
                return surplus.is_behind_the_end or (grown == size and not is_block)
            finally:
                file.close()
        return False

    def _careful(self, begin: int, following: int | None) -> Iterator[Part]:
        """Read on from an index, block by block, and say what is missing."""
        index = begin
        try:
            for part in read_blocks(self._directory, begin, following):
                if part.end <= begin:
                    continue
                index = part.end
                if isinstance(part, Lost):
                    yield Lost(max(part.first, begin), part.end, part.segment, part.offset)
                else:
                    yield self._leaves_of_block(part)
        except OSError as exc:
            # a link or a pipe in the place of a file, or a disk that does not give it
            segment = name_of(max((first for first in self._firsts if first <= index), default=index))
            yield Odd(index, max(following or index, index), segment, f"cannot be read: {exc.strerror}", is_lost=True)

    def _leaves_of_block(self, block: Block) -> Part:
        try:
            return leaves_of(block.first, list(block_commitments(block)), lacking_in(block))
        except LeafError as exc:
            segment = max((first for first in self._firsts if first <= block.first), default=block.first)
            return Odd(block.first, block.end, name_of(segment), str(exc))


def _cut(file: Reader, first: int, following: int | None) -> Generator[_Piece, None, Surplus | None]:
    """Cut a segment into pieces; return what of it belongs to none."""
    size = file.size()
    begin = offset = 0
    index = end = first
    is_ended = False
    while start := read_start(file.read_at(offset, START_BYTES)):
        fits = offset + start.length <= size and (following is None or start.end <= following)
        if start.kind == END:
            is_ended = start.first == end and block_at(file.read_at, offset, size) is not None
            break
        if start.first != end or not fits:
            break
        end, offset = start.end, offset + start.length
        if end - index >= PIECE_EVENTS:
            yield _Piece(first, index, end, begin, offset)
            index, begin = end, offset
    if end > index:
        yield _Piece(first, index, end, begin, offset)
    if is_ended and offset + END_BYTES == size:
        return None
    if offset == size:
        # the last segment is still being written
        return (
            None if following is None else Surplus(end, name_of(first), offset, "the end of the segment is not there")
        )
    rest = size - offset - (END_BYTES if is_ended else 0)
    what = f"{rest} bytes from byte {size - rest} on belong to no Event"
    return Surplus(end, name_of(first), size - rest, what, is_ended)
