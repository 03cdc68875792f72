"""Rows of flat columns made of Events in Python, as the engine makes them of lines: for streams and for needles."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

import msgspec

from kubewitness.event.expr import Ref
from kubewitness.event.expr_values import Context
from kubewitness.event.fields import FieldType, by_column
from kubewitness.event.types import Event
from kubewitness.look.query.generate import value_function

_PLAIN = frozenset({FieldType.STRING, FieldType.STRINGS, FieldType.INTEGER, FieldType.BOOLEAN, FieldType.TIME})


def are_plain(columns: Iterable[str]) -> bool:
    """Say whether rows of these columns are, to the letter, those of the engine: bodies and maps are written anew."""
    return all(by_column(column).type in _PLAIN for column in columns)


def row_maker(columns: Sequence[str]) -> Callable[[Event, Context], tuple[object, ...]]:
    """Give the function that makes a row of these flat columns from an Event and what is known of it besides."""
    getters = [_getter(column) for column in columns]

    def make(event: Event, context: Context) -> tuple[object, ...]:
        return tuple(get(event, context) for get in getters)

    return make


def _getter(column: str) -> Callable[[Event, Context], object]:
    known = by_column(column)
    match known.type:
        case FieldType.JSON | FieldType.MAP | FieldType.LISTS:
            get = _member(known.path)
            return lambda event, _: get(event)
        case FieldType.TIME:
            value = value_function(Ref(known.path))
            return lambda event, context: _moment(value(event, context))
        case _:
            value = value_function(Ref(known.path))
            return value


def _moment(microseconds: object) -> datetime | None:
    if not isinstance(microseconds, int):
        return None
    return datetime.fromtimestamp(microseconds // 1_000_000, UTC).replace(microsecond=microseconds % 1_000_000)


def _member(path: str) -> Callable[[Event], object]:
    """Read a member that is no plain value: a body as its text, a map as it is."""

    def get(event: Event) -> object:
        value: object = event
        for name in path.split("."):
            value = _attribute(value, name)
        if isinstance(value, msgspec.Raw):
            return bytes(value).decode("utf-8", "replace") or None
        return value

    return get


def _attribute(value: object, wire_name: str) -> object:
    if isinstance(value, msgspec.Struct):
        for known in msgspec.structs.fields(type(value)):
            if known.encode_name == wire_name:
                return getattr(value, known.name)
    return None
