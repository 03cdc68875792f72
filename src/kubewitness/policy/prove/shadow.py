"""
Rules that can never match, members of rules that can never match, and what shadows them.

A rule is `dead` when every request it matches is taken by earlier rules, or when it matches none at all (a user
name with an asterisk, a resource with a version). A live rule can still have dead members: one user of three, one
resource of ten. Both answers are exact over the requests of the universe.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from kubewitness.policy.prove.answer import BUDGET_STATES, Ordered, Reached, Search
from kubewitness.policy.prove.regions import Box, Sets, Space, hull, meet
from kubewitness.policy.prove.universe import Universe
from kubewitness.policy.types import Attributes, GroupResources, Policy, PolicyRule

# above this many the set of shadowing rules is given as found, not made minimal
_MINIMISE_UP_TO = 40
_TAKEN, _REACHED = 0, 1


@dataclass(frozen=True, slots=True)
class Reach:
    """What becomes of one rule. `example`: the smallest request it decides; None when it is dead.

    `shadowed_by` are earlier rules, from 0: of a dead rule a set that together takes all its requests (none: no
    request matches the rule at all), of a live one every rule that takes some, with the smallest in `taken`.
    """

    rule_index: int
    example: Attributes | None
    shadowed_by: tuple[int, ...]
    taken: tuple[tuple[int, Attributes], ...]

    @property
    def is_dead(self) -> bool:
        """Whether the rule decides no request."""
        return self.example is None


@dataclass(frozen=True, slots=True)
class DeadMember:
    """A member of a live rule that matters to no request. `field` as in the policy, with its index."""

    rule_index: int
    field: str
    value: str
    shadowed_by: tuple[int, ...]


def reachable(
    policy: Policy,
    universe: Universe = Universe.POSSIBLE,
    budget_states: int = BUDGET_STATES,
    *,
    is_wanted: Callable[[int], bool] = lambda _: True,
) -> tuple[Reach, ...]:
    """For every rule, whether it can match and which earlier rules take its requests (of live ones if wanted)."""
    space = Space(policy.rules, universe)
    decided = _Asked(space, policy.rules, budget_states)
    alive = decided.first_examples()
    return tuple(
        Reach(index, alive[index], (), ())
        if index in alive and not is_wanted(index)
        else _reach(decided, index, alive.get(index))
        for index in range(len(policy.rules))
    )


def dead_members(
    policy: Policy, universe: Universe = Universe.POSSIBLE, budget_states: int = BUDGET_STATES
) -> tuple[DeadMember, ...]:
    """Members of live rules that could be taken out without any request noticing: they match nothing that is left."""
    space = Space(policy.rules, universe)
    decided = _Asked(space, policy.rules, budget_states)
    reached = decided.reached()
    found: list[DeadMember] = []
    for index in sorted(reached):
        rule = policy.rules[index]
        # entries with names tie what and name together: then values one by one do not settle it
        is_tied = len(rule.resources) > 1 and any(entry.resource_names for entry in rule.resources)
        for field, value, narrowed in members(rule):
            if decided.is_dead(narrowed, reached[index]) or (is_tied and index not in decided.takers(index, narrowed)):
                takers = decided.takers(index, narrowed)
                found.append(DeadMember(index, field, value, tuple(sorted(takers))))
    return tuple(found)


def members(rule: PolicyRule) -> Iterator[tuple[str, str, PolicyRule]]:
    """Give each listed member of a rule: its place, its text, and the rule with this one alone in its list."""
    lists: tuple[tuple[str, tuple[str, ...], Callable[[str], PolicyRule]], ...] = (
        ("users", rule.users, lambda value: replace(rule, users=(value,))),
        ("userGroups", rule.user_groups, lambda value: replace(rule, user_groups=(value,))),
        ("verbs", rule.verbs, lambda value: replace(rule, verbs=(value,))),
        ("namespaces", rule.namespaces, lambda value: replace(rule, namespaces=(value,))),
        ("nonResourceURLs", rule.non_resource_urls, lambda value: replace(rule, non_resource_urls=(value,))),
    )
    for field, values, narrowed_to in lists:
        if len(values) > 1:
            for index, value in enumerate(values):
                yield f"{field}[{index}]", value, narrowed_to(value)
    for number, entry in enumerate(rule.resources):
        for place, value, narrowed in _entry_members(entry):
            if len(rule.resources) > 1 or narrowed != entry:
                yield f"resources[{number}]{place}", value, replace(rule, resources=(narrowed,))


def _entry_members(entry: GroupResources) -> Iterator[tuple[str, str, GroupResources]]:
    if not entry.resources:
        yield ".group", entry.group, entry
    for index, value in enumerate(entry.resources):
        yield f".resources[{index}]", value, replace(entry, resources=(value,))
    if entry.resources:
        for index, value in enumerate(entry.resource_names):
            yield f".resourceNames[{index}]", value, replace(entry, resource_names=(value,))


class _Asked:
    """One policy in its space, ready to be asked about single rules."""

    def __init__(self, space: Space, rules: Sequence[PolicyRule], budget_states: int) -> None:
        self.space = space
        self.rules = rules
        self._boxes = tuple(space.boxes(rule) for rule in rules)
        self._budget_states = budget_states

    def search(self, *lists: Ordered, within: Sets | None = None) -> Search:
        return Search(self.space, lists, self._budget_states, within)

    def first_examples(self) -> dict[int, Attributes]:
        """Give the smallest request each live rule decides."""
        search = self.search(self.ordered(range(len(self.rules))))
        return {labels[0]: search.request(e) for labels, e in search.smallest(lambda labels: labels[0] >= 0).items()}

    def reached(self) -> dict[int, Reached]:
        """Give the values and groups of the requests each live rule decides."""
        found = self.search(self.ordered(range(len(self.rules)))).reached()
        return {index: reached for (index,), reached in found.items() if index >= 0}

    def is_dead(self, narrowed: PolicyRule, reached: Reached) -> bool:
        """Whether no request with these values is in a narrowed rule, looking at one member at a time."""
        return all(
            not all(meet(box.sets, reached.sets)) or bool(box.any_group and not box.any_group & reached.groups)
            for box in self.space.boxes(narrowed)
        )

    def ordered(self, indexes: Sequence[int]) -> Ordered:
        """Give these rules of the policy, labelled with their index; -1 is no rule."""
        return Ordered(tuple((box, index) for index in indexes for box in self._boxes[index]), -1)

    def takers(self, index: int, narrowed: PolicyRule) -> dict[int, Attributes]:
        """Which rule up to `index` takes what a narrowed form of it matches, each with the smallest request."""
        boxes = self.space.boxes(narrowed)
        scope = Ordered(tuple((box, _REACHED) for box in boxes), _TAKEN, skipped=frozenset({_TAKEN}))
        earlier = self.ordered([*self._overlapping(index, narrowed), index])
        search = self.search(scope, earlier, within=hull(boxes))
        found = search.smallest(lambda labels: labels[0] == _REACHED)
        return {labels[1]: search.request(example) for labels, example in found.items()}

    def is_covered(self, index: int, by: Sequence[int]) -> bool:
        """Whether these rules together match all that a rule matches."""
        scope = Ordered(tuple((box, _REACHED) for box in self._boxes[index]), _TAKEN, skipped=frozenset({_TAKEN}))
        cover = Ordered(tuple((box, _TAKEN) for other in by for box in self._boxes[other]), _REACHED)
        return (_REACHED, _REACHED) not in self.search(scope, cover, within=hull(self._boxes[index])).labels()

    def covering(self, index: int) -> int | None:
        """Give the first earlier rule that by itself matches all that a rule matches, box by box."""
        own = self._boxes[index]
        if not own:
            return None
        return next(
            (
                earlier
                for earlier, boxes in enumerate(self._boxes[:index])
                if all(any(_is_within(box, outer) for outer in boxes) for box in own)
            ),
            None,
        )

    def shared(self, index: int, earlier: int) -> Attributes | None:
        """Give the smallest request that both of two rules match."""
        scope = Ordered(tuple((box, _REACHED) for box in self._boxes[index]), _TAKEN, skipped=frozenset({_TAKEN}))
        search = self.search(scope, self.ordered([earlier]), within=hull(self._boxes[index]))
        found = search.smallest(lambda labels: labels == (_REACHED, earlier))
        return next((search.request(example) for example in found.values()), None)

    def _overlapping(self, index: int, narrowed: PolicyRule) -> Iterator[int]:
        """Earlier rules with a box that meets the rule's."""
        own = self.space.boxes(narrowed)
        for earlier in range(index):
            if any(_is_meeting(a.sets, b.sets) for a in self._boxes[earlier] for b in own):
                yield earlier


