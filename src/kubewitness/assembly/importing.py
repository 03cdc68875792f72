"""
Import files into a log: every shape that `search` reads, once, resumable because idempotent, sealed and indexed.

While Events are stored, a second process grows the tree and makes the index, in large files. An import that was
stopped is run again: what is stored already is known by its identity, and nothing is stored twice.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import msgspec

from kubewitness._kit.files import DiskDirectory
from kubewitness._kit.opening import TornError
from kubewitness.assembly.collector import Collector
from kubewitness.assembly.indexing import Pace
from kubewitness.assembly.ingest import Counts, Ingest, cut_out
from kubewitness.assembly.reindexing import catch_up
from kubewitness.assembly.sealer import Durable, Order, Report
from kubewitness.event.decode import Record, read
from kubewitness.event.items import Damage, DamageKind, Item
from kubewitness.event.split import Splitter
from kubewitness.keep.receiver.body import Odd
from kubewitness.keep.store.doors import IMPORT
from kubewitness.keep.store.errors import BrokenIndexError, LockedError
from kubewitness.keep.store.layout import DataDir, KeyDir
from kubewitness.keep.store.log import LOCK
from kubewitness.keep.store.tree import head_sizes
from kubewitness.look.query.source import Input

_ODD_AT_ONCE = 100
PARQUET = ".parquet"


@dataclass(slots=True)
class Imported:
    """What an import did."""

    counts: Counts = field(default_factory=Counts)
    end: int = 0
    """The index after the last Event of the log."""
    sealed: int = 0
    indexed: int = 0
    trouble: str = ""
    """Why not all is sealed, if so."""
    is_damage: bool = False
    """Whether that is because what is stored, or was signed, is not as it was."""
    seconds: dict[str, float] = field(default_factory=dict)
    """How long each phase took."""


class Import:
    """One import on its way."""

    def __init__(self, data: DataDir, keys: KeyDir, cluster: str, inputs: Sequence[Input]) -> None:
        """Be ready to import these inputs."""
        self._data, self._keys, self._cluster = data, keys, cluster
        self._inputs = inputs
        self._done_bytes = 0
        self._total_bytes = sum(one.size_bytes for one in inputs)
        self._is_stopped = threading.Event()
        self.result = Imported()
        self.phase = "store"

    def fraction(self) -> float | None:
        """How far the reading is; None while nobody knows."""
        return self._done_bytes / self._total_bytes if self._total_bytes and self._done_bytes else None

    def stop(self) -> None:
        """Store what was read, then end. May be called from another thread."""
        self._is_stopped.set()

    @property
    def is_stopped(self) -> bool:
        """Whether it was told to stop."""
        return self._is_stopped.is_set()

    def run(self) -> Imported:
        """Store, seal, index. Raises StoreError, OSError."""
        import duckdb  # takes 100 ms

        try:
            return self._run()
        except (duckdb.Error, FileNotFoundError) as exc:
            if isinstance(exc, FileNotFoundError) and not str(exc.filename).endswith(PARQUET):
                raise
            raise BrokenIndexError(str(exc).partition("\n")[0]) from exc

    def _run(self) -> Imported:
        begun = time.monotonic()
        root, _ = self._data.enter(self._cluster)
        with root:
            had = any(name.endswith(".zst") for name in _names(root))
            if had:
                self._catch_up(root)  # what is there must be known before anything is added
        if self.is_stopped:
            return self.result
        with closing(Collector()) as self._collector:
            self._store_and_seal(begun, has_past=had)
        return self.result

    def _store_and_seal(self, begun: float, *, has_past: bool) -> None:
        with SealerProcess(self._data, self._keys, self._cluster, pace=Pace.AT_ONCE) as sealer:
            with Ingest(
                self._data, self._keys, self._cluster, IMPORT, has_past=has_past, on_durable=sealer.tell
            ) as ingest:
                self.result.counts = ingest.counts
                sealer.tell(ingest.log.end)
                for one in self._inputs:
                    if self.is_stopped:
                        break
                    self._import(one, ingest)
                self.result.end = ingest.wait()
            begun = self._enter("store", "seal", begun)
            sealer.finish()
            sealer.wait_for_seal(self.result.end)
            begun = self._enter("seal", "index", begun)
        with self._data.look(self._cluster) as root:  # where it could not begin, it said nothing of what was signed
            self.result.sealed = max(sealer.sealed, max(head_sizes(root), default=0))
        self.result.trouble = sealer.trouble
        self.result.is_damage = sealer.is_damage
        if sealer.sealed < self.result.end and not sealer.trouble:
            self.result.trouble = "the process that seals ended before its time; run the same command again"
        self.result.indexed = sealer.indexed
        if sealer.indexed < self.result.end:  # it was killed, or met an error that nobody heard of
            with self._data.look(self._cluster) as root:
                self.result.indexed = self._catch_up(root)
        self._enter("index", "", begun)

    def _catch_up(self, root: DiskDirectory) -> int:
        """Index what is there; give how much that is. Raises LockedError when another process writes to the log.

        An import that was killed leaves a process that goes on with its index, and ends by itself: it is waited for.
        """
        while True:
            try:
                root.lock(LOCK).close()
            except BlockingIOError as exc:
                raise LockedError("another process writes to this store") from exc
            try:
                return catch_up(root, self._cluster).end
            except BlockingIOError:
                if self._is_stopped.wait(0.1):
                    return 0

    def _enter(self, before: str, phase: str, begun: float) -> float:
        now = time.monotonic()
        self.result.seconds[before] = round(now - begun, 3)
        self.phase = phase
        return now

    def _import(self, one: Input, ingest: Ingest) -> None:
        begun = self._done_bytes
        spans: list[tuple[int, int, str]] = []
        odd: list[Odd] = []
        torn: list[TornError] = []
        decompressed = 0

        def chunks() -> Iterator[bytes]:
            nonlocal decompressed
            try:
                for chunk in one.chunks():
                    decompressed += len(chunk)
                    yield chunk
            except TornError as exc:
                torn.append(exc)

        for parts in _parts(chunks(), one.name):
            for part in parts:
                found = part if isinstance(part, Damage) else read(part)
                if isinstance(found, Record):
                    ingest.add(found, one.name)
                    continue
                ingest.note(found)
                if isinstance(part, Damage):
                    spans.append((part.offset, part.length, part.reason))
                else:
                    odd.append(Odd(found.offset, found.reason, part.raw))
                    if len(odd) >= _ODD_AT_ONCE:
                        ingest.quarantine(odd, one.name)
                        odd = []
            if parts:
                self._done_bytes = begun + min(self._position(one, parts[-1].offset), one.size_bytes)
            self._collector.step()
            if self.is_stopped:
                break
        for exc in torn:
            ingest.counts.torn += 1
            ingest.note(Damage(one.name, exc.decompressed_bytes, 0, 0, exc.reason, b"", DamageKind.TORN))
        ingest.quarantine(odd, one.name)
        for at in range(0, len(spans), _ODD_AT_ONCE):
            with suppress(TornError):
                ingest.quarantine(cut_out(one.chunks(), spans[at : at + _ODD_AT_ONCE]), one.name)
        ingest.flush()
        if not self.is_stopped:
            self._done_bytes = begun + one.size_bytes

    @staticmethod
    def _position(one: Input, offset: int) -> int:
        return offset // (1 if one.compression.value == "none" else 10)


def _parts(chunks: Iterable[bytes], name: str) -> Iterator[Sequence[Item | Damage]]:
    """Split a stream; give what each chunk completes."""
    splitter = Splitter(name)
    for chunk in chunks:
        yield splitter.feed(chunk)
    yield splitter.close()


def _names(root: object) -> list[str]:
    from kubewitness.keep.store.log import SEGMENTS

    with suppress(FileNotFoundError):
        segments = root.look(SEGMENTS)  # type: ignore[attr-defined]
        try:
            return list(segments.names())
        finally:
            segments.close()
    return []


class SealerProcess:
    """A process that grows the tree of one log while Events are stored; ends when all that was told is sealed."""

    def __init__(self, data: DataDir, keys: KeyDir, cluster: str, *, pace: Pace = Pace.KEEPING_UP) -> None:
        """Start it; the index is made at this pace."""
        self._cluster = cluster
        self.sealed = 0
        self.indexed = 0
        self.trouble = ""
        """Why not all is sealed."""
        self.is_damage = False
        """Whether that is because what is stored, or was signed, is not as it was."""
        self._order = Order(str(data.path.absolute()), str(keys.path.absolute()), [cluster], pace=pace.name)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kubewitness.assembly.sealer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us, who close its input
        )
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        assert self._process.stdout is not None  # noqa: S101
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._has_ended = False
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, name="sealer", daemon=True)

    def tell(self, end: int) -> None:
        """Say how far the log is durable."""
        self._say(Durable(self._cluster, end))

    def _say(self, message: msgspec.Struct) -> None:
        with suppress(BrokenPipeError, ValueError):
            self._stdin.write(msgspec.json.encode(message) + b"\n")
            self._stdin.flush()

    def _read(self) -> None:
        for line in self._stdout:
            report = msgspec.json.decode(line, type=Report)
            with self._changed:
                self.sealed = max(self.sealed, report.sealed)
                self.indexed = max(self.indexed, report.indexed)
                if report.sealed >= 0 or (report.error and not report.is_index):
                    self.trouble, self.is_damage = report.error, report.is_damage
                self._changed.notify()
        with self._changed:
            self._has_ended = True
            self._changed.notify()

    def finish(self) -> None:
        """Say that nothing more comes."""
        with suppress(BrokenPipeError):
            self._stdin.close()

    def wait_for_seal(self, end: int) -> None:
        """Wait until the Events below `end` are sealed, or it has ended."""
        with self._changed:
            self._changed.wait_for(lambda: self.sealed >= end or self._has_ended)

    def __enter__(self) -> Self:
        self._say(self._order)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()
        self._process.wait()
        self._reader.join()
        self._stdout.close()
