"""
Cheaper policies: changes that save bytes, each judged by what it saves, what it hides and which claims it breaks.

`candidates(policy, traffic)` makes single changes from what weighs most in a log; a `Judge` says what each does, by
simulating, covering and proving the changed policy; `plan` adds up harmless ones until a budget is met. Nothing is
suggested on a guess: a number that is printed was computed for the very policy that is meant.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from kubewitness.event.types import Level, Stage
from kubewitness.policy.prove.claims import Claim, prove
from kubewitness.policy.shapes import ANY_NODE, OTHER_PATH, Traffic
from kubewitness.policy.types import GroupResources, Policy, PolicyRule
from kubewitness.policy.workshop.coverage import Insertion, Technique, as_identity, cover, with_insertions
from kubewitness.policy.workshop.simulate import Line, simulate
from kubewitness.policy.workshop.tally import Side, tally

INTEREST = Policy((PolicyRule(Level.NONE, user_groups=("system:nodes",)),))
"""What candidates look at beyond the policy: give it to the count, too."""
_HEAVIEST = 10
_LEAST_SHARE = 0.01
_SYSTEM = ("system:kube-", "system:serviceaccount:kube-system:", "system:apiserver", "system:node:")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One change: what it says, and the policy with it."""

    text: str
    policy: Policy
    identity: str | None = None
    """A user whom the change is about: what it hides is judged as this user, too."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A change and what it does to the log, to the techniques seen, and to the claims that must hold."""

    candidate: Candidate
    saved: float
    share: float
    lost: tuple[str, ...]
    broken: tuple[str, ...]

    @property
    def is_harmless(self) -> bool:
        """Whether it hides no technique and breaks no claim."""
        return not self.lost and not self.broken


def size_of(traffic: Traffic, policy: Policy) -> Side:
    """Give what a log weighs under a policy."""
    return tally(simulate(traffic, policy).lines).after


def candidates(policy: Policy, traffic: Traffic) -> Iterator[Candidate]:
    """Give changes for what weighs most under a policy."""
    lines = [line for line in simulate(traffic, policy).lines if line.after.is_written]
    total = sum(line.after.size for line in lines) or 1
    yield from _whole(policy, lines)
    groups: dict[tuple[int | None, str, str, str], list[Line]] = {}
    for line in lines:
        request = line.shape.request
        if request.resource_request:
            key = (line.after.decision.rule_index, request.api_group, request.resource, request.subresource)
            groups.setdefault(key, []).append(line)
    heaviest = sorted(groups.items(), key=lambda item: -_size(item[1]))[:_HEAVIEST]
    for (index, group, resource, subresource), found in heaviest:
        if index is not None and _size(found) >= total * _LEAST_SHARE:
            name = f"{resource}/{subresource}" if subresource else resource
            yield from _for_resource(policy, index, GroupResources(group, (name,)), found)
    yield from _for_paths(policy, lines, total)


def _size(lines: Iterable[Line]) -> float:
    return sum(line.after.size for line in lines)


def _whole(policy: Policy, lines: Sequence[Line]) -> Iterator[Candidate]:
    """Give changes of the whole policy: stages and managed fields."""
    received = any(line.shape.stage is Stage.REQUEST_RECEIVED for line in lines)
    if received and Stage.REQUEST_RECEIVED not in policy.omit_stages:
        stages = (*policy.omit_stages, Stage.REQUEST_RECEIVED)
        yield Candidate("omitStages: [RequestReceived] for the whole policy", replace(policy, omit_stages=stages))
    has_bodies = any(line.after.decision.level > Level.METADATA for line in lines)
    if has_bodies and not policy.omit_managed_fields:
        yield Candidate("omitManagedFields: true for the whole policy", replace(policy, omit_managed_fields=True))


def _for_resource(policy: Policy, index: int, entry: GroupResources, lines: Sequence[Line]) -> Iterator[Candidate]:
    """Give lower levels for a resource that is heavy under a rule, and None for a loop of a system identity."""
    level = policy.rules[index].level
    verbs = tuple(sorted({line.shape.request.verb for line in lines}))
    for lower in (Level.REQUEST, Level.METADATA):
        if lower < level:
            yield _insert(policy, index, replace(_rule(policy, index), level=lower, verbs=verbs, resources=(entry,)))
    by_user: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        request = line.shape.request
        if request.user is not None and request.user.startswith(_SYSTEM):
            by_user.setdefault((request.user, request.verb), []).append(line)
    for (user, verb), _ in sorted(by_user.items(), key=lambda item: -_size(item[1]))[:2]:
        yield _insert(policy, index, _loop(user, verb, entry), user)


def _loop(user: str, verb: str, entry: GroupResources) -> PolicyRule:
    if user == ANY_NODE:
        return PolicyRule(Level.NONE, user_groups=("system:nodes",), verbs=(verb,), resources=(entry,))
    return PolicyRule(Level.NONE, users=(user,), verbs=(verb,), resources=(entry,))


def _rule(policy: Policy, index: int) -> PolicyRule:
    """Give what an inserted rule takes over from the one it stands before: who it is about, stages, fields."""
    old = policy.rules[index]
    return PolicyRule(
        old.level,
        users=old.users,
        user_groups=old.user_groups,
        omit_stages=old.omit_stages,
        omit_managed_fields=old.omit_managed_fields,
    )


