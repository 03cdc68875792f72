"""
A simulation added up: in all, by effect, and by rule, user, resource or whatever else a line is asked for.

Spreads of estimates from the same like events are added, as these err together; those of others as independent errors.
"""

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from kubewitness.event.types import Stage
from kubewitness.policy.workshop.likeness import likeness_key
from kubewitness.policy.workshop.simulate import Effect, Line, Outcome

K = TypeVar("K", bound=Hashable)


@dataclass(slots=True)
class Side:
    """Events and bytes under one policy."""

    events: int = 0
    requests: int = 0
    """Requests that end in the log: ResponseComplete, Panic, and refusals that have ResponseStarted only."""
    size: float = 0
    unknown: int = 0
    _spreads: dict[Hashable, float] = field(default_factory=dict)

    def add(self, outcome: Outcome, *, ends: bool, like: Hashable) -> None:
        """Add some events; estimates that are `like` one another err together."""
        self.events += outcome.events
        self.requests += outcome.events if ends else 0
        self.size += outcome.size
        self.unknown += outcome.unknown
        if outcome.spread:
            self._spreads[like] = self._spreads.get(like, 0.0) + outcome.spread

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

    def add(self, line: Line) -> None:
        """Add a line."""
        ends = line.shape.stage in (Stage.RESPONSE_COMPLETE, Stage.PANIC) or line.shape.request.user is None
        like = "stage" if line.is_inferred else likeness_key(line.shape) if _is_estimated(line) else None
        self.before.add(line.before, ends=ends, like=like)
        self.after.add(line.after, ends=ends, like=like)
        if line.before.is_written or line.after.is_written:
            self.effects[line.effect] += line.before.events or line.after.events

    @property
    def share(self) -> float | None:
        """Bytes after as a share of those before; None when there were none."""
        return self.after.size / self.before.size if self.before.size else None


def _is_estimated(line: Line) -> bool:
    return line.before.spread > 0 or line.after.spread > 0


def tally(lines: Iterable[Line]) -> Tally:
    """Add up lines."""
    found = Tally()
    for line in lines:
        found.add(line)
    return found


def tally_by(lines: Iterable[Line], key: Callable[[Line], K]) -> dict[K, Tally]:
    """Add up lines by a key, the heaviest before or after first; what is written under neither is left out."""
    found: dict[K, Tally] = {}
    for line in lines:
        if line.before.is_written or line.after.is_written:
            found.setdefault(key(line), Tally()).add(line)
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
