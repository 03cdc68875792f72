"""
Import files into a log: every shape that `search` reads, once, resumable because idempotent, sealed and indexed.

While Events are stored, a second process grows the tree; the index is made at the end, in large files. An import that
was stopped is run again: what is stored already is known by its identity, and nothing is stored twice.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import msgspec

from kubewitness._kit.opening import TornError
from kubewitness.assembly.ingest import Counts, Ingest, cut_out
from kubewitness.assembly.reindexing import catch_up
from kubewitness.assembly.sealer import Durable, Order, Report
from kubewitness.event.decode import read
from kubewitness.event.items import Damage, DamageKind
from kubewitness.event.split import split
from kubewitness.keep.receiver.body import Odd
from kubewitness.keep.store.doors import IMPORT
from kubewitness.keep.store.layout import DataDir, KeyDir
from kubewitness.look.query.source import Input

_ODD_AT_ONCE = 100


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
        begun = time.monotonic()
        root, _ = self._data.enter(self._cluster)
        with root:
            had = any(name.endswith(".zst") for name in _names(root))
            if had:
                catch_up(root, self._cluster)  # what is there must be known before anything is added
        with SealerProcess(self._data, self._keys, self._cluster) as sealer:
            with Ingest(self._data, self._keys, self._cluster, IMPORT, has_past=had, on_durable=sealer.tell) as ingest:
                self.result.counts = ingest.counts
                sealer.tell(ingest.log.end)
                for one in self._inputs:
                    if self.is_stopped:
                        break
                    self._import(one, ingest)
                self.result.end = ingest.wait()
            begun = self._enter("store", "seal", begun)
        self.result.sealed, self.result.trouble = sealer.sealed, sealer.trouble
        begun = self._enter("seal", "index", begun)
        with self._data.look(self._cluster) as root:
            self.result.indexed = catch_up(root, self._cluster).end
        self._enter("index", "", begun)
        return self.result

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

        for part in split(chunks(), one.name):
            found = part if isinstance(part, Damage) else read(part)
            if isinstance(found, Damage):
                ingest.note(found)
                if isinstance(part, Damage):
                    spans.append((part.offset, part.length, part.reason))
                else:
                    odd.append(Odd(found.offset, found.reason, part.raw))
            else:
                ingest.add(found, one.name)
            if len(odd) >= _ODD_AT_ONCE:
                ingest.quarantine(odd, one.name)
                odd = []
            if self.is_stopped:
                break
            self._done_bytes = begun + min(
                self._position(one, found.offset if isinstance(found, Damage) else found.item.offset), one.size_bytes
            )
        for exc in torn:
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

    def __init__(self, data: DataDir, keys: KeyDir, cluster: str, *, is_indexed: bool = False) -> None:
        self._cluster = cluster
        self.sealed = 0
        self.trouble = ""
        self._order = Order(str(data.path.absolute()), str(keys.path.absolute()), [cluster], is_indexed=is_indexed)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kubewitness.assembly.sealer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us, who close its input
        )
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        assert self._process.stdout is not None  # noqa: S101
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
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
            self.sealed = max(self.sealed, report.sealed)
            self.trouble = report.error

    def __enter__(self) -> Self:
        self._say(self._order)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(BrokenPipeError):
            self._stdin.close()
        self._process.wait()
        self._reader.join()
        self._stdout.close()
