"""
How fast a policy is simulated: over a Parquet file with the columns of a store's index, and over a raw log.

`python -m benchmarks.simulate` counts a generated log under benchmarks/policy.yaml. Parquet is timed in this process,
from the SELECT to the last sum; the raw log as whole commands, beside `top --stages all`, which parses the same file.
Exit code: 0 both bounds met, 1 a bound missed or the two ways count differently.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from benchmarks.generate import generate
from benchmarks.measure import Command, interleave
from benchmarks.report import Limit, limits_table
from kubewitness.look.query.relation import WIRE_PATHS, Key, Relation
from kubewitness.look.query.relation_names import COLUMNS
from kubewitness.look.query.shape_sql import shape_sql, traffic_of, weights_of
from kubewitness.policy.load import load
from kubewitness.policy.shapes import interest_of
from kubewitness.policy.types import Policy
from kubewitness.policy.workshop.simulate import simulate
from kubewitness.policy.workshop.tally import Tally, resource_of, rule_of, tallies, user_of

POLICY = Path(__file__).with_name("policy.yaml")
EVENTS = 100_000
COPIES = 40
"""How often the Events stand in the Parquet file."""
PARQUET_PER_S = 2_000_000
OF_SCAN = 3.2
"""Processor time of `policy simulate` over that of `top`, which parses the same bytes for fewer members."""
ROUNDS = 3


def parquet(log: Path, table: Path, copies: int) -> None:
    """Write the columns of a store's index, each Event so many times."""
    relation = Relation({}, "0" * 32)
    columns = ", ".join(f'"{column}"' for column in COLUMNS)
    with duckdb.connect() as connection:
        rows = relation.select(WIRE_PATHS, COLUMNS, str(log), key=Key.NONE)
        connection.execute(
            f"COPY (SELECT {columns} FROM ({rows}) ORDER BY resource, verb, username) TO '{table}.one.parquet' "
            "(FORMAT parquet, COMPRESSION zstd)"
        )
        connection.execute(
            f"COPY (SELECT t.* FROM '{table}.one.parquet' t, range({copies})) TO '{table}' "
            "(FORMAT parquet, COMPRESSION zstd)"
        )


def over_parquet(table: Path, policy: Policy) -> tuple[Tally, float, float]:
    """Simulate over a Parquet file: what comes out, and how many seconds and seconds of processor time it takes."""
    interest = interest_of([policy])
    weights = ", ".join(f"{stored} AS {name}" for name, (_, stored) in weights_of(interest).items())
    times, used = [], []
    total = Tally()
    with duckdb.connect() as connection:
        connection.execute(f"CREATE VIEW events AS SELECT *, {weights} FROM '{table}'")
        for _ in range(ROUNDS):
            start, begun = time.perf_counter(), time.process_time()
            traffic = traffic_of(connection.execute(shape_sql(interest, is_store=True)).fetchall(), interest)
            lines = simulate(traffic, policy).lines
            total, _ = tallies(lines, (rule_of, user_of, resource_of))
            times.append(time.perf_counter() - start)
            used.append(time.process_time() - begun)
    return total, min(times), statistics.median(used)


def main() -> int:
    """Print both tables."""
    policy = load(POLICY.read_text("utf-8"))
    with tempfile.TemporaryDirectory() as name:
        log, table = Path(name) / "audit.log", Path(name) / "audit.parquet"
        log.write_bytes(b"".join(generate(EVENTS, workers=1)))
        parquet(log, table, COPIES)
        total, seconds, cpu_s = over_parquet(table, policy)
        ours = Path(sys.executable).with_name("kubewitness")
        commands = [
            Command("top", f"{ours} top --stages all --by user,verb,resource {log}"),
            Command("policy simulate", f"{ours} policy simulate {POLICY} {log}", exit_codes=(0, 4)),
        ]
        size_mb = log.stat().st_size / 1e6
        top, simulated = interleave(commands, ROUNDS, Path(name), lambda _: None)
    print(f"### A policy of {len(policy.rules)} rules\n")
    limits = [
        Limit("over Parquet, 2 threads", EVENTS * COPIES / seconds, PARQUET_PER_S, "Events/s", is_ceiling=False),
        Limit("over a raw log, processor time against `top`", simulated.cpu_s / top.cpu_s, OF_SCAN, "x"),
    ]
    print(limits_table(limits))
    print(f"Over Parquet, processor time of all threads: {1e6 * cpu_s / (EVENTS * COPIES):.2f} s a million Events")
    speeds = [size_mb / one.fastest_s for one in (simulated, top)]
    print(f"A raw log of {size_mb:.0f} MB, from exec to exit: {speeds[0]:.0f} MB/s, top {speeds[1]:.0f} MB/s")
    if total.before.events != EVENTS * COPIES:
        print(f"{total.before.events:,} events counted, {EVENTS * COPIES:,} written: MISS")
        return 1
    return 0 if all(limit.is_met for limit in limits) else 1


if __name__ == "__main__":
    sys.exit(main())
