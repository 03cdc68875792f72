"""Turn measurements into one markdown table a question, with targets judged: met, or MISS."""

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from benchmarks.measure import Measured, ratio


@dataclass(frozen=True, slots=True)
class Target:
    """What must hold between two contestants: `subject` takes at most `at_most` times what `peer` takes."""

    subject: str
    peer: str
    at_most: float

    def text(self) -> str:
        """As a person would say it."""
        if self.at_most < 1:
            return f">= {1 / self.at_most:g}x faster than {self.peer}"
        return f"<= {self.at_most:g}x the time of {self.peer}"


@dataclass(frozen=True, slots=True)
class Limit:
    """What must hold for one number of our own."""

    what: str
    value: float
    bound: float
    unit: str
    is_ceiling: bool = True

    @property
    def is_met(self) -> bool:
        """Whether the number is on the right side of the bound."""
        return self.value <= self.bound if self.is_ceiling else self.value >= self.bound

    def row(self) -> str:
        """One table row."""
        sign = "<=" if self.is_ceiling else ">="
        asked = f"{sign} {self.bound:,.4g} {self.unit}"
        return f"| {_cell(self.what)} | {self.value:,.4g} {self.unit} | {asked} | {verdict(self.is_met)} |"


def _cell(text: str) -> str:
    """Keep a bar in a command from ending the cell."""
    return text.replace("|", "\\|")


def verdict(is_met: bool) -> str:
    """The word that stands in the table."""
    return "met" if is_met else "MISS"


@dataclass(frozen=True, slots=True)
class Judged:
    """A target with the ratio measured."""

    target: Target
    times: float

    @property
    def is_met(self) -> bool:
        """Whether the ratio is within the target."""
        return self.times <= self.target.at_most

    def row(self) -> str:
        """One table row."""
        shown = f"{1 / self.times:.1f}x faster" if self.target.at_most < 1 else f"{self.times:.2f}x the time"
        subject, asked = _cell(self.target.subject), _cell(self.target.text())
        return f"| {subject} | {shown} | {asked} | {verdict(self.is_met)} |"


def judge(targets: Sequence[Target], measured: Sequence[Measured]) -> list[Judged]:
    """Measure each target whose two contestants ran."""
    named = {entry.command.name: entry for entry in measured}
    return [
        Judged(target, ratio(named[target.subject], named[target.peer]))
        for target in targets
        if target.subject in named and target.peer in named
    ]


def agree(measured: Sequence[Measured]) -> bool:
    """Whether every run of every contestant gave the same number of results."""
    return len(frozenset().union(*(entry.results for entry in measured))) <= 1


def table(measured: Sequence[Measured]) -> str:
    """Contestants with results, times and memory; ratios are to the first one."""
    lines = [
        "| contestant | runs | results | s (median) | s (min) | cpu s | ratio | max RSS MB | anonymous MB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for entry in measured:
        results = " or ".join(f"{number:,}" for number in sorted(entry.results))
        lines.append(
            f"| {_cell(entry.command.name)} | {len(entry.runs)} | {results} "
            f"| {entry.wall_s:.3f} | {entry.fastest_s:.3f} | {entry.cpu_s:.2f} "
            f"| {ratio(entry, measured[0]):.2f}x | {entry.max_rss_mb:.0f} | {entry.anonymous_mb:.0f} |"
        )
    return "\n".join(lines) + "\n"


def limits_table(limits: Sequence[Limit]) -> str:
    """Our own numbers against their bounds."""
    return "\n".join(["| what | measured | asked | |", "|---|---|---|---|", *(limit.row() for limit in limits)]) + "\n"


def judged_table(judged: Sequence[Judged]) -> str:
    """Ratios against their targets."""
    return (
        "\n".join(["| contestant | measured | asked | |", "|---|---|---|---|", *(one.row() for one in judged)]) + "\n"
    )


def _first_line(*command: str) -> str:
    if not shutil.which(command[0]):
        return f"no {command[0]}"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip().split("\n")[0]


def header(log: Path, packages: Sequence[str]) -> str:
    """The machine, the versions, the data."""
    cpu = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    cores = len(os.sched_getaffinity(0))
    memory_gb = int(Path("/proc/meminfo").read_text().split()[1]) * 1024 / 1e9
    tools = [_first_line("jq", "--version"), _first_line("gojq", "--version").split(" (")[0]]
    tools += [_first_line("rg", "--version").split(" (")[0], _first_line("zstd", "--version").strip("* ")]
    libraries = [f"{name} {metadata.version(name)}" for name in packages]
    return (
        f"- machine: {cores} cores ({cpu}), {memory_gb:.0f} GB, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}\n"
        f"- tools: {', '.join(tools)}\n"
        f"- libraries: {', '.join(libraries)}\n"
        f"- log: {log.name}, {log.stat().st_size / 1e9:.3f} GB, in the page cache\n"
    )
