"""
Ask a question of stores: `open_store(data, cluster)` gives what `run.open_events` gives for files.

The relation `events` is the index (`keep.index`) and, beyond its end, the newest Events from the segments, which are
read for each question: an Event that was acknowledged is found at once. No lock is taken; where a file of the index
was merged away while it was being looked for, the question is asked again.

Rows carry the index of the Event in its log, by which its exact bytes are found and by which it is proved.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kubewitness._kit.files import DiskDirectory
from kubewitness._kit.opening import Compression
from kubewitness.event.items import EXCERPT_BYTES, KUBE_APISERVER, Damage
from kubewitness.event.types import Stage
from kubewitness.keep.index.manifest import INDEX, Entry, Manifest, read_manifest
from kubewitness.keep.store.errors import DamagedError
from kubewitness.keep.store.find import Finder
from kubewitness.keep.store.layout import OWN_PREFIX, DataDir
from kubewitness.keep.store.reader import Lost, Tail, read_blocks, records
from kubewitness.keep.store.scan import SEGMENTS
from kubewitness.look.query.account import Account, FileAccount
from kubewitness.look.query.lockdown import (
    MEMORY_BYTES,
    QueryError,
    check_select,
    engine_errors,
    locked,
    seal,
    tidy,
    told,
)
from kubewitness.look.query.run import (
    NO_WEIGHTS,
    NOTHING_MADE,
    Answer,
    Events,
    Made,
    Weights,
    bracket,
    count_hits,
    wire_paths,
    without_twins,
)
from kubewitness.look.query.source import Input, SourceError
from kubewitness.look.query.store_ask import Ask
from kubewitness.look.query.tabulate import Lines, Loader, schema

if TYPE_CHECKING:
    import duckdb

    from kubewitness.event.expr import Expr

_ATTEMPTS = 5
_BYTES_BATCH = 4096
WHOLE_BYTES = 8 << 20
"""Of so many bytes beyond the index every line is parsed, so that damage is found; that takes no time to speak of."""


def open_store(data: str, cluster: str | None = None, *, memory_bytes: int = MEMORY_BYTES) -> "StoreEvents":
    """Open the logs of a data directory, or of one cluster in it. Raises SourceError."""
    return StoreEvents(open_shelves(data, cluster), memory_bytes)


def open_shelves(data: str, cluster: str | None = None) -> "list[Shelf]":
    """Open the logs of a data directory, or of one cluster in it, to be read. Raises SourceError."""
    directory = DataDir(Path(data))
    try:
        clusters = sorted(directory.clusters())
    except (DamagedError, OSError) as exc:
        raise SourceError(f"{data}: {exc}") from exc
    if not clusters:
        raise SourceError(f"{data}: no store is there: it has no logs/<cluster>/cluster.json")
    if cluster is not None and cluster not in clusters:
        raise SourceError(f"{data}: has no log of cluster {cluster!r}; it has {', '.join(map(repr, clusters))}")
    # the server's own log is meant only where it is named
    of_clusters = [name for name in clusters if not name.startswith(OWN_PREFIX)] or clusters
    chosen = of_clusters if cluster is None else [cluster]
    try:
        return [Shelf(name, directory.log_path(name)) for name in chosen]
    except OSError as exc:
        raise SourceError(f"{data}: {exc.filename or ''}: {exc.strerror}") from exc


class Shelf:
    """The log of one cluster, held open to be read."""

    def __init__(self, cluster: str, path: Path) -> None:
        self.cluster = cluster
        self.path = path
        self._root = DiskDirectory.at(path)
        self.segments = self._root.look(SEGMENTS)
        self.finder = Finder(self.segments)

    def manifest(self) -> Manifest:
        """Read what the index holds now."""
        return read_manifest(self._root, schema())

    def newest(
        self, manifest: Manifest, may_match: "Callable[[bytes], bool] | None" = None
    ) -> "tuple[Lines, list[Lost]]":
        """Read the Events beyond the index: where they are many, after the first ones only those that may match."""
        lines, lost = Lines(), []
        at = (manifest.segment, manifest.offset) if manifest.segment >= 0 else None
        for part in Tail(self.segments, manifest.end, at).poll():
            if isinstance(part, Lost):
                if part.end > manifest.end:
                    lost.append(part)
            else:
                lines.add(part, manifest.end, may_match if lines.size_bytes >= WHOLE_BYTES else None)
        return lines, lost

    def end(self) -> int:
        """Give the index after the last Event that can be seen."""
        manifest = self.manifest()
        at = (manifest.segment, manifest.offset) if manifest.segment >= 0 else None
        tail = Tail(self.segments, manifest.end, at)
        for _ in tail.poll():
            pass
        return tail.index

    def lines(self) -> Iterator[bytes]:
        """Give every Event in order, as the store shows it; what is lost is left out."""
        for part in read_blocks(self.segments):
            if not isinstance(part, Lost):
                for record in records(part):
                    yield record.kept.line

    def close(self) -> None:
        """Let go."""
        self.segments.close()
        self._root.close()


@dataclass(slots=True)
class _Look:
    """What one question reads of one log."""

    shelf: Shelf
    manifest: Manifest
    files: Sequence[Entry]
    lines: Lines
    lost: Sequence[Lost]
    account: FileAccount = field(default_factory=lambda: FileAccount(""))

    def path_of(self, entry: Entry) -> str:
        """Give the path of a file of the index."""
        return f"{self.shelf.path}/{INDEX}/{entry.path}"


class StoreEvents(Events):
    """Stores to ask questions of; use as a context manager."""

    def __init__(self, shelves: Sequence[Shelf], memory_bytes: int) -> None:
        self._shelves = list(shelves)
        self.checks_all = False
        """Whether to look for damage in lines that cannot match, too."""
        self._connection: duckdb.DuckDBPyConnection | None = None
        super().__init__([_input(shelf) for shelf in shelves], None, memory_bytes)

    def close(self) -> None:
        """Give memory and files back."""
        super().close()
        for shelf in self._shelves:
            shelf.close()

    def interrupt(self) -> None:
        """Stop the question that is being answered. May be called from another thread."""
        if self._connection is not None:
            self._connection.interrupt()

    @property
    def fraction(self) -> float | None:
        """Nobody knows how far a question is, and it takes no time."""
        return None

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
    ) -> Answer:
        """Run one SELECT over `events`, as `Events.query` does. Raises QueryError."""
        numbers = {name: stored for name, (_, stored) in {**weights, **made}.items()}
        for _ in range(_ATTEMPTS - 1):
            try:
                return self._query(sql, where, unknown, stages, keeps_bytes, numbers, filter_, tests)
            except _MovedError:
                continue
        return self._query(sql, where, unknown, stages, keeps_bytes, numbers, filter_, tests)

    def _query(
        self,
        sql: str,
        where: str,
        unknown: str,
        stages: Literal["latest", "all"],
        keeps_bytes: bool,
        numbers: Mapping[str, str],
        filter_: "Expr | None",
        tests: Iterable[str],
    ) -> Answer:
        joins_stages = stages == "latest" or "requests" in sql.lower()
        looks = [self._look(shelf, filter_, joins_stages=joins_stages) for shelf in self._shelves]
        files = [look.path_of(entry) for look in looks for entry in look.files]
        panics = [look.path_of(entry) for look in looks for entry in look.files if entry.stages.get(Stage.PANIC.value)]
        fds = self._files.fds[0], self._files.rescue_fd
        paths = ["/dev/null", *files, *(f"/proc/self/fd/{fd}" for fd in fds)]
        connection = self._connection = locked(paths, self._memory_bytes)
        try:
            check_select(connection, sql)
            where, unknown = (bracket(connection, condition) for condition in (where, unknown))
            question = self._plan(connection, sql, where, unknown, stages, keeps_bytes=keeps_bytes, weights=numbers)
            ask = Ask(connection, question, files, panics, keeps_bytes=keeps_bytes, weights=numbers)
            for number, look in enumerate(looks):
                loader = Loader(connection, fds, look.shelf.cluster)
                unread = []
                if look.lines.lines:
                    unread = loader.load(
                        f"newest_{number}", look.lines, ask.columns, question.reads | wire_paths(ask.columns), tests
                    )
                    ask.newest.append(f"newest_{number}")
                _fill(look, [(one.first, one.end, one.reason) for one in unread])
            account = Account([look.account for look in looks])
            if stages == "all" and not keeps_bytes and not question.joins_stages:
                account.unknown = ask.view()
            elif not ask.latest(stages, sql):
                ask.collect(stages)
                account.unknown = count_hits(connection, "_match = 2")
                ask.create_views()
            seal(connection)
            rows = connection.execute(without_twins(connection, sql))
            return Answer(rows, connection, lambda wanted: self._exact(connection, wanted), account)
        except engine_errors() as exc:
            connection.close()
            said = tidy(exc)
            gone = next((path for path in files if not os.path.exists(path)), None)  # noqa: PTH110 - one of thousands
            if gone is not None:
                raise _MovedError(f"{gone} is not there; {_REMEDY}") from exc
            raise (QueryError(f"{said}; {_REMEDY}") if any(path in said for path in files) else told(exc)) from exc
        except BaseException:
            connection.interrupt()
            connection.close()
            raise

    def _look(self, shelf: Shelf, filter_: "Expr | None", *, joins_stages: bool) -> _Look:
        manifest = shelf.manifest()
        files: Sequence[Entry] = manifest.files
        may_match = None
        if filter_ is not None:
            from kubewitness.look.query.store_bounds import line_test, may_hold

            files = [entry for entry in files if may_hold(filter_, entry)]
            may_match = None if self.checks_all else line_test(filter_, joins_stages=joins_stages)
        lines, lost = shelf.newest(manifest, may_match)
        return _Look(shelf, manifest, files, lines, lost)

    def _exact(self, connection: "duckdb.DuckDBPyConnection", rows: list[int]) -> Iterator[bytes]:
        """Give the bytes of these rows of `hits`, in this order."""
        shelves = {shelf.cluster: shelf for shelf in self._shelves}
        cursor = connection.cursor()
        for begin in range(0, len(rows), _BYTES_BATCH):
            wanted = rows[begin : begin + _BYTES_BATCH]
            cursor.execute(
                "SELECT rowid, _cluster, _index FROM hits WHERE rowid IN (SELECT unnest(?::BIGINT[])) "
                "ORDER BY _cluster, _index",
                [wanted],
            )
            places = cursor.fetchall()
            found: dict[int, bytes] = {}
            for cluster, shelf in shelves.items():
                mine = [(row, index) for row, name, index in places if name == cluster]
                records = shelf.finder.find([index for _, index in mine])
                for (row, index), record in zip(mine, records, strict=True):
                    if record is None:
                        raise QueryError(f"{shelf.path}: Event {index} cannot be read; `verify` says what is damaged")
                    found[row] = record.kept.line
            for row in wanted:
                yield found[row]


_REMEDY = "`rebuild --index` makes the index of a store again"


class _MovedError(QueryError):
    """A file of the index went while it was being looked for."""


def _input(shelf: Shelf) -> Input:
    """Describe a log as an input: plain if all that its index knows of is as kube-apiserver wrote it."""
    files = shelf.manifest().files
    is_plain = all(not entry.redacted and set(entry.dialects) <= {KUBE_APISERVER} for entry in files)
    size = sum(entry.bytes for entry in files)
    return Input(
        f"store of {shelf.cluster}", str(shelf.path), Compression.NONE, size, is_plain, True, True, is_store=True
    )


def _fill(look: _Look, unread: Sequence[tuple[int, int, str]]) -> None:
    """Account for what a question read of a log."""
    account = look.account
    account.name = f"store of {look.shelf.cluster}"
    passed = look.lines.passed
    account.events = look.manifest.rows + len(look.lines.lines) + passed.total() - len(unread)
    account.damage_checked = not passed
    account.lines = account.events
    for entry in look.manifest.files:
        account.dialects.update(entry.dialects)
        if entry.redacted:
            account.dialects["with members removed"] += entry.redacted
    from kubewitness.keep.store.doors import dialect_of

    for _, count, _, source, _ in look.lines.spans:
        account.dialects[dialect_of(source)] += count
    for source, count in passed.items():
        account.dialects[dialect_of(source)] += count
    if look.lines.redacted:
        account.dialects["with members removed"] += len(look.lines.redacted)
    places = [(one.first, one.end, one.reason) for one in look.manifest.unread]
    places += [(one.first, one.end, f"{one.segment}, byte {one.offset}: damaged") for one in look.lost]
    for first, end, reason in (*places, *unread):
        what = f"Event {first}" if end == first + 1 else f"Events {first} to {end - 1}"
        account.add_damage(Damage(f"store of {look.shelf.cluster}: {what}", 0, 0, 0, reason, b""[:EXCERPT_BYTES]))
