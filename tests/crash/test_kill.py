"""A real process, killed at any moment, loses nothing that it acknowledged and stores nothing twice."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.keep.store.build import opened, read

ROOT = Path(__file__).parents[2]


def run_and_kill(path: Path, rng: random.Random) -> dict[str, int]:
    """Let a writer run for a while; give what it acknowledged."""
    command = [sys.executable, "-m", "tests.crash.writer", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as writer:
        assert writer.stdout is not None
        first = writer.stdout.readline()
        time.sleep(rng.uniform(0, 0.1))
        writer.kill()
        text = first + writer.stdout.read()
    lines = text.decode().splitlines()
    return {name: int(index) for name, index in (line.split() for line in lines)}


def kills(path: Path, count: int, seed: int) -> int:
    rng = random.Random(seed)
    acknowledged: dict[str, int] = {}
    for _ in range(count):
        for name, index in run_and_kill(path, rng).items():
            assert acknowledged.setdefault(name, index) == index, f"{name} has two indexes"
    log = opened(path)
    log.close()
    lines, lost = read(path / "segments")
    assert not lost
    stored = {json.loads(line)["auditID"]: index for index, line in enumerate(lines)}
    assert len(stored) == len(lines) == log.end
    assert acknowledged.items() <= stored.items()
    return len(acknowledged)


def test_a_few_kills(tmp_path):
    """Some kills under load, each time started again without help."""
    assert kills(tmp_path, 6, 0) > 100


@pytest.mark.soak
def test_a_thousand_kills(tmp_path):
    """The same for long."""
    for round_ in range(50):
        path = tmp_path / str(round_)
        path.mkdir()
        kills(path, 20, round_)
