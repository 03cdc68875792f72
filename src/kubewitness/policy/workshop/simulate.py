"""
What a log would be under another policy: every shape judged, its size at the new level told or estimated.

`simulate(traffic, new, baseline)` gives a Simulation. Without a baseline the log as recorded is what is compared with.
Sizes at the recorded level or below are known. Above it bodies are estimated (`likeness`), and so are stages that the
log lacks. What cannot even be estimated is counted as unknown: its size is then the least it can be.
"""

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from kubewitness.event.types import Level, Stage
from kubewitness.policy.evaluate import CompiledPolicy, compile_policy
from kubewitness.policy.request import is_long_running
from kubewitness.policy.shapes import Shape, Traffic
from kubewitness.policy.types import Attributes, Decision, Policy
from kubewitness.policy.workshop.likeness import (
    RECEIVED_SPREAD,
    WITH_REQUEST,
    Likeness,
    can_have_request,
    can_have_response,
)

_NOT_RECORDED = Decision(Level.NONE, frozenset(), omit_managed_fields=False, rule_index=None)
_RECORDED = {level: Decision(level, frozenset(), omit_managed_fields=False, rule_index=None) for level in Level}
_RANK = {level: level.rank for level in Level}
_LETTERS = {level: len(level.value) for level in Level}
_ENDED = (Stage.RESPONSE_COMPLETE, Stage.PANIC)


class Effect(enum.Enum):
    """What becomes of events."""

    __hash__ = object.__hash__  # members are compared by identity; Enum's own hash is written in Python

    KEPT = "kept"
    RAISED = "raised"
    LOWERED = "lowered"
    DROPPED = "dropped"
    ADDED = "added"
    NOT_WRITTEN = "not written"


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What some events are under one policy; not written: none of them. `spread` is how far `size` may be off."""

    decision: Decision
    events: int = 0
    size: float = 0
    spread: float = 0
    unknown: int = 0
    """Events whose bodies the log cannot tell; they are in `events`, and their bodies not in `size`."""

    @property
    def is_written(self) -> bool:
        """Whether these events are in the log."""
        return self.events > 0


class Line(msgspec.Struct, frozen=True, gc=False):
    """One shape before and after. `is_inferred`: a stage that the log lacks, known from the other stages."""

    shape: Shape
    before: Outcome
    after: Outcome
    is_inferred: bool = False

    @property
    def effect(self) -> Effect:
        """What the new policy does to these events."""
        if not self.before.is_written:
            return Effect.ADDED if self.after.is_written else Effect.NOT_WRITTEN
        if not self.after.is_written:
            return Effect.DROPPED
        old, new = self.before.decision.level, self.after.decision.level
        return Effect.KEPT if old is new else Effect.RAISED if _RANK[new] > _RANK[old] else Effect.LOWERED


@dataclass(frozen=True, slots=True)
class Simulation:
    """Every shape before and after."""

    traffic: Traffic
    lines: tuple[Line, ...]
    contradictions: tuple[Line, ...] = ()
    """Recorded events that the baseline would not have written like that: the log is from another policy."""
    has_baseline: bool = False

    @property
    def is_recorded_by_baseline(self) -> bool:
        """Whether every recorded event is what the baseline makes of it."""
        return self.has_baseline and not self.contradictions


class _Judge:
    """One policy, and what the log's shapes weigh under it."""

    def __init__(self, policy: Policy, likeness: Likeness) -> None:
        self._compiled: CompiledPolicy = compile_policy(policy)
        self._likeness = likeness

    def decide(self, request: Attributes) -> Decision:
        """Decide for all shapes of a request."""
        return self._compiled.decide(request)

    def outcome(self, shape: Shape, decision: Decision, spread: float = 0) -> Outcome:
        """Judge recorded events; `spread` is that of the size they have without bodies."""
        if decision.level is Level.NONE or shape.stage in decision.omit_stages:
            return Outcome(decision)
        letters = _LETTERS[decision.level] - _LETTERS[shape.level]
        size: float = shape.plain + letters * shape.events
        unknown = 0
        if decision.level is not Level.METADATA:
            for one in self._bodies(shape, decision):
                if one is None:
                    unknown = shape.events
                else:
                    size, spread = size + one[0], spread + one[1]
        return Outcome(decision, shape.events, size, spread, unknown)

    def _bodies(self, shape: Shape, decision: Decision) -> Iterator[tuple[float, float] | None]:
        """Give size and spread of each body that is written; None for one that cannot be told."""
        omits = decision.omit_managed_fields
        if decision.level in WITH_REQUEST:
            if shape.level in WITH_REQUEST:
                yield shape.request_body - (shape.request_managed if omits else 0), 0
            elif can_have_request(shape):
                guess = self._likeness.request(shape)
                yield (guess.size, guess.spread) if guess else None
        if decision.level is Level.REQUEST_RESPONSE:
            if shape.level is Level.REQUEST_RESPONSE:
                yield shape.response_body - (shape.response_managed if omits else 0), 0
            elif can_have_response(shape):
                guess = self._likeness.response(shape)
                yield (guess.size, guess.spread) if guess else None


