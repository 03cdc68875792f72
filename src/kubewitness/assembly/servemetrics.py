"""What a server as a whole shows of itself, beside what its receiver counts."""

from collections.abc import Iterable

from prometheus_client import Counter, Gauge
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from kubewitness import __version__
from kubewitness.keep.receiver.metrics import ReceiverMetrics


class CheckpointInfo(Collector):
    """The latest head of each log as labels: whoever keeps the metrics remembers it."""

    def __init__(self) -> None:
        """Begin with none."""
        self._heads: dict[str, tuple[str, str]] = {}

    def show(self, origin: str, size: str, root: str) -> None:
        """Show this head, and the one before it no more."""
        self._heads[origin] = (size, root)

    def collect(self) -> Iterable[Metric]:
        """Give one sample for each log."""
        family = GaugeMetricFamily(
            "kubewitness_checkpoint_info",
            "1, with the latest signed head of a log as labels; of the root the first 8 bytes",
            labels=("origin", "size", "root"),
        )
        for origin, (size, root) in sorted(self._heads.items()):
            family.add_metric((origin, size, root[:16]), 1)
        return [family]


class ServeMetrics(ReceiverMetrics):
    """The receiver's, and those of stores, sealing, disk and configuration."""

    def __init__(self) -> None:
        """Register them."""
        super().__init__()

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"kubewitness_{name}", text, labels, registry=self.registry)

        self.build = gauge("build_info", "1, with the version as label", "version")
        self.build.labels(__version__).set(1)
        self.start_time = gauge("start_timestamp_seconds", "When this process began to serve")
        self.store_open = gauge("store_open", "1 while the store of a cluster can be written to", "cluster")
        self.store_end = gauge("store_events", "Index after the last Event that lasts", "cluster")
        self.stuck = gauge("store_stuck_seconds", "For how long the disk has not answered a write", "cluster")
        self.sealed = gauge("seal_events", "Events under the latest signed head", "cluster")
        self.unsealed = gauge("seal_unsealed_events", "Events that last and are under no head yet", "cluster")
        self.head_time = gauge("seal_checkpoint_timestamp_seconds", "When the latest head was signed", "cluster")
        self.seal_failing = gauge("seal_failing", "1 while no head can be made", "cluster")
        self.checkpoints = CheckpointInfo()
        self.registry.register(self.checkpoints)
        self.sink_failing = gauge("seal_sink_failing", "1 while heads cannot be handed on", "cluster", "sink")
        self.indexed = gauge("index_events", "Events that the index holds", "cluster")
        self.index_failing = gauge(
            "index_failing", "1 while the index cannot be made; questions work without", "cluster"
        )
        self.disk_free_files = gauge(
            "disk_free_files", "Files (inodes) that the data directory's disk still has room for"
        )
        self.disk_free = gauge("disk_free_bytes", "Bytes that may still be written to the data directory's disk")
        self.disk_size = gauge("disk_size_bytes", "Size of the data directory's disk")
        self.reload_failed = gauge("config_reload_failed", "1 while files on the disk are broken and older ones serve")
        self.reload_time = gauge("config_reload_timestamp_seconds", "When certificates and tokens were last read")
        self.certificate_end = gauge("certificate_expiry_timestamp_seconds", "When the server's certificate ends")
        self.sealer_restarts = Counter(
            "kubewitness_sealer_restarts", "Times the sealer process had to be started again", registry=self.registry
        )

    def text(self) -> bytes:
        """Write all in the text form of Prometheus."""
        return generate_latest(self.registry)
