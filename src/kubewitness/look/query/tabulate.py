"""
Events of a store as columns: for its index as Parquet, for its newest Events as a table.

Lines are laid out in a memory file, the engine parses them as it parses any log, and what it finds odd takes the
tolerant path, so that a row of the index is the row that the raw line would give. What the line does not say (log
index, time of receipt, source, dialect, what was removed) is joined by its number.
"""

# ruff: noqa: S608 - writing SQL is what this module is for; names and texts go through identifier() and literal()
import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import msgspec

from kubewitness._kit.descriptors import processors, write_all
from kubewitness.event.fields import FIELDS
from kubewitness.event.items import KUBE_APISERVER
from kubewitness.keep.index.manifest import Entry, Unread
from kubewitness.keep.index.table import Table, Tabulated
from kubewitness.keep.seal.leaf import Kept
from kubewitness.keep.seal.leaf_cut import MEMBERS, Group
from kubewitness.keep.store.doors import dialect_of
from kubewitness.keep.store.segment import Block, Commit
from kubewitness.look.query.lockdown import engine
from kubewitness.look.query.relation import WIRE_PATHS, Key, Reading, Relation
from kubewitness.look.query.relation_names import COLUMNS, SQL_TYPES, identifier, literal

if TYPE_CHECKING:
    import duckdb

COMPUTED = frozenset({"credential_id"})
"""Derived columns that are not kept: they follow from another one at no cost, and would take as much space again."""
STORED = tuple(column for column in COLUMNS if column not in COMPUTED)
FROM_BLOCK = ("source", "dialect", "redacted", "log_index", "log_time")
ORDER = "resource, verb, username, received, log_index"
"""Rows of a file that are alike stand together: a tenth smaller, and whole groups of rows can be passed over."""
_HOT, _FINAL = 3, 6
_ROW_GROUP = 122_880
_MOST_HOURS = 64  # who sends us times decides on hours: beyond this many in a batch the rest share a folder
_OTHER = "date=other/hour=other"
_TIME = "coalesce(received, log_time)"
_HOUR = f"strftime({_TIME}, 'date=%Y-%m-%d/hour=%H')"
_LONG_LINE_BYTES = 32 << 20
_REDACTED: Mapping[int, tuple[str, ...]] = {
    int(group): tuple(name for name, of in MEMBERS.items() if of == group) or ("requestURI",) for group in Group
}
_MEMBERS = tuple(sorted({path.partition(".")[0] for path in WIRE_PATHS}))
_URI = re.compile(rb'"requestURI":"[^"\\]*(?:\\.[^"\\]*)*",?')


@cache
def schema() -> str:
    """Give what changes whenever a column, or what it means, does."""
    from kubewitness.look.query.sql import derived_columns

    columns = [(f.column, SQL_TYPES[f.type]) for f in FIELDS if f.column in STORED]
    return hashlib.sha256(msgspec.json.encode([1, columns, sorted(derived_columns().items())])).hexdigest()[:16]


@dataclass(slots=True)
class Lines:
    """Lines of a store, ready for the engine, and what is known of each besides."""

    lines: list[bytes] = field(default_factory=list)
    spans: list[tuple[int, int, int, str, int]] = field(default_factory=list)
    """Place of the first line of a commit here, their count, the first log index, the source, nanoseconds."""
    redacted: dict[int, tuple[str, ...]] = field(default_factory=dict)
    size_bytes: int = 0
    passed: Counter[str] = field(default_factory=Counter)
    """How many lines were passed over, by their source."""

    def add(self, block: Block, begin: int = 0, may_match: Callable[[bytes], bool] | None = None) -> None:
        """Take in the Events of a block from index `begin` on, or those of them that may match."""
        index = block.first
        for commit in block.commits:
            events = commit.events[max(begin - index, 0) :]
            first = index + len(commit.events) - len(events)
            index += len(commit.events)
            if not events:
                continue
            if may_match is not None and dialect_of(commit.source) == KUBE_APISERVER:
                for number, kept in enumerate(events):
                    if kept.removed or kept.tombstone is not None or may_match(kept.line):
                        self._take((kept,), first + number, commit)
                    else:
                        self.passed[commit.source] += 1
            else:
                self._take(events, first, commit)

    def _take(self, events: Sequence[Kept], first: int, commit: Commit) -> None:
        """Take in Events of a commit that follow each other."""
        place = len(self.lines)
        self.spans.append((place, len(events), first, commit.source, commit.received_ns))
        for kept in events:
            line = kept.line
            if kept.removed or kept.tombstone is not None:
                self.redacted[len(self.lines)] = missing(kept)
                line = b'{"stage":"ResponseComplete"}' if kept.tombstone else _without_uri(kept)
            if b"\n" in line or b"\r" in line:
                line = line.replace(b"\n", b" ").replace(b"\r", b" ")
            self.size_bytes += len(line)
            self.lines.append(line)

    def index_of(self, place: int) -> int:
        """Give the log index of a line."""
        import bisect

        at = bisect.bisect_right(self.spans, place, key=lambda span: span[0]) - 1
        first, _, index, _, _ = self.spans[at]
        return index + place - first


