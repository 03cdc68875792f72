"""
Take Events out of a store with all that is needed to prove them: found by index, by auditID or by their bytes.

Proofs are made against the head that is shown, out of the tiles, and checked before they are given.
"""

from collections.abc import Callable, Iterable, Iterator

from kubewitness._kit.files import Directory, read_whole
from kubewitness.event.identity import canonical_bytes
from kubewitness.keep.seal import tiles
from kubewitness.keep.seal.checkpoint import Checkpoint, parse_checkpoint
from kubewitness.keep.seal.errors import NoteError, TileError
from kubewitness.keep.seal.merkle import HASH_BYTES
from kubewitness.keep.seal.note import parse_note
from kubewitness.keep.seal.proof import Evidence, format_proof, prove
from kubewitness.keep.store.errors import DamagedError
from kubewitness.keep.store.log import SEGMENTS
from kubewitness.keep.store.reader import Lost, read_blocks
from kubewitness.keep.store.segment import Block
from kubewitness.keep.store.tilefiles import TileFiles
from kubewitness.keep.store.tree import CHECKPOINT, TILES

Wanted = Callable[[bytes], bool]
FAR_EVENTS = 100_000
"""Over so many it is quicker to look for the next Event than to read on."""


def block_evidence(block: Block, wanted: Callable[[int, bytes], bool]) -> Iterator[Evidence]:
    """Give the Events of a block for which `wanted(index, line)` holds."""
    index = block.first
    for commit in block.commits:
        salts = None
        for number, kept in enumerate(commit.events):
            if wanted(index + number, kept.line):
                salts = salts or commit.secret.expand(len(commit.events))
                yield Evidence(index + number, kept, number, commit.received_ns, commit.source, salts)
        index += len(commit.events)


class Archive:
    """A store to take evidence out of, and the head by which it is proved."""

    def __init__(self, root: Directory) -> None:
        """Read the head that is shown. Raises DamagedError when there is none, FileNotFoundError without a store."""
        self._segments = root.look(SEGMENTS)
        try:
            directory = root.look(TILES)
            self.note = read_whole(directory, CHECKPOINT)
            self.head: Checkpoint = parse_checkpoint(parse_note(self.note).text)
        except FileNotFoundError as exc:
            raise DamagedError("no head is there: nothing was signed yet, so nothing can be proved") from exc
        except NoteError as exc:
            raise DamagedError(f"{TILES}/{CHECKPOINT}: {exc}") from exc
        files = TileFiles(directory)

        def fetch(tile: tiles.Tile) -> bytes:
            data = files.read(tile)[: tile.width * HASH_BYTES]
            if len(data) != tile.width * HASH_BYTES:
                raise TileError(f"{tile.path()} holds {len(data)} bytes, not {tile.width} hashes")
            return data

        self._tiles = tiles.TileReader(self.head.size, fetch)

    def at(self, indexes: Iterable[int]) -> Iterator[Evidence]:
        """Give the Events of these indexes, ascending. Raises DamagedError for one that cannot be read."""
        waiting = sorted(set(indexes), reverse=True)
        while waiting:
            yield from self._from(waiting)

    def _from(self, waiting: list[int]) -> Iterator[Evidence]:
        """Give what is waited for, the smallest first, until the next is far away."""
        for part in read_blocks(self._segments, waiting[-1]):
            if part.end <= waiting[-1]:
                continue
            if isinstance(part, Lost):
                raise DamagedError(f"Event {waiting[-1]} cannot be read: {part.segment}, byte {part.offset}")
            here: set[int] = set()
            while waiting and waiting[-1] < part.end:
                here.add(waiting.pop())
            yield from block_evidence(part, lambda number, _, here=here: number in here)  # type: ignore[misc]
            if not waiting or waiting[-1] - part.end > FAR_EVENTS:
                return
        raise DamagedError(f"there is no Event {waiting[-1]}")

    def search(self, wanted: Wanted) -> Iterator[Evidence]:
        """Give the Events whose lines are wanted, of all that can be read."""
        for part in read_blocks(self._segments):
            if not isinstance(part, Lost):
                yield from block_evidence(part, lambda _, line: wanted(line))

    def proof(self, evidence: Evidence) -> bytes:
        """Give the tlog-proof of an Event. Raises LeafError, ProofError, TileError."""
        path = prove(evidence, self.head.size, self.head.root, self._tiles.node)
        return format_proof(evidence, path, self.note)


def with_audit_id(audit_id: str) -> Wanted:
    """Want the Events that carry an auditID, as API servers write it."""
    needle = b'"auditID":"' + audit_id.encode() + b'"'
    return lambda line: needle in line


def same_event(raw: bytes) -> Wanted:
    """Want the Event of these bytes, from whichever door it came."""
    wanted = canonical_bytes(raw)
    return lambda line: canonical_bytes(line) == wanted
