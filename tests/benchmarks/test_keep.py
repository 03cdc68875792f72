"""The benchmark of the way to the acknowledgement measures what it says."""

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.keep import BATCH, bodies
from kubewitness.keep.receiver.body import take_apart

ROOT = Path(__file__).resolve().parent.parent.parent


def test_every_event_is_sent_once() -> None:
    """Bodies are as kube-apiserver writes them, each Event distinct, whatever number they begin with."""
    made = [take_apart(body) for body in (*bodies(3, 0), *bodies(2, 3))]
    assert all(not body.odd and len(body.events) == BATCH for body in made)
    assert len({raw for body in made for raw in body.events}) == 5 * BATCH
    assert json.loads(made[0].events[0])["level"] == "Metadata"


def test_a_short_run(tmp_path: Path) -> None:
    """It prints a row for each floor and each way, and a verdict for each target; it ends with 0 or 1."""
    command = [sys.executable, "-m", "benchmarks.keep", "--rounds", "1", "--seconds", "0.2", "--burst", "4"]
    done = subprocess.run([*command, "--place", str(tmp_path)], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode in (0, 1), done.stderr
    rows = [line.split("|")[1].strip() for line in done.stdout.splitlines() if line.startswith("| ")]
    assert rows[-4:] == ["bare split+hash+write", "nothing", "burst", "sealed"]
    verdicts = [line.split()[0] for line in done.stdout.splitlines() if line.startswith(("met", "MISS"))]
    assert len(verdicts) == 5
