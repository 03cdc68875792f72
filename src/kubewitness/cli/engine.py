"""
The seam between the commands and `look.query`: the arguments become a question, the account becomes facts to be told.

`open_log(args)` gives a `Log`; `query` answers SQL over `events`, of which only the requests that the flags mean are
left; `raw` gives their exact bytes. Errors of the engine become the user's: a wrong condition, an unreadable file.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import msgspec

from kubewitness._kit.opening import Compression
from kubewitness.cli.ahead import SMALL_BYTES, drop_search, is_begun
from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.filters import Condition, condition_of
from kubewitness.cli.sources import Place, SourceReport, sources_of, store_of
from kubewitness.event import expr_logic
from kubewitness.event.filter import PLAIN
from kubewitness.event.items import KUBE_APISERVER, Damage
from kubewitness.look.query.account import Account, FileAccount
from kubewitness.look.query.source import Input, SourceError, find_inputs

if TYPE_CHECKING:
    from kubewitness.event.expr import Expr
    from kubewitness.event.expr_values import Context
    from kubewitness.event.types import Event
    from kubewitness.look.query.find import Found
    from kubewitness.look.query.picks import Picks
    from kubewitness.look.query.prefilter import Picker
    from kubewitness.look.query.run import Answer, Events, Made, Weights

Stages: TypeAlias = Literal["latest", "all"]


class Facts(msgspec.Struct, frozen=True):
    """What was read to answer."""

    reports: Sequence[SourceReport] = ()
    events: int = 0
    unknown: int = 0
    is_all_checked: bool = True


class Rows:
    """The rows of an answer, with the names of their columns and which of them are numbers."""

    def __init__(self, answer: "Answer") -> None:
        self._answer = answer
        self.names = answer.columns
        self.are_numbers = [kind.endswith("INT") or kind in _NUMBERS for kind in answer.types]

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        from kubewitness.look.query.lockdown import QueryError

        try:
            yield from self._answer
        except QueryError as error:
            raise UserError(str(error)) from error


# What is read more than once, or only counted as read, must not look finished.
_NEARLY = 0.99
# Unknown answers that are looked at one by one to say why.
_EXPLAINED = 1000
_NUMBERS = frozenset(["INTEGER", "DOUBLE", "FLOAT", "DECIMAL", "UINTEGER"])


_TESTED = ("verb", "user.username", "objectRef.resource")
"""What every question tests: so the same events are damaged whatever columns and format are asked for."""


class Log:
    """The events that a command's arguments name, ready to be asked; each question reads them anew."""

    def __init__(
        self,
        source: "_Source",
        conditions: Callable[[expr_logic.Facts], Condition],
        stages: Stages,
        where: str | None = None,
    ) -> None:
        """Ask with these conditions; `where` is what the user wrote of them in SQL.

        Files that look like kube-apiserver's own get the short condition; where that proves wrong, the full one.
        """
        self._source = source
        self._inputs = source.inputs
        self._conditions = conditions
        self.is_store = any(one.is_store for one in self._inputs)
        self._is_plain = all(one.is_lines for one in self._inputs)
        self._condition = conditions(PLAIN if self._is_plain else expr_logic.NO_FACTS)
        self._stages = stages
        self._where = where
        self._account = Account()
        self._read_before = _bytes_read()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._source.close()

    def fraction(self) -> float | None:
        """How far the reading of the present question is, 0 to 1; None while nobody knows."""
        if (searched := self._source.fraction_searched) is not None:
            return min(searched, _NEARLY) or None
        total = sum(one.size_bytes for one in self._inputs)
        read = _bytes_read() - self._read_before - self._source.bytes_measured
        return max(self._source.fraction or 0, min(read / total, _NEARLY)) if total and read else None

    def query(
        self,
        statement: str,
        *,
        stages: Stages | None = None,
        weights: "Weights | None" = None,
        made: "Made | None" = None,
    ) -> Rows:
        """Answer one SELECT over `events`, of which only what the flags mean is left; for more see `Events.query`."""
        return Rows(self._ask(statement, stages or self._stages, weights=weights, made=made))

    def rows(self, columns: Sequence[str], limit: int | None = None) -> Iterable[tuple[Any, ...]]:
        """Give these columns of what the flags mean, in the order of time."""
        found = self._find()
        if found is not None:
            from kubewitness.cli.event_rows import are_plain, row_maker

            if are_plain(columns):
                make = row_maker(columns)
                return [make(hit.event, hit.context) for hit in found.hits[: limit or None]]
        return self.query(select(columns, limit=limit))

    def count(self) -> int:
        """Count what the flags mean."""
        found = self._find()
        if found is not None:
            return len(found.hits)
        [(count,)] = self.query("SELECT count(*) FROM events")
        return int(count)

    def raw(self, limit: int | None = None) -> Iterator[bytes]:
        """Give the exact bytes of what the flags mean, in the order of time."""
        found = self._find()
        if found is not None:
            yield from (hit.raw for hit in found.hits[: limit or None])
            return
        answer = self._ask(select(["_row"], limit=limit), self._stages, keeps_bytes=True)
        yield from _bytes(answer, [row for (row,) in answer])

    def raw_with(self, columns: Sequence[str]) -> Iterator[tuple[bytes, tuple[Any, ...]]]:
        """Give the exact bytes of what the flags mean, in the order of time, each with these columns."""
        answer = self._ask(select(["_row", *columns]), self._stages, keeps_bytes=True)
        rows = list(answer)
        for row, raw in zip(rows, _bytes(answer, [row[0] for row in rows]), strict=True):
            yield raw, row[1:]

    def weighed(self, columns: Sequence[str]) -> Iterator[tuple[tuple[Any, ...], int]]:
        """Give these columns of what the flags mean, each row with the bytes it takes in the log."""
        answer = self._ask(select(["_row", *columns], in_time=False), self._stages, keeps_bytes=True)
        rows = list(answer)
        for row, raw in zip(rows, _bytes(answer, [row[0] for row in rows]), strict=True):
            yield row[1:], len(raw)

    def span(self) -> tuple[datetime, datetime] | None:
        """Give the first and the last time in everything that was read, matching or not."""
        answer = self._source.engine.query("SELECT min(received), max(received) FROM events", stages="all")
        [(first, last)] = answer
        return (first, last) if first is not None else None

    def why_unknown(self) -> tuple[Counter[str], int]:
        """Give the reasons why answers are unknown, counted over the first such requests, and how many those are."""
        from kubewitness.event.decode import decode_tolerant
        from kubewitness.event.expr_values import Context
        from kubewitness.event.filter import why_unknown

        condition = msgspec.structs.replace(self._condition, written=(self._condition.unknown, "FALSE"))
        columns = ["_row", "dialect", "redacted"]
        answer = self._ask(select(columns, limit=_EXPLAINED), self._stages, condition=condition, keeps_bytes=True)
        rows = list(answer)
        reasons: Counter[str] = Counter()
        count = 0
        for (_, dialect, redacted), raw in zip(rows, _bytes(answer, [row[0] for row in rows]), strict=True):
            read = decode_tolerant(raw)
            if isinstance(read, str):
                continue
            event, count = read[0], count + 1
            context = Context(dialect=dialect, redacted=tuple(redacted) if redacted else None)
            # a field that a flag and --where both name is told once
            reasons.update(
                {
                    *why_unknown(condition.filter, event, context),
                    *(f"{path}: {words}" for path in condition.named if (words := _lacking(path, event, context))),
                }
            )
        return reasons, count

    def has(self, path: str, value: str) -> bool:
        """Tell whether any event has this text in a field, whatever the flags say."""
        from kubewitness.event.expr import Ref, equals
        from kubewitness.look.query import sql

        wanted = equals(Ref(path), value)
        found = self._source.find(wanted, "all")
        if found is not None:
            return bool(found.hits)
        answer = self._source.engine.query("SELECT count(*) FROM events", where=sql.where(wanted), stages="all")
        [(count,)] = answer
        return bool(count)

    def facts(self) -> Facts:
        """Say what the last question read."""
        account = self._account
        return Facts(
            list(map(_report, self._inputs, account.files)),
            account.events,
            account.unknown,
            account.damage_checked,
        )

    @property
    def has_lines_alone(self) -> bool:
        """Whether all that the last question read were lines of one event each."""
        return all(one.is_lines for one in self._inputs) and not any(file.odd for file in self._account.files)

    def statement(self, statement: str) -> str:
        """Give the SQL of a question as `kubewitness sql` takes it."""
        relation = "requests" if self._stages == "latest" else "events"
        where = "" if self._condition.where == "TRUE" else f"\nWHERE {self._condition.where}"
        head, _, tail = statement.partition(" FROM events")
        return f"{head}\nFROM {relation}{where}\n{tail.strip()}".rstrip()

    def _find(self) -> "Found | None":
        """Give what the flags mean where few lines can match and no SQL but theirs is asked."""
        if not self._is_plain or not self._condition.is_of_flags:
            return None
        found = self._source.find(self._condition.filter, self._stages)
        if found is not None:
            self._account = found.account
        return found

    def _ask(
        self,
        statement: str,
        stages: Stages,
        *,
        condition: Condition | None = None,
        keeps_bytes: bool = False,
        weights: "Weights | None" = None,
        made: "Made | None" = None,
    ) -> "Answer":
        from kubewitness.look.query.lockdown import QueryError

        condition = condition or self._condition
        self._read_before = _bytes_read()
        try:
            answer = self._source.engine.query(
                statement,
                where=condition.where,
                unknown=condition.unknown,
                stages=stages,
                keeps_bytes=keeps_bytes,
                weights=weights or {},
                made=made or {},
                filter_=None if self._source.checks_all and not self.is_store else condition.filter,
                tests=_TESTED,
            )
        except QueryError as error:
            raise UserError(_told(str(error), statement, self._where)) from error
        if self._is_plain and not _is_plain(answer.account):
            # an event in another dialect stood among the others: ask again with all that can be unknown
            self._is_plain = False
            is_whole = condition is self._condition
            self._condition = self._conditions(expr_logic.NO_FACTS)
            answer.close()
            written = (self._condition.unknown, condition.unknown)
            again = self._condition if is_whole else msgspec.structs.replace(condition, written=written)
            return self._ask(statement, stages, condition=again, keeps_bytes=keeps_bytes, weights=weights, made=made)
        if condition is self._condition:
            self._account = answer.account
        return answer


