"""
A webhook whose Events wait on disk until the receiver has them: nothing is lost by an outage or a restart.

`Spooled` takes Events from requests and keeps them; a thread posts them in their order, one batch at a time, and tries
again for as long as it takes. What does not fit into the spool is refused, counted and reported. `Courier` is that
thread without the thread: it is told the time and says when it wants to be called again.

kube-apiserver has nothing like it: its webhook drops a batch after five attempts. In mode batch an Event is written
when `process_events` returns and synced soon after; in the blocking modes it is synced. Delivered is at least once. An
item that the receiver refuses for what it is (400, 413, 422), five times alone, is counted as lost and reported, so
that it does not hold up the others.
"""

import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from kubewitness.emit import wire
from kubewitness.emit.backends.batcher import BatchOptions, TokenBucket
from kubewitness.emit.backends.log import reason_of
from kubewitness.emit.backends.spoolfiles import Position, Spool, SpoolFullError
from kubewitness.emit.backends.webhook import ATTEMPTS, BACKOFF_FACTOR, BACKOFF_JITTER, Failure
from kubewitness.emit.backends.webhook import NAME as WEBHOOK
from kubewitness.emit.metrics import Metrics
from kubewitness.event.types import Event

NAME = "spool"
BATCH_MAX_BYTES = 8 * 1024 * 1024
BACKOFF_MAX_NS = 60_000_000_000
SYNC_NS = 100_000_000
_SECOND_NS = 1_000_000_000
_random = random.Random()  # noqa: S311 - spreads retries, hides nothing
# what says that the receiver will not have this body, however often it comes
_CONTENT_CODES = frozenset((400, 413, 422))


class Sends(Protocol):
    """Posts a body once."""

    def post(self, body: bytes) -> Failure | None:
        """Post it; what went wrong, if anything."""

    def close(self) -> None:
        """Let go of connections."""


