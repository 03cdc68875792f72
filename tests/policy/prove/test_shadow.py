"""Shadowing: exact against every request of a small universe, and what is known of the module's policy."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubewitness.policy.prove.shadow import dead_members, members, reachable
from kubewitness.policy.prove.universe import Universe
from kubewitness.policy.types import Policy
from tests.model import regions as model
from tests.policy.prove.strategies import policies, pool

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
SOAK = settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))


def check_reach(policy: Policy, universe: Universe) -> None:
    requests = pool(universe)
    decided = dict(requests.decided(policy))
    for index, reach in enumerate(reachable(policy, universe)):
        assert reach.is_dead == (decided[index] == 0), index
        if reach.example is not None:
            assert model.decide(policy, reach.example) == index
            assert universe is Universe.ANY or model.is_possible(reach.example)
        own = requests.matching(policy.rules[index])
        for taker, request in reach.taken:
            assert model.matches(policy.rules[index], request)
            assert model.matches(policy.rules[taker], request)
        if reach.is_dead:
            rest = own
            for taker in reach.shadowed_by:
                rest &= ~requests.matching(policy.rules[taker])
            assert rest == 0
            for left_out in reach.shadowed_by:
                rest = own
                for taker in set(reach.shadowed_by) - {left_out}:
                    rest &= ~requests.matching(policy.rules[taker])
                assert rest != 0, "the set is minimal"
        else:
            takers = {i for i in range(index) if decided[i] & own}
            assert set(reach.shadowed_by) == takers


def check_dead_members(policy: Policy, universe: Universe) -> None:
    requests = pool(universe)
    decided = dict(requests.decided(policy))
    found = {(dead.rule_index, dead.field) for dead in dead_members(policy, universe)}
    expected = {
        (index, field)
        for index, rule in enumerate(policy.rules)
        if decided[index]
        for field, _, narrowed in members(rule)
        if not requests.matching(narrowed) & decided[index]
    }
    assert found == expected


@pytest.mark.parametrize("universe", Universe)
@given(data=st.data())
@QUICK
def test_reach_is_exact(universe: Universe, data: st.DataObject) -> None:
    """A rule is dead exactly when no request of the universe is decided by it; its shadow is minimal."""
    check_reach(data.draw(policies(universe)), universe)


@pytest.mark.parametrize("universe", Universe)
@given(data=st.data())
@QUICK
def test_dead_members_are_exact(universe: Universe, data: st.DataObject) -> None:
    """A member is dead exactly when its rule decides no request through it."""
    check_dead_members(data.draw(policies(universe)), universe)


@pytest.mark.soak
@pytest.mark.parametrize("universe", Universe)
@given(data=st.data())
@SOAK
def test_reach_is_exact_at_length(universe: Universe, data: st.DataObject) -> None:
    """The same over 10,000 policies in each universe."""
    policy = data.draw(policies(universe, 8))
    check_reach(policy, universe)
    check_dead_members(policy, universe)
