"""Stages as they are reached: which Events, in which order, counted how."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubewitness.emit import wire
from kubewitness.emit.stages.handler import (
    SUBJECT_MAX_CHARACTERS,
    SUBJECTS_MAX,
    Auditor,
    Exchange,
    NotStoredError,
    drive,
    go_duration,
)
from kubewitness.emit.stages.lifecycle import LifecycleError
from kubewitness.emit.stages.request import Request
from kubewitness.event.types import Level, Stage, UserInfo
from kubewitness.policy.types import Policy, PolicyRule
from tests.emit.samples import ALICE, NOW_US, PODS, Server

EXEC = f"{PODS}/web/exec?command=id"


@pytest.mark.parametrize(
    ("method", "target", "stages"),
    [
        ("GET", PODS, ["RequestReceived", "ResponseComplete"]),
        ("GET", f"{PODS}?watch=1", ["RequestReceived", "ResponseStarted", "ResponseComplete"]),
        ("GET", EXEC, ["RequestReceived", "ResponseStarted", "ResponseComplete"]),
        ("GET", f"{PODS}/web/log", ["RequestReceived", "ResponseStarted", "ResponseComplete"]),
        ("GET", "/debug/pprof/heap", ["RequestReceived", "ResponseStarted", "ResponseComplete"]),
        ("GET", "/healthz", ["RequestReceived", "ResponseComplete"]),
    ],
)
def test_stages_of_short_and_long_requests(method: str, target: str, stages: list[str]) -> None:
    """Only a long-running request has a ResponseStarted, also when it is refused."""
    for code in (200, 403):
        server = Server()
        server.ask(method, target, code=code)
        assert server.stages == stages


def test_times_of_the_stages() -> None:
    """RequestReceived carries the time of receipt twice; the others say when they were reached."""
    server = Server()
    server.ask("GET", EXEC, code=101)
    assert {event.request_received_timestamp for event in server.sink} == {"2026-11-23T03:05:09.000001Z"}
    assert [event.stage_timestamp[-4:] for event in server.sink if event.stage_timestamp] == ["001Z", "002Z", "003Z"]


def test_a_request_turned_away_leaves_response_started_alone() -> None:
    """Failed authentication: one Event with an empty user, no annotations, and the Status that was answered."""
    server = Server()
    audited = server.auditor.turn_away(Request("GET", PODS), NOW_US, "fresh")
    assert audited is not None
    assert server.sink == []
    audited.respond(401, NOW_US, b'{"kind":"Status","apiVersion":"v1","status":"Failure","message":"Unauthorized"}')
    assert server.stages == ["ResponseStarted"]
    [event] = server.sink
    assert event.user == UserInfo()
    assert event.annotations is None
    assert event.response_status is not None
    assert (event.response_status.code, event.response_status.message) == (401, "Unauthorized")


def test_a_request_without_user_matches_no_rule_on_groups() -> None:
    """The policy is asked without a user, so a rule on system:unauthenticated does not catch a 401."""
    server = Server()
    policy = Policy((PolicyRule(Level.METADATA, user_groups=("system:unauthenticated",)),))
    auditor = Auditor(policy, server.sink, server.metrics)
    assert auditor.turn_away(Request("GET", PODS), NOW_US, "fresh") is None
    nameless = Auditor(Policy((PolicyRule(Level.METADATA, users=("",)),)), server.sink, server.metrics)
    assert nameless.turn_away(Request("GET", PODS), NOW_US, "fresh") is None
    anonymous = UserInfo(username="system:anonymous", groups=("system:unauthenticated",))
    assert auditor.receive(Request("GET", PODS), anonymous, NOW_US, "fresh") is not None


def test_level_none_is_counted_and_not_audited() -> None:
    """A request at level None has no Event, but counts once at its level."""
    server = Server(Level.NONE)
    assert server.auditor.receive(Request("GET", PODS), ALICE, NOW_US, "fresh") is None
    assert server.metrics.levels == {"None": 1}
    assert server.metrics.events == 0


def test_omitted_stages_are_neither_sent_nor_counted() -> None:
    """With a stage omitted the others still come, and only they count."""
    server = Server(Level.METADATA, Stage.REQUEST_RECEIVED, Stage.RESPONSE_STARTED)
    server.ask("GET", EXEC, code=101)
    assert server.stages == ["ResponseComplete"]
    assert (server.metrics.events, server.metrics.levels) == (1, {"Metadata": 1})


def test_a_request_that_cannot_be_stored_is_refused() -> None:
    """A Sink that says no at RequestReceived makes the request fail, with kube-apiserver's words and count."""
    server = Server()
    server.sink.is_full = True
    with pytest.raises(NotStoredError) as refused:
        server.receive("GET", "/api/v1/pods?limit=5")
    assert str(refused.value) == 'Internal Server Error: "/api/v1/pods?limit=5": failed to store audit event'
    assert server.metrics.rejected == 1
    assert server.metrics.events == 1


