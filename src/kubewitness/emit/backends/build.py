"""
Put the backends together as the flags say, refusing in kube-apiserver's words what it would refuse.

`log_backend` gives `ignoreErrors<log>`, `log`, `buffered<log>`, each inside `truncate<...>` if that is on;
`webhook_backend` the same around `webhook`; `join` makes one of several. `refuse` says what is wrong with the flags,
`load_policy` reads the policy file. The caller prints `Using audit backend: <name>`.

Follows ApplyTo of k8s.io/apiserver/pkg/server/options/audit.go.
"""

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from kubewitness._kit.files import DiskDirectory
from kubewitness.emit.backends import kubeconfig, options
from kubewitness.emit.backends.batcher import BatchOptions
from kubewitness.emit.backends.buffered import Buffered
from kubewitness.emit.backends.kubeconfig import KubeconfigError
from kubewitness.emit.backends.log import LogBackend, Stream, Writer, reason_of
from kubewitness.emit.backends.options import Values
from kubewitness.emit.backends.post import Poster, PostError
from kubewitness.emit.backends.rotate import RotatingFile, make_folder
from kubewitness.emit.backends.spool import Spooled
from kubewitness.emit.backends.spoolfiles import Spool
from kubewitness.emit.backends.truncate import Truncate
from kubewitness.emit.backends.union import IgnoreErrors, Union
from kubewitness.emit.backends.webhook import Sender, WebhookBackend
from kubewitness.emit.metrics import Metrics
from kubewitness.event.flow import Backend
from kubewitness.policy.gotext import quote
from kubewitness.policy.load import PolicyError, load
from kubewitness.policy.types import Policy
from kubewitness.policy.versions import VersionError

_MICROSECOND_NS = 1_000
WEBHOOK_IN_FLIGHT_MAX = 128
"""Batches under way at once: kube-apiserver knows no limit, which a dead receiver would turn into one of memory."""


class StartError(Exception):
    """A server with these flags does not start; the text is what it says after `"command failed" err=`."""


def refuse(values: Values) -> None:
    """See that the flags go together. Raises StartError."""
    refusals = options.check(values)
    if refusals:
        raise StartError(refusals[0] if len(refusals) == 1 else f"[{', '.join(refusals)}]")


def load_policy(values: Values) -> Policy | None:
    """Read the policy file; None without one, and then nothing is recorded. Raises StartError."""
    path = values.text("audit-policy-file")
    if not path:
        return None
    try:
        text = Path(path).read_bytes()
    except OSError as exc:
        opened = f"open {path}: {reason_of(exc)}"
        raise StartError(f"loading audit policy file: failed to read file path {quote(path)}: {opened}") from exc
    try:
        return load(text, values.server_version)
    except PolicyError as exc:
        raise StartError(f"loading audit policy file: {exc}: from file {path}") from exc
    except VersionError as exc:
        raise StartError(str(exc)) from exc


def log_backend(values: Values, metrics: Metrics, tell: Callable[[str], None]) -> Backend | None:
    """Give the log backend, or None when its flags leave it off. `tell`: what goes wrong aside. Raises StartError."""
    refuse(values)
    path = values.text("audit-log-path")
    if not path:
        return None
    log = LogBackend(_writer(path, values, tell), metrics, values.text("audit-log-format"))
    return _truncated(_in_mode(log, values, "log", metrics), values, "log", metrics)


def webhook_backend(values: Values, metrics: Metrics, tell: Callable[[str], None]) -> Backend | None:
    """Give the webhook backend, or None when its flags leave it off. Raises StartError."""
    refuse(values)
    path = values.text("audit-webhook-config-file")
    if not path:
        return None
    try:
        target = kubeconfig.read(Path(path))
    except KubeconfigError as exc:
        raise StartError(f"initializing audit webhook: {exc}") from exc
    poster = Poster(target)
    try:
        poster.check()
    except PostError as exc:
        raise StartError(f"initializing audit webhook: {exc}") from exc
    sender = Sender(poster, values.number("audit-webhook-initial-backoff"))
    if values.text("audit-webhook-spool-dir"):
        return _truncated(_spooled(sender, values, metrics, tell), values, "webhook", metrics)
    webhook = WebhookBackend(sender, metrics)
    return _truncated(_in_mode(webhook, values, "webhook", metrics, WEBHOOK_IN_FLIGHT_MAX), values, "webhook", metrics)


