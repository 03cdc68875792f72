"""
Verify a store: that these are the Events of which heads were signed, all of them, and no others.

Everything is read and computed anew, from the lines up; nothing is written, and a copy on another machine is as good.
What is wrong comes back as findings that name indexes and files. A store in which nothing is signed is a finding too.
Whether anybody *else* has seen the same heads is for the caller, who hands in what was remembered.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from kubewitness._kit.files import Directory, read_whole
from kubewitness.keep.seal import merkle, tiles
from kubewitness.keep.seal.checkpoint import Checkpoint, parse_checkpoint
from kubewitness.keep.seal.errors import LeafError, NoteError, TileError
from kubewitness.keep.seal.leaf import LEAF_BYTES
from kubewitness.keep.seal.note import Verifier, parse_note, verified_by
from kubewitness.keep.store.errors import DamagedError
from kubewitness.keep.store.log import SEGMENTS
from kubewitness.keep.store.reader import Lost, read_blocks
from kubewitness.keep.store.scan import name_of, segments_in
from kubewitness.keep.store.tilefiles import TileFiles
from kubewitness.keep.store.tree import CHECKPOINT, HEADS, TILES, block_leaves


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: where, and what; `first` and `end` are the Events that it is about."""

    where: str
    what: str
    first: int = 0
    end: int = 0


@dataclass(slots=True)
class Verdict:
    """What was checked, and what was found."""

    findings: list[Finding] = field(default_factory=list)
    head: Checkpoint | None = None
    """The largest head that was signed, and to whose root the Events lead."""
    heads: int = 0
    """How many heads they lead to."""
    events: int = 0
    """How many Events were read; those after the head are stored and not signed yet."""

    @property
    def is_sound(self) -> bool:
        """Whether there was something to check, and nothing is wrong."""
        return not self.findings and self.head is not None and self.head.size > 0


def verify_store(
    root: Directory, verifiers: Sequence[Verifier], origin: str, remembered: Sequence[Checkpoint] = ()
) -> Verdict:
    """Verify a store whose heads must be of `origin`, signed by one of `verifiers`. Raises OSError."""
    check = _Check(root, verifiers, origin)
    # (1) every head must be one, of this log, signed by a known key
    heads = check.read_heads()
    # (2) what others remember must be a head that the Events lead to as well
    for head in remembered:
        known = heads.setdefault(head.size, head)
        if (known.origin, known.root) != (head.origin, head.root):
            check.find(f"{HEADS}/{head.size}", "is not the head that is remembered", 0, head.size)
    # (3) the Events, line by line, must lead to the root of every head, and to what the tiles hold
    check.follow(heads)
    # (4) something must have been there to check
    if not heads:
        check.find(HEADS, "no head is there: nothing was checked against anything")
    return check.verdict


class _Check:
    """One verification on its way."""

    def __init__(self, root: Directory, verifiers: Sequence[Verifier], origin: str) -> None:
        self.verdict = Verdict()
        self.root = root
        self._verifiers = verifiers
        self._origin = origin

    def find(self, where: str, what: str, first: int = 0, end: int = 0) -> None:
        self.verdict.findings.append(Finding(where, what, first, end))

    def read_heads(self) -> dict[int, Checkpoint]:
        """Read heads/, and the one that is shown, which must be among them."""
        heads: dict[int, Checkpoint] = {}
        directory = look(self.root, HEADS)
        for name in directory.names() if directory else ():
            if name.isdecimal() and directory and (head := self._head(directory, name, f"{HEADS}/{name}")):
                heads[int(name)] = head
                if head.size != int(name):
                    self.find(f"{HEADS}/{name}", f"is a head of {head.size} Events")
                    del heads[int(name)]
        directory = look(self.root, TILES)
        if directory and CHECKPOINT in directory.names():
            where = f"{TILES}/{CHECKPOINT}"
            head = self._head(directory, CHECKPOINT, where)
            if head and heads.get(head.size) != head:
                self.find(where, f"is another head than {HEADS}/{head.size}", 0, head.size)
                heads.setdefault(head.size, head)
            if head and head.size < max(heads, default=0):
                self.find(where, f"is a head of {head.size} Events, and one of {max(heads)} was signed")
        return heads

    def _head(self, directory: Directory, name: str, where: str) -> Checkpoint | None:
        try:
            note = parse_note(read_whole(directory, name))
            verified_by(note, self._verifiers)
            head = parse_checkpoint(note.text)
        except NoteError as exc:
            self.find(where, str(exc))
            return None
        if head.origin != self._origin:
            self.find(where, f"is a head of {head.origin!r}, not of {self._origin!r}")
            return None
        return head

    def follow(self, heads: dict[int, Checkpoint]) -> None:
        """Build the tree from the Events, and compare it on the way."""
        frontier = merkle.Frontier()
        size = max(heads, default=0)
        held = _TileCheck(self, size)
        self._compare(frontier, heads.get(0))
        for entry in self._entries(held):
            held.take(entry, frontier.append(merkle.leaf_hash(entry)))
            self._compare(frontier, heads.get(frontier.size))
        if frontier.size < size:
            where = f"{HEADS}/{size}"
            self.find(where, f"{size} Events were signed, and {frontier.size} are there", frontier.size, size)

    def _compare(self, frontier: merkle.Frontier, head: Checkpoint | None) -> None:
        if head is None:
            return
        if head.root != frontier.root():
            what = f"the Events lead to the root {frontier.root().hex()}, signed was {head.root.hex()}"
            self.find(f"{HEADS}/{head.size}", what, 0, head.size)
            return
        self.verdict.heads += 1
        self.verdict.head = head

    def _entries(self, held: "_TileCheck") -> Iterator[bytes]:
        """Give the leaf of every Event; where one cannot be had from the Events, the one that the tiles hold."""
        directory = look(self.root, SEGMENTS)
        if directory is None:
            return
        firsts = segments_in(directory.names())
        index = 0
        try:
            for part in read_blocks(directory):
                name = name_of(firsts[max(bisect_right(firsts, part.first) - 1, 0)])
                where = f"{SEGMENTS}/{name}"
                if isinstance(part, Lost):
                    what = f"cannot be read, from byte {part.offset} on"
                    self.find(f"{SEGMENTS}/{part.segment}", what, part.first, part.end)
                    yield from held.instead(part.first, min(part.end, max(held.size, part.first)))
                    if part.end > held.size:
                        return  # beyond all that was signed a gap may claim to be of any length
                else:
                    try:
                        leaves = list(block_leaves(part))
                    except LeafError as exc:
                        self.find(where, str(exc), part.first, part.end)
                        leaves = list(held.instead(part.first, part.end))
                    else:
                        self.verdict.events += len(leaves)
                    yield from leaves
                index = part.end
        except DamagedError as exc:
            self.find(SEGMENTS, str(exc), index, index)