def missing(kept: Kept) -> tuple[str, ...]:
    """Name the members of an Event that are not there, or not whole."""
    if kept.tombstone is not None:
        return _MEMBERS
    return tuple(sorted({name for group in kept.removed for name in _REDACTED[group]}))


def _without_uri(kept: Kept) -> bytes:
    """Take a path without its query out, too: what is asked about it cannot be told."""
    return _URI.sub(b"", kept.line, count=1) if Group.QUERY in kept.removed else kept.line


class Loader:
    """Loads lines into a table of an engine, with the columns that a question reads."""

    def __init__(self, connection: "duckdb.DuckDBPyConnection", fds: tuple[int, int], cluster: str) -> None:
        """Use two memory files, which the engine may read, for the lines and for those that had to be mended."""
        self._connection = connection
        self._fds = fds
        self._cluster = cluster

    def load(
        self, name: str, lines: Lines, columns: Sequence[str], reads: Iterable[str], tests: Iterable[str] = ()
    ) -> list[Unread]:
        """Make a view of this name with a row for each line; tell which lines have none."""
        from kubewitness.look.query.sql import derived_columns

        relation = Relation(derived_columns(), os.urandom(8).hex(), self._cluster)
        reads = frozenset(reads)
        self._write(self._fds[0], lines.lines)
        longest = max(map(len, lines.lines), default=0)
        options = f", maximum_object_size={max(longest + 1024, _LONG_LINE_BYTES)}"
        names = ", ".join(identifier(column) for column in columns)
        rows = relation.select(reads.union(tests), columns, self._path(0), options, key=Key.NONE)
        run = self._connection.execute
        run(
            f"CREATE OR REPLACE TEMP TABLE {name}_lines AS "
            f"SELECT {names}, CASE WHEN _odd THEN TRUE END AS _odd FROM ({rows})"
        )
        if self._count(f"{name}_lines") == len(lines.lines):
            odd = [place for (place,) in run(f"SELECT rowid FROM {name}_lines WHERE _odd ORDER BY rowid").fetchall()]
        else:  # the engine did not see the lines as we do: none of its rows can be placed
            run(f"DELETE FROM {name}_lines")
            odd = list(range(len(lines.lines)))
        unread = self._mend(name, relation, lines, odd, reads, columns, longest) if odd else []
        self._number(name, lines)
        self._write(self._fds[0], ())
        joined = ", ".join(f"n.{identifier(c)}" if c in FROM_BLOCK else f"l.{identifier(c)}" for c in columns)
        rows = f"SELECT rowid AS _place, {names} FROM {name}_lines WHERE _odd IS NULL"
        if odd:
            rows += (
                f" UNION ALL SELECT s.place AS _place, {names} FROM {name}_mended m "
                f"JOIN {name}_spots s ON s.row_at = m.rowid WHERE NOT m._odd"
            )
        run(
            f"CREATE OR REPLACE TEMP VIEW {name} AS "
            f"SELECT {joined} FROM ({rows}) l JOIN {name}_numbers n ON n.place = l._place"
        )
        return unread

    def unload(self, name: str) -> None:
        """Give the memory of a view back."""
        self._connection.execute(f"DROP VIEW {name}")
        for part in ("lines", "mended", "spots", "numbers"):
            self._connection.execute(f"DROP TABLE IF EXISTS {name}_{part}")

    def _mend(
        self,
        name: str,
        relation: Relation,
        lines: Lines,
        odd: Sequence[int],
        reads: frozenset[str],
        columns: Sequence[str],
        longest: int,
    ) -> list[Unread]:
        """Read odd lines as the tolerant path does, into a table; another tells where each stood."""
        from kubewitness.event.decode import normalise

        unread: list[Unread] = []
        clean: list[bytes] = []
        places: list[int] = []
        for place in odd:
            line = normalise(lines.lines[place])
            if isinstance(line, str):
                index = lines.index_of(place)
                unread.append(Unread(index, index + 1, line))
            else:
                clean.append(line)
                places.append(place)
        self._write(self._fds[1], clean)
        options = f", maximum_object_size={max(2 * longest + 1024, _LONG_LINE_BYTES)}"
        rows = relation.select(reads, columns, self._path(1), options, reading=Reading.TRUSTED, key=Key.NONE)
        names = ", ".join(identifier(column) for column in columns)
        run = self._connection.execute
        run(
            f"CREATE OR REPLACE TEMP TABLE {name}_mended AS "
            f"SELECT {names}, CASE WHEN _odd THEN TRUE ELSE FALSE END AS _odd FROM ({rows})"
        )
        run(f"CREATE OR REPLACE TEMP TABLE {name}_spots (row_at BIGINT, place BIGINT)")
        if places:
            run(
                f"INSERT INTO {name}_spots SELECT unnest(?::BIGINT[]), unnest(?::BIGINT[])",
                [list(range(len(places))), places],
            )
        for (at,) in run(f"SELECT rowid FROM {name}_mended WHERE _odd").fetchall():
            index = lines.index_of(places[at])
            unread.append(Unread(index, index + 1, "the engine cannot read it"))
        return unread

    def _number(self, name: str, lines: Lines) -> None:
        """Make a table of what is known of each line besides its bytes."""
        run = self._connection.execute
        run(
            f"CREATE OR REPLACE TEMP TABLE {name}_numbers "
            "(place BIGINT, log_index BIGINT, source VARCHAR, dialect VARCHAR, log_time TIMESTAMP, redacted VARCHAR[])"
        )
        columns: list[list[object]] = [list(values) for values in zip(*lines.spans, strict=True)] or [[]] * 5
        columns.append([dialect_of(str(source)) for source in columns[3]])
        columns[4] = [int(str(ns)) // 1000 for ns in columns[4]]
        run(
            f"INSERT INTO {name}_numbers SELECT place + k, first + k, source, dialect, make_timestamp(us), NULL "
            "FROM (SELECT *, unnest(range(count)) AS k FROM ("
            "SELECT unnest(?::BIGINT[]) AS place, unnest(?::BIGINT[]) AS count, "
            "unnest(?::BIGINT[]) AS first, unnest(?::VARCHAR[]) AS source, unnest(?::BIGINT[]) AS us, "
            "unnest(?::VARCHAR[]) AS dialect))",
            columns,
        )
        for members in set(lines.redacted.values()):
            places = [place for place, missing in lines.redacted.items() if missing == members]
            run(
                f"UPDATE {name}_numbers SET redacted = ? WHERE place IN (SELECT unnest(?::BIGINT[]))",
                [list(members), places],
            )

    def _path(self, number: int) -> str:
        return f"/proc/self/fd/{self._fds[number]}"

    def _count(self, table: str) -> int:
        row = self._connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        return int(row[0]) if row else 0

    @staticmethod
    def _write(fd: int, lines: Sequence[bytes]) -> None:
        at = 0
        for begin in range(0, len(lines), 4096):
            piece = memoryview(b"\n".join((*lines[begin : begin + 4096], b"")))
            while piece:
                written = os.pwrite(fd, piece, at)
                at, piece = at + written, piece[written:]
        os.ftruncate(fd, at)


class DuckTabulator:
    """Makes Parquet files of Events: the `Tabulator` of an IndexMaker."""

    def __init__(self, cluster: str, *, memory_bytes: int = 768 << 20, threads: int | None = None) -> None:
        self.schema = schema()
        self._cluster = cluster
        self._connection: duckdb.DuckDBPyConnection = engine().connect(
            config={
                "threads": str(threads or processors()),
                "memory_limit": f"{memory_bytes >> 20}MiB",
                "temp_directory": "",  # what does not fit into memory is never written elsewhere
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
            }
        )
        self._connection.execute("PRAGMA disable_progress_bar")
        self._fds = (_memory_file(), _memory_file())
        self._loader = Loader(self._connection, self._fds, cluster)

    def close(self) -> None:
        """Give the memory back."""
        self._connection.close()
        for fd in self._fds:
            os.close(fd)

    def tabulate(self, blocks: Sequence[Block], *, begin: int, is_final: bool) -> Tabulated:
        """Give the Events from `begin` on of these blocks as files, one an hour."""
        lines = Lines()
        for block in blocks:
            lines.add(block, begin)
        if not lines.lines:
            return Tabulated((), ())
        unread = self._loader.load("batch", lines, STORED, WIRE_PATHS)
        level = _FINAL if is_final else _HOT
        tables = [self._table(folder, where, lines, level) for folder, where in self._hours().items()]
        self._loader.unload("batch")
        return Tabulated([table for table in tables if table.entry.rows], unread)

    def merge(self, parts: Sequence[tuple[Entry, bytes]]) -> Table:
        """Give the rows of these files as one."""
        fds = [_memory_file(data) for _, data in parts]
        try:
            paths = ", ".join(literal(f"/proc/self/fd/{fd}") for fd in fds)
            data = self._copy(f"SELECT * FROM read_parquet([{paths}], hive_partitioning=false)", _FINAL)
        finally:
            for fd in fds:
                os.close(fd)
        entries = [entry for entry, _ in parts]
        times = [time for entry in entries for time in (entry.min_us, entry.max_us) if time is not None]
        entry = Entry(
            path=entries[0].path.rpartition("/")[0],
            first=min(entry.first for entry in entries),
            end=max(entry.end for entry in entries),
            rows=sum(entry.rows for entry in entries),
            bytes=len(data),
            raw_bytes=sum(entry.raw_bytes for entry in entries),
            min_us=min(times, default=None),
            max_us=max(times, default=None),
            untimed=sum(entry.untimed for entry in entries),
            stages=_sum(entry.stages for entry in entries),
            dialects=_sum(entry.dialects for entry in entries),
            redacted=sum(entry.redacted for entry in entries),
        )
        return Table(entry, data)

    def _hours(self) -> dict[str, str]:
        """Give the folders that a batch goes to, each with the condition for its rows."""
        found = self._connection.execute(f"SELECT {_HOUR} FROM batch GROUP BY ALL ORDER BY count(*) DESC, 1").fetchall()
        names = [str(hour) for (hour,) in found]
        kept = [name for name in names if re.fullmatch(r"date=\d{4}-\d\d-\d\d/hour=\d\d", name)][:_MOST_HOURS]
        conditions = {
            name: f"{_TIME} >= {_moment(name)} AND {_TIME} < {_moment(name)} + INTERVAL 1 HOUR" for name in kept
        }
        if len(names) == len(kept) == 1:
            return {kept[0]: "TRUE"}
        if len(kept) < len(names):
            conditions[_OTHER] = f"{_HOUR} NOT IN ({', '.join(map(literal, ['', *kept]))})"
        return conditions

    def _table(self, folder: str, where: str, lines: Lines, level: int) -> Table:
        row = self._connection.execute(
            "SELECT count(*), min(log_index), max(log_index), epoch_us(min(received)), epoch_us(max(received)), "
            "count_if(received IS NULL), count_if(redacted IS NOT NULL), "
            "histogram(coalesce(stage, '')), histogram(coalesce(dialect, '')) "
            f"FROM batch WHERE {where}"
        ).fetchone()
        assert row is not None  # noqa: S101 - an aggregate has a row
        rows, first, last, min_us, max_us, untimed, redacted, stages, dialects = row
        data = self._copy(f"SELECT * FROM batch WHERE {where}", level)
        entry = Entry(
            path=folder,
            first=first,
            end=last + 1,
            rows=rows,
            bytes=len(data),
            raw_bytes=lines.size_bytes * rows // len(lines.lines),
            min_us=min_us,
            max_us=max_us,
            untimed=untimed,
            stages=stages,
            dialects=dialects,
            redacted=redacted,
        )
        return Table(entry, data)

    def _copy(self, select: str, level: int) -> bytes:
        fd = _memory_file()
        try:
            self._connection.execute(
                f"COPY ({select} ORDER BY {ORDER}) TO '/proc/self/fd/{fd}' (FORMAT parquet, COMPRESSION zstd, "
                f"COMPRESSION_LEVEL {level}, PARQUET_VERSION V2, ROW_GROUP_SIZE {_ROW_GROUP}, USE_TMP_FILE false)"
            )
            return os.pread(fd, os.fstat(fd).st_size, 0)
        finally:
            os.close(fd)


def _memory_file(data: bytes = b"") -> int:
    fd = os.memfd_create("kubewitness", os.MFD_CLOEXEC)
    write_all(fd, data)
    return fd


def _moment(folder: str) -> str:
    """Give the time at which the hour of a folder begins."""
    return f"TIMESTAMP '{folder[5:15]} {folder[-2:]}:00:00'"


def _sum(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for count in counts:
        for name, number in count.items():
            total[name] = total.get(name, 0) + number
    return total
