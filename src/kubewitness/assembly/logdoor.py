"""
A log file as a second door of a running server: what kube-apiserver writes comes into the same log as what it posts.

An Event that came through both doors is stored once. While the store cannot take it the file is not read on, and what
was not acknowledged is read again.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from kubewitness.assembly.desk import Desk
from kubewitness.assembly.tailing import Progress
from kubewitness.event.items import KUBE_APISERVER, Damage
from kubewitness.keep.receiver.body import Body, Odd
from kubewitness.keep.receiver.intake import Intake, Outcome
from kubewitness.keep.receiver.logtail import LogTail, Read
from kubewitness.keep.store.doors import TAIL, source_name
from kubewitness.keep.store.errors import StoreError
from kubewitness.keep.store.layout import DataDir, KeyDir

POLL_SECONDS = 0.2
RETRY_SECONDS = 3.0
STORE_SECONDS = 60.0
BATCH_EVENTS = 2_000
BATCH_BYTES = 4 << 20
MAX_ODD = 100


class LogDoor:
    """Reads one log file in a thread of its own."""

    def __init__(
        self,
        path: Path,
        desk: Callable[[], Desk],
        data: DataDir,
        keys: KeyDir,
        *,
        alert: Callable[[str], None],
        taken: Callable[[Outcome, str], None],
    ) -> None:
        """Begin. `alert` hears what may have cost Events, `taken` what was stored; both in our thread."""
        self._path = path.absolute()
        self._desk = desk
        self._data, self._keys = data, keys
        self._alert = alert
        self._taken = taken
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"log {path.name}")
        self._thread.start()

    def stop(self) -> None:
        """Read no further."""
        self._stopped.set()

    def join(self) -> None:
        """Wait until what was read is settled."""
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            intake = self._desk().intake
            if intake is None:
                self._stopped.wait(POLL_SECONDS)
                continue
            try:
                self._read(intake)
            except (StoreError, OSError, TimeoutError) as exc:
                self._alert(f"{self._path}: not read on for now: {exc}")
                self._stopped.wait(RETRY_SECONDS)

    def _read(self, intake: Intake) -> None:
        """Read until stopped, from where all before is known to last. Raises StoreError, OSError, TimeoutError."""
        root, _ = self._data.enter(self._desk().cluster)
        with root:
            progress = Progress(root, self._keys.identity(), self._path)
            tail = LogTail(self._path, progress.fingerprint, progress.load(), self._alert)
            try:
                while self._take(tail, intake):
                    progress.save(tail.state)
                    if self._stopped.wait(POLL_SECONDS):
                        return
            finally:
                tail.close()
                progress.close()

    def _take(self, tail: LogTail, intake: Intake) -> bool:
        """Store what has come to the file; all of it lasts when this returns. False when stopped halfway."""
        parts, size, source = Body(), 0, ""
        for found in tail.poll():
            of = source_name(TAIL, str(self._path), _dialect(found))
            if parts.events and (of != source or len(parts.events) >= BATCH_EVENTS or size >= BATCH_BYTES):
                self._store(intake, parts, source)
                parts, size = Body(), 0
                if self._stopped.is_set():
                    return False  # what was read and not stored is read again
            source = of
            size += self._add(found, parts)
            if len(parts.odd) >= MAX_ODD:
                self._store(intake, parts, source)
                parts, size = Body(), 0
        self._store(intake, parts, source)
        return True

    @staticmethod
    def _add(found: Read, parts: Body) -> int:
        part = found.part
        if isinstance(part, Damage):
            if found.raw:
                parts.odd.append(Odd(part.offset, part.reason, found.raw))
            return part.length
        why = parts.add(part.raw)
        if why:
            parts.odd.append(Odd(part.offset, why, part.raw))
        return len(part.raw)

    def _store(self, intake: Intake, parts: Body, source: str) -> None:
        if parts.events or parts.odd:
            outcome = intake.take_parts(parts, source, time.time_ns()).result(STORE_SECONDS)
            self._taken(outcome, source)


def _dialect(found: Read) -> str:
    return KUBE_APISERVER if isinstance(found.part, Damage) else found.part.dialect
