"""
The fixes of KW1xx and KW2xx: how to say what was meant.

None of them may stop a request from being recorded (`repair` proves it): a rule with level None that hides nothing
because it is misspelt is not made to hide something, its dead members are taken out.
"""

from collections.abc import Sequence
from dataclasses import replace

from kubewitness.event.types import Level
from kubewitness.policy.findings import Content, Context, Do, Edit, Fix, Path
from kubewitness.policy.subjects import rule_content
from kubewitness.policy.types import GroupResources, PolicyRule


def _rule(context: Context, index: int) -> PolicyRule | None:
    return context.policy.rules[index] if context.policy is not None else None


def _hides(rule: PolicyRule) -> bool:
    return rule.level is Level.NONE


def reword(path: Path, old: str, new: str) -> Fix:
    """Replace a word in a file that the server refuses."""
    return Fix(f'wrote "{new}" for "{old}"', (Edit(Do.REPLACE, path, new),), None)


def take_out(context: Context, path: Path) -> Fix | None:
    """Take an item out of its list that matches nothing; not the last one, without which the list would match all."""
    tree = context.document.tree
    value, siblings = (tree.at(path), tree.at(path[:-1])) if tree is not None else (None, None)
    if context.policy is None or value is None or siblings is None or len(siblings.items) < 2:
        return None
    says = f'took out "{value.text}", which matches nothing'
    return Fix(says, (Edit(Do.REMOVE, path),), odd=_alone(context.policy.rules, path, value.text))


def _alone(rules: Sequence[PolicyRule], path: Path, value: str) -> tuple[PolicyRule, ...]:
    """Give what a rule matches by one item of its lists alone."""
    index, field, at = path[1], path[2], path[3]
    if not isinstance(index, int):
        return ()
    rule = rules[index]
    if field == "resources" and isinstance(at, int):
        entry = rule.resources[at]
        return (replace(rule, resources=(replace(entry, resources=(value,)),)),)
    narrowed = {"users": replace(rule, users=(value,)), "userGroups": replace(rule, user_groups=(value,))}
    return tuple(one for name, one in narrowed.items() if name == field)


def everyone(context: Context, index: int, field: str, path: Path) -> Fix | None:
    """Drop a list with `*`, which was meant to match everything."""
    rule = _rule(context, index)
    if rule is None:
        return None
    if _hides(rule):
        return take_out(context, path)
    wider = {
        "users": replace(rule, users=()),
        "userGroups": replace(rule, user_groups=()),
        "verbs": replace(rule, verbs=()),
        "namespaces": replace(rule, namespaces=()),
    }[field]
    says = f"took {field} out of rules[{index}], so that all of them match"
    return Fix(says, (Edit(Do.REMOVE, ("rules", index, field)),), (wider,), rule.level, rule.level)


def by_group(context: Context, index: int, path: Path, group: str | None) -> Fix | None:
    """Match a group in place of a glob of users: a rule of its own, since users and userGroups must both match."""
    rule = _rule(context, index)
    if rule is None:
        return None
    if _hides(rule) or group is None or rule.user_groups:
        return take_out(context, path)
    made = replace(rule, users=(), user_groups=(group,))
    says = f"matched the group {group} in a rule of its own"
    insert = Edit(Do.INSERT, ("rules", index), rule_content(made) | _managed(rule))
    rest: tuple[Edit, ...] = (Edit(Do.REMOVE, path),)
    if len(rule.users) == 1:
        says = f"matched the group {group}"
        insert = Edit(Do.MEMBER, ("rules", index), [group], name="userGroups")
        rest = (Edit(Do.REMOVE, ("rules", index, "users")),)
    return Fix(says, (*rest, insert), (made,), rule.level, rule.level)


def _managed(rule: PolicyRule) -> dict[str, Content]:
    if rule.omit_managed_fields is None:
        return {}
    return {"omitManagedFields": "true" if rule.omit_managed_fields else "false"}


