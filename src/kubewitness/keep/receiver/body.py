"""
Take the body of a POST apart: into the exact bytes of its Events, and what is none.

The usual body, an EventList as kube-apiserver writes it, goes through one decoder. Whatever else comes, and what is
large, is split piece by piece, in bounded memory and time. Nothing here refuses: what is no Event is given back with
the reason, to be kept elsewhere.
"""

from dataclasses import dataclass, field

import msgspec

from kubewitness.event.decode import read
from kubewitness.event.items import Damage, Item
from kubewitness.event.split import Splitter
from kubewitness.event.split_values import WHITE_SPACE
from kubewitness.event.types import Stage

PLAIN_BYTES = 4 << 20  # a larger body might hold more values than there is memory for
MAX_ODD = 100  # with more, the body is kept as one piece
MAX_EVENTS = 400_000  # of the smallest Events, 64 MiB hold no more
MANY_ITEMS = 20_000  # with more than these, small ones are not looked at one by one
_LEAST_BYTES = 100  # of an Event, on average
_CHUNK_BYTES = 256 * 1024
_STAGES = frozenset(stage.value for stage in Stage)


class _List(msgspec.Struct, gc=False):
    kind: str
    items: list[msgspec.Raw]


class _Ids(msgspec.Struct, gc=False):
    audit_id: str = msgspec.field(name="auditID")
    stage: str


class _Times(msgspec.Struct, gc=False):
    stage_timestamp: str | None = msgspec.field(name="stageTimestamp", default=None)


_list_decoder = msgspec.json.Decoder(_List)
_ids_decoder = msgspec.json.Decoder(_Ids)
_times_decoder = msgspec.json.Decoder(_Times)
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Odd:
    """Bytes of a body that are no Event: from where, why, and the bytes."""

    at: int
    why: str
    raw: bytes


@dataclass(slots=True)
class Body:
    """What a body holds."""

    events: list[bytes] = field(default_factory=list)
    """Exact bytes, in order."""
    ids: list[int] = field(default_factory=list)
    """For each Event a number for its auditID and stage, good within this process."""
    odd: list[Odd] = field(default_factory=list)
    """What is no Event; the whole body as one piece where that is simpler."""
    unknown_stages: int = 0
    """Events of a stage that is not known here; they are stored like all others."""

    def add(self, raw: bytes) -> str:
        """Take this as an Event, or say why it is none."""
        try:
            ids = _ids_decoder.decode(raw)
        except _UNREADABLE as exc:
            if len(self.odd) > MAX_ODD:
                return str(exc)  # all of the body is kept anyway
            record = read(Item(raw, "", 0, 1, len(raw)))
            if isinstance(record, Damage):
                return record.reason
            audit_id, stage = record.event.audit_id, record.event.stage.value
        else:
            audit_id, stage = ids.audit_id, ids.stage
        self.events.append(raw)
        self.ids.append(hash((audit_id, stage)))
        if stage not in _STAGES:
            self.unknown_stages += 1
        return ""


def take_apart(body: bytes) -> Body:
    """Find the Events of a body, and what is none."""
    if len(body) <= PLAIN_BYTES:
        try:
            found = _list_decoder.decode(body)
        except _UNREADABLE:
            pass
        else:
            if found.kind == "EventList":
                return _from_items(body, found.items)
    return _from_anything(body)


def stage_time(raw: bytes) -> str | None:
    """Give the stageTimestamp of an Event as it stands there, if it has one."""
    try:
        return _times_decoder.decode(raw).stage_timestamp
    except _UNREADABLE:
        return None


def _from_items(body: bytes, items: list[msgspec.Raw]) -> Body:
    out = Body()
    if len(items) > MANY_ITEMS and len(body) < len(items) * _LEAST_BYTES:
        out.odd = [Odd(0, f"{len(items)} items in {len(body)} bytes are no Events", body)]
        return out
    at = 0
    for item in items:
        raw = bytes(item)
        why = out.add(raw)
        if why:
            if len(out.odd) < MAX_ODD:
                at = max(body.find(raw, at), 0)
            out.odd.append(Odd(at, why, raw))
    if len(out.odd) > MAX_ODD:
        out.odd = [Odd(0, f"{len(out.odd)} items are no Events; the first: {out.odd[0].why}", body)]
    return out


def _from_anything(body: bytes) -> Body:
    out = Body()
    if not body.strip(WHITE_SPACE):
        return out
    splitter = Splitter("")
    view = memoryview(body)
    for begin in range(0, len(body) + 1, _CHUNK_BYTES):
        chunk = bytes(view[begin : begin + _CHUNK_BYTES])
        parts = splitter.feed(chunk) if begin + _CHUNK_BYTES <= len(body) else splitter.feed(chunk) + splitter.close()
        for part in parts:
            why = part.reason if isinstance(part, Damage) else out.add(part.raw)
            if why:
                out.odd.append(Odd(part.offset, why, body[part.offset : part.offset + part.length]))
            if len(out.odd) > MAX_ODD or len(out.events) > MAX_EVENTS:
                why = out.odd[0].why if out.odd else "too many Events"
                out.odd = [Odd(0, f"given up at byte {part.offset}; {why}", body)]
                return out
    return out
