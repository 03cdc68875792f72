"""
Verify a store: that these are the Events of which heads were signed, all of them, and no others.

Everything is read and computed anew, from the lines up; nothing is written, and a copy on another machine is as good.
What is wrong comes back as findings that name indexes and files. A store in which nothing is signed is a finding too.
Whether anybody *else* has seen the same heads is for the caller, who hands in what was remembered.
"""

import enum
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from kubewitness._kit.files import Directory, read_whole
from kubewitness.keep.seal import tiles
from kubewitness.keep.seal.checkpoint import Checkpoint, parse_checkpoint
from kubewitness.keep.seal.errors import NoteError
from kubewitness.keep.seal.note import Verifier, parse_note, verified_by
from kubewitness.keep.store.errors import DamagedError
from kubewitness.keep.store.log import SEGMENTS
from kubewitness.keep.store.reader import Lost, read_blocks
from kubewitness.keep.store.scan import first_of
from kubewitness.keep.store.tilefiles import TileFiles
from kubewitness.keep.store.tree import CHECKPOINT, HEADS, TILES
from kubewitness.keep.store.verify_read import Leaves, Part, Read, Surplus, read_leaves
from kubewitness.keep.store.verify_tree import Walk

Progress = Callable[[int, int], None]
"""Is told how many Events of how many are done."""


_PATIENCE_S = 0.5
_LOOKS = 10


def unheard(_done: int, _total: int) -> None:
    """Tell nobody of progress."""


class Kind(enum.Enum):
    """What a finding is about."""

    EMPTY = "empty"
    """There is no Event, or no log."""
    UNSIGNED = "unsigned"
    """Events are there, and no head of them was signed."""
    NO_KEY = "no-key"
    """No key was given, so that no signature could be checked."""
    STALE = "stale-checkpoint"
    """The head that is shown is older than one that was signed: a crash, or an old one put back."""
    NO_TILE = "missing-tile"
    """A tile is not there or not whole. It can be made again from the segments."""
    SURPLUS = "surplus"
    """Bytes of a segment that belong to no Event, or a segment that has no end."""
    REMOVED = "removed"
    """Parts of Events, or whole ones, were removed: their hashes are there, and nothing else."""
    OLD_KEY = "old-key"
    """No key that was given signed a head, and one did sign a later head: an older key is missing."""
    HEADS_GONE = "heads-gone"
    """Tiles are there, and none of the heads for which they were made; or a head that was seen is not there."""
    UNKNOWN_KEY = "unknown-key"
    """No key that was given signed a head."""
    BAD_HEAD = "bad-head"
    """A head is malformed, of another log or size, or its signature is wrong."""
    FORK = "fork"
    """Two heads of one size, or a remembered head that is not the log's."""
    SHRUNK = "shrunk"
    """Fewer Events are there than were signed or are remembered."""
    PRUNED = "pruned"
    """The first Events are not there."""
    LOST = "lost"
    """Events cannot be read."""
    CHANGED = "changed"
    """The Events are not those that were signed."""
    WRONG_TILE = "wrong-tile"
    """A tile holds something else than the Events lead to."""
    REFUSED = "refused"
    """Files that nothing of ours would write so."""

    @property
    def is_violation(self) -> bool:
        """Whether it contradicts what was signed; otherwise something is only not there to be checked."""
        return self not in _INCOMPLETE


