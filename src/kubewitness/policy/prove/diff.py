"""
Which requests two policies treat differently: every class of them, each with its smallest example.

A class is a pair of rules: what this rule of the old policy decided and that rule of the new one decides now. Two
policies are compared by what is `written` (at level None nothing is, so its stages do not matter; at Metadata there
are no bodies, so managed fields do not) or, for `minify`, by the decision as `stated`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from kubewitness.event.types import Level, Stage
from kubewitness.policy.evaluate import compile_policy
from kubewitness.policy.prove.answer import BUDGET_STATES, Ordered, Search
from kubewitness.policy.prove.regions import Box, Region, Sets, Space, hull, meet
from kubewitness.policy.prove.universe import Universe
from kubewitness.policy.types import Attributes, Decision, Policy

NO_RULE = -1
_OUTSIDE, _INSIDE = 0, 1


@dataclass(frozen=True, slots=True)
class Change:
    """Requests whose decision changes. `rule_index` None in a Decision: no rule matched."""

    before: Decision
    after: Decision
    example: Attributes


def written(decision: Decision) -> Decision:
    """Give the decision without what leaves no trace in the log."""
    if decision.level is Level.NONE or len(decision.omit_stages) == len(Stage):
        return Decision(Level.NONE, frozenset(), omit_managed_fields=False, rule_index=None)
    keeps_bodies = decision.level > Level.METADATA
    return replace(decision, omit_managed_fields=decision.omit_managed_fields and keeps_bodies, rule_index=None)


def stated(decision: Decision) -> Decision:
    """Give the decision without the rule it comes from."""
    return replace(decision, rule_index=None)


def decisions_of(policy: Policy) -> tuple[Decision, ...]:
    """Give the decision of every rule, and at the end that of no rule: NO_RULE indexes it."""
    compiled = compile_policy(policy)
    return (*(decision for _, decision in compiled.rules), compiled.no_match)


class Diff:
    """Two policies in one space: their changes, and for each change the regions it is made of."""

    def __init__(
        self,
        old: Policy,
        new: Policy,
        universe: Universe = Universe.POSSIBLE,
        by: Callable[[Decision], Decision] = written,
        budget_states: int = BUDGET_STATES,
    ) -> None:
        self.space = Space((*old.rules, *new.rules), universe)
        self._budget_states = budget_states
        self._policies = tuple(tuple(self.space.boxes(rule) for rule in policy.rules) for policy in (old, new))
        self._decisions = (decisions_of(old), decisions_of(new))
        self._lists = tuple(
            Ordered(tuple((box, index) for index, boxes in enumerate(policy) for box in boxes), NO_RULE)
            for policy in self._policies
        )
        self._kinds = tuple(tuple(by(decision) for decision in decisions) for decisions in self._decisions)
        self._search = Search(self.space, self._lists, budget_states)
        self.changes: tuple[Change, ...] = self._changes()

    def _changes(self) -> tuple[Change, ...]:
        search = self._search
        found = search.smallest(lambda labels: self._kinds[0][labels[0]] != self._kinds[1][labels[1]])
        in_order = sorted(found.items(), key=lambda item: item[1])
        return tuple(
            Change(self._decisions[0][old], self._decisions[1][new], search.request(example))
            for (old, new), example in in_order
        )

    def regions(self, change: Change, most: int = 4) -> tuple[tuple[Region, ...], bool]:
        """Give regions that make up a change, at most so many, and whether they are all of it.

        Each grows from an example: the rules that decide it, less one member for every earlier rule in the way.
        """
        pair = (_label(change.before), _label(change.after))
        within = self._within(pair)
        # a rule that meets neither of the two, or comes after its own policy's, leaves no trace here
        near = tuple(
            Ordered(tuple((box, label) for box, label in one if last == NO_RULE or label <= last), NO_RULE)
            for one, last in zip(self._search.meeting(within), pair, strict=True)
        )
        found: list[Region] = []
        while len(found) < most:
            example = self._uncovered(pair, near, within, found)
            if example is None:
                return tuple(found), True
            found.append(self._region_around(pair, near, *example))
        return tuple(found), self._uncovered(pair, near, within, found) is None

    def _uncovered(
        self, pair: tuple[int, int], near: Sequence[Ordered], within: Sets, regions: Sequence[Region]
    ) -> tuple[tuple[int, ...], int] | None:
        """Give an example of a class that none of these regions holds."""
        covers = [self._cover(region) for region in regions]
        lists = [*near, *(one for cover in covers for one in cover)]

        def is_wanted(labels: tuple[int, ...]) -> bool:
            if labels[:2] != pair:
                return False
            at = 2
            for cover in covers:
                if all(label == _INSIDE for label in labels[at : at + len(cover)]):
                    return False
                at += len(cover)
            return True

        found = Search(self.space, lists, self._budget_states, within).smallest(is_wanted)
        if not found:
            return None
        example = min(found.values())
        return example.choice, example.groups

    def _cover(self, region: Region) -> list[Ordered]:
        """Give lists whose labels are all `_INSIDE` exactly for the requests of a region."""
        everything = self.space.full
        masks = region.any_groups or (0,)
        lists = [Ordered(((Box(everything, mask), _INSIDE),), _OUTSIDE) for mask in masks[1:]]
        outside = ((Box(everything, region.no_group), _OUTSIDE),) if region.no_group else ()
        return [Ordered((*outside, (Box(region.sets, masks[0]), _INSIDE)), _OUTSIDE), *lists]

    def _within(self, pair: tuple[int, int]) -> Sets:
        """Give the values of all that both rules match."""
        sets: Sets = self.space.full
        for boxes, index in zip(self._policies, pair, strict=True):
            if index != NO_RULE:
                sets = meet(sets, hull(boxes[index]))
        return sets

    def _region_around(
        self, pair: tuple[int, int], near: Sequence[Ordered], choice: Sequence[int], groups: int
    ) -> Region:
        """Grow the region of an example: all its two rules match, less what earlier rules take."""
        region = Region(self.space.full)
        for boxes, index in zip(self._policies, pair, strict=True):
            if index != NO_RULE:
                box = next(box for box in boxes[index] if box.holds(choice, groups))
                region = region.meet(box)
        for one, index in zip(near, pair, strict=True):
            for box in (box for box, label in one.boxes if label != index):
                region = region.without(box, choice, groups)
        return region


def _label(decision: Decision) -> int:
    return NO_RULE if decision.rule_index is None else decision.rule_index


def diff(old: Policy, new: Policy, universe: Universe = Universe.POSSIBLE) -> tuple[Change, ...]:
    """Give every class of requests of which the two policies write something different."""
    return Diff(old, new, universe).changes
