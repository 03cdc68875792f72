"""
Turn exact bytes into an Event: strictly and fast, or tolerantly, saying what was mended.

`decode` takes what kube-apiserver writes. `decode_tolerant` also takes what people and pipelines make of it and
what can be mended without a guess (`event.decode_repair` lists it). `read` takes an Item of `event.split` and gives
a Record or Damage; `read_all` does both steps and is the way from bytes to Events.
"""

from collections.abc import Iterable, Iterator

import msgspec

from kubewitness.event.decode_repair import BODIES, BREAKS_OFF, repair
from kubewitness.event.decode_strict import EventError, decode
from kubewitness.event.items import EXCERPT_BYTES, Damage, DamageKind, Item
from kubewitness.event.recognise import API_GROUP
from kubewitness.event.split import split
from kubewitness.event.types import Event

__all__ = ["EventError", "Record", "decode", "decode_tolerant", "normalise", "read", "read_all"]


class Record(msgspec.Struct, frozen=True, gc=False):
    """An Event with the Item it was read from. `notes` say what was mended or opened to get it."""

    item: Item
    event: Event
    notes: tuple[str, ...] = ()


_OLD_VERSIONS = frozenset({f"{API_GROUP}v1alpha1", f"{API_GROUP}v1beta1"})


def decode_tolerant(raw: bytes) -> tuple[Event, tuple[str, ...]] | str:
    """Give the Event and what was mended to read it, or the reason why these bytes are not one."""
    repaired = repair(raw)
    if isinstance(repaired, str):
        return repaired
    try:
        return _decode_repaired(repaired.raw, repaired.members), repaired.notes
    except EventError as exc:
        return str(exc)


def normalise(raw: bytes) -> bytes | str:
    """Give the Event as one line of clean JSON that a strict engine reads, or the reason why it is not an Event."""
    repaired = repair(raw)
    if isinstance(repaired, str):
        return repaired
    try:
        _decode_repaired(repaired.raw, repaired.members)
    except EventError as exc:
        return str(exc)
    return repaired.raw


def _decode_repaired(raw: bytes, members: dict[bytes, bytes]) -> Event:
    try:
        return decode(raw)
    except EventError as exc:
        if not isinstance(exc.__cause__, RecursionError):
            raise
    # too deep for a recursive parser: bodies are kept as bytes, and other members are not in the view
    shallow = b"{" + b",".join(b'"' + k + b'":' + v for k, v in members.items() if k in _SHALLOW) + b"}"
    bodies = {attribute: msgspec.Raw(members[key]) for key, attribute in BODIES.items() if key in members}
    return msgspec.structs.replace(decode(shallow), **bodies)


_SHALLOW = frozenset(
    field.encode_name.encode() for field in msgspec.structs.fields(Event) if field.encode_name.encode() not in BODIES
)


def read(item: Item) -> Record | Damage:
    """Give the Event of this Item, or Damage that says why there is none."""
    raw = item.raw
    try:
        event = decode(raw)
        if event.api_version not in _OLD_VERSIONS and (raw.isascii() or _is_utf8(raw)):
            return Record(item, event, item.notes)
    except EventError:
        pass
    found = decode_tolerant(raw)
    if isinstance(found, str):
        kind = DamageKind.TORN if found == BREAKS_OFF else DamageKind.MALFORMED
        return Damage(item.source, item.offset, item.line, item.length, found, raw[:EXCERPT_BYTES], kind)
    event, notes = found
    return Record(item, event, item.notes + notes)


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def read_all(chunks: Iterable[bytes], source: str, *, offset: int = 0, line: int = 1) -> Iterator[Record | Damage]:
    """Give every Event and every Damage in these bytes, in order."""
    for part in split(chunks, source, offset=offset, line=line):
        yield part if isinstance(part, Damage) else read(part)
