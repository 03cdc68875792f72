"""
The life of an audited request as one table: (state, what happened) -> (next state, the stages recorded).

`step` looks a happening up; what is not in the table cannot happen and raises. `diagram` draws the table for
docs/explanation/stages.md. What an Event of each stage holds is `record`'s affair, when things happen the caller's.

Follows k8s.io/apiserver/pkg/endpoints/filters/audit.go and authn_audit.go.
"""

import enum
from dataclasses import dataclass

from kubewitness.event.types import Stage


class State(enum.Enum):
    """Where an audited request stands."""

    # members are compared by identity; Enum's own hash, written in Python, is the dearest part of a step
    __hash__ = object.__hash__

    NEW = "New"
    SHORT = "Short"
    LONG_RUNNING = "LongRunning"
    ANSWERED = "Answered"
    STREAMING = "Streaming"
    TURNED_AWAY = "TurnedAway"
    DONE = "Done"


class Happening(enum.Enum):
    """What can happen to a request, in the words of the diagram."""

    __hash__ = object.__hash__

    RECEIVED_SHORT = "received, short"
    RECEIVED_LONG_RUNNING = "received, long-running"
    TURNED_AWAY = "refused before or by authentication"
    STORE_REFUSED = "blocking-strict: not stored"
    IMPERSONATED = "impersonation granted"
    BODY_READ = "body decoded"
    STATUS_WRITTEN = "status code written"
    RETURNED = "handler returned"
    PANICKED = "handler panicked"


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of the table."""

    to: State
    stages: tuple[Stage, ...] = ()


_RECEIVED = (Stage.REQUEST_RECEIVED,)
_STARTED = (Stage.RESPONSE_STARTED,)
_COMPLETE = (Stage.RESPONSE_COMPLETE,)
_PANIC = Step(State.DONE, (Stage.PANIC,))

TABLE: dict[tuple[State, Happening], Step] = {
    (State.NEW, Happening.RECEIVED_SHORT): Step(State.SHORT, _RECEIVED),
    (State.NEW, Happening.RECEIVED_LONG_RUNNING): Step(State.LONG_RUNNING, _RECEIVED),
    # nothing was received as far as audit is concerned: the answer is the only stage, whatever kind of request it was
    (State.NEW, Happening.TURNED_AWAY): Step(State.TURNED_AWAY),
    (State.TURNED_AWAY, Happening.STATUS_WRITTEN): Step(State.DONE, _STARTED),
    (State.SHORT, Happening.STORE_REFUSED): Step(State.DONE),
    (State.LONG_RUNNING, Happening.STORE_REFUSED): Step(State.DONE),
    (State.SHORT, Happening.IMPERSONATED): Step(State.SHORT),
    (State.SHORT, Happening.BODY_READ): Step(State.SHORT),
    (State.SHORT, Happening.STATUS_WRITTEN): Step(State.ANSWERED),
    # nothing was written: the connection closed early, recorded as 200
    (State.SHORT, Happening.RETURNED): Step(State.DONE, _COMPLETE),
    (State.SHORT, Happening.PANICKED): _PANIC,
    (State.ANSWERED, Happening.RETURNED): Step(State.DONE, _COMPLETE),
    (State.ANSWERED, Happening.PANICKED): _PANIC,
    (State.LONG_RUNNING, Happening.IMPERSONATED): Step(State.LONG_RUNNING),
    (State.LONG_RUNNING, Happening.BODY_READ): Step(State.LONG_RUNNING),
    (State.LONG_RUNNING, Happening.STATUS_WRITTEN): Step(State.STREAMING, _STARTED),
    (State.LONG_RUNNING, Happening.RETURNED): Step(State.DONE, _STARTED + _COMPLETE),
    (State.LONG_RUNNING, Happening.PANICKED): _PANIC,
    (State.STREAMING, Happening.RETURNED): Step(State.DONE, _COMPLETE),
    (State.STREAMING, Happening.PANICKED): _PANIC,
}


class LifecycleError(RuntimeError):
    """This cannot happen to a request in this state: a fault of the calling server."""


def step(state: State, happening: Happening) -> Step:
    """Give the next state and the stages to record. Raises LifecycleError."""
    found = TABLE.get((state, happening))
    if found is None:
        raise LifecycleError(f"{happening.value!r} cannot happen to a request that is {state.value}")
    return found


def diagram() -> str:
    """Draw the table as a Mermaid state diagram; what a transition records stands behind its slash."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.NEW.value}"]
    for (state, happening), found in TABLE.items():
        recorded = f" / {', '.join(stage.value for stage in found.stages)}" if found.stages else ""
        lines.append(f"    {state.value} --> {found.to.value}: {_label(happening)}{recorded}")
    lines.append(f"    {State.DONE.value} --> [*]")
    return "\n".join(lines)


def _label(happening: Happening) -> str:
    # a colon ends a label in Mermaid
    return happening.value.replace(":", ",")
