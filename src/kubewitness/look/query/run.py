"""
Ask a question of raw logs: `open_events(sources)`, then `.query(sql, where=...)` gives an Answer with its account.

    with open_events(["audit.log", "rotated/"]) as events:
        answer = events.query(
            "SELECT received, username, verb FROM events ORDER BY received LIMIT 10",
            where="resource = 'secrets'",
        )
        for row in answer: ...
        answer.account.damaged

`where` (and `unknown`, the rows for which the answer cannot be told) decide while the log is parsed; `sql` runs over
the relation `events` of what is left. With stages="latest" that is one row for each request, its latest stage; the
condition is about that row, whatever other stages say. With stages="all" it is every Event, and the relation `requests`
has the latest stages. Both relations have the columns of `event.fields` by flat and by wire name, and `_row`, which
`Answer.exact_bytes` takes. SQL is never run with access to other files than the inputs.
"""

# ruff: noqa: S608 - writing SQL is what this module is for; names and texts go through identifier() and literal()
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import msgspec

from kubewitness.event.fields import by_column, by_path
from kubewitness.look.query.account import Account
from kubewitness.look.query.lockdown import MEMORY_BYTES, check_select, engine_errors, lack, locked, seal, told
from kubewitness.look.query.plain_sql import columns_compared, columns_selected
from kubewitness.look.query.question import Question
from kubewitness.look.query.relation import ENVELOPE, LINE_BYTES, WIRE_PATHS, Key, Relation
from kubewitness.look.query.relation_names import (
    ALIASES,
    COLUMNS,
    STRUCTS,
    TWIN,
    columns_of,
    identifier,
    ignores_order,
    names_asked,
    scanned,
)
from kubewitness.look.query.same_request import FILLED_LATER, SAME_IN_EVERY_STAGE
from kubewitness.look.query.scan import Scan
from kubewitness.look.query.scan_blocks import BlockFiles
from kubewitness.look.query.scan_lengths import with_lengths
from kubewitness.look.query.source import Input, find_inputs

if TYPE_CHECKING:
    import duckdb

    from kubewitness.event.expr import Expr
    from kubewitness.look.query.find import Found
    from kubewitness.look.query.prefilter import Picker

Weights = Mapping[str, tuple[str, str]]
"""Numbers by name: SQL over the raw line (`json`, `requestObject`, `responseObject`), and over columns of a store."""
NO_WEIGHTS: Weights = MappingProxyType({})
Made = Mapping[str, tuple[str, str]]
"""Columns by name: type, and SQL over `events` that is worked out while a line is read, so that it need not be kept."""
NOTHING_MADE: Made = MappingProxyType({})
_FETCH_ROWS = 4096


def open_events(
    sources: Sequence[str],
    *,
    cluster: str | None = None,
    memory_bytes: int = MEMORY_BYTES,
) -> "Events":
    """Find and recognise the inputs that these arguments name. Raises SourceError for one that cannot be read."""
    return Events(find_inputs(sources), cluster, memory_bytes)


