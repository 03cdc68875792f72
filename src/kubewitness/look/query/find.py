"""
Answer a needle without the engine: the few lines that can match are read and judged here, in Python.

`find(inputs, picks, filter_, stages)` gives what the engine would give, in the order of time, or None where only the
engine may answer: when an input is not searched for lines (see `prefilter`), when there are many of them, or when one
of them is anything but what kube-apiserver writes. Judging is strict on purpose: whatever could make the engine take
a line for odd (a member of another type or given twice, a time or a name that could be a number) is left to it.
The engine takes longer to start than these lines take to be read.
"""

import json
import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence

import msgspec

from kubewitness._kit import lazy
from kubewitness.event import expr_values as values
from kubewitness.event.decode_strict import EventError, decode
from kubewitness.event.derive import expand
from kubewitness.event.expr import Expr, paths
from kubewitness.event.expr_logic import nullness, simplify, truth
from kubewitness.event.expr_values import RAW, Context
from kubewitness.event.filter import PLAIN
from kubewitness.event.items import KUBE_APISERVER
from kubewitness.event.types import Event
from kubewitness.look.query.account import Account, FileAccount
from kubewitness.look.query.generate import function
from kubewitness.look.query.picks import Picks
from kubewitness.look.query.same_request import FILLED_LATER, REQUEST_KEY, SAME_IN_EVERY_STAGE
from kubewitness.look.query.source import Input

_MOST_BYTES = 4 << 20  # of lines; beyond, the engine is as fast
_API_VERSION = "audit.k8s.io/v1"
_TIME_LENGTH = 27
_FIRST_CODE, _LAST_CODE = 100, 999
_LIKE_NO_TEXT = lazy.pattern(r"[\[{].*|true|false|[-+0-9.eE_\s]+", re.DOTALL)
# characters that a line of JSON may name and that engines disagree about
_DOUBTFUL = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_TEXTS = tuple(path for path in values.ATTRIBUTES if path.partition(".")[0] in {"verb", "user", "objectRef"})


class Hit(msgspec.Struct, frozen=True):
    """An Event that matches, its exact bytes, and what is known about them."""

    event: Event
    raw: bytes
    context: Context


class Found(msgspec.Struct, frozen=True):
    """What matches, in the order of time, and the account of how it was found."""

    hits: Sequence[Hit]
    account: Account


class _OddError(Exception):
    """A line that the engine has to look at."""


class _Row(msgspec.Struct):
    """A candidate: 1 matches, 2 is unknown, 0 does not or is no longer the latest stage."""

    hit: Hit
    match: int
    rank: int
    key: Hashable
    filled: tuple[values.Value, ...]


def find(inputs: Iterable[Input], picks: Picks, filter_: Expr, *, stages: str, cluster: str | None) -> Found | None:
    """Give what the engine would, or None where it has to be asked."""
    reader = _Reader(filter_, joins=stages == "latest")
    account = Account()
    rows: list[_Row] = []
    size = 0
    for one in inputs:
        report = FileAccount(one.name)
        account.files.append(report)
        if not one.size_bytes:
            continue
        picked = picks.take(one)
        size += sum(len(line) for _, line in picked or ())
        if picked is None or size > _MOST_BYTES:
            return None
        context = Context(cluster=cluster, source=one.name)
        try:
            rows += [reader.read(line.strip(), context) for _, line in picked]
        except _OddError:
            return None
        report.damage_checked = False
        report.lines = report.events = len(picked)
        report.dialects[KUBE_APISERVER] += len(picked)
    if reader.joins:
        _keep_latest(rows)
    account.unknown = sum(row.match == 2 for row in rows)
    return Found([row.hit for row in sorted((row for row in rows if row.match == 1), key=_in_time)], account)


class _Reader:
    """Makes rows of lines."""

    def __init__(self, filter_: Expr, *, joins: bool) -> None:
        self.joins = joins
        self._judge = function(filter_, PLAIN)
        expanded = expand(filter_)
        decides = paths(simplify(truth(expanded), PLAIN)) | paths(simplify(nullness(expanded), PLAIN))
        self._joined_by = sorted(decides & SAME_IN_EVERY_STAGE - set(REQUEST_KEY))
        self._filled = sorted(decides & FILLED_LATER)

    def read(self, line: bytes, context: Context) -> _Row:
        event = _event(line)
        verdict = self._judge(event, context)
        key = None
        if self.joins and event.audit_id is not None:
            key = (
                *(values.read(event, RAW, path) or "" for path in REQUEST_KEY),
                *(_hashable(values.read(event, RAW, path)) for path in self._joined_by),
            )
        return _Row(
            Hit(event, line, context),
            2 if verdict is None else int(verdict),
            event.stage.rank,
            key,
            tuple(values.read(event, RAW, path) for path in self._filled),
        )


def _hashable(value: values.Value) -> Hashable:
    return json.dumps(value, sort_keys=True) if isinstance(value, dict) else value


def _event(line: bytes) -> Event:
    """Read one line. Raises _OddError for anything that kube-apiserver does not write."""
    try:
        if _DOUBTFUL.search(line):
            raise _OddError
        event = decode(line)
        json.loads(line.decode(), object_pairs_hook=_once)
    except (EventError, ValueError, RecursionError) as exc:
        raise _OddError from exc
    is_whole = (
        event.api_version in {None, _API_VERSION}
        and (event.user is None or event.user.username is not None)
        and (event.impersonated_user is None or event.impersonated_user.username is not None)
        and (event.object_ref is None or event.object_ref.resource is not None)
        and (event.response_status is None or _is_code(event.response_status.code))
        and all(map(_is_time, (event.request_received_timestamp, event.stage_timestamp)))
        and not any(_is_like_no_text(values.read(event, RAW, path)) for path in _TEXTS)
    )
    if not is_whole:
        raise _OddError
    return event


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise _OddError
    return members


def _is_code(code: int | None) -> bool:
    return code is not None and _FIRST_CODE <= code <= _LAST_CODE


def _is_time(text: str | None) -> bool:
    return text is None or (len(text) == _TIME_LENGTH and text.endswith("Z") and values.micros(text) is not None)


def _is_like_no_text(value: object) -> bool:
    """Say whether a value read as text could have been a number, a truth value, a list or an object."""
    return isinstance(value, str) and _LIKE_NO_TEXT().fullmatch(value) is not None


def _in_time(row: _Row) -> tuple[tuple[bool, int], ...]:
    event = row.hit.event
    times = (event.request_received_timestamp, event.stage_timestamp)
    return tuple((text is None, (text and values.micros(text)) or 0) for text in times)


def _keep_latest(rows: Iterable[_Row]) -> None:
    """Unmark every row of a request but one of its latest stage; as `run.keep_latest` does in the engine."""
    requests: dict[Hashable, dict[tuple[values.Value, ...], _Row]] = defaultdict(dict)
    for row in rows:
        if row.key is None:
            continue
        same = requests[row.key]
        other = same.get(row.filled)
        if other is None:
            same[row.filled] = row
        elif _weight(row) > _weight(other):
            same[row.filled], other.match = row, 0
        else:
            row.match = 0
    for same in requests.values():
        early = [row for row in same.values() if None in row.filled]
        for row in early:
            if any(row.rank < late.rank and _agree(row.filled, late.filled) for late in same.values()):
                row.match = 0


def _weight(row: _Row) -> tuple[int, bool, bool]:
    return row.rank, row.match == 1, row.match == 2


def _agree(early: Iterable[values.Value], late: Iterable[values.Value]) -> bool:
    return all(None in pair or pair[0] == pair[1] for pair in zip(early, late, strict=True))
