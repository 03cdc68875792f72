"""Plain SQL is understood as the engine understands it; anything else is left to the engine."""

import pytest

from kubewitness.look.query.lockdown import locked
from kubewitness.look.query.plain_sql import columns_compared, columns_selected
from kubewitness.look.query.relation_names import TWIN, columns_of, ignores_order, scanned

STATEMENTS = (
    "SELECT count(*) FROM events",
    'SELECT count(*), "username" FROM events GROUP BY "username" ORDER BY 1 DESC, "username"',
    'SELECT count(*), "groups", "verb" FROM events GROUP BY "groups", "verb" ORDER BY 1 DESC, "groups", "verb" LIMIT 3',
    'SELECT "username", "received" FROM events ORDER BY received, stage_time, _row',
    'SELECT "outcome" FROM events ORDER BY received, stage_time, _row LIMIT 21',
    "SELECT _row, code FROM events",
)
CONDITIONS = (
    "TRUE",
    "(verb = 'get' AND resource = 'secrets')",
    "(code >= 400\n)",
    "code IS NULL AND stage = 'RequestReceived'",
    "verb IN ('it''s a code', 'username') OR NOT (\"name\" = 'stage')",
    "received BETWEEN '2026-01-01' AND '2026-01-02'",
)


def test_what_is_plain_is_read_as_the_engine_reads_it() -> None:
    """The same columns as those that an explained statement scans, and the same about their order."""
    connection = locked(["/dev/null"])
    connection.execute(f"CREATE VIEW events AS SELECT *, 0::BIGINT AS _row FROM ({TWIN})")

    def explained(sql: str) -> str:
        row = connection.execute(f"EXPLAIN (FORMAT json) {sql}").fetchone()
        assert row is not None
        return str(row[1])

    for sql in STATEMENTS:
        plan = explained(sql)
        assert columns_selected(sql) == (columns_of(scanned(plan)), not ignores_order(plan)), sql
    for condition in CONDITIONS:
        plan = explained(f"SELECT {condition} FROM events")
        assert columns_compared(condition, "FALSE") == columns_of(scanned(plan)), condition
    connection.close()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM events",
        "SELECT verb, count(*) FROM events GROUP BY verb",
        "SELECT count(*), verb FROM events GROUP BY stage",
        "SELECT upper(verb) FROM events",
        "SELECT verb FROM requests",
        "SELECT nobody FROM events",
        "SELECT verb FROM events; SELECT verb FROM events",
        "SELECT verb FROM events -- LIMIT 3",
        "SELECT FROM events",
    ],
)
def test_other_statements_are_left_to_the_engine(sql: str) -> None:
    """Where anything else stands in it, nothing is said."""
    assert columns_selected(sql) is None


@pytest.mark.parametrize(
    "condition",
    [
        "lower(verb) = 'get'",
        "\"user\".username = 'a'",
        "verb = (SELECT 'get')",
        "requestURI = 'a'",
        "verb = 'get' -- or not",
        "verb = $$get$$",
        "verb = 'a' /* b */",
        'len("groups") = 2',
        "verb = E'a\\'code'",
        "nobody = 2",
    ],
)
def test_other_conditions_are_left_to_the_engine(condition: str) -> None:
    """A function, a wire name, a comment, another kind of text."""
    assert columns_compared(condition, "FALSE") is None
