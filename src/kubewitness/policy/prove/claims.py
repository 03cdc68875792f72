"""
Claims about a policy in one line, proved for all possible requests or refuted by the smallest counterexample.

    secrets never above Metadata
    pods/exec always at least Metadata at ResponseStarted
    * never None when verb in delete,deletecollection unless user in system:apiserver
    no-secret-bodies                                          (a named claim: see LIBRARY)

Grammar: WHAT BOUND [at STAGES] [when CONDITIONS] {unless CONDITIONS}; docs/reference/policy-claims.md says it in full.
A bound speaks of what is recorded: a stage that is omitted records nothing, and without `at` a request
records nothing when all four are. Scopes and exceptions match as rules do.
"""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

from kubewitness.event.types import Level, Stage
from kubewitness.policy.prove.answer import BUDGET_STATES, Ordered, Search
from kubewitness.policy.prove.diff import NO_RULE, decisions_of
from kubewitness.policy.prove.library import NAMED
from kubewitness.policy.prove.named import misnamed
from kubewitness.policy.prove.regions import Space
from kubewitness.policy.prove.universe import Universe
from kubewitness.policy.types import Attributes, Decision, GroupResources, Policy, PolicyRule

LIBRARY: dict[str, tuple[str, ...]] = {name: named.claims for name, named in NAMED.items()}

T = TypeVar("T")

_MEMBERS = ("verb", "user", "group", "namespace", "name")
_BOUND = re.compile(r"\s+(never\s+above|always\s+at\s+least|always|never)\s+(\S+)")
_CLAUSE = re.compile(r"\s+(at|when|unless)\s+")
_IN_SCOPE, _OUT = 1, 0


class ClaimError(ValueError):
    """A claim that cannot be read: what is wrong, and what would be right."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence about what is recorded of the requests in `scope` that are in no exception."""

    text: str
    lowest: Level
    highest: Level
    forbidden: Level | None
    stages: tuple[Stage, ...]
    scope: tuple[PolicyRule, ...]
    exceptions: tuple[PolicyRule, ...] = ()

    def allows(self, decision: Decision) -> bool:
        """Whether a decision keeps the claim."""
        if self.stages:
            recorded = [Level.NONE if stage in decision.omit_stages else decision.level for stage in self.stages]
        else:
            recorded = [Level.NONE if len(decision.omit_stages) == len(Stage) else decision.level]
        return all(self.lowest <= level <= self.highest and level is not self.forbidden for level in recorded)


