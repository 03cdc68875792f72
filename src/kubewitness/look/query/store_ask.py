"""
One question of stores, as SQL over the files of their indexes and the newest Events.

What matches is collected, what may match is counted, and of each request the latest stage is kept, as `scan` and `run`
do it for files. A question that adds up all Events is answered without collecting any.
"""

# ruff: noqa: S608 - writing SQL is what this module is for; names and texts go through identifier() and literal()
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from kubewitness.event.fields import by_column, by_path
from kubewitness.look.query.relation import RANK
from kubewitness.look.query.relation_names import SQL_TYPES, every_name, identifier, literal
from kubewitness.look.query.run import has_doubt, keep_latest
from kubewitness.look.query.scan import Question
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
        *,
        keeps_bytes: bool,
        weights: Mapping[str, str],
    ) -> None:
        self._connection = connection
        self._numbers = "".join(f"{number} AS {identifier(weight)}, " for weight, number in weights.items())
        self._question = question
        self._files = files
        self._keeps_bytes = keeps_bytes
        self.newest: list[str] = []
        """Views of the newest Events, one a log."""
        key = [by_path(path).column for path in sorted(question.joined_by)]
        self._key = [*_JOINS, *(column for column in key if column not in _JOINS)] if question.joins_stages else []
        self.columns = list(dict.fromkeys([*question.used, *question.filled_later, *self._key, *_ALWAYS]))
        """What is read of each Event."""

    def _rows(self) -> str:
        """Write the relation of index and newest Events."""
        parts = []
        if self._files:
            kept = [column for column in self.columns if column not in COMPUTED]
            paths = ", ".join(map(literal, self._files))
            items = [identifier(column) for column in kept]
            if computed := [column for column in self.columns if column in COMPUTED]:
                from kubewitness.look.query.sql import derived_columns

                derived = derived_columns()
                items += [f"{derived[column]} AS {identifier(column)}" for column in computed]
            parts.append(
                f"SELECT {', '.join(items)} FROM read_parquet([{paths}], hive_partitioning=false, union_by_name=false)"
            )
        names = ", ".join(map(identifier, self.columns))
        parts += [f"SELECT {names} FROM {view}" for view in self.newest]
        if not parts:
            nothing = ", ".join(f"NULL::{_sql_type(column)} AS {identifier(column)}" for column in self.columns)
            parts.append(f"SELECT {nothing} WHERE FALSE")
        return " UNION ALL BY NAME ".join(parts)

    def view(self) -> int:
        """Let `events` be what matches, without collecting it first; give how many are unknown."""
        q = self._question
        names = every_name(q.columns)
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

    def collect(self, stages: str) -> None:
        """Put what matches, or is unknown, into `hits`, and of each request only its latest stage."""
        q = self._question
        self._connection.execute(f"CREATE TABLE hits AS {self._select(0, 'FALSE')}")
        order = " ORDER BY _cluster, _index" if q.is_ordered or self._keeps_bytes else ""
        # one after the other, as the engine passes over whole groups of rows for each alone, but not for `OR`
        self._connection.execute(f"INSERT INTO hits {self._select(1, q.where)}{order}")
        kept = q.where
        if q.where != "TRUE":
            if q.unknown != "FALSE":
                self._connection.execute(f"INSERT INTO hits {self._select(2, q.unknown, kept)}{order}")
                kept = f"{kept} OR {q.unknown}"
            if q.joins_stages:  # a Panic outranks a ResponseComplete, whether or not it matches
                self._connection.execute(f"INSERT INTO hits {self._select(0, _PANIC, kept)}")
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
        names = every_name(self._question.columns)
        rows = "SELECT *, rowid AS _row FROM hits WHERE _match = 1"
        select = f"SELECT {names}{', ' if names else ''}{self._numbers}_row FROM ({rows}"
        self._connection.execute(f"CREATE VIEW events AS {select})")
        latest = "QUALIFY _key IS NULL OR row_number() OVER (PARTITION BY _key ORDER BY _rank DESC, rowid) = 1"
        self._connection.execute(f"CREATE VIEW requests AS {select} {latest})")

    def _named(self) -> str:
        """Write the relation with every name a condition may use, and the rank of the stage."""
        named = every_name(self.columns)
        return f"SELECT {named}, {RANK} AS _rank FROM ({self._rows()})"

    def _select(self, match: int, condition: str, but_not: str = "") -> str:
        """Write a SELECT of rows for `hits`, by a condition and not by another."""
        q = self._question
        if but_not:
            condition = f"({condition}) AND ({but_not}) IS NOT TRUE"
        columns = "".join(f"{identifier(column)}, " for column in q.columns)
        lacking = " OR ".join(f"{identifier(column)} IS NULL" for column in q.filled_later)
        doubt = f"_rank < 2 AND ({lacking})" if lacking else "FALSE"
        filled = ", ".join(map(identifier, q.filled_later))
        key = "NULL::UHUGEINT"
        audit = "NULL::VARCHAR"
        if self._key:
            texts = (f"coalesce({identifier(column)}::VARCHAR, chr(1))" for column in ("cluster", *self._key))
            key = f"CASE WHEN audit_id IS NOT NULL THEN md5_number(concat_ws(chr(0), {', '.join(texts)})) END"
            audit = "CASE WHEN _rank < 2 THEN audit_id END"
        return (
            f"SELECT {columns}{match}::TINYINT AS _match, FALSE AS _odd, _rank::TINYINT AS _rank, {doubt} AS _doubt, "
            f"{key} AS _key, [{filled}]::VARCHAR[] AS _filled, {audit} AS _audit, "
            f"cluster AS _cluster, log_index AS _index FROM ({self._named()}) WHERE {condition}"
        )


def _sql_type(column: str) -> str:
    return SQL_TYPES[by_column(column).type]
