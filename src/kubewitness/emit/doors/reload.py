"""
Go by a changed policy file without a restart, and put each change on record.

`PolicyWatcher.look` reads the file once: unchanged, changed, or such that a server would refuse it; then the policy in
force stays. Either change is an Event in the form of the server's own (`/kubewitness/policy-reload`), written to the
backends whatever the policies say. `start` looks again and again, on a thread.

kube-apiserver reads its policy once, at its start.
"""

import hashlib
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import msgspec

from kubewitness import __version__
from kubewitness.emit.backends.log import reason_of
from kubewitness.emit.metrics import Metrics
from kubewitness.emit.stages.handler import Auditor
from kubewitness.emit.stages.record import time_text
from kubewitness.event.flow import Sink
from kubewitness.event.types import Event, Level, ResponseStatus, Stage, UserInfo
from kubewitness.policy.load import PolicyError, load

REQUEST_URI = "/kubewitness/policy-reload"
PREFIX = "kubewitness.io/"
_OK, _UNPROCESSABLE = 200, 422
_MICROSECOND_NS = 1_000
_SECOND_NS = 1_000_000_000


class PolicyWatcher:
    """Watches the policy file of one Auditor. `tell`: takes what a server logs."""

    def __init__(
        self,
        path: Path,
        server_version: str,
        auditor: Auditor,
        sink: Sink,
        metrics: Metrics,
        tell: Callable[[str], None],
    ) -> None:
        """Take the file as it is now for the one in force."""
        self._path = path
        self._server_version = server_version
        self._auditor = auditor
        self._sink = sink
        self._metrics = metrics
        self._tell = tell
        self._seen = self._in_force = _digest(_read(path)[0])
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def look(self, now_us: int) -> bool:
        """Read the file; say whether another policy is in force than before."""
        text, problem = _read(self._path)
        seen = _digest(text)
        if seen == self._seen:
            return False
        self._seen = seen
        rules = 0
        if not problem:
            try:
                policy = load(text, self._server_version)
            except PolicyError as exc:
                problem = str(exc)
            else:
                rules = len(policy.rules)
                self._auditor.use(policy)
        before, is_changed = self._in_force, not problem
        if is_changed:
            self._in_force = seen
            self._tell(f"audit policy {self._path} changed: {rules} rules are in force now")
        else:
            self._tell(f"audit policy {self._path} changed and cannot be used, the one before stays: {problem}")
        self._record(now_us, {"previous-sha256": before, "sha256": seen, "rules": str(rules)}, problem)
        return is_changed

    def _record(self, now_us: int, facts: dict[str, str], problem: str) -> None:
        stamp = time_text(now_us)
        status = ResponseStatus(
            metadata=msgspec.Raw(b"{}"),
            code=_UNPROCESSABLE if problem else _OK,
            status="Failure" if problem else None,
            message=problem or None,
        )
        known = {f"{PREFIX}policy-{name}": value for name, value in facts.items() if value and value != "0"}
        event = Event(
            kind="Event",
            api_version="audit.k8s.io/v1",
            level=Level.METADATA,
            audit_id=str(uuid.uuid4()),
            stage=Stage.RESPONSE_COMPLETE,
            request_uri=REQUEST_URI,
            verb="policy-reload",
            user=UserInfo(username="kubewitness"),
            user_agent=f"kubewitness/{__version__}",
            response_status=status,
            request_received_timestamp=stamp,
            stage_timestamp=stamp,
            annotations={f"{PREFIX}policy-file": str(self._path), **known},
        )
        self._metrics.count_event()
        self._sink.process_events((event,))

    def start(self, interval_ns: int) -> None:
        """Look every so often from now on."""
        seconds = interval_ns / _SECOND_NS
        self._thread = threading.Thread(target=self._work, args=(seconds,), name="audit-policy-reload", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more; returns when that is so."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self, interval_s: float) -> None:
        while not self._stopped.wait(interval_s):
            self.look(time.time_ns() // _MICROSECOND_NS)


def _read(path: Path) -> tuple[bytes, str]:
    """Give the text, or why there is none."""
    try:
        return path.read_bytes(), ""
    except OSError as exc:
        return b"", f"open {path}: {reason_of(exc)}"


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest() if text else ""
