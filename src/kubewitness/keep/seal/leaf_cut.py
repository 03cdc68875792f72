"""
Cut the bytes of an Event into groups of members, and take groups out so that the rest still reads as an Event.

In go exact bytes, out come the contents that a leaf commits to; `leaf` hashes them. An Event that is not written
the way kube-apiserver writes (no white space between members, names plain and unique) is one group: its outline.

The rule is docs/reference/formats.md, "Groups".
"""

import enum
import re
from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec

from kubewitness.keep.seal.errors import LeafError


class Group(enum.IntEnum):
    """What can be blanked apart from the rest; the numbers are hashed, so they never change."""

    ENVELOPE = 0
    """When and from where it was received; the same for all Events of a commit."""
    OUTLINE = 1
    """The Event with the contents of all further groups cut out."""
    QUERY = 2
    """What follows the path in requestURI, from the question mark: exec's command, a token."""
    USER = 3
    CLIENT = 4
    REQUEST = 5
    RESPONSE = 6
    STATUS = 7
    ANNOTATIONS = 8


class State(enum.IntEnum):
    """Why a group's content is not there."""

    DROPPED = 1
    """It was never written."""
    SEALED = 2
    """Only a ciphertext of it was written."""
    REDACTED = 3
    """It was blanked afterwards, by somebody's decision."""
    EXPIRED = 4
    """It was blanked when its time was over."""


MEMBERS = {
    "user": Group.USER,
    "impersonatedUser": Group.USER,
    "sourceIPs": Group.CLIENT,
    "userAgent": Group.CLIENT,
    "requestObject": Group.REQUEST,
    "responseObject": Group.RESPONSE,
    "responseStatus": Group.STATUS,
    "annotations": Group.ANNOTATIONS,
}
"""The group of each member that is not in the outline."""

GROUP_NAMES = {
    Group.QUERY: "requestURI.query",
    Group.USER: "user",
    Group.CLIENT: "client",
    Group.REQUEST: "requestObject",
    Group.RESPONSE: "responseObject",
    Group.STATUS: "responseStatus",
    Group.ANNOTATIONS: "annotations",
}
"""What a line says is missing; a whole Event is called `event`."""

MARKER = "kubewitness.io/removed"
"""The member that says what was taken out of a line."""
MAX_LAYOUTS = 256  # an apiserver writes some twenty; a hostile sender must not fill the memory

Pick = Callable[[list[Any]], Iterable[Any]]

_STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_HEAD = re.compile(rb'"([^"\\]*)":')
_SIMPLE = re.compile(_STRING + rb"|[^ \t\r\n\",:{}\[\]]+", re.DOTALL)
_TOKEN = re.compile(_STRING + rb"|[{}\[\]\"]", re.DOTALL)

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _Layout(NamedTuple):
    """How Events of one list of names are cut: each getter picks its content's pieces out of `constants + values`."""

    constants: tuple[bytes, ...]
    outline: Pick
    groups: tuple[tuple[int, Pick], ...]
    fixed_bytes: int
    """How much longer the contents are together than the Event."""
    uri: int
    """Where requestURI is in `constants + values`; 0 if it is not."""


_layouts: dict[tuple[str, ...], _Layout] = {}


def cut(raw: bytes) -> list[tuple[int, bytes]]:
    """Give (group, content) of an Event, the outline first, ascending; of an odd one, all of it as its outline."""
    members = _members(raw)
    if members is None:
        return [(Group.OUTLINE, raw)]
    contents, length = _assemble(*members)
    # Anything but members joined by commas is longer: white space, a second member of the same name, an escape.
    return contents if length == len(raw) else [(Group.OUTLINE, raw)]


def _members(raw: bytes) -> tuple[tuple[str, ...], list[msgspec.Raw]] | None:
    """Give the names and values of an object."""
    try:
        members = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # msgspec is here to be fast; what can be cut is not left to its taste or to the depth of the stack
        return _scan(raw)
    return tuple(members), list(members.values())


def _scan(raw: bytes) -> tuple[tuple[str, ...], list[msgspec.Raw]] | None:
    """Find the members by the rule of the formats page; None for what cannot be cut."""
    members: dict[str, msgspec.Raw] = {}
    if raw[:1] != b"{":
        return None
    at = 1
    while head := _HEAD.match(raw, at):
        name = head[1].decode("utf-8", "surrogateescape")
        at = _skip_value(raw, head.end())
        if name in members or not at:
            return None
        members[name] = msgspec.Raw(raw[head.end() : at])
        if raw[at : at + 1] != b",":
            break
        at += 1
    return (tuple(members), list(members.values())) if raw[at:] == b"}" else None


def _skip_value(raw: bytes, at: int) -> int:
    """Give where the value that begins here ends, 0 if none does. Brackets are counted, not paired."""
    if raw[at : at + 1] not in (b"{", b"["):
        simple = _SIMPLE.match(raw, at)
        return simple.end() if simple else 0
    depth = 0
    for token in _TOKEN.finditer(raw, at):
        text = token[0]
        if text == b'"':
            return 0
        if text in (b"{", b"["):
            depth += 1
        elif text in (b"}", b"]"):
            depth -= 1
            if not depth:
                return token.end()
    return 0


