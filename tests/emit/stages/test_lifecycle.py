"""The table of the life cycle: drawn in the documentation, without dead ends."""

from pathlib import Path

import pytest

from kubewitness.emit.stages.lifecycle import TABLE, Happening, LifecycleError, State, diagram, step
from kubewitness.event.types import Stage


def test_the_documentation_shows_the_table() -> None:
    """docs/explanation/stages.md holds the diagram exactly as it is drawn from the table."""
    page = Path(__file__).parents[3] / "docs/explanation/stages.md"
    assert f"```mermaid\n{diagram()}\n```" in page.read_text()


def test_every_state_is_reached_and_left() -> None:
    """From New every state can be reached, and every state but Done leads on to Done."""
    reached = {State.NEW}
    for _ in State:
        reached |= {found.to for (state, _), found in TABLE.items() if state in reached}
    assert reached == set(State)
    ending = {State.DONE}
    for _ in State:
        ending |= {state for (state, _), found in TABLE.items() if found.to in ending}
    assert ending == set(State)


def test_every_life_records_a_last_stage_once() -> None:
    """Whatever happens, no stage comes twice, and ResponseComplete or Panic is last, unless turned away or refused."""

    def lives(state: State, seen: tuple[Stage, ...], loops: int) -> list[tuple[Happening | None, tuple[Stage, ...]]]:
        if state is State.DONE:
            return [(None, seen)]
        found: list[tuple[Happening | None, tuple[Stage, ...]]] = []
        for (at, happening), taken in TABLE.items():
            if at is state and (taken.to is not state or loops):
                ends = lives(taken.to, seen + taken.stages, loops - (taken.to is state))
                found += [(happening if end is None else end, stages) for end, stages in ends]
        return found

    for last, stages in lives(State.NEW, (), 1):
        assert len(set(stages)) == len(stages)
        if last is Happening.STORE_REFUSED:
            assert stages == (Stage.REQUEST_RECEIVED,)
        elif Stage.REQUEST_RECEIVED not in stages:
            assert stages == (Stage.RESPONSE_STARTED,)
        else:
            assert stages[-1] in (Stage.RESPONSE_COMPLETE, Stage.PANIC)


def test_what_cannot_happen_raises() -> None:
    """A second status code is a fault of the server that tells it."""
    with pytest.raises(LifecycleError, match="'status code written' cannot happen to a request that is Answered"):
        step(State.ANSWERED, Happening.STATUS_WRITTEN)
