"""What an Event keeps of bodies and names, by level, verb and path."""

import json

import pytest

from kubewitness.emit import wire
from kubewitness.emit.stages.request import Request
from kubewitness.event.types import Event, Level, ObjectReference, UserInfo
from tests.emit.samples import ALICE, NOW_US, PODS, Server

POD = b'{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web","namespace":"shop","uid":"u1","resourceVersion":"7"}}'
STATUS = (
    b'{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"no","reason":"Forbidden",'
    b'"details":{"kind":"pods"},"code":403}'
)


def bodies(event: Event) -> tuple[bool, bool]:
    return bool(bytes(event.request_object)), bool(bytes(event.response_object))


@pytest.mark.parametrize(
    ("level", "kept"),
    [
        (Level.METADATA, (False, False)),
        (Level.REQUEST, (True, False)),
        (Level.REQUEST_RESPONSE, (True, True)),
    ],
)
def test_bodies_by_level(level: Level, kept: tuple[bool, bool]) -> None:
    """The request's body from level Request on, the answer's at RequestResponse; the level stands in the Event."""
    event = Server(level).ask("POST", PODS, POD, POD, 201)
    assert bodies(event) == kept
    assert event.level is level


@pytest.mark.parametrize("level", [Level.METADATA, Level.REQUEST, Level.REQUEST_RESPONSE])
def test_the_reference_is_completed_from_the_body_at_every_level(level: Level) -> None:
    """RequestReceived has what the URL says; later stages have name, uid and resourceVersion of the body."""
    server = Server(level)
    server.ask("POST", "/api/v1/pods", POD, POD, 201)
    received, complete = (event.object_ref for event in server.sink)
    assert received == ObjectReference(resource="pods", api_version="v1")
    assert complete == ObjectReference(
        resource="pods", namespace="shop", name="web", uid="u1", api_version="v1", resource_version="7"
    )


def test_the_url_goes_before_the_body() -> None:
    """Name and namespace of the URL are not overwritten by those of the body."""
    body = b'{"metadata":{"name":"other","namespace":"elsewhere"}}'
    event = Server().ask("PUT", f"{PODS}/web", body)
    assert event.object_ref is not None
    assert (event.object_ref.namespace, event.object_ref.name) == ("shop", "web")


def test_subresource_and_group_come_from_the_url() -> None:
    """objectRef has group, version, resource and subresource as asked for; the core group is absent."""
    event = Server().ask("PUT", "/apis/apps/v1/namespaces/shop/deployments/web/scale", b"{}")
    assert event.object_ref == ObjectReference(
        resource="deployments", namespace="shop", name="web", api_group="apps", api_version="v1", subresource="scale"
    )


@pytest.mark.parametrize("body", [b'{"metadata":{"generateName":"web-"}}', b"[1]", b'{"metadata":[]}', b'{"spec":{}}'])
def test_a_body_without_a_name_leaves_none(body: bytes) -> None:
    """A generated name is in the answer only, and an odd body changes nothing; it is kept all the same."""
    event = Server().ask("POST", PODS, body, POD, 201)
    assert event.object_ref == ObjectReference(resource="pods", namespace="shop", api_version="v1")
    assert bytes(event.request_object) == body


def test_a_patch_is_kept_as_it_was_sent() -> None:
    """A patch keeps its order, its numbers and its managed fields, may be an array, and fills no reference."""
    patch = b'{ "metadata" : {"uid": "forged", "managedFields": [] , "b": 1.0, "a": 1e2}}'
    server = Server(omit_managed_fields=True)
    event = server.ask("PATCH", f"{PODS}/web", patch, POD)
    assert bytes(event.request_object) == b'{"metadata":{"uid":"forged","managedFields":[],"b":1.0,"a":1e2}}'
    assert event.object_ref is not None
    assert event.object_ref.uid is None
    assert bytes(server.ask("PATCH", f"{PODS}/web", b"[ {} ]").request_object) == b"[{}]"


