"""Stores for tests: recorded logs put into a data directory, indexed as far as wanted."""

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from kubewitness._kit.opening import read_chunks
from kubewitness.event.items import Item
from kubewitness.event.split import split
from kubewitness.keep.index.maker import IndexMaker
from kubewitness.keep.store.layout import DataDir
from kubewitness.keep.store.log import Batch, ClusterLog
from kubewitness.look.query.tabulate import DuckTabulator

KEY = bytes(range(32))
BATCH = 100


def items_of(path: Path) -> list[bytes]:
    """The exact bytes of the Events of a log."""
    return [one.raw for one in split(read_chunks(path), str(path)) if isinstance(one, Item)]


def fill(data: Path, cluster: str, events: Iterable[bytes], *, source: str = "import:audit.log") -> int:
    """Store these Events; the index after the last one."""
    root, _ = DataDir(data).enter(cluster)
    with root, closing(ClusterLog(root, KEY)) as log:
        arrivals = [log.arrive(raw) for raw in events]
        for begin in range(0, len(arrivals), BATCH):
            log.commit([Batch(1_795_403_109_000_000_000 + begin, source, arrivals[begin : begin + BATCH])])
        return log.end


def index(data: Path, cluster: str, until: int | None = None, *, batch_bytes: int = 4 << 20) -> IndexMaker:
    """Index a store up to an Event; the maker, which is closed."""
    tabulator = DuckTabulator(cluster, threads=1)
    with DataDir(data).look(cluster) as root:
        maker = IndexMaker(root, tabulator, batch_bytes=batch_bytes)
        try:
            maker.advance(until)
        finally:
            maker.close()
            tabulator.close()
        return maker