def _for_paths(policy: Policy, lines: Sequence[Line], total: float) -> Iterator[Candidate]:
    """Give None for URLs that are asked over and over."""
    groups: dict[tuple[int | None, str, str], list[Line]] = {}
    for line in lines:
        request = line.shape.request
        if not request.resource_request and request.path not in ("", OTHER_PATH):
            key = (line.after.decision.rule_index, request.path, request.verb)
            groups.setdefault(key, []).append(line)
    for (index, path, verb), found in sorted(groups.items(), key=lambda item: -_size(item[1]))[:_HEAVIEST]:
        if index is not None and _size(found) >= total * _LEAST_SHARE:
            yield _insert(policy, index, PolicyRule(Level.NONE, verbs=(verb,), non_resource_urls=(path,)))


def _insert(policy: Policy, index: int, rule: PolicyRule, identity: str | None = None) -> Candidate:
    parts = [f"level: {rule.level.value}"]
    for name, values in (("users", rule.users), ("userGroups", rule.user_groups), ("verbs", rule.verbs)):
        parts += [f"{name}: [{', '.join(values)}]"] if values else []
    entries = [f'{{group: "{entry.group}", resources: [{", ".join(entry.resources)}]}}' for entry in rule.resources]
    parts += [f"resources: [{', '.join(entries)}]"] if entries else []
    parts += [f"nonResourceURLs: [{', '.join(rule.non_resource_urls)}]"] if rule.non_resource_urls else []
    text = f"before rules[{index}]: {{{', '.join(parts)}}}"
    if identity == ANY_NODE:
        identity = "system:node:stolen"
    return Candidate(text, with_insertions(policy, [Insertion(index, rule)]), identity)


# --- judging


def broken_by(policy: Policy, claims: Sequence[Claim]) -> list[str]:
    """Name the claims that a policy breaks already. Raises TooHardError where one cannot be decided."""
    return [claim.text for claim in claims if not prove(policy, claim).is_proved]


class Judge:
    """Says what changes of one policy do; what the policy itself does is found out once."""

    def __init__(self, policy: Policy, traffic: Traffic, techniques: Sequence[Technique]) -> None:
        self._policy = policy
        self._traffic = traffic
        self._techniques = techniques
        self.before = size_of(traffic, policy)
        self._ranks: dict[str | None, list[int]] = {}

    def judge(self, candidate: Candidate, claims: Sequence[Claim]) -> Suggestion:
        """Say what a change does. Raises TooHardError where a claim cannot be decided."""
        saved = self.before.size - size_of(self._traffic, candidate.policy).size
        broken = tuple(claim.text for claim in claims if self._breaks(claim, candidate.policy))
        lost = tuple(dict.fromkeys(self._lost(candidate)))
        return Suggestion(candidate, saved, saved / self.before.size if self.before.size else 0.0, lost, broken)

    def _breaks(self, claim: Claim, new: Policy) -> bool:
        return not prove(new, claim).is_proved and prove(self._policy, claim).is_proved

    def _lost(self, candidate: Candidate) -> Iterator[str]:
        """Name techniques that are seen worse with a change, by whoever does them or by the identity it is about."""
        for identity in (None,) if candidate.identity is None else (None, candidate.identity):
            if identity not in self._ranks:
                self._ranks[identity] = self._seen(self._policy, identity)
            after = self._seen(candidate.policy, identity)
            for technique, old, new in zip(self._techniques, self._ranks[identity], after, strict=True):
                if new < old:
                    yield technique.id if identity is None else f"{technique.id} as {identity}"

    def _seen(self, policy: Policy, identity: str | None) -> list[int]:
        done = self._techniques if identity is None else [as_identity(one, identity) for one in self._techniques]
        return [cover(policy, technique).verdict.rank for technique in done]


@dataclass(frozen=True, slots=True)
class Plan:
    """Harmless changes, one after the other, and what the log then weighs."""

    steps: tuple[Suggestion, ...]
    policy: Policy
    before: Side
    after: Side


def plan(
    policy: Policy,
    traffic: Traffic,
    techniques: Sequence[Technique],
    claims: Sequence[Claim],
    budget: float | None,
    most: int = 12,
) -> Plan:
    """Take the harmless change that saves most, and again, until the log weighs no more than the budget (in bytes)."""
    steps: list[Suggestion] = []
    start, now = size_of(traffic, policy), policy
    while len(steps) < most and (budget is None or size_of(traffic, now).size > budget):
        best = _best(now, traffic, techniques, claims)
        if best is None:
            break
        steps.append(best)
        now = best.candidate.policy
    return Plan(tuple(steps), now, start, size_of(traffic, now))


def _best(
    policy: Policy, traffic: Traffic, techniques: Sequence[Technique], claims: Sequence[Claim]
) -> Suggestion | None:
    """Give the harmless change that saves most; claims are proved last, as they take longest."""
    judge = Judge(policy, traffic, techniques)
    ranked = [(judge.before.size - size_of(traffic, one.policy).size, one) for one in candidates(policy, traffic)]
    for saved, one in sorted(ranked, key=lambda pair: -pair[0]):
        if saved < judge.before.size * _LEAST_SHARE:
            return None
        if judge.judge(one, ()).is_harmless:
            whole = judge.judge(one, claims)
            if whole.is_harmless:
                return whole
    return None