class Courier:
    """Takes items from a spool to the receiver. `reading` is held while the spool is touched."""

    def __init__(
        self,
        spool: Spool,
        sends: Sends,
        options: BatchOptions,
        initial_backoff_ns: int,
        refuse: Callable[[bytes, str], None],
        clock: Callable[[], int] = time.monotonic_ns,
        jitter: Callable[[], float] = _random.random,
    ) -> None:
        self._spool = spool
        self._sends = sends
        self._options = options
        self._initial_ns = self._pause_ns = initial_backoff_ns
        self._refuse = refuse
        self._clock = clock
        self._jitter = jitter
        now_ns = clock()
        self._limit = options.max_size
        self._refusals = 0
        self._resumes_ns = now_ns
        # what an earlier process left is late already
        self._since_ns: int | None = now_ns - options.max_wait_ns if spool.waiting else None
        qps = options.throttle_qps
        self._throttle = None if qps is None else TokenBucket(qps, options.throttle_burst, now_ns)
        self.reason = ""
        self.lock = threading.Lock()

    @property
    def is_failing(self) -> bool:
        """Whether the last attempt failed."""
        return bool(self.reason)

    def arrived(self, now_ns: int) -> None:
        """Note that there are new items."""
        if self._since_ns is None:
            self._since_ns = now_ns

    def due_at(self, now_ns: int, *, is_closing: bool = False) -> int | None:
        """Give the time at which `step` has something to do; None: when something arrives."""
        with self.lock:
            waiting = self._spool.waiting
        if not waiting or self._since_ns is None:
            return None
        full_ns = now_ns if waiting >= self._limit or is_closing else self._since_ns + self._options.max_wait_ns
        due_ns = max(full_ns, self._resumes_ns)
        return due_ns if self._throttle is None else max(due_ns, self._throttle.ready_at(now_ns))

    def step(self, now_ns: int) -> None:
        """Post one batch; `now_ns` is when it is due or later."""
        with self.lock:
            items, position = self._spool.read(self._limit, BATCH_MAX_BYTES)
        if not items:
            return
        if self._throttle is not None:
            self._throttle.use(now_ns)
        failure = self._sends.post(wire.event_list(items))
        # a receiver that hangs has used up time of its own; the pause begins now
        now_ns = self._clock()
        if failure is None:
            self.reason = ""
            self._done(position, len(items), now_ns)
        elif failure.code in _CONTENT_CODES and len(items) > 1:
            # one of them is at fault: smaller batches find it
            self._limit = max(1, len(items) // 2)
        else:
            self._failed(failure, items, position, now_ns)

    def stumble(self, reason: str, now_ns: int) -> None:
        """Pause after a fault of our own, a disk that cannot be read for instance."""
        self.reason = reason
        self._resumes_ns = now_ns + self._pause_ns
        self._pause_ns = min(BACKOFF_MAX_NS, round(self._pause_ns * BACKOFF_FACTOR))

    def _done(self, position: Position, count: int, now_ns: int) -> None:
        self._pause_ns, self._refusals = self._initial_ns, 0
        self._limit = min(self._options.max_size, self._limit * 2)
        with self.lock:
            self._spool.release(position, count)
            self._since_ns = now_ns if self._spool.waiting else None

    def _failed(self, failure: Failure, items: Sequence[bytes], position: Position, now_ns: int) -> None:
        self.reason = failure.reason
        self._refusals = self._refusals + 1 if failure.code in _CONTENT_CODES else 0
        if self._refusals >= ATTEMPTS:
            self._refuse(items[0], failure.reason)
            self._done(position, 1, now_ns)
            return
        asked_ns = min(BACKOFF_MAX_NS, (failure.wait_s or 0) * _SECOND_NS)
        self._resumes_ns = now_ns + max(asked_ns, round(self._pause_ns * (1 + BACKOFF_JITTER * self._jitter())))
        self._pause_ns = min(BACKOFF_MAX_NS, round(self._pause_ns * BACKOFF_FACTOR))


class Spooled:
    """The webhook backend with a spool before it. `is_synced`: a request waits until its Event is safe on the disk."""

    name = f"{NAME}<{WEBHOOK}>"

    def __init__(
        self,
        spool: Spool,
        sends: Sends,
        options: BatchOptions,
        initial_backoff_ns: int,
        metrics: Metrics,
        tell: Callable[[str], None],
        *,
        is_synced: bool,
    ) -> None:
        self._spool = spool
        self._sends = sends
        self._metrics = metrics
        self._tell = tell
        self._is_synced = is_synced
        self._courier = Courier(spool, sends, options, initial_backoff_ns, self._give_up)
        self._changed = threading.Condition()
        self._is_closing = False
        self._sync_ns: int | None = None
        self._thread = threading.Thread(target=self._work, name="audit-webhook-spool", daemon=True)
        metrics.watch("spool_bytes", "Bytes that wait in the spool of the webhook", lambda: spool.used_bytes)
        metrics.watch("spool_events", "Events that wait in the spool of the webhook", lambda: spool.waiting)

    def run(self) -> None:
        """Start the thread that delivers, beginning with what an earlier process left."""
        if self._spool.waiting:
            self._tell(f"the audit spool holds {self._spool.waiting} events of an earlier run")
        if self._spool.lost_bytes:
            self._tell(f"the audit spool was cut short: {self._spool.lost_bytes} bytes cannot be read")
        self._thread.start()

    def shutdown(self) -> None:
        """Take no more, deliver what the receiver takes now, and leave the rest on the disk."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join()
        self._sends.close()
        if self._spool.waiting:
            self._tell(f"the audit spool keeps {self._spool.waiting} events for the next run")
        try:
            self._spool.close()
        except OSError as exc:
            self._tell(f"the audit spool could not be synced: {reason_of(exc)}")

    def process_events(self, events: Sequence[Event]) -> bool:
        """Keep the Events on the disk; False when they do not fit or cannot be kept."""
        try:
            items = [wire.item(event) for event in events]
        except (UnicodeEncodeError, msgspec.MsgspecError) as exc:
            self._metrics.plugin_error(NAME, f"the Event cannot be written as text: {exc}", events)
            return False
        reason = "audit backend shut down" if self._is_closing else self._keep(items)
        if reason is not None:
            self._metrics.plugin_error(NAME, reason, events)
        return reason is None

    def _keep(self, items: Sequence[bytes]) -> str | None:
        try:
            with self._courier.lock:
                self._spool.append(items)
                if self._is_synced:
                    self._spool.sync()
        except SpoolFullError as exc:
            return str(exc)
        except OSError as exc:
            return reason_of(exc)
        now_ns = time.monotonic_ns()
        with self._changed:
            self._courier.arrived(now_ns)
            if self._sync_ns is None and not self._is_synced:
                self._sync_ns = now_ns + SYNC_NS
            self._changed.notify()
        return None

    def _work(self) -> None:
        while True:
            with self._changed:
                now_ns = time.monotonic_ns()
                due_ns = self._courier.due_at(now_ns, is_closing=self._is_closing)
                if self._is_closing and (due_ns is None or self._courier.is_failing):
                    return
                wakes = [at for at in (due_ns, self._sync_ns) if at is not None]
                if not wakes or min(wakes) > now_ns:
                    self._changed.wait((min(wakes) - now_ns) / _SECOND_NS if wakes else None)
                    continue
            self._sync(now_ns)
            if due_ns is not None and due_ns <= now_ns:
                self._deliver(now_ns)

    def _sync(self, now_ns: int) -> None:
        if self._sync_ns is None or self._sync_ns > now_ns:
            return
        self._sync_ns = None
        # requests append meanwhile: a slow disk is not theirs to wait for
        with self._courier.lock:
            file = self._spool.begin_sync()
        if file is None:
            return
        is_failed = False
        try:
            file.sync()
        except OSError as exc:
            is_failed = True
            self._tell(f"the audit spool could not be synced: {reason_of(exc)}")
        with self._courier.lock:
            self._spool.end_sync(is_failed=is_failed)

    def _deliver(self, now_ns: int) -> None:
        was = self._courier.reason
        try:
            self._courier.step(now_ns)
        except OSError as exc:
            self._courier.stumble(f"{exc.filename}: {reason_of(exc)}", time.monotonic_ns())
        if self._courier.reason and self._courier.reason != was:
            self._tell(f"the audit webhook fails, {self._spool.waiting} events wait: {self._courier.reason}")
        elif was and not self._courier.reason:
            self._tell("the audit webhook is back")

    def _give_up(self, item: bytes, reason: str) -> None:
        try:
            event = msgspec.json.decode(item, type=Event)
        except msgspec.MsgspecError:
            self._tell(f"an item of the audit spool that is no event was refused: {reason}")
            return
        self._metrics.plugin_error(WEBHOOK, reason, (event,))