def _spooled(sender: Sender, values: Values, metrics: Metrics, tell: Callable[[str], None]) -> Backend:
    folder = Path(values.text("audit-webhook-spool-dir"))
    try:
        make_folder(folder)
        spool = Spool(DiskDirectory.at(folder), values.number("audit-webhook-spool-max-size") * options.MEBIBYTE)
    except BlockingIOError as exc:
        raise StartError(f"initializing audit webhook: the spool {folder} is in use by another process") from exc
    except OSError as exc:
        raise StartError(f"initializing audit webhook: spool {folder}: {reason_of(exc)}") from exc
    mode = values.text("audit-webhook-mode")
    spooled = Spooled(
        spool,
        sender,
        batch_options(values, "webhook"),
        values.number("audit-webhook-initial-backoff"),
        metrics,
        tell,
        is_synced=mode != "batch",
    )
    return spooled if mode != "blocking" else IgnoreErrors(spooled)


def plugins_on(values: Values) -> list[str]:
    """Name the backends that the flags switch on."""
    return [name for name, flag in options.SWITCHES.items() if values.text(flag)]


def is_slow(values: Values) -> bool:
    """Say whether a request waits for a network or a disk: the webhook is on and not in mode batch."""
    return bool(values.text(options.SWITCHES["webhook"])) and values.text("audit-webhook-mode") != "batch"


def join(*backends: Backend | None) -> Backend | None:
    """Make one backend of those that are on."""
    on = [backend for backend in backends if backend is not None]
    return Union(*on) if len(on) > 1 else next(iter(on), None)


def _writer(path: str, values: Values, tell: Callable[[str], None]) -> Writer:
    if path == "-":
        return Stream(sys.stdout.buffer)
    tidier = Tidier(tell)
    try:
        return RotatingFile(Path(path), options.rotation(values), _now_us, tidier, tidier.wait)
    except OSError as exc:
        act = "open" if exc.filename == path else "mkdir"
        raise StartError(f"ensureLogFile: {act} {exc.filename}: {reason_of(exc)}") from exc


def _in_mode(backend: Backend, values: Values, plugin: str, metrics: Metrics, in_flight_max: int = 1) -> Backend:
    match values.text(f"audit-{plugin}-mode"):
        case "blocking":
            return IgnoreErrors(backend)
        case "blocking-strict":
            return backend
        case _:
            return Buffered(backend, batch_options(values, plugin), metrics, in_flight_max)


def batch_options(values: Values, plugin: str) -> BatchOptions:
    """Give the batch flags of a backend."""
    prefix = f"audit-{plugin}-batch-"
    is_throttled = values.is_on(f"{prefix}throttle-enable")
    return BatchOptions(
        values.number(f"{prefix}buffer-size"),
        values.number(f"{prefix}max-size"),
        values.number(f"{prefix}max-wait"),
        values.real(f"{prefix}throttle-qps") if is_throttled else None,
        values.number(f"{prefix}throttle-burst"),
    )


def _truncated(backend: Backend, values: Values, plugin: str, metrics: Metrics) -> Backend:
    prefix = f"audit-{plugin}-truncate-"
    if not values.is_on(f"{prefix}enabled"):
        return backend
    return Truncate(
        backend, values.number(f"{prefix}max-event-size"), values.number(f"{prefix}max-batch-size"), metrics
    )


def _now_us() -> int:
    return time.time_ns() // _MICROSECOND_NS


class Tidier:
    """Prunes and compresses on a thread of its own, once for any number of rotations meanwhile."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._is_asked = False
        self._thread: threading.Thread | None = None

    def __call__(self, tidy: Callable[[], None]) -> None:
        """Tidy soon."""
        with self._lock:
            self._is_asked = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, args=(tidy,), name="audit-log-tidy", daemon=True)
                self._thread.start()

    def wait(self) -> None:
        """Return when what was asked for is done."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def _work(self, tidy: Callable[[], None]) -> None:
        while True:
            with self._lock:
                if not self._is_asked:
                    self._thread = None
                    return
                self._is_asked = False
            try:
                tidy()
            except OSError as exc:
                self._tell(f"pruning and compressing the audit log: {exc.filename}: {reason_of(exc)}")
