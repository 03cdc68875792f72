"""A Python web application behind the middleware leaves the Events that an API server would."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from kubewitness.emit.doors import asgi
from kubewitness.emit.doors.asgi import AuditMiddleware
from kubewitness.emit.doors.identity import NotAuthenticatedError, from_scope_user, known
from kubewitness.event.types import Level, Stage, UserInfo
from tests.emit.doors.asgi_client import JSON, Call, Site, answering

PODS = "/api/v1/namespaces/shop/pods"
POD = b'{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web"}}'
FAILURE = b'{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no","reason":"NotFound","code":404}'


def alice(_scope):
    return known("alice", "dev")


def test_a_short_request_leaves_two_events_with_both_bodies() -> None:
    """A create is recorded with who, from where, what was sent and what was answered."""
    site = Site(answering(201, b'{"kind":"Pod",', b'"metadata":{"uid":"u"}}'), identify=alice)
    call = site.call(
        "POST", PODS, POD[:20], POD[20:], headers=[JSON, (b"user-agent", b"curl/8"), (b"audit-id", b"my-id")]
    )
    assert site.stages == ["RequestReceived", "ResponseComplete"]
    first, last = site.events
    assert (first.verb, first.object_ref.name, last.object_ref.name) == ("create", None, "web")
    assert last.user == UserInfo(username="alice", groups=("dev", "system:authenticated"))
    assert (last.source_ips, last.user_agent, last.audit_id) == (("10.0.0.7",), "curl/8", "my-id")
    assert bytes(last.request_object) == POD
    assert bytes(last.response_object) == b'{"kind":"Pod","metadata":{"uid":"u"}}'
    assert last.response_status.code == 201
    assert (call.code, call.headers[b"audit-id"]) == (201, b"my-id")


def test_the_event_is_there_before_the_answer_is_whole() -> None:
    """Whoever has the last byte of an answer can find its Event."""
    site = Site(answering(200, b"{}"))
    seen = []
    call = Call("GET", PODS)

    async def send(message) -> None:
        seen.append((message["type"], message.get("more_body"), len(site.events)))

    asyncio.run(site.door(call.scope, call.receive, send))
    assert seen == [
        ("http.response.start", None, 1),
        ("http.response.body", True, 1),
        ("http.response.body", None, 2),
    ]


@pytest.mark.parametrize("level", [Level.METADATA, Level.REQUEST])
def test_below_request_response_the_answer_is_not_kept(level: Level) -> None:
    """The level decides about bodies; a Status tells its message at every level, and names come from bodies."""
    site = Site(answering(404, FAILURE), level)
    site.call("POST", PODS, POD, headers=[JSON])
    last = site.events[-1]
    assert (last.response_status.message, last.response_status.reason) == ("no", "NotFound")
    assert not last.response_object
    assert bool(last.request_object) is (level is Level.REQUEST)
    assert last.object_ref.name == "web"


def test_a_level_of_none_leaves_nothing_but_the_audit_id() -> None:
    """An unaudited request is counted, answered with an Audit-ID of its own, and not recorded."""
    site = Site(answering(), Level.NONE)
    call = site.call("GET", PODS)
    assert not site.events
    assert len(call.headers[b"audit-id"]) == 36
    assert site.metrics.levels == {"None": 1}


@pytest.mark.parametrize(
    ("code", "kept"), [(201, True), (409, True), (422, True), (403, True), (400, False), (413, False), (415, False)]
)
def test_what_could_not_be_decoded_is_not_kept(code: int, kept: bool) -> None:
    """Bodies answered 400, 413 and 415 were no objects; those refused later were."""
    site = Site(answering(code, FAILURE))
    site.call("POST", PODS, POD, headers=[JSON])
    assert bool(site.events[-1].request_object) is kept


def test_a_request_that_is_forbidden_has_no_object() -> None:
    """kube-apiserver authorizes before it reads; a framework that read too early must not show."""

    async def app(scope, receive, send) -> None:
        asgi.annotate(scope, "authorization.k8s.io/decision", "forbid")
        await answering(403, FAILURE)(scope, receive, send)

    site = Site(app)
    site.call("POST", PODS, POD, headers=[JSON])
    assert not site.events[-1].request_object
    assert site.events[-1].annotations == {"authorization.k8s.io/decision": "forbid"}


def test_a_body_that_nobody_read_is_not_kept() -> None:
    """What the application never saw is not part of the request as far as audit is concerned."""
    site = Site(answering(201, b"{}", reads=False))
    site.call("POST", PODS, POD, headers=[JSON])
    assert not site.events[-1].request_object
    assert site.events[-1].object_ref.name is None


def test_yaml_becomes_json_and_other_media_types_are_left_out() -> None:
    """An apply patch is recorded as JSON, a protobuf body only if the application hands over its object."""
    site = Site(answering())
    apply = (b"content-type", b"application/apply-patch+yaml")
    site.call("PATCH", f"{PODS}/web", b"spec: {a: [1, yes, x, null, 1.50]}\n", headers=[apply])
    assert bytes(site.events[-1].request_object) == b'{"spec":{"a":[1,true,"x",null,1.5]}}'
    protobuf = (b"content-type", b"application/vnd.kubernetes.protobuf")
    site.call("POST", PODS, b'{"a":1}', headers=[protobuf])
    assert not site.events[-1].request_object

    async def decoding(scope, receive, send) -> None:
        asgi.request_object(scope, POD)
        await answering()(scope, receive, send)

    site = Site(decoding)
    site.call("POST", PODS, b"\x00\x01", headers=[protobuf])
    assert bytes(site.events[-1].request_object) == POD


def test_broken_yaml_is_no_object() -> None:
    """An alias bomb or a torn document costs nothing and is not kept."""
    bomb = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
        b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 9)) for c in range(ord("b"), ord("k"))
    )
    site = Site(answering())
    for body in (bomb, b"{", b"\xff"):
        site.call("PATCH", f"{PODS}/web", body, headers=[(b"content-type", b"application/yaml")])
        assert not site.events[-1].request_object


def test_a_body_above_the_limit_of_api_servers_is_not_kept() -> None:
    """Three MiB is what kube-apiserver takes; beyond that memory is not spent."""
    site = Site(answering())
    site.call("POST", PODS, b'{"a":"', b"x" * (3 << 20), b'"}', headers=[JSON])
    assert not site.events[-1].request_object


def test_a_large_answer_is_kept_only_where_its_level_says_so() -> None:
    """At RequestResponse a list is kept whole; below, only a Status could matter."""
    large = b'{"items":["' + b"x" * 400_000 + b'"]}'
    site = Site(answering(200, large[:300_000], large[300_000:]))
    site.call("GET", PODS)
    assert bytes(site.events[-1].response_object) == large
    site = Site(answering(200, large), Level.METADATA)
    assert site.call("GET", PODS).body == large
    assert site.events[-1].response_status.status is None


def test_a_watch_leaves_three_events_and_no_body() -> None:
    """ResponseStarted comes with the status, ResponseComplete with the end of the stream."""
    at_first_part = []

    async def app(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [JSON]})
        at_first_part.append(site.stages[:])
        await send({"type": "http.response.body", "body": b'{"type":"ADDED"}', "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    site = Site(app)
    site.call("GET", f"{PODS}?watch=true")
    assert at_first_part == [["RequestReceived", "ResponseStarted"]]
    assert site.stages == ["RequestReceived", "ResponseStarted", "ResponseComplete"]
    assert not any(event.response_object for event in site.events)


def test_a_long_running_request_that_fails_records_its_status_at_once() -> None:
    """The Status of a refused exec stands in ResponseStarted, too."""
    site = Site(answering(404, FAILURE))
    site.call("GET", f"{PODS}/web/exec?command=id")
    assert site.stages == ["RequestReceived", "ResponseStarted", "ResponseComplete"]
    assert {event.response_status.reason for event in site.events[1:]} == {"NotFound"}
    assert bytes(site.events[1].response_object) == FAILURE


def test_who_cannot_be_authenticated_leaves_one_event() -> None:
    """The application is not reached; the caller gets a Status, the log ResponseStarted with an empty user."""

    async def nobody(_scope):
        raise NotAuthenticatedError

    site = Site(answering(), identify=nobody)
    call = site.call("GET", PODS)
    (event,) = site.events
    assert (event.stage, event.user, event.response_status.code) == (Stage.RESPONSE_STARTED, UserInfo(), 401)
    assert event.response_status.message == "Unauthorized"
    assert call.code == 401
    assert b'"reason":"Unauthorized"' in call.body
    assert call.headers[b"audit-id"].decode() == event.audit_id


def test_a_request_whose_event_cannot_be_stored_is_refused() -> None:
    """In blocking-strict the application is not reached either."""
    site = Site(answering())
    site.sink.is_full = True
    call = site.call("GET", f"{PODS}?limit=5")
    assert call.code == 500
    assert call.body == f'Internal Server Error: "{PODS}?limit=5": failed to store audit event\n'.encode()
    assert site.metrics.rejected == 1


def test_a_request_that_is_no_http_is_refused_unaudited() -> None:
    """A URL that Go's server answers 400 must not reach the application past the audit log."""
    site = Site(answering())
    call = site.call("GET", "/api/v1/pods%zz")
    assert (call.code, site.events) == (400, [])


