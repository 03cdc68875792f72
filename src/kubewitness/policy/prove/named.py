"""
What a claim names though no request can have it: it would be proved, and say nothing.

Only names that are certain to be mistakes are refused: a resource that its built-in group does not have, a group that
no cluster has, a verb that no request has. Custom resources are the user's to name.
"""

import difflib
from collections.abc import Iterator

from kubewitness.policy import builtin
from kubewitness.policy.prove.universe import METHODS, RESOURCE_VERBS, is_resource
from kubewitness.policy.types import GroupResources, PolicyRule

_VERBS = tuple(dict.fromkeys((*RESOURCE_VERBS, *METHODS)))
_OF_PODS = ("exec", "attach", "portforward")


def no_such_verb(verb: str) -> str:
    """Say that no request has a verb, and which was perhaps meant; nothing when some have it."""
    if verb in _VERBS:
        return ""
    if verb in _OF_PODS:
        return f"no request has the verb {verb!r}: kubectl {verb} is a get or create of pods/{verb}"
    near = difflib.get_close_matches(verb.lower(), _VERBS, n=1)
    return f"no request has the verb {verb!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def misnamed(rule: PolicyRule) -> Iterator[str]:
    """Say of each verb and resource of a rule that no request has it, and what was perhaps meant."""
    yield from filter(None, map(no_such_verb, rule.verbs))
    for entry in rule.resources:
        for pattern in entry.resources:
            yield from _misnamed(entry, pattern)


def _is_closed(group: str) -> bool:
    """Say whether all that a group can have is known: built-in ones, and those whose name no group has."""
    return group in builtin.GROUPS or ("." not in group and group not in builtin.GONE_GROUPS)


def _misnamed(entry: GroupResources, pattern: str) -> Iterator[str]:
    group = entry.group
    resource, _, subresource = pattern.partition("/")
    if "*" in (group, resource):
        return
    name = f"{resource}.{group}" if group else resource
    known = builtin.find(group, resource)
    if known is not None and subresource not in ("", "*", *known.subresources):
        have = ", ".join(known.subresources) or "none"
        yield f"{name} have no subresource {subresource!r}; they have {have}"
    elif known is None and (_is_closed(group) or not is_resource(resource)):
        likely = difflib.get_close_matches(resource.lower(), [one.name for one in builtin.RESOURCES], n=1)
        meant = builtin.by_any_name(resource) or (one for one in builtin.RESOURCES if one.name in likely)
        near = [f"{one.name}.{one.group}" if one.group else one.name for one in meant]
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "a custom resource has its group beside it"
        yield f"no request is for {name!r}; {hint}"
