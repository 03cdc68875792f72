"""
Columns of an answer, and how one value of a row reads as text.

A row is a tuple of plain values beside a tuple of `Column`s. `None` is "the log does not have it", `UNKNOWN` is
"it could not have been recorded". Text comes out raw: the writers make it harmless.
"""

import enum
import functools
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec


class Unknown(enum.Enum):
    """The value that could not have been recorded, as opposed to `None`, which is absent."""

    UNKNOWN = "unknown"


UNKNOWN = Unknown.UNKNOWN
_PLAIN = frozenset({type(None), str, bool, int, float})


class Shrink(enum.Enum):
    """What a column gives up when a table is wider than the terminal."""

    NEVER = "never"
    END = "end"
    MIDDLE = "middle"
    USER = "the end of a person's name, the middle of system:..."


class Tone(enum.Enum):
    """What a colour says; the renderer knows which one it is."""

    GOOD = "good"
    BAD = "bad"
    FAINT = "faint"
    STRONG = "strong"


class Column(msgspec.Struct, frozen=True):
    """One column: its heading in tables, its name in data, and how it behaves in a narrow terminal."""

    title: str
    name: str
    shrink: Shrink = Shrink.END
    is_right: bool = False
    usual_width: int = 0
    least_width: int = 10
    """Not cut below this: less says nothing."""
    weight: float = 1
    """How much a letter of this column is worth beside those of the others, when some must go."""
    tone: Callable[[object], Tone | None] | None = None
    text: Callable[[object], str] | None = None


def rfc3339(moment: datetime, *, timespec: str = "microseconds") -> str:
    """Write a time in UTC with Z; a naive time is taken to be UTC already, as databases give it."""
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return moment.isoformat("T", timespec) + "Z"


def text_of(value: object) -> str:
    """Write one value for a cell: times in full, lists with commas, a command as a shell would take it."""
    match value:
        case None:
            return ""
        case Unknown():
            return "unknown"
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case datetime():
            return rfc3339(value)
        case bytes():
            return value.decode("utf-8", "backslashreplace")
        case Mapping():
            return ",".join(f"{key}={text_of(item)}" for key, item in value.items())
        case Sequence():
            return ",".join(map(text_of, value))
        case _:
            return str(value)


def command_text(value: object) -> str:
    """Write an argument vector as one would type it."""
    import shlex

    return shlex.join(map(text_of, value)) if isinstance(value, list | tuple) else text_of(value)


def plain(value: object) -> object:
    """Give a value as JSON and YAML know it."""
    if type(value) in _PLAIN:
        return value
    match value:
        case Unknown():
            return {"unknown": True}
        case datetime():
            return rfc3339(value)
        case bytes():
            return value.decode("utf-8", "backslashreplace")
        case list() | tuple():
            return [plain(item) for item in value]
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case None | str() | bool() | int() | float():
            return value
        case _:
            return str(value)


def json_text(value: object, *, indent: int | None = None) -> str:
    """Write a value as JSON in ASCII, so that it can be shown anywhere and means the same."""
    return _encoder(indent)(plain(value)).replace("\x7f", "\\u007f")


@functools.cache
def _encoder(indent: int | None) -> Callable[[object], str]:
    import json

    return json.JSONEncoder(indent=indent, separators=(",", ":") if indent is None else None).encode
