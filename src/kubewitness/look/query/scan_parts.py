"""What a scan read, part by part, so that a row can be traced to its bytes."""

import msgspec

from kubewitness.look.query.relation import Reading
from kubewitness.look.query.source import Input


class Place(msgspec.Struct, frozen=True):
    """Where the Event of a rescued or picked row stood, and its exact bytes where they were asked for."""

    offset: int
    line: int
    raw: bytes


class Part(msgspec.Struct):
    """What one INSERT read: a whole input, a block of it, or rescued lines of it."""

    input: Input
    offset: int = 0
    line: int = 1
    lines: int | None = None
    """Lines of the block, None for the rest of the input."""
    places: list[Place] | None = None
    rows: int = 0
    """How many rows the engine saw."""
    reading: Reading = Reading.TOLERANT
    aside: list[tuple[int, bytes]] | None = None
    """Offset and bytes of every line of the block that may be asked for, where those are few."""
