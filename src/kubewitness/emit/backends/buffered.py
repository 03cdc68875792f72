"""
Mode batch: requests leave their Events in a buffer, a thread hands them on in batches.

What does not fit is dropped at once, counted and reported; the request never notices. `shutdown` hands on what is in
the buffer. With `in_flight_max` above one, batches are handed on by threads of their own, so that a slow receiver does
not hold up the next batch, and may arrive out of order.

Follows k8s.io/apiserver/plugin/pkg/audit/buffered/buffered.go. Differs: batches under way have a limit.
"""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from kubewitness.emit.backends.batcher import Batcher, BatchOptions
from kubewitness.emit.metrics import Metrics
from kubewitness.event.flow import Backend
from kubewitness.event.types import Event

NAME = "buffered"
_SECOND_NS = 1_000_000_000


class Buffered:
    """Wraps a backend that is not to hold up requests."""

    def __init__(self, backend: Backend, options: BatchOptions, metrics: Metrics, in_flight_max: int = 1) -> None:
        self._backend = backend
        self._metrics = metrics
        self._batcher = Batcher(options, time.monotonic_ns())
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name=f"audit-{NAME}", daemon=True)
        self._senders = ThreadPoolExecutor(in_flight_max, f"audit-{NAME}") if in_flight_max > 1 else None
        self._in_flight = threading.BoundedSemaphore(in_flight_max)
        self.name = f"{NAME}<{backend.name}>"

    def run(self) -> None:
        """Start the backend and the thread that hands batches on."""
        self._backend.run()
        self._thread.start()

    def shutdown(self) -> None:
        """Take no more, hand on what is here, then stop the backend."""
        with self._changed:
            self._batcher.close()
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join()
        if self._senders is not None:
            self._senders.shutdown()
        self._backend.shutdown()

    def process_events(self, events: Sequence[Event]) -> bool:
        """Buffer the Events. Never fails: what is dropped is counted."""
        for position, event in enumerate(events):
            with self._changed:
                reason = self._batcher.add(event, time.monotonic_ns())
                self._changed.notify()
            if reason is not None:
                self._metrics.plugin_error(NAME, reason, events[position:])
                break
        return True

    def _work(self) -> None:
        while True:
            with self._changed:
                batch = self._next_batch()
            if not batch:
                return
            if self._senders is None:
                self._backend.process_events(batch)
            else:
                self._in_flight.acquire()
                self._senders.submit(self._send, batch)

    def _next_batch(self) -> Sequence[Event]:
        """Wait for the next batch; nothing when closed and empty. Called with the lock held."""
        while not self._batcher.is_finished:
            now_ns = time.monotonic_ns()
            batch = self._batcher.take(now_ns)
            if batch:
                return batch
            wakes_ns = self._batcher.wakes_at(now_ns)
            self._changed.wait(None if wakes_ns is None else (wakes_ns - now_ns) / _SECOND_NS)
        return ()

    def _send(self, batch: Sequence[Event]) -> None:
        try:
            self._backend.process_events(batch)
        finally:
            self._in_flight.release()
