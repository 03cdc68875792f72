"""
What the values of expressions are: reading a field of an Event, query parameters, JSON paths, globs, networks, times.

event/expr.py says what is asked; these functions answer for Python, plain and generated alike. look/query/sql.py says
the same in DuckDB's words and is tested against them.
"""

import enum
import functools
import re
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from kubewitness._kit import lazy
from kubewitness.event import microtime
from kubewitness.event.types import AuthenticationMetadata, Event, ObjectReference, ResponseStatus, UserInfo

if TYPE_CHECKING:
    import ipaddress


class Context(msgspec.Struct, frozen=True):
    """The envelope of an Event: what we know about its bytes. `redacted` names the members blanked or never written."""

    cluster: str | None = None
    source: str | None = None
    dialect: str | None = "kube-apiserver"
    redacted: tuple[str, ...] | None = None
    log_index: int | None = None
    log_time: int | None = None
    """Microseconds since 1970."""


RAW = Context()

ENVELOPE = frozenset({"cluster", "source", "dialect", "redacted", "log.index", "log.time"})
TIMES = frozenset({"requestReceivedTimestamp", "stageTimestamp", "log.time"})
_STRUCTS: dict[str, type[msgspec.Struct]] = {
    "user": UserInfo,
    "impersonatedUser": UserInfo,
    "authenticationMetadata": AuthenticationMetadata,
    "objectRef": ObjectReference,
    "responseStatus": ResponseStatus,
}


def _attributes() -> dict[str, tuple[str, ...]]:
    """Every wire path of the Event struct, with the attributes that lead to it."""
    found: dict[str, tuple[str, ...]] = {}
    for outer in msgspec.structs.fields(Event):
        struct = _STRUCTS.get(outer.encode_name)
        if struct is None:
            found[outer.encode_name] = (outer.name,)
            continue
        for inner in msgspec.structs.fields(struct):
            found[f"{outer.encode_name}.{inner.encode_name}"] = (outer.name, inner.name)
    return found


ATTRIBUTES = _attributes()


Value: TypeAlias = str | int | bool | tuple[str, ...] | dict[str, str] | dict[str, tuple[str, ...]] | None
"""What an expression can be worth."""


def read(event: Event, context: Context, path: str) -> Value:
    """Give the value of a field that is not derived. Level and Stage are text, times are microseconds."""
    if path in ENVELOPE:
        return getattr(context, path.replace(".", "_"))  # type: ignore[no-any-return]  # an attribute of Context
    held: object = event
    for attribute in ATTRIBUTES[path]:
        held = None if held is None else getattr(held, attribute)
    if isinstance(held, enum.Enum):
        return held._value_  # type: ignore[no-any-return]  # Level and Stage hold text
    if isinstance(held, msgspec.Raw):
        return None if is_absent(held) else bytes(held).decode(errors="replace")
    if path in TIMES:
        return None if held is None else micros(str(held))
    return held  # type: ignore[return-value]  # the struct says which


def raw(event: Event, path: str) -> msgspec.Raw:
    """Give the exact bytes of a JSON field; empty if absent."""
    held: object = event
    for attribute in ATTRIBUTES[path]:
        held = msgspec.Raw() if held is None else getattr(held, attribute)
    return held if isinstance(held, msgspec.Raw) else msgspec.Raw()


def is_absent(body: msgspec.Raw) -> bool:
    """Say whether there is no such member, or null."""
    return not body or (len(body) == 4 and bytes(body) == b"null")


def number(value: object) -> int:
    """Give a number or time; anything else has no order."""
    if isinstance(value, int):
        return value
    raise TypeError(f"{value!r} has no order: only numbers and times have one")


# --- times


def micros(text: str) -> int | None:
    """Give microseconds since 1970 of an RFC 3339 time; None if it is not one.

    Times as kube-apiserver writes them take a short way: their minute is remembered, as a log has many of each.
    """
    if len(text) == 27 and text[19] == "." and text[26] == "Z":
        digits = text[17:19] + text[20:26]
        if digits.isdigit() and digits.isascii() and digits < "60":
            minute = _micros(text[:17] + "00Z")
            return None if minute is None else minute + int(digits)
    return _micros(text)


@functools.lru_cache(maxsize=1024)
def _micros(text: str) -> int | None:
    try:
        return microtime.parse(text)
    except microtime.TimeError:
        return None


# --- query parameters


_BAD_ESCAPE = lazy.pattern(r"%(?![0-9A-Fa-f]{2})")


