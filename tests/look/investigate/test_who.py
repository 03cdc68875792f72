"""Who did what to an object: certain where the log names it, unknown where it cannot, never "no" for "not recorded"."""

import json

import msgspec
import pytest

from kubewitness.event.types import Event
from kubewitness.look.investigate.who import Certainty, Question, Target, judge

SECRET = Target("secrets", "important", "production")
POD = Target("pods", "web-abc", "production")
CONFIG = Target("configmaps", "b", "scratch")


def event(verb, uri, *, level="Metadata", code=200, request=None, response=None, annotations=None, **reference):
    """An Event as kube-apiserver would record it."""
    members = {
        "level": level,
        "stage": "ResponseComplete",
        "verb": verb,
        "requestURI": uri,
        "user": {"username": "dave"},
        "objectRef": reference,
        "responseStatus": {"metadata": {}, "code": code},
    }
    if request is not None:
        members["requestObject"] = request
    if response is not None:
        members["responseObject"] = response
    if annotations is not None:
        members["annotations"] = annotations
    return msgspec.json.decode(json.dumps(members), type=Event)


def answer(question, target, *args, **kwargs):
    """What `judge` says, as (did, certainty), or None."""
    finding = judge(event(*args, **kwargs), Question(question), target)
    return finding and (finding.did, finding.certainty.value)


NAMED = {"resource": "secrets", "namespace": "production", "name": "important"}
PODS = {"resource": "pods", "namespace": "production"}
SCRATCH = {"resource": "configmaps", "namespace": "scratch"}


@pytest.mark.parametrize(
    ("question", "verb", "reference", "expected"),
    [
        ("deleted", "delete", NAMED, "deleted"),
        ("deleted", "delete", NAMED | {"name": "other"}, None),
        ("deleted", "delete", NAMED | {"namespace": "staging"}, None),
        ("deleted", "delete", NAMED | {"resource": "configmaps"}, None),
        ("deleted", "get", NAMED, None),
        ("deleted", "create", {**PODS, "name": "web-abc", "subresource": "eviction"}, None),
        ("changed", "patch", NAMED, "changed"),
        ("changed", "update", NAMED | {"subresource": "status"}, "changed (status)"),
        ("changed", "get", NAMED, None),
        ("read", "get", NAMED, "read"),
        ("read", "list", NAMED, "read by a selector"),
        ("read", "list", NAMED | {"name": "other"}, None),
        ("created", "create", NAMED, "created"),
        ("touched", "get", NAMED, "read"),
        ("touched", "delete", NAMED, "deleted"),
        ("touched", "create", NAMED | {"name": "other"}, None),
    ],
)
def test_a_request_that_names_its_object(question, verb, reference, expected):
    """URL and objectRef name it: certain, at any level."""
    found = answer(question, SECRET, verb, "/x", **reference)
    assert found == ((expected, "certain") if expected else None)


@pytest.mark.parametrize(
    ("subresource", "expected"),
    [
        ("exec", "ran a command in"),
        ("attach", "attached to"),
        ("portforward", "forwarded a port of"),
        ("log", None),
    ],
)
@pytest.mark.parametrize("verb", ["get", "create"])
def test_exec_is_exec_whatever_the_verb(verb, subresource, expected):
    """WebSocket clients are logged as get, SPDY clients as create."""
    found = answer("exec", POD, verb, "/x", **PODS, name="web-abc", subresource=subresource)
    assert found == ((expected, "certain") if expected else None)


def test_exec_is_neither_a_read_nor_a_change():
    """A stream into a pod is not a get of the pod, nor a create."""
    for verb in ("get", "create"):
        for question in ("read", "changed", "created", "deleted"):
            assert answer(question, POD, verb, "/x", **PODS, name="web-abc", subresource="exec") is None


def test_an_eviction_deletes():
    """kubectl drain removes pods without ever saying delete."""
    reference = {**PODS, "name": "web-abc", "subresource": "eviction"}
    assert answer("deleted", POD, "create", "/x", **reference) == ("evicted", "certain")
    assert answer("changed", POD, "create", "/x", **reference) is None


