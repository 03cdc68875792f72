"""
What a difference of two policies means for recorded traffic: how many requests of a log change, and which.

`weigh(traffic, old, new)` gives a Weight for each pair of rules, as `prove.diff` tells its classes apart; `sentence`
says one in the words of whoever reads the log.
"""

from collections import Counter
from dataclasses import dataclass, field

from kubewitness.event.types import Level, Stage
from kubewitness.policy.prove.diff import written
from kubewitness.policy.shapes import Traffic
from kubewitness.policy.types import Attributes, Decision, Policy
from kubewitness.policy.workshop.simulate import Simulation, simulate
from kubewitness.policy.workshop.tally import resource_of

Pair = tuple[int | None, int | None]


@dataclass(slots=True)
class Weight:
    """Requests of a log that two rules decide: how many, and of what kind. `size` is how many bytes more they take."""

    requests: int = 0
    size: float = 0
    kinds: Counter[str] = field(default_factory=Counter)

    def top(self, most: int = 3) -> list[tuple[str, int]]:
        """Give the most frequent kinds."""
        return self.kinds.most_common(most)


def weigh(traffic: Traffic, old: Policy, new: Policy) -> tuple[dict[Pair, Weight], Simulation]:
    """Count the requests of a log by the rule that decides them before and after."""
    simulation = simulate(traffic, new, old)
    found: dict[Pair, Weight] = {}
    stages: dict[Attributes, set[Stage]] = {}
    for shape in traffic.shapes:
        stages.setdefault(shape.request, set()).add(shape.stage)
    for line in simulation.lines:
        one = found.setdefault((line.before.decision.rule_index, line.after.decision.rule_index), Weight())
        one.size += line.after.size - line.before.size
        request = line.shape.request
        if not line.is_inferred and line.shape.stage in _last(stages[request]):
            one.requests += line.shape.events
            one.kinds[f"{request.verb or '-'} {resource_of(line)}"] += line.shape.events
    return found, simulation


def _last(stages: set[Stage]) -> set[Stage]:
    """Give the stages that stand for a request: those that end it, or else the last that the log has."""
    for last in ({Stage.RESPONSE_COMPLETE, Stage.PANIC}, {Stage.RESPONSE_STARTED}):
        if not stages.isdisjoint(last):
            return last
    return {Stage.REQUEST_RECEIVED}


def sentence(before: Decision, after: Decision) -> str:
    """Say what a change does to the requests it is about: a phrase that their number follows."""
    old, new = written(before), written(after)
    if new.level is Level.NONE:
        return "you will stop seeing"
    if old.level is Level.NONE:
        return "you will see for the first time"
    if new.level < old.level:
        return "you will lose bodies of"
    if new.level > old.level:
        return "you will have bodies of"
    if new.omit_stages != old.omit_stages:
        more = new.omit_stages - old.omit_stages
        names = ", ".join(stage.value for stage in sorted(more or old.omit_stages - new.omit_stages))
        return f"you will {'not see' if more else 'see'} {names} of"
    return f"managed fields will be {'left out' if new.omit_managed_fields else 'recorded'} of"