def query(url: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Give the values of these query parameters as Go's url.ParseQuery does: pairs that it refuses are left out.

    Bytes that are not UTF-8 once decoded: the text as sent, with `+` as space.
    """
    found = []
    for pair in url.partition("?")[2].split("&"):
        if not pair or ";" in pair or _BAD_ESCAPE().search(pair):
            continue
        name, _, value = pair.partition("=")
        if _decode(name) in names:
            found.append(_decode(value))
    return tuple(found)


def _decode(text: str) -> str:
    text = text.replace("+", " ")
    if "%" not in text:
        return text
    from urllib.parse import unquote_to_bytes  # loads half of what pathlib does

    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        return text


# --- JSON


def _first_wins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    return dict(reversed(pairs))


def _number(digits: str) -> int | float:
    return int(digits) if len(digits) <= 20 else float("inf")


def _load(body: msgspec.Raw) -> object:
    """Read a body; None for one that is nested too deep to be read."""
    import json

    try:
        return json.loads(bytes(body), object_pairs_hook=_first_wins, parse_int=_number)
    except (RecursionError, ValueError):
        return None


_WHOLE = range(-(2**63), 2**64)


def json_value(body: msgspec.Raw, steps: tuple[str, ...]) -> str | tuple[str, ...] | None:
    """Give what Json means."""
    if is_absent(body):
        return None
    found = [_load(body)]
    many = False
    for step in steps:
        if step == "[*]":
            many = True
            found = [element for one in found if isinstance(one, list) for element in one]
        else:
            found = [_member(one, step) for one in found if _has(one, step)]
    texts = tuple(text for text in map(_scalar, found) if text is not None)
    if many:
        return texts
    return texts[0] if texts else None


def json_has(body: msgspec.Raw, steps: tuple[str, ...]) -> bool | None:
    """Give what JsonHas means."""
    if is_absent(body):
        return None
    held = _load(body)
    for step in steps:
        if not _has(held, step):
            return False
        held = _member(held, step)
    return held is not None


_INDEX = lazy.pattern(r"0|[1-9][0-9]{0,8}")


def _has(held: object, step: str) -> bool:
    if isinstance(held, dict):
        return step in held
    return isinstance(held, list) and _INDEX().fullmatch(step) is not None and int(step) < len(held)


def _member(held: object, step: str) -> object:
    if isinstance(held, dict):
        return held[step]
    return held[int(step)] if isinstance(held, list) else None


def _scalar(held: object) -> str | None:
    if isinstance(held, bool):
        return "true" if held else "false"
    if isinstance(held, int):
        return str(held) if held in _WHOLE else None
    return held if isinstance(held, str) else None


# --- globs


class Wild(enum.Enum):
    """The special signs of a glob."""

    ANY = "*"
    ONE = "?"


def glob_pieces(pattern: str) -> tuple[str | Wild, ...]:
    r"""Split a glob into its literal texts and its signs; runs of `*` are one. A last `\` stands for itself."""
    pieces: list[str | Wild] = []
    signs = iter(pattern)
    for sign in signs:
        piece: str | Wild = {"*": Wild.ANY, "?": Wild.ONE}.get(sign, sign)
        if sign == "\\":
            piece = next(signs, "\\")
        last = pieces[-1] if pieces else None
        if isinstance(piece, str) and isinstance(last, str):
            pieces[-1] = last + piece
        elif not (piece is Wild.ANY and last is Wild.ANY):
            pieces.append(piece)
    return tuple(pieces)


@functools.lru_cache(maxsize=256)
def glob_regex(pattern: str) -> re.Pattern[str]:
    """Give a glob as a regular expression."""
    signs: dict[Wild, str] = {Wild.ANY: ".*", Wild.ONE: "."}
    return re.compile(
        "".join(signs[piece] if isinstance(piece, Wild) else re.escape(piece) for piece in glob_pieces(pattern)),
        re.DOTALL,
    )


# --- networks

OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
MAPPED = r"(?:::[fF]{4}:)?"
HEX_FULL = r"[0-9a-fA-F]{1,4}(?::[0-9a-fA-F]{1,4}){7}"
HEX_SHORT = r"(?:[0-9a-fA-F]{1,4}(?::[0-9a-fA-F]{1,4})*)?::(?:[0-9a-fA-F]{1,4}(?::[0-9a-fA-F]{1,4})*)?"
_IPV4 = lazy.pattern(rf"{MAPPED}({OCTET}(?:\.{OCTET}){{3}})")
_IPV6 = lazy.pattern(rf"{HEX_FULL}|{HEX_SHORT}")


def within(text: str, network: "ipaddress.IPv4Network | ipaddress.IPv6Network") -> bool:
    """Say whether the text is an address of this network. `::ffff:10.0.0.1` is 10.0.0.1; with a zone it is none."""
    address = (_address_4 if network.version == 4 else _address_6)(text)
    return address is not None and address >> (network.max_prefixlen - network.prefixlen) == int(
        network.network_address
    ) >> (network.max_prefixlen - network.prefixlen)


def _address_4(text: str) -> int | None:
    match = _IPV4().fullmatch(text)
    if match is None:
        return None
    return functools.reduce(lambda held, octet: held * 256 + int(octet), match[1].split("."), 0)


def _address_6(text: str) -> int | None:
    if _IPV6().fullmatch(text) is None:
        return None
    left, short, right = text.partition("::")
    heads = left.split(":") if left else []
    tails = right.split(":") if right else []
    zeros = 8 - len(heads) - len(tails)
    if zeros < (1 if short else 0):
        return None
    groups = heads + ["0"] * zeros + tails
    return functools.reduce(lambda held, group: held * 65536 + int(group, 16), groups, 0)
