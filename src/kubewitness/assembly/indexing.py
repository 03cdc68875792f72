"""
Keep the index of a log up to date, in a thread of the sealer process, one log at a time.

The index may lag: a question reads the newest Events from the segments. So it is made when there is something worth a
file, or when a while has passed.
"""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from kubewitness.keep.store.layout import DataDir

RETRY_SECONDS = 10.0
WORTH_A_FILE = 20_000
AT_LATEST_SECONDS = 15.0
YIELD_SECONDS = 10.0
BATCH_BYTES = 16 << 20
FILE_BYTES = 64 << 20
MEMORY_BYTES = 320 << 20
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
    ) -> None:
        """Begin, once `tell` was called. While the tree `is_behind` it comes first, within bounds."""
        self._data = DataDir(Path(data))
        self._cluster = cluster
        self._on_indexed = on_indexed
        self._on_error = on_error
        self._is_behind = is_behind
        self._end = -1
        self._is_stopping = False
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
        while not self._is_stopping:
            try:
                self._keep_up()
            except Exception as exc:  # noqa: BLE001 - whatever it is, other logs go on, and somebody hears of it
                self._on_error(f"{type(exc).__name__}: {exc}")
                with self._changed:
                    self._changed.wait_for(lambda: self._is_stopping, RETRY_SECONDS)

    def _keep_up(self) -> None:
        from kubewitness.keep.index.maker import IndexMaker
        from kubewitness.look.query.tabulate import DuckTabulator

        with ExitStack() as opened:
            root, _ = self._data.enter(self._cluster)
            opened.enter_context(root)
            tabulator = DuckTabulator(self._cluster, memory_bytes=MEMORY_BYTES, threads=1)
            opened.callback(tabulator.close)
            maker = IndexMaker(root, tabulator, batch_bytes=BATCH_BYTES, file_bytes=FILE_BYTES)
            opened.callback(maker.close)
            self._on_indexed(maker.end)
            while True:
                end = self._wait_for(maker.end)
                if self._is_stopping:
                    return
                with _one_at_a_time:
                    maker.advance(end)
                self._on_indexed(maker.end)

    def _wait_for(self, done: int) -> int:
        """Wait until there is something worth the work; give how far the log is durable then."""
        with self._changed:
            self._changed.wait_for(lambda: self._end > done or self._is_stopping)
            latest = time.monotonic() + AT_LATEST_SECONDS
            self._changed.wait_for(
                lambda: self._end - done >= WORTH_A_FILE or self._is_stopping, latest - time.monotonic()
            )
            # a head is promised soon, the index is not
            self._changed.wait_for(lambda: not self._is_behind() or self._is_stopping, YIELD_SECONDS)
            return self._end
