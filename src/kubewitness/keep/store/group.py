"""
Group commit: whoever has a batch hands it in and waits; one thread stores what has come while it stored the last.

There is no timer: with one sender a batch is written at once, with many they share a sync. What waits is bounded.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Self

from kubewitness.keep.store.errors import StoreError, UnavailableError
from kubewitness.keep.store.log import BLOCK_BYTES, Batch, Receipt

MAX_WAITING_BYTES = 64 << 20  # some four seconds of work

Commit = Callable[[Sequence[Batch]], list[Receipt]]
_Waiting = tuple[Batch, int, Future[Receipt]]


class GroupCommit:
    """Runs the one thread that calls `commit`."""

    def __init__(self, commit: Commit, max_waiting_bytes: int = MAX_WAITING_BYTES) -> None:
        """Begin to store."""
        self._commit = commit
        self._limit = max_waiting_bytes
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._is_closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="commit")
        self._thread.start()

    def submit(self, batch: Batch) -> Future[Receipt]:
        """Hand in a batch; its receipt comes when it lasts, an UnavailableError if it does not.

        Raises UnavailableError at once when too much waits already; then nothing was taken.
        """
        size = sum(len(arrival.kept.line) for arrival in batch.events)
        receipt: Future[Receipt] = Future()
        receipt.set_running_or_notify_cancel()  # what was handed in is stored; who went away only misses the receipt
        with self._changed:
            if self._is_closed:
                raise UnavailableError("the store is closing")
            if self._waiting and self._bytes + size > self._limit:
                raise UnavailableError(f"{self._bytes} bytes wait to be stored, and the limit is {self._limit}")
            self._waiting.append((batch, size, receipt))
            self._bytes += size
            self._changed.notify()
        return receipt

    @property
    def waiting_bytes(self) -> int:
        """How much waits or is being stored."""
        return self._bytes

    @property
    def is_alive(self) -> bool:
        """Whether the thread still runs; a fault of ours may have ended it."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            while group := self._take():
                self._store(group)
        finally:
            # also when a fault of ours ends the thread: nobody may wait for what will not come
            with self._changed:
                self._is_closed = True
                left, self._waiting = self._waiting, deque()
            for _, _, receipt in left:
                receipt.set_exception(UnavailableError("the store is closed"))

    def _store(self, group: list[_Waiting]) -> None:
        try:
            receipts = self._commit([batch for batch, _, _ in group])
        except StoreError as exc:
            for _, _, waiter in group:
                waiter.set_exception(exc)
        else:
            for (_, _, waiter), receipt in zip(group, receipts, strict=True):
                waiter.set_result(receipt)
        finally:
            for _, size, waiter in group:
                with self._changed:
                    self._bytes -= size
                if not waiter.done():
                    waiter.set_exception(UnavailableError("the store failed"))

    def _take(self) -> list[_Waiting]:
        """Wait for batches; give those that fit a block, one at least; nothing when closed and done."""
        with self._changed:
            while not self._waiting and not self._is_closed:
                self._changed.wait()
            group: list[_Waiting] = []
            size = 0
            while self._waiting and (not group or size + self._waiting[0][1] <= BLOCK_BYTES):
                group.append(self._waiting.popleft())
                size += group[-1][1]
            return group

    def close(self) -> None:
        """Store what waits, then stop."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
