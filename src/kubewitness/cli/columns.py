"""
The columns an answer shows: those of table, wide and csv, and those a user asks for with `--columns`.

A shown column reads one or more flat columns of `events` and makes one value of them. `--columns` takes wire paths
(`objectRef.name`), column names (`username`), and the short names of `SHORT`.
"""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import msgspec

from kubewitness.cli.errors import UserError
from kubewitness.cli.render.values import Column, Shrink, Tone, command_text
from kubewitness.cli.request import Request, from_where, peer, what, who
from kubewitness.event.fields import FIELDS, Field, FieldType

_FIRST_ERROR = 400


class Shown(msgspec.Struct, frozen=True):
    """One column of an answer: what it looks like, what it reads, how it is made of that."""

    column: Column
    reads: tuple[str, ...]
    value: Callable[[Sequence[object]], object]


def code_tone(code: object) -> Tone | None:
    """Errors stand out."""
    return Tone.BAD if isinstance(code, int) and code >= _FIRST_ERROR else None


_BY_NAME: dict[str, Field] = {name: field for field in FIELDS for name in (field.column, field.path)}


def field_column(name: str, title: str | None = None) -> Shown:
    """Show one field by its path or column name."""
    field = _BY_NAME[name]
    is_number = field.type is FieldType.INTEGER
    column = Column(
        title=title or field.path,
        name=field.path,
        shrink=_shrink(field),
        is_right=is_number,
        usual_width=_USUAL_WIDTHS.get(field.column, 0),
        tone=code_tone if field.column == "code" else None,
        text=command_text if field.column == "exec_command" else None,
    )
    return Shown(column, (field.column,), _itself)


def _itself(values: Sequence[object]) -> object:
    return values[0]


def _shrink(field: Field) -> Shrink:
    if field.type in (FieldType.INTEGER, FieldType.TIME, FieldType.BOOLEAN):
        return Shrink.NEVER
    return Shrink.USER if field.column.endswith("username") else Shrink.MIDDLE


_USUAL_WIDTHS = {"received": 20, "stage_time": 20, "username": 24, "action": 6, "code": 4, "source_peer": 15}


def _made(
    title: str, name: str, reads: tuple[str, ...], make: Callable[[Request], object], width: int, **looks: Any
) -> Shown:
    def value(values: Sequence[Any]) -> object:
        return make(Request(**dict(zip(reads, values, strict=True))))

    return Shown(Column(title, name, usual_width=width, **looks), reads, value)


WHO = _made("USER", "user", ("username", "impersonated_username"), who, 24, shrink=Shrink.USER, least_width=12)
WHAT = _made(
    "RESOURCE",
    "object",
    ("action", "verb", "resource", "subresource", "api_group", "namespace", "name", "request_uri"),
    what,
    36,
    shrink=Shrink.MIDDLE,
    weight=2,
)
FROM = _made("FROM", "from", ("source_ips",), from_where, 15, shrink=Shrink.MIDDLE)
PEER = _made("FROM", "from", ("source_ips",), peer, 15, shrink=Shrink.MIDDLE, least_width=len("255.255.255.255"))

TABLE: tuple[Shown, ...] = (
    field_column("received", "TIME"),
    WHO,
    field_column("action", "ACTION"),
    WHAT,
    field_column("code", "CODE"),
    PEER,
)
WIDE: tuple[Shown, ...] = (
    field_column("received", "TIME"),
    field_column("username", "USER"),
    field_column("impersonated_username", "AS"),
    field_column("action", "ACTION"),
    field_column("verb", "VERB"),
    WHAT,
    field_column("subresource", "SUBRESOURCE"),
    field_column("code", "CODE"),
    FROM,
    field_column("exec_command", "COMMAND"),
    field_column("stage", "STAGE"),
    field_column("level", "LEVEL"),
    field_column("user_agent", "USER-AGENT"),
    field_column("audit_id", "AUDIT-ID"),
)
DATA: tuple[Shown, ...] = tuple(
    field_column(name)
    for name in (
        *("received", "stage_time", "stage", "level", "username", "impersonated_username", "groups", "action", "verb"),
        *("resource", "subresource", "api_group", "namespace", "name", "code", "outcome", "reason", "source_peer"),
        *("source_ips", "user_agent", "exec_command", "request_uri", "audit_id", "source"),
    )
)

SHORT: dict[str, Shown] = {
    "time": TABLE[0],
    "user": WHO,
    "object": WHAT,
    "from": FROM,
    "peer": field_column("source_peer", "PEER"),
    "as": field_column("impersonated_username", "AS"),
    "command": field_column("exec_command", "COMMAND"),
    "agent": field_column("user_agent", "USER-AGENT"),
    "id": field_column("audit_id", "AUDIT-ID"),
    "index": field_column("log_index", "INDEX"),
}


STORED: tuple[Shown, ...] = (field_column("cluster", "CLUSTER"), field_column("log_index", "INDEX"))
"""What only a store knows: by these a row can be proved."""


def chosen(names: str | None, format_name: str, *, is_stored: bool = False) -> tuple[Shown, ...]:
    """Give the columns for a format, or those that `--columns` names."""
    if names is None:
        found = {"table": TABLE, "wide": WIDE}.get(format_name, DATA)
        return (*found, *STORED) if is_stored and format_name != "table" else found
    columns = tuple(_one(name.strip()) for name in names.split(",") if name.strip())
    if not columns:
        raise UserError(f"--columns {names!r}: name at least one")
    return columns


def field_of(name: str) -> Field:
    """Give the field that a user calls by path, column or short name."""
    known = {**_BY_NAME, **{short: _BY_NAME[shown.reads[0]] for short, shown in SHORT.items() if len(shown.reads) == 1}}
    known |= {"user": _BY_NAME["username"]}
    if name not in known:
        raise UserError(f"there is no field {name!r}{_hint(name)}")
    return known[name]


def _one(name: str) -> Shown:
    if name in SHORT:
        return SHORT[name]
    if name in _BY_NAME:
        return field_column(name)
    raise UserError(f"--columns: there is no field {name!r}{_hint(name)}")


def _hint(name: str) -> str:
    import difflib

    folded = {known.lower(): known for known in (*_BY_NAME, *SHORT)}
    near = [folded[close] for close in difflib.get_close_matches(name.lower(), folded, n=1)]
    if near:
        return f"; did you mean {near[0]}?"
    return f"; there are {', '.join(SHORT)}, and every column of `kubewitness sql 'DESCRIBE events' FILE`"


def reads_of(shown: Sequence[Shown]) -> list[str]:
    """Give the flat columns that these columns read, each once."""
    return list(dict.fromkeys(name for item in shown for name in item.reads))


def maker(shown: Sequence[Shown]) -> Callable[[Sequence[object]], tuple[object, ...]]:
    """Give the function that makes a row to be shown from a row of `reads_of(shown)`."""
    reads = reads_of(shown)
    if all(item.value is _itself for item in shown) and len(reads) == len(shown):
        return tuple  # the row is what is shown: no work for each of many
    place = {name: at for at, name in enumerate(reads)}
    parts = [_part(item.value, [place[name] for name in item.reads]) for item in shown]

    def make(row: Sequence[object]) -> tuple[object, ...]:
        return tuple([part(row) for part in parts])

    return make


def _part(value: Callable[[Sequence[object]], object], places: Sequence[int]) -> Callable[[Sequence[object]], object]:
    """Give the function that makes one value of a whole row."""
    get = itemgetter(*places)
    if len(places) > 1:
        return lambda row: value(get(row))
    return get if value is _itself else lambda row: value((get(row),))
