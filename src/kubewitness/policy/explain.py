"""
Why a policy decides a request as it does, and what the log will then hold.

`explain(policy, attributes)` names the rule that decides, why each earlier rule does not match, hints where somebody
probably meant it to, and for every stage of the request what is written. `policy.stages` knows what a stage holds.
"""

import fnmatch
from dataclasses import dataclass

from kubewitness.event.types import Level
from kubewitness.policy import builtin
from kubewitness.policy.evaluate import compile_policy
from kubewitness.policy.stages import StageContent, contents
from kubewitness.policy.types import Attributes, Decision, GroupResources, Policy, PolicyRule

_SHOWN_VALUES = 4


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one field does not match, and what would make it match if that was meant."""

    field: str
    text: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class RuleExplanation:
    """One rule that was looked at. `reasons` is empty for the rule that decides."""

    index: int
    level: Level
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """The decision, the rules looked at up to the one that decides, and the stages."""

    attributes: Attributes
    decision: Decision
    rules: tuple[RuleExplanation, ...]
    stages: tuple[StageContent, ...]


def explain(policy: Policy, attributes: Attributes) -> Explanation:
    """Explain one request under a policy."""
    compiled = compile_policy(policy)
    decision = compiled.decide(attributes)
    last = len(policy.rules) - 1 if decision.rule_index is None else decision.rule_index
    rules = []
    for index in range(last + 1):
        fields = [] if index == decision.rule_index else list(compiled.rules[index][0].mismatches(attributes))
        rule = policy.rules[index]
        reasons = tuple(_reason(rule, field, attributes) for field in fields)
        rules.append(RuleExplanation(index, rule.level, reasons))
    return Explanation(attributes, decision, tuple(rules), contents(attributes, decision))


def implied_groups(user: str) -> tuple[str, ...]:
    """Give the groups that kube-apiserver adds for a user name: authenticated or not, service account, node."""
    if user == "system:anonymous":
        return ("system:unauthenticated",)
    parts = user.split(":")
    if parts[:2] == ["system", "serviceaccount"] and len(parts) == 4:
        return ("system:serviceaccounts", f"system:serviceaccounts:{parts[2]}", "system:authenticated")
    if parts[:2] == ["system", "node"] and len(parts) == 3:
        return ("system:nodes", "system:authenticated")
    return ("system:authenticated",)


def _reason(rule: PolicyRule, field: str, request: Attributes) -> Reason:
    if field == "users":
        return _users(rule, request)
    if field == "userGroups":
        groups = "no user, so no groups" if request.user is None else f"the user has {_listed(request.groups or ())}"
        return Reason(
            field, f"none of {_listed(rule.user_groups)}: {groups}", _glob(rule.user_groups, request.groups or ())
        )
    if field == "verbs":
        hint = f'"{request.verb}" in capitals' if request.verb.upper() in rule.verbs else ""
        hint = hint or ("* is compared literally; leave verbs out to match every verb" if "*" in rule.verbs else "")
        return Reason(field, f'the verb "{request.verb}" is not in {_listed(rule.verbs)}', hint)
    if field == "namespaces":
        return _namespaces(rule, request)
    if field == "nonResourceURLs":
        return _urls(rule, request)
    return _resources(rule, request)


def _users(rule: PolicyRule, request: Attributes) -> Reason:
    if request.user is None:
        return Reason("users", "the request has no user: authentication failed")
    return Reason("users", f'"{request.user}" is not in {_listed(rule.users)}', _glob(rule.users, (request.user,)))


def _glob(patterns: tuple[str, ...], names: tuple[str, ...]) -> str:
    for pattern in patterns:
        if "*" in pattern and any(fnmatch.fnmatchcase(name, pattern) for name in names):
            return f'"{pattern}" is no glob: names are compared letter for letter; match a group instead'
    return ""


def _namespaces(rule: PolicyRule, request: Attributes) -> Reason:
    if not request.resource_request:
        return Reason("namespaces", "a request for a URL has no namespace")
    if not request.namespace:
        return Reason(
            "namespaces",
            f"the request has no namespace, the rule wants {_listed(rule.namespaces)}",
            'requests over all namespaces and for cluster-scoped objects match only ""',
        )
    return Reason("namespaces", f'"{request.namespace}" is not in {_listed(rule.namespaces)}')


def _urls(rule: PolicyRule, request: Attributes) -> Reason:
    if request.resource_request:
        return Reason("nonResourceURLs", "the rule is for URLs, the request is for a resource")
    near = [url for url in rule.non_resource_urls if request.path.startswith(url.rstrip("*"))]
    hint = f"write {near[0]}* to cover what is below" if near and not near[0].endswith("*") else ""
    return Reason("nonResourceURLs", f'"{request.path}" is not in {_listed(rule.non_resource_urls)}', hint)


def _resources(rule: PolicyRule, request: Attributes) -> Reason:
    if not request.resource_request:
        return Reason("resources", "the rule is for resources, the request is for a URL")
    wanted = _resource_text(request)
    shown = "; ".join(_entry_text(entry) for entry in rule.resources[:_SHOWN_VALUES])
    shown += "; ..." if len(rule.resources) > _SHOWN_VALUES else ""
    hints = (_resource_hint(entry, request) for entry in rule.resources)
    return Reason("resources", f"{wanted} is not among {shown}", next((hint for hint in hints if hint), ""))


def _resource_text(request: Attributes) -> str:
    resource = f"{request.resource}/{request.subresource}" if request.subresource else request.resource
    named = f' "{request.name}"' if request.name else ""
    return f"{resource}{named} of {_group_text(request.api_group)}"


def _group_text(group: str) -> str:
    return {"": "the core group", "*": "any group"}.get(group, group)


def _entry_text(entry: GroupResources) -> str:
    what = ", ".join(entry.resources[:_SHOWN_VALUES]) + (", ..." if len(entry.resources) > _SHOWN_VALUES else "")
    names = f" named {_listed(entry.resource_names)}" if entry.resource_names and entry.resources else ""
    return f"{what or 'everything'}{names} of {_group_text(entry.group)}"


def _resource_hint(entry: GroupResources, request: Attributes) -> str:
    """Say what is missing where an entry looks as if it should match."""
    resource, subresource = request.resource, request.subresource
    is_group = entry.group in ("*", request.api_group)
    if not is_group:
        known = builtin.find(request.api_group, resource)
        if known is not None and resource in entry.resources:
            return f'{resource} belong to group: "{request.api_group}", not to {_group_text(entry.group)}'
        return ""
    if subresource and resource in entry.resources:
        return f"{resource} does not cover {resource}/{subresource}; write {resource}/{subresource} or {resource}/*"
    if entry.resource_names and not request.name:
        return "this request has no name in its URL, so resourceNames cannot match it"
    if any("*" in pattern and fnmatch.fnmatchcase(resource, pattern) for pattern in entry.resources):
        return "only *, resource/* and */subresource are patterns"
    return ""


def _listed(values: tuple[str, ...]) -> str:
    shown = ", ".join(f'"{value}"' for value in values[:_SHOWN_VALUES])
    return f"[{shown}{f', {len(values) - _SHOWN_VALUES} more' if len(values) > _SHOWN_VALUES else ''}]"