def other_field(context: Context, index: int, field: str, right: str, path: Path) -> Fix | None:
    """Put a user or group into the field for its kind, where that field stands alone."""
    rule = _rule(context, index)
    if rule is None:
        return None
    values = rule.users if field == "users" else rule.user_groups
    if _hides(rule) or len(values) > 1 or (rule.users and rule.user_groups):
        return take_out(context, path)
    made = replace(rule, users=rule.user_groups, user_groups=rule.users)
    says = f"renamed {field} of rules[{index}] to {right}"
    edits = (Edit(Do.RENAME, ("rules", index, field), right),)
    # the rule as it was is for those who have such a name after all
    return Fix(says, edits, (made,), rule.level, rule.level, (rule,))


def other_verb(context: Context, index: int, path: Path, verb: str | None) -> Fix | None:
    """Write the verb that was meant."""
    rule = _rule(context, index)
    if rule is None or verb is None:
        return None
    if verb in rule.verbs or _hides(rule):
        return take_out(context, path)
    says = f'wrote "{verb}" in rules[{index}]'
    return Fix(says, (Edit(Do.REPLACE, path, verb),), (replace(rule, verbs=(verb,)),), rule.level, rule.level)


def other_resource(
    context: Context, path: Path, entry: GroupResources, meant: str, group: str | None = None
) -> Fix | None:
    """Write the resource that was meant, in its own group: in place, or as an entry of its own beside the others."""
    index, at = path[1], path[3]
    rule = _rule(context, index) if isinstance(index, int) else None
    if rule is None or not isinstance(at, int):
        return None
    group = entry.group if group is None else group
    if _hides(rule) or any(meant in one.resources for one in rule.resources if one.group == group):
        return take_out(context, path)
    made = GroupResources(group, (meant,), entry.resource_names)
    scope = (replace(rule, resources=(made,)),)
    says = f"wrote {meant} in rules[{index}]" + (f' with group "{group}"' if group != entry.group else "")
    position = path[-1]
    old = entry.resources[position] if isinstance(position, int) else ""
    edits: tuple[Edit, ...] = (Edit(Do.REPLACE, path, meant),)
    if group != entry.group and len(entry.resources) > 1:
        content: dict[str, Content] = {"group": group, "resources": [meant]}
        if entry.resource_names:
            content["resourceNames"] = list(entry.resource_names)
        edits = (Edit(Do.REMOVE, path), Edit(Do.INSERT, path[:4], content))
    elif group != entry.group:
        tree = context.document.tree
        stated = tree is not None and tree.at((*path[:4], "group")) is not None
        of_group = (
            Edit(Do.REPLACE, (*path[:4], "group"), group) if stated else Edit(Do.MEMBER, path[:4], group, "group")
        )
        edits = (*edits, of_group)
    return Fix(
        says, edits, scope, rule.level, rule.level, _alone(context.policy.rules if context.policy else (), path, old)
    )


def without_names(context: Context, path: Path) -> Fix | None:
    """Leave out names that the requests of a rule never have."""
    index, at = path[1], path[3]
    rule = _rule(context, index) if isinstance(index, int) else None
    if rule is None or not isinstance(at, int) or _hides(rule):
        return None
    wider = replace(rule, resources=(replace(rule.resources[at], resource_names=()),))
    says = f"took resourceNames out of rules[{index}]"
    return Fix(says, (Edit(Do.REMOVE, path),), (wider,), rule.level, rule.level)


def other_name(context: Context, path: Path, right: str) -> Fix | None:
    """Give a misspelt field its name; what may change is what its rule decides now."""
    tree = context.document.tree
    parent = tree.at(path[:-1]) if tree is not None else None
    if context.policy is None or parent is None or parent.get(right) is not None:
        return None
    index = path[1] if len(path) > 1 and path[0] == "rules" else None
    scope = context.policy.rules[index] if isinstance(index, int) else PolicyRule(Level.NONE)
    return Fix(f"renamed {path[-1]} to {right}", (Edit(Do.RENAME, path, right),), (scope,))


def as_nothing(context: Context, index: int) -> Fix | None:
    """Say level None where nothing is written anyway."""
    if context.policy is None:
        return None
    edits = (Edit(Do.REPLACE, ("rules", index, "level"), "None"),)
    return Fix(f"wrote level None in rules[{index}], which writes nothing already", edits)
