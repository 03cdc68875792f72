"""
Keep the index of a log up to date, in a thread of the sealer process, one log at a time.

The index may lag: a question reads the newest Events from the segments. So it is made when there is something worth a
file, or when a while has passed. An import makes it at once: in large files, and to the end.
"""

import enum
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from kubewitness.keep.store.layout import DataDir

RETRY_SECONDS = 10.0
YIELD_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Pace:
    """How much at once, and in how much memory."""

    worth_events: int
    """So many are worth a file."""
    latest_seconds: float
    """After which fewer are, too."""
    batch_bytes: int
    file_bytes: int
    memory_bytes: int
    threads: int


class Pace(enum.Enum):
    """How an index is made."""

    KEEPING_UP = _Pace(20_000, 15.0, 16 << 20, 64 << 20, 320 << 20, 1)
    """Beside a server, for as long as it runs, in little memory."""
    AT_ONCE = _Pace(100_000, 3600.0, 192 << 20, 256 << 20, 768 << 20, 2)
    """All of it, small files merged at the end; nothing else is waited for."""


_one_at_a_time = threading.Lock()


class Indexing:
    """Makes the index of one log."""

    def __init__(
        self,
        data: str,
        cluster: str,
        on_indexed: Callable[[int], None],
        on_error: Callable[[str], None],
        is_behind: Callable[[], bool] = lambda: False,
        pace: Pace = Pace.KEEPING_UP,
    ) -> None:
        """Begin, once `tell` was called. While the tree `is_behind` it comes first, within bounds."""
        self._pace = pace.value
        self._is_at_once = pace is Pace.AT_ONCE
        self._data = DataDir(Path(data))
        self._cluster = cluster
        self._on_indexed = on_indexed
        self._on_error = on_error
        self._is_behind = is_behind
        self._end = -1
        self._is_stopping = False
        self._is_complete = self._has_failed = False
        self._changed = threading.Condition()
        self.thread = threading.Thread(target=self._run, name=f"index {cluster}")
        self.thread.start()

    def tell(self, end: int) -> None:
        """Say how far the log is durable."""
        with self._changed:
            self._end = max(self._end, end)
            self._changed.notify()

    def stop(self) -> None:
        """End after what is being done."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._end >= 0 or self._is_stopping)
        while not self._is_done():
            try:
                self._keep_up()
            except Exception as exc:  # noqa: BLE001 - whatever it is, other logs go on, and somebody hears of it
                self._has_failed = True
                self._on_error(f"{type(exc).__name__}: {exc}")
                with self._changed:
                    self._changed.wait_for(lambda: self._is_stopping, RETRY_SECONDS)

    def _is_done(self) -> bool:
        """Whether to end: when told to, and at once only with all that was told; then one error is enough, too."""
        return self._is_stopping and (not self._is_at_once or self._is_complete or self._has_failed)

    def _keep_up(self) -> None:
        from kubewitness.keep.index.maker import IndexMaker
        from kubewitness.look.query.tabulate import DuckTabulator

        with ExitStack() as opened:
            root, _ = self._data.enter(self._cluster)
            opened.enter_context(root)
            pace = self._pace
            tabulator = DuckTabulator(self._cluster, memory_bytes=pace.memory_bytes, threads=pace.threads)
            opened.callback(tabulator.close)
            maker = IndexMaker(root, tabulator, batch_bytes=pace.batch_bytes, file_bytes=pace.file_bytes)
            opened.callback(maker.close)
            self._on_indexed(maker.end)
            while True:
                end, is_last = self._wait_for(maker.end)
                if is_last and not self._is_at_once:
                    return
                with _one_at_a_time:
                    maker.advance(end, is_ongoing=self._is_at_once and not is_last)
                    if is_last:
                        maker.settle()
                self._on_indexed(maker.end)
                if is_last:
                    self._is_complete = True
                    return

    def _wait_for(self, done: int) -> tuple[int, bool]:
        """Wait until there is something worth the work; give how far the log is durable then, and if it will stay."""
        with self._changed:
            self._changed.wait_for(lambda: self._end > done or self._is_stopping)
            pace = self._pace
            self._changed.wait_for(
                lambda: self._end - done >= pace.worth_events or self._is_stopping, pace.latest_seconds
            )
            # a head is promised soon, the index is not
            self._changed.wait_for(lambda: not self._is_behind() or self._is_stopping, YIELD_SECONDS)
            return self._end, self._is_stopping
