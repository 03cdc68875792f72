"""Hand-written DuckDB with only the columns that the question needs: `by_duckdb.py QUESTION LOG`."""

import sys

import duckdb

WHO = "user: 'STRUCT(username VARCHAR)'"
WHAT = "verb: 'VARCHAR'"
WHEN = "requestReceivedTimestamp: 'VARCHAR'"
OBJECT = "objectRef: 'STRUCT(resource VARCHAR, namespace VARCHAR, name VARCHAR)'"

QUESTIONS = {
    "T1": (
        f"{WHO}, {WHAT}, {WHEN}, {OBJECT}",
        """
        SELECT "user".username, objectRef.name, objectRef.namespace, requestReceivedTimestamp FROM log
        WHERE objectRef.resource = 'secrets' AND verb = 'get'
        """,
    ),
    "T2": (
        f"{WHO}, {WHAT}, objectRef: 'STRUCT(resource VARCHAR)'",
        """SELECT count(*), "user".username, verb, objectRef.resource FROM log GROUP BY ALL""",
    ),
    "T4": (
        f"{WHO}, responseStatus: 'STRUCT(code INTEGER)'",
        """SELECT count(*), "user".username FROM log WHERE responseStatus.code >= 400 GROUP BY ALL""",
    ),
}


def main() -> None:
    """Print the answer as tab-separated lines."""
    question, path = sys.argv[1:]
    columns, query = QUESTIONS[question]
    connection = duckdb.connect()
    rows = connection.execute(
        query.replace("FROM log", f"FROM read_ndjson('{path}', columns = {{{columns}}})"),
    ).fetchall()
    sys.stdout.write("".join("\t".join(map(str, row)) + "\n" for row in rows))


if __name__ == "__main__":
    main()
