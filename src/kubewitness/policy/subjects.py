"""
What checks ask about, as topics for `prove.topics`, and the rules that would guard it.

Resources are written as in claims: `pods/exec`, `roles.rbac.authorization.k8s.io`.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from kubewitness.event.types import Level
from kubewitness.policy.evaluate import CompiledPolicy, compile_policy
from kubewitness.policy.findings import Content, Context, Do, Edit, Fix
from kubewitness.policy.match import ANY_GROUP
from kubewitness.policy.prove.answer import TooHardError
from kubewitness.policy.prove.topics import Decided, deciders
from kubewitness.policy.prove.universe import SUBRESOURCE_VERBS
from kubewitness.policy.types import GroupResources, Policy, PolicyRule

READS = ("get", "list", "watch")
WRITES = ("create", "update", "patch")
REMOVALS = ("delete", "deletecollection")
EXEC_LIKE = ("pods/exec", "pods/attach", "pods/portforward")
# a check answers in some seconds or is silent
_BUDGET_STATES = 60_000


def entry(name: str) -> GroupResources:
    """Read one resource: `pods/exec`, `roles.rbac.authorization.k8s.io`."""
    named, slash, subresource = name.partition("/")
    resource, _, group = named.partition(".")
    return GroupResources(group, (resource + slash + subresource,))


def topic(names: str, verbs: Sequence[str] = ()) -> PolicyRule:
    """Give a rule that matches these resources with these verbs."""
    return PolicyRule(Level.NONE, verbs=tuple(verbs), resources=tuple(entry(name) for name in names.split()))


def compiled(context: Context) -> CompiledPolicy | None:
    """Give the policy ready to be asked, or None when the server refuses it."""
    if context.policy is None:
        return None
    found = context.cache.get("compiled")
    if not isinstance(found, CompiledPolicy):
        found = context.cache["compiled"] = compile_policy(context.policy)
    return found


def asked(context: Context, topics: Sequence[Sequence[PolicyRule]]) -> tuple[Decided, ...]:
    """Ask who decides these topics; nothing when the server refuses the policy or the search gives up."""
    if context.policy is None:
        return ()
    try:
        return deciders(context.policy, topics, budget_states=_BUDGET_STATES)
    except TooHardError:
        return ()


def who_text(rule: PolicyRule) -> str:
    """Say for whom a rule is; "" when it is for everyone. A name with an asterisk is nobody's."""
    names = [*rule.users, *(f"group {group}" for group in rule.user_groups)]
    names = [name for name in names if "*" not in name] or names
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def within(rule: PolicyRule, part: GroupResources) -> tuple[GroupResources, ...]:
    """Give what a rule matches of one resource: one entry for each of its entries that do."""
    pattern = part.resources[0]
    if not rule.resources:
        return () if rule.non_resource_urls else (part,)
    found: dict[GroupResources, None] = {}
    for own in rule.resources:
        if own.group in (ANY_GROUP, part.group) and (
            not own.resources or any(_covers(p, pattern) for p in own.resources)
        ):
            found[replace(part, resource_names=own.resource_names if own.resources else ())] = None
    return (replace(part),) if GroupResources(part.group, part.resources) in found else tuple(found)


def _covers(outer: str, inner: str) -> bool:
    resource, _, subresource = inner.partition("/")
    return outer in ("*", inner, f"{resource}/*") or bool(subresource and outer == f"*/{subresource}")


def guard(
    policy: Policy, index: int, names: str, verbs: Sequence[str] = (), level: Level = Level.METADATA
) -> Fix | None:
    """Give a rule before this one that takes these resources from it, and nothing from any other.

    None when the rule matches none of them (with these verbs).
    """
    rule = policy.rules[index]
    kept = kept_verbs(rule, names, verbs)
    if not kept and (verbs or rule.verbs):
        return None
    found = {name: within(rule, entry(name)) for name in names.split()}
    entries = tuple(one for parts in found.values() for one in parts)
    if not entries:
        return None
    # names with an asterisk match nobody
    users, groups = (tuple(name for name in names if "*" not in name) for names in (rule.users, rule.user_groups))
    if (rule.users and not users) or (rule.user_groups and not groups):
        return None
    made = replace(
        rule,
        level=level,
        users=users,
        user_groups=groups,
        verbs=kept,
        resources=_joined(entries),
        omit_stages=() if rule.level is Level.NONE else rule.omit_stages,
        omit_managed_fields=rule.omit_managed_fields if level > Level.METADATA else None,
    )
    says = f"put a rule with level {level.value} for {', '.join(n for n in found if found[n])} above rules[{index}]"
    edit = Edit(Do.INSERT, ("rules", index), rule_content(made))
    return Fix(says, (edit,), (made,), level, level)


def kept_verbs(rule: PolicyRule, names: str, verbs: Sequence[str]) -> tuple[str, ...]:
    """Give those of these verbs (() is any) that a rule has and that requests for these resources can have."""
    if not verbs and all("/" in name for name in names.split()):
        return tuple(verb for verb in rule.verbs if verb in SUBRESOURCE_VERBS)
    return tuple(verb for verb in rule.verbs or verbs if not verbs or verb in verbs)


def _joined(entries: Sequence[GroupResources]) -> tuple[GroupResources, ...]:
    """Join entries of one group and the same names."""
    joined: dict[tuple[str, tuple[str, ...]], tuple[str, ...]] = {}
    for one in entries:
        key = (one.group, one.resource_names)
        joined[key] = tuple(dict.fromkeys((*joined.get(key, ()), *one.resources)))
    return tuple(GroupResources(group, resources, names) for (group, names), resources in joined.items())


def rule_content(rule: PolicyRule) -> dict[str, Content]:
    """Give a rule as it is written, only what it states."""
    content: dict[str, Content] = {"level": rule.level.value}
    lists: tuple[tuple[str, Sequence[str]], ...] = (
        ("users", rule.users),
        ("userGroups", rule.user_groups),
        ("verbs", rule.verbs),
    )
    content |= {name: list(values) for name, values in lists if values}
    if rule.resources:
        content["resources"] = [_entry_content(one) for one in rule.resources]
    if rule.namespaces:
        content["namespaces"] = list(rule.namespaces)
    if rule.non_resource_urls:
        content["nonResourceURLs"] = list(rule.non_resource_urls)
    if rule.omit_stages:
        content["omitStages"] = [stage.value for stage in rule.omit_stages]
    return content


def _entry_content(one: GroupResources) -> dict[str, Content]:
    content: dict[str, Content] = {"group": one.group}
    if one.resources:
        content["resources"] = list(one.resources)
    if one.resource_names:
        content["resourceNames"] = list(one.resource_names)
    return content


SECRET_NAME = re.compile(r"secret|token|credential|passw(or)?d|kubeconfig|private-?key|api-?key")


def is_harmless(rule: PolicyRule) -> bool:
    """Say whether what a rule names hardly holds secrets."""
    return bool(rule.non_resource_urls) or (
        bool(rule.resources)
        and all(
            one.resources
            and not any("*" in name or name == "configmaps" or SECRET_NAME.search(name) for name in one.resources)
            for one in rule.resources
        )
    )


def names_only(rule: PolicyRule, patterns: frozenset[tuple[str, str]]) -> bool:
    """Say whether everything a rule is about is one of these (group, pattern)."""
    return bool(rule.resources) and all(
        one.resources and all((one.group, pattern) in patterns for pattern in one.resources) for one in rule.resources
    )
