"""Expressions in DuckDB's words."""

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubewitness.event import filter  # noqa: A004  # the module is named so
from kubewitness.event.derive import DERIVED, expand
from kubewitness.event.expr import EACH, Expr, Json, JsonHas, Ref
from kubewitness.event.expr_evaluate import evaluate
from kubewitness.event.expr_logic import NO_FACTS, Facts
from kubewitness.event.expr_values import Context
from kubewitness.event.types import Event
from kubewitness.look.query import generate, sql, syntax
from tests.model import filter_events as made
from tests.model import filter_questions as asked


@pytest.fixture(scope="module")
def duck() -> duckdb.DuckDBPyConnection:
    """A connection for these tests."""
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("SET TimeZone='UTC'")
    return connection


# DuckDB plans a filter of 100 kB for a second; what its parts mean is asked of shorter ones
filters = asked.filters.filter(lambda filter_: len(sql.answer(filter_)) < 8_000)
slow = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


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
    questions=st.lists(filters, min_size=1, max_size=6),
)
def test_filters_agree(
    duck: duckdb.DuckDBPyConnection, rows: list[tuple[Event, Context]], questions: list[Expr]
) -> None:
    """DuckDB and generated Python answer every filter as the plain evaluation does: true, false and unknown alike."""
    made.relation(duck, [event for event, _ in rows], [context for _, context in rows])
    for filter_ in questions:
        expected = [filter.evaluate(filter_, event, context) for event, context in rows]
        generated = generate.function(filter_)
        assert [generated(event, context) for event, context in rows] == expected
        assert sql_answers(duck, filter_) == expected


LOG_FLAGS: list[dict[str, list[str]]] = [
    {"user": ["attacker,dave"]},
    {"group": ["dev*"]},
    {"sa": ["*/deployer"]},
    {"actor-kind": ["human", "node"]},
    {"verb": ["delete"], "resource": ["secrets"], "name": ["important"], "namespace": ["production"]},
    {"action": ["exec,token,bind,impersonate"]},
    {"action": ["get"], "outcome": ["denied"]},
    {"resource": ["po/exec,deploy.apps,!*/status"]},
    {"name": ["web*"]},
    {"code": ["4xx", "!404"]},
    {"ip": ["127.0.0.0/8"]},
    {"peer-ip": ["::1", "127.0.0.1"]},
    {"user-agent": ["kubectl"]},
    {"as": ["developer"]},
    {"uid": ["*-*"]},
    {"stage": ["ResponseStarted"], "level": ["Metadata"]},
]


@pytest.mark.parametrize("log", ["full", "security", "metadata"])
def test_flags_agree_on_recorded_logs(duck: duckdb.DuckDBPyConnection, log: str) -> None:
    """Flags find the same recorded Events in SQL, in generated Python and plainly, with and without facts."""
    events = made.recorded(log)[:: 8 if log == "full" else 4]
    made.relation(duck, events)
    for flags in LOG_FLAGS:
        filter_ = syntax.filter_of(flags)
        expected = [filter.evaluate(filter_, event) for event in events]
        generated = generate.function(filter_, filter.PLAIN)
        assert [generated(event, Context()) for event in events] == expected, flags
        assert sql_answers(duck, filter_, filter.PLAIN) == expected, flags
        assert sql_answers(duck, filter_) == expected, flags


@slow
@given(filter_=filters, rows=st.lists(made.events, min_size=1, max_size=6))
def test_facts_change_no_answer(duck: duckdb.DuckDBPyConnection, filter_: Expr, rows: list[Event]) -> None:
    """What is known of a plain log only shortens the SQL."""
    made.relation(duck, rows)
    assert sql_answers(duck, filter_, filter.PLAIN) == [filter.evaluate(filter_, event) for event in rows]


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_literals_hold_any_text(duck: duckdb.DuckDBPyConnection, text: str) -> None:
    """No text leaves its quotes."""
    assert duck.execute(f"SELECT {sql.literal(text)}").fetchone() == (text,)


def test_constants() -> None:
    """Numbers, truth values, NULL and times as DuckDB reads them."""
    assert [sql.literal(held) for held in (None, True, False, -1)] == ["NULL", "TRUE", "FALSE", "-1"]
    assert sql.timestamp(1) == "TIMESTAMP '1970-01-01 00:00:00.000001'"


def test_columns_exist(duck: duckdb.DuckDBPyConnection) -> None:
    """`columns` names what the SQL of a filter reads, and no more."""
    made.relation(duck, made.recorded("metadata")[:1])
    for flags in LOG_FLAGS:
        filter_ = syntax.filter_of(flags)
        listed = ", ".join(sorted(filter.columns(filter_, filter.PLAIN)))
        duck.execute(
            f"SELECT {sql.answer(filter_, filter.PLAIN)}, {sql.unknown(filter_, filter.PLAIN)} "
            f"FROM (SELECT {listed} FROM events)"
        ).fetchall()


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":"first","a":"second"}',
        b'{"a":-0}',
        b'{"a":-0.0}',
        b'{"a":1e2}',
        b'{"a":9223372036854775808}',
        b'{"a":-9223372036854775809}',
        b'{"n":' + b"9" * 5000 + b',"a":"x"}',
        b'{"n":' + b"[" * 300 + b"]" * 300 + b',"a":"x"}',
        b'{"a":"\\u0000\\u0041\\/\\ud83d\\ude00"}',
        b'{"\\u0061":"x"}',
        b'[{"a":1},{"a":"y"}]',
        b'"a"',
        b"[]",
        b"0",
    ],
    ids=lambda body: repr(body[:24]),
)
def test_odd_bodies_agree(duck: duckdb.DuckDBPyConnection, body: bytes) -> None:
    """Bodies that only a hostile client sends are read alike."""
    happened = made.DECODE(b'{"stage":"Panic","requestObject":' + body + b"}")
    duck.execute("CREATE OR REPLACE TABLE events AS SELECT ?::JSON AS request_object", [body.decode()])
    questions: list[Expr] = [
        Json(Ref("requestObject"), steps) for steps in (("a",), ("0", "a"), (EACH, "a"), ("n", EACH))
    ]
    questions += [JsonHas(Ref("requestObject"), ("a",)), JsonHas(Ref("requestObject"), ("n",))]
    for question in questions:
        (found,) = duck.execute(f"SELECT {sql.value(question)} FROM events").fetchone() or (None,)
        assert (tuple(found) if isinstance(found, list) else found) == evaluate(question, happened), question
