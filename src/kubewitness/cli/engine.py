"""
The seam between the commands and `look.query`: the arguments become a question, the account becomes facts to be told.

`open_log(args)` gives a `Log`; `query` answers SQL over `events`, of which only the requests that the flags mean are
left; `raw` gives their exact bytes. Errors of the engine become the user's: a wrong condition, an unreadable file.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

from kubewitness._kit.opening import Compression
from kubewitness.cli.errors import UserError
from kubewitness.cli.filters import Condition, condition_of
from kubewitness.cli.interrupt import interruptible
from kubewitness.cli.sources import Place, SourceReport, sources_of, store_of
from kubewitness.event import expr_logic
from kubewitness.event.filter import PLAIN
from kubewitness.event.items import KUBE_APISERVER, Damage
from kubewitness.look.query.account import Account, FileAccount
from kubewitness.look.query.lockdown import QueryError
from kubewitness.look.query.source import Input, SourceError, find_inputs

if TYPE_CHECKING:
    from kubewitness.event.expr_values import Context
    from kubewitness.event.types import Event
    from kubewitness.look.query.find import Found
    from kubewitness.look.query.prefilter import Picker
    from kubewitness.look.query.run import Answer, Events, Weights

Stages: TypeAlias = Literal["latest", "all"]


@dataclass(frozen=True, slots=True)
class Facts:
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
        return iter(self._answer)


# What is read more than once, or only counted as read, must not look finished.
_NEARLY = 0.99
# Unknown answers that are looked at one by one to say why.
_EXPLAINED = 1000
_NUMBERS = frozenset(["INTEGER", "DOUBLE", "FLOAT", "DECIMAL", "UINTEGER"])


_TESTED = ("verb", "user.username", "objectRef.resource")
"""What every question tests: so the same events are damaged whatever columns and format are asked for."""
_SMALL_BYTES = 32 << 20
"""Parsing so much takes no longer than a person notices, and then damage is always looked for."""


class Log:
    """The events that a command's arguments name, ready to be asked; each question reads them anew."""

    def __init__(
        self,
        events: "Events",
        conditions: Callable[[expr_logic.Facts], Condition],
        stages: Stages,
        *,
        checks_all: bool = False,
    ) -> None:
        """Ask with these conditions; `checks_all` looks for damage in lines that cannot match, too.

        Files that look like kube-apiserver's own get the short condition; where that proves wrong, the full one.
        """
        self._checks_all = checks_all or _is_small(events.inputs)
        self._events = events
        self._conditions = conditions
        self.is_store = any(one.is_store for one in events.inputs)
        self._is_plain = all(one.is_lines for one in events.inputs)
        self._condition = conditions(PLAIN if self._is_plain else expr_logic.NO_FACTS)
        self._stages = stages
        self._account = Account()
        self._stack = ExitStack()
        self._read_before = _bytes_read()

    def __enter__(self) -> Self:
        self._stack.enter_context(interruptible(self._events.interrupt))
        self._stack.callback(self._events.close)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def fraction(self) -> float | None:
        """How far the reading of the present question is, 0 to 1; None while nobody knows."""
        total = sum(one.size_bytes for one in self._events.inputs)
        read = _bytes_read() - self._read_before - self._events.bytes_measured
        return max(self._events.fraction or 0, min(read / total, _NEARLY)) if total and read else None

    def query(self, statement: str, *, stages: Stages | None = None, weights: "Weights | None" = None) -> Rows:
        """Answer one SELECT over `events`, of which only what the flags mean is left; `weights`: see `Events.query`."""
        return Rows(self._ask(statement, stages or self._stages, weights=weights))

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
        yield from answer.exact_bytes([row for (row,) in answer])

    def raw_with(self, columns: Sequence[str]) -> Iterator[tuple[bytes, tuple[Any, ...]]]:
        """Give the exact bytes of what the flags mean, in the order of time, each with these columns."""
        answer = self._ask(select(["_row", *columns]), self._stages, keeps_bytes=True)
        rows = list(answer)
        for row, raw in zip(rows, answer.exact_bytes([row[0] for row in rows]), strict=True):
            yield raw, row[1:]

    def weighed(self, columns: Sequence[str]) -> Iterator[tuple[tuple[Any, ...], int]]:
        """Give these columns of what the flags mean, each row with the bytes it takes in the log."""
        answer = self._ask(select(["_row", *columns], in_time=False), self._stages, keeps_bytes=True)
        rows = list(answer)
        for row, raw in zip(rows, answer.exact_bytes([row[0] for row in rows]), strict=True):
            yield row[1:], len(raw)

    def span(self) -> tuple[datetime, datetime] | None:
        """Give the first and the last time in everything that was read, matching or not."""
        answer = self._events.query("SELECT min(received), max(received) FROM events", stages="all")
        [(first, last)] = answer
        return (first, last) if first is not None else None

    def why_unknown(self) -> tuple[Counter[str], int]:
        """Give the reasons why answers are unknown, counted over the first such requests, and how many those are."""
        from kubewitness.event.decode import decode_tolerant
        from kubewitness.event.expr_values import Context
        from kubewitness.event.filter import why_unknown

        condition = replace(self._condition, where=self._condition.unknown, unknown="FALSE")
        columns = ["_row", "dialect", "redacted"]
        answer = self._ask(select(columns, limit=_EXPLAINED), self._stages, condition=condition, keeps_bytes=True)
        rows = list(answer)
        reasons: Counter[str] = Counter()
        count = 0
        for (_, dialect, redacted), raw in zip(rows, answer.exact_bytes([row[0] for row in rows]), strict=True):
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
        found = None if self._checks_all or self.is_store else self._events.find(wanted, stages="all")
        if found is not None:
            return bool(found.hits)
        answer = self._events.query("SELECT count(*) FROM events", where=sql.where(wanted), stages="all")
        [(count,)] = answer
        return bool(count)

    def facts(self) -> Facts:
        """Say what the last question read."""
        account = self._account
        return Facts(
            list(map(_report, self._events.inputs, account.files)),
            account.events,
            account.unknown,
            account.damage_checked,
        )

    def statement(self, statement: str) -> str:
        """Give the SQL of a question as `kubewitness sql` takes it."""
        relation = "requests" if self._stages == "latest" else "events"
        where = "" if self._condition.where == "TRUE" else f"\nWHERE {self._condition.where}"
        head, _, tail = statement.partition(" FROM events")
        return f"{head}\nFROM {relation}{where}\n{tail.strip()}".rstrip()

    def _find(self) -> "Found | None":
        """Give what the flags mean where few lines can match and no SQL but theirs is asked."""
        if self._checks_all or self.is_store or not self._is_plain or not self._condition.is_of_flags:
            return None
        found = self._events.find(self._condition.filter, stages=self._stages)
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
    ) -> "Answer":
        condition = condition or self._condition
        self._read_before = _bytes_read()
        try:
            answer = self._events.query(
                statement,
                where=condition.where,
                unknown=condition.unknown,
                stages=stages,
                keeps_bytes=keeps_bytes,
                weights=weights or {},
                filter_=None if self._checks_all and not self.is_store else condition.filter,
                tests=_TESTED,
            )
        except QueryError as error:
            raise UserError(str(error)) from error
        if self._is_plain and not _is_plain(answer.account):
            # an event in another dialect stood among the others: ask again with all that can be unknown
            self._is_plain = False
            is_whole = condition is self._condition
            self._condition = self._conditions(expr_logic.NO_FACTS)
            answer.close()
            again = self._condition if is_whole else replace(condition, where=self._condition.unknown)
            return self._ask(statement, stages, condition=again, keeps_bytes=keeps_bytes, weights=weights)
        if condition is self._condition:
            self._account = answer.account
        return answer


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
        line = Path("/proc/self/io").read_bytes().partition(b"\n")[0]
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
                where, unknown = (f"({narrowed}) AND ({one})" for one in (condition.where, condition.unknown))
                condition = replace(condition, where=where, unknown=unknown, is_of_flags=False)
            made[id(facts)] = condition
        return made[id(facts)]

    condition = conditions(PLAIN)  # a wrong flag is told before anything is read
    chosen: Stages = stages or ("all" if getattr(args, "stages", "latest") == "all" else "latest")
    checks_all: bool = getattr(args, "account", False)
    try:
        if data:
            from kubewitness.look.query.store import open_store

            events: Events = open_store(data, args.cluster)
        else:
            inputs = find_inputs(sources)
            picker = None if checks_all or _is_small(inputs) else _begin(inputs, condition, chosen)
            from kubewitness.look.query import run

            events = run.Events(inputs, args.cluster, picker=picker)
    except SourceError as error:
        raise UserError(str(error)) from error
    return Log(events, conditions, chosen, checks_all=checks_all)


def _is_small(inputs: Iterable[Input]) -> bool:
    return sum(one.size_bytes for one in inputs) < _SMALL_BYTES


def _begin(inputs: Sequence[Input], condition: Condition, stages: Stages) -> "Picker":
    """Begin to search for the lines that can match, while what is needed to judge them is loaded."""
    from kubewitness.look.query.prefilter import Picker

    picker = Picker(inputs)
    picker.begin(condition.filter, joins_stages=stages == "latest")
    return picker


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
