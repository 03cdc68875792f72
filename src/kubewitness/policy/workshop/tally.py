"""
A simulation added up: in all, by effect, and by rule, user, resource or whatever else a line is asked for.

Spreads of estimates from the same like events are added, as these err together; those of others as independent errors.
"""

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from kubewitness.event.types import Stage
from kubewitness.policy.workshop.likeness import likeness_key
from kubewitness.policy.workshop.simulate import Effect, Line, Outcome

K = TypeVar("K", bound=Hashable)
_ENDS = (Stage.RESPONSE_COMPLETE, Stage.PANIC)


@dataclass(slots=True)
class Side:
    """Events and bytes under one policy."""

    events: int = 0
    requests: int = 0
    """Requests that end in the log: ResponseComplete, Panic, and refusals that have ResponseStarted only."""
    size: float = 0
    unknown: int = 0
    _spreads: dict[Hashable, float] = field(default_factory=dict)

    def err(self, spread: float, like: Hashable) -> None:
        """Add how far some bytes may be off; estimates that are `like` one another err together."""
        if spread:
            self._spreads[like] = self._spreads.get(like, 0.0) + spread

    @property
    def spread(self) -> float:
        """How far the bytes may be off: the errors of unlike estimates partly make up for one another."""
        return math.sqrt(sum(spread * spread for spread in self._spreads.values()))

    @property
    def low(self) -> float:
        """The least the bytes can be, as far as estimates go."""
        return max(0.0, self.size - self.spread)

    @property
    def high(self) -> float:
        """The most the bytes can be, as far as estimates go."""
        return self.size + self.spread


@dataclass(slots=True)
class Tally:
    """Before, after, and how many events each effect has."""

    before: Side = field(default_factory=Side)
    after: Side = field(default_factory=Side)
    effects: Counter[Effect] = field(default_factory=Counter)

    @property
    def share(self) -> float | None:
        """Bytes after as a share of those before; None when there were none."""
        return self.after.size / self.before.size if self.before.size else None


def tally(lines: Iterable[Line]) -> Tally:
    """Add up lines."""
    return tallies(lines, ())[0]


def tally_by(lines: Iterable[Line], key: Callable[[Line], K]) -> dict[K, Tally]:
    """Add up lines by a key, the heaviest before or after first; what is written under neither is left out."""
    return tallies(lines, (key,))[1][0]


def tallies(lines: Iterable[Line], keys: Sequence[Callable[[Line], Any]]) -> tuple[Tally, tuple[dict[Any, Tally], ...]]:
    """Add up lines in all, and by each key as `tally_by` does, in one go."""
    total = Tally()
    groups: tuple[dict[Any, Tally], ...] = tuple({} for _ in keys)
    keyed = list(zip(keys, groups, strict=True))
    for line in lines:
        before, after, shape = line.before, line.after, line.shape
        if not before.events and not after.events:
            continue
        found = [total]
        for key, group in keyed:
            value = key(line)
            one = group.get(value)
            if one is None:
                one = group[value] = Tally()
            found.append(one)
        ends = shape.stage in _ENDS or shape.request.user is None
        effect = line.effect
        events = before.events or after.events
        for one in found:
            effects = one.effects
            effects[effect] = effects.get(effect, 0) + events
            if before.events:
                _add(one.before, before, ends=ends)
            if after.events:
                _add(one.after, after, ends=ends)
        if before.spread or after.spread:
            like = "stage" if line.is_inferred else likeness_key(shape)
            for one in found:
                one.before.err(before.spread, like)
                one.after.err(after.spread, like)
    return total, tuple(map(_heaviest_first, groups))


def _add(side: Side, outcome: Outcome, *, ends: bool) -> None:
    events = outcome.events
    side.events += events
    if ends:
        side.requests += events
    side.size += outcome.size
    if outcome.unknown:
        side.unknown += outcome.unknown


def _heaviest_first(found: dict[K, Tally]) -> dict[K, Tally]:
    return dict(sorted(found.items(), key=lambda item: -max(item[1].before.size, item[1].after.size)))


def rule_of(line: Line) -> int | None:
    """Give the rule of the new policy that decides; None: no rule."""
    return line.after.decision.rule_index


def user_of(line: Line) -> str | None:
    """Give who asked; None: authentication failed."""
    return line.shape.request.user


def resource_of(line: Line) -> str:
    """Give what was asked for, in the names a policy uses."""
    request = line.shape.request
    if not request.resource_request:
        return request.path
    group = f".{request.api_group}" if request.api_group else ""
    subresource = f"/{request.subresource}" if request.subresource else ""
    return f"{request.resource}{group}{subresource}"