def test_a_malformed_url_with_a_wrong_token_is_refused_unaudited() -> None:
    """Neither reaches the application, and neither is an error of the server."""

    def nobody(_scope):
        raise NotAuthenticatedError

    site = Site(answering(), identify=nobody)
    call = site.call("GET", "/api/v1/pods%zz")
    assert (call.code, site.events) == (400, [])


@pytest.mark.parametrize("level", [Level.METADATA, Level.NONE])
def test_an_audit_id_that_is_no_text(level: Level) -> None:
    """It is recorded mended, and given back as it came."""
    site = Site(answering(), level)
    call = site.call("GET", PODS, headers=[(b"audit-id", b"a\xffb")])
    assert call.headers[b"audit-id"] == b"a\xffb"
    assert {event.audit_id for event in site.events} <= {"a\ufffdb"}


@pytest.mark.parametrize("target", [PODS, f"{PODS}?watch=1"])
def test_a_client_that_goes_amid_the_answer_is_no_panic(target: str) -> None:
    """The server says so by an error of its send, which the application lets through."""

    async def app(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [JSON]})
        await send({"type": "http.response.body", "body": b"{}", "more_body": True})

    site = Site(app)
    call = Call("GET", target)

    async def send(message) -> None:
        if message["type"] == "http.response.body":
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        asyncio.run(site.door(call.scope, call.receive, send))
    assert site.stages[-1] == "ResponseComplete"
    assert site.events[-1].response_status.code == 200


