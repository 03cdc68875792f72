"""Expressions in DuckDB's words."""

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubewitness.event import filter  # noqa: A004  # the module is named so
from kubewitness.event.derive import DERIVED, expand
from kubewitness.event.expr import Expr
from kubewitness.event.expr_evaluate import evaluate
from kubewitness.event.expr_logic import NO_FACTS, Facts
from kubewitness.event.expr_values import Context
from kubewitness.event.types import Event
from kubewitness.look.query import generate, sql
from tests.model import filter_events as made
from tests.model import filter_questions as asked


@pytest.fixture(scope="module")
def duck() -> duckdb.DuckDBPyConnection:
    """A connection for these tests."""
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("SET TimeZone='UTC'")
    return connection


slow = settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))


@slow
@given(rows=st.lists(st.tuples(made.events, made.contexts), min_size=1, max_size=12))
def test_derived_fields_agree_on_made_up_events(
    duck: duckdb.DuckDBPyConnection, rows: list[tuple[Event, Context]]
) -> None:
    """Every derived column has in SQL the value that the plain evaluation gives."""
    made.relation(duck, [event for event, _ in rows], [context for _, context in rows])
    check_derived(duck, rows)


@pytest.mark.parametrize("log", ["full", "security", "metadata"])
def test_derived_fields_agree_on_recorded_logs(duck: duckdb.DuckDBPyConnection, log: str) -> None:
    """Every derived column has in SQL the value that the plain evaluation gives, on each recorded Event."""
    events = made.recorded(log)
    made.relation(duck, events)
    check_derived(duck, [(event, Context()) for event in events])


def check_derived(duck: duckdb.DuckDBPyConnection, rows: list[tuple[Event, Context]]) -> None:
    """Compare every derived column with the plain evaluation."""
    columns = sql.derived_columns()
    found = duck.execute(f"SELECT {', '.join(columns.values())} FROM events ORDER BY row").fetchall()
    for (event, context), row in zip(rows, found, strict=True):
        for path, got in zip(DERIVED, row, strict=True):
            expected = evaluate(expand(DERIVED[path]), event, context)
            assert (tuple(got) if isinstance(got, list) else got) == expected, path


def sql_answers(duck: duckdb.DuckDBPyConnection, filter_: Expr, facts: Facts = NO_FACTS) -> list[bool | None]:
    """Give the answer for each row, having checked that `where` and `unknown` say the same."""
    rows = duck.execute(
        f"SELECT {sql.answer(filter_, facts)}, ({sql.where(filter_, facts)}) IS TRUE, "
        f"({sql.unknown(filter_, facts)}) IS TRUE FROM events ORDER BY row"
    ).fetchall()
    for answer, is_true, is_unknown in rows:
        assert is_true is (answer is True)
        assert is_unknown is (answer is None)
    return [row[0] for row in rows]


@slow
@given(
    rows=st.lists(st.tuples(made.events, made.contexts), min_size=1, max_size=8),
    filters=st.lists(asked.filters, min_size=1, max_size=6),
)
def test_filters_agree(duck: duckdb.DuckDBPyConnection, rows: list[tuple[Event, Context]], filters: list[Expr]) -> None:
    """DuckDB and generated Python answer every filter as the plain evaluation does: true, false and unknown alike."""
    made.relation(duck, [event for event, _ in rows], [context for _, context in rows])
    for filter_ in filters:
        expected = [filter.evaluate(filter_, event, context) for event, context in rows]
        generated = generate.function(filter_)
        assert [generated(event, context) for event, context in rows] == expected
        assert sql_answers(duck, filter_) == expected
