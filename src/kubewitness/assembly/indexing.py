"""
The index of a log, put together: segments on one side, columns by DuckDB on the other.

`ServedIndex` keeps up with a server in little memory, and only when there is enough for a file: what is newer is read
from the segments by whoever asks. `catch_up` makes all of it at once, for imports and rebuilding.
"""

import shutil
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from kubewitness._kit.files import DiskDirectory
from kubewitness.keep.index.maker import IndexMaker
from kubewitness.keep.index.manifest import INDEX, Manifest
from kubewitness.look.query.tabulate import DuckTabulator

ENOUGH_EVENTS = 8_192
"""As many newest Events cost a question some 50 ms."""
PATIENCE_SECONDS = 30.0
_SERVED_BATCH, _SERVED_FILE, _SERVED_MEMORY = 16 << 20, 96 << 20, 384 << 20
_BATCH, _FILE, _MEMORY = 192 << 20, 256 << 20, 1024 << 20


class ServedIndex:
    """The index of a log that is being written."""

    def __init__(self, root: DiskDirectory, cluster: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Take it up where it is. Raises BlockingIOError when another process makes it, OSError."""
        self._clock = clock
        self._tabulator = DuckTabulator(cluster, memory_bytes=_SERVED_MEMORY, threads=1)
        self._maker = IndexMaker(root, self._tabulator, batch_bytes=_SERVED_BATCH, file_bytes=_SERVED_FILE)
        self._advanced = clock()

    def advance(self, until: int) -> int:
        """Take in what is new below `until`, if it is much or has waited long; give how far the index goes."""
        is_late = self._clock() - self._advanced >= PATIENCE_SECONDS
        end = self._maker.advance(until, at_least=1 if is_late else ENOUGH_EVENTS)
        if is_late or end == until:
            self._advanced = self._clock()
        return end

    def close(self) -> None:
        """Let go of everything."""
        self._maker.close()
        self._tabulator.close()


def catch_up(root: DiskDirectory, cluster: str, told: Callable[[int], None] = lambda _: None) -> Manifest:
    """Index all that a log holds, in files as large as they get. Raises BlockingIOError, OSError."""
    with (
        closing(DuckTabulator(cluster, memory_bytes=_MEMORY)) as tabulator,
        closing(IndexMaker(root, tabulator, batch_bytes=_BATCH, file_bytes=_FILE)) as maker,
    ):
        maker.advance(is_final=True, told=told)
        maker.settle()
        return maker.manifest


def discard(log: Path) -> None:
    """Remove the index of a log, which is made again from its segments."""
    shutil.rmtree(log / INDEX, ignore_errors=True)