def test_an_apply_that_answers_201_created():
    """Server-side apply is a patch; only the code tells whether the object was new."""
    assert answer("created", SECRET, "patch", "/x", code=201, **NAMED) == ("created", "certain")
    assert answer("created", SECRET, "patch", "/x", code=200, **NAMED) is None


@pytest.mark.parametrize(
    ("level", "request_object", "response_object", "expected"),
    [
        (
            "RequestResponse",
            {"metadata": {"generateName": "web-"}},
            {"kind": "Pod", "metadata": {"name": "web-abc"}},
            "certain",
        ),
        (
            "RequestResponse",
            {"metadata": {"generateName": "web-"}},
            {"kind": "Pod", "metadata": {"name": "web-xyz"}},
            None,
        ),
        ("Request", {"metadata": {"generateName": "web-"}}, None, "unknown"),
        ("Request", {"metadata": {"generateName": "api-"}}, None, None),
        ("Request", {"metadata": {}}, None, None),
        ("Metadata", None, None, "unknown"),
    ],
)
def test_generated_names(level, request_object, response_object, expected):
    """The server's answer names the pod; without it the prefix rules out what it can, the rest is unknown."""
    found = answer(
        "created", POD, "create", "/x", code=201, level=level, request=request_object, response=response_object, **PODS
    )
    assert found == (("created", expected) if expected else None)


def test_a_refused_create_without_a_name_created_nothing():
    """Denied: no object came of it, whatever its name would have been."""
    assert answer("created", POD, "create", "/x", code=403, **PODS) is None


COLLECTION = "/api/v1/namespaces/scratch/configmaps"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?fieldSelector=metadata.name%3Db", "certain"),
        ("?fieldSelector=metadata.name%3D%3Db", "certain"),
        ("?fieldSelector=metadata.name%3Dc", None),
        ("?fieldSelector=metadata.name!%3Db", None),
        ("?fieldSelector=metadata.name!%3Dc", "unknown"),
        ("?fieldSelector=type%3DOpaque,metadata.name%3Db", "certain"),
        ("?labelSelector=a%3Db", "unknown"),
        ("", "unknown"),
    ],
)
def test_deletecollection_by_its_selector(query, expected):
    """A field selector on the name decides; a label selector does not."""
    found = answer("deleted", CONFIG, "deletecollection", COLLECTION + query, **SCRATCH)
    assert found == (("deleted in a collection", expected) if expected else None)


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}], "certain"),
        ([{"metadata": {"name": "a"}}], None),
        ([{"metadata": {"name": "b", "namespace": "elsewhere"}}], None),
        ([], None),
        (None, None),
    ],
)
def test_deletecollection_by_its_answer(items, expected):
    """At RequestResponse the list of what was deleted is recorded, and decides."""
    found = answer(
        "deleted",
        CONFIG,
        "deletecollection",
        COLLECTION,
        level="RequestResponse",
        response={"kind": "ConfigMapList", "items": items},
        **SCRATCH,
    )
    assert found == (("deleted in a collection", expected) if expected else None)


def test_a_deletecollection_over_all_namespaces_takes_this_one_in():
    """No namespace in the request means every namespace."""
    found = answer("deleted", CONFIG, "deletecollection", "/api/v1/configmaps", resource="configmaps")
    assert found == ("deleted in a collection", "unknown")


def test_a_refused_collection_deleted_nothing():
    """Denied as a whole."""
    assert answer("deleted", CONFIG, "deletecollection", COLLECTION, code=403, **SCRATCH) is None


@pytest.mark.parametrize(("code", "decision"), [(500, "allow"), (504, None), (409, "allow"), (403, "allow")])
def test_a_collection_that_failed_may_have_been_deleted_in_part(code, decision):
    """Every object is admitted and deleted on its own, and the first that fails ends it."""
    noted = {"authorization.k8s.io/decision": decision} if decision else None
    found = answer("deleted", CONFIG, "deletecollection", COLLECTION, code=code, annotations=noted, **SCRATCH)
    assert found == ("deleted in a collection", "unknown")
    forbidden = {"authorization.k8s.io/decision": "forbid"}
    refused = answer("deleted", CONFIG, "deletecollection", COLLECTION, code=403, annotations=forbidden, **SCRATCH)
    assert refused is None


