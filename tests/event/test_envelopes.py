"""The envelopes of managed clouds and log shippers."""

import json
from pathlib import Path

import pytest

from kubewitness.event.decode import Record, read_all
from kubewitness.event.dialects import not_given
from kubewitness.event.envelopes_gke import object_ref
from kubewitness.event.fields import by_path
from kubewitness.event.items import Damage, DamageKind

FOLDER = Path(__file__).parent.parent / "data" / "envelopes"
EVENTS = (FOLDER / "events.ndjson").read_bytes().split(b"\n")[:-1]


def parts_of(name: str) -> tuple[list[Record], list[Damage]]:
    data = (FOLDER / name).read_bytes()
    parts = list(read_all([data], name))
    pieces = [data[i : i + 11] for i in range(0, len(data), 11)]
    assert list(read_all(pieces, name)) == parts
    return [p for p in parts if isinstance(p, Record)], [p for p in parts if isinstance(p, Damage)]


@pytest.mark.parametrize(
    ("name", "dialect"),
    [
        ("events.ndjson", "kube-apiserver"),
        ("eks-filter-log-events.json", "eks"),
        ("eks-get-log-events.json", "eks"),
        ("eks-subscription.json", "eks"),
        ("eks-insights.json", "eks"),
        ("eks-export.txt", "eks"),
        ("eks-tail.txt", "eks"),
        ("aks-lines.ndjson", "aks"),
        ("aks-records.json", "aks"),
        ("aks-objects.ndjson", "aks"),
        ("aks-log-analytics.json", "aks"),
        ("container-runtime.txt", "kube-apiserver"),
        ("docker.ndjson", "kube-apiserver"),
        ("shipper.ndjson", "kube-apiserver"),
    ],
)
def test_an_envelope_gives_the_exact_event(name, dialect):
    """Where the envelope holds the original, its bytes come out, and the span is that of the wrapping."""
    records, _ = parts_of(name)
    assert [r.item.raw for r in records] == EVENTS
    assert {r.item.dialect for r in records} == {dialect}
    data = (FOLDER / name).read_bytes()
    for record, raw in zip(records, EVENTS, strict=True):
        span = data[record.item.offset : record.item.offset + record.item.length]
        assert json.loads(raw)["auditID"].encode() in span
        assert record.notes or dialect == "kube-apiserver"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("eks-filter-log-events.json", "a CloudWatch record of another log, authenticator-0123456789abcdef"),
        ("aks-lines.ndjson", "an Azure diagnostic record of another log, guard"),
        ("gke-lines.ndjson", "a Google Cloud LogEntry of container.googleapis.com, not of the Kubernetes API"),
    ],
)
def test_records_of_other_logs_are_counted_and_named(name, reason):
    """A record beside the audit log is Damage of kind alien, with the name of its log."""
    _, damage = parts_of(name)
    assert [(d.reason, d.kind) for d in damage] == [(reason, DamageKind.ALIEN)]


@pytest.mark.parametrize("name", ["gke-lines.ndjson", "gke-array.json", "gke-entries-list.json"])
def test_gke_is_translated(name):
    """A LogEntry becomes an Event as far as GKE tells; codes come from the Status, else from gRPC."""
    records, _ = parts_of(name)
    assert {r.item.dialect for r in records} == {"gke"}
    events = [r.event for r in records]
    assert [e.verb for e in events] == ["create", "create", "create", "delete", "list"]
    assert [e.response_status and e.response_status.code for e in events] == [200, 200, 403, 404, 200]
    assert [e.stage.value for e in events] == ["ResponseComplete", "ResponseStarted", *["ResponseComplete"] * 3]
    assert [e.level and e.level.value for e in events] == [
        "RequestResponse",
        "Metadata",
        "RequestResponse",
        *["Metadata"] * 2,
    ]
    assert {e.user and e.user.username for e in events} == {"clerk@example.com"}
    assert {e.source_ips for e in events} == {("192.0.2.7",)}
    assert events[2].response_status is not None
    assert events[2].response_status.reason == "Forbidden"
    assert (events[2].annotations or {})["authorization.k8s.io/decision"] == "forbid"
    assert json.loads(bytes(events[0].request_object))["metadata"]["name"] == "web"
    assert events[0].request_received_timestamp == "2026-11-23T03:05:00.123456Z"
    assert events[0].audit_id == "id-0"


