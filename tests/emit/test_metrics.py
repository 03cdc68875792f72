"""What is counted, and how a loss is told."""

from prometheus_client import CollectorRegistry

from kubewitness.emit.metrics import Metrics, joined_reasons
from kubewitness.event.types import Level
from tests.emit.samples import event


def test_a_loss_is_counted_and_told_with_its_events() -> None:
    """An error counts Events, not calls, and is told in kube-apiserver's words with their legacy lines."""
    told: list[str] = []
    metrics = Metrics(told.append)
    metrics.plugin_error("log", "no space left on device", [event(audit_id="a"), event(audit_id="b")])
    assert metrics.errors == {"log": 2}
    first, impacted, *lost = told[0].splitlines()
    assert first == "Error in audit plugin 'log' affecting 2 audit events: no space left on device"
    assert impacted == "Impacted events:"
    assert [line.split()[2] for line in lost] == ['id="a"', 'id="b"']


def test_exposition() -> None:
    """The counters in Prometheus's text format; errors are absent until there is one."""
    metrics = Metrics()
    metrics.count_event()
    metrics.count_level(Level.METADATA)
    metrics.count_rejected()
    metrics.count_oversized()
    text = metrics.exposition()
    assert "# TYPE apiserver_audit_event_total counter\napiserver_audit_event_total 1.0\n" in text
    assert 'apiserver_audit_level_total{level="Metadata"} 1.0\n' in text
    assert "apiserver_audit_requests_rejected_total 1.0\n" in text
    assert "apiserver_audit_oversized_total 1.0\n" in text
    assert "error_total" not in text
    metrics.plugin_error("truncate", "x", [event()])
    assert 'apiserver_audit_error_total{plugin="truncate"} 1.0\n' in metrics.exposition()


def test_an_application_may_register_them_with_its_own() -> None:
    """A Metrics is a collector of prometheus-client; what is watched is read when it is asked for."""
    metrics, registry = Metrics(), CollectorRegistry()
    registry.register(metrics)
    waiting = [3]
    metrics.watch("spool_events", "Events that wait", lambda: waiting[0])
    metrics.count_event()
    assert registry.get_sample_value("apiserver_audit_event_total") == 1
    waiting[0] = 4
    assert registry.get_sample_value("apiserver_audit_spool_events") == 4
    assert registry.get_sample_value("apiserver_audit_level_total", {"level": "None"}) is None
    metrics.count_level(Level.NONE)
    assert registry.get_sample_value("apiserver_audit_level_total", {"level": "None"}) == 1


def test_reasons_are_joined_once_each() -> None:
    """One reason stands bare, several in brackets, none twice."""
    assert joined_reasons(["a", "a"]) == "a"
    assert joined_reasons(["a", "b", "a"]) == "[a, b]"
