"""
Rules and members of rules that decide nothing, and rules that others take a part of: exact, over all possible requests.

Where the search gives up (its bound is stated in `prove.answer`), or the server refuses the file, one rule is compared
with one earlier rule at a time.
"""

from collections.abc import Iterator, Sequence

from kubewitness.event.types import Level
from kubewitness.policy import builtin
from kubewitness.policy.cover import covers, is_catch_all
from kubewitness.policy.findings import Context, Do, Edit, Finding, Fix, Path, check
from kubewitness.policy.prove.answer import TooHardError
from kubewitness.policy.prove.describe import request_text
from kubewitness.policy.prove.diff import decisions_of, written
from kubewitness.policy.prove.shadow import DeadMember, Reach, dead_members, reachable
from kubewitness.policy.prove.topics import deciders
from kubewitness.policy.subjects import is_harmless
from kubewitness.policy.types import Attributes, Decision, Policy, PolicyRule

# how many rules back a covering rule is looked for when the search gave up; real policies have fewer than a hundred
_MAX_LOOK_BACK = 300
# above this many rules nothing is said of parts that other rules take
_PARTS_UP_TO = 200
# the search of a check: some ten seconds
_BUDGET_STATES = 60_000


@check(
    KW207="a rule that can never decide, because earlier ones match all it matches",
    KW216="a member of a rule that matters to no request",
    KW217="a rule that no request can match",
    KW401="a part of the rule is taken by an earlier rule with a lower level that speaks of no resource",
    KW402="a member of a rule that repeats what earlier rules say",
    KW417="the rules overlap in too many ways to say which of them decide nothing",
)
def reach(context: Context) -> Iterator[Finding]:
    """Find rules and members without effect."""
    if context.policy is None:
        yield from _plainly(context)
        return
    policy = context.policy
    try:
        found = reachable(policy, budget_states=_BUDGET_STATES, is_wanted=lambda index: _may_lose(policy, index))
        members = dead_members(policy, budget_states=_BUDGET_STATES)
    except TooHardError as error:
        yield from _plainly(context)
        message = f"which rules decide nothing is said only for pairs of rules: {error}"
        yield context.finding("KW417", ("rules",), message, "shorten the policy, or split lists of names into groups")
        return
    last = _early_catch_all(context)
    for one in found:
        if one.is_dead:
            yield _dead_rule(context, policy, one, last)
        elif one.taken:
            yield from _parts(context, policy, one)
    for member in members:
        yield _dead_member(context, policy, member)


def _early_catch_all(context: Context) -> int | None:
    """Give the first rule that matches every request, when it is not the last."""
    return next((index for index, rule in enumerate(context.raw.rules[:-1]) if is_catch_all(rule)), None)


def _dead_rule(context: Context, policy: Policy, dead: Reach, catch_all: int | None) -> Finding:
    path: Path = ("rules", dead.rule_index)
    if not dead.shadowed_by:
        message = "no request can match this rule"
        return context.finding("KW217", path, message, "see what its members ask for together; remove it")
    rule = policy.rules[dead.rule_index]
    if catch_all is not None and catch_all in dead.shadowed_by:
        line = context.mark(("rules", catch_all)).line
        example = _example(dead, catch_all)
        message = (
            f"this rule never decides: rules[{catch_all}] on line {line} matches every request, and the first match "
            f"counts{example}"
        )
        help_ = f"move it above rules[{catch_all}]; what matches everything goes last"
        fix = None
        if rule.level is not Level.NONE:
            says = f"moved rules[{catch_all}], which matches everything, to the end"
            scope = policy.rules[catch_all + 1 :]
            fix = Fix(says, (Edit(Do.MOVE, ("rules", catch_all), -1),), scope)
        return context.finding("KW207", path, message, help_, fix)
    return context.finding("KW207", path, *_shadowed(context, policy, dead))


def _shadowed(context: Context, policy: Policy, dead: Reach) -> tuple[str, str, Fix | None]:
    index, by = dead.rule_index, dead.shadowed_by
    decisions = _decisions(context, policy)
    named = " and ".join(f"rules[{i}] on line {context.mark(('rules', i)).line}" for i in by)
    message = (
        f"this rule never decides: {named} {'matches' if len(by) == 1 else 'together match'} all that this one "
        f"matches, and the first match counts{_example(dead, by[0])}"
    )
    if all(_alike(decisions[i], decisions[index]) for i in by):
        fix = Fix(f"removed rules[{index}], which repeats what comes before it", (Edit(Do.REMOVE, ("rules", index)),))
        return message, "remove it: the rules before it say the same", fix
    rule = policy.rules[index]
    moved = None
    is_lower = rule.level > max(decisions[i].level for i in by)
    # a rule for bodies of secrets is shadowed for a reason, and one with level None is better so
    if rule.level is not Level.NONE and is_lower and (rule.level is Level.METADATA or is_harmless(rule)):
        says = f"moved rules[{index}] above rules[{by[0]}]"
        moved = Fix(says, (Edit(Do.MOVE, ("rules", index), by[0]),), (rule,), rule.level, rule.level)
    return message, f"move it above rules[{by[0]}] or remove it", moved


def _decisions(context: Context, policy: Policy) -> tuple[Decision, ...]:
    """Give the decision of every rule, made once for a policy."""
    found = context.cache.get("decisions")
    if not isinstance(found, tuple):
        found = context.cache["decisions"] = decisions_of(policy)
    return found


