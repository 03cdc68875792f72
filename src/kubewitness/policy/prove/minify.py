"""
The same policy in fewer words: no request gets another decision (level, stages, managed fields), and that is proved.

Rules that decide nothing go, then rules after which the same would be decided, then rules are merged that differ in one
list only, then members go that change nothing. Each step is tried and kept when no request inside the rule it
touches is decided differently; at the end the whole is compared with the original once more.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from kubewitness.policy.prove.answer import BUDGET_STATES, Ordered, Search
from kubewitness.policy.prove.diff import NO_RULE, Diff, decisions_of, stated
from kubewitness.policy.prove.regions import Box, Space, hull, meet
from kubewitness.policy.prove.universe import Universe
from kubewitness.policy.types import Decision, GroupResources, Policy, PolicyRule

# above this many rules there is one round, and single members stay: trying each takes a search of its own
_THOROUGH_UP_TO_RULES = 100
_OUT, _IN_SCOPE = 0, 1


@dataclass(frozen=True, slots=True)
class Minified:
    """The smaller policy, and what was done in order; rules are counted from 1 as in the original."""

    policy: Policy
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Numbered:
    """A rule with the numbers of the original rules it comes from."""

    rule: PolicyRule
    numbers: tuple[int, ...]

    @property
    def name(self) -> str:
        """Its numbers, as kube-apiserver's messages write them."""
        return ", ".join(f"rules[{number}]" for number in self.numbers)


def minify(policy: Policy, universe: Universe = Universe.POSSIBLE, budget_states: int = BUDGET_STATES) -> Minified:
    """Make a policy smaller without changing any decision."""
    work = _Work(policy, universe, budget_states)
    work.drop_dead_rules()
    before = -1
    while len(work.steps) != before:
        before = len(work.steps)
        work.drop_rules()
        work.merge_rules()
        if len(policy.rules) > _THOROUGH_UP_TO_RULES:
            break
        work.drop_members()
    smaller = work.policy()
    if Diff(policy, smaller, universe, stated, budget_states).changes:
        raise AssertionError("a smaller policy decides differently: this is a fault in minify")
    return Minified(smaller, tuple(work.steps))


class _Work:
    """A policy while it shrinks."""

    def __init__(self, policy: Policy, universe: Universe, budget_states: int) -> None:
        self._original = policy
        self._budget_states = budget_states
        self._space = Space(policy.rules, universe)
        self._boxes: dict[PolicyRule, tuple[Box, ...]] = {}
        self._labels: dict[PolicyRule, int] = {}
        self._kinds: dict[Decision, int] = {}
        self.steps: list[str] = []
        self.rules = [_Numbered(_plain(policy, rule), (number,)) for number, rule in enumerate(policy.rules)]

    def policy(self, rules: list[_Numbered] | None = None) -> Policy:
        """Give the policy with these rules, or as it stands."""
        found = self.rules if rules is None else rules
        return replace(self._original, rules=tuple(one.rule for one in found))

    def _agrees(self, rules: list[_Numbered], scope: PolicyRule) -> bool:
        """Whether the policy with these rules decides as the present one does, for all that `scope` matches."""
        own = self._boxes_of(scope)
        within = hull(own)
        lists = [Ordered(tuple((box, _IN_SCOPE) for box in own), _OUT, skipped=frozenset({_OUT}))]
        for numbered in (self.rules, rules):
            boxes = tuple(
                (box, self._label_of(one.rule))
                for one in numbered
                for box in self._boxes_of(one.rule)
                if all(meet(box.sets, within))
            )
            lists.append(Ordered(boxes, NO_RULE))
        found = Search(self._space, lists, self._budget_states, within).labels()
        return all(before == after for side, before, after in found if side == _IN_SCOPE)

    def _label_of(self, rule: PolicyRule) -> int:
        """Give a number that stands for the decision of a rule; NO_RULE for one that is the same as no rule."""
        label = self._labels.get(rule)
        if label is None:
            decision, no_rule = map(stated, decisions_of(replace(self._original, rules=(rule,))))
            same = NO_RULE if decision == no_rule else len(self._kinds)
            label = self._labels[rule] = self._kinds.setdefault(decision, same)
        return label

    def _boxes_of(self, rule: PolicyRule) -> tuple[Box, ...]:
        boxes = self._boxes.get(rule)
        if boxes is None:
            boxes = self._boxes[rule] = self._space.boxes(rule)
        return boxes

    def drop_dead_rules(self) -> None:
        """Leave out the rules that decide nothing, all at once."""
        rules = ((box, index) for index, one in enumerate(self.rules) for box in self._boxes_of(one.rule))
        found = Search(self._space, [Ordered(tuple(rules), NO_RULE)], self._budget_states).labels()
        alive = {index for (index,) in found}
        dead = [one for index, one in enumerate(self.rules) if index not in alive]
        # the server refuses a policy without rules
        dead = dead if len(dead) < len(self.rules) else dead[1:]
        self.rules = [one for one in self.rules if one not in dead]
        self.steps += [f"dropped {one.name}: earlier rules take all its requests" for one in dead]

    def drop_rules(self) -> None:
        """Leave out every rule whose requests would be decided alike without it, from the last to the first."""
        for one in reversed(self.rules.copy()):
            rest = [other for other in self.rules if other is not one]
            if rest and self._agrees(rest, one.rule):
                self.rules = rest
                self.steps.append(f"dropped {one.name}: without it every request is decided the same")

    def merge_rules(self) -> None:
        """Merge rules two by two until no two can be."""
        tried: set[tuple[PolicyRule, PolicyRule]] = set()
        while self._merge_any(tried):
            pass

    def _merge_any(self, tried: set[tuple[PolicyRule, PolicyRule]]) -> bool:
        """Merge the first two rules that can be and have not been tried in vain; say whether there were any."""
        alike: dict[PolicyRule, list[int]] = {}
        for later, one in enumerate(self.rules):
            for key in _all_but_one_list(one.rule):
                for earlier in alike.get(key, ()):
                    pair = (self.rules[earlier].rule, one.rule)
                    merged = _merged(*pair) if pair not in tried else None
                    if merged is not None and self._merge(earlier, later, merged):
                        return True
                    tried.add(pair)
                alike.setdefault(key, []).append(later)
        return False

    def _merge(self, earlier: int, later: int, merged: PolicyRule) -> bool:
        first, second = self.rules[earlier], self.rules[later]
        both = _Numbered(merged, tuple(sorted(first.numbers + second.numbers)))
        for place, gone in ((earlier, later), (later, earlier)):
            rules = self.rules.copy()
            rules[place] = both
            del rules[gone]
            if self._agrees(rules, merged):
                self.steps.append(f"merged {second.name} into {first.name}")
                self.rules = rules
                return True
        return False

    def drop_members(self) -> None:
        """Leave out single members of lists that change nothing."""
        for index in range(len(self.rules)):
            while self._drop_member(index):
                pass

    def _drop_member(self, index: int) -> bool:
        one = self.rules[index]
        for text, rule in _shorter(one.rule):
            rules = self.rules.copy()
            rules[index] = _Numbered(rule, one.numbers)
            if self._agrees(rules, one.rule):
                self.steps.append(f"dropped {text} from {one.name}: it changes no decision")
                self.rules = rules
                return True
        return False


