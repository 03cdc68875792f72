"""
Run commands in turn and measure them: wall time from exec to exit, processor time, memory, and how many results came.

`interleave` runs A B C A B C, so that a slow minute of the machine hits everyone. Nothing here knows what is measured.
"""

import os
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SAMPLE_S = 0.02
"""How often anonymous memory is looked at: reading it costs some 50 us."""


def _environment() -> dict[str, str]:
    """Ours, but byte code may be kept: else every start of a Python program compiles it again."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def count_lines(output: bytes) -> int:
    """Results, one a line."""
    return output.count(b"\n")


@dataclass(frozen=True, slots=True)
class Command:
    """A contestant: its name, the shell line a person would type, and how its output counts."""

    name: str
    line: str
    env: dict[str, str] = field(default_factory=dict)
    count: Callable[[bytes], int] = count_lines
    exit_codes: tuple[int, ...] = (0,)
    is_slow: bool = False
    """Takes so long that one run has to do; the table says how many runs there were."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one command."""

    wall_s: float
    cpu_s: float
    max_rss_mb: float
    anonymous_mb: float
    results: int


class CommandError(Exception):
    """A contestant ended with an exit code that is not its own."""


def _children() -> dict[int, list[int]]:
    tree: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                continue
            tree.setdefault(parent, []).append(int(entry.name))
    return tree


def _anonymous_kb(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    for line in status.splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1])
    return 0


def _watch_memory(pid: int, stop: threading.Event, peak_kb: list[int]) -> None:
    """Note the highest sum of anonymous memory of a process and what it started."""
    while not stop.wait(SAMPLE_S):
        tree, family = _children(), [pid]
        for member in family:
            family += tree.get(member, [])
        peak_kb[0] = max(peak_kb[0], sum(_anonymous_kb(member) for member in family))


def run(command: Command, directory: Path) -> Run:
    """Run a command once; its output is kept in the directory until the next run of its name."""
    out = directory / "output"
    peak_kb, stop = [0], threading.Event()
    with out.open("wb") as sink, (directory / "errors").open("wb") as errors:
        start = time.perf_counter()
        process = subprocess.Popen(
            ["/bin/bash", "-o", "pipefail", "-c", command.line],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=errors,
            env={**_environment(), **command.env},
        )
        watcher = threading.Thread(target=_watch_memory, args=(process.pid, stop, peak_kb))
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        stop.set()
        watcher.join()
    if process.returncode not in command.exit_codes:
        said = (directory / "errors").read_text("utf-8", "replace")[-500:]
        raise CommandError(f"{command.name} ended with {process.returncode}: {command.line}\n{said}")
    return Run(
        wall_s=wall,
        cpu_s=usage.ru_utime + usage.ru_stime,
        max_rss_mb=usage.ru_maxrss * 1024 / 1e6,
        anonymous_mb=peak_kb[0] * 1024 / 1e6,
        results=command.count(out.read_bytes()),
    )


@dataclass(frozen=True, slots=True)
class Measured:
    """All runs of one command."""

    command: Command
    runs: tuple[Run, ...]

    @property
    def wall_s(self) -> float:
        """Median wall time."""
        return statistics.median(run.wall_s for run in self.runs)

    @property
    def fastest_s(self) -> float:
        """Shortest wall time."""
        return min(run.wall_s for run in self.runs)

    @property
    def cpu_s(self) -> float:
        """Median processor time, user and system, of all its processes."""
        return statistics.median(run.cpu_s for run in self.runs)

    @property
    def max_rss_mb(self) -> float:
        """Largest resident set of any one of its processes, mapped files included."""
        return max(run.max_rss_mb for run in self.runs)

    @property
    def anonymous_mb(self) -> float:
        """Most anonymous memory of all its processes together, as sampled."""
        return max(run.anonymous_mb for run in self.runs)

    @property
    def results(self) -> frozenset[int]:
        """The numbers of results; one, if all runs agree."""
        return frozenset(run.results for run in self.runs)


def ratio(numerator: Measured, denominator: Measured) -> float:
    """Median over rounds of the ratio of wall times within one round, the fairest on a busy machine.

    Where one of them ran only once, the ratio of the medians.
    """
    if len(numerator.runs) != len(denominator.runs):
        return numerator.wall_s / denominator.wall_s
    pairs = zip(numerator.runs, denominator.runs, strict=True)
    return statistics.median(a.wall_s / b.wall_s for a, b in pairs)


def interleave(commands: Sequence[Command], rounds: int, directory: Path, say: Callable[[str], None]) -> list[Measured]:
    """Run all commands in turn, `rounds` times; the slow ones once, in the middle round."""
    runs: list[list[Run]] = [[] for _ in commands]
    for number in range(rounds):
        for place, command in enumerate(commands):
            if command.is_slow and number != rounds // 2:
                continue
            done = run(command, directory)
            runs[place].append(done)
            say(f"round {number + 1}/{rounds} {command.name}: {done.wall_s:.3f} s, {done.results} results")
    return [Measured(command, tuple(done)) for command, done in zip(commands, runs, strict=True)]


def warm(*paths: Path) -> None:
    """Read files once, so that every contestant finds them in the page cache."""
    for path in paths:
        with path.open("rb", buffering=0) as file:
            buffer = bytearray(1 << 20)
            while file.readinto(buffer):
                pass
