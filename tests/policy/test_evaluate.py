"""The fast evaluator: equal to the slow model, and the facts that surprise people, one by one."""

import pytest
from hypothesis import given

from kubewitness.event.types import Level, Stage
from kubewitness.policy.evaluate import compile_policy, evaluate
from kubewitness.policy.match import compile_rule
from kubewitness.policy.types import Attributes, GroupResources, Policy, PolicyRule
from tests.model import policy_model
from tests.strategies import attributes, policies, policy_rules


@given(policies(), attributes())
def test_evaluate_equals_the_model(policy, request):
    """Every decision equals the one of the slow model."""
    assert evaluate(policy, request) == policy_model.evaluate(policy, request)


@given(policy_rules(), attributes())
def test_a_rule_matches_when_no_field_mismatches(rule, request):
    """The explained answer and the fast one agree on every rule."""
    matcher = compile_rule(rule)
    assert matcher.matches(request) == (not list(matcher.mismatches(request)))


def decided(rule: PolicyRule, request: Attributes) -> bool:
    """Say whether this rule decides this request."""
    return evaluate(Policy((rule,)), request).rule_index == 0


def pods(subresource: str = "", **others) -> Attributes:
    """Make a request for a pod."""
    fields = {"verb": "get", "user": "alice", "groups": (), "resource": "pods", "resource_request": True}
    return Attributes(**{**fields, "subresource": subresource, **others})


@pytest.mark.parametrize(
    ("pattern", "subresource", "matches"),
    [
        ("pods", "", True),
        ("pods", "exec", False),
        ("pods/exec", "exec", True),
        ("pods/exec", "", False),
        ("pods/*", "", True),
        ("pods/*", "log", True),
        ("*/exec", "exec", True),
        ("*/exec", "", False),
        ("*", "exec", True),
        ("pod*", "", False),
        ("*/*", "exec", False),
        ("Pods", "", False),
    ],
)
def test_resource_patterns(pattern, subresource, matches):
    """Patterns are literal but for `*`, `resource/*` and `*/subresource`; `pods/*` covers pods itself."""
    rule = PolicyRule(Level.METADATA, resources=(GroupResources("", (pattern,)),))
    assert decided(rule, pods(subresource)) is matches


@pytest.mark.parametrize("user", ["*", "system:*", "alic*"])
def test_users_are_not_globbed(user):
    """A star in users matches only a user of that name."""
    assert not decided(PolicyRule(Level.NONE, users=(user,)), pods())
    assert decided(PolicyRule(Level.NONE, users=(user,)), pods(user=user))


def test_a_request_without_user_matches_neither_users_nor_groups():
    """Failed authentication is not the empty user name, and has no groups."""
    nobody = pods(user=None, groups=None)
    assert not decided(PolicyRule(Level.NONE, users=("",)), nobody)
    assert not decided(PolicyRule(Level.NONE, user_groups=("system:unauthenticated",)), nobody)
    assert decided(PolicyRule(Level.NONE, users=("",)), pods(user=""))


def test_names_never_match_a_create():
    """A create has no name yet, so resourceNames leaves it out unless "" is listed."""
    named = PolicyRule(Level.NONE, resources=(GroupResources("", ("pods",), ("web",)),))
    nameless = PolicyRule(Level.NONE, resources=(GroupResources("", ("pods",), ("",)),))
    assert not decided(named, pods(verb="create"))
    assert decided(nameless, pods(verb="create"))


def test_without_a_matching_rule_the_policy_speaks():
    """No rule: level None, and the stages and managed fields of the policy itself."""
    policy = Policy((PolicyRule(Level.REQUEST, verbs=("x",)),), (Stage.PANIC,), omit_managed_fields=True)
    decision = evaluate(policy, pods())
    assert (decision.level, decision.omit_stages, decision.rule_index) == (Level.NONE, {Stage.PANIC}, None)
    assert decision.omit_managed_fields


def test_a_rule_overrules_omit_managed_fields_with_false():
    """false in a rule counts against true in the policy; not stated does not."""
    policy = Policy(
        (PolicyRule(Level.REQUEST, verbs=("get",), omit_managed_fields=False), PolicyRule(Level.REQUEST)),
        omit_managed_fields=True,
    )
    assert not evaluate(policy, pods()).omit_managed_fields
    assert evaluate(policy, pods(verb="list")).omit_managed_fields


def test_two_policies_in_turn():
    """The compiled form of one policy is never used for another."""
    first = Policy((PolicyRule(Level.NONE),))
    second = Policy((PolicyRule(Level.REQUEST),))
    answers = [evaluate(policy, pods()).level for policy in (first, second, first)]
    assert answers == [Level.NONE, Level.REQUEST, Level.NONE]
    assert compile_policy(second).decide(pods()).level is Level.REQUEST
