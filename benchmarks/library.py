"""
How many decisions of a policy a second: `evaluate` called from Python, and the policy as SQL over Parquet.

Both judge the generated log under benchmarks/policy.yaml; the decisions are compared before anything is timed.
Runs in this process: it is the library that is measured, not its start.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

POLICY = Path(__file__).with_name("policy.yaml")
CALLS = 100_000
EVALUATE_PER_S = 150_000
SQL_PER_S = 2_000_000


def _per_second(what: Callable[[], object], count: int, rounds: int = 5) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        what()
        times.append(time.perf_counter() - start)
    return count / statistics.median(times)
