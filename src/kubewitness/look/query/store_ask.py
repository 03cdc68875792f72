"""
One question of stores, as SQL over the files of their indexes and the newest Events.

What matches is collected, what may match is counted, and of each request the latest stage is kept, as `scan` and `run`
do it for files. A question that adds up all Events is answered without collecting any.
"""

# ruff: noqa: S608 - writing SQL is what this module is for; names and texts go through identifier() and literal()
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from kubewitness.event.fields import by_column, by_path
from kubewitness.look.query.question import Question
from kubewitness.look.query.relation import RANK
from kubewitness.look.query.relation_names import SQL_TYPES, every_name, identifier, literal
from kubewitness.look.query.run import has_doubt, keep_latest
from kubewitness.look.query.tabulate import COMPUTED

if TYPE_CHECKING:
    import duckdb

_JOINS = ("audit_id", "username", "request_uri", "received", "verb")
_ALWAYS = ("stage", "cluster", "log_index")
_PANIC = "stage = 'Panic'"


class Ask:
    """One question on its way, in one engine."""

    def __init__(
        self,
        connection: "duckdb.DuckDBPyConnection",
        question: Question,
        files: Sequence[str],
        panics: Sequence[str],
        *,
        keeps_bytes: bool,
        weights: Mapping[str, str],
    ) -> None:
        self._connection = connection
        self._numbers = "".join(f"{number} AS {identifier(weight)}, " for weight, number in weights.items())
        self._question = question
        self._files = files
        self._panics = panics  # those files in which an Event of this stage is
        self._keeps_bytes = keeps_bytes
        self.newest: list[str] = []
        """Views of the newest Events, one a log."""
        key = [by_path(path).column for path in sorted(question.joined_by)]
        self._key = [*_JOINS, *(column for column in key if column not in _JOINS)] if question.joins_stages else []
        self.columns = list(dict.fromkeys([*question.used, *question.filled_later, *self._key, *_ALWAYS]))
        """What is read of each Event."""

    def _rows(self, files: Sequence[str] | None = None) -> str:
        """Write the relation of index and newest Events, or of some files and those."""
        files = self._files if files is None else files
        parts = []
        if files:
            kept = [column for column in self.columns if column not in COMPUTED]
            paths = ", ".join(map(literal, files))
            items = [identifier(column) for column in kept]
            if computed := [column for column in self.columns if column in COMPUTED]:
                from kubewitness.look.query.sql import derived_columns

                derived = derived_columns()
                items += [f"{derived[column]} AS {identifier(column)}" for column in computed]
            parts.append(f"SELECT {', '.join(items)} FROM read_parquet([{paths}], hive_partitioning=false)")
        names = ", ".join(map(identifier, self.columns))
        parts += [f"SELECT {names} FROM {view}" for view in self.newest]
        if not parts:
            nothing = ", ".join(f"NULL::{_sql_type(column)} AS {identifier(column)}" for column in self.columns)
            parts.append(f"SELECT {nothing} WHERE FALSE")
        return " UNION ALL BY NAME ".join(parts)

    def view(self) -> int:
        """Let `events` be what matches, without collecting it first; give how many are unknown."""
        q = self._question
        names = q.names
        rows = f"SELECT *, log_index AS _row FROM ({self._named()}) WHERE {q.where}"
        if q.is_ordered and q.where != "TRUE":
            rows += " ORDER BY cluster, log_index"
        select = f"SELECT {names}{', ' if names else ''}{self._numbers}_row FROM ({rows})"
        self._connection.execute(f"CREATE VIEW events AS {select}")
        self._connection.execute(f"CREATE VIEW requests AS {select}")
        if q.unknown == "FALSE":
            return 0
        condition = q.unknown if q.where == "TRUE" else f"({q.unknown}) AND ({q.where}) IS NOT TRUE"
        row = self._connection.execute(f"SELECT count(*) FROM ({self._named()}) WHERE {condition}").fetchone()
        return int(row[0]) if row else 0

    def latest(self, stages: str, sql: str) -> bool:
        """Let `requests`, and with stages "latest" also `events`, be the latest stages, without collecting anything.

        False where that cannot be done: when the conditions may tell stages of a request apart, when rows must keep
        the order of the log, or when requests are not told apart by their auditIDs alone.
        """
        q = self._question
        is_whole = q.joined_by <= {"requestReceivedTimestamp"} and q.unknown == "FALSE"
        is_ordered = q.is_ordered and re.search(r"\border\s+by\b", sql, re.IGNORECASE) is None
        if not is_whole or q.changes_with_stage or q.filled_later or is_ordered or self._keeps_bytes:
            return False
        run = self._connection.execute
        named = f"SELECT *, log_index AS _row FROM ({self._named()}) WHERE {q.where}"
        row = run(
            "SELECT count_if(stage = 'Panic'), count(audit_id), count(DISTINCT hash(cluster, audit_id)) "
            f"FILTER (audit_id IS NOT NULL) FROM ({named}) WHERE stage IN ('ResponseComplete', 'Panic')"
        ).fetchone()
        if row is None or row[0] or row[1] != row[2]:
            return False
        key = self._key_of()
        run(
            f"CREATE TEMP TABLE early AS SELECT cluster, log_index, audit_id, _rank, {key} AS _key FROM ({named}) "
            "WHERE stage IN ('RequestReceived', 'ResponseStarted')"
        )
        run(
            f"CREATE TEMP TABLE late AS SELECT {key} AS _key, max(_rank) AS _rank FROM ({named}) "
            "WHERE stage = 'ResponseComplete' AND audit_id IN (SELECT audit_id FROM early) GROUP BY 1 "
            "UNION ALL SELECT _key, max(_rank) FROM early GROUP BY 1"
        )
        run(
            "CREATE TEMP TABLE open AS SELECT e.cluster, e.log_index FROM early e LEFT JOIN ("
            "SELECT _key, max(_rank) AS _rank FROM late GROUP BY 1) l USING (_key) WHERE e._key IS NULL OR ("
            "e._rank = l._rank) QUALIFY e._key IS NULL OR row_number() OVER ("
            "PARTITION BY e._key ORDER BY e.cluster, e.log_index) = 1"
        )
        latest = (
            f"SELECT * FROM ({named}) WHERE stage = 'ResponseComplete' UNION ALL "
            f"SELECT * FROM ({named}) WHERE stage IN ('RequestReceived', 'ResponseStarted') "
            "AND (cluster, log_index) IN (SELECT (cluster, log_index) FROM open)"
        )
        names = q.names
        select = f"SELECT {names}{', ' if names else ''}{self._numbers}_row FROM"
        run(f"CREATE VIEW requests AS {select} ({latest})")
        run(f"CREATE VIEW events AS {select} ({latest if stages == 'latest' else named})")
        return True

    def collect(self, stages: str) -> None:
        """Put what matches, or is unknown, into `hits`, and of each request only its latest stage."""
        q = self._question
        order = " ORDER BY _cluster, _index" if q.is_ordered or self._keeps_bytes else ""
        # one after the other, as the engine passes over whole groups of rows for each alone, but not for `OR`
        self._connection.execute(f"CREATE TABLE hits AS {self._select(1, q.where)}{order}")
        kept = q.where
        if q.where != "TRUE":
            if q.unknown != "FALSE":
                self._connection.execute(f"INSERT INTO hits {self._select(2, q.unknown, kept)}{order}")
                kept = f"{kept} OR {q.unknown}"
            if q.joins_stages:  # a Panic outranks a ResponseComplete, whether or not it matches
                if self._panics or self.newest:
                    self._connection.execute(f"INSERT INTO hits {self._select(0, _PANIC, kept, self._panics)}")
                kept = f"{kept} OR {_PANIC}"
        if stages != "latest":
            return
        if q.where != "TRUE" and (q.changes_with_stage or has_doubt(self._connection)):
            self._add_later_stages(kept)
        keep_latest(self._connection)

    def _add_later_stages(self, kept: str) -> None:
        """Add later stages of what matches at an early one: they may say otherwise."""
        run = self._connection.execute
        run("CREATE TEMP TABLE early AS SELECT DISTINCT _audit FROM hits WHERE _match > 0 AND _rank < 2")
        if run("SELECT 1 FROM early LIMIT 1").fetchone():
            later = "_rank > 0 AND audit_id IN (SELECT _audit FROM early)"
            run(f"INSERT INTO hits {self._select(0, later, kept)}")

    def create_views(self) -> None:
        """Let `events` be what is in `hits` and matches, and `requests` the latest stages of that."""
        names = self._question.names
        rows = "SELECT *, rowid AS _row FROM hits WHERE _match = 1"
        select = f"SELECT {names}{', ' if names else ''}{self._numbers}_row FROM ({rows}"
        self._connection.execute(f"CREATE VIEW events AS {select})")
        latest = "QUALIFY _key IS NULL OR row_number() OVER (PARTITION BY _key ORDER BY _rank DESC, rowid) = 1"
        self._connection.execute(f"CREATE VIEW requests AS {select} {latest})")

    def _named(self, files: Sequence[str] | None = None) -> str:
        """Write the relation with every name a condition may use, and the rank of the stage."""
        named = every_name(self.columns)
        return f"SELECT {named}, {RANK} AS _rank FROM ({self._rows(files)})"

    def _key_of(self) -> str:
        """Write what stages of a request are joined by."""
        if not self._key:
            return "NULL::UHUGEINT"
        texts = (f"coalesce({identifier(column)}::VARCHAR, chr(1))" for column in ("cluster", *self._key))
        return f"CASE WHEN audit_id IS NOT NULL THEN md5_number(concat_ws(chr(0), {', '.join(texts)})) END"

    def _select(self, match: int, condition: str, but_not: str = "", files: Sequence[str] | None = None) -> str:
        """Write a SELECT of rows for `hits`, by a condition and not by another."""
        q = self._question
        if but_not:
            condition = f"({condition}) AND ({but_not}) IS NOT TRUE"
        columns = "".join(f"{identifier(column)}, " for column in q.columns)
        lacking = " OR ".join(f"{identifier(column)} IS NULL" for column in q.filled_later)
        doubt = f"_rank < 2 AND ({lacking})" if lacking else "FALSE"
        filled = ", ".join(map(identifier, q.filled_later))
        audit = "CASE WHEN _rank < 2 THEN audit_id END" if self._key else "NULL::VARCHAR"
        return (
            f"SELECT {columns}{match}::TINYINT AS _match, FALSE AS _odd, _rank::TINYINT AS _rank, {doubt} AS _doubt, "
            f"{self._key_of()} AS _key, [{filled}]::VARCHAR[] AS _filled, {audit} AS _audit, "
            f"cluster AS _cluster, log_index AS _index FROM ({self._named(files)}) WHERE {condition}"
        )


def _sql_type(column: str) -> str:
    return SQL_TYPES[by_column(column).type]