class _TileCheck:
    """Compares the tiles of a head with what they should hold, as the tree grows up to it."""

    def __init__(self, check: _Check, size: int) -> None:
        self._check = check
        self.size = size
        directory = look(check.root, TILES)
        self._files = TileFiles(directory) if directory else None
        self._held: dict[int, list[bytes]] = {}
        self._count: dict[int, int] = {}

    def take(self, entry: bytes, complete: Sequence[tuple[int, int, bytes]]) -> None:
        """Take a leaf and the hashes that it completes; compare the tiles that this makes full, or ends."""
        size = complete[0][1] + 1
        if size > self.size:
            return
        self._add(tiles.ENTRIES, entry)
        for level, _, value in complete:
            if level % tiles.TILE_HEIGHT == 0:
                self._add(level // tiles.TILE_HEIGHT, value)
        if size == self.size:
            for level, held in self._held.items():
                if held:
                    self._compare(level, held)

    def _add(self, level: int, value: bytes) -> None:
        held = self._held.setdefault(level, [])
        held.append(value)
        self._count[level] = self._count.get(level, 0) + 1
        if len(held) == tiles.TILE_WIDTH:
            self._compare(level, held)
            held.clear()

    def _compare(self, level: int, held: list[bytes]) -> None:
        number = (self._count[level] - 1) // tiles.TILE_WIDTH
        tile = tiles.Tile(level, number, len(held))
        step = 1 << max(level, 0) * tiles.TILE_HEIGHT
        begin = number * tiles.TILE_WIDTH
        try:
            found = self._read(tile)
        except TileError as exc:
            self._check.find(f"{TILES}/{tile.path()}", str(exc), begin * step, (begin + len(held)) * step)
            return
        wrong = [at for at, (is_, ought) in enumerate(zip(found, held, strict=True)) if is_ != ought]
        if wrong:
            first, end = (begin + wrong[0]) * step, (begin + wrong[-1] + 1) * step
            what = "holds other leaves than these Events have" if level < 0 else "holds other hashes than these Events"
            self._check.find(f"{TILES}/{tile.path()}", f"{what}: it or they were changed", first, end)

    def _read(self, tile: tiles.Tile) -> list[bytes]:
        """Give the entries or hashes of a tile. Raises TileError."""
        if self._files is None:
            raise TileError("is not there")
        size = 2 + LEAF_BYTES if tile.level == tiles.ENTRIES else merkle.HASH_BYTES
        data = self._files.read(tile)[: tile.width * size]
        return tiles.read_entries(tile, data) if tile.level == tiles.ENTRIES else tiles.read_hashes(tile, data)

    def instead(self, first: int, end: int) -> Iterator[bytes]:
        """Give the leaves that the tiles hold for Events that cannot be read; nothings where they hold none."""
        for number in range(first // tiles.TILE_WIDTH, -(-end // tiles.TILE_WIDTH)):
            begin = number * tiles.TILE_WIDTH
            width = min(tiles.TILE_WIDTH, max(self.size - begin, 0))
            entries: list[bytes] = []
            if width:
                with suppress(TileError):
                    entries = self._read(tiles.Tile(tiles.ENTRIES, number, width))
            for index in range(max(first, begin), min(end, begin + tiles.TILE_WIDTH)):
                yield entries[index - begin] if index - begin < len(entries) else bytes(LEAF_BYTES)


def look(root: Directory, name: str) -> Directory | None:
    """Open a directory to read; None if it is not there."""
    try:
        return root.look(name)
    except FileNotFoundError:
        return None
