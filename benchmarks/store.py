"""
Print tables about stores: `python -m benchmarks.store [--events 1000000] [--rounds 5]`.

A log of that many Events is generated and imported once, into benchmarks/out; then whole processes answer questions
over the store and over the raw file, in turn. Exit code: 0 all targets met, 1 a target missed, 2 something failed.
"""

import argparse
import json
import resource
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks import data, questions, report
from benchmarks.generate import generate
from benchmarks.measure import Command, CommandError, interleave, warm
from benchmarks.report import Limit, Target

OURS = "kubewitness, store"
IMPORT_PER_S, IMPORT_MB = 40_000, 1_500
SEGMENTS, INDEX, PROOF_BYTES = 1.2, 0.7, 70
NEEDLE_S = 0.3
AGGREGATE = "SELECT username, verb, resource, count(*) AS n FROM events GROUP BY ALL ORDER BY n DESC"


def say(text: str) -> None:
    """Tell the person waiting; the tables go to standard output alone."""
    print(text, file=sys.stderr, flush=True)


def log_of(events: int) -> Path:
    """The raw log, generated if it is not there."""
    path = data.OUT / f"store-{events}.log"
    if not path.exists():
        say(f"generating {path.name}")
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            file.writelines(generate(events, workers=2))
        part.rename(path)
    return path


def _cpu_of_children() -> float:
    """Processor seconds of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def store_of(log: Path) -> tuple[Path, dict[str, object]]:
    """The store of a log, imported if it is not there, and what its import said."""
    place, said = log.with_suffix(".store"), log.with_suffix(".import.json")
    if not said.exists():
        shutil.rmtree(place, ignore_errors=True)
        say(f"importing {log.name}")
        ours = Path(sys.executable).with_name("kubewitness")
        before = _cpu_of_children()
        command = [str(ours), "import", "--data", str(place), "--cluster", "bench", "-o", "json", str(log)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        facts = json.loads(done.stdout)
        largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        facts |= {"rssMB": largest * 1024 / 1e6, "cpu": _cpu_of_children() - before}
        said.write_text(json.dumps(facts))
    return place, json.loads(said.read_text())


def size_of(place: Path) -> int:
    """Bytes of all files below."""
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file())


def packed_size(log: Path) -> int:
    """What `zstd -3` makes of the log."""
    note = log.with_suffix(".zstd3")
    if not note.exists():
        say("packing the raw log for comparison")
        packer = subprocess.Popen(["zstd", "-3", "-q", "-T2", "-c", log], stdout=subprocess.PIPE)
        assert packer.stdout is not None
        total = 0
        while chunk := packer.stdout.read(1 << 20):
            total += len(chunk)
        packer.wait()
        note.write_text(str(total))
    return int(note.read_text())


def kept(log: Path, place: Path, facts: dict[str, object]) -> list[Limit]:
    """What importing took, and what the store takes."""
    [of_cluster] = [path for path in (place / "logs").iterdir() if b'"bench"' in (path / "cluster.json").read_bytes()]
    events, seconds = int(str(facts["events"])), dict(facts["seconds"])  # type: ignore[call-overload]
    raw = packed_size(log)
    return [
        Limit("stored, synced", events / seconds["store"], IMPORT_PER_S, "events/s", is_ceiling=False),
        Limit("import, largest resident set", float(str(facts["rssMB"])), IMPORT_MB, "MB"),
        Limit("segments against zstd -3", size_of(of_cluster / "segments") / raw, SEGMENTS, "x"),
        Limit("index against zstd -3", size_of(of_cluster / "index") / raw, INDEX, "x"),
        Limit("tiles", size_of(of_cluster / "tiles") / events, PROOF_BYTES, "bytes/event"),
    ]


def whole(facts: dict[str, object]) -> str:
    """What importing took until tree and index were whole, too: figures without a target of their own."""
    events, seconds = int(str(facts["events"])), dict(facts["seconds"])  # type: ignore[call-overload]
    rate, each = events / sum(seconds.values()), float(str(facts["cpu"])) / events * 1e6
    return f"Stored, sealed and indexed: {rate:,.0f} events/s, {each:.0f} us of processor time an event."


def _rows(output: bytes) -> int:
    return output.count(b"\n") - 1


def needle(log: Path, place: Path, rounds: int) -> questions.Question:
    """One request among all, by a fresh process."""
    ours = Path(sys.executable).with_name("kubewitness")
    commands = [
        Command(OURS, f"{ours} {questions.OUR_NEEDLE} --data {place}", count=_rows),
        Command("rg | jq", f"rg -F '\"important\"' {log} | jq -r {shlex.quote(questions.NEEDLE_JQ)}"),
    ]
    return questions.Question(
        "needle",
        "who deleted secrets/important in production",
        tuple(commands),
        (Target(OURS, "rg | jq", 1 / 4),),
        rounds,
    )


def aggregate(log: Path, place: Path, rounds: int) -> questions.Question:
    """All Events by user, verb and resource."""
    ours = Path(sys.executable).with_name("kubewitness")
    raw = (
        "import duckdb; c = duckdb.connect(); c.execute('PRAGMA disable_progress_bar'); "
        'print(len(c.execute("SELECT user.username, verb, objectRef.resource, count(*) FROM read_ndjson('
        f"'{log}', columns={{'user': 'STRUCT(username VARCHAR)', 'verb': 'VARCHAR', "
        "'objectRef': 'STRUCT(resource VARCHAR)'}) GROUP BY ALL\").fetchall()))"
    )
    commands = [
        Command(
            OURS, f"{ours} sql {shlex.quote(AGGREGATE)} -o csv --data {place}", count=lambda out: out.count(b"\n") - 1
        ),
        Command("DuckDB, raw", f"{sys.executable} -c {shlex.quote(raw)}", count=int),
    ]
    return questions.Question(
        "aggregate",
        "events by user, verb and resource",
        tuple(commands),
        (Target(OURS, "DuckDB, raw", 1 / 15),),
        rounds,
    )


def main() -> int:
    """Generate, import, ask."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    data.OUT.mkdir(exist_ok=True)
    log = log_of(args.events)
    place, facts = store_of(log)
    print(report.header(log, ["kubewitness", "duckdb", "msgspec", "zstandard"]), flush=True)
    limits = kept(log, place, facts)
    print(f"\n### what is kept, {args.events:,} events\n\n{report.limits_table(limits)}\n{whole(facts)}", flush=True)
    warm(log, *(path for path in place.rglob("*.parquet")))
    good = all(one.is_met for one in limits)
    try:
        for question in (needle(log, place, args.rounds), aggregate(log, place, max(args.rounds // 2, 2))):
            print(f"\n### {question.text}\n", flush=True)
            measured = interleave(question.commands, question.rounds, data.OUT, say)
            judged = report.judge(question.targets, measured)
            print(f"{report.table(measured)}\n{report.judged_table(judged)}", flush=True)
            good = good and all(one.is_met for one in judged) and report.agree(measured)
            if question.name == "needle":
                fresh = Limit("a fresh process, median", measured[0].wall_s, NEEDLE_S, "s")
                print(report.limits_table([fresh]), flush=True)
                good = good and fresh.is_met
    except CommandError as error:
        print(error, file=sys.stderr)
        return 2
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
