"""The page about the attack finds every labelled request of every recorded log."""

import csv
import io
import json
import re
import shlex
from pathlib import Path

import pytest

from kubewitness.cli.main import main
from tools import run_docs

PAGE = run_docs.ROOT / "docs" / "how-to" / "attack-steps.md"
LOGS = ("full", "security", "metadata")


def _labels(log: str) -> dict[str, set[str]]:
    """The auditIDs of each step in this log."""
    out: dict[str, set[str]] = {}
    for label in json.loads((run_docs.DATA / f"{log}.attack-labels.json").read_text("utf-8")):
        out.setdefault(label["step"], set()).add(label["auditID"])
    return out


def _lines() -> dict[str, list[str]]:
    """The commands the page gives for each step."""
    sections = re.split(r"^## ", PAGE.read_text("utf-8"), flags=re.MULTILINE)[1:]
    return {section.split("\n")[0]: [command.text for command in run_docs.commands(section)] for section in sections}


STEPS = _lines()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the recorded logs."""
    directory = tmp_path_factory.mktemp("attack")
    run_docs.workplace(directory)
    return directory


def test_every_step_has_its_section() -> None:
    """The page names the 25 steps of the labels, and no other."""
    assert set(STEPS) == set(_labels("full"))
    assert len(STEPS) == 25


def test_the_labels_are_all_there() -> None:
    """The page's figures: the security policy does not record /version, so one request is missing there."""
    assert [len(set().union(*_labels(log).values())) for log in LOGS] == [89, 88, 89]


@pytest.mark.parametrize("log", LOGS)
@pytest.mark.parametrize("step", STEPS)
def test_the_line_finds_the_step(
    step: str, log: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first line of the section finds every labelled request of the step, at any level of recording."""
    program, *words = shlex.split(STEPS[step][0].replace("audit.log", f"{log}.log"))
    assert program == "kubewitness"
    monkeypatch.chdir(place)
    columns = ["--columns", "auditID"] if words[0] == "search" else []
    code = main([*words, *columns, "-o", "csv"])
    assert code in (0, 4)
    found = {row["auditID"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    assert _labels(log).get(step, set()) <= found
