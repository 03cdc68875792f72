"""
Print ratio tables: `python -m benchmarks [--size 1GB|100MB] [--only scan,needle,...] [--rounds N]`.

Logs are generated once into benchmarks/out; every command is a whole process from exec to exit, run in turn.
Exit code: 0 all targets met, 1 a target missed (MISS) or contestants disagree, 2 something could not be run.
"""

import argparse
import gzip
import shutil
import sys
from pathlib import Path

import zstandard

from benchmarks import questions, report
from benchmarks.generate import Profile, generate
from benchmarks.measure import CommandError, Measured, interleave, warm
from benchmarks.report import Limit

OUT = Path(__file__).resolve().parent / "out"
EVENTS = {"1GB": 525_000, "100MB": 52_500, "10MB": 5_250}
BODY_SHARE = 5
"""The log full of bodies has this many times fewer Events: they are as many times larger."""
MEMORY_MB = 600
HELP_S = 0.1


def say(text: str) -> None:
    """Tell the person waiting; the tables go to standard output alone."""
    print(text, file=sys.stderr, flush=True)


def _log(events: int, profile: Profile, name: str) -> Path:
    path = OUT / name
    if not path.exists():
        say(f"generating {path.name}")
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            file.writelines(generate(events, profile=profile, workers=2))
        part.rename(path)
    return path


def _gz(log: Path) -> Path:
    path = log.with_name(log.name + ".gz")
    if not path.exists():
        say(f"packing {path.name}")
        part = path.with_suffix(".part")
        with log.open("rb") as source, gzip.open(part, "wb", compresslevel=6) as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
        part.rename(path)
    return path


def _zst(log: Path) -> Path:
    path = log.with_name(log.name + ".zst")
    if not path.exists():
        say(f"packing {path.name}")
        part = path.with_suffix(".part")
        with log.open("rb") as source, part.open("wb") as sink:
            zstandard.ZstdCompressor(level=3).copy_stream(source, sink)
        part.rename(path)
    return path


def prepare(size: str) -> questions.Places:
    """Make the files that are not there yet."""
    OUT.mkdir(exist_ok=True)
    events = EVENTS[size]
    log = _log(events, "meta", f"meta-{size}.log")
    nothing = OUT / "no-tools"
    nothing.mkdir(exist_ok=True)
    peers = OUT / "peers" / "bin" / "python"
    return questions.Places(
        log=log,
        gz=_gz(log),
        zst=_zst(log),
        bodies=_log(events // BODY_SHARE, "body", f"body-{size}.log"),
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
        measured = interleave(question.commands, question.rounds, OUT, say)
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


def main() -> int:
    """Measure what was asked for."""
    groups = list(questions.TABLES)
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--size", choices=EVENTS, default="1GB")
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
            good = _group(group, places, args.rounds) and good
    except CommandError as error:
        print(error, file=sys.stderr)
        return 2
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