class Events:
    """Inputs to ask questions of. Each question reads them anew; use as a context manager."""

    def __init__(
        self,
        inputs: Sequence[Input],
        cluster: str | None = None,
        memory_bytes: int = MEMORY_BYTES,
        picker: "Picker | None" = None,
    ) -> None:
        self.inputs = list(inputs)
        self._cluster = cluster
        self._nonce = os.urandom(16).hex()
        self._memory_bytes = memory_bytes
        self._files = BlockFiles()
        self._scan: Scan | None = None
        self._made_picker = picker

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give memory and files back."""
        self._files.close()
        if self._made_picker is not None:
            self._made_picker.close()

    @property
    def _picker(self) -> "Picker":
        """What searches for lines that can match; loaded where there are lines to search."""
        if self._made_picker is None:
            from kubewitness.look.query.prefilter import Picker

            self._made_picker = Picker(self.inputs)
        return self._made_picker

    def interrupt(self) -> None:
        """Stop the question that is being answered. May be called from another thread."""
        scan = self._scan
        if scan is not None:
            scan.connection.interrupt()

    @property
    def fraction(self) -> float | None:
        """How far the reading is, 0 to 1; None while nothing is read. May be asked from another thread."""
        scan = self._scan
        total = sum(one.size_bytes for one in self.inputs)
        if scan is None or not total:
            return None
        return min(1.0, scan.progress_bytes() / total)

    @property
    def bytes_measured(self) -> int:
        """How many bytes were read for their line ends alone. May be asked from another thread."""
        measure = self._scan.measure if self._scan is not None else None
        return measure.bytes_read if measure is not None else 0

    def query(
        self,
        sql: str,
        *,
        where: str = "TRUE",
        unknown: str = "FALSE",
        stages: Literal["latest", "all"] = "latest",
        keeps_bytes: bool = False,
        weights: Weights = NO_WEIGHTS,
        made: Made = NOTHING_MADE,
        filter_: "Expr | None" = None,
        tests: Iterable[str] = (),
    ) -> "Answer":
        """Read the inputs and run one SELECT over `events` (see the module). Raises QueryError.

        Say `keeps_bytes` when `Answer.exact_bytes` will be asked. Give the `filter_` that `where` and `unknown` stand
        for, if lines that cannot match may be passed over: the answer is the same and comes sooner, but what is damaged
        among those lines is not counted (`Account.damage_checked`). `tests` are wire paths whose types are tested, read
        by the question or not. `weights` and `made` are further columns of the relation.
        """
        picks = None if filter_ is None else self._picker.begin(filter_, joins_stages=stages == "latest")
        paths = ["/dev/null", *(one.path for one in self.inputs), *self._files.paths.values()]
        connection = locked(paths, self._memory_bytes)
        try:
            check_select(connection, sql)
            where, unknown = (bracket(connection, condition) for condition in (where, unknown))
            numbers = dict.fromkeys(weights, "0::BIGINT")
            question = self._plan(
                connection, sql, where, unknown, stages, keeps_bytes=keeps_bytes, weights=numbers, made=made
            )
            decides = None if question.decides is None else question.decides.union(tests)
            question = msgspec.structs.replace(question, decides=decides, reads=question.reads.union(tests))
            relation = self._relation(question.used, weights)
            if not question.is_ordered and not keeps_bytes and not relation.measures:
                connection.execute("SET preserve_insertion_order = false")
            scan = self._scan = Scan(connection, relation, question, self._files, picks=picks)
            account = self._read(scan, stages)
            account.unknown = 0 if unknown == "FALSE" else count_hits(connection, "_match = 2 AND NOT _odd")
            _create_views(connection, question, weights)
            seal(connection)
            rows = connection.execute(without_twins(connection, sql))
            return Answer(rows, connection, lambda wanted: _exact_bytes(scan, wanted), account)
        except engine_errors() as exc:
            connection.close()
            raise told(exc) from exc
        except BaseException:
            connection.interrupt()
            connection.close()
            raise

    def find(self, filter_: "Expr", *, stages: Literal["latest", "all"] = "latest") -> "Found | None":
        """Give what a filter finds where few lines can match, without the engine; None where it has to be asked."""
        picks = self._picker.begin(filter_, joins_stages=stages == "latest")
        if picks is None:
            return None
        from kubewitness.look.query.find import find

        return find(self.inputs, picks, filter_, stages=stages, cluster=self._cluster)

    def _relation(self, used: Iterable[str], weights: Weights) -> Relation:
        derived: Mapping[str, str] = {}
        if any(by_column(column).is_derived for column in used):
            from kubewitness.look.query.sql import derived_columns

            derived = derived_columns()
        return Relation(derived, self._nonce, self._cluster, {name: raw for name, (raw, _) in weights.items()})

    def _plan(
        self,
        connection: "duckdb.DuckDBPyConnection",
        sql: str,
        where: str,
        unknown: str,
        stages: str,
        *,
        keeps_bytes: bool,
        weights: Mapping[str, str],
        made: Made = NOTHING_MADE,
    ) -> Question:
        """Find which columns the SELECT needs, and which members of an Event must be parsed for them."""
        selected = None if weights or made else columns_selected(sql)
        deciding = columns_compared(where, unknown)
        making: list[str] = []
        if selected is None or deciding is None:
            more = {**weights, **{name: f"NULL::{type_}" for name, (type_, _) in made.items()}}
            with _twins(connection, sql, more):
                selected = selected or _explained(connection, sql)
                if deciding is None:
                    deciding = columns_of(scanned(_plan_of(connection, f"SELECT {where}, {unknown} FROM events")))
                if made:
                    sources = ", ".join(source for _, source in made.values())
                    making = columns_of(scanned(_plan_of(connection, f"SELECT {sources} FROM events")))
        columns, is_ordered = selected
        used = sorted({*columns, *deciding, *making}, key=COLUMNS.index)
        decides = wire_paths(deciding)
        return Question(
            tuple(columns),
            tuple(used),
            wire_paths(used),
            where,
            unknown,
            decides=decides if where != "TRUE" else None,
            joins_stages=stages == "latest" or re.search(r"\brequests\b", sql, re.IGNORECASE) is not None,
            changes_with_stage=not decides <= SAME_IN_EVERY_STAGE | FILLED_LATER,
            joined_by=decides & SAME_IN_EVERY_STAGE,
            filled_later=tuple(by_path(path).column for path in sorted(decides & FILLED_LATER)),
            names=names_asked(columns, sql),
            is_ordered=is_ordered,
            keeps_bytes=keeps_bytes,
            made=tuple((name, source) for name, (_, source) in made.items()),
        )

    def _read(self, scan: Scan, stages: str) -> Account:
        question = scan.question
        # the n-th length is that of the n-th row: so every row is there
        measures = scan.relation.measures and question.where != "TRUE"
        if stages == "all":
            key = Key.REQUEST if question.joins_stages else Key.NONE
            return Account(scan.read(self.inputs, key, keeps_every_row=measures))
        every = question.changes_with_stage or measures
        if not any(one.shares_audit_ids for one in self.inputs):
            account = Account(scan.read(self.inputs, Key.AUDIT_ID, keeps_every_row=every))
            in_doubt = not every and bool(question.filled_later) and has_doubt(scan.connection)
            if not in_doubt and not _shares_keys(scan.connection):
                return account  # every row is a request of its own, or the only one of it here
            every |= in_doubt
        account = Account(scan.read(self.inputs, Key.REQUEST, keeps_every_row=every))
        if not every and question.filled_later and has_doubt(scan.connection):
            account = Account(scan.read(self.inputs, Key.REQUEST, keeps_every_row=True))
        keep_latest(scan.connection)
        return account


class Answer(msgspec.Struct):
    """Rows, and the account of how they were found."""

    _rows: "duckdb.DuckDBPyConnection"
    _connection: "duckdb.DuckDBPyConnection"
    _exact: Callable[[list[int]], Iterator[bytes]]
    account: Account

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return [str(column[0]) for column in self._rows.description or ()]

    @property
    def types(self) -> list[str]:
        """Types of the columns, in the engine's words."""
        return [str(column[1]) for column in self._rows.description or ()]

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        try:
            while batch := self._rows.fetchmany(_FETCH_ROWS):
                yield from batch
        except engine_errors() as exc:  # the first rows were there, and a later one is worked out only now
            raise told(exc) from exc

    def exact_bytes(self, rows: Iterable[int]) -> Iterator[bytes]:
        """Give the bytes of these Events (`_row` of `events`) as they stand in the input, in the order of `rows`."""
        return _with_room(self._exact(list(rows)))

    def close(self) -> None:
        """Give the memory of the answer back."""
        self._connection.close()