@dataclass(frozen=True, slots=True)
class Breach:
    """A rule (None: no rule) that breaks a claim, with the smallest request it does so for."""

    decision: Decision
    example: Attributes


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a claim: proved when no request breaks it, else every rule that does, smallest example first."""

    claim: Claim
    breaches: tuple[Breach, ...] = field(default=())

    @property
    def is_proved(self) -> bool:
        """Whether the claim holds for every request."""
        return not self.breaches


def prove(
    policy: Policy, claim: Claim, universe: Universe = Universe.POSSIBLE, budget_states: int = BUDGET_STATES
) -> Answer:
    """Prove a claim for every request of the universe, or refute it."""
    space = Space((*claim.exceptions, *claim.scope, *policy.rules), universe)
    decisions = decisions_of(policy)
    kept = {index for index, decision in enumerate(decisions) if claim.allows(decision)}
    if len(decisions) - 1 in kept:
        kept.add(NO_RULE)
    scope = Ordered(
        (
            *((box, _OUT) for rule in claim.exceptions for box in space.boxes(rule)),
            *((box, _IN_SCOPE) for rule in claim.scope for box in space.boxes(rule)),
        ),
        _OUT,
        skipped=frozenset({_OUT}),
    )
    rules = Ordered(
        tuple((box, index) for index, rule in enumerate(policy.rules) for box in space.boxes(rule)), NO_RULE
    )
    search = Search(space, (scope, rules), budget_states)
    found = search.smallest(lambda labels: labels[0] == _IN_SCOPE and labels[1] not in kept)
    in_order = sorted(found.items(), key=lambda item: item[1])
    return Answer(claim, tuple(Breach(decisions[rule], search.request(e)) for (_, rule), e in in_order))


def parse_claims(text: str, universe: Universe = Universe.POSSIBLE) -> tuple[Claim, ...]:
    """Read one claim, or the claims a name stands for. What it names must be in the universe."""
    text = " ".join(text.split())
    if text in LIBRARY:
        return tuple(_parse(line) for line in LIBRARY[text])
    if text and " " not in text:
        near = difflib.get_close_matches(text, LIBRARY, 1)
        raise ClaimError(
            f"there is no claim named {text!r}; "
            + (f"did you mean {near[0]!r}?" if near else f"named claims: {_named()}")
        )
    claim = _parse(text)
    if universe is Universe.POSSIBLE:
        for wrong in (sentence for rule in (*claim.scope, *claim.exceptions) for sentence in misnamed(rule)):
            raise ClaimError(f"claim {text!r}: {wrong}")
    return (claim,)


def _named() -> str:
    return ", ".join(LIBRARY)


def _parse(text: str) -> Claim:
    bound = _BOUND.search(text)
    if bound is None:
        raise ClaimError(
            f"claim {text!r} has no bound: after what it is about write "
            '"never above LEVEL", "always at least LEVEL", "always LEVEL" or "never LEVEL"'
        )
    what = text[: bound.start()]
    level = _level(bound[2])
    lowest, highest, forbidden = {
        "never above": (Level.NONE, level, None),
        "always at least": (level, Level.REQUEST_RESPONSE, None),
        "always": (level, level, None),
        "never": (Level.NONE, Level.REQUEST_RESPONSE, level),
    }[" ".join(bound[1].split())]
    clauses = _CLAUSE.split(text[bound.end() :])
    if clauses[0].strip():
        raise ClaimError(f'claim {text!r}: after the level comes "at", "when" or "unless", not {clauses[0].strip()!r}')
    stages: tuple[Stage, ...] = ()
    scope = _scope(what)
    exceptions: list[PolicyRule] = []
    for word, rest in zip(clauses[1::2], clauses[2::2], strict=True):
        if word == "at":
            stages = tuple(_stage(name) for name in _items(rest))
        elif word == "when":
            scope = tuple(_narrowed(rule, rest) for rule in scope)
        else:
            exceptions += [_narrowed(rule, rest) for rule in _scope(what)]
    return Claim(text, lowest, highest, forbidden, stages, scope, tuple(exceptions))


def _level(text: str) -> Level:
    return _one_of(text, {level.value: level for level in Level}, "level")


def _stage(text: str) -> Stage:
    return _one_of(text, {stage.value: stage for stage in Stage}, "stage")


def _one_of(text: str, known: dict[str, T], kind: str) -> T:
    if text not in known:
        raise ClaimError(f"{text!r} is no {kind}; write one of {', '.join(known)}")
    return known[text]


def _items(text: str) -> Iterator[str]:
    for item in text.split(","):
        if not item.strip():
            raise ClaimError(f"an empty item in {text.strip()!r}; separate items by single commas")
        yield item.strip()


def _scope(text: str) -> tuple[PolicyRule, ...]:
    """Read what a claim is about: `*`, resources as `pods/exec` and `roles.rbac.authorization.k8s.io`, URL paths."""
    entries: list[GroupResources] = []
    urls: list[str] = []
    for item in _items(text):
        if item == "*":
            return (PolicyRule(Level.NONE),)
        if " " in item:
            right = "pods/exec, roles.rbac.authorization.k8s.io or /healthz*"
            raise ClaimError(f"{item!r} is not what a claim can be about: write {right}")
        if item.startswith("/"):
            urls.append(item)
            continue
        named, slash, subresource = item.partition("/")
        resource, _, group = named.partition(".")
        entries.append(GroupResources(group, (resource + slash + subresource,)))
    rules: list[PolicyRule] = []
    if entries:
        rules.append(PolicyRule(Level.NONE, resources=tuple(entries)))
    if urls:
        rules.append(PolicyRule(Level.NONE, non_resource_urls=tuple(urls)))
    return tuple(rules)


def _narrowed(rule: PolicyRule, text: str) -> PolicyRule:
    """Add conditions such as `verb in get,list and user in a` to a rule."""
    seen: set[str] = set()
    for condition in re.split(r"\s+and\s+", text.strip()):
        member, word, values = (*condition.split(maxsplit=2), "", "")[:3]
        if member not in _MEMBERS or word != "in" or not values:
            raise ClaimError(
                f'{condition!r} is not a condition; write one of {", ".join(_MEMBERS)}, then "in" and values'
            )
        narrowed = _with_condition(rule, member, tuple(_value(member, value) for value in _items(values)))
        if member in seen:
            raise ClaimError(f"two conditions on {member} in {text.strip()!r}; list the values in one")
        seen.add(member)
        rule = narrowed
    return rule


def _value(member: str, text: str) -> str:
    if "*" in text and member != "name":
        hint = "; to mean service accounts write group in system:serviceaccounts:NAMESPACE" if member == "user" else ""
        raise ClaimError(f"{member} {text!r} has an asterisk, but a {member} is matched letter by letter{hint}")
    return "" if text == '""' else text


def _with_condition(rule: PolicyRule, member: str, values: tuple[str, ...]) -> PolicyRule:
    if member == "verb":
        return replace(rule, verbs=values)
    if member == "user":
        return replace(rule, users=values)
    if member == "group":
        return replace(rule, user_groups=values)
    if rule.non_resource_urls:
        raise ClaimError(f"{', '.join(rule.non_resource_urls)} has no {member}: only resources do")
    if member == "namespace":
        return replace(rule, namespaces=values)
    entries = rule.resources or (GroupResources("*", ("*",)),)
    return replace(rule, resources=tuple(replace(entry, resource_names=values) for entry in entries))