def _bytes(answer: "Answer", rows: list[int]) -> Iterator[bytes]:
    """Give the exact bytes of rows. Raises UserError for an Event of a store that its index has and its segment not."""
    from kubewitness.look.query.lockdown import QueryError

    try:
        yield from answer.exact_bytes(rows)
    except QueryError as error:
        raise UserError(str(error), ExitCode.INTEGRITY) from error


def _told(error: str, statement: str, where: str | None) -> str:
    """Say what the engine did not understand, where that was written, and what to write for usual mistakes."""
    import re

    help_ = ""
    found = re.search(r'column "([^"]+)" not found', error)
    if found and f'"{found[1]}"' in (where or statement):
        help_ = f"\n  help: text stands between single quotes: '{found[1]}'"
    elif "(VARCHAR[]" in error:
        help_ = "\n  help: a list is no text: list_contains(A, 'x'), or array_to_string(A, ' ') LIKE '%x%'"
    return f"{'--where: ' if where else ''}{error}{help_}"


def _is_plain(account: Account) -> bool:
    """Tell whether every event read was one of kube-apiserver's own."""
    return all(name == KUBE_APISERVER for file in account.files for name, count in file.dialects.items() if count)


def _lacking(path: str, event: "Event", context: "Context") -> str | None:
    """Say why this Event could not hold a field; None if it holds it, or could have."""
    from kubewitness.event.derive import expand
    from kubewitness.event.expr import Ref
    from kubewitness.event.expr_evaluate import evaluate
    from kubewitness.event.recordable import why

    return why(path, event, context) if evaluate(expand(Ref(path)), event, context) is None else None


