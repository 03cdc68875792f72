"""Every line of the page about the attack gives over a store what it gives over the file."""

import shlex
from pathlib import Path

import pytest

from kubewitness.cli.main import main
from tests.docs.test_attack_steps import STEPS
from tests.look.query.stored import fill, index, items_of
from tools import run_docs

LOGS = ("full", *(pytest.param(log, marks=pytest.mark.soak) for log in ("security", "metadata")))
NAMES = ("full", "security", "metadata")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the recorded logs, and each in a store: a third in no file of its index."""
    directory = tmp_path_factory.mktemp("stored")
    run_docs.workplace(directory)
    for log in NAMES:
        end = fill(directory / log, "prod", items_of(directory / f"{log}.log"))
        index(directory / log, "prod", end * 2 // 3)
    return directory


@pytest.mark.parametrize("log", LOGS)
@pytest.mark.parametrize("step", STEPS)
def test_the_store_answers_as_the_file(
    step: str, log: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows and exit code are the same."""
    monkeypatch.chdir(place)
    for command in STEPS[step]:
        _, *words = shlex.split(command)
        outputs = []
        for source in (["FILE"], ["--data", "STORE"]):
            given = [w for word in words for w in (source if word == "audit.log" else [word])]
            given = [{"FILE": f"{log}.log", "STORE": log}.get(word, word) for word in given]
            outputs.append((main(given), capsys.readouterr().out))
        assert outputs[0] == outputs[1], command