def test_a_client_that_goes_amid_its_request_is_no_panic() -> None:
    """What a framework raises then ends the request as one that was closed early."""

    async def app(scope, receive, send) -> None:
        await receive()
        if (await receive())["type"] == "http.disconnect":
            raise ValueError("client disconnected")

    site = Site(app)
    with pytest.raises(ValueError, match="client disconnected"):
        site.call("POST", PODS, POD)
    assert site.stages == ["RequestReceived", "ResponseComplete"]
    assert site.events[-1].response_status.message == "Connection closed early"


def test_an_exception_is_a_panic_and_goes_on() -> None:
    """Panic takes the place of ResponseComplete, and whoever stands outside still sees the exception."""

    async def app(scope, receive, send) -> None:
        raise ZeroDivisionError("division by zero")

    site = Site(app)
    with pytest.raises(ZeroDivisionError):
        site.call("GET", PODS)
    assert site.stages == ["RequestReceived", "Panic"]
    assert site.events[-1].response_status.message == "APIServer panic'd: ZeroDivisionError: division by zero"


def test_an_exception_after_the_answer_is_not_part_of_the_request() -> None:
    """A background task that fails does not change what was answered."""

    async def app(scope, receive, send) -> None:
        await answering()(scope, receive, send)
        raise ZeroDivisionError

    site = Site(app)
    with pytest.raises(ZeroDivisionError):
        site.call("GET", PODS)
    assert site.stages == ["RequestReceived", "ResponseComplete"]