_INCOMPLETE = frozenset(
    {Kind.EMPTY, Kind.UNSIGNED, Kind.NO_KEY, Kind.STALE, Kind.NO_TILE, Kind.OLD_KEY, Kind.SURPLUS, Kind.REMOVED}
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: where, and what; `first` and `end` are the Events that it is about."""

    where: str
    what: str
    kind: Kind
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
    lacking: Counter[str] = field(default_factory=Counter)
    """What was removed, and from how many Events: `requestObject redacted`, `event expired`."""
    unsigned_ns: int | None = None
    """When the first Event after the head was received."""

    @property
    def is_sound(self) -> bool:
        """Whether there was something to check, and nothing is wrong."""
        return not self.findings and self.head is not None and self.head.size > 0

    @property
    def is_violated(self) -> bool:
        """Whether anything contradicts what was signed."""
        return any(finding.kind.is_violation for finding in self.findings)

    @property
    def unsigned(self) -> int:
        """How many Events are stored and not signed yet."""
        return max(self.events - (self.head.size if self.head else 0), 0)


def verify_store(
    root: Directory,
    verifiers: Sequence[Verifier],
    origin: str,
    remembered: Sequence[Checkpoint] = (),
    *,
    read: Read = read_leaves,
    progress: Progress = unheard,
) -> Verdict:
    """Verify a store whose heads must be of `origin`, signed by one of `verifiers`. Raises OSError.

    `read` reads the leaves; `verify_read` has two ways.
    """
    check = _Check(root, verifiers, origin)
    # (1) every head must be one, of this log, signed by a known key
    heads = check.read_heads()
    signed = set(heads)
    # (2) what others remember must be a head that the Events lead to as well
    for head in remembered:
        known = heads.setdefault(head.size, head)
        if (known.origin, known.root) != (head.origin, head.root):
            check.find(f"{HEADS}/{head.size}", "is not the head that is remembered", Kind.FORK, 0, head.size)
    # (3) the Events, line by line, must lead to the root of every head, and to what the tiles hold
    check.follow(heads, read, progress)
    # (4) no head goes away; where one that is remembered did, the holder of the key could sign another history
    if not check.verdict.is_violated:
        for size in sorted({head.size for head in remembered} - signed):
            check.find(f"{HEADS}/{size}", "is remembered and not there", Kind.HEADS_GONE, 0, size)
    # (5) something must have been there to check
    if not signed:
        check.tell_unsigned()
    elif not max(heads):
        check.find(HEADS, "a head of no Events is all that is there", Kind.EMPTY)
    return check.verdict


class _Check:
    """One verification on its way; it is told what the tree shows (`verify_tree.Heard`)."""

    def __init__(self, root: Directory, verifiers: Sequence[Verifier], origin: str) -> None:
        self.verdict = Verdict()
        self._root = root
        self._verifiers = verifiers
        self._origin = origin
        if not verifiers:
            self.find(HEADS, "no key was given: the signatures of the heads are not checked", Kind.NO_KEY)

    def find(self, where: str, what: str, kind: Kind, first: int = 0, end: int = 0) -> None:
        self.verdict.findings.append(Finding(where, what, kind, first, end))

    def read_heads(self) -> dict[int, Checkpoint]:
        """Read heads/, and the one that is shown, which must be among them."""
        where = f"{TILES}/{CHECKPOINT}"
        # a head is in heads/ before it is shown, so the shown one is read first: beside a writer more may come
        shown = self._shown(where)
        heads: dict[int, Checkpoint] = {}
        directory = look(self._root, HEADS)
        names = directory.names() if directory else []
        for name in names:
            if name.isdecimal() and directory and (head := self._head(directory, name, f"{HEADS}/{name}")):
                heads[int(name)] = head
                if head.size != int(name):
                    self.find(f"{HEADS}/{name}", f"is a head of {head.size} Events", Kind.BAD_HEAD)
                    del heads[int(name)]
        if directory:
            directory.close()
        self._forgive_old_keys(max(heads, default=0))
        if shown and heads.get(shown.size) != shown:
            if str(shown.size) in names:
                self.find(where, f"is another head than {HEADS}/{shown.size}", Kind.FORK, 0, shown.size)
            else:
                what = f"is a head of {shown.size} Events, and {HEADS}/{shown.size} is not there"
                self.find(where, what, Kind.HEADS_GONE, 0, shown.size)
            heads.setdefault(shown.size, shown)
        is_told = any(finding.where == where for finding in self.verdict.findings)
        if heads and not is_told and (shown.size if shown else -1) < max(heads):
            self._wait_until_shown(where, max(heads))
        return heads

    def _wait_until_shown(self, where: str, size: int) -> None:
        """Give a server that signs now the time to show its head; what is still older then was left so."""
        shown = None
        for _ in range(_LOOKS):
            shown = self._shown(None)
            if shown and shown.size >= size:
                return
            time.sleep(_PATIENCE_S / _LOOKS)
        what = f"is a head of {shown.size} Events" if shown else "no head is shown"
        self.find(where, f"{what}, and one of {size} was signed", Kind.STALE, shown.size if shown else 0, size)

    def _forgive_old_keys(self, size: int) -> None:
        """Where a later head is signed by a known key, an unknown one under an older head contradicts nothing."""
        self.verdict.findings = [
            replace(finding, kind=Kind.OLD_KEY)
            if finding.kind is Kind.UNKNOWN_KEY and 0 <= _size_of(finding.where) < size
            else finding
            for finding in self.verdict.findings
        ]

    def _shown(self, where: str | None) -> Checkpoint | None:
        """Read the head that is shown; what is wrong with it is told unless `where` is None."""
        directory = look(self._root, TILES)
        if directory is None:
            return None
        with_it = CHECKPOINT in directory.names()
        head = self._head(directory, CHECKPOINT, where) if with_it else None
        directory.close()
        return head

    def _head(self, directory: Directory, name: str, where: str | None) -> Checkpoint | None:
        what, kind = "", Kind.BAD_HEAD
        head = None
        try:
            note = parse_note(read_whole(directory, name))
            head = parse_checkpoint(note.text)
            known = {(verifier.name, verifier.key_id) for verifier in self._verifiers}
            if known and not known & {(signature.name, signature.key_id) for signature in note.signatures}:
                kind = Kind.UNKNOWN_KEY
            if self._verifiers:
                verified_by(note, self._verifiers)
        except NoteError as exc:
            what = str(exc)
        except OSError as exc:
            what = f"cannot be read: {exc.strerror}"
        if not what and head and head.origin != self._origin:
            what = f"is a head of {head.origin!r}, not of {self._origin!r}"
        if what and where is not None:
            self.find(where, what, kind)
        return None if what else head

    def follow(self, heads: dict[int, Checkpoint], read: Read, progress: Progress) -> None:
        """Build the tree from the Events, and compare it on the way."""
        tile_directory = look(self._root, TILES)
        walk = Walk(self, TileFiles(tile_directory) if tile_directory else None, heads)
        directory = look(self._root, SEGMENTS)
        if directory is not None:
            try:
                for part in read(directory):
                    if not self._take(walk, part):
                        break
                    progress(walk.size, max(walk.tiled, walk.size))
            except DamagedError as exc:
                self.find(SEGMENTS, str(exc), Kind.REFUSED, walk.size, walk.size)
            self._look_behind(directory, walk)
            directory.close()
        walk.finish()
        if self.verdict.lacking:
            told = ", ".join(f"{what} {count:,}" for what, count in sorted(self.verdict.lacking.items()))
            what = f"was removed, and nothing says by whom; of so many Events: {told}"
            self.find(SEGMENTS, what, Kind.REMOVED, 0, walk.size)
        if tile_directory:
            tile_directory.close()
        if walk.size < walk.tiled:
            what = f"{walk.tiled} Events were signed, and {walk.size} are there"
            self.find(f"{HEADS}/{walk.tiled}", what, Kind.SHRUNK, walk.size, walk.tiled)

    def _take(self, walk: Walk, part: Part) -> bool:
        """Take the next part of the store; tell whether to go on."""
        if isinstance(part, Leaves):
            walk.take(part)
            self.verdict.events += part.end - part.first
            self.verdict.lacking.update(part.lacking)
            return True
        if isinstance(part, Surplus):
            self.find(f"{SEGMENTS}/{part.segment}", part.what, Kind.SURPLUS, part.first, part.first)
            return True
        if isinstance(part, Lost):
            begins_late = part.first == 0 and (first_of(part.segment) or 0) > 0
            kind = Kind.PRUNED if begins_late else Kind.LOST
            what = f"cannot be read, from byte {part.offset} on"
            self.find(f"{SEGMENTS}/{part.segment}", what, kind, part.first, part.end)
        else:
            kind = Kind.LOST if part.is_lost else Kind.CHANGED
            self.find(f"{SEGMENTS}/{part.segment}", part.what, kind, part.first, part.end)
        for leaves in walk.instead(part.first, min(part.end, max(walk.tiled, part.first))):
            walk.take(leaves)
        return part.end <= walk.tiled  # beyond all that was signed a gap may claim to be of any length

    def _look_behind(self, directory: Directory, walk: Walk) -> None:
        """Find out since when Events wait for a signature."""
        if walk.size > walk.tiled and not self.verdict.is_violated:
            part = next(read_blocks(directory, walk.tiled), None)
            if part is not None and not isinstance(part, Lost):
                index = part.first
                for commit in part.commits:
                    index += len(commit.events)
                    if index > walk.tiled:
                        self.verdict.unsigned_ns = commit.received_ns
                        return

    def tell_unsigned(self) -> None:
        """Say that no head is there, and whether it looks as if there had been any."""
        directory = look(self._root, TILES)
        has_tiles = directory is not None and {"tile", CHECKPOINT} & set(directory.names())
        if directory:
            directory.close()
        if any(
            finding.where.startswith((HEADS, TILES)) and finding.kind.is_violation for finding in self.verdict.findings
        ):
            return
        what = "no head is there: nothing was checked against anything"
        if has_tiles:
            self.find(HEADS, f"{what}, and there must have been one, for there are tiles", Kind.HEADS_GONE)
        else:
            self.find(HEADS, what, Kind.UNSIGNED if self.verdict.events else Kind.EMPTY, 0, self.verdict.events)

    def met(self, head: Checkpoint) -> None:
        self.verdict.heads += 1
        self.verdict.head = head

    def missed(self, head: Checkpoint, root: bytes) -> None:
        what = f"the Events lead to the root {root.hex()}, signed was {head.root.hex()}"
        self.find(f"{HEADS}/{head.size}", what, Kind.CHANGED, 0, head.size)

    def tile_is_missing(self, tile: tiles.Tile, why: str, first: int, end: int) -> None:
        self.find(f"{TILES}/{tile.path()}", why, Kind.NO_TILE, first, end)

    def tile_is_wrong(self, tile: tiles.Tile, first: int, end: int) -> None:
        what = "leaves than these Events have" if tile.level == tiles.ENTRIES else "hashes than these Events lead to"
        self.find(f"{TILES}/{tile.path()}", f"holds other {what}", Kind.WRONG_TILE, first, end)


def _size_of(where: str) -> int:
    """Give the size of which a head says to be by its name; -1 for another file."""
    folder, _, name = where.partition("/")
    return int(name) if folder == HEADS and name.isdecimal() else -1


def look(root: Directory, name: str) -> Directory | None:
    """Open a directory to read; None if it is not there, or a link or a file stands in its place."""
    try:
        return root.look(name)
    except (FileNotFoundError, NotADirectoryError):
        return None
