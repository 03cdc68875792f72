"""Simulation over hand-made shapes: what is exact, what is estimated, what is unknown."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubewitness.event.types import Level, Stage
from kubewitness.policy.load import load
from kubewitness.policy.shapes import Shape, Traffic, interest_of
from kubewitness.policy.types import Attributes, Policy
from kubewitness.policy.workshop.simulate import Effect, simulate
from kubewitness.policy.workshop.tally import resource_of, rule_of, tally, tally_by, user_of
from tests.strategies import policies

R, S, C = Stage.REQUEST_RECEIVED, Stage.RESPONSE_STARTED, Stage.RESPONSE_COMPLETE


def policy(*rules: str, head: str = "") -> Policy:
    """Make a policy of rules in flow style."""
    return load("apiVersion: audit.k8s.io/v1\nkind: Policy\n" + head + "rules:\n" + "".join(f"- {r}\n" for r in rules))


def pods(verb: str = "create", user: str | None = "jane", resource: str = "pods") -> Attributes:
    """Make a request for pods."""
    return Attributes(verb, user, () if user else None, "", "", "", resource, "", "", resource_request=True)


def shape(level: Level, stage: Stage = C, events: int = 10, request: Attributes | None = None, **more: float) -> Shape:
    """Make a shape of events of 1,000 bytes without bodies."""
    bodies = int(more.get("request_body", 0) + more.get("response_body", 0))
    failed = bool(more.pop("is_failed", False))
    return Shape(request or pods(), level, stage, failed, events, 1000 * events + bodies, **more)  # type: ignore[arg-type]


FULL = shape(
    Level.REQUEST_RESPONSE,
    request_body=2000,
    response_body=5000,
    request_squares=400_000,
    response_squares=2_500_000,
    response_managed=700,
)
RECEIVED = shape(Level.REQUEST_RESPONSE, R)


def test_lower_levels_are_exact():
    """A lower level is the event without the bodies, and with a shorter level."""
    for level, kept in (("Metadata", 0), ("Request", 2000), ("RequestResponse", 7000)):
        found = tally(
            simulate(Traffic((FULL, RECEIVED)), policy(f"{{level: {level}, omitStages: [RequestReceived]}}")).lines
        )
        letters = len(level) - len("RequestResponse")
        assert (found.after.size, found.after.spread, found.after.unknown) == (10_000 + kept + 10 * letters, 0, 0)
        assert (found.before.size, found.after.events) == (27_000, 10)
        assert found.effects[Effect.DROPPED] == 10


def test_managed_fields_are_taken_off_only_where_a_body_stays():
    """At Request the response is gone with its managed fields."""
    found = tally(simulate(Traffic((FULL,)), policy("{level: RequestResponse, omitManagedFields: true}")).lines)
    assert found.after.size == pytest.approx(17_000 - 700 + 7200 + 70, abs=1)  # with RequestReceived, inferred
    lower = policy("{level: Request, omitManagedFields: true, omitStages: [RequestReceived]}")
    assert tally(simulate(Traffic((FULL,)), lower).lines).after.size == 12_000 - 80


def test_bodies_are_estimated_from_like_events():
    """The mean of like events, and an interval that holds when all are alike."""
    like = shape(Level.METADATA, request=pods(user="ann"))
    lines = simulate(
        Traffic((FULL, RECEIVED, like, shape(Level.METADATA, R, request=like.request))),
        policy("{level: RequestResponse}"),
    ).lines
    [found] = [line.after for line in lines if line.shape is like]
    assert found.size == 10_000 + 10 * 7 + 2000 + 5000
    assert found.unknown == 0
    assert found.spread < 1  # every body of FULL weighs the same
    wide = shape(
        Level.REQUEST_RESPONSE, request_body=2000, response_body=5000, request_squares=800_000, response_squares=5e6
    )
    [guessed] = [
        line.after
        for line in simulate(Traffic((wide, like)), policy("{level: Request, omitStages: [RequestReceived]}")).lines
        if line.shape is like
    ]
    variance = (800_000 / 10 - 200**2) * 10 / 9
    assert guessed.spread == pytest.approx(2.26 * 10 * math.sqrt(variance * (1 / 10 + 1 / 10)))


def test_without_like_events_the_body_is_unknown():
    """Another verb is not like; the size is then the least it can be."""
    lone = shape(Level.METADATA, request=pods("update"))
    found = tally(
        simulate(
            Traffic((FULL, lone)), policy("{level: Request, verbs: [update], omitStages: [RequestReceived]}")
        ).lines
    )
    assert (found.after.unknown, found.after.size) == (10, 10_000 - 10)
    assert found.effects == {Effect.RAISED: 10, Effect.DROPPED: 10}


def test_what_can_have_no_body_is_not_unknown():
    """Reads at Request, watches, streams and refusals without a user have none."""
    for request in (pods("get"), pods("watch"), pods("create", None)):
        only = shape(Level.METADATA, request=request)
        assert tally(simulate(Traffic((only,)), policy("{level: Request}")).lines).after.unknown == 0
    assert (
        tally(
            simulate(Traffic((shape(Level.METADATA, request=pods("watch")),)), policy("{level: RequestResponse}")).lines
        ).after.unknown
        == 0
    )
    assert (
        tally(
            simulate(Traffic((shape(Level.METADATA, request=pods("list")),)), policy("{level: RequestResponse}")).lines
        ).after.unknown
        == 10
    )


def test_failed_requests_are_like_any_failed_request():
    """The response of a refusal is a Status, whatever was asked."""
    refused = shape(
        Level.REQUEST_RESPONSE, request=pods("get"), response_body=3000, response_squares=900_000, is_failed=True
    )
    other = shape(Level.METADATA, request=pods("list", "ann"), is_failed=True)
    lines = simulate(Traffic((refused, other)), policy("{level: RequestResponse, omitStages: [RequestReceived]}")).lines
    assert [line.after.size for line in lines] == [13_000, 13_070]


def test_stages_that_the_log_lacks_are_inferred():
    """RequestReceived of every request with a user; ResponseStarted of watches; none where the log has some."""
    complete = shape(Level.METADATA)
    lines = simulate(Traffic((complete,)), policy("{level: Metadata}")).lines
    assert [(line.shape.stage, line.after.events, line.effect) for line in lines] == [
        (C, 10, Effect.KEPT),
        (R, 10, Effect.ADDED),
    ]
    assert lines[1].after.size == 7200
    assert lines[1].after.spread == pytest.approx(1080)
    both = simulate(Traffic((complete, shape(Level.METADATA, R))), policy("{level: Metadata}")).lines
    assert [line.is_inferred for line in both] == [False, False]
    watch = simulate(Traffic((shape(Level.METADATA, request=pods("watch")),)), policy("{level: Metadata}")).lines
    assert {line.shape.stage for line in watch} == {R, S, C}
    refused = simulate(
        Traffic((shape(Level.METADATA, S, request=pods("list", None)),)), policy("{level: Metadata}")
    ).lines
    assert [line.shape.stage for line in refused] == [S]


def test_the_share_of_received_is_the_logs_own():
    """Where the log has both stages of some requests, others are estimated by them."""
    mine = [shape(Level.METADATA), Shape(pods(), Level.METADATA, R, False, 10, 5000)]
    other = shape(Level.METADATA, request=pods(user="ann"))
    lines = simulate(Traffic((*mine, other)), policy("{level: Metadata}")).lines
    assert [line.after.size for line in lines if line.is_inferred] == [5000]


def test_a_baseline_that_did_not_record_the_log_is_told():
    """Both policies are then simulated; what contradicts the baseline is listed."""
    old = policy("{level: Request, verbs: [create]}", "{level: Metadata}")
    found = simulate(Traffic((FULL,)), policy("{level: Metadata}"), old)
    assert [line.shape for line in found.contradictions] == [FULL]
    assert not found.is_recorded_by_baseline
    assert found.lines[0].effect is Effect.LOWERED
    agreed = simulate(Traffic((FULL,)), old, policy("{level: RequestResponse}"))
    assert agreed.is_recorded_by_baseline


def test_sums_by_rule_user_and_resource():
    """Every grouping adds up to the total."""
    shapes = (FULL, RECEIVED, shape(Level.METADATA, request=pods("list", None, "secrets")))
    lines = simulate(Traffic(shapes), policy("{level: None, verbs: [list]}", "{level: Metadata}")).lines
    total = tally(lines)
    for key in (rule_of, user_of, resource_of):
        groups = tally_by(lines, key)  # type: ignore[arg-type]
        assert sum(one.after.size for one in groups.values()) == total.after.size
        assert sum(one.before.events for one in groups.values()) == total.before.events
    assert set(tally_by(lines, rule_of)) == {0, 1}
    assert set(tally_by(lines, user_of)) == {"jane", None}


REQUESTS = (
    pods(),
    pods("get"),
    pods("list"),
    pods("watch"),
    pods("delete", "ann"),
    Attributes("get", "ann", (), path="/api*"),
)
SHAPES = st.builds(
    shape,
    st.sampled_from([Level.METADATA, Level.REQUEST, Level.REQUEST_RESPONSE]),
    st.sampled_from([R, S, C]),
    st.integers(1, 20),
    st.sampled_from(REQUESTS),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(SHAPES, max_size=12), policies())
def test_no_policy_makes_numbers_absurd(shapes, drawn):
    """Never negative, never more events than requests have stages, nothing unknown at Metadata."""
    traffic = Traffic(tuple(shapes))
    found = tally(simulate(traffic, drawn).lines)
    assert found.after.low <= found.after.size <= found.after.high
    assert found.before.events == traffic.events
    assert found.after.events <= 3 * traffic.events
    assert 0 <= found.after.unknown <= found.after.events
    assert tally(simulate(traffic, policy("{level: Metadata}")).lines).after.unknown == 0
    assert interest_of([drawn]).path_prefixes
