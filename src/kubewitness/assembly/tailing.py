"""
Bring a live log file into a log: what was read lasts, then it is remembered that it was read.

If that is cut off in between, the same is read again and known by its identity.
"""

import hashlib
import hmac
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from kubewitness._kit.files import Directory, read_whole, write_whole
from kubewitness.assembly.importing import SealerProcess
from kubewitness.assembly.ingest import Ingest
from kubewitness.event.decode import read
from kubewitness.event.items import Damage
from kubewitness.keep.receiver.body import Odd
from kubewitness.keep.receiver.logtail import LogTail, State
from kubewitness.keep.store.doors import TAIL
from kubewitness.keep.store.layout import DataDir, KeyDir

DOORS = "doors"
POLL_SECONDS = 0.2
_HEX_DIGITS = 32


class Tailing:
    """One log file on its way into one log; use `run` from one thread, `stop` from any."""

    def __init__(
        self,
        data: DataDir,
        keys: KeyDir,
        cluster: str,
        path: Path,
        alert: Callable[[str], None],
        told: Callable[[int, int], None] = lambda *_: None,
    ) -> None:
        """Be ready. `told` hears how many Events were stored, and the index after the last."""
        self._data, self._keys, self._cluster = data, keys, cluster
        self._path = path.absolute()
        self._alert = alert
        self._told = told
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Store what was read, then end."""
        self._stopped.set()

    def run(self, *, is_once: bool = False) -> int:
        """Read until stopped, or only what is there; give how many Events were stored. Raises StoreError, OSError."""
        with (
            SealerProcess(self._data, self._keys, self._cluster, is_indexed=True) as sealer,
            Ingest(self._data, self._keys, self._cluster, TAIL, on_durable=sealer.tell) as ingest,
        ):
            sealer.tell(ingest.log.end)
            key = self._keys.identity()

            def fingerprint(head: bytes) -> str:
                return hmac.new(key, head, hashlib.sha256).hexdigest()[:_HEX_DIGITS]

            doors = ingest.root.enter(DOORS)
            ingest.root.sync()
            name = f"tail-{fingerprint(str(self._path).encode())}.json"
            tail = LogTail(self._path, fingerprint, _state_of(doors, name), self._alert)
            try:
                saved: State | None = None
                while True:
                    self._take(tail, ingest)
                    end = ingest.wait()
                    state = tail.state
                    if state is not None and state != saved:
                        write_whole(doors, name, msgspec.json.encode(state) + b"\n")
                        saved = state
                        self._told(ingest.counts.stored, end)
                    if is_once or self._stopped.wait(POLL_SECONDS):
                        return ingest.counts.stored
            finally:
                tail.close()
                doors.close()

    def _take(self, tail: LogTail, ingest: Ingest) -> None:
        name = str(self._path)
        for found in tail.poll():
            part = found.part if isinstance(found.part, Damage) else read(found.part)
            if isinstance(part, Damage):
                ingest.note(part)
                raw = found.raw if isinstance(found.part, Damage) else found.part.raw
                if raw:
                    ingest.quarantine([Odd(part.offset, part.reason, raw)], name)
                self._alert(f"{name}: line {part.line}, byte {part.offset}: no event: {part.reason}")
            else:
                ingest.add(part, name)


def _state_of(doors: Directory, name: str) -> State | None:
    with suppress(FileNotFoundError, msgspec.DecodeError):
        return msgspec.json.decode(read_whole(doors, name), type=State)
    return None