def _is_meeting(left: Sequence[int], right: Sequence[int]) -> bool:
    return all(a & b for a, b in zip(left, right, strict=True))


def _is_within(inner: Box, outer: Box) -> bool:
    """Whether a box lies in another, whatever the universe."""
    groups = not outer.any_group or bool(inner.any_group and not inner.any_group & ~outer.any_group)
    return groups and not any(a & ~b for a, b in zip(inner.sets, outer.sets, strict=True))


def _reach(asked: _Asked, index: int, example: Attributes | None) -> Reach:
    covering = asked.covering(index) if example is None else None
    if covering is not None:
        request = asked.shared(index, covering)
        # a rule that matches nothing possible is shadowed by none
        return (
            Reach(index, None, (covering,), ((covering, request),))
            if request is not None
            else Reach(index, None, (), ())
        )
    takers = asked.takers(index, asked.rules[index])
    takers.pop(index, None)
    shadowing = sorted(takers)
    if example is None and len(shadowing) <= _MINIMISE_UP_TO:
        for rule in reversed(shadowing.copy()):
            rest = [other for other in shadowing if other != rule]
            if asked.is_covered(index, rest):
                shadowing = rest
    taken = tuple((rule, takers[rule]) for rule in shadowing)
    return Reach(index, example, tuple(shadowing), taken)
