"""
How many decisions of a policy a second: `evaluate` called from Python, and the policy as SQL over Parquet.

`python -m benchmarks.library` judges a generated log under benchmarks/policy.yaml; both forms must decide the same
before anything is timed. It runs in this process, because the library is measured, not its start.
Exit code: 0 both bounds met, 1 a bound missed or the two forms differ.
"""

import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb
import msgspec

from benchmarks.generate import generate
from benchmarks.report import Limit, limits_table
from kubewitness.event.types import Event
from kubewitness.look.query.policy_sql import NO_RULE, policy_sql
from kubewitness.policy.evaluate import evaluate
from kubewitness.policy.load import load
from kubewitness.policy.request import attributes_from_event
from kubewitness.policy.types import Policy

POLICY = Path(__file__).with_name("policy.yaml")
EVENTS = 20_000
COPIES = 100
"""How often the Events stand in the Parquet file."""
EVALUATE_PER_S = 150_000
SQL_PER_S = 2_000_000

_COLUMNS = """
    stage, verb, requestURI AS request_uri, "user".username AS username, "user".groups AS groups,
    objectRef.resource AS resource, objectRef.namespace AS namespace, objectRef.name AS name,
    objectRef.apiGroup AS api_group, objectRef.apiVersion AS api_version, objectRef.subresource AS subresource"""
_READ = """{
    stage: 'VARCHAR', verb: 'VARCHAR', requestURI: 'VARCHAR',
    "user": 'STRUCT(username VARCHAR, groups VARCHAR[])',
    objectRef: 'STRUCT(resource VARCHAR, namespace VARCHAR, name VARCHAR, apiGroup VARCHAR, apiVersion VARCHAR,
                       subresource VARCHAR)'}"""


def _per_second(what: Callable[[], object], count: int, rounds: int = 5) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        what()
        times.append(time.perf_counter() - start)
    return count / statistics.median(times)


def _in_python(policy: Policy, events: Sequence[Event]) -> tuple[Counter[int], float]:
    """Decisions by rule, and how many a second."""
    requests = [attributes_from_event(event) for event in events]
    decided = Counter(
        NO_RULE if (index := evaluate(policy, request).rule_index) is None else index for request in requests
    )

    def decide() -> None:
        for request in requests:
            evaluate(policy, request)

    return decided, _per_second(decide, len(requests))


def _in_sql(policy: Policy, lines: Sequence[bytes]) -> tuple[Counter[int], float]:
    """Decisions by rule, and how many a second, over a Parquet file with `COPIES` of each Event."""
    sql = policy_sql(policy)
    with tempfile.TemporaryDirectory() as name, duckdb.connect() as connection:
        log, table = Path(name) / "audit.log", Path(name) / "audit.parquet"
        log.write_bytes(b"".join(lines))
        connection.execute(
            f"COPY (SELECT {_COLUMNS} FROM read_ndjson('{log}', columns={_READ}), range({COPIES})) TO '{table}'"
        )
        question = f"SELECT {sql.rule_index}, count(*) FROM '{table}' GROUP BY ALL"
        decided = Counter({rule: count // COPIES for rule, count in connection.execute(question).fetchall()})
        return decided, _per_second(lambda: connection.execute(question).fetchall(), len(lines) * COPIES)


def limits() -> list[Limit]:
    """Both rates against their bounds. Raises AssertionError where the two forms decide differently."""
    policy = load(POLICY.read_text("utf-8"))
    lines = [line for piece in generate(EVENTS, workers=1) for line in piece.splitlines(keepends=True)]
    python, per_s_python = _in_python(policy, [msgspec.json.decode(line, type=Event) for line in lines])
    sql, per_s_sql = _in_sql(policy, lines)
    if python != sql:
        raise AssertionError(f"decisions by rule differ: {python} and {sql}")
    return [
        Limit("`evaluate`, one core", per_s_python, EVALUATE_PER_S, "decisions/s", is_ceiling=False),
        Limit("the policy as SQL over Parquet", per_s_sql, SQL_PER_S, "Events/s", is_ceiling=False),
    ]


def main() -> int:
    """Print the table."""
    found = limits()
    print("### A policy of 20 rules\n")
    print(limits_table(found))
    return 0 if all(limit.is_met for limit in found) else 1


if __name__ == "__main__":
    sys.exit(main())