def _assemble(names: tuple[str, ...], values: list[msgspec.Raw]) -> tuple[list[tuple[int, bytes]], int]:
    """Give the contents, and the length of the Event that holds them and nothing else."""
    layout = _layouts.get(names)
    if layout is None:
        layout = _remember(names)
    pieces: list[bytes | msgspec.Raw] = [*layout.constants, *values]
    query = b""
    if layout.uri:
        uri = bytes(pieces[layout.uri])
        if uri[:1] == b'"':
            path, mark, rest = uri.partition(b"?")
            if mark:
                pieces[layout.uri] = path + b'"'
                query = b"?" + rest[:-1]
    outline = b"".join(layout.outline(pieces))
    length = len(outline) + len(query) - layout.fixed_bytes
    contents: list[tuple[int, bytes]] = [(1, outline), (2, query)] if query else [(1, outline)]
    for group, pick in layout.groups:
        content = b"".join(pick(pieces))
        length += len(content)
        contents.append((group, content))
    return contents, length


def _remember(names: tuple[str, ...]) -> _Layout:
    if len(_layouts) >= MAX_LAYOUTS:
        _layouts.clear()
    layout = _layouts[names] = _lay_out(names)
    return layout


def _lay_out(names: tuple[str, ...]) -> _Layout:
    """Plan how Events with these members, in this order, are cut."""
    constants: list[bytes] = []
    outline: list[int] = []  # a constant is its number, a value -1 - its number, until all constants are known
    groups: dict[int, list[int]] = {}
    fixed = uri = 0
    text = b"{"
    for number, name in enumerate(names):
        head = b'"' + _bytes(name) + b'":'
        text += b"," + head if number else head
        group = MEMBERS.get(name)
        if group is None:
            outline += (len(constants), -1 - number)
            constants.append(text)
            text = b""
        else:
            picked = groups.setdefault(int(group), [])
            joined = b"," + head if picked else head
            picked += (len(constants), -1 - number)
            constants.append(joined)
            fixed += len(joined)
    outline.append(len(constants))
    constants.append(text + b"}")

    def pick(places: list[int]) -> Pick:
        getter = itemgetter(*(place if place >= 0 else len(constants) - 1 - place for place in places))
        return getter if len(places) > 1 else lambda pieces: (getter(pieces),)

    if "requestURI" in names:
        uri = len(constants) + names.index("requestURI")
    ordered = tuple((group, pick(places)) for group, places in sorted(groups.items()))
    return _Layout(tuple(constants), pick(outline), ordered, fixed, uri)


def marker(removed: Mapping[int, State]) -> bytes:
    """Give the member that says what is missing, as it stands in a line."""
    told = {GROUP_NAMES[Group(group)]: removed[group].name.lower() for group in sorted(removed)}
    return msgspec.json.encode({MARKER: told})[1:-1]


def tombstone_line(state: State) -> bytes:
    """Give the line that stands where a whole Event was."""
    return msgspec.json.encode({MARKER: {"event": state.name.lower()}})


def blank(raw: bytes, removed: Mapping[int, State]) -> bytes:
    """Write an Event without some of its groups: `null` for their values, and a last member that says so.

    Raises LeafError for a group that the Event has not.
    """
    there = {group for group, _ in cut(raw)} - {Group.OUTLINE}
    if not removed or not removed.keys() <= there:
        raise LeafError(f"an Event of groups {_names(there)} cannot be written without {_names(removed)}")
    names, values = _members(raw) or ((), [])
    out: list[bytes] = []
    for name, value in zip(names, values, strict=True):
        written = bytes(value)
        if MEMBERS.get(name) in removed:
            written = b"null"
        elif name == "requestURI" and Group.QUERY in removed:
            written = written.partition(b"?")[0] + b'"'
        out.append(b'"' + _bytes(name) + b'":' + written)
    out.append(marker(removed))
    return b"{" + b",".join(out) + b"}"


def cut_blanked(line: bytes, removed: Mapping[int, State]) -> list[tuple[int, bytes]]:
    """Give the contents that are left in a line that `blank` wrote. Raises LeafError if it cannot have."""
    ending = b"," + marker(removed) + b"}"
    if not line.endswith(ending):
        raise LeafError(f"the line does not end by saying that {_names(removed)} were removed")
    whole = line[: -len(ending)] + b"}"
    names, values = _members(whole) or ((), [])
    for number, name in enumerate(names):
        if MEMBERS.get(name) in removed:
            if bytes(values[number]) != b"null":
                raise LeafError(f"{name} was removed, and yet it is in the line")
            values[number] = msgspec.Raw(b"")
    contents, length = _assemble(names, values)
    blanks = sum(4 for name in names if MEMBERS.get(name) in removed)
    there = dict(contents)
    if length + blanks != len(whole) or (Group.QUERY in removed and Group.QUERY in there):
        raise LeafError(f"a line without {_names(removed)} is not written as an Event that can be cut")
    return [(group, content) for group, content in contents if group not in removed]


def _names(groups: Mapping[int, State] | set[int]) -> str:
    return ", ".join(Group(group).name.lower() for group in sorted(groups)) or "nothing"


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
