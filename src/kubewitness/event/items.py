"""
What comes out of splitting bytes: an Item that may be one Event, or Damage that is not.

Both say where they stand in the input, so that nothing is lost in silence: the spans of all Items and all
Damage, with white space and the punctuation of lists between them, are the whole input.
"""

import enum

import msgspec

KUBE_APISERVER = "kube-apiserver"
EXCERPT_BYTES = 160  # enough to recognise a line by; whoever shows it escapes it


class Item(msgspec.Struct, frozen=True, gc=False):
    """The exact bytes of what may be one Event, and where they stood. `decode.read` says whether it is one."""

    raw: bytes
    source: str
    offset: int
    line: int
    length: int
    """Bytes of the input that it takes up; more than `raw` where an envelope was opened."""
    dialect: str = KUBE_APISERVER
    notes: tuple[str, ...] = ()
    """What had to be done to get at it, for people."""


class DamageKind(enum.Enum):
    """Why bytes are not an Event."""

    TORN = "torn"
    """It begins like an Event and breaks off."""
    MALFORMED = "malformed"
    """It is not JSON, or a field has the wrong type."""
    ALIEN = "alien"
    """It is something else, and whole: a core/v1 Event, a line of another log."""


class Damage(msgspec.Struct, frozen=True, gc=False):
    """Bytes that gave no Event: where, how many, why, and how they begin."""

    source: str
    offset: int
    line: int
    length: int
    reason: str
    excerpt: bytes
    kind: DamageKind = DamageKind.MALFORMED
