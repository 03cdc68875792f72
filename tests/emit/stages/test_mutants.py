"""No rule of the stages can be changed without a test that fails."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.emit.stages.mutants import EQUIVALENT, MODULES, mutants

ROOT = Path(__file__).parents[3]


def tried(*words: str) -> str:
    """Try mutants in a process of their own: this one has loaded tests and rules already, and would run those."""
    command = [sys.executable, "-m", "tests.emit.stages.mutants", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert not done.stderr, done.stderr
    return done.stdout


def test_a_few_mutants_are_noticed() -> None:
    """One in two hundred; `make soak` tries them all."""
    assert tried("--every", "200", "--offset", "7") == "4 mutants, 0 not noticed\n"


@pytest.mark.soak
@pytest.mark.parametrize("module", MODULES)
def test_every_mutant_is_noticed(module: str) -> None:
    """All of them, module by module."""
    assert tried("--only", module, "--jobs", "2").endswith("mutants, 0 not noticed\n")


def test_what_is_called_equivalent_exists() -> None:
    """No entry outlives the line that it is about."""
    keys = {mutant.key for module in MODULES for mutant in mutants(module)}
    assert set(EQUIVALENT) <= keys
