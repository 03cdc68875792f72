"""Tailing a live log into a store: whole, once, over restarts and kills, beside what the webhook brought."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kubewitness.assembly.tailing import Tailing
from kubewitness.cli.main import main
from kubewitness.event import logfiles
from kubewitness.keep.store.layout import DataDir, KeyDir, default_keys
from tests.assembly.serving import recorded_items
from tests.assembly.test_importing import _stored
from tests.look.query.stored import items_of
from tools.run_docs import workplace

PROGRAM = [sys.executable, "-c", "import sys; from kubewitness.cli.main import main; sys.exit(main())"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recorded logs as plain files."""
    place = tmp_path_factory.mktemp("recorded")
    workplace(place)
    return place


def _once(data: Path, log: Path, alerts: list[str]) -> int:
    return Tailing(DataDir(data), KeyDir(default_keys(data)), "prod", log, alerts.append).run(is_once=True)


def test_it_goes_on_where_it_was(recorded: Path, tmp_path: Path) -> None:
    """A cut in the middle of a line, a rotation and a restart: all Events, in order, once."""
    whole = (recorded / "metadata.log").read_bytes()
    log, data, alerts = tmp_path / "audit.log", tmp_path / "data", []
    log.write_bytes(whole[:700_123])
    first = _once(data, log, alerts)
    with log.open("ab") as file:
        file.write(whole[700_123:1_200_000])
    log.rename(tmp_path / logfiles.format_name("audit.log", time.time_ns() // 1000))
    cut = whole.rfind(b"\n", 0, 1_200_000) + 1
    with next(tmp_path.glob("audit-*.log")).open("r+b") as file:
        file.truncate(cut)
    log.write_bytes(whole[cut:])
    second = _once(data, log, alerts)
    assert [raw for raw, _ in _stored(data)] == items_of(recorded / "metadata.log")
    assert first + second == 2380
    assert {source for _, source in _stored(data)} == {f"tail:{log}"}
    assert alerts == []
    assert _once(data, log, alerts) == 0


def test_both_doors(recorded: Path, tmp_path: Path) -> None:
    """What the webhook's bodies brought is not stored again; the sources are both noted."""
    (tmp_path / "bodies.json").write_bytes(b'{"kind":"EventList","items":[' + b",".join(recorded_items()) + b"]}")
    data, log = tmp_path / "data", tmp_path / "audit.log"
    assert main(["import", "--data", str(data), "--cluster", "prod", str(tmp_path / "bodies.json")]) == 0
    log.write_bytes((recorded / "full.log").read_bytes())
    assert _once(data, log, []) == 27
    assert len(_stored(data)) == 4842
    assert main(["verify", "--data", str(data)]) == 0


def test_killed_in_the_middle(tmp_path: Path) -> None:
    """Kill -9 while the file grows; then all lines are there once, sealed, and the index answers."""
    line = b'{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"%d","stage":"Panic","level":"Metadata"}\n'
    data, log = tmp_path / "data", tmp_path / "audit.log"
    words = ["tail", "--data", str(data), "--cluster", "prod", str(log)]
    number = 0
    with log.open("ab", buffering=0) as file:
        for pause in (1.2, 1.5):
            with subprocess.Popen([*PROGRAM, *words], stdout=subprocess.PIPE) as process:
                deadline = time.monotonic() + pause
                while time.monotonic() < deadline:
                    file.write(b"".join(line % n for n in range(number, number + 50)))
                    number += 50
                    time.sleep(0.01)
                process.kill()
    done = subprocess.run([*PROGRAM, *words, "--once"], capture_output=True, check=True)
    assert done.stderr == b""
    ids = [json.loads(raw)["auditID"] for raw, _ in _stored(data)]
    assert sorted(map(int, ids)) == list(range(number))
    assert main(["verify", "--data", str(data)]) == 0


def test_stopped_politely(tmp_path: Path) -> None:
    """SIGTERM: what was read lasts, and the command says how much."""
    line = b'{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"%d","stage":"Panic","level":"Metadata"}\n'
    data, log = tmp_path / "data", tmp_path / "audit.log"
    log.write_bytes(line % 1 + b"alien\n" + line % 2)
    words = ["tail", "--data", str(data), "--cluster", "prod", str(log)]
    with subprocess.Popen([*PROGRAM, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 30
        while not list(tmp_path.rglob("doors/*.json")) and time.monotonic() < deadline:
            time.sleep(0.05)
        log.unlink()
        time.sleep(0.6)
        os.kill(process.pid, signal.SIGTERM)
        out, err = process.communicate()
    assert process.returncode == 4, err
    assert out == b"2 events stored\n"
    assert b"line 2, byte 97: no event" in err
    assert list(tmp_path.rglob("quarantine/*.kept"))


def test_what_must_be_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A directory is no log file."""
    assert main(["tail", "--data", str(tmp_path / "d"), "--cluster", "prod", str(tmp_path)]) == 2
    assert "name the log file" in capsys.readouterr().err


def test_once_over_a_file_that_was_never_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is mistyped is no empty log; one that has only been rotated is a log."""
    words = ["tail", "--data", str(tmp_path / "data"), "--cluster", "prod", "--once"]
    assert main([*words, str(tmp_path / "audti.log")]) == 2
    assert "there is no such file, nor a rotated one" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()
    (tmp_path / "audit-2026-03-01T00-00-00.000.log").write_bytes(b"")
    assert main([*words, str(tmp_path / "audit.log")]) == 0
