"""`kubewitness demo` runs from beginning to end, and shows what it promises."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from kubewitness.cli import demo
from kubewitness.cli.main import COMMANDS, main

FACTS = {
    "policy check": ("17:9", "wrong", "userGroups"),
    "policy explain": ("(line 40, RequestResponse) decides", "the command in requestURI"),
    "apiserver enable": ("+    - --audit-log-path=/var/log/kubernetes/audit/audit.log", "nothing was changed"),
    "stats": ("2,161 in 1 file", "1,847", "damage    none", "attacker"),
    "who deleted secrets/important -n production audit.log": (
        "auditor was not allowed to delete secrets production/important: 403",
        "attacker deleted secrets production/important",
        "127.0.0.1",
        "kubectl/v1.32.4",
    ),
    "search --user attacker": ("pods production/node-shell", "anon-admin", "kube-system/backdoor", "debug"),
    "search --action exec": ("/etc/shadow", "sh", "nodes/proxy node-1"),
    "top --by user --outcome denied": ("system:anonymous", "attacker"),
    "who read": ("attacker read secrets production/important", "unknown", "recorded at Metadata"),
    "top --by bytes": ("240555", "clusterroles"),
    "serve": (
        "posted 6 bodies: 2,161 Events stored, 0 known before",
        "posted the first one again: 0 stored, 400 known before",
    ),
    "who deleted secrets/important -n production --data": ("attacker deleted secrets production/important",),
    "verify --data store": ("main: sound", "2,161 read; 1 head met", "_operator: sound"),
    "verify --data edited": ("main: VIOLATED", "(event 1924)", "_operator: sound"),
}
"""What each step must print, by the beginning of its command."""


@pytest.fixture(scope="module")
def told() -> tuple[str, float]:
    """What a newcomer sees, errors included, and how many seconds it takes: of processor, whatever else runs here."""
    before = os.times()
    done = subprocess.run(
        [Path(sys.executable).with_name("kubewitness"), "demo"],
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "80", "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    after = os.times()
    used = after.children_user - before.children_user + after.children_system - before.children_system
    return done.stdout, used


def _sections(text: str) -> dict[str, str]:
    """What stands below each command."""
    parts = text.split("\n$ kubewitness ")[1:]
    return {part.split("\n")[0]: part.partition("\n")[2] for part in parts}


def test_it_takes_less_than_ten_seconds(told: tuple[str, float]) -> None:
    """It is short enough to be watched."""
    assert 0 < told[1] < 10


def test_every_command_is_shown_with_its_answer(told: tuple[str, float]) -> None:
    """Commands appear in order, as they are run, and the facts of the incident stand below each."""
    sections = _sections(told[0])
    assert list(sections) == [step.command for step in demo.STEPS]
    assert len(FACTS) == len(sections)
    for start, facts in FACTS.items():
        (answer,) = [text for command, text in sections.items() if command.startswith(start)]
        assert [fact for fact in facts if fact not in answer] == []


def test_the_text_fits_eighty_columns(told: tuple[str, float]) -> None:
    """What the demo itself says does not wrap, and neither do the tables of the commands."""
    lines = told[0].split("\n")
    own = [line for line in lines if line in demo.NEXT or re.match(r"\d+\. ", line)]
    tables = [line for line in lines if line[2:3] == ":" and line[5:6] == ":"]
    assert len(own) == len(demo.STEPS) + len(demo.NEXT)
    assert len(tables) >= 20
    assert max(map(len, (*own, *tables))) <= 80


def test_the_exec_step_counts_right(told: tuple[str, float]) -> None:
    """The step says how many of the commands a search for `create` would have missed."""
    (answer,) = [text for command, text in _sections(told[0]).items() if command.startswith("search --action exec")]
    verbs = [line.split()[2] for line in answer.split("\n") if line[2:3] == ":"]
    assert (verbs.count("get"), len(verbs)) == (6, 10)


def test_the_incident_can_be_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--keep leaves policy, log and store, and never overwrites."""
    place = tmp_path / "incident"
    assert main(["demo", "--keep", str(place)]) == 0
    assert (place / demo.POLICY).read_text("utf-8").startswith("apiVersion: audit.k8s.io/v1\n")
    assert (place / demo.LOG).read_bytes().count(b"\n") == 2161
    fixture = Path(__file__).parents[1] / "data" / "apiserver" / "kubeadm.yaml"
    assert (place / demo.NODE / "manifests" / demo.MANIFEST).read_bytes() == fixture.read_bytes()
    assert main(["verify", "--data", str(place / "store")]) == 0
    capsys.readouterr()
    assert main(["demo", "--keep", str(place)]) == 2
    assert "is there already" in capsys.readouterr().err


def test_every_step_is_a_command_of_this_program() -> None:
    """Each command can be typed by hand as it is shown."""
    assert all(shlex.split(step.command)[0] in COMMANDS for step in demo.STEPS)


@pytest.mark.parametrize(("raised", "code"), [(BrokenPipeError(), 0), (KeyboardInterrupt(), 130)])
def test_it_ends_quietly_within_a_step(
    raised: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """`kubewitness demo | head` and Ctrl-C are no step that went wrong."""

    def fail(*_: object) -> int:
        raise raised

    monkeypatch.setattr("kubewitness.cli.policy_check.run", fail)
    kept = os.dup(1)
    try:
        assert main(["demo"]) == code
    finally:
        os.dup2(kept, 1)
        os.close(kept)
    assert capfd.readouterr().err == ""
