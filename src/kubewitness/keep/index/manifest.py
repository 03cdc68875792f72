"""
What an index holds: which files, of which Events, and where in the segments the rest begins.

A file counts only if the manifest names it. The manifest is replaced as a whole, after the files that it names are on
the disk; so whoever reads it needs no lock, and what a crash left beside it is nobody's.

The format is docs/reference/formats.md, "Index".
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec

from kubewitness._kit.files import Directory, read_whole, write_whole

INDEX = "index"
MANIFEST = "manifest.json"
VERSION = 1


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """One Parquet file: its path below the index, and what is known of its rows without opening it."""

    path: str
    first: int
    """The lowest index of an Event in it."""
    end: int
    """The index after the highest one. Others between them may be in other files: those of other hours."""
    rows: int
    bytes: int
    raw_bytes: int
    """How many bytes its Events have."""
    min_us: int | None = None
    """When the earliest of its requests was received, microseconds since 1970; absent if that is not known of any."""
    max_us: int | None = None
    untimed: int = 0
    """How many of its Events do not say when the request was received."""
    stages: Mapping[str, int] = {}
    """How many Events of each stage."""
    dialects: Mapping[str, int] = {}
    redacted: int = 0
    """Of how many Events something is missing."""


class Unread(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Events [first, end) that have no row, and why."""

    first: int
    end: int
    reason: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the index of a store holds: the Events below `end`, but those that are `unread`."""

    version: int
    schema: str
    """Tells whether columns and what they mean are those of the reader."""
    end: int = 0
    segment: int = -1
    """Where the block of Event `end` begins, or will: the first index of its segment, and the byte in it."""
    offset: int = 0
    files: Sequence[Entry] = ()
    unread: Sequence[Unread] = ()

    @property
    def rows(self) -> int:
        """How many Events have a row."""
        return sum(file.rows for file in self.files)


_decoder = msgspec.json.Decoder(Manifest)


def read_manifest(root: Directory, schema: str) -> Manifest:
    """Give the manifest of a store's index; an empty one where there is none that this reader understands."""
    empty = Manifest(VERSION, schema)
    with suppress(FileNotFoundError):
        index = root.look(INDEX)
        try:
            found = parse_manifest(read_whole(index, MANIFEST))
        finally:
            index.close()
        if found is not None and (found.version, found.schema) == (VERSION, schema):
            return found
    return empty


def parse_manifest(data: bytes) -> Manifest | None:
    """Read a manifest; None for what is none: the index is then made anew."""
    try:
        return _decoder.decode(data)
    except msgspec.DecodeError:
        return None


def write_manifest(index: Directory, manifest: Manifest) -> None:
    """Put a manifest in place. Raises OSError."""
    write_whole(index, MANIFEST, msgspec.json.encode(manifest) + b"\n")