def test_an_exception_amid_the_answer_is_a_panic() -> None:
    """An answer that breaks off has no ResponseComplete."""

    async def app(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ConnectionError("reset")

    site = Site(app)
    with pytest.raises(ConnectionError):
        site.call("GET", f"{PODS}/web/log")
    assert site.stages == ["RequestReceived", "ResponseStarted", "Panic"]


async def _gone(scope, receive, send) -> None:
    await receive()
    assert (await receive())["type"] == "http.disconnect"


async def _silent(scope, receive, send) -> None:
    await receive()


async def _half(scope, receive, send) -> None:
    await send({"type": "http.response.start", "status": 206, "headers": []})


@pytest.mark.parametrize(
    ("app", "code", "message"), [(_gone, 200, "Connection closed early"), (_silent, 500, None), (_half, 206, None)]
)
def test_an_application_that_does_not_answer(app, code: int, message: str | None) -> None:
    """A client that went away is `Connection closed early`; else the server answers 500 for the application."""
    site = Site(app)
    site.call("GET", PODS)
    assert site.stages == ["RequestReceived", "ResponseComplete"]
    assert (site.events[-1].response_status.code, site.events[-1].response_status.message) == (code, message)


async def _cut(site: Site, begun: Awaitable[object], let_go: Callable[[], object] = lambda: None) -> None:
    """Cancel a watch when it has come so far, and again, as an impatient server does; then let go what holds it."""
    call = Call("GET", f"{PODS}?watch=1")
    task = asyncio.ensure_future(site.door(call.scope, call.receive, call.send))
    await begun
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0.01)
    let_go()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_watch_that_the_server_cuts_is_complete() -> None:
    """When the server stops, its open watches end with ResponseComplete."""

    async def app(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(60)

    site = Site(app)
    asyncio.run(_cut(site, asyncio.sleep(0.01)))
    assert site.stages == ["RequestReceived", "ResponseStarted", "ResponseComplete"]


async def _talk(scope, receive, send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await receive()


async def _refuse(scope, receive, send) -> None:
    await receive()
    await send({"type": "websocket.close", "code": 1000})


async def _deny(scope, receive, send) -> None:
    await receive()
    await send({"type": "websocket.http.response.start", "status": 404, "headers": [JSON]})
    await send({"type": "websocket.http.response.body", "body": FAILURE})


@pytest.mark.parametrize(
    ("app", "target", "stages", "code"),
    [
        (_talk, f"{PODS}/web/exec?command=id", ["RequestReceived", "ResponseStarted", "ResponseComplete"], 101),
        (_talk, "/chat", ["RequestReceived", "ResponseComplete"], 101),
        (_refuse, f"{PODS}/web/exec", ["RequestReceived", "ResponseStarted", "ResponseComplete"], 403),
        (_deny, f"{PODS}/web/exec", ["RequestReceived", "ResponseStarted", "ResponseComplete"], 404),
    ],
)
def test_a_websocket_is_a_get_that_switches_protocols(app, target: str, stages: list[str], code: int) -> None:
    """As with kubectl exec: verb get, code 101, complete at the end of the session."""
    site = Site(app)
    call = site.call("GET", target, kind="websocket")
    assert site.stages == stages
    assert (site.events[-1].verb, site.events[-1].response_status.code) == ("get", code)
    if code in (101, 404):
        assert b"audit-id" in dict(call.sent[0]["headers"])


def test_a_websocket_whose_caller_is_unknown_is_closed() -> None:
    """Nothing is accepted for a caller without an identity."""

    def nobody(_scope):
        raise NotAuthenticatedError

    site = Site(_talk, identify=nobody)
    call = site.call("GET", f"{PODS}/web/exec", kind="websocket")
    assert call.sent == [{"type": "websocket.close", "code": 1008}]
    assert site.stages == ["ResponseStarted"]


def test_handlers_say_what_only_they_know() -> None:
    """Annotations and impersonation reach the Events of this request; of a key the first value stays."""

    async def app(scope, receive, send) -> None:
        asgi.impersonate(scope, UserInfo(username="bob"), "impersonate:user-info")
        asgi.annotate(scope, "shop.example/reason", "first")
        asgi.annotate(scope, "shop.example/reason", "second")
        await answering()(scope, receive, send)

    site = Site(app)
    site.call("GET", PODS)
    last = site.events[-1]
    assert last.impersonated_user == UserInfo(username="bob")
    assert last.annotations == {"shop.example/reason": "first"}
    scope: dict = {}
    asgi.annotate(scope, "a", "b")
    asgi.impersonate(scope, UserInfo())
    asgi.request_object(scope, b"{}")
    assert scope == {}


def test_claimed_addresses_come_before_the_peer() -> None:
    """X-Forwarded-For is what the client says; the last address is what the server saw."""
    site = Site(answering())
    site.call("GET", PODS, headers=[(b"x-forwarded-for", b"1.2.3.4, junk, ::1"), (b"x-real-ip", b"5.6.7.8")])
    assert site.events[0].source_ips == ("1.2.3.4", "::1", "5.6.7.8", "10.0.0.7")
    site.call("GET", PODS, client=("2001:db8::7", 1))
    assert site.events[-1].source_ips == ("2001:db8::7",)
    site.call("GET", PODS, client=None)
    assert site.events[-1].source_ips is None


def test_the_uri_is_the_one_on_the_wire() -> None:
    """The raw path stays raw; a server that keeps none has it escaped again."""
    site = Site(answering())
    site.call("GET", "/%61pi/v1/pods?a=b")
    assert (site.events[-1].request_uri, site.events[-1].verb) == ("/%61pi/v1/pods?a=b", "list")
    site.call("GET", "/api/v1/namespaces/shop/pods/a b", raw_path=None)
    assert site.events[-1].request_uri == "/api/v1/namespaces/shop/pods/a%20b"


def test_other_scopes_and_servers_without_a_policy_pass_through() -> None:
    """The life span of the server is none of our business, nor is anything when nothing is audited."""
    seen = []

    async def app(scope, receive, send) -> None:
        seen.append(scope["type"])

    site = Site(app)
    call = Call("GET", "/", kind="lifespan")
    asyncio.run(site.door(call.scope, call.receive, call.send))
    call = Call("GET", "/")
    asyncio.run(AuditMiddleware(app, None)(call.scope, call.receive, call.send))
    assert (seen, site.events) == (["lifespan", "http"], [])


def test_a_slow_backend_is_called_on_another_thread() -> None:
    """A backend that waits for the network does not hold up the loop."""
    threads = []

    class Slow(Site):
        pass

    site = Slow(answering(), is_slow=True)
    kept = site.sink.process_events

    def process(events) -> bool:
        threads.append(threading.current_thread())
        return kept(events)

    site.sink.process_events = process
    site.call("GET", PODS)
    assert site.stages == ["RequestReceived", "ResponseComplete"]
    assert threading.main_thread() not in threads


@pytest.mark.parametrize("held", ["RequestReceived", "ResponseStarted", "ResponseComplete"])
def test_a_request_that_is_cancelled_while_a_slow_backend_stores_is_complete(held: str) -> None:
    """Whatever stage is being stored just then: all stages are, in order, and the handler is cancelled."""
    let_go = threading.Event()

    async def app(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        await asyncio.sleep(60)

    site = Site(app, is_slow=True)
    kept = site.sink.process_events
    reached = threading.Event()

    def process(events) -> bool:
        if events[0].stage.value == held:
            reached.set()
            assert let_go.wait(10)
        return kept(events)

    site.sink.process_events = process
    asyncio.run(_cut(site, asyncio.to_thread(reached.wait), let_go.set))
    assert site.stages == ["RequestReceived", "ResponseStarted", "ResponseComplete"]


class _User:
    is_authenticated = True
    display_name = "carol"


def test_starlettes_user_is_an_identity() -> None:
    """Who Starlette's AuthenticationMiddleware knows is authenticated, everybody else anonymous."""
    assert from_scope_user({"user": _User()}).user == UserInfo(username="carol", groups=("system:authenticated",))
    assert from_scope_user({}).user.username == "system:anonymous"


def test_files_sent_by_the_server_complete_the_answer() -> None:
    """The extensions that send files count as the last part of a body."""

    async def app(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": scope["how"], "path": "/f", "file": 1})

    for how in ("http.response.pathsend", "http.response.zerocopysend"):
        site = Site(app)
        site.call("GET", "/file", how=how)
        assert site.stages == ["RequestReceived", "ResponseComplete"]
