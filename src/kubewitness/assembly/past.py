"""
Know Events that were stored long ago: older than the window of identities that a log remembers.

Candidates come from the index (same auditID, same time of receipt); whether one is the same Event is decided by its
identity, over its exact bytes. So an import that is run again, or overlaps with what a webhook brought, stores nothing
twice, however large the log is.
"""

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass

from kubewitness._kit.files import DiskDirectory
from kubewitness.keep.index.manifest import INDEX, Entry, read_manifest
from kubewitness.keep.store.dedupe import Known
from kubewitness.keep.store.find import Finder
from kubewitness.keep.store.log import SEGMENTS, Arrival, ClusterLog
from kubewitness.look.query.lockdown import locked
from kubewitness.look.query.relation_names import literal
from kubewitness.look.query.tabulate import schema

_MEMORY = 256 << 20


@dataclass(frozen=True, slots=True)
class Key:
    """By what an Event is looked for: when its request was received (microseconds, if it says), and its auditID."""

    received_us: int | None
    audit_id: str | None


class Past:
    """The Events of a log as it was when this was made."""

    def __init__(self, root: DiskDirectory, log: ClusterLog) -> None:
        """Look at the index, which must be complete."""
        self._log = log
        self._path = f"/proc/self/fd/{root._fd}/{INDEX}"
        self._until = log.end
        manifest = read_manifest(root, schema())
        self._files: Sequence[Entry] = [entry for entry in manifest.files if entry.first < self._until]
        self._segments = root.look(SEGMENTS)
        self._finder = Finder(self._segments)
        self._found: set[int] = set()

    def close(self) -> None:
        """Let go."""
        self._segments.close()

    def remember(self, arrivals: Iterable[tuple[Arrival, Key]]) -> int:
        """Let the log know which of these it has; give how many those are."""
        if not self._files:
            return 0
        window = self._log.window
        wanted = [(arrival, key) for arrival, key in arrivals if window.find(arrival.identity) is None]
        indexes = self._candidates([key for _, key in wanted])
        if not indexes:
            return 0
        identities = {arrival.identity for arrival, _ in wanted}
        count = 0
        for record in self._finder.find(indexes):
            if record is None or record.kept.tombstone is not None:
                continue
            identity = record.identity
            if identity is None and not record.kept.removed:
                identity = window.identity(record.kept.line)
            if identity is not None and identity in identities:
                window.remember(identity, Known(record.index, record.source))
                count += 1
        return count

    def _candidates(self, keys: Sequence[Key]) -> list[int]:
        times = [key.received_us for key in keys if key.received_us is not None]
        has_untimed = len(times) < len(keys)
        files = [
            entry
            for entry in self._files
            if (has_untimed and entry.untimed)
            or (times and entry.min_us is not None and entry.min_us <= max(times) and (entry.max_us or 0) >= min(times))
        ]
        if not files:
            return []
        paths = [f"{self._path}/{entry.path}" for entry in files]
        ids = [key.audit_id for key in keys]
        with closing(locked(paths, _MEMORY)) as connection:
            listed = ", ".join(map(literal, paths))
            found = connection.execute(
                f"SELECT log_index FROM read_parquet([{listed}], hive_partitioning=false) "  # noqa: S608 - our own paths
                "WHERE log_index < ? AND coalesce(audit_id, '') IN (SELECT coalesce(unnest(?::VARCHAR[]), '')) "
                "ORDER BY log_index",
                [self._until, ids],
            )
            return [index for (index,) in found.fetchall()]
