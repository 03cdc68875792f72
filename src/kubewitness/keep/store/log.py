"""
The store of one cluster: opened and recovered, each Event stored once, acknowledged when it lasts.

Batches that arrive together are committed together. Receiving them, and making tree and index afterwards, is left
to others; they read what was stored. One thread calls `commit`.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import msgspec

from kubewitness._kit.files import Directory, Lock
from kubewitness.keep.seal.leaf import SEED_BYTES, Kept
from kubewitness.keep.seal.leaf_secret import Secret
from kubewitness.keep.store import scan
from kubewitness.keep.store.append import SEGMENT_BYTES, SegmentWriter
from kubewitness.keep.store.dedupe import Known, Window
from kubewitness.keep.store.errors import DamagedError, LockedError, UnavailableError
from kubewitness.keep.store.reader import Lost, read_blocks
from kubewitness.keep.store.recover import Recovered, recover
from kubewitness.keep.store.segment import Block, Commit

SEGMENTS = scan.SEGMENTS
LOCK = "lock"
BLOCK_BYTES = 8 << 20  # some 1 MB compressed; what is bigger takes many times as long to sync
MAX_SEEN = 65_536  # indexes of what came again that wait for a block to be noted in


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """An Event that came: what is to be kept of it, and its identity."""

    kept: Kept
    identity: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """Events that came together."""

    received_ns: int
    source: str
    events: Sequence[Arrival]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a batch: the index of each Event, and how many were stored before."""

    indexes: Sequence[int]
    duplicates: int


class ClusterLog:
    """A store that is open for writing."""

    def __init__(
        self,
        root: Directory,
        key: bytes,
        *,
        begin: int = 0,
        signed_size: int = 0,
        segment_bytes: int = SEGMENT_BYTES,
        window: Window | None = None,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Lock, recover and open it. Raises LockedError, DamagedError, UnavailableError.

        Its Events begin at `begin`; `signed_size` is the size of the largest head that was ever signed.
        """
        self.window = window or Window(key)
        self.forgotten = 0
        """How many Events that came again could not be noted."""
        self.lost: list[Lost] = []
        """Damage met while reading the latest Events. New ones are taken all the same, but somebody must know."""
        self._random = random
        self._seen: dict[str, list[int]] = {}
        self._lock = _lock(root)
        try:
            self._directory = root.enter(SEGMENTS)
            root.sync()
            self.recovered: Recovered = recover(self._directory, begin, signed_size)
            self._remember(self.recovered)
        except OSError as exc:
            self._lock.close()
            raise UnavailableError(f"cannot open the store: {exc}") from exc
        except DamagedError:
            self._lock.close()
            raise
        self._writer = SegmentWriter(self._directory, self.recovered.end, segment_bytes)

    @property
    def end(self) -> int:
        """The index after the last Event that lasts."""
        return self._writer.end

    def arrive(self, raw: bytes) -> Arrival:
        """Make ready an Event that is kept whole. May be called from any thread."""
        return Arrival(Kept(raw), self.window.identity(raw))

    def commit(self, batches: Sequence[Batch]) -> list[Receipt]:
        """Store what is new in these batches; when this returns it lasts. Raises UnavailableError: try all again."""
        receipts: list[Receipt] = []
        fresh: dict[bytes, Known] = {}
        commits: list[Commit] = []
        seen: list[Known] = []
        end = self._writer.end
        find = self.window.find
        for batch in batches:
            indexes: list[int] = []
            new: list[Arrival] = []
            for arrival in batch.events:
                identity = arrival.identity
                known = find(identity) or fresh.get(identity)
                if known is None:
                    known = fresh[identity] = Known(end + len(new), batch.source)
                    new.append(arrival)
                elif known.source != batch.source:
                    seen.append(Known(known.at, batch.source))
                indexes.append(known.at)
            end += len(new)
            commits += self._make_commits(batch, new)
            receipts.append(Receipt(indexes, len(batch.events) - len(new)))
        self._write(commits, iter(fresh.items()))
        self._note_seen(seen)  # in the next block; before the write, some of these indexes might have come to nothing
        return receipts

    def _make_commits(self, batch: Batch, new: Sequence[Arrival]) -> Iterable[Commit]:
        """Give the commits for the new Events of a batch: one, or more when they are too big for a block."""
        for part in _parts(new):
            identities = {n: arrival.identity for n, arrival in enumerate(part) if arrival.kept.removed}
            kept = [arrival.kept for arrival in part]
            yield Commit(batch.received_ns, batch.source, Secret(self._random(SEED_BYTES)), kept, identities)

    def _write(self, commits: list[Commit], fresh: Iterator[tuple[bytes, Known]]) -> None:
        """Write commits in as few blocks as may be; what each block holds, in the order of `fresh`, is known then."""
        waiting = [commit for commit in commits if commit.events]
        while waiting:
            size, count = 0, 0
            for commit in waiting:
                size += sum(len(kept.line) for kept in commit.events)
                if count and size > BLOCK_BYTES:
                    break
                count += 1
            seen = self._take_seen(waiting[0].received_ns)
            try:
                block = self._writer.write(waiting[:count] + seen)
            except UnavailableError:
                for commit in seen:
                    self._seen.setdefault(commit.source, []).extend(commit.seen)
                raise
            for identity, known in islice(fresh, block.end - block.first):
                self.window.remember(identity, known)
            waiting = waiting[count:]

    def _note_seen(self, seen: Sequence[Known]) -> None:
        room = max(MAX_SEEN - sum(map(len, self._seen.values())), 0)
        self.forgotten += max(len(seen) - room, 0)
        for known in seen[:room]:
            self._seen.setdefault(known.source, []).append(known.at)

    def _take_seen(self, received_ns: int) -> list[Commit]:
        seen, self._seen = self._seen, {}
        return [Commit(received_ns, source, Secret(), (), seen=indexes) for source, indexes in seen.items()]

    def _remember(self, recovered: Recovered) -> None:
        """Fill the window from the latest segments."""
        begin = max(recovered.end - self.window.capacity, 0)
        for part in read_blocks(self._directory, begin):
            if isinstance(part, Lost):
                self.lost.append(part)
                continue
            for identity, known in _known(part, self.window):
                self.window.remember(identity, known)

    def close(self) -> None:
        """Finish the segment and let others write."""
        self._writer.finish()
        self._directory.close()
        self._lock.close()


def _lock(root: Directory) -> Lock:
    try:
        return root.lock(LOCK)
    except BlockingIOError as exc:
        raise LockedError("another process writes to this store") from exc
    except OSError as exc:
        raise UnavailableError(f"cannot lock the store: {exc}") from exc


def _parts(new: Sequence[Arrival]) -> Iterator[Sequence[Arrival]]:
    """Cut Events into runs that fit a block each."""
    begin = size = 0
    for number, arrival in enumerate(new):
        size += len(arrival.kept.line)
        if number > begin and size > BLOCK_BYTES:
            yield new[begin:number]
            begin, size = number, len(arrival.kept.line)
    yield new[begin:]


def _known(block: Block, window: Window) -> Iterator[tuple[bytes, Known]]:
    """Give the identities of a block's Events, as far as they can still be known."""
    index = block.first
    for commit in block.commits:
        for number, kept in enumerate(commit.events):
            identity = commit.identities.get(number)
            if identity is None and not kept.removed and kept.tombstone is None:
                identity = window.identity(kept.line)
            if identity is not None:
                yield identity, Known(index + number, commit.source)
        index += len(commit.events)
