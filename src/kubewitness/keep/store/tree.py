"""
Grow the Merkle tree of a store: leaves from its segments, into tiles, under signed heads.

A head is on the disk before anybody can see it, and never two of them are inconsistent. Tiles follow from the
segments: they are written without waiting for the disk, synced now and then, and made again after a crash from where
they were last synced; on the way every head that was signed is met again, or the start is refused.
One process grows a tree. What signs is handed in; serving tiles is left to others.

Follows C2SP tlog-tiles and tlog-checkpoint; docs/reference/formats.md, "Tree".
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field

from kubewitness._kit.files import Directory, read_whole, write_whole
from kubewitness.keep.seal import leaf, merkle, tiles
from kubewitness.keep.seal.checkpoint import Checkpoint, parse_checkpoint
from kubewitness.keep.seal.errors import LeafError, NoteError, TileError
from kubewitness.keep.seal.note import Signer, format_note, parse_note, sign
from kubewitness.keep.store.errors import DamagedError, LockedError
from kubewitness.keep.store.reader import Lost, Tail
from kubewitness.keep.store.segment import Block
from kubewitness.keep.store.tilefiles import TileFiles

HEADS = "heads"
TILES = "tiles"
CHECKPOINT = "checkpoint"
SETTLED = "settled"
LOCK = "seal.lock"
SETTLE_EVENTS = 65_536  # what a start may have to make again; a second of work


def block_leaves(block: Block) -> Iterator[bytes]:
    """Give the entries of a block's Events, in order. Raises LeafError."""
    return map(leaf.leaf, block_commitments(block))


def block_commitments(block: Block) -> Iterator[bytes]:
    """Give the commitments of a block's Events, in order. Raises LeafError."""
    for commit in block.commits:
        if not commit.events:
            continue  # it only notes what came again, and has no salts
        salts = commit.secret.expand(len(commit.events))
        yield from leaf.commitments(commit.events, leaf.envelope(commit.received_ns, commit.source), salts)


def head_sizes(root: Directory) -> list[int]:
    """List the sizes of all heads that were signed, ascending."""
    directory = root.enter(HEADS)
    try:
        return sorted(int(name) for name in directory.names() if name.isdecimal())
    finally:
        directory.close()


def read_head(root: Directory, size: int) -> Checkpoint:
    """Give the head of that size, signatures unchecked. Raises DamagedError for a file that is none."""
    directory = root.enter(HEADS)
    try:
        head = _parse_head(str(size), read_whole(directory, str(size)))
    finally:
        directory.close()
    if head.size != size:
        raise DamagedError(f"{HEADS}/{size} is a head of {head.size} Events")
    return head


def _parse_head(name: str, data: bytes) -> Checkpoint:
    try:
        return parse_checkpoint(parse_note(data).text)
    except NoteError as exc:
        raise DamagedError(f"{HEADS}/{name} is not a head: {exc}") from exc


def check_shown(root: Directory) -> None:
    """Refuse a store that shows a later head than it keeps. Raises DamagedError, OSError.

    A head is kept before it is shown, so one was taken away, and signing on could contradict it.
    """
    with closing(root.enter(TILES)) as directory:
        shown = -1
        with suppress(DamagedError):  # what is no head binds nobody, and is made again
            shown = _shown_size(directory)
    if shown > max(head_sizes(root), default=-1):
        raise DamagedError(f"{TILES}/{CHECKPOINT} is a head of {shown} Events, and {HEADS}/{shown} is not there")


def _shown_size(directory: Directory) -> int:
    """Give the size of the head that others see, -1 for none."""
    if CHECKPOINT not in directory.names():
        return -1
    return _parse_head(CHECKPOINT, read_whole(directory, CHECKPOINT)).size


@dataclass(slots=True)
class _Growth:
    """A tree as far as it is in memory: its edge, and what is new since tiles were written last."""

    frontier: merkle.Frontier
    hashes: dict[int, list[bytes]] = field(default_factory=dict)
    """By tile level, the hashes from the beginning of its last tile that is not full, or was not when written."""
    entries: list[bytes] = field(default_factory=list)


