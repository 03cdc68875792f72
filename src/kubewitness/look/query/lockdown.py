"""
Lock an engine down: it opens only the files of this question, and no SQL can change that.

`locked` gives a connection that may read the allowed paths and nothing else: no other file, no network, no extension,
no ATTACH. Before a user's own SQL runs, `seal` forbids changing the configuration, and `check_select` has let through
only one SELECT (or FROM, VALUES, DESCRIBE, SUMMARIZE, EXPLAIN), so nothing is written either: no COPY, CREATE, SET.
"""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb


class QueryError(Exception):
    """SQL that is refused or that the engine does not understand; the text says why."""


def locked(allowed_paths: Iterable[str], memory_bytes: int) -> "duckdb.DuckDBPyConnection":
    """Give an engine of its own, in memory, that may read these paths."""
    import duckdb

    connection = duckdb.connect(
        config={
            "threads": str(os.cpu_count() or 1),
            "memory_limit": f"{memory_bytes >> 20}MiB",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        }
    )
    paths = ", ".join("'" + path.replace("'", "''") + "'" for path in allowed_paths)
    connection.execute(f"SET allowed_paths = [{paths}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("PRAGMA enable_profiling = 'no_output'")
    connection.execute("PRAGMA disable_progress_bar")
    return connection


def seal(connection: "duckdb.DuckDBPyConnection") -> None:
    """Forbid every further change of configuration."""
    connection.execute("SET lock_configuration = true")


def check_select(sql: str) -> None:
    """Let through one statement that only reads. Raises QueryError."""
    import duckdb

    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error as exc:
        raise QueryError(tidy(exc)) from exc
    if len(statements) != 1:
        raise QueryError(f"one SELECT is wanted, and these are {len(statements)} statements")
    if statements[0].type not in {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}:
        raise QueryError(f"only SELECT is allowed here, not {statements[0].type.name}")


def tidy(error: Exception) -> str:
    """Give an engine's message without its class, one line for each of its lines that says something."""
    text = str(error)
    head, _, rest = text.partition(": ")
    return (rest if head.endswith("Error") else text).strip()
