"""No rule of the stages can be changed without a test that fails."""

import pytest

from tests.emit.stages.mutants import EQUIVALENT, MODULES, mutants, survivors

EVERY = 200


def test_a_few_mutants_are_noticed() -> None:
    """One in two hundred; `make soak` tries them all."""
    count, left = survivors(every=EVERY, offset=7)
    assert count >= 3
    assert [mutant.key for mutant in left] == []


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("module", MODULES)
def test_every_mutant_is_noticed(module: str) -> None:
    """All of them, module by module."""
    _, left = survivors(module, jobs=2)
    assert [mutant.key for mutant in left] == []


def test_what_is_called_equivalent_exists() -> None:
    """No entry outlives the line that it is about."""
    keys = {mutant.key for module in MODULES for mutant in mutants(module)}
    assert set(EQUIVALENT) <= keys