class Tree:
    """The tree of one store. After an OSError take it up again with another `Tree`, which makes new files."""

    def __init__(self, root: Directory, origin: str, signers: Sequence[Signer]) -> None:
        """Take up the tree where its heads say it is. Raises LockedError, DamagedError, OSError.

        To be called with the store recovered. Until it is closed or abandoned no other `Tree` is made of this store:
        a server that was killed may have left a process that seals what is there.
        """
        try:
            self._lock = root.lock(LOCK)
        except BlockingIOError as exc:
            raise LockedError("another process seals this log") from exc
        try:
            self._open(root, origin, signers)
        except BaseException:
            self._lock.close()
            raise

    def _open(self, root: Directory, origin: str, signers: Sequence[Signer]) -> None:
        self.origin = origin
        self._signers = signers
        self._head_directory = root.enter(HEADS)
        self._tile_directory = root.enter(TILES)
        root.sync()
        self._files = TileFiles(self._tile_directory)
        self._settled = self._read_settled()
        check_shown(root)
        sizes = head_sizes(root)
        self.signed_size = max(sizes, default=0)
        """Size of the largest head that was ever signed."""
        self._sizes = [size for size in sizes if size >= self._settled]
        """Of the heads that are held, ascending: those that later leaves could contradict."""
        self._heads = {size: read_head(root, size) for size in self._sizes}
        for size, head in self._heads.items():
            if head.origin != origin:
                raise DamagedError(f"{HEADS}/{size} is a head of {head.origin!r}, not of {origin!r}")
        self._growth = self._take_up(self._settled)
        self._written = self._settled
        segments = root.enter("segments")
        self._tail = Tail(segments, self._settled)
        if self._settled < self.signed_size:
            self._integrate(self.signed_size)
        if self.size < self.signed_size:
            raise DamagedError(f"a head of {self.signed_size} Events was signed, and the store has {self.size}")
        self._write_tiles()

    @property
    def size(self) -> int:
        """How many leaves the tree has."""
        return self._growth.frontier.size

    def head(self) -> Checkpoint:
        """Give the head of the tree as it stands."""
        return Checkpoint(self.origin, self.size, self._growth.frontier.root())

    def grow(self, until: int) -> bytes | None:
        """Take in the Events below `until`, which must be durable, and sign a head; None if there is nothing new.

        Raises DamagedError, OSError; either leaves nothing published that is not on the disk.
        """
        self._integrate(until)
        head = self.head()
        known = self._heads.get(head.size)
        if known is not None and known.root != head.root:
            raise DamagedError(f"another head of {head.size} Events was signed: its root is {known.root.hex()}")
        if known is not None and _shown_size(self._tile_directory) == head.size:
            return None
        self._write_tiles()
        name = str(head.size)
        if known is None:
            data = format_note(sign(head.text(), self._signers))
        else:
            data = read_whole(self._head_directory, name)  # whether it lasts is not known, so it is written again
        # first the head lasts, then others may see it
        write_whole(self._head_directory, name, data)
        if known is None:
            self._sizes.append(head.size)  # all that was signed is met when a tree is taken up, so none is larger
        self._heads[head.size] = head
        self.signed_size = max(self.signed_size, head.size)
        write_whole(self._tile_directory, CHECKPOINT, data)
        if self.size - self._settled >= SETTLE_EVENTS:
            self.settle()
        return data

    def settle(self) -> None:
        """Make all tiles last, so that a start need not make them again."""
        self._files.sync()
        write_whole(self._tile_directory, SETTLED, b"%d\n" % self._written)
        self._settled = self._written
        self._sizes = self._sizes[bisect_left(self._sizes, self._settled) :]
        self._heads = {size: self._heads[size] for size in self._sizes}
        self._files.tidy()

    def close(self) -> None:
        """Settle, and let go."""
        self.settle()
        self.abandon()

    def abandon(self) -> None:
        """Let go as it is, as after an error: what was not settled is made again by the next start."""
        self._head_directory.close()
        self._tile_directory.close()
        self._lock.close()

    def _read_settled(self) -> int:
        if SETTLED not in self._tile_directory.names():
            return 0
        text = read_whole(self._tile_directory, SETTLED).strip()
        if not text.isdigit():
            raise DamagedError(f"{TILES}/{SETTLED} is not a size: {text[:20]!r}")
        return int(text)

    def _take_up(self, size: int) -> _Growth:
        """Read the edge of a settled tree."""

        def fetch(tile: tiles.Tile) -> bytes:
            return self._files.read(tile)[: tile.width * merkle.HASH_BYTES]

        reader = tiles.TileReader(size, fetch)
        try:
            growth = _Growth(merkle.Frontier(size, merkle.peaks(size, reader.node)))
            count, level = size, 0
            while count:
                number, width = divmod(count, tiles.TILE_WIDTH)
                if width:
                    tile = tiles.Tile(level, number, width)
                    growth.hashes[level] = tiles.read_hashes(tile, fetch(tile))
                count, level = count >> tiles.TILE_HEIGHT, level + 1
            number, width = divmod(size, tiles.TILE_WIDTH)
            if width:
                bundle = tiles.Tile(tiles.ENTRIES, number, width)
                data = self._files.read(bundle)[: width * (2 + leaf.LEAF_BYTES)]
                growth.entries = tiles.read_entries(bundle, data)
        except TileError as exc:
            raise DamagedError(
                f"the tiles of {size} Events: {exc}; remove {TILES}/{SETTLED} to make all again"
            ) from exc
        known = self._heads.get(size)
        if known is not None and known.root != growth.frontier.root():
            raise DamagedError(f"the tiles of {size} Events lead to another root than the head that was signed")
        return growth

    def _integrate(self, until: int) -> None:
        """Take in the leaves of blocks below `until`; every head met on the way must be the one that was signed."""
        for part in self._tail.poll(until):
            if isinstance(part, Lost):
                raise DamagedError(f"{part.segment}, byte {part.offset}: Events {part.first}..{part.end} are missing")
            try:
                entries = list(block_leaves(part))
            except LeafError as exc:
                raise DamagedError(f"Events {part.first}..{part.end}: {exc}") from exc
            self._append(entries[max(self.size - part.first, 0) :])

    def _append(self, entries: Sequence[bytes]) -> None:
        """Take in leaves, stopping at each size of which a head was signed."""
        growth, begin, first = self._growth, self.size, 0
        inside = slice(bisect_right(self._sizes, begin), bisect_left(self._sizes, begin + len(entries)))
        for stop in (*(size - begin for size in self._sizes[inside]), len(entries)):
            part = entries[first:stop]
            first = stop
            growth.entries += part
            for level, hashes in enumerate(growth.frontier.extend([merkle.leaf_hash(entry) for entry in part])):
                if level % tiles.TILE_HEIGHT == 0 and hashes:
                    growth.hashes.setdefault(level // tiles.TILE_HEIGHT, []).extend(hashes)
            known = self._heads.get(self.size)
            if known is not None and known.root != growth.frontier.root():
                raise DamagedError(f"the first {self.size} Events are not those of which a head was signed")
        if len(growth.entries) >= SETTLE_EVENTS:
            self._write_tiles()

    def _write_tiles(self) -> None:
        """Write the tiles that are new since the last time; keep in memory what the next ones begin with."""
        growth, size = self._growth, self.size
        if size == self._written:
            return
        self._files.write(self._new_tiles())
        for level, held in [(0, growth.entries), *growth.hashes.items()]:
            before, after = (count >> level * tiles.TILE_HEIGHT for count in (self._written, size))
            del held[: (after // tiles.TILE_WIDTH - before // tiles.TILE_WIDTH) * tiles.TILE_WIDTH]
        self._written = size

    def _new_tiles(self) -> Iterator[tuple[tiles.Tile, bytes]]:
        """Give the tiles that are new since they were written last, and their bytes."""
        growth = self._growth
        for tile in tiles.new_tiles(self._written, self.size):
            held: list[bytes] = growth.entries if tile.level == tiles.ENTRIES else growth.hashes[tile.level]
            before = self._written >> max(tile.level, 0) * tiles.TILE_HEIGHT
            begin = (tile.number - before // tiles.TILE_WIDTH) * tiles.TILE_WIDTH
            part = held[begin : begin + tile.width]
            yield tile, tiles.format_entries(part) if tile.level == tiles.ENTRIES else b"".join(part)
