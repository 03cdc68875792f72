"""
Tell whether a policy could have recorded the answer at all: which requests, by whom, at which level, by which rule.

An empty answer means "nobody" only where the policy records the requests in question. For each kind of request
that would answer, the rules are read in order with the user left open: a rule that names users or groups decides
for those, the first that does not decides for everybody else. Where the question is about some users alone, rules
that name others are passed over; nobody has a name with a `*` in it.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product

from kubewitness.event.types import Level, Stage
from kubewitness.look.investigate.who import Question, Target
from kubewitness.policy.builtin import RESOURCES
from kubewitness.policy.explain import implied_groups
from kubewitness.policy.types import Attributes, Decision, Policy, PolicyRule

Evaluate = Callable[[Policy, Attributes], Decision]

_CREATE = (("create", ""), ("patch", ""), ("update", ""))
_CHANGE = (("update", ""), ("patch", ""))
_READ = (("get", ""), ("list", ""), ("watch", ""))
_DELETE = (("delete", ""), ("deletecollection", ""))
_EXEC = tuple((verb, sub) for sub in ("exec", "attach", "portforward") for verb in ("get", "create"))
_NAMELESS = frozenset({"create", "list", "watch", "deletecollection"})
_EVERYBODY = "system:authenticated"
_LAST_STAGES = (Stage.RESPONSE_COMPLETE, Stage.RESPONSE_STARTED, Stage.REQUEST_RECEIVED, Stage.PANIC)


@dataclass(frozen=True, slots=True)
class Visible:
    """What a policy does with one kind of request when these users ask. No users and no groups: everybody else."""

    verb: str
    api_group: str
    subresource: str
    level: Level
    rule_index: int | None
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    omit_stages: frozenset[Stage] = frozenset()

    @property
    def is_for_some(self) -> bool:
        """Whether it speaks of members of some group that not every user is in."""
        return bool(self.groups) and _EVERYBODY not in self.groups

    @property
    def is_recorded(self) -> bool:
        """Tell whether such a request leaves any Event of its normal life."""
        kept = set(_LAST_STAGES[:-1]) - self.omit_stages
        return self.level is not Level.NONE and bool(kept)


def requests_that_answer(question: Question, target: Target) -> tuple[tuple[str, str], ...]:
    """Give the (verb, subresource) of every request that would answer the question."""
    deletes = (*_DELETE, ("create", "eviction")) if target.resource == "pods" else _DELETE
    match question:
        case Question.CREATED:
            return _CREATE
        case Question.DELETED:
            return deletes
        case Question.CHANGED:
            return _CHANGE
        case Question.READ:
            return _READ
        case Question.LISTED:
            return _READ[1:]
        case Question.EXEC:
            return _EXEC
        case Question.TOUCHED:
            return tuple(dict.fromkeys((*_CREATE, *_READ, *deletes)))


def visibility(
    policy: Policy, question: Question, target: Target, evaluate: Evaluate, users: Iterable[str] = ()
) -> list[Visible]:
    """Read the policy for every request that would answer, of these users if any; `evaluate` is the policy room's."""
    asked = frozenset(users)
    found: list[Visible] = []
    groups = groups_of(target.resource) if target.api_group is None else [target.api_group]
    for group, (verb, subresource) in product(groups, requests_that_answer(question, target)):
        is_named = subresource or verb not in _NAMELESS
        attributes = Attributes(
            verb=verb,
            namespace=target.namespace or "",
            api_group=group,
            resource=target.resource,
            subresource=subresource,
            name=(target.name or "") if is_named else "",
            resource_request=True,
        )
        found.extend(_read_rules(policy, attributes, evaluate, asked))
    return found


def groups_of(resource: str) -> list[str]:
    """Give the API groups in which every Kubernetes server may have a resource of this name."""
    return [known.group for known in RESOURCES if known.name == resource]


def _read_rules(policy: Policy, attributes: Attributes, evaluate: Evaluate, asked: frozenset[str]) -> Iterator[Visible]:
    left = asked
    for index, rule in enumerate(policy.rules):
        decision = evaluate(replace(policy, rules=(_for_anybody(rule),)), attributes)
        users, groups = (tuple(name for name in names if "*" not in name) for names in (rule.users, rule.user_groups))
        if asked:
            users = tuple(name for name in users if name in left)
        is_for_nobody = (rule.users and not users) or (rule.user_groups and not groups)
        if decision.rule_index is None or is_for_nobody:
            continue
        for some, of_groups in _parts(users, groups, left):
            yield Visible(
                attributes.verb,
                attributes.api_group,
                attributes.subresource,
                decision.level,
                index,
                some,
                of_groups,
                decision.omit_stages,
            )
            if not of_groups:
                left -= set(some)
            if not of_groups and (not some or (asked and not left)):
                return
    yield Visible(attributes.verb, attributes.api_group, attributes.subresource, Level.NONE, None)


def _parts(
    users: tuple[str, ...], groups: tuple[str, ...], asked: frozenset[str]
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Give for whom a rule is: users, and groups they must be in; who is in one by its name comes first, without."""
    if not asked or not groups:
        yield users, groups
        return
    sure = tuple(name for name in users or sorted(asked) if not set(groups).isdisjoint(implied_groups(name)))
    rest = tuple(name for name in users or sorted(asked) if name not in sure)
    if sure:
        yield sure, ()
    if rest:
        yield (rest if users else ()), groups


def _for_anybody(rule: PolicyRule) -> PolicyRule:
    return replace(rule, users=(), user_groups=())
