"""
Each system call of a process that stores and signs fails once, or is its last: nothing acknowledged is lost or doubled.

strace counts the calls that touch the store, and injects the fault. `make soak` goes through all of them.
"""

import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubewitness.cli.main import main as kubewitness
from kubewitness.keep.store.layout import DataDir, KeyDir, default_keys
from tests.crash import faulty
from tests.keep.store.build import read

ROOT = Path(__file__).parents[2]
CALLS = ("write", "fsync", "fdatasync", "rename", "openat", "ftruncate", "mkdirat", "unlinkat", "flock", "pread64")
FAULTS = ("error=EIO", "error=ENOSPC", "signal=KILL")
ALL_EVENTS = [faulty.event(n) for n in range(faulty.BATCHES * faulty.PER_BATCH)]


@pytest.fixture(scope="module")
def strace() -> str:
    """The strace program; without it the test is skipped by name, or fails where nothing may be skipped."""
    found = shutil.which("strace")
    if found is None and not os.environ.get("KUBEWITNESS_NO_SKIP"):
        pytest.skip("strace is not installed")
    assert found is not None, "strace is not installed"
    return found


def run(strace: str, path: Path, *words: str) -> tuple[int, str]:
    """Run the process under strace; give how it ended, and what it acknowledged."""
    command = [strace, "-f", "-y", "-o", str(path.with_name("trace")), *words, sys.executable, "-B"]
    done = subprocess.run(
        [*command, "-m", "tests.crash.faulty", str(path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout


@pytest.fixture(scope="module")
def places(strace, tmp_path_factory) -> list[tuple[str, int]]:
    """Each call of a whole run that touches the store: its name, and which of its name it is."""
    path = tmp_path_factory.mktemp("count") / "data"
    code, text = run(strace, path, "-e", "trace=renameat,renameat2," + ",".join(CALLS))
    assert code == 0
    assert len(text.splitlines()) == len(ALL_EVENTS)
    counts: dict[str, int] = {}
    found = []
    for line in path.with_name("trace").read_text().splitlines():
        match = re.match(r"\d+ +(\w+)\(", line)
        if match:
            name = match[1]
            counts[name] = counts.get(name, 0) + 1
            if str(path.parent) in line:
                found.append((name, counts[name]))
    assert {"write", "fdatasync", "fsync", "openat", "mkdirat", "flock"} <= {name for name, _ in found}
    assert any(name.startswith("rename") for name, _ in found)
    return found


def check(path: Path, text: str) -> None:
    """What was acknowledged is where it was said to be, once; the log verifies; nobody's help was needed."""
    promised = {int(name): int(index) for name, index in (line.split() for line in text.splitlines())}
    lines, lost = read(DataDir(path).log_path(faulty.CLUSTER) / "segments")
    assert not lost
    assert len(set(lines)) == len(lines), "stored twice"
    for name, index in promised.items():
        assert lines[index] == faulty.event(name), "lost what was acknowledged"


def survive(strace: str, go_verifier: Path, path: Path, call: str, number: int, fault: str, *more: str) -> None:
    """Let one call go wrong, then run again as if nothing had been."""
    _, text = run(strace, path, "-e", f"inject={call}:{fault}:when={number}", *more)
    if (DataDir(path).log_path(faulty.CLUSTER) / "segments").is_dir():
        check(path, text)
    else:
        assert not text
    faulty.main(path, say=lambda text: None)
    check(path, text)
    lines, _ = read(DataDir(path).log_path(faulty.CLUSTER) / "segments")
    assert sorted(lines) == sorted(ALL_EVENTS), "all were sent again, and all are there once"
    assert KeyDir(default_keys(path)).verifiers(faulty.CLUSTER)
    (keys,) = default_keys(path).glob("*.vkey")
    subprocess.run(
        [go_verifier, "-keys", str(keys), str(DataDir(path).log_path(faulty.CLUSTER))], check=True, capture_output=True
    )
    assert kubewitness(["verify", "--data", str(path), "--max-unsigned", "0"]) == 0


def sweep(strace: str, go_verifier: Path, tmp_path: Path, wanted: Iterator[tuple[tuple[str, int], str]]) -> int:
    count = 0
    for (call, number), fault in wanted:
        path = tmp_path / str(count) / "data"
        path.parent.mkdir()
        try:
            survive(strace, go_verifier, path, call, number, fault)
        except BaseException as exc:
            raise AssertionError(f"inject={call}:{fault}:when={number}: {exc}") from exc
        shutil.rmtree(path.parent)
        count += 1
    return count


def combinations(places: list[tuple[str, int]]) -> list[tuple[tuple[str, int], str]]:
    return [(place, fault) for place in places for fault in FAULTS]


def test_some_calls_that_fail_lose_nothing(strace, go_verifier, places, tmp_path, capfd):
    """A few of each kind, others in each version of this file."""
    rng = random.Random(8)
    wanted = []
    for call in dict.fromkeys(name for name, _ in places):
        mine = [one for one in combinations(places) if one[0][0] == call]
        wanted += rng.sample(mine, min(len(mine), 2))
    assert sweep(strace, go_verifier, tmp_path, iter(wanted)) >= 12


@pytest.mark.soak
@pytest.mark.parametrize("part", range(8))
def test_every_call_that_fails_loses_nothing(strace, go_verifier, places, tmp_path, capfd, part):
    """All of them, with each fault."""
    sweep(strace, go_verifier, tmp_path, iter(combinations(places)[part::8]))


def cut_fails_too(strace: str, go_verifier: Path, places: list[tuple[str, int]], tmp_path: Path, step: int) -> None:
    """Let a sync fail, and then the call that would take back what was written; or let it be the last one."""
    numbers = [number for name, number in places if name == "fdatasync"][1::step]
    cuts = 0
    for number in numbers:
        for fault in ("error=EIO", "signal=KILL"):
            path = tmp_path / f"{number}-{fault}" / "data"
            path.parent.mkdir()
            more = ("-e", f"inject=ftruncate:{fault}")
            survive(strace, go_verifier, path, "fdatasync", number, "error=EIO", *more)
            cuts += path.with_name("trace").read_text().count("ftruncate(")
    assert cuts, "no sync of a segment was among them"


def test_a_sync_that_fails_and_a_cut_that_fails_too(strace, go_verifier, places, tmp_path, capfd):
    """What a failed sync left behind is never counted, whether it can be cut off or not."""
    cut_fails_too(strace, go_verifier, places, tmp_path, 7)


@pytest.mark.soak
def test_every_sync_that_fails_and_cut_that_fails_too(strace, go_verifier, places, tmp_path, capfd):
    """The same for all of them."""
    cut_fails_too(strace, go_verifier, places, tmp_path, 1)


@pytest.mark.parametrize("call", ["write", "fdatasync"])
def test_a_disk_that_stays_broken_acknowledges_nothing(strace, places, tmp_path, capfd, call):
    """From some call on each one fails: what was acknowledged before is there, and after that nothing is promised."""
    numbers = [number for name, number in places if name == call]
    path = tmp_path / "data"
    at = numbers[len(numbers) // 2]
    _, text = run(strace, path, "-e", f"inject={call}:error=ENOSPC:when={at}+", "-P", str(tmp_path), "-P", str(path))
    check(path, text)
    faulty.main(path, say=lambda text: None)
    check(path, text)
