"""Diff: exact against every request of a small universe, and regions that are neither too wide nor too narrow."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubewitness.event.types import Level, Stage
from kubewitness.policy.evaluate import evaluate
from kubewitness.policy.prove.describe import decision_text, region_text, request_text
from kubewitness.policy.prove.diff import Diff, diff, stated, written
from kubewitness.policy.prove.universe import Universe
from kubewitness.policy.types import Decision, GroupResources, Policy, PolicyRule
from tests.model import regions as model
from tests.policy.prove.strategies import policies, pool

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
SOAK = settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))


def check_diff(old: Policy, new: Policy, universe: Universe) -> None:
    requests = pool(universe)
    expected = {
        (i, j)
        for i, before in requests.decided(old)
        for j, after in requests.decided(new)
        if before & after and _written(model.outcome(old, i)) != _written(model.outcome(new, j))
    }
    changes = diff(old, new, universe)
    assert {(change.before.rule_index, change.after.rule_index) for change in changes} == expected
    for change in changes:
        assert evaluate(old, change.example) == change.before
        assert evaluate(new, change.example) == change.after
        assert model.decide(old, change.example) == change.before.rule_index
        assert model.decide(new, change.example) == change.after.rule_index
        assert universe is Universe.ANY or model.is_possible(change.example)


def _written(outcome: model.Outcome) -> object:
    if outcome.level is Level.NONE:
        return None
    bodies = outcome.level in (Level.REQUEST, Level.REQUEST_RESPONSE)
    return outcome.level, outcome.omit_stages, bodies and outcome.omit_managed_fields


@pytest.mark.parametrize("universe", Universe)
@given(data=st.data())
@QUICK
def test_diff_is_exact(universe: Universe, data: st.DataObject) -> None:
    """A pair of rules is reported exactly when a request of the universe changes from the one to the other."""
    check_diff(data.draw(policies(universe)), data.draw(policies(universe)), universe)


@pytest.mark.soak
@pytest.mark.parametrize("universe", Universe)
@given(data=st.data())
@SOAK
def test_diff_is_exact_at_length(universe: Universe, data: st.DataObject) -> None:
    """The same over 10,000 pairs of policies in each universe."""
    check_diff(data.draw(policies(universe, 8)), data.draw(policies(universe, 8)), universe)


@pytest.mark.parametrize("universe", Universe)
@given(data=st.data())
@settings(QUICK, max_examples=30)
def test_regions_are_the_change(universe: Universe, data: st.DataObject) -> None:
    """The regions of a change hold all of its requests and no others."""
    old, new = data.draw(policies(universe, 4)), data.draw(policies(universe, 4))
    requests = pool(universe)
    found = Diff(old, new, universe)
    decided = [dict(requests.decided(policy)) for policy in (old, new)]
    for change in found.changes[:3]:
        regions, is_all = found.regions(change, most=8)
        for region in regions:
            assert region_text(found.space, region)
        held = 0
        for number, request in enumerate(requests.requests[:: len(requests.requests) // 500]):
            if any(found.space.holds(region, request) for region in regions):
                held |= 1 << (number * (len(requests.requests) // 500))
        of_change = decided[0][change.before.rule_index] & decided[1][change.after.rule_index]
        sampled = sum(1 << n for n in range(0, len(requests.requests), len(requests.requests) // 500))
        assert held & ~of_change == 0
        assert not is_all or held == of_change & sampled


@given(data=st.data())
@QUICK
def test_a_policy_does_not_differ_from_itself(data: st.DataObject) -> None:
    """No policy differs from itself, even as stated."""
    policy = data.draw(policies(Universe.POSSIBLE))
    assert Diff(policy, policy, by=stated).changes == ()


def _policy(*rules: PolicyRule) -> Policy:
    return Policy(rules)


SECRETS = PolicyRule(Level.METADATA, resources=(GroupResources("", ("secrets",)),))
REST = PolicyRule(Level.REQUEST)


def test_the_smallest_example_is_an_ordinary_request() -> None:
    """Taking the Secrets rule away raises `get secrets` of an ordinary user: that is the example."""
    (change,) = diff(_policy(SECRETS, REST), _policy(REST))
    assert request_text(change.example) == "get secrets x in namespace default by someone (system:authenticated)"
    assert (change.before.level, change.after.level) == (Level.METADATA, Level.REQUEST)


def test_a_region_says_what_it_leaves_out() -> None:
    """The region of a change is the rule less what earlier rules take."""
    node = PolicyRule(Level.NONE, user_groups=("system:nodes",), verbs=("get",))
    found = Diff(_policy(node, SECRETS, REST), _policy(node, REST))
    (change,) = found.changes
    regions, is_all = found.regions(change)
    assert is_all
    texts = [region_text(found.space, region) for region in regions]
    assert texts == ["secrets not in group system:nodes", "any verb but get of secrets"]


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ((), "/livez, /version, /healthz* and /metrics*"),
        (("/livez",), "/version, /healthz* and /metrics*"),
        (("/healthz/etcd",), "/livez, /version, /healthz* (but not /healthz/etcd) and /metrics*"),
        (("*",), "any non-resource URL but /livez, /version, /healthz* and /metrics*"),
    ],
)
def test_urls_inside_others_are_told_apart(kept: tuple[str, ...], said: str) -> None:
    """What is named inside a pattern is not said by that pattern, nor left out with it."""
    named = PolicyRule(Level.NONE, non_resource_urls=("/healthz*", "/version", "/metrics*", "/livez"))
    special = PolicyRule(Level.NONE, non_resource_urls=kept)
    old, new = (special, named, REST), (special, REST)
    if kept == ("*",):  # everything but the named ones changes
        old, new = (named, REST), (named, PolicyRule(Level.METADATA, non_resource_urls=kept), REST)
    elif not kept:
        old, new = old[1:], new[1:]
    found = Diff(_policy(*old), _policy(*new))
    (change,) = found.changes
    ((region,), _) = found.regions(change)
    assert region_text(found.space, region) == said


def test_what_leaves_no_trace_is_no_change() -> None:
    """Stages of a None rule and managed fields at Metadata are never written, so nothing changes."""
    plain = _policy(PolicyRule(Level.NONE, verbs=("get",)), PolicyRule(Level.METADATA))
    dressed = _policy(
        PolicyRule(Level.NONE, verbs=("get",), omit_stages=(Stage.PANIC,)),
        PolicyRule(Level.METADATA, omit_managed_fields=True),
    )
    assert diff(plain, dressed) == ()
    assert len(Diff(plain, dressed, by=stated).changes) == 2


def test_all_stages_omitted_is_not_recorded() -> None:
    """A decision that omits all four stages writes nothing, whatever its level."""
    decision = Decision(Level.REQUEST, frozenset(Stage), omit_managed_fields=False, rule_index=3)
    assert written(decision).level is Level.NONE


def test_a_decision_reads_as_a_line() -> None:
    """Decisions name level, omissions and the rule, counted from 1."""
    decision = Decision(Level.REQUEST, frozenset({Stage.PANIC}), omit_managed_fields=True, rule_index=3)
    assert decision_text(decision) == "Request without Panic and managed fields (rules[3])"