def test_only_request_received_can_refuse() -> None:
    """A Sink that says no later, or a policy that omits RequestReceived, refuses nothing."""
    server = Server(Level.METADATA, Stage.REQUEST_RECEIVED)
    server.sink.is_full = True
    server.ask("GET", EXEC, code=101)
    assert server.stages == ["ResponseStarted", "ResponseComplete"]
    assert server.metrics.rejected == 0


@pytest.mark.parametrize(("target", "stages"), [(PODS, 2), (EXEC, 3)])
def test_a_connection_closed_early(target: str, stages: int) -> None:
    """A handler that wrote nothing is recorded as 200 Connection closed early, with every stage."""
    server = Server()
    server.receive("GET", target).finish(NOW_US + 5)
    assert len(server.sink) == stages
    for event in server.sink[1:]:
        status = b'"responseStatus":{"metadata":{},"status":"Success","message":"Connection closed early","code":200}'
        assert status in wire.line(event)


@pytest.mark.parametrize("is_answered", [False, True])
def test_a_panic_takes_the_place_of_response_complete(is_answered: bool) -> None:
    """A panic is recorded as a 500 with its reason, whatever was answered before, and without a responseObject."""
    server = Server()
    audited = server.receive()
    if is_answered:
        audited.respond(200, NOW_US, b'{"kind":"PodList","items":[]}')
    audited.panic("boom", NOW_US + 1)
    assert server.stages == ["RequestReceived", "Panic"]
    status = server.sink[-1].response_status
    assert status is not None
    assert (status.code, status.reason, status.message) == (500, "InternalError", "APIServer panic'd: boom")
    assert bytes(server.sink[-1].response_object) == b""


def test_impersonation_shows_after_it_is_granted() -> None:
    """RequestReceived shows the caller alone; later stages show both, and how the permission was constrained."""
    server = Server()
    audited = server.receive()
    audited.impersonate(UserInfo(username="bob"), "impersonate:user-info")
    audited.respond(200, NOW_US)
    audited.finish(NOW_US)
    received, complete = server.sink
    assert (received.impersonated_user, received.authentication_metadata) == (None, None)
    assert complete.impersonated_user == UserInfo(username="bob")
    assert complete.authentication_metadata is not None
    assert complete.authentication_metadata.impersonation_constraint == "impersonate:user-info"
    assert complete.user == ALICE


def test_unconstrained_impersonation_has_no_metadata() -> None:
    """The classic permission leaves no authenticationMetadata."""
    server = Server()
    audited = server.receive()
    audited.impersonate(UserInfo(username="bob"))
    audited.finish(NOW_US)
    assert server.sink[-1].authentication_metadata is None


def test_impersonation_cannot_be_granted_after_the_answer() -> None:
    """A server that grants it late has a fault, and hears of it."""
    audited = Server().receive()
    audited.respond(200, NOW_US)
    with pytest.raises(LifecycleError, match="impersonation granted"):
        audited.impersonate(UserInfo(username="bob"))
    with pytest.raises(LifecycleError, match="body decoded"):
        audited.body_read(b"{}")


def test_what_is_kept_of_urls_is_bounded() -> None:
    """Of many or long URLs no more is kept in memory than a fixed number of short ones."""
    server = Server(Level.METADATA)
    server.ask("GET", f"{PODS}?x={'y' * SUBJECT_MAX_CHARACTERS}")
    assert server.auditor._find[0].cache_info().currsize == 0
    server.ask("GET", PODS)
    info = server.auditor._find[0].cache_info()
    assert (info.currsize, info.maxsize) == (1, SUBJECTS_MAX)


