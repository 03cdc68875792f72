"""
What kube-apiserver counts about its audit Events, and how it reports those that a backend lost.

Events and levels are counted by the stages, losses by the backends, as plain numbers, since requests wait for that.
`collect` hands them to prometheus-client, `exposition` gives the text that Prometheus reads; each loss is also told to
`report` in kube-apiserver's words, with the legacy line of every Event. Thread-safe.

Follows k8s.io/apiserver/pkg/audit/metrics.go. Differs: `oversized`, Events written though greater than the size at
which the log is rotated, has no counterpart there (kube-apiserver loses them), nor has what is watched.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from kubewitness.emit.legacy import text_line
from kubewitness.event.types import Event, Level

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

PREFIX = "apiserver_audit_"


def _say_nothing(_message: str) -> None:
    pass


class Metrics:
    """Counters of one server, kept as plain numbers."""

    def __init__(self, report: Callable[[str], None] = _say_nothing) -> None:
        self.events = 0
        self._levels = dict.fromkeys(Level, 0)
        self.errors: Counter[str] = Counter()
        self.rejected = 0
        self.oversized = 0
        self._watched: list[tuple[str, str, Callable[[], int]]] = []
        self._report = report
        self._lock = threading.Lock()

    @property
    def levels(self) -> dict[str, int]:
        """Give the requests by level, those that there were."""
        return {level.value: count for level, count in self._levels.items() if count}

    def count_event(self) -> None:
        """Count an Event handed to the backends, once however many there are."""
        with self._lock:
            self.events += 1

    def count_level(self, level: Level) -> None:
        """Count a request by the level its policy gave, None included."""
        with self._lock:
            self._levels[level] += 1

    def count_rejected(self) -> None:
        """Count a request refused because its Event could not be stored."""
        with self._lock:
            self.rejected += 1

    def count_oversized(self) -> None:
        """Count an Event that kube-apiserver would have lost for its size."""
        with self._lock:
            self.oversized += 1

    def watch(self, name: str, help_text: str, read: Callable[[], int]) -> None:
        """Show a number of ours that goes up and down, read when it is asked for."""
        self._watched.append((name, help_text, read))

    def plugin_error(self, plugin: str, reason: str, impacted: Sequence[Event]) -> None:
        """Count and report Events that a backend could not take."""
        with self._lock:
            self.errors[plugin] += len(impacted)
        lost = "".join(f"{text_line(event)}\n" for event in impacted)
        self._report(
            f"Error in audit plugin '{plugin}' affecting {len(impacted)} audit events: {reason}\n"
            f"Impacted events:\n{lost}"
        )

    def collect(self) -> "Iterator[Metric]":
        """Give the counters as they are now: a Metrics may be registered with prometheus-client as a collector."""
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

        with self._lock:
            levels, errors = self.levels, dict(self.errors)
            events, rejected, oversized = self.events, self.rejected, self.oversized
        for name, help_text, label, values in (
            ("event", "Events handed to the audit backends", "", {"": events}),
            ("level", "Requests by audit level", "level", levels),
            # absent until there is one
            ("error", "Events lost, by backend", "plugin", errors),
            ("requests_rejected", "Requests refused for want of an Event", "", {"": rejected}),
            ("oversized", "Events written though above maxsize", "", {"": oversized}),
        ):
            family = CounterMetricFamily(PREFIX + name, f"[ALPHA] {help_text}.", labels=[label] if label else [])
            for value in sorted(values):
                family.add_metric([value] if label else [], values[value])
            if family.samples:
                yield family
        for name, help_text, read in self._watched:
            yield GaugeMetricFamily(PREFIX + name, f"[ALPHA] {help_text}.", read())

    def exposition(self) -> str:
        """Give the counters in the text format of Prometheus."""
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry).decode()


def joined_reasons(reasons: Sequence[str]) -> str:
    """Join reasons as kube-apiserver does: each once, several in brackets."""
    once = list(dict.fromkeys(reasons))
    return once[0] if len(once) == 1 else f"[{', '.join(once)}]"
