"""
The second process of a server: it makes tree, heads and index from what the first one has stored.

    python -m kubewitness.assembly.sealer          run by `sealing`, never by hand

On standard input come lines of JSON: first what there is to do, then how far each log is durable. On standard output
go lines of JSON: how far each log is sealed and indexed, or what is wrong. When the input ends it seals what is
durable and ends too. A thread for each log, so that a disk that hangs holds up one only.
"""

import contextlib
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from kubewitness.assembly.indexing import Indexing, Pace
from kubewitness.keep.store.errors import DamagedError
from kubewitness.keep.store.layout import DataDir, KeyDir
from kubewitness.keep.store.sinks import Sinks, sinks_of
from kubewitness.keep.store.tree import Tree, head_sizes

RETRY_SECONDS = 5.0
STOP_SECONDS = 60.0
BEHIND_EVENTS = 40_000
GARBAGE = (50_000, 20, 50)
"""When Python looks for cycles: seldom, as what is made of Events has none, and there is much of it at a time."""
MAX_SLICE = 16_384  # Events taken in before a head is signed, so that a head is never long in coming
LARGE_SLICE = 65_536  # of an import, where nobody waits for it


class Order(msgspec.Struct, frozen=True):
    """What the sealer is told first."""

    data: str
    keys: str
    clusters: Sequence[str]
    every_seconds: float = 1.0
    sinks: Sequence[Mapping[str, str]] = ()
    is_indexed: bool = True
    pace: str = Pace.KEEPING_UP.name
    """Of the index. At once means also that this is all there is to do: nobody is to come first."""

    @property
    def is_at_once(self) -> bool:
        """Whether all is to be done at once, and then no more."""
        return Pace[self.pace] is Pace.AT_ONCE


class Durable(msgspec.Struct, frozen=True):
    """How far a log is durable."""

    cluster: str
    end: int


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a log is sealed or indexed, -1 where nothing is said; `error` says what keeps it from going on."""

    cluster: str
    sealed: int = -1
    indexed: int = -1
    error: str = ""
    is_damage: bool = False
    is_index: bool = False
    """Whether the error is of the index, which is disposable."""
    head: str = ""
    """The head that was signed now, as it was signed."""
    sink: str = ""
    """A sink of heads that begins to fail, with `error`, or works again, without."""


class Sealer:
    """Seals one log, in a thread of its own."""

    def __init__(self, order: Order, cluster: str, report: Callable[[Report], None]) -> None:
        """Begin."""
        self._order = order
        self._cluster = cluster
        self._report = report
        self._end = -1  # not open yet
        self._size = 0
        self._is_stopping = False
        self._changed = threading.Condition()
        self._sinks = Sinks(sinks_of(order.sinks), self._sink_changed)
        self.thread = threading.Thread(target=self._run, name=f"seal {cluster}")
        self.thread.start()

    def tell(self, end: int) -> None:
        """Say how far the log is durable."""
        with self._changed:
            self._end = max(self._end, end)
            self._changed.notify()

    def is_behind(self) -> bool:
        """Tell whether more waits for a head than a second or two should bring."""
        return self._end - self._size > BEHIND_EVENTS

    def stop(self) -> None:
        """Seal what is durable, then end."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            # before the store was recovered nobody may look for a tree in it
            self._changed.wait_for(lambda: self._end >= 0 or self._is_stopping)
            if self._end < 0:
                return
        while self._is_failing():
            with self._changed:
                if self._changed.wait_for(lambda: self._is_stopping, RETRY_SECONDS):
                    break
        self._sinks.close()

    def _sink_changed(self, sink: str, error: str) -> None:
        self._report(Report(self._cluster, sink=sink, error=error))

    def _is_failing(self) -> bool:
        """Seal until told to stop; tell whether something kept it from that."""
        try:
            self._seal()
        except Exception as exc:  # noqa: BLE001 - whatever it is, the other logs go on, and somebody hears of it
            is_damage = isinstance(exc, DamagedError)
            self._report(Report(self._cluster, error=f"{type(exc).__name__}: {exc}", is_damage=is_damage))
            return True
        return False

    def _seal(self) -> None:
        """Grow the tree of the log until told to stop. Raises StoreError, OSError."""
        data = DataDir(Path(self._order.data))
        with contextlib.ExitStack() as opened:
            root, meta = data.enter(self._cluster)
            opened.enter_context(root)
            signers = KeyDir(Path(self._order.keys)).signers(meta, is_signed=bool(head_sizes(root)))
            tree = Tree(root, meta.origin, signers)
            opened.callback(tree.abandon)
            self._size = tree.size
            self._report(Report(self._cluster, tree.signed_size))
            while True:
                end, is_last = self._wait_for(tree.size)
                for head in _heads(tree, end, LARGE_SLICE if self._order.is_at_once else MAX_SLICE):
                    self._size = tree.size
                    self._sinks(head)
                    self._report(Report(self._cluster, tree.signed_size, head=head.decode()))
                if is_last:
                    tree.settle()
                    return

    def _wait_for(self, size: int) -> tuple[int, bool]:
        """Wait until there is something to seal, and for a moment more, so that a head has many Events."""
        with self._changed:
            while self._end <= size and not self._is_stopping:
                self._changed.wait()
            if not self._is_stopping:
                self._changed.wait_for(lambda: self._is_stopping, self._order.every_seconds)
            return self._end, self._is_stopping


