"""What the receiver counts, under the names of docs/reference/metrics.md. Labels never hold what a log says."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

MAX_SOURCES = 64
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_AGES = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0, 86400.0)
_EVENTS = (1, 10, 50, 100, 200, 400, 800, 2000, 10000)


class ReceiverMetrics:
    """Counters of one receiver, in a registry of its own."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """Register them."""
        self.registry = registry = registry or CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"kubewitness_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"kubewitness_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"kubewitness_{name}", text, ("cluster",), buckets=buckets, registry=registry)

        self.received = counter("receiver_events_received", "Events in bodies that were acknowledged", "cluster")
        self.stored = counter("receiver_events_stored", "Events that were new, and last", "cluster")
        self.duplicates = counter("receiver_events_duplicate", "Events that were stored before", "cluster")
        self.quarantined = counter("receiver_items_quarantined", "Pieces of bodies that are no Events", "cluster")
        self.unknown_stages = counter(
            "receiver_events_unknown_stage", "Events of a stage that is not known here; stored all the same", "cluster"
        )
        self.reused = counter(
            "receiver_audit_ids_reused", "Events whose auditID and stage came before with another content", "cluster"
        )
        self.requests = counter("receiver_requests", "Answered requests of known clients", "cluster", "code")
        self.refused = counter("receiver_refused", "Connections and requests that were turned away", "reason")
        self.connections = gauge("receiver_connections", "Open connections of known clients", "cluster")
        self.body_bytes = counter("receiver_body_bytes", "Bytes of bodies received", "cluster")
        self.seconds = histogram("receiver_request_seconds", "From the head of a request to its answer", _SECONDS)
        self.batch = histogram("receiver_batch_events", "Events to a body", _EVENTS)
        self.age = histogram(
            "receiver_event_age_seconds", "From stageTimestamp to storing, last Event of a body", _AGES
        )
        self.last_event = gauge(
            "receiver_last_event_timestamp_seconds", "stageTimestamp of the last Event of a source", "cluster", "source"
        )
        self.waiting_bytes = gauge("store_waiting_bytes", "Bytes that wait to be stored", "cluster")
        self.quarantine_bytes = gauge("store_quarantine_bytes", "Bytes in quarantine", "cluster")
        self._sources: dict[str, set[str]] = {}

    def source_label(self, cluster: str, source: str) -> str:
        """Give the label of a source: its name, or `other` when a cluster has too many."""
        known = self._sources.setdefault(cluster, set())
        if source not in known and len(known) >= MAX_SOURCES:
            return "other"
        known.add(source)
        return source