def _with_room(found: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from found
    except engine_errors() as exc:
        raise lack(exc) or exc from exc


def _exact_bytes(scan: Scan, rows: list[int]) -> Iterator[bytes]:
    from kubewitness.look.query.scan_bytes import exact_bytes

    return exact_bytes(scan, rows)


def bracket(connection: "duckdb.DuckDBPyConnection", condition: str) -> str:
    """Take a condition that is one, whatever it ends with. Raises QueryError."""
    if condition in {"TRUE", "FALSE"}:
        return condition
    bracketed = f"({condition}\n)"  # the line end ends a comment
    check_select(connection, f"SELECT {bracketed}")
    return bracketed


@contextmanager
def _twins(connection: "duckdb.DuckDBPyConnection", sql: str, more: Mapping[str, str]) -> Iterator[None]:
    """Let `events` and `requests` be relations without rows that have every name, while a question is explained."""
    columns = "".join(f", {value} AS {identifier(name)}" for name, value in more.items())
    connection.execute(f"CREATE VIEW events AS SELECT *, 0::BIGINT AS _row{columns} FROM ({TWIN})")
    if "requests" in sql.lower():  # a view that nobody asks takes as long to make as one that is asked
        connection.execute("CREATE VIEW requests AS FROM events")
    yield
    connection.execute("DROP VIEW IF EXISTS requests")
    connection.execute("DROP VIEW events")


def _explained(connection: "duckdb.DuckDBPyConnection", sql: str) -> tuple[list[str], bool]:
    """Give the columns that the SELECT reads, as the engine would, and whether the order of rows can be seen in it."""
    is_about_names = re.match(r"\s*(describe|desc|show)\b", sql, re.IGNORECASE) is not None
    plan = _plan_of(connection, "SELECT 1" if is_about_names else sql)
    return list(COLUMNS) if is_about_names else columns_of(scanned(plan)), not ignores_order(plan)


def _plan_of(connection: "duckdb.DuckDBPyConnection", sql: str) -> str:
    row = connection.execute(f"EXPLAIN (FORMAT json) {sql}").fetchone()
    return str(row[1]) if row else "[]"


def wire_paths(columns: Iterable[str]) -> frozenset[str]:
    """Give the members of an Event from which these columns are made."""
    found = {by_column(column).path for column in columns}
    if derived := found - WIRE_PATHS - ENVELOPE:
        from kubewitness.event.derive import expand
        from kubewitness.event.expr import Ref, paths

        found = found.union(*(paths(expand(Ref(path))) for path in derived))
    return frozenset(found & WIRE_PATHS)


def count_hits(connection: "duckdb.DuckDBPyConnection", condition: str) -> int:
    """Count rows of `hits`."""
    row = connection.execute(f"SELECT count(*) FROM hits WHERE {condition}").fetchone()
    return int(row[0]) if row else 0


def has_doubt(connection: "duckdb.DuckDBPyConnection") -> bool:
    """Say whether a later stage of what matched might not match."""
    return count_hits(connection, "_match > 0 AND _doubt AND NOT _odd") > 0


def _shares_keys(connection: "duckdb.DuckDBPyConnection") -> bool:
    """Say whether a row that matches, or may, has its key in common with another."""
    row = connection.execute(
        "SELECT count(_key) = count(DISTINCT _key) FROM hits WHERE _match > 0 AND NOT _odd"
    ).fetchone()
    if row and not row[0]:
        return True
    others = "NOT _odd AND _match = 0 AND _key IS NOT NULL"
    if count_hits(connection, others) == 0:
        return False
    return count_hits(connection, f"{others} AND _key IN (SELECT _key FROM hits WHERE _match > 0 AND NOT _odd)") > 0


def keep_latest(connection: "duckdb.DuckDBPyConnection") -> None:
    """Unmark every row of a request but one of its latest stage; of copies, the one that matches.

    Rows with one key that name different objects are different requests; one that lacks a name is a stage of any.
    """
    if not _shares_keys(connection):
        return
    connection.execute(
        "UPDATE hits SET _match = 0 WHERE rowid IN (SELECT r FROM (SELECT rowid AS r, row_number() OVER ("
        "PARTITION BY _key, _filled ORDER BY _rank DESC, _match = 1 DESC, _match = 2 DESC, rowid) AS n "
        "FROM hits WHERE _key IS NOT NULL AND NOT _odd) WHERE n > 1)"
    )
    connection.execute(
        "UPDATE hits SET _match = 0 WHERE rowid IN (SELECT early.rowid FROM hits AS early JOIN ("
        "SELECT _key, _filled, max(_rank) AS _rank FROM hits WHERE NOT _odd GROUP BY _key, _filled) AS late "
        "ON early._key = late._key AND early._rank < late._rank AND len(list_filter(list_zip(early._filled, "
        "late._filled), lambda pair: pair[1] <> pair[2])) = 0 WHERE early._match > 0 AND NOT early._odd "
        "AND list_contains(list_transform(early._filled, lambda name: name IS NULL), TRUE))"
    )


def _create_views(connection: "duckdb.DuckDBPyConnection", question: Question, weights: Weights) -> None:
    more = [*weights, *(name for name, _ in question.made)]
    names = ", ".join([name for name in (question.names,) if name] + list(map(identifier, more)))
    measured = [identifier(name) for name, (raw, _) in weights.items() if raw == LINE_BYTES]
    hits = with_lengths(measured) if measured else "hits"
    rows = f"SELECT *, rowid AS _row FROM {hits} WHERE _match = 1 AND NOT _odd"
    select = f"SELECT {names}{', ' if names else ''}_row FROM ({rows}"
    connection.execute(f"CREATE VIEW events AS {select})")
    latest = "QUALIFY _key IS NULL OR row_number() OVER (PARTITION BY _key ORDER BY _rank DESC, rowid) = 1"
    connection.execute(f"CREATE VIEW requests AS {select} {latest})")


def without_twins(connection: "duckdb.DuckDBPyConnection", sql: str) -> str:
    """Leave the second names out of what `SELECT *` gives."""
    if columns_selected(sql) is not None:
        return sql
    names = {row[0] for row in connection.execute(f"DESCRIBE {sql}").fetchall()}
    twins = [name for name in (*ALIASES, *STRUCTS, "_row") if name in names]
    if len(twins) == len(ALIASES) + len(STRUCTS) + 1 and names.issuperset(COLUMNS):
        return f"SELECT * EXCLUDE ({', '.join(map(identifier, twins))}) FROM ({sql})"
    return sql
