"""What a scan looks for, and what it keeps of it."""

import msgspec


class Question(msgspec.Struct, frozen=True):
    """What to look for, in SQL over `events`; which columns to keep; which wire paths must be parsed for it."""

    columns: tuple[str, ...]
    used: tuple[str, ...]
    """`columns` and those that the conditions name."""
    reads: frozenset[str]
    where: str = "TRUE"
    unknown: str = "FALSE"
    decides: frozenset[str] | None = None
    """Wire paths whose types are tested in every line; those of other members only in rows that match. None for all."""
    joins_stages: bool = True
    changes_with_stage: bool = False
    """The conditions read what an early stage of a request does not tell about the latest."""
    joined_by: frozenset[str] = frozenset()
    """Wire paths that the conditions read and that are the same in every stage of a request."""
    filled_later: tuple[str, ...] = ()
    """Columns that the conditions read and that an early stage may lack."""
    names: str = ""
    """What a SELECT from `events` can name, in SQL over `columns`."""
    is_ordered: bool = True
    """The order of rows can be seen in the answer."""
    keeps_bytes: bool = False
    made: tuple[tuple[str, str], ...] = ()
    """Names of further columns to keep, and SQL over `used` for each."""
