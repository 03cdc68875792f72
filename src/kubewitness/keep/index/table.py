"""What comes out of making columns of Events: files, and what has no row."""

from collections.abc import Sequence
from dataclasses import dataclass

from kubewitness.keep.index.manifest import Entry, Unread


@dataclass(frozen=True, slots=True)
class Table:
    """A Parquet file that was made, and its entry, in which the path is still only the folder."""

    entry: Entry
    data: bytes


@dataclass(frozen=True, slots=True)
class Tabulated:
    """What became of some Events: files, one an hour, and those that have no row."""

    tables: Sequence[Table]
    unread: Sequence[Unread]
