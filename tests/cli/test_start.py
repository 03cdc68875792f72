"""What a start loads: a question that a few lines answer waits for nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

from kubewitness.cli import ahead, held, start
from kubewitness.cli.render.terminal import terminal_width
from tests.event.damage import event

PROGRAM = """
import atexit, sys
from kubewitness.cli import start
atexit.register(lambda: print(*sys.modules, file=sys.stderr))
start.main()
"""
HEAVY = frozenset({
    "dataclasses", "difflib", "duckdb", "hmac", "inspect", "ipaddress", "locale", "pathlib", "random", "secrets",
    "shutil", "subprocess", "threading", "typing_extensions", "urllib.parse", "yaml",
    "kubewitness.look.query.relation", "kubewitness.look.query.run", "kubewitness.look.query.scan",
    "kubewitness.look.query.sql", "kubewitness.event.split", "kubewitness.event.decode_repair",
})  # fmt: skip
"""What costs milliseconds; loaded by others for what they need."""


def test_a_needle_loads_neither_the_engine_nor_what_it_does_not_need(tmp_path: Path) -> None:
    """Nor are threads or another program's process made for it; and the process ends with what it was asked for."""
    log = tmp_path / "audit.log"
    rare = event(7, user={"username": "mallory"}, requestReceivedTimestamp="2026-03-01T00:00:00.000000Z")
    log.write_text(f"{rare}\n" + f"{event(1)}\n" * (34_000_000 // len(event(1))))
    command = ["search", "--user", "mallory", "--columns", "user.username,requestReceivedTimestamp", "-o", "csv"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *command, str(log)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "user.username,requestReceivedTimestamp\nmallory,2026-03-01T00:00:00.000000Z\n"
    loaded = set(done.stderr.split())
    assert "kubewitness.look.query.find" in loaded, "the test looks at the wrong thing"
    assert not loaded & HEAVY


def test_ctrl_c_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends as it does later: no traceback."""

    def interrupted(words: list[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ahead, "begin", interrupted)
    try:
        assert start.main() == 130
    finally:
        held.release()  # else the commands that later tests start could not be interrupted


LATE = """
import os, signal, sys
from kubewitness.cli import held, main, start
parser_of = main.parser_of
def interrupted(name):
    os.kill(os.getpid(), signal.SIGINT)
    print("goes on", flush=True)
    return parser_of(name)
main.parser_of = interrupted
sys.exit(start.main())
"""


def test_ctrl_c_while_modules_load_waits_for_the_command(tmp_path: Path) -> None:
    """Nothing is interrupted half made; the command is, before it does anything."""
    log = tmp_path / "audit.log"
    log.write_text(event(1) + "\n")
    done = subprocess.run([sys.executable, "-c", LATE, "search", str(log)], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "goes on\n", "")


@pytest.mark.parametrize(("columns", "width"), [("132", 132), ("0", 80), ("-5", 80), ("x", 80), ("", 80)])
def test_columns_say_how_wide_a_terminal_is(columns: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where they say it, and there is no terminal to ask."""
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(sys, "__stdout__", None)
    assert terminal_width() == width
