"""
Print ratio tables: `python -m benchmarks [--size 1GB|100MB] [--only scan,needle,...] [--rounds N]`.

Logs are generated once into benchmarks/out; every command is a whole process from exec to exit, run in turn.
Exit code: 0 all targets met, 1 a target missed (MISS) or contestants disagree, 2 something could not be run.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks import data, questions, report
from benchmarks.measure import CommandError, Measured, interleave, warm
from benchmarks.report import Limit

MEMORY_MB = 600
HELP_S = 0.1
POLICY = "policy"


def say(text: str) -> None:
    """Tell the person waiting; the tables go to standard output alone."""
    print(text, file=sys.stderr, flush=True)


def prepare(size: str) -> questions.Places:
    """Have the files made that are not there yet, and say where everything is."""
    subprocess.run([sys.executable, "-m", "benchmarks.data", size], check=True, cwd=data.OUT.parent.parent)
    nothing = data.OUT / "no-tools"
    nothing.mkdir(exist_ok=True)
    peers = data.OUT / "peers" / "bin" / "python"
    log = data.log_of(size)
    return questions.Places(
        log=log,
        copy=data.in_large_pieces(log),
        gz=data.packed(log, ".gz"),
        zst=data.packed(log, ".zst"),
        bodies=data.bodies_of(size),
        ours=Path(sys.executable).with_name("kubewitness"),
        peers_python=peers if peers.exists() else Path(sys.executable),
        without_rg=str(nothing),
    )


def limits(group: str, measured: list[Measured]) -> list[Limit]:
    """What our own numbers must stay under, whatever the peers do."""
    ours = [entry for entry in measured if entry.command.name.startswith(questions.OURS)]
    if group == "startup":
        return [Limit("--help", entry.wall_s, HELP_S, "s") for entry in ours if "--help" in entry.command.name]
    return [Limit(f"{entry.command.name}, anonymous memory", entry.anonymous_mb, MEMORY_MB, "MB") for entry in ours]


def _group(group: str, places: questions.Places, rounds: int) -> bool:
    """Measure and print the tables of one group; whether all is as asked."""
    good = True
    for question in questions.TABLES[group](places, rounds):
        print(f"\n### {question.text}\n", flush=True)
        measured = interleave(question.commands, question.rounds, data.OUT, say)
        print(report.table(measured), flush=True)
        if not report.agree(measured):
            print("The contestants disagree: MISS\n")
            good = False
        judged = report.judge(question.targets, measured)
        if judged:
            print(report.judged_table(judged))
        bounds = limits(group, measured)
        if bounds:
            print(report.limits_table(bounds), flush=True)
        good = good and all(one.is_met for one in judged) and all(one.is_met for one in bounds)
    return good


def _policy() -> bool:
    """Measure decisions a second in a process of their own; whether they are as many as asked."""
    print(flush=True)
    return (
        subprocess.run([sys.executable, "-m", "benchmarks.library"], check=False, cwd=data.OUT.parent.parent).returncode
        == 0
    )


def main() -> int:
    """Measure what was asked for."""
    groups = [*questions.TABLES, POLICY]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--size", choices=data.EVENTS, default="1GB")
    parser.add_argument("--only", default=",".join(groups), metavar="GROUPS", help=", ".join(groups))
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    wanted = args.only.split(",")
    if unknown := set(wanted) - set(groups):
        parser.error(f"--only {','.join(sorted(unknown))}: there are {', '.join(groups)}")
    places = prepare(args.size)
    packages = ["kubewitness", "duckdb", "msgspec", "zstandard", "isal"]
    print(report.header(places.log, packages), flush=True)
    warm(places.log, places.gz, places.zst, places.bodies)
    good = True
    try:
        for group in wanted:
            good = (_policy() if group == POLICY else _group(group, places, args.rounds)) and good
    except CommandError as error:
        print(error, file=sys.stderr)
        return 2
    print("All targets are met." if good else "A target is missed: see MISS above.")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
