"""
Which attacks a policy makes visible: techniques and the audit evidence they leave, judged as the attacker's identity.

`techniques_of(data)` reads the table of evidence; `cover(policy, technique)` judges one: at the level that tells it
from benign use (full), seen but without the content that tells (weak), seen but like any other request
(indistinguishable), not recorded (blind), or nothing that any audit log holds (never). The attacker chooses the verb,
so the worst counts. `change_for` gives rules that make a technique full, `plan_for` the fewest that make all so; both
are evaluated before they are given.
"""

import enum
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kubewitness.event.types import Level, Stage
from kubewitness.policy.evaluate import evaluate
from kubewitness.policy.explain import implied_groups
from kubewitness.policy.stages import stages_of
from kubewitness.policy.types import Attributes, Decision, GroupResources, Policy, PolicyRule

ATTACKER = "attacker"
_NAMELESS_VERBS = ("create", "list", "deletecollection")


class Verdict(enum.Enum):
    """How visible a technique is, the least first."""

    BLIND = "blind"
    INDISTINGUISHABLE = "indistinguishable"
    WEAK = "weak"
    FULL = "full"
    NEVER = "never in any audit log"

    @property
    def rank(self) -> int:
        """Its place in the order; `never` is beyond, as no policy can change it."""
        return list(Verdict).index(self)


@dataclass(frozen=True, slots=True)
class Evidence:
    """One request of a technique, the stage that shows it, and the level from which on it can be seen as such."""

    request: Attributes
    stage: Stage
    min_level: Level