def test_a_create_that_timed_out_may_have_created():
    """The server's error is about its answer; what it stored is not told."""
    assert answer("created", POD, "create", "/x", code=504, **PODS) == ("created", "unknown")


@pytest.mark.parametrize(
    ("uri", "level", "body", "said"),
    [
        ("/x", "Metadata", None, "named in the request; whether it was a dry run is not recorded at Metadata"),
        ("/x", "Request", None, "named in the request"),
        ("/x?dryRun=All", "Request", None, "named in the request"),
        ("/x", "Request", {"dryRun": ["All"]}, "named in the request"),
    ],
)
def test_a_deletion_that_may_have_been_a_dry_run(uri, level, body, said):
    """It says so in its body, which is not recorded at Metadata."""
    assert judge(event("delete", uri, level=level, request=body, **NAMED), Question.DELETED, SECRET).evidence == said


def test_a_dry_run_deletes_no_namespace():
    """So nothing in it is gone."""
    reference = {"resource": "namespaces", "namespace": "scratch", "name": "scratch"}
    assert answer("deleted", CONFIG, "delete", "/x?dryRun=All", level="Request", **reference) is None


@pytest.mark.parametrize(
    ("verb", "uri", "expected"),
    [
        ("delete", "/api/v1/namespaces/production/secrets/important", ("deleted", "certain")),
        ("delete", "/api/v1/namespaces/production/secrets/other", None),
        ("delete", "/api/v1/namespaces/staging/secrets/important", None),
        ("delete", "/apis/example.com/v1/namespaces/production/secrets/important", None),
        ("deletecollection", "/api/v1/secrets", ("deleted in a collection", "unknown")),
        ("delete", "/healthz", None),
    ],
)
def test_an_object_that_stands_in_the_url_alone(verb, uri, expected):
    """The legacy format has no objectRef."""
    legacy = {"stage": "ResponseComplete", "verb": verb, "requestURI": uri, "responseStatus": {"code": 200}}
    found = judge(msgspec.convert(legacy, Event), Question.DELETED, Target("secrets", "important", "production", ""))
    assert (found and (found.did, found.certainty.value)) == expected


def test_a_deleted_namespace_takes_its_objects_with_it():
    """Inferred: the cascade is the namespace controller's, the cause is this request."""
    reference = {"resource": "namespaces", "namespace": "scratch", "name": "scratch"}
    assert answer("deleted", CONFIG, "delete", "/x", **reference) == ("deleted its namespace", "inferred")
    assert answer("deleted", CONFIG, "delete", "/x", code=403, **reference) is None
    assert answer("deleted", CONFIG, "delete", "/x", **reference | {"name": "other"}) is None
    itself = Target("namespaces", "scratch")
    assert answer("deleted", itself, "delete", "/x", **reference) == ("deleted", "certain")


def test_a_table_names_its_rows():
    """kubectl asks for Tables; their rows hold the objects."""
    table = {"kind": "Table", "rows": [{"object": {"metadata": {"name": "important", "namespace": "production"}}}]}
    found = answer(
        "read",
        SECRET,
        "list",
        "/x",
        level="RequestResponse",
        response=table,
        resource="secrets",
        namespace="production",
    )
    assert found == ("read in a list", "certain")


def test_a_table_of_cells_alone_names_nothing():
    """Asked for with includeObject=None, its rows hold no objects: it may have held this one."""
    table = {"kind": "Table", "rows": [{"cells": ["important"]}, {"cells": ["other"], "object": None}]}
    asked = event("list", "/x", level="RequestResponse", response=table, resource="secrets", namespace="production")
    finding = judge(asked, Question.READ, SECRET)
    assert finding.evidence.endswith("the answer that is recorded does not name its objects")
    assert finding.certainty is Certainty.UNKNOWN


def test_a_list_below_request_response_may_have_held_it():
    """A list returns whole objects; what it returned is not recorded, so the answer is unknown, not no."""
    finding = judge(event("list", "/api/v1/secrets", resource="secrets"), Question.READ, SECRET)
    assert finding.certainty is Certainty.UNKNOWN
    assert finding.evidence.startswith("unknown: recorded at Metadata")