@pytest.mark.parametrize("target", [f"{PODS}/web", PODS])
def test_delete_options_get_the_internal_version(target: str) -> None:
    """DeleteOptions are recorded with kube-apiserver's odd version, kind first, and fill no reference."""
    event = Server().ask("DELETE", target, b'{"propagationPolicy":"Background","apiVersion":"v1"}')
    assert bytes(event.request_object) == (
        b'{"kind":"DeleteOptions","apiVersion":"meta.k8s.io/__internal","propagationPolicy":"Background"}'
    )
    assert event.object_ref is not None
    assert event.object_ref.uid is None
    assert bytes(Server().ask("DELETE", target, b"[]").request_object) == b""


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", PODS),
        ("GET", f"{PODS}/web"),
        ("POST", f"{PODS}/web/exec"),
        ("POST", f"{PODS}/web/attach"),
        ("POST", f"{PODS}/web/portforward"),
        ("POST", "/api/v1/nodes/n/proxy/run"),
        ("POST", "/healthz"),
        ("PATCH", "/healthz"),
        ("DELETE", "/healthz"),
    ],
)
def test_requests_without_a_request_object(method: str, target: str) -> None:
    """Reads, streams, proxied requests and paths that are no resource never keep what the client sent."""
    event = Server().ask(method, target, POD)
    assert bytes(event.request_object) == b""
    assert event.object_ref is None or event.object_ref.uid is None


@pytest.mark.parametrize(
    ("target", "is_kept"),
    [
        (PODS, True),
        (f"{PODS}/web", True),
        ("/api", True),
        ("/apis", True),
        ("/api/v1", True),
        ("/apis/apps", True),
        ("/apis/apps/v1", True),
        (f"{PODS}?watch=true", False),
        (f"{PODS}/web/log", False),
        ("/api/v1/nodes/n/proxy/stats", False),
        ("/version", False),
        ("/openapi/v3", False),
        ("/healthz", False),
    ],
)
def test_which_answers_are_kept(target: str, is_kept: bool) -> None:
    """Objects, lists and discovery are kept; streams, proxied answers and other paths are not."""
    assert bool(bytes(Server().ask("GET", target, answer=POD).response_object)) is is_kept


def test_discovery_is_read_not_written() -> None:
    """Only a GET of a discovery path answers an object."""
    assert bytes(Server().ask("POST", "/api", answer=POD).response_object) == b""


@pytest.mark.parametrize("target", [PODS, f"{PODS}?watch=true", f"{PODS}/web/log", "/version", "/api"])
def test_an_error_status_is_kept_everywhere(target: str) -> None:
    """An error Status fills responseStatus, but its metadata, and is kept as the answer, whatever was asked."""
    event = Server().ask("GET", target, answer=STATUS, code=403)
    assert bytes(event.response_object) == STATUS
    status = event.response_status
    assert status is not None
    assert (status.status, status.message, status.reason, status.code) == ("Failure", "no", "Forbidden", 403)
    assert bytes(status.details) == b'{"kind":"pods"}'
    assert bytes(status.metadata) == b"{}"


def test_a_status_fills_response_status_below_its_level() -> None:
    """At Metadata the message of a Status is recorded, though the Status is not."""
    event = Server(Level.METADATA).ask("GET", PODS, answer=STATUS, code=403)
    assert event.response_status is not None
    assert event.response_status.message == "no"
    assert bytes(event.response_object) == b""


def test_a_stream_that_looks_like_a_status_says_nothing() -> None:
    """What a pod prints into its log cannot pose as the server's answer."""
    event = Server().ask("GET", f"{PODS}/web/log", answer=STATUS, code=200)
    assert event.response_status is not None
    assert (event.response_status.code, event.response_status.message) == (200, None)


@pytest.mark.parametrize(
    "kind", [b'{"kind":"Status","apiVersion":"example.com/v1"}', b'{"kind":"Thing","apiVersion":"v1"}']
)
def test_only_a_status_of_v1_is_one(kind: bytes) -> None:
    """An object of another kind, or of another group, is no Status."""
    event = Server().ask("GET", PODS, answer=kind[:-1] + b',"message":"m"}')
    assert event.response_status is not None
    assert event.response_status.message is None


def test_a_status_of_success_without_a_code_gets_the_http_code() -> None:
    """The Status of a delete has no code of its own; null details count as none."""
    answer = b'{"kind":"Status","apiVersion":"v1","status":"Success","details":null}'
    status = Server().ask("DELETE", f"{PODS}/web", answer=answer).response_status
    assert status is not None
    assert (status.status, status.code, bytes(status.details)) == ("Success", 200, b"")


def test_a_body_that_is_no_json_is_not_kept() -> None:
    """Neither a request nor an answer that is no JSON is recorded; the stages come all the same."""
    server = Server()
    event = server.ask("POST", PODS, b"{", b"ok", 400)
    assert bodies(event) == (False, False)
    assert len(server.sink) == 2


