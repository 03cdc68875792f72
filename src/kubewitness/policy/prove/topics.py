"""
Which rule decides what, for several topics at once: reads of secrets, commands run in containers, changes of roles.

A topic is what some rules match; of topics that overlap the earlier one has the request. The answer is exact over the
requests of the universe, each with the smallest example.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kubewitness.policy.prove.answer import BUDGET_STATES, Ordered, Search
from kubewitness.policy.prove.diff import NO_RULE, decisions_of, written
from kubewitness.policy.prove.regions import Space
from kubewitness.policy.prove.universe import Universe
from kubewitness.policy.types import Attributes, Decision, Policy, PolicyRule

_NO_TOPIC = -1


@dataclass(frozen=True, slots=True)
class Decided:
    """A rule (None: no rule) that decides requests of a topic, and the smallest of them."""

    topic: int
    rule_index: int | None
    example: Attributes


def deciders(
    policy: Policy,
    topics: Sequence[Sequence[PolicyRule]],
    is_wanted: Callable[[int, int | None], bool] | None = None,
    universe: Universe = Universe.POSSIBLE,
    budget_states: int = BUDGET_STATES,
) -> tuple[Decided, ...]:
    """Give for every topic the rules that decide requests of it; `is_wanted` may leave out pairs."""
    space = Space((*(rule for topic in topics for rule in topic), *policy.rules), universe)
    scope = Ordered(
        tuple((box, number) for number, topic in enumerate(topics) for rule in topic for box in space.boxes(rule)),
        _NO_TOPIC,
        skipped=frozenset({_NO_TOPIC}),
    )
    rules = Ordered(
        tuple((box, index) for index, rule in enumerate(policy.rules) for box in space.boxes(rule)), NO_RULE
    )
    search = Search(space, (scope, rules), budget_states)

    def is_asked(labels: tuple[int, ...]) -> bool:
        if labels[0] == _NO_TOPIC:
            return False
        return is_wanted is None or is_wanted(labels[0], None if labels[1] == NO_RULE else labels[1])

    found = search.smallest(is_asked)
    return tuple(
        Decided(topic, None if rule == NO_RULE else rule, search.request(example))
        for (topic, rule), example in sorted(found.items(), key=lambda item: item[0])
    )


@dataclass(frozen=True, slots=True)
class Outside:
    """A request whose record changes although it should not, or not to this."""

    before: Decision
    after: Decision
    example: Attributes


def change_outside(
    old: Policy,
    new: Policy,
    scopes: Sequence[tuple[Sequence[PolicyRule], Callable[[Decision], bool]]],
    budget_states: int = BUDGET_STATES,
) -> Outside | None:
    """Give the smallest request that is recorded otherwise, and not as the first scope that holds it allows."""
    space = Space((*(rule for scope, _ in scopes for rule in scope), *old.rules, *new.rules))
    boxes = ((box, number) for number, (scope, _) in enumerate(scopes) for rule in scope for box in space.boxes(rule))
    inside = Ordered(tuple(boxes), _NO_TOPIC)
    lists = [
        Ordered(tuple((box, i) for i, rule in enumerate(policy.rules) for box in space.boxes(rule)), NO_RULE)
        for policy in (old, new)
    ]
    before, after = decisions_of(old), decisions_of(new)
    search = Search(space, (inside, *lists), budget_states)

    def is_wrong(labels: tuple[int, ...]) -> bool:
        was, becomes = before[labels[1]], after[labels[2]]
        if written(was) == written(becomes):
            return False
        return labels[0] == _NO_TOPIC or not scopes[labels[0]][1](becomes)

    found = search.smallest(is_wrong)
    if not found:
        return None
    labels, example = min(found.items(), key=lambda item: item[1])
    return Outside(before[labels[1]], after[labels[2]], search.request(example))