@dataclass(frozen=True, slots=True)
class Technique:
    """A technique. Without evidence it is in no audit log."""

    id: str
    name: str
    tactic: str
    attack: str
    microsoft: str
    precise_level: Level
    evidence: tuple[Evidence, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Sight:
    """What a policy shows of one piece of evidence. `seen_at` None: at no stage."""

    evidence: Evidence
    decision: Decision
    verdict: Verdict
    seen_at: Stage | None

    @property
    def is_late(self) -> bool:
        """Whether it is seen only when the request has ended, or before anybody knows how it ended."""
        return self.seen_at is not None and self.seen_at is not self.evidence.stage


@dataclass(frozen=True, slots=True)
class Cover:
    """A technique under a policy: the verdict, and the evidence that is seen worst."""

    technique: Technique
    verdict: Verdict
    worst: Sight | None
    sights: tuple[Sight, ...] = ()


def techniques_of(data: bytes) -> tuple[Technique, ...]:
    """Read the table of evidence (JSON, as shipped)."""
    return tuple(_technique(entry) for entry in json.loads(data)["techniques"])


def _technique(entry: Mapping[str, Any]) -> Technique:
    return Technique(
        entry["id"],
        entry["name"],
        entry["tactic"],
        entry["attack"] or "",
        entry["ms"] or "",
        Level(entry["precise_level"]),
        tuple(found for event in entry["events"] for found in _evidence(event)),
        entry["note"],
    )


def _evidence(event: Mapping[str, Any]) -> Iterable[Evidence]:
    for verb in event["verbs"]:
        user, groups = event["user"], tuple(event["groups"])
        if event["resource"] is None:
            request = Attributes(verb, user, groups, path=event["uri"])
        else:
            # a create has no name in its URL, unless it is for a subresource of a named object
            is_named = event["has_name"] and (verb not in _NAMELESS_VERBS or bool(event["subresource"]))
            request = Attributes(
                verb,
                user,
                groups,
                event["namespace"] or "",
                event["group"] or "",
                "v1",
                event["resource"],
                event["subresource"] or "",
                "x" if is_named else "",
                resource_request=True,
            )
        yield Evidence(request, Stage(event["stage"]), Level(event["min_level"]))


def as_identity(technique: Technique, user: str, groups: Sequence[str] = ()) -> Technique:
    """Give the technique as done by somebody else, with the groups that such a user always has."""
    everything = tuple(dict.fromkeys((*groups, *implied_groups(user))))
    return replace(
        technique,
        evidence=tuple(
            replace(one, request=replace(one.request, user=user, groups=everything)) for one in technique.evidence
        ),
    )


def identities_of(policy: Policy) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Give the users whom rules leave out, and one member of each such group: each is worth stealing."""
    hiding = [rule for rule in policy.rules if rule.level is Level.NONE or rule.omit_stages]
    # * in a name is no pattern, and nobody's name has one
    users: dict[str, tuple[str, ...]] = {user: () for rule in hiding for user in rule.users if "*" not in user and user}
    members = {f"a member of {group}": (group,) for rule in hiding for group in rule.user_groups if group}
    return (*users.items(), *members.items())


def cover(policy: Policy, technique: Technique) -> Cover:
    """Judge one technique."""
    sights = tuple(_sight(one, evaluate(policy, one.request), technique.precise_level) for one in technique.evidence)
    if not sights:
        return Cover(technique, Verdict.NEVER, None)
    worst = min(sights, key=lambda sight: sight.verdict.rank)
    return Cover(technique, worst.verdict, worst, sights)


def _sight(evidence: Evidence, decision: Decision, precise: Level) -> Sight:
    """Judge one request; where its own stage is left out, another shows less, or shows it late."""
    level, seen_at = decision.level, None
    if level is not Level.NONE:
        kept = [stage for stage in stages_of(evidence.request) if stage not in decision.omit_stages]
        if evidence.stage in kept:
            seen_at = evidence.stage
        elif kept:
            seen_at = kept[-1]
    if seen_at is None:
        return Sight(evidence, decision, Verdict.BLIND, None)
    if seen_at is not Stage.RESPONSE_COMPLETE:
        level = min(level, Level.METADATA)  # bodies come with the last stage
    if level < evidence.min_level:
        verdict = Verdict.INDISTINGUISHABLE
    elif level < precise or seen_at is not evidence.stage:
        verdict = Verdict.WEAK
    else:
        verdict = Verdict.FULL
    return Sight(evidence, decision, verdict, seen_at)


# --- changes


@dataclass(frozen=True, slots=True)
class Insertion:
    """A rule to put before another: the smallest that lets a technique be seen."""

    index: int
    rule: PolicyRule


def change_for(policy: Policy, found: Cover) -> tuple[Insertion, ...]:
    """
    Give the rules that make a technique full, each put before the rule that decides its evidence now.

    None: no rule can, because the policy leaves the stage out for every rule, or there is nothing to mend.
    """
    if found.verdict in (Verdict.FULL, Verdict.NEVER):
        return ()
    wrong: dict[int, list[Attributes]] = {}
    for sight in found.sights:
        if sight.verdict is not Verdict.FULL:
            wrong.setdefault(_index(policy, sight.decision), []).append(sight.evidence.request)
    insertions = tuple(Insertion(index, _rule_for(found.technique, requests)) for index, requests in wrong.items())
    changed = with_insertions(policy, insertions)
    return insertions if cover(changed, found.technique).verdict is Verdict.FULL else ()


def _index(policy: Policy, decision: Decision) -> int:
    return len(policy.rules) if decision.rule_index is None else decision.rule_index


def _rule_for(technique: Technique, requests: Sequence[Attributes]) -> PolicyRule:
    """Make a rule that matches these requests and, by verb and resource, no others."""
    verbs = tuple(dict.fromkeys(request.verb for request in requests))
    users = tuple(dict.fromkeys(request.user or "" for request in requests if request.user != ATTACKER))
    level = max(technique.precise_level, Level.METADATA)
    if not requests[0].resource_request:
        return PolicyRule(level, users=users, verbs=verbs, non_resource_urls=(requests[0].path,))
    by_group: dict[str, list[str]] = {}
    for request in requests:
        name = f"{request.resource}/{request.subresource}" if request.subresource else request.resource
        names = by_group.setdefault(request.api_group, [])
        names += [] if name in names else [name]
    resources = tuple(GroupResources(group, tuple(names)) for group, names in by_group.items())
    return PolicyRule(level, users=users, verbs=verbs, resources=resources)


def with_insertions(policy: Policy, insertions: Iterable[Insertion]) -> Policy:
    """Put rules into a policy; of several at one place the first given stands first."""
    rules = list(policy.rules)
    for insertion in sorted(insertions, key=lambda one: one.index)[::-1]:
        rules.insert(insertion.index, insertion.rule)
    return replace(policy, rules=tuple(rules))


def plan_for(policy: Policy, covers: Sequence[Cover]) -> tuple[Insertion, ...]:
    """Give rules that make every technique full that can be: joined where they can be, without those not needed."""
    plan = list(_merged([one for found in covers for one in change_for(policy, found)]))
    wanted = _verdicts(with_insertions(policy, plan), covers)
    for one in plan[::-1]:
        rest = [other for other in plan if other is not one]
        if _verdicts(with_insertions(policy, rest), covers) == wanted:
            plan = rest
    return tuple(plan)


def _verdicts(policy: Policy, covers: Sequence[Cover]) -> list[Verdict]:
    return [cover(policy, found.technique).verdict for found in covers]


def _merged(insertions: Iterable[Insertion]) -> tuple[Insertion, ...]:
    """Join rules for one place that differ in their resources alone, or not at all."""
    found: dict[tuple[object, ...], Insertion] = {}
    for one in insertions:
        rule = one.rule
        key = (one.index, rule.level, rule.users, rule.verbs, bool(rule.resources))
        if key not in found:
            found[key] = one
            continue
        old = found[key].rule
        groups: dict[str, list[str]] = {entry.group: list(entry.resources) for entry in old.resources}
        for entry in rule.resources:
            names = groups.setdefault(entry.group, [])
            names += [name for name in entry.resources if name not in names]
        urls = tuple(dict.fromkeys((*old.non_resource_urls, *rule.non_resource_urls)))
        resources = tuple(GroupResources(group, tuple(names)) for group, names in groups.items())
        found[key] = replace(found[key], rule=replace(old, resources=resources, non_resource_urls=urls))
    # at one place what records most stands first: the same request may be wanted at two levels
    return tuple(sorted(found.values(), key=lambda one: (one.index, -one.rule.level.rank)))
