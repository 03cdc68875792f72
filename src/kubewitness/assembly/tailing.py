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


class Progress:
    """How far a log file was brought, kept in `doors/` of the log that it is brought into."""

    def __init__(self, root: Directory, key: bytes, path: Path) -> None:
        """Use the key of identities, so that neither paths nor contents can be looked up in what is kept."""
        self._key = key
        self._doors = root.enter(DOORS)
        root.sync()
        self._name = f"tail-{self.fingerprint(str(path).encode())}.json"
        self._saved: State | None = None

    def fingerprint(self, head: bytes) -> str:
        """Know bytes again."""
        return hmac.new(self._key, head, hashlib.sha256).hexdigest()[:_HEX_DIGITS]

    def load(self) -> State | None:
        """Say how far it was; None when nothing is known."""
        with suppress(FileNotFoundError, msgspec.DecodeError):
            return msgspec.json.decode(read_whole(self._doors, self._name), type=State)
        return None

    def save(self, state: State | None) -> bool:
        """Remember this, so that it lasts; False when it was known already. Raises OSError."""
        if state is None or state == self._saved:
            return False
        write_whole(self._doors, self._name, msgspec.json.encode(state) + b"\n")
        self._saved = state
        return True

    def close(self) -> None:
        """Let go of the directory."""
        self._doors.close()


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
            SealerProcess(self._data, self._keys, self._cluster) as sealer,
            Ingest(self._data, self._keys, self._cluster, TAIL, on_durable=sealer.tell) as ingest,
        ):
            sealer.tell(ingest.log.end)
            progress = Progress(ingest.root, self._keys.identity(), self._path)
            tail = LogTail(self._path, progress.fingerprint, progress.load(), self._alert)
            try:
                while True:
                    self._take(tail, ingest)
                    end = ingest.wait()
                    if progress.save(tail.state):
                        self._told(ingest.counts.stored, end)
                    if is_once or self._stopped.wait(POLL_SECONDS):
                        return ingest.counts.stored
            finally:
                tail.close()
                progress.close()

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