def select(columns: Iterable[str], *, in_time: bool = True, limit: int | None = None) -> str:
    """Write the SELECT of these columns of `events`, in the order of time unless that does not matter."""
    order = " ORDER BY received, stage_time, _row" if in_time else ""
    return f"SELECT {listed(columns)} FROM events{order}{f' LIMIT {limit}' if limit else ''}"  # noqa: S608 - quoted


def listed(columns: Iterable[str]) -> str:
    """Write names of columns for a SELECT, quoted: some, such as groups, are words of SQL."""
    return ", ".join(f'"{column}"' for column in columns)


def _bytes_read() -> int:
    """Give the bytes this process has read so far, as Linux counts them: the engine tells only of whole files."""
    try:
        with open("/proc/self/io", "rb") as file:  # noqa: PTH123 - pathlib costs start-up
            line = file.readline()
    except OSError:
        return 0
    return int(line.removeprefix(b"rchar: "))


def open_log(args: argparse.Namespace, *, stages: Stages | None = None, narrowed: str | None = None) -> Log:
    """Find the inputs that the arguments name and make the condition of their flags, narrowed by one in SQL."""
    data = store_of(args)
    sources = [] if data else sources_of(args)

    made: dict[int, Condition] = {}  # what is relative to now stays what it was; the facts are two constants

    def conditions(facts: expr_logic.Facts) -> Condition:
        if id(facts) not in made:
            condition = condition_of(args, facts)
            if narrowed is not None:
                written = (f"({narrowed}) AND ({condition.where})", f"({narrowed}) AND ({condition.unknown})")
                condition = msgspec.structs.replace(condition, written=written)
            made[id(facts)] = condition
        return made[id(facts)]

    condition = conditions(PLAIN)  # a wrong flag is told before anything is read
    chosen: Stages = stages or ("all" if getattr(args, "stages", "latest") == "all" else "latest")
    checks_all: bool = getattr(args, "account", False) or is_begun()
    where: str | None = getattr(args, "where", None)
    try:
        if data:
            from kubewitness.look.query.store import open_store

            events = open_store(data, args.cluster)
            events.checks_all = checks_all
            return Log(_Source(events.inputs, args.cluster, events, checks_all=checks_all), conditions, chosen, where)
        source = _Source(find_inputs(sources), args.cluster, checks_all=checks_all)
    except SourceError as error:
        raise UserError(str(error)) from error
    if not getattr(args, "show_sql", False):
        picks = source.begin(condition.filter, chosen)
        if picks is None:
            from kubewitness.look.query import lockdown

            drop_search()
            lockdown.begin()
    return Log(source, conditions, chosen, where)


