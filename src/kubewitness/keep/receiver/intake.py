"""
What one cluster's clients hand in: taken apart, kept aside or stored, and counted; in threads of its own.

A disk that hangs holds up these threads and nothing else. What is handed in here and not answered with an error lasts.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from kubewitness.keep.receiver.body import Body, Odd, stage_time, take_apart
from kubewitness.keep.receiver.limits import Limits
from kubewitness.keep.receiver.quarantine import Quarantine
from kubewitness.keep.receiver.reuse import Ids
from kubewitness.keep.store.errors import StoreError, UnavailableError
from kubewitness.keep.store.group import GroupCommit
from kubewitness.keep.store.log import Arrival, Batch, ClusterLog, Receipt


@dataclass(frozen=True, slots=True)
class Delivery(Batch):
    """A batch with the numbers of its auditIDs."""

    ids: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a body."""

    events: int
    stored: int
    duplicates: int
    quarantined: int
    unknown_stages: int = 0
    latest: str | None = None
    """The stageTimestamp of its last Event."""
    body_bytes: int = 0


Reused = Callable[[int], None]
"""Told the index of an Event whose auditID and stage came before with another content."""


class Intake:
    """The way of one cluster's bodies to its log."""

    def __init__(
        self,
        log: ClusterLog,
        quarantine: Quarantine,
        *,
        limits: Limits | None = None,
        is_full: Callable[[], bool] = lambda: False,
        on_reused: Reused = lambda _: None,
        on_durable: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Begin to take bodies. `on_durable` is told, in our thread, the index after the last Event that lasts."""
        self._log = log
        self._quarantine = quarantine
        self._is_full = is_full
        self._on_reused = on_reused
        self._on_durable = on_durable
        self._ids = Ids()
        self._group = GroupCommit(self._commit, (limits or Limits()).waiting_bytes)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="intake")
        self._busy_since: float | None = None
        self._busy = threading.Lock()

    @property
    def end(self) -> int:
        """The index after the last Event that lasts."""
        return self._log.end

    @property
    def waiting_bytes(self) -> int:
        """How much waits to be stored."""
        return self._group.waiting_bytes

    @property
    def is_alive(self) -> bool:
        """Whether it still takes anything; if not it is to be closed, and another one made."""
        return self._group.is_alive

    @property
    def stuck_seconds(self) -> float:
        """For how long the disk has not answered the write that it has."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def take(self, body: bytes, source: str, received_ns: int) -> "Future[Outcome]":
        """Store what is in a body; the outcome comes when it lasts, a StoreError if it does not."""
        return self._begin(lambda: _apart(body), source, received_ns, len(body))

    def take_parts(self, parts: Body, source: str, received_ns: int) -> "Future[Outcome]":
        """Store what was taken apart already, as `take` does."""
        return self._begin(lambda: parts, source, received_ns, 0)

    def _begin(self, make: Callable[[], Body], source: str, received_ns: int, size: int) -> "Future[Outcome]":
        done: Future[Outcome] = Future()
        done.set_running_or_notify_cancel()
        try:
            self._worker.submit(self._take, make, source, received_ns, size, done)
        except RuntimeError:
            done.set_exception(UnavailableError("the store is closing"))
        return done

    def _take(
        self, make: Callable[[], Body], source: str, received_ns: int, size: int, done: "Future[Outcome]"
    ) -> None:
        try:
            self._check_room()
            parts = make()
            if parts.odd:
                self._quarantine.keep(parts.odd, received_ns, source)
            arrivals: list[Arrival] = [self._log.arrive(raw) for raw in parts.events]
            receipt = self._group.submit(Delivery(received_ns, source, arrivals, parts.ids))
        except Exception as exc:  # noqa: BLE001 - whoever waits must hear of it, whatever it is
            done.set_exception(exc)
            return
        receipt.add_done_callback(lambda receipt: _settle(done, receipt, parts, size))

    def _check_room(self) -> None:
        if self._is_full():
            raise UnavailableError("the disk is nearly full")

    def _commit(self, batches: Sequence[Batch]) -> list[Receipt]:
        before = self._log.end
        self._busy_since = time.monotonic()
        try:
            receipts = self._log.commit(batches)
        finally:
            self._busy_since = None
        # what is stored is stored: no fault in telling of it may keep it from being acknowledged
        with suppress(Exception):
            if self._log.end > before:
                self._on_durable(self._log.end)
            for batch, receipt in zip(batches, receipts, strict=True):
                if isinstance(batch, Delivery):
                    self._look_for_reuse(batch.ids, receipt.indexes, before)
        return receipts

    def _look_for_reuse(self, ids: Sequence[int], indexes: Sequence[int], before: int) -> None:
        see = self._ids.see
        last = before - 1
        for number, index in zip(ids, indexes, strict=True):
            # an index that does not go up is of an Event that came before, in this body or in this group
            if index > last:
                last = index
                if see(number):
                    self._on_reused(index)

    def close(self) -> None:
        """Store what was handed in, then let go of the log. Takes as long as the disk does."""
        self._worker.shutdown(wait=True)
        self._group.close()
        self._quarantine.close()
        self._log.close()


def _apart(body: bytes) -> Body:
    """Take a body apart; where a fault of ours prevents that, keep it whole aside, for it is not the sender's fault."""
    try:
        return take_apart(body)
    except Exception as exc:  # noqa: BLE001 - whatever it is: a refusal would lose the body
        return Body(odd=[Odd(0, f"a fault of kubewitness: {type(exc).__name__}", body)])


def _settle(done: "Future[Outcome]", receipt: "Future[Receipt]", parts: Body, size: int) -> None:
    error = receipt.exception()
    if error is not None:
        done.set_exception(error if isinstance(error, StoreError) else UnavailableError(str(error)))
        return
    duplicates = receipt.result().duplicates
    latest = stage_time(parts.events[-1]) if parts.events else None
    count = len(parts.events)
    done.set_result(Outcome(count, count - duplicates, duplicates, len(parts.odd), parts.unknown_stages, latest, size))
