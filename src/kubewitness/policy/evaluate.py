"""
What a policy says of a request: the first rule that matches gives level, stages and managed fields.

`evaluate(policy, attributes)` for one question; `compile_policy(policy).decide` for many. No match: level None with
the policy's own omitStages and omitManagedFields.
"""

from dataclasses import dataclass

from kubewitness.event.types import Level
from kubewitness.policy.match import RuleMatcher, compile_rule
from kubewitness.policy.types import Attributes, Decision, Policy, PolicyRule


@dataclass(frozen=True, slots=True)
class CompiledPolicy:
    """A policy as sets, one matcher and one ready decision a rule."""

    rules: tuple[tuple[RuleMatcher, Decision], ...]
    resource_rules: tuple[tuple[RuleMatcher, Decision], ...]
    other_rules: tuple[tuple[RuleMatcher, Decision], ...]
    no_match: Decision

    def decide(self, attributes: Attributes) -> Decision:
        """Give the decision of the first rule that matches."""
        for matcher, decision in self.resource_rules if attributes.resource_request else self.other_rules:
            if matcher.matches(attributes):
                return decision
        return self.no_match


def compile_policy(policy: Policy) -> CompiledPolicy:
    """Prepare a policy for many requests."""
    rules = tuple((compile_rule(rule), _decision(policy, rule, index)) for index, rule in enumerate(policy.rules))
    return CompiledPolicy(
        rules=rules,
        resource_rules=tuple(pair for pair in rules if pair[0].matches_resource_requests),
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