def test_managed_fields_go_when_the_policy_says_so() -> None:
    """omitManagedFields takes them out of both bodies; without it they stay."""
    body = b'{"metadata":{"name":"a","managedFields":[{"manager":"m"}]}}'
    gone = Server(omit_managed_fields=True).ask("POST", PODS, body, body)
    assert bytes(gone.request_object) == bytes(gone.response_object) == b'{"metadata":{"name":"a"}}'
    kept = Server().ask("POST", PODS, body, body)
    assert bytes(kept.request_object) == bytes(kept.response_object) == body


def test_the_user_as_go_writes_one() -> None:
    """Empty members of a user are absent, and bytes that are no UTF-8 become U+FFFD."""
    server = Server()
    user = UserInfo(username="a\udcff", uid="", groups=(), extra={"k": ("v\udcfe",), "\udc80": ()})
    audited = server.auditor.receive(Request("GET", PODS), user, NOW_US, "fresh")
    assert audited is not None
    assert server.sink[0].user == UserInfo(username="a\ufffd", extra={"k": ("v\ufffd",), "\ufffd": ()})


def test_odd_methods_and_unknown_peers() -> None:
    """A method is the verb of a path that is no resource, mended; without any address there are no sourceIPs."""
    event = Server().ask("F\udcffO", "/version")
    assert event.verb == "f\ufffdo"
    assert event.source_ips is None
    assert event.user_agent is None


def test_identity_uri_and_verb_stand_at_every_stage() -> None:
    """User, verb, URI, addresses and agent are the same at every stage."""
    server = Server()
    server.ask("GET", f"{PODS}/web/log?follow=1", user_agent="kubectl/1", peer="10.0.0.7:5000")
    assert len(server.sink) == 3
    for event in server.sink:
        assert event.user == ALICE
        assert (event.verb, event.request_uri) == ("get", f"{PODS}/web/log?follow=1")
        assert (event.source_ips, event.user_agent) == (("10.0.0.7",), "kubectl/1")


def test_the_first_event_has_neither_status_nor_bodies() -> None:
    """RequestReceived knows no answer."""
    server = Server()
    server.ask("POST", PODS, POD, POD, 201)
    assert server.sink[0].response_status is None
    assert bodies(server.sink[0]) == (False, False)
    assert json.loads(bytes(server.sink[1].response_object))["kind"] == "Pod"


def test_annotations_are_text() -> None:
    """Bytes that are no UTF-8, from a header for instance, are mended in keys and values."""
    server = Server()
    audited = server.receive()
    assert audited.annotate("k\udcff", "v\udcff")
    assert audited.annotate("k\ufffd", "v\ufffd")
    audited.respond(200, NOW_US)
    audited.finish(NOW_US)
    assert server.sink[-1].annotations == {"k\ufffd": "v\ufffd"}
    assert '"k\ufffd":"v\ufffd"'.encode() in wire.line(server.sink[-1])


@pytest.mark.parametrize(
    "user", [UserInfo(username="a\udcff", groups=("g",)), UserInfo(username="a", groups=("g\udcff",))]
)
def test_a_plain_user_is_text_too(user: UserInfo) -> None:
    """Without uid and extra there is a shorter way, which must see the same."""
    server = Server()
    audited = server.receive()
    audited.impersonate(user)
    audited.respond(200, NOW_US)
    audited.finish(NOW_US)
    assert server.sink[-1].impersonated_user == UserInfo(
        username=(user.username or "").replace("\udcff", "\ufffd"), groups=(user.groups[0].replace("\udcff", "\ufffd"),)
    )


def test_a_uid_makes_a_user_no_plain_one() -> None:
    """It is mended, and an empty one is absent."""
    for uid, recorded in (("u\udcff", "u\ufffd"), ("", None)):
        server = Server()
        audited = server.receive()
        audited.impersonate(UserInfo(username="a", uid=uid, groups=("g",)))
        audited.respond(200, NOW_US)
        audited.finish(NOW_US)
        assert server.sink[-1].impersonated_user == UserInfo(username="a", uid=recorded, groups=("g",))


def test_extra_alone_makes_a_user_no_plain_one() -> None:
    """Its keys and values are mended, and an empty one is absent."""
    for extra, recorded in (({"k\udcff": ("v",)}, {"k\ufffd": ("v",)}), ({}, None)):
        server = Server()
        user = UserInfo(username="a", groups=("g",), extra=extra)
        assert server.auditor.receive(Request("GET", PODS), user, NOW_US, "fresh") is not None
        assert server.sink[0].user == UserInfo(username="a", groups=("g",), extra=recorded)