def test_annotations_at_their_stages() -> None:
    """An Event holds the annotations made so far; later ones do not reach back into it."""
    server = Server()
    audited = server.auditor.receive(Request("GET", EXEC), ALICE, NOW_US, "fresh", {"a": "early"})
    assert audited is not None
    audited.annotate("b", "authz")
    audited.respond(101, NOW_US)
    audited.annotate("c", "late")
    audited.finish(NOW_US)
    assert [event.annotations for event in server.sink] == [
        {"a": "early"},
        {"a": "early", "b": "authz"},
        {"a": "early", "b": "authz", "c": "late"},
    ]


def test_the_first_writer_of_an_annotation_wins() -> None:
    """A second value for a key is dropped and said so; the same value again is fine."""
    audited = Server().receive()
    assert audited.annotate("k", "one")
    assert audited.annotate("k", "one")
    assert not audited.annotate("k", "two")
    assert audited.record.annotations == {"k": "one"}


@pytest.mark.parametrize(("took_us", "has_latency"), [(500_000, False), (500_001, True)])
def test_latencies_of_slow_requests(took_us: int, has_latency: bool) -> None:
    """The latencies of the layers and their total are noted when the request took more than half a second."""
    server = Server()
    audited = server.receive()
    audited.finish(NOW_US + took_us, {"etcd": "1.3ms"})
    expected = {"apiserver.latency.k8s.io/etcd": "1.3ms", "apiserver.latency.k8s.io/total": "500.001ms"}
    assert server.sink[-1].annotations == (expected if has_latency else None)


def test_no_latency_without_layers() -> None:
    """A watch, which measures no layers, has no total either."""
    server = Server()
    server.receive("GET", f"{PODS}?watch=1").finish(NOW_US + 60_000_000)
    assert server.sink[-1].annotations is None


@pytest.mark.parametrize(
    ("duration_us", "text"),
    [
        (0, "0s"),
        (12, "12µs"),
        (999, "999µs"),
        (1_000, "1ms"),
        (1_001, "1.001ms"),
        (1_500, "1.5ms"),
        (715_072, "715.072ms"),
        (999_999, "999.999ms"),
        (1_000_000, "1s"),
        (1_000_001, "1.000001s"),
        (3_945_024, "3.945024s"),
        (60_500_000, "1m0.5s"),
        (3_600_000_000, "1h0m0s"),
    ],
)
def test_durations_as_go_writes_them(duration_us: int, text: str) -> None:
    """A duration is written with the largest fitting unit and no zeros at its end."""
    assert go_duration(duration_us) == text


def test_audit_id_of_the_client_goes_first() -> None:
    """The client's Audit-ID is taken as it is, all stages share it; without one the fresh id is used."""
    server = Server()
    server.ask("GET", PODS, audit_id="x" * 80)
    server.ask("GET", PODS)
    assert [event.audit_id for event in server.sink] == ["x" * 80] * 2 + ["fresh"] * 2


@given(st.booleans(), st.sampled_from([None, 200, 404]), st.booleans(), st.sampled_from([None, "boom"]))
def test_any_exchange_leaves_what_its_table_says(
    is_long: bool, code: int | None, is_open: bool, panic: str | None
) -> None:
    """Whatever is told of an exchange, its stages are those of the life cycle, and each Event is counted."""
    server = Server()
    exchange = Exchange(
        request=Request("GET", EXEC if is_long else PODS),
        user=ALICE,
        received_us=NOW_US,
        new_id="fresh",
        code=code,
        completed_us=None if is_open else NOW_US + 9,
        panic=panic,
    )
    drive(server.auditor, exchange)
    expected = ["RequestReceived"]
    is_faked = code is None and not is_open and panic is None
    if is_long and (code is not None or is_faked):
        expected.append("ResponseStarted")
    if not is_open:
        expected.append("Panic" if panic else "ResponseComplete")
    assert server.stages == expected
    assert server.metrics.events == len(expected)
    away = dataclasses.replace(exchange, user=None)
    server.sink.clear()
    drive(server.auditor, away)
    assert server.stages == (["ResponseStarted"] if code is not None else [])
