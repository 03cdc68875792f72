"""
Watch the files that decide who may come in, and take them in while the server runs.

Certificates are renewed, client CAs and tokens rotated by whoever manages them; on SIGHUP, or when a file has changed,
all are read again. Files that cannot be used leave the old ones in force, and somebody hears of it.
"""

import asyncio
import time
from pathlib import Path
from typing import Protocol

from kubewitness.assembly.certificates import expires
from kubewitness.assembly.config import Config, admission, read_config
from kubewitness.assembly.jsonlog import JsonLog
from kubewitness.assembly.servemetrics import ServeMetrics
from kubewitness.assembly.yamlnodes import ConfigError

LOOK_SECONDS = 2.0


class Host(Protocol):
    """What a watch needs of the server it is for."""

    log: JsonLog
    metrics: ServeMetrics

    def admit(self) -> None:
        """Let in by what was read."""
        ...

    def record(self, verb: str, *, code: int = 200, **facts: str) -> None:
        """Make an entry in the operator log."""
        ...


class AdmissionWatch:
    """Who may come in, as the files said when they were last right."""

    def __init__(self, config: Config, host: Host) -> None:
        """Read them. Raises ConfigError."""
        self._config = config
        self._host = host
        self._seen = self._look()
        self.admission = admission(config)
        self._accept()

    async def run(self) -> None:
        """Look at the files now and then."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._look() != self._seen:
                self.reload()

    def reload(self) -> None:
        """Read all again."""
        before, self._seen = self._seen, self._look()
        changed = " ".join(sorted(path.name for path, stamp in self._seen.items() if before.get(path) != stamp))
        try:
            config = self._config
            if config.file is not None:
                config = read_config(config.file)
                self._complain_of_fixed(config)
            admitted = admission(config)
        except ConfigError as exc:
            self._host.metrics.reload_failed.set(1)
            self._host.log.error("reload_failed", error=str(exc))  # noqa: TRY400 - a line of ours, without a traceback
            self._host.record("reload", code=500, files=changed, error=str(exc)[:500])
            return
        self._config, self.admission = config, admitted
        self._seen = self._look()  # the new configuration may name other files
        self._accept()
        self._host.admit()
        self._host.log.info("reloaded", files=changed)
        self._host.record("reload", files=changed, certificate_ends=self._ends())

    def _accept(self) -> None:
        metrics = self._host.metrics
        metrics.reload_failed.set(0)
        metrics.reload_time.set(time.time())
        metrics.certificate_end.set(expires(self._config.tls.certificate.read_bytes()).timestamp())

    def _ends(self) -> str:
        return expires(self._config.tls.certificate.read_bytes()).isoformat()

    def _complain_of_fixed(self, new: Config) -> None:
        """Say which changes need a restart; they are left alone. Raises ConfigError for another set of clusters."""
        old = self._config
        fixed = ("data", "keys", "events", "operate", "tiles", "limits", "seal_seconds", "is_indexed", "checkpoints")
        changed = [name for name in fixed if getattr(old, name) != getattr(new, name)]
        if {cluster.name for cluster in old.clusters} != {cluster.name for cluster in new.clusters}:
            changed.append("clusters")
        if changed:
            self._host.log.warning("restart_needed", changed=changed)

    def _look(self) -> dict[Path, tuple[int, int, int]]:
        files = self._config.files
        if self._config.file is not None:
            files = [*files, self._config.file]
        return {path: _stamp(path) for path in files}


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return found.st_mtime_ns, found.st_size, found.st_ino