@pytest.mark.parametrize(
    ("method", "name", "expected"),
    [
        (
            "core.v1.pods.exec.create",
            "core/v1/namespaces/shop/pods/web/exec",
            {"apiVersion": "v1", "namespace": "shop", "resource": "pods", "name": "web", "subresource": "exec"},
        ),
        ("core.v1.pods.list", "core/v1/pods", {"apiVersion": "v1", "resource": "pods"}),
        (
            "core.v1.pods.deletecollection",
            "core/v1/namespaces/shop/pods",
            {"apiVersion": "v1", "namespace": "shop", "resource": "pods"},
        ),
        (
            "core.v1.namespaces.delete",
            "core/v1/namespaces/shop",
            {"apiVersion": "v1", "namespace": "shop", "resource": "namespaces", "name": "shop"},
        ),
        (
            "core.v1.namespaces.finalize.update",
            "core/v1/namespaces/shop/finalize",
            {
                "apiVersion": "v1",
                "namespace": "shop",
                "resource": "namespaces",
                "name": "shop",
                "subresource": "finalize",
            },
        ),
        ("core.v1.namespaces.list", "core/v1/namespaces", {"apiVersion": "v1", "resource": "namespaces"}),
        (
            "core.v1.nodes.proxy.get",
            "core/v1/nodes/n1/proxy/metrics/cadvisor",
            {"apiVersion": "v1", "resource": "nodes", "name": "n1", "subresource": "proxy"},
        ),
        (
            "apps.v1.deployments.scale.update",
            "apps/v1/namespaces/shop/deployments/web/scale",
            {
                "apiGroup": "apps",
                "apiVersion": "v1",
                "namespace": "shop",
                "resource": "deployments",
                "name": "web",
                "subresource": "scale",
            },
        ),
        ("get", "version", None),
        ("", "", None),
    ],
)
def test_the_name_of_a_gke_resource_is_an_object_reference(method, name, expected):
    """The method tells a Namespace and its subresources from what is inside it."""
    assert object_ref(f"io.k8s.{method}", name) == expected


def test_what_a_dialect_does_not_give_is_in_the_table_of_fields():
    """Every path that is never given is a field we know, and the translation leaves it out."""
    for dialect in ("gke", "legacy", "v1alpha1", "v1beta1"):
        for path in not_given(dialect):
            assert by_path(path)
    assert not_given("kube-apiserver") == not_given("eks") == not_given("aks") == frozenset()
    records, _ = parts_of("gke-lines.ndjson")
    for record in records:
        event = json.loads(record.item.raw)
        for path in not_given("gke"):
            top, _, inner = path.partition(".")
            assert inner not in event.get(top, {}) if inner else top not in event


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"message": "text"}, "a record with the Event in `message`, which holds text, not an audit Event"),
        (
            {"message": '{"kind":"Pod"}'},
            "a record with the Event in `message`, which holds a Pod, not an audit Event: it has no stage",
        ),
        (
            {"category": "kube-audit", "properties": {}},
            "an Azure diagnostic record, which holds text, not an audit Event",
        ),
        ({"category": "kube-audit", "properties": 5}, "an Azure diagnostic record without properties.log"),
        (
            {"protoPayload": 5},
            "a Google Cloud LogEntry that cannot be read: Expected `object`, got `int` - at `$.protoPayload`",
        ),
        ({"kind": "Pod", "apiVersion": "v1"}, "a core/v1 Pod, not an audit Event: it has no stage"),
    ],
)
def test_an_envelope_without_an_event_says_what_it_is(value, reason):
    """An envelope around something else is alien, and named."""
    (damage,) = read_all([json.dumps(value).encode()], "f")
    assert isinstance(damage, Damage)
    assert damage.reason == reason
    assert damage.kind is DamageKind.ALIEN


def test_a_list_of_kubernetes_objects_is_all_aliens():
    """`kubectl get -o json` output is named object by object."""
    pods = {"apiVersion": "v1", "items": [{"kind": "Pod", "apiVersion": "v1"}] * 3, "kind": "List"}
    parts = list(read_all([json.dumps(pods).encode()], "f"))
    assert len(parts) == 3
    assert all(isinstance(p, Damage) and p.kind is DamageKind.ALIEN for p in parts)
