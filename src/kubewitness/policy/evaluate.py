"""
What a policy says of a request: the first rule that matches gives level, stages and managed fields.

`evaluate(policy, attributes)` for one question; `compile_policy(policy).decide` for many. No match: level None with
the policy's own omitStages and omitManagedFields.
"""

from dataclasses import dataclass

from kubewitness.event.types import Level
from kubewitness.policy.match import RuleMatcher, compile_rule
from kubewitness.policy.types import Attributes, Decision, Policy, PolicyRule

_Rules = tuple[tuple[RuleMatcher, Decision], ...]


@dataclass(frozen=True, slots=True)
class CompiledPolicy:
    """
    A policy as sets, one matcher and one ready decision a rule.

    For speed the rules that can match are sorted out beforehand: by kind of request, then by verb where a rule of
    the policy states that verb.
    """

    rules: _Rules
    resource_rules: _Rules
    resource_rules_by_verb: dict[str, _Rules]
    other_rules: _Rules
    no_match: Decision

    def decide(self, attributes: Attributes) -> Decision:
        """Give the decision of the first rule that matches."""
        if attributes.resource_request:
            rules = self.resource_rules_by_verb.get(attributes.verb, self.resource_rules)
        else:
            rules = self.other_rules
        for matcher, decision in rules:
            if matcher.matches(attributes):
                return decision
        return self.no_match


def compile_policy(policy: Policy) -> CompiledPolicy:
    """Prepare a policy for many requests."""
    rules = tuple((compile_rule(rule), _decision(policy, rule, index)) for index, rule in enumerate(policy.rules))
    for_resources = tuple(pair for pair in rules if pair[0].matches_resource_requests)
    verbs = {verb for matcher, _ in for_resources for verb in matcher.verbs}
    return CompiledPolicy(
        rules=rules,
        # a verb that no rule states can only be met by rules without verbs
        resource_rules=tuple(pair for pair in for_resources if not pair[0].verbs),
        resource_rules_by_verb={
            verb: tuple(pair for pair in for_resources if not pair[0].verbs or verb in pair[0].verbs) for verb in verbs
        },
        other_rules=tuple(pair for pair in rules if pair[0].matches_other_requests),
        no_match=Decision(Level.NONE, frozenset(policy.omit_stages), policy.omit_managed_fields, None),
    )


# the policy asked last and its compiled form: callers ask many requests of one policy
_last: tuple[Policy, CompiledPolicy] | None = None


def evaluate(policy: Policy, attributes: Attributes) -> Decision:
    """Decide one request under a policy."""
    global _last  # noqa: PLW0603
    last = _last
    if last is None or last[0] is not policy:
        last = (policy, compile_policy(policy))
        _last = last
    return last[1].decide(attributes)


def _decision(policy: Policy, rule: PolicyRule, index: int) -> Decision:
    omit_managed = policy.omit_managed_fields if rule.omit_managed_fields is None else rule.omit_managed_fields
    return Decision(rule.level, frozenset(policy.omit_stages) | frozenset(rule.omit_stages), omit_managed, index)