def _example(reach: Reach, taker: int) -> str:
    text = next((request_text(request) for rule, request in reach.taken if rule == taker), "")
    return f" (for example {text})" if text else ""


def _alike(left: Decision, right: Decision) -> bool:
    return written(left) == written(right)


def _may_lose(policy: Policy, index: int) -> bool:
    """Whether a rule names resources and an earlier one with a lower level names none."""
    rule = policy.rules[index]
    return (
        index < _PARTS_UP_TO
        and any(entry.resources and entry.resources != ("*",) for entry in rule.resources)
        and any(other.level < rule.level and not other.resources for other in policy.rules[:index])
    )


def _parts(context: Context, policy: Policy, reach: Reach) -> Iterator[Finding]:
    """Find earlier rules without resources that take a part of a rule with resources to a lower level."""
    rule = policy.rules[reach.rule_index]
    lower = [
        (index, request)
        for index, request in reach.taken
        if policy.rules[index].level < rule.level and not policy.rules[index].resources and _is_served(request)
    ]
    if not lower:
        return
    parts = [
        f"rules[{index}] on line {context.mark(('rules', index)).line} (level {policy.rules[index].level.value}, for "
        f"example {request_text(request)})"
        for index, request in lower
    ]
    message = f"a part of this rule is taken by {' and '.join(parts)}"
    help_ = "if that is not meant, move this rule above"
    yield context.finding("KW401", ("rules", reach.rule_index), message, help_)


def _is_served(request: Attributes) -> bool:
    """Whether a request asks for something that servers do, as far as is known."""
    known = builtin.find(request.api_group, request.resource)
    verbs = known.verbs_of(request.subresource) if known is not None else ()
    return not verbs or request.verb in verbs


def _dead_member(context: Context, policy: Policy, member: DeadMember) -> Finding:
    path = member_path(member)
    decisions = _decisions(context, policy)
    own = decisions[member.rule_index]
    shown = f'"{member.value}"'
    edits = (Edit(Do.REMOVE, path),)
    if not member.shadowed_by:
        message = f"{shown} matters to no request: together with the rest of the rule it matches nothing"
        fix = Fix(f"removed {shown} from {_place(member)}, which matches nothing there", edits)
        return context.finding("KW216", path, message, "remove it", fix)
    lines = " and ".join(f"rules[{i}] on line {context.mark(('rules', i)).line}" for i in member.shadowed_by)
    fix = Fix(f"removed {shown} from {_place(member)}, which earlier rules decide", edits)
    if all(_alike(decisions[i], own) for i in member.shadowed_by):
        message = f"{shown} is decided before this rule, and the same: {lines}"
        return context.finding("KW402", path, message, "remove it, or the earlier one", fix)
    message = f"{shown} never matters here: {lines} {_decide(member.shadowed_by)} all requests with it before"
    return context.finding("KW216", path, message, "remove it, or move the rule above", fix)


def _decide(rules: Sequence[int]) -> str:
    return "decides" if len(rules) == 1 else "decide"


def _place(member: DeadMember) -> str:
    return f"rules[{member.rule_index}]"


def member_path(member: DeadMember) -> Path:
    """Give the path of a dead member in the document."""
    steps: list[str | int] = ["rules", member.rule_index]
    for part in member.field.split("."):
        name, _, index = part.partition("[")
        steps.append(name)
        if index:
            steps.append(int(index.rstrip("]")))
    return tuple(steps)


def _plainly(context: Context) -> Iterator[Finding]:
    """Find rules that one earlier rule covers, field by field."""
    rules = context.raw.rules
    for index, rule in enumerate(rules):
        nearby = range(max(0, index - _MAX_LOOK_BACK), index)
        cause = next((earlier for earlier in nearby if covers(rules[earlier], rule)), None)
        if cause is not None:
            line = context.mark(("rules", cause)).line
            kind = "every request" if is_catch_all(rules[cause]) else "all that this one matches"
            message = (
                f"this rule never decides: rules[{cause}] on line {line} matches {kind}, and the first match counts"
            )
            yield context.finding("KW207", ("rules", index), message, f"move it above rules[{cause}] or remove it")


@check(KW308="what no rule matches is not recorded")
def end(context: Context) -> Iterator[Finding]:
    """Find policies that say nothing of the rest."""
    policy = context.policy
    if policy is None or any(is_catch_all(rule) for rule in context.raw.rules):
        return
    unmatched = _unmatched(policy)
    if unmatched is None:
        return
    message = f"requests that no rule matches are not recorded, for example {request_text(unmatched)}"
    fix = Fix(
        "added a last rule that records the rest at level Metadata",
        (Edit(Do.APPEND, ("rules",), {"level": "Metadata"}),),
        (PolicyRule(Level.NONE),),
        Level.METADATA,
        Level.METADATA,
    )
    path: Path = ("rules", len(policy.rules) - 1)
    yield context.finding("KW308", path, message, "end with a rule `- level: Metadata`", fix)


def _unmatched(policy: Policy) -> Attributes | None:
    everything = ((PolicyRule(Level.NONE),),)
    try:
        found = deciders(policy, everything, lambda _, rule: rule is None, budget_states=_BUDGET_STATES)
    except TooHardError:
        return None
    return found[0].example if found else None
