"""
Find where a JSON value ends, without building it: in pieces, at any depth, at any size.

This is bracket counting with strings understood, not validation: what comes out goes to a decoder that
validates. Three things end a value early, because the bytes behind them belong to somebody else: a byte that
no JSON has outside a string, a line end inside a string, and `{` in the first column of a later line, which
is how every writer of audit logs begins the next Event.
"""

import enum
import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

WHITE_SPACE = b" \t\r\n"
"""What JSON calls white space; Python's strip() takes more."""

_STRING = rb'"[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+"'
# white space and the letters of numbers, true, false and null; a line end unless `{` follows in column 0
_PLAIN = rb"(?:[ \t\r,:\-+.0-9Etruefalsn]|\n(?!\{))++"
_FLAT = rb"\[(?:" + _PLAIN + rb"|" + _STRING + rb")*+\]|\{(?:" + _PLAIN + rb"|" + _STRING + rb")*+\}"
_skip_outside = re.compile(rb"(?:" + _PLAIN + rb"|" + _STRING + rb"|" + _FLAT + rb")*+").match
_skip_inside = re.compile(rb'[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+').match
_skip_space = re.compile(rb"[ \t\r\n]*+").match
_string = re.compile(_STRING).match
_scalar = re.compile(rb"[\-+.0-9Etruefalsn]++").match

_NEWLINE, _QUOTE, _BACKSLASH, _COMMA, _COLON = b'\n"\\,:'
_OPEN, _CLOSE = b"{[", b"}]"


class Outcome(enum.Enum):
    """Why `scan` stopped."""

    DONE = "the value is complete"
    MORE = "the data ends inside the value"
    BROKEN = "no JSON goes on like this"
    BOUNDARY = "another value begins in the first column of a line"


class Scan(NamedTuple):
    """How far into a value we are. `depth` 0 and not in a string: at its first bracket."""

    position: int
    depth: int = 0
    in_string: bool = False


def scan(data: bytes, state: Scan) -> tuple[Outcome, Scan]:
    """Go on from `state` to the end of the object or array; when DONE, `position` is just behind it."""
    position, depth, in_string = state
    size = len(data)
    while True:
        if in_string:
            position = _end(_skip_inside(data, position))
            if position >= size or (data[position] == _BACKSLASH and position + 1 >= size):
                return Outcome.MORE, Scan(position, depth, True)
            if data[position] != _QUOTE:
                return Outcome.BROKEN, Scan(position, depth, True)
            position += 1
            in_string = False
        if depth and not _is_boundary(data, position):
            position = _end(_skip_outside(data, position))
        if position >= size:
            return Outcome.MORE, Scan(position, depth)
        byte = data[position]
        if byte == _QUOTE:
            position += 1
            in_string = True
        elif byte in _OPEN:
            if depth and _is_boundary(data, position):
                return Outcome.BOUNDARY, Scan(position, depth)
            position += 1
            depth += 1
        elif byte in _CLOSE:
            position += 1
            depth -= 1
            if depth == 0:
                return Outcome.DONE, Scan(position)
        elif byte == _NEWLINE:
            return Outcome.BOUNDARY, Scan(position + 1, depth)
        else:
            return Outcome.BROKEN, Scan(position, depth)


def _end(match: re.Match[bytes] | None) -> int:
    assert match is not None  # noqa: S101 - the patterns match the empty string
    return match.end()


def _is_boundary(data: bytes, position: int) -> bool:
    return position > 0 and data[position : position + 1] == b"{" and data[position - 1] == _NEWLINE


def skip_space(data: bytes, position: int) -> int:
    """Give the position of the next byte that is not JSON white space."""
    return _end(_skip_space(data, position))


class OddError(ValueError):
    """No JSON object goes on like this, at this position."""

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.position = position


class Member(NamedTuple):
    """One member of an object: its key, and where its value stands. `end` is None where the data ends before it."""

    key: bytes
    start: int
    end: int | None


def members(data: bytes, start: int, stop: int) -> Iterator[Member]:
    """Give the members of the object that begins at `start`, in order, until `}`, `stop` or something odd.

    Raises OddError where the object is not well-formed between its members.
    """
    position = skip_space(data, start + 1)
    while position < stop and data[position] != b"}"[0]:
        key = _string(data, position, stop)
        if key is None:
            raise OddError(position)
        position = skip_space(data, key.end())
        if position >= stop or data[position] != _COLON:
            raise OddError(position)
        begin = skip_space(data, position + 1)
        if begin >= stop:
            return
        if _is_boundary(data, begin):
            raise OddError(begin)
        end = _value_end(data, begin, stop)
        if end == begin:
            raise OddError(begin)
        yield Member(key.group()[1:-1], begin, end)
        if end is None:
            return
        position = skip_space(data, end)
        if position < stop and data[position] == _COMMA:
            position = skip_space(data, position + 1)
        elif position < stop and data[position] != b"}"[0]:
            raise OddError(position)


def _value_end(data: bytes, begin: int, stop: int) -> int | None:
    byte = data[begin]
    if byte in _OPEN:
        outcome, state = scan(data[begin:stop], Scan(0))
        return begin + state.position if outcome is Outcome.DONE else None
    if byte == _QUOTE:
        string = _string(data, begin, stop)
        return string.end() if string else None
    scalar = _scalar(data, begin, stop)
    return scalar.end() if scalar else begin


EVENT_BEGINNINGS = (b'{"level":"', b'{"kind":"Event",')
"""How kube-apiserver begins an Event, in a webhook body and in a log."""

LIST_KEYS = frozenset({b"items", b"events", b"logEvents", b"records", b"entries", b"results"})


_members_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_elements_decoder = msgspec.json.Decoder(list[msgspec.Raw])


def valid_end(data: bytes, start: int, end: int) -> bool:
    """Say whether exactly one valid object stands here: what `scan` would find, many times faster."""
    try:
        _members_decoder.decode(memoryview(data)[start:end])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def element_lengths(data: bytes, start: int, end: int, key: str | None, bracket: int) -> list[int]:
    """Give the lengths of the elements of the list at `bracket`, if what stands here is valid JSON; else nothing."""
    value: memoryview | msgspec.Raw = memoryview(data)[start:end]
    try:
        if key is not None:
            value = _members_decoder.decode(value)[key]
            # of two lists of this name the decoder gives the last
            if data[bracket : bracket + len(memoryview(value))] != bytes(value):
                return []
        return [len(memoryview(element)) for element in _elements_decoder.decode(value)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []


def find_list(data: bytes, start: int, stop: int, *, is_tail: bool = False) -> tuple[str, int] | None:
    """Say whether the object at `start` is a list of Events: the key, and the position of its `[`.

    Looks only at what stands before `stop`. An object that has said it is an Event is never a list, unless it has
    been one already (`is_tail`).
    """
    if not is_tail and data.startswith(EVENT_BEGINNINGS, start, stop):
        return None
    try:
        for key, begin, end in members(data, start, stop):
            if key in LIST_KEYS and data[begin] == b"["[0]:
                return key.decode(), begin
            if not is_tail and (key == b"stage" or (key == b"kind" and data[begin:end] == b'"Event"')):
                return None
    except OddError:
        return None
    return None