def test_cut_bodies_are_said_to_be_cut():
    """A truncated event of level RequestResponse has no body either."""
    cut = {"audit.k8s.io/truncated": "true"}
    finding = judge(
        event("list", "/x", level="RequestResponse", annotations=cut, resource="secrets"), Question.READ, SECRET
    )
    assert "bodies were cut" in finding.evidence


def test_what_a_watch_sent_is_never_recorded():
    """Unknown at every level."""
    finding = judge(
        event("watch", "/api/v1/secrets", level="RequestResponse", resource="secrets"), Question.READ, SECRET
    )
    assert finding.certainty is Certainty.UNKNOWN


def test_touched_leaves_out_lists_that_only_may_have_held_it():
    """Else every informer would have touched everything."""
    assert answer("touched", SECRET, "list", "/api/v1/secrets", resource="secrets") is None
    assert answer("touched", CONFIG, "deletecollection", COLLECTION, **SCRATCH) == (
        "deleted in a collection",
        "unknown",
    )


def test_listed_needs_no_name():
    """Who listed secrets?"""
    everywhere = Target("secrets")
    assert answer("listed", everywhere, "list", "/x", resource="secrets", namespace="a") == ("listed", "certain")
    assert answer("listed", everywhere, "watch", "/x", resource="secrets") == ("watched", "certain")
    assert answer("listed", everywhere, "get", "/x", **NAMED) is None


def test_the_api_group_counts_when_asked_for():
    """ingresses.networking.k8s.io are not ingresses.extensions."""
    target = Target("ingresses", "a", None, "networking.k8s.io")
    reference = {"resource": "ingresses", "name": "a"}
    assert answer("deleted", target, "delete", "/x", **reference, apiGroup="networking.k8s.io")
    assert answer("deleted", target, "delete", "/x", **reference, apiGroup="extensions") is None


@pytest.mark.parametrize(
    "body", [[1], "text", 5, None, {"metadata": "x"}, {"items": {"a": 1}}, {"metadata": {"name": 5}}]
)
def test_bodies_of_any_shape_are_survived(body):
    """A body is hostile: one of a strange shape names nothing."""
    for verb in ("create", "list", "deletecollection", "patch"):
        for question in Question:
            judge(event(verb, "/x", level="RequestResponse", request=body, response=body, **PODS), question, POD)


KUBELET = "/api/v1/nodes/node-1/proxy/run/production/web-abc/c?cmd=id"


@pytest.mark.parametrize(
    ("uri", "target", "expected"),
    [
        (KUBELET, POD, "ran a command in"),
        (KUBELET.replace("run", "attach"), POD, "attached to"),
        (KUBELET.replace("run", "portForward"), POD, "forwarded a port of"),
        (KUBELET.replace("run", "%72un"), POD, "ran a command in"),
        (KUBELET.replace("run", "containerLogs"), POD, None),
        (KUBELET.replace("web-abc", "other"), POD, None),
        (KUBELET.replace("production", "staging"), POD, None),
        (KUBELET, Target("nodes", "node-1"), "ran a command in"),
        (KUBELET, Target("nodes", "node-2"), None),
        (KUBELET, Target("pods", "web-abc", "production", "metrics.k8s.io"), None),
        (KUBELET, SECRET, None),
        ("/api/v1/nodes/node-1/proxy/metrics", POD, None),
    ],
)
def test_exec_through_the_kubelet(uri, target, expected):
    """nodes/proxy reaches into pods without pods/exec; the path names the pod."""
    found = answer("exec", target, "create", uri, resource="nodes", name="node-1", subresource="proxy")
    assert found == ((expected, "certain") if expected else None)


def test_a_log_read_through_the_kubelet():
    """As much as pods/log gives, without it."""
    reference = {"resource": "nodes", "name": "node-1", "subresource": "proxy"}
    logs = KUBELET.replace("run", "containerLogs")
    assert answer("read", POD, "get", logs, **reference) == ("read the log of", "certain")
    assert answer("touched", POD, "get", logs, **reference) == ("read the log of", "certain")
    assert answer("read", POD, "get", KUBELET, **reference) is None
