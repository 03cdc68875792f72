"""
Go on as a store grows: its newest Events as `search --follow` reads them.

Only what is stored from now on is given. Nothing is locked; a store that is made anew under its name is not noticed.
"""

import time
from collections.abc import Callable, Iterator

from kubewitness.cli.errors import UserError
from kubewitness.event.decode import Record, read
from kubewitness.event.expr_values import Context
from kubewitness.event.items import Damage, Item
from kubewitness.keep.store.doors import dialect_of
from kubewitness.keep.store.reader import Lost, Tail, records
from kubewitness.look.query.source import SourceError
from kubewitness.look.query.store import Shelf, open_shelves
from kubewitness.look.query.tabulate import missing

_POLL_S = 0.2


def read_store(
    data: str, cluster: str | None, wait: Callable[[float], None] = time.sleep
) -> Iterator[tuple[Record | Damage, Context]]:
    """Give what is stored from now on, for ever. Raises UserError."""
    try:
        shelves = open_shelves(data, cluster)
    except SourceError as error:
        raise UserError(str(error)) from error
    tails = [(shelf, Tail(shelf.segments, end)) for shelf in shelves for end in [shelf.end()]]
    begins = {shelf.cluster: tail.index for shelf, tail in tails}
    while True:
        for shelf, tail in tails:
            yield from _poll(shelf, tail, begins[shelf.cluster])
        wait(_POLL_S)


def _poll(shelf: Shelf, tail: Tail, begin: int) -> Iterator[tuple[Record | Damage, Context]]:
    for part in tail.poll():
        if isinstance(part, Lost):
            where = f"store of {shelf.cluster}: Events {part.first} to {part.end - 1}"
            reason = f"{part.segment}, byte {part.offset}: damaged"
            yield Damage(where, part.offset, 0, 0, reason, b""), Context(cluster=shelf.cluster)
            continue
        for record in records(part):
            if record.index < begin:
                continue
            context = Context(
                cluster=shelf.cluster,
                source=record.source,
                dialect=dialect_of(record.source),
                redacted=missing(record.kept) if record.kept.removed or record.kept.tombstone else None,
                log_index=record.index,
                log_time=record.received_ns // 1000,
            )
            line = record.kept.line
            yield read(Item(line, record.source, 0, 0, len(line), context.dialect or "")), context