def _plain(policy: Policy, rule: PolicyRule) -> PolicyRule:
    """Give the rule without what the policy says already."""
    stages = tuple(sorted(set(rule.omit_stages) - set(policy.omit_stages)))
    omit = None if rule.omit_managed_fields == policy.omit_managed_fields else rule.omit_managed_fields
    return replace(rule, omit_stages=stages, omit_managed_fields=omit)


_LISTS: dict[
    str, tuple[Callable[[PolicyRule], tuple[str, ...]], Callable[[PolicyRule, tuple[str, ...]], PolicyRule]]
] = {
    "users": (lambda rule: rule.users, lambda rule, values: replace(rule, users=values)),
    "userGroups": (lambda rule: rule.user_groups, lambda rule, values: replace(rule, user_groups=values)),
    "verbs": (lambda rule: rule.verbs, lambda rule, values: replace(rule, verbs=values)),
    "namespaces": (lambda rule: rule.namespaces, lambda rule, values: replace(rule, namespaces=values)),
    "nonResourceURLs": (
        lambda rule: rule.non_resource_urls,
        lambda rule, values: replace(rule, non_resource_urls=values),
    ),
}


def _all_but_one_list(rule: PolicyRule) -> Iterator[PolicyRule]:
    """Give the rule without each of its lists in turn: rules that share one of these may be merged."""
    for get, put in _LISTS.values():
        if get(rule):
            yield put(rule, ())
    if rule.resources:
        yield replace(rule, resources=())


def _merged(first: PolicyRule, second: PolicyRule) -> PolicyRule | None:
    """Give one rule that matches what both match and no more; None when they differ in more than one list."""
    for get, put in _LISTS.values():
        values, more = get(first), get(second)
        if values and more and put(first, ()) == put(second, ()):
            return put(first, tuple(dict.fromkeys(values + more)))
    if first.resources and second.resources and replace(first, resources=()) == replace(second, resources=()):
        return replace(first, resources=_joined(first.resources + second.resources))
    return None


def _joined(entries: tuple[GroupResources, ...]) -> tuple[GroupResources, ...]:
    """Join entries of one group with the same names."""
    found: dict[tuple[str, tuple[str, ...]], tuple[str, ...]] = {}
    whole = {entry.group for entry in entries if not entry.resources}
    for entry in entries:
        if entry.group not in whole:
            key = (entry.group, entry.resource_names)
            found[key] = tuple(dict.fromkeys(found.get(key, ()) + entry.resources))
    joined = [GroupResources(group, resources, names) for (group, names), resources in found.items()]
    return (*(GroupResources(group) for group in sorted(whole)), *joined)


def _shorter(rule: PolicyRule) -> Iterator[tuple[str, PolicyRule]]:
    """Give every rule with one member less, no list emptied, with the member's name."""
    for name, (get, put) in _LISTS.items():
        values = get(rule)
        if len(values) > 1:
            for index, value in enumerate(values):
                yield f"{name} {value!r}", put(rule, values[:index] + values[index + 1 :])
    for number, entry in enumerate(rule.resources):
        before, after = rule.resources[:number], rule.resources[number + 1 :]
        if len(rule.resources) > 1:
            yield f"resources[{number}]", replace(rule, resources=before + after)
        for text, shorter in _shorter_entries(entry):
            yield text, replace(rule, resources=(*before, shorter, *after))


def _shorter_entries(entry: GroupResources) -> Iterator[tuple[str, GroupResources]]:
    if len(entry.resources) > 1:
        for index, value in enumerate(entry.resources):
            rest = entry.resources[:index] + entry.resources[index + 1 :]
            yield f"resource {value!r}", replace(entry, resources=rest)
    if len(entry.resource_names) > 1:
        for index, value in enumerate(entry.resource_names):
            rest = entry.resource_names[:index] + entry.resource_names[index + 1 :]
            yield f"resource name {value!r}", replace(entry, resource_names=rest)