def _heads(tree: Tree, end: int, slice_size: int) -> Iterator[bytes]:
    """Grow a tree to `end` in slices, as blocks allow; give the head of each."""
    while tree.size < end:
        head = tree.grow(min(end, tree.size + slice_size))
        if head is not None:
            yield head
        elif tree.size + slice_size >= end:
            return
        else:
            slice_size *= 2  # the next block is larger


def _indexing(order: Order, cluster: str, report: Callable[[Report], None], is_behind: Callable[[], bool]) -> Indexing:
    return Indexing(
        order.data,
        cluster,
        lambda end: report(Report(cluster, indexed=end)),
        lambda error: report(Report(cluster, error=error, is_index=True)),
        (lambda: False) if order.is_at_once else is_behind,
        Pace[order.pace],
    )


def main() -> None:
    """Do what standard input says, until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the first process, which closes our input then
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.umask(0o077)
    gc.freeze()
    gc.set_threshold(*GARBAGE)
    lock = threading.Lock()

    def report(said: Report) -> None:
        with lock, contextlib.suppress(BrokenPipeError):
            sys.stdout.buffer.write(msgspec.json.encode(said) + b"\n")
            sys.stdout.buffer.flush()

    lines = iter(sys.stdin.buffer.readline, b"")
    order = msgspec.json.decode(next(lines), type=Order)
    if not order.is_at_once:
        with contextlib.suppress(OSError):
            os.nice(2)  # acknowledging comes first, but heads are promised soon too
    workers: dict[str, list[Sealer | Indexing]] = {}
    for cluster in order.clusters:
        sealer = Sealer(order, cluster, report)
        workers[cluster] = [sealer]
        if order.is_indexed:
            workers[cluster].append(_indexing(order, cluster, report, sealer.is_behind))
    for line in lines:
        told = msgspec.json.decode(line, type=Durable)
        for worker in workers[told.cluster]:
            worker.tell(told.end)
    everybody = [worker for of_cluster in workers.values() for worker in of_cluster]
    for worker in everybody:
        worker.stop()
    deadline = time.monotonic() + STOP_SECONDS
    for worker in everybody:
        worker.thread.join(None if order.is_at_once else max(deadline - time.monotonic(), 0.1))
    # a disk that hangs may hold a thread; what it was to write can be made again
    os._exit(0)


if __name__ == "__main__":
    main()
