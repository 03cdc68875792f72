"""
The tolerant path: from bytes that the engine cannot read, or reads wrongly, to lines that it reads rightly.

`rescue` gives every Event in the bytes as one clean line of JSON, with the exact bytes it came from and where they
stood, and Damage for everything else. It is used for the odd lines of a file, and for whole inputs that do not hold
one Event a line.
"""

from collections.abc import Iterable, Iterator

import msgspec

from kubewitness.event.decode import Record, normalise, read_all
from kubewitness.event.items import EXCERPT_BYTES, KUBE_APISERVER, Damage
from kubewitness.event.types import ABSENT

SLIM_FROM_BYTES = 4 << 20  # a longer line loses its bodies on the way to the engine when the question reads none


class Rescued(msgspec.Struct, frozen=True):
    """One Event as a line for the engine, and the Record it was made from."""

    line: bytes
    record: Record


def rescue(
    chunks: Iterable[bytes], source: str, mark: str, *, offset: int = 0, line: int = 1, needs_bodies: bool = True
) -> Iterator[Rescued | Damage]:
    """Give every Event and every Damage. `mark` is the member that tells the engine the dialect."""
    for found in read_all(chunks, source, offset=offset, line=line):
        if isinstance(found, Damage):
            yield found
            continue
        clean = _clean(found, needs_bodies)
        if isinstance(clean, str):
            item = found.item
            yield Damage(item.source, item.offset, item.line, item.length, clean, item.raw[:EXCERPT_BYTES])
        else:
            yield Rescued(_marked(clean, found.item.dialect, mark), found)


def _clean(record: Record, needs_bodies: bool) -> bytes | str:
    raw = record.item.raw
    if len(raw) >= SLIM_FROM_BYTES and not needs_bodies:
        return msgspec.json.encode(msgspec.structs.replace(record.event, request_object=ABSENT, response_object=ABSENT))
    return normalise(raw)


def _marked(clean: bytes, dialect: str, mark: str) -> bytes:
    if dialect == KUBE_APISERVER:
        return clean
    member = msgspec.json.encode(mark) + b":" + msgspec.json.encode(dialect)
    return b"{" + member + b"," + clean.lstrip()[1:]
