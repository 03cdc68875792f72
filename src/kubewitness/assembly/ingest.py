"""
Bring Events from files into a log: the way of `import` and `tail`.

Items come as `event.split` gives them. What is an Event is stored in its exact bytes, once, whichever door it came
through before; what is none is kept in the quarantine with its place. One thread of ours takes apart, another writes.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Self

from kubewitness.assembly.desk import open_log
from kubewitness.assembly.past import Key, Past
from kubewitness.event import microtime
from kubewitness.event.decode import Record
from kubewitness.event.items import Damage
from kubewitness.keep.receiver.body import Odd
from kubewitness.keep.receiver.limits import Limits
from kubewitness.keep.receiver.quarantine import Quarantine
from kubewitness.keep.store.doors import source_name
from kubewitness.keep.store.group import GroupCommit
from kubewitness.keep.store.layout import DataDir, KeyDir
from kubewitness.keep.store.log import Arrival, Batch, Receipt

if TYPE_CHECKING:
    from concurrent.futures import Future

    from kubewitness._kit.files import DiskDirectory

BATCH_EVENTS = 4_000
BATCH_BYTES = 6 << 20
"""Batches as large as a block: they compress best."""
_AHEAD = 3


@dataclass(slots=True)
class Counts:
    """What became of what was brought."""

    events: int = 0
    duplicates: int = 0
    """Events that were stored before."""
    damaged: int = 0
    torn: int = 0
    """Of the damaged places: files that could not be unpacked to their end, of which there are no bytes to keep."""
    damage: list[Damage] = field(default_factory=list)
    """The first places."""

    @property
    def stored(self) -> int:
        """Events that are new."""
        return self.events - self.duplicates


class Ingest:
    """A log that is open to take Events from files; use as a context manager."""

    def __init__(
        self,
        data: DataDir,
        keys: KeyDir,
        cluster: str,
        door: str,
        *,
        has_past: bool = False,
        on_durable: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Open it. Raises StoreError, OSError.

        With `has_past`, also Events are known that the log's window does not remember; the index must be complete.
        """
        self.counts = Counts()
        self._door = door
        self._on_durable = on_durable
        self._stack = ExitStack()
        try:
            root, _ = data.enter(cluster)
            self.root: DiskDirectory = self._stack.enter_context(root)
            self.log = open_log(root, keys)
            self._stack.callback(self.log.close)
            self._quarantine = Quarantine(root, self.log.window.identity, Limits().quarantine_bytes)
            self._stack.callback(self._quarantine.close)
            self._past = Past(root, self.log) if has_past else None
            if self._past is not None:
                self._stack.callback(self._past.close)
            self._group = self._stack.enter_context(GroupCommit(self._commit))
        except BaseException:
            self._stack.close()
            raise
        self._batch: list[Arrival] = []
        self._keys: list[Key] = []  # of the batch, as far as its past matters
        self._batch_bytes = 0
        self._name = self._dialect = ""  # of the source of the batch
        self._waiting: deque[Future[Receipt]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def add(self, record: Record, name: str) -> None:
        """Take an Event from the file of this name. Raises StoreError when it, or one before, cannot be stored."""
        item = record.item
        if item.dialect != self._dialect or name != self._name:
            self.flush()
            self._name, self._dialect = name, item.dialect
        self._batch.append(self.log.arrive(item.raw))
        if self._past is not None:
            self._keys.append(_key(record))
        self._batch_bytes += len(item.raw)
        if len(self._batch) >= BATCH_EVENTS or self._batch_bytes >= BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Hand in what has come so far. Raises StoreError."""
        if not self._batch:
            return
        if self._past is not None:
            self._past.remember(zip(self._batch, self._keys, strict=True))
        batch = Batch(time.time_ns(), source_name(self._door, self._name, self._dialect), self._batch)
        self.counts.events += len(self._batch)
        self._batch, self._keys, self._batch_bytes = [], [], 0
        while len(self._waiting) >= _AHEAD:
            self._settle()
        self._waiting.append(self._group.submit(batch))

    def wait(self) -> int:
        """Wait until all that was added lasts; give the index after the last Event. Raises StoreError."""
        self.flush()
        while self._waiting:
            self._settle()
        return self.log.end

    def quarantine(self, odd: Sequence[Odd], name: str) -> None:
        """Keep what is no Event; it lasts when this returns. Raises StoreError."""
        if odd:
            self._quarantine.keep(odd, time.time_ns(), source_name(self._door, name))

    def note(self, damage: Damage) -> None:
        """Count a place that gave no Event."""
        self.counts.damaged += 1
        if len(self.counts.damage) < _KEPT_PLACES:
            self.counts.damage.append(damage)

    def _settle(self) -> None:
        self.counts.duplicates += self._waiting.popleft().result().duplicates

    def _commit(self, batches: Sequence[Batch]) -> list[Receipt]:
        receipts = self.log.commit(batches)
        self._on_durable(self.log.end)
        return receipts


_KEPT_PLACES = 1000


def _key(record: Record) -> Key:
    stamp = record.event.request_received_timestamp
    try:
        received = None if stamp is None else microtime.parse(stamp)
    except microtime.TimeError:
        received = None
    return Key(received, record.event.audit_id)


def cut_out(chunks: Iterable[bytes], spans: Sequence[tuple[int, int, str]]) -> list[Odd]:
    """Give the bytes of these places (offset, length, why; ascending) of a stream."""
    out: list[Odd] = []
    at = 0
    waiting = deque(spans)
    begun: list[bytes] = []
    for chunk in chunks:
        while waiting and waiting[0][0] < at + len(chunk):
            offset, length, why = waiting[0]
            begin = max(offset - at, 0)
            begun.append(chunk[begin : offset + length - at])
            if offset + length > at + len(chunk):
                break
            out.append(Odd(offset, why, b"".join(begun)))
            begun = []
            waiting.popleft()
        at += len(chunk)
        if not waiting:
            break
    if waiting and begun:
        offset, _, why = waiting[0]
        out.append(Odd(offset, why, b"".join(begun)))
    return out
