"""Minify: never changes a decision, and takes out what is known to be superfluous."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubewitness.event.types import Level, Stage
from kubewitness.policy.prove.minify import minify
from kubewitness.policy.prove.universe import Universe
from kubewitness.policy.types import GroupResources, Policy, PolicyRule
from tests.model import regions as model
from tests.policy.prove.strategies import policies, pool
from tests.policy.prove.test_diff import QUICK, SOAK


def check_minify(policy: Policy, universe: Universe) -> None:
    requests = pool(universe)
    smaller = minify(policy, universe).policy
    assert 1 <= len(smaller.rules) <= len(policy.rules)
    for i, before in requests.decided(policy):
        for j, after in requests.decided(smaller):
            if before & after:
                assert model.outcome(policy, i) == model.outcome(smaller, j)
    assert minify(smaller, universe).policy == smaller


@pytest.mark.parametrize("universe", Universe)
@given(data=st.data())
@QUICK
def test_minify_is_exact(universe: Universe, data: st.DataObject) -> None:
    """No request of the universe gets another decision, and nothing is left to do afterwards."""
    check_minify(data.draw(policies(universe)), universe)


@pytest.mark.soak
@pytest.mark.parametrize("universe", Universe)
@given(data=st.data())
@SOAK
def test_minify_is_exact_at_length(universe: Universe, data: st.DataObject) -> None:
    """The same over 10,000 policies in each universe."""
    check_minify(data.draw(policies(universe, 8)), universe)


def _core(*resources: str) -> tuple[GroupResources, ...]:
    return (GroupResources("", resources),)


def test_dead_superfluous_and_split_rules_go() -> None:
    """A shadowed rule and one that says what follows anyway are dropped; two that differ in one list are merged."""
    policy = Policy(
        (
            PolicyRule(Level.NONE, users=("a",), verbs=("get",)),
            PolicyRule(Level.NONE, users=("b",), verbs=("get",)),
            PolicyRule(Level.REQUEST, users=("a",), verbs=("get",)),
            PolicyRule(Level.METADATA, resources=_core("secrets", "secrets/*")),
            PolicyRule(Level.METADATA),
        ),
        omit_stages=(Stage.REQUEST_RECEIVED,),
    )
    found = minify(policy)
    assert found.policy.rules == (PolicyRule(Level.NONE, users=("a", "b"), verbs=("get",)), PolicyRule(Level.METADATA))
    assert found.policy.omit_stages == policy.omit_stages
    assert found.steps == (
        "dropped rules[2]: earlier rules take all its requests",
        "dropped rules[3]: without it every request is decided the same",
        "merged rules[1] into rules[0]",
    )


def test_members_that_change_nothing_go() -> None:
    """A user glob matches nobody and `pods` is within `pods/*`: both leave their lists."""
    policy = Policy(
        (
            PolicyRule(Level.NONE, users=("system:serviceaccount:kube-system:*", "a")),
            PolicyRule(Level.REQUEST, resources=_core("pods", "pods/*")),
            PolicyRule(Level.METADATA),
        )
    )
    rules = minify(policy).policy.rules
    assert rules[0].users == ("a",)
    assert rules[1].resources == _core("pods/*")


def test_one_rule_stays() -> None:
    """The server refuses a policy without rules, so one is kept even when nothing would do."""
    nothing = Policy((PolicyRule(Level.NONE), PolicyRule(Level.METADATA, verbs=("*",))))
    assert len(minify(nothing).policy.rules) == 1
    impossible = Policy((PolicyRule(Level.METADATA, verbs=("*",)),))
    assert minify(impossible).policy == impossible
