"""
Compare log files with a store by the identity of each Event, in one pass over either.

Identities are those by which the store knows what came before (a keyed hash of the canonical bytes), so an Event of
which something was never written is compared too, as long as the key is at hand.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kubewitness._kit.opening import TornError
from kubewitness.event import microtime
from kubewitness.event.decode import Record, decode_tolerant, read_all
from kubewitness.event.items import Damage
from kubewitness.event.types import Event
from kubewitness.keep.store.dedupe import KEY_BYTES, Window
from kubewitness.keep.store.layout import IDENTITY_FILE, KeyDir
from kubewitness.keep.store.reader import Lost, read_blocks, records
from kubewitness.look.query.source import Input
from kubewitness.look.query.store import Shelf


@dataclass(frozen=True, slots=True)
class Difference:
    """An Event that is only on one side."""

    only_in: str
    """`files` or `store`."""
    source: str
    place: int
    """The line of a file, or the index in the log."""
    received_us: int | None
    stage: str | None
    username: str | None
    verb: str | None
    request_uri: str | None
    audit_id: str | None


@dataclass(slots=True)
class Comparison:
    """What a comparison found."""

    in_files: int = 0
    in_store: int = 0
    """Events of the store whose requests were received in the time that the files span."""
    in_both: int = 0
    copies: int = 0
    """Events that stand in the files again."""
    outside: int = 0
    """Events of the store of another time, which were not compared."""
    uncertain: int = 0
    damaged: int = 0
    lost: int = 0
    only_in_files: list[Difference] = field(default_factory=list)
    only_in_store: list[Difference] = field(default_factory=list)


def compare(inputs: Sequence[Input], shelf: Shelf, keys: Path) -> Comparison:
    """Compare. `keys` is the directory of the store's keys, which may not be there. Raises OSError."""
    out = Comparison()
    has_key = (keys / IDENTITY_FILE).is_file()
    window = Window(KeyDir(keys).identity() if has_key else os.urandom(KEY_BYTES))
    waiting: dict[bytes, tuple[int, int] | None] = {}
    """By identity, which it is (input, and how many stand before it); None once it was met in the store."""
    low: int | None = None
    high: int | None = None
    for number, one in enumerate(inputs):
        for place, found in enumerate(_read(one, out)):
            out.in_files += 1
            identity = window.identity(found.item.raw)
            if identity in waiting:
                out.copies += 1
                continue
            waiting[identity] = (number, place)
            received = _micros(found.event)
            if received is not None:
                low = received if low is None else min(low, received)
                high = received if high is None else max(high, received)
    _follow_store(shelf, window, waiting, (low, high), out, has_key=has_key)
    missing = {place: None for place in waiting.values() if place is not None}
    if missing:
        for number, one in enumerate(inputs):
            for place, found in enumerate(_read(one, Comparison())):
                if (number, place) in missing:
                    out.only_in_files.append(_difference("files", one.name, found.item.line, found.event))
    return out


def _follow_store(
    shelf: Shelf,
    window: Window,
    waiting: dict[bytes, tuple[int, int] | None],
    span: tuple[int | None, int | None],
    out: Comparison,
    *,
    has_key: bool,
) -> None:
    low, high = span
    for part in read_blocks(shelf.segments):
        if isinstance(part, Lost):
            out.lost += part.end - part.first
            continue
        for record in records(part):
            kept = record.kept
            identity = record.identity if kept.removed or kept.tombstone else window.identity(kept.line)
            if identity is not None and identity in waiting and (has_key or not kept.removed):
                if waiting[identity] is not None:
                    out.in_both += 1
                    out.in_store += 1
                    waiting[identity] = None
                continue
            read = decode_tolerant(kept.line)
            event = None if isinstance(read, str) else read[0]
            received = None if event is None else _micros(event)
            if received is None or low is None or high is None or not low <= received <= high:
                out.outside += 1
                continue
            out.in_store += 1
            if identity is None or (kept.removed and not has_key):
                out.uncertain += 1
            elif event is not None:
                out.only_in_store.append(_difference("store", record.source, record.index, event))


def _read(one: Input, out: Comparison) -> Iterator[Record]:
    def chunks() -> Iterator[bytes]:
        try:
            yield from one.chunks()
        except TornError:
            out.damaged += 1

    for found in read_all(chunks(), one.name):
        if isinstance(found, Damage):
            out.damaged += 1
        else:
            yield found


def _micros(event: Event) -> int | None:
    if event.request_received_timestamp is None:
        return None
    try:
        return microtime.parse(event.request_received_timestamp)
    except microtime.TimeError:
        return None


def _difference(only_in: str, source: str, place: int, event: Event) -> Difference:
    return Difference(
        only_in,
        source,
        place,
        _micros(event),
        event.stage.value,
        event.user.username if event.user else None,
        event.verb,
        event.request_uri,
        event.audit_id,
    )
