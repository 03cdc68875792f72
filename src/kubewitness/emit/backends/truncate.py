"""
Drop the bodies of Events that are too large, then Events that still are, and split batches that are.

The size of an Event is that of its line in the log. Only both bodies go, never one.

Follows k8s.io/apiserver/plugin/pkg/audit/truncate/truncate.go.
"""

from collections.abc import Sequence

import msgspec

from kubewitness.emit import wire
from kubewitness.emit.metrics import Metrics, joined_reasons
from kubewitness.event.flow import Backend
from kubewitness.event.types import ABSENT, Event, Level

NAME = "truncate"
ANNOTATION = "audit.k8s.io/truncated"
_TOO_LARGE = "event is too large even after truncating"


class Truncate:
    """Wraps a backend that has limits of size."""

    def __init__(self, backend: Backend, max_event_bytes: int, max_batch_bytes: int, metrics: Metrics) -> None:
        self._backend = backend
        self._max_event_bytes = max_event_bytes
        self._max_batch_bytes = max_batch_bytes
        self._metrics = metrics
        self.name = f"{NAME}<{backend.name}>"

    def run(self) -> None:
        """Start the backend."""
        self._backend.run()

    def shutdown(self) -> None:
        """Stop the backend."""
        self._backend.shutdown()

    def process_events(self, events: Sequence[Event]) -> bool:
        """Hand on what fits. What was discarded is counted, and does not make this fail, as in kube-apiserver."""
        is_taken = True
        discarded: list[Event] = []
        reasons: list[str] = []
        batch: list[Event] = []
        batch_bytes = 0
        for given in events:
            try:
                event, size = self._fitted(given)
            except (UnicodeEncodeError, msgspec.MsgspecError) as exc:
                discarded.append(given)
                reasons.append(f"the Event cannot be written as text: {exc}")
                continue
            if size > self._max_event_bytes:
                discarded.append(event)
                reasons.append(_TOO_LARGE)
                continue
            if batch and batch_bytes + size > self._max_batch_bytes:
                is_taken = self._backend.process_events(batch) and is_taken
                batch, batch_bytes = [], 0
            batch.append(event)
            batch_bytes += size
        if batch:
            is_taken = self._backend.process_events(batch) and is_taken
        if discarded:
            self._metrics.plugin_error(NAME, joined_reasons(reasons), discarded)
        return is_taken

    def _fitted(self, event: Event) -> tuple[Event, int]:
        size = len(wire.line(event))
        # an Event below level Request has nothing to drop
        if size > self._max_event_bytes and event.level is not None and event.level >= Level.REQUEST:
            event = truncated(event)
            size = len(wire.line(event))
        return event, size


def truncated(event: Event) -> Event:
    """Give the Event without bodies, marked so; its level stays."""
    annotations = {**(event.annotations or {}), ANNOTATION: "true"}
    return msgspec.structs.replace(event, request_object=ABSENT, response_object=ABSENT, annotations=annotations)