def simulate(traffic: Traffic, new: Policy, baseline: Policy | None = None) -> Simulation:
    """Judge every shape of a log under a policy, and under the baseline or as it was recorded."""
    requests, likeness = _prepared(traffic)
    after = _Judge(new, likeness)
    before = _Judge(baseline, likeness) if baseline is not None else None
    lines: list[Line] = []
    contradictions: list[Line] = []
    for request, shapes in requests.items():
        decision = after.decide(request)
        past = before.decide(request) if before else _NOT_RECORDED
        for shape in shapes:
            old = before.outcome(shape, past) if before else as_recorded(shape)
            line = Line(shape, old, after.outcome(shape, decision))
            lines.append(line)
            if before and (not old.is_written or past.level is not shape.level):
                contradictions.append(line)
        for shape, spread in _lacking_stages(request, shapes, likeness.received_share, (past, decision)):
            old = before.outcome(shape, past, spread) if before else Outcome(past)
            lines.append(Line(shape, old, after.outcome(shape, decision, spread), is_inferred=True))
    return Simulation(traffic, tuple(lines), tuple(contradictions), baseline is not None)


_Prepared = tuple[dict[Attributes, list[Shape]], Likeness]
# the traffic asked last and what is made of it: callers ask many policies of one log
_last: tuple[Traffic, _Prepared] | None = None


def _prepared(traffic: Traffic) -> _Prepared:
    """Group shapes by their request, and learn what bodies weigh."""
    global _last  # noqa: PLW0603
    if _last is None or _last[0] is not traffic:
        requests: dict[Attributes, list[Shape]] = {}
        for shape in traffic.shapes:
            requests.setdefault(shape.request, []).append(shape)
        _last = (traffic, (requests, Likeness(requests)))
    return _last[1]


def as_recorded(shape: Shape) -> Outcome:
    """Give what the log itself says of these events; which rule decided them it does not say."""
    return Outcome(_RECORDED[shape.level], shape.events, shape.size)


def _lacking_stages(
    request: Attributes, shapes: Sequence[Shape], share: float, decisions: Sequence[Decision]
) -> Iterator[tuple[Shape, float]]:
    """Give the stages of a request that a decision writes and the log has none of, with the spread of their size.

    RequestReceived and ResponseComplete come with every request whose user is known, ResponseStarted with the
    long-running ones.
    """
    if request.user is None:
        return
    recorders = [one.omit_stages for one in decisions if one.level is not Level.NONE]
    if not recorders:
        return
    found = {shape.stage for shape in shapes}
    ends = not found.isdisjoint(_ENDED)
    lacking = [] if Stage.REQUEST_RECEIVED in found else [Stage.REQUEST_RECEIVED]
    if Stage.RESPONSE_STARTED not in found and is_long_running(request):
        lacking.append(Stage.RESPONSE_STARTED)
    lacking += [] if ends else [Stage.RESPONSE_COMPLETE]
    # the latest stage that is there tells of the others
    latest = Stage.RESPONSE_STARTED if Stage.RESPONSE_STARTED in found else Stage.REQUEST_RECEIVED
    model = _ENDED if ends else (latest,)
    is_early = model == (Stage.REQUEST_RECEIVED,)
    for stage in lacking:
        if any(stage not in omitted for omitted in recorders):
            scale = share if stage is Stage.REQUEST_RECEIVED else 1 / share if is_early else 1
            yield from (_without_bodies(shape, stage, scale) for shape in shapes if shape.stage in model)


def _without_bodies(shape: Shape, stage: Stage, share: float) -> tuple[Shape, float]:
    """Make a stage of another: as many events, with a share of its plain size."""
    size = round(shape.plain * share)
    lacking = msgspec.structs.replace(
        shape,
        stage=stage,
        # what the log never held it cannot have held bodies of
        level=min(shape.level, Level.METADATA),
        size=size,
        request_body=0,
        response_body=0,
        request_squares=0,
        response_squares=0,
        request_managed=0,
        response_managed=0,
    )
    return lacking, size * RECEIVED_SPREAD