class _Source:
    """The inputs, and the two ways to ask them: by looking for a few lines, and by the engine, made when asked."""

    def __init__(
        self, inputs: Sequence[Input], cluster: str | None, events: "Events | None" = None, *, checks_all: bool
    ) -> None:
        """`checks_all` looks for damage in lines that cannot match, too."""
        self.inputs = inputs
        self.checks_all = checks_all or sum(one.size_bytes for one in inputs) < SMALL_BYTES
        self._cluster = cluster
        self._events = events
        self._picker: Picker | None = None
        self._stack = ExitStack()
        if events is not None:
            self._open(events)

    def begin(self, filter_: "Expr", stages: Stages) -> "Picks | None":
        """Begin to search for the lines that can match, while what is needed to judge them is loaded."""
        if self.checks_all or any(one.is_store for one in self.inputs):
            return None
        if self._picker is None:
            from kubewitness.look.query.prefilter import Picker

            self._picker = Picker(self.inputs)
            self._stack.callback(self._picker.close)
        return self._picker.begin(filter_, joins_stages=stages == "latest")

    def find(self, filter_: "Expr", stages: Stages) -> "Found | None":
        """Give what a filter finds where few lines can match; None where the engine has to be asked."""
        picks = self.begin(filter_, stages)
        if picks is None:
            return None
        from kubewitness.look.query.find import find

        return find(self.inputs, picks, filter_, stages=stages, cluster=self._cluster)

    @property
    def engine(self) -> "Events":
        """What answers anything; made when it is first asked, as loading it takes longer than finding a few lines."""
        if self._events is None:
            from kubewitness.look.query.run import Events

            self._events = Events(self.inputs, self._cluster, picker=self._picker)
            self._open(self._events)
        return self._events

    @property
    def fraction_searched(self) -> float | None:
        """How far the search for lines is, 0 to 1; None when it is over, or there is none, or nobody knows."""
        fraction = None if self._picker is None else self._picker.fraction
        return None if fraction == 1 else fraction

    @property
    def fraction(self) -> float | None:
        """How far the engine's reading is, 0 to 1; None while it does not read."""
        return None if self._events is None else self._events.fraction

    @property
    def bytes_measured(self) -> int:
        """What the engine read to learn the lengths of lines, and not to answer."""
        return 0 if self._events is None else self._events.bytes_measured

    def close(self) -> None:
        """Stop what runs, give memory and files back."""
        self._stack.close()

    def _open(self, events: "Events") -> None:
        from kubewitness.cli.interrupt import interruptible

        self._stack.enter_context(interruptible(events.interrupt))
        self._stack.callback(events.close)


def _report(one: Input, account: FileAccount) -> SourceReport:
    form = (
        "stored"
        if one.is_store
        else "one event a line"
        if one.is_lines
        else "lists, pretty-printed or enveloped events"
    )
    dialects = [name for name, count in account.dialects.most_common() if count and name != KUBE_APISERVER]
    return SourceReport(
        account.name,
        form=form if one.compression is Compression.NONE else f"{form}, {one.compression.value}",
        dialect=", ".join(dialects),
        events=account.events,
        damaged=account.damaged,
        repaired=account.mended,
        places=[_place(damage) for damage in account.damage],
        notes=[f"{note} ({count:,} times)" if count > 1 else note for note, count in account.notes.most_common()],
    )


def _place(damage: Damage) -> Place:
    return Place(damage.source, damage.offset, damage.line or None, damage.reason, damage.excerpt)
