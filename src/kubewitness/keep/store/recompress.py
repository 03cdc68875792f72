"""
Write cold segments anew: the same commits in larger blocks, compressed harder. No leaf and no proof changes.

The new file is read back and compared, commit by commit, before it takes the place of the old one in one step; a crash
leaves either. Only finished segments are touched, and none that somebody may still be reading forward in: the caller
says up to which Event everything has been taken in. The store is locked meanwhile.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kubewitness._kit.files import Directory, discard
from kubewitness.keep.store.errors import DamagedError
from kubewitness.keep.store.scan import Stop, end_of, name_of, segments_in, walk
from kubewitness.keep.store.segment import END, Block, Commit, decode_block, encode_block, encode_end

LEVEL = 12
BLOCK_BYTES = 16 << 20
NEW = ".new"
_MOST_COMMITS = 60_000  # a block counts them in two bytes


@dataclass(frozen=True, slots=True)
class Recompressed:
    """A segment that was written anew."""

    first: int
    end: int
    before: int
    after: int


def recompress(segments: Directory, until: int, level: int = LEVEL) -> Iterator[Recompressed]:
    """Write every finished segment below `until` anew that would gain by it. Raises DamagedError, OSError."""
    firsts = segments_in(segments.names())
    for first, following in itertools.pairwise(firsts):
        if following <= until and (done := _recompress(segments, first, following, level)) is not None:
            yield done


def _recompress(segments: Directory, first: int, following: int, level: int) -> Recompressed | None:
    name = name_of(first)
    blocks, size = _read(segments, name, following)
    if blocks is None:
        return None
    data = b"".join([*(encode_block(block, level) for block in blocks), encode_end(following)])
    if len(data) >= size:
        return None
    discard(segments, name + NEW)
    file = segments.create(name + NEW)
    try:
        file.append(data)
        file.sync()
    finally:
        file.close()
    written, _ = _read(segments, name + NEW, following, is_any=True)
    if written is None or _commits(written) != _commits(blocks):
        raise DamagedError(f"{name}{NEW} does not read as {name} does; {name} stays")
    segments.replace(name + NEW, name)
    segments.sync()
    return Recompressed(first, following, size, len(data))


def _read(segments: Directory, name: str, end: int, *, is_any: bool = False) -> tuple[list[Block] | None, int]:
    """Give the commits of a finished segment in large blocks, None if they are so already; and its size."""
    file = segments.open(name)
    try:
        size = file.size()
        if end_of(file.read_at, size) != end:
            return None, size  # not finished, or ended by the next one's name: left as it is
        waiting: list[Commit] = []
        blocks: list[Block] = []
        line_bytes = at = -1
        small = 0
        for step in walk(file.read_at, size):
            if isinstance(step, Stop):
                raise DamagedError(f"{name}, byte {step.offset}: damaged")
            if step.start.kind == END:
                break
            block = decode_block(file.read_at(step.offset, step.start.length))
            at = block.first if at < 0 else at
            small += step.start.line_bytes < BLOCK_BYTES // 2
            if waiting and (line_bytes + step.start.line_bytes > BLOCK_BYTES or len(waiting) > _MOST_COMMITS):
                blocks.append(Block(at, waiting))
                at, waiting, line_bytes = block.first, [], 0
            waiting = [*waiting, *block.commits]
            line_bytes = max(line_bytes, 0) + step.start.line_bytes
        if waiting:
            blocks.append(Block(at, waiting))
    finally:
        file.close()
    return (blocks if small > 1 or is_any else None), size


def _commits(blocks: Sequence[Block]) -> list[tuple[object, ...]]:
    return [
        (
            commit.received_ns,
            commit.source,
            commit.secret,
            list(commit.events),
            dict(commit.identities),
            list(commit.seen),
        )
        for block in blocks
        for commit in block.commits
    ]
