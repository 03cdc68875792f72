"""
Policy and backends of one server, put together by kube-apiserver's own flags.

`Auditing(arguments)` reads `--audit-*` flags, opens what they name and refuses what kube-apiserver refuses; as a
context manager it runs the backends and delivers what they hold at the end. `auditor` is what doors take: the ASGI
middleware, or your own calls of `receive`, `respond` and `finish`.

Follows ApplyTo of k8s.io/apiserver/pkg/server/options/audit.go.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from kubewitness.emit.backends import build, options
from kubewitness.emit.doors.reload import PolicyWatcher
from kubewitness.emit.metrics import Metrics
from kubewitness.emit.stages.handler import Auditor

if TYPE_CHECKING:
    from kubewitness.event.flow import Backend

NO_POLICY = "No audit policy file provided, no events will be recorded for {} backend"


def _say_nothing(_message: str) -> None:
    pass


class Auditing:
    """
    What a server needs to audit its requests. `auditor` is None without a policy or without a backend.

    `has_delivered`: the backends were stopped, and nothing is under way any more.
    """

    def __init__(
        self, arguments: Sequence[str], server_version: str = "1.36", tell: Callable[[str], None] = _say_nothing
    ) -> None:
        """Open what the flags name. `tell`: takes what a server logs. Raises FlagError and StartError."""
        values = options.parse(arguments, server_version)
        build.refuse(values)
        self.metrics = Metrics(tell)
        self.has_delivered = False
        self.backend: Backend | None = None
        self.auditor: Auditor | None = None
        self.is_slow = build.is_slow(values)
        self._watcher: PolicyWatcher | None = None
        self._reload_ns = 0
        policy = build.load_policy(values)
        # without a policy the log file is made all the same, and the webhook's config not even looked at
        log = build.log_backend(values, self.metrics, tell)
        if policy is None:
            for plugin in build.plugins_on(values):
                tell(NO_POLICY.format(plugin))
            return
        self.backend = build.join(log, build.webhook_backend(values, self.metrics, tell))
        if self.backend is not None:
            tell(f"Using audit backend: {self.backend.name}")
            self.auditor = Auditor(policy, self.backend, self.metrics)
            self._reload_ns = values.number("audit-policy-reload-interval")
            if self._reload_ns > 0:
                path = Path(values.text("audit-policy-file"))
                self._watcher = PolicyWatcher(path, server_version, self.auditor, self.backend, self.metrics, tell)

    def __enter__(self) -> Self:
        """Start the backends."""
        if self.backend is not None:
            self.backend.run()
        if self._watcher is not None:
            self._watcher.start(self._reload_ns)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Deliver what the backends hold, and stop them."""
        if self._watcher is not None:
            self._watcher.stop()
        if self.backend is not None:
            self.backend.shutdown()
        self.has_delivered = True
