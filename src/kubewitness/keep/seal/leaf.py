"""
Leaves: 33 bytes that commit to an Event and tell nothing about it.

A leaf is a version and the hash of salted hashes, one for each group of members (`leaf_cut`). Whoever has the salts
can prove each group by itself; a group without content and salt is only its hash, and every proof still holds.
All salts of a commit follow from one seed. Where seeds come from and where they are kept is left to the caller.

The rule is docs/reference/formats.md, "Leaf"; vectors to test other readers with are in tests/golden/leaf.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from kubewitness.keep.seal.errors import LeafError
from kubewitness.keep.seal.leaf_cut import Group, State, cut, cut_blanked, tombstone_line
from kubewitness.keep.seal.leaf_usual import usual_hashes

LEAF_VERSION = 1
LEAF_BYTES = 33
SEED_BYTES = 32
SALT_BYTES = 16
HASH_BYTES = 32
DESTROYED = bytes(SALT_BYTES)
"""What stands in the place of a salt that is no more."""

_GROUP_LABEL = b"kubewitness leaf 1 group"
_SALTS_LABEL = b"kubewitness leaf 1 salts"
_INNER = 0x02  # 0x00 and 0x01 are the tree's
_COMMITMENT = 0x03
_PREFIXES = tuple(bytes((_INNER, group)) for group in Group)
_HEADS = tuple(bytes((_COMMITMENT, bitmap)) for bitmap in range(1 << (len(Group) - Group.QUERY)))
_VERSION = bytes((LEAF_VERSION,))


def group_seed(seed: bytes, group: Group) -> bytes:
    """Derive from the seed of a commit the seed of one group."""
    return hashlib.shake_256(_GROUP_LABEL + bytes((group,)) + seed).digest(SEED_BYTES)


def expand(seed_of_group: bytes, count: int) -> bytes:
    """Derive from the seed of a group the salts of `count` Events, end to end."""
    return hashlib.shake_256(_SALTS_LABEL + seed_of_group).digest(SALT_BYTES * count)


@dataclass(frozen=True, slots=True)
class Salts:
    """The salts of a commit, as far as they still exist: for each group its salts end to end."""

    groups: Mapping[int, bytes]

    @classmethod
    def from_seed(cls, seed: bytes, count: int) -> "Salts":
        """Derive all salts of a commit of `count` Events. The envelope has one for them all."""
        return cls({group: expand(group_seed(seed, group), count if group else 1) for group in Group})

    def of(self, group: int, number: int) -> bytes:
        """Give the salt of a group of Event `number` of the commit. Raises LeafError when it was destroyed."""
        at = number * SALT_BYTES if group else 0
        salt = self.groups.get(group, b"")[at : at + SALT_BYTES]
        if len(salt) != SALT_BYTES or salt == DESTROYED:
            raise LeafError(f"the salt of {Group(group).name.lower()} of Event {number} of its commit is not there")
        return salt


@dataclass(frozen=True, slots=True)
class Removed:
    """A group whose content is gone: why, its hash, and what was kept instead (a ciphertext, a fingerprint)."""

    state: State
    inner: bytes
    instead: bytes = b""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """An Event of which nothing is left but its commitment."""

    state: State
    commitment: bytes


class Kept(msgspec.Struct, frozen=True, gc=False):
    """An Event as a segment keeps it; made for every Event that is read, so of a kind that is made quickly.

    `line` is its exact bytes or, when groups were removed, what `leaf_cut.blank` wrote; of a tombstone, the line
    that says so.
    """

    line: bytes
    removed: Mapping[int, Removed] = {}
    tombstone: Tombstone | None = None


def envelope(received_ns: int, source: str) -> bytes:
    """Give the content of the envelope: nanoseconds since 1970 UTC in eight bytes, and the source."""
    return received_ns.to_bytes(8) + source.encode()


def inner_hash(group: int, salt: bytes, content: bytes) -> bytes:
    """Commit to one group: SHA-256(0x02 || group || salt || content)."""
    return hashlib.sha256(_PREFIXES[group] + salt + content).digest()


def commitment(inner: Mapping[int, bytes]) -> bytes:
    """Commit to an Event: SHA-256(0x03 || which groups || their hashes, ascending)."""
    if Group.ENVELOPE not in inner or Group.OUTLINE not in inner:
        raise LeafError("every Event has an envelope and an outline")
    groups = sorted(inner)
    bitmap = sum(1 << (group - Group.QUERY) for group in groups[2:])
    parts = [bytes((_COMMITMENT, bitmap)), *(inner[group] for group in groups)]
    return hashlib.sha256(b"".join(parts)).digest()


def leaf(of: bytes) -> bytes:
    """Give the entry of the log for a commitment."""
    return _VERSION + of


def kept_commitment(kept: Kept, number: int, envelope_hash: bytes, salts: Salts) -> bytes:
    """Give the commitment of Event `number` of a commit from what is kept of it. Raises LeafError."""
    if kept.tombstone is not None:
        if kept.line != tombstone_line(kept.tombstone.state):
            raise LeafError(f"Event {number} of its commit is a tombstone, and its line says otherwise")
        return kept.tombstone.commitment
    if kept.removed:
        if min(kept.removed) < Group.QUERY:
            raise LeafError(f"of Event {number} of its commit the envelope or the outline was removed, which cannot be")
        left = cut_blanked(kept.line, {group: removed.state for group, removed in kept.removed.items()})
    else:
        left = cut(kept.line)
    inner = {group: inner_hash(group, salts.of(group, number), content) for group, content in left}
    inner |= {group: removed.inner for group, removed in kept.removed.items()}
    inner[Group.ENVELOPE] = envelope_hash
    return commitment(inner)


def commitments(events: Sequence[Kept], envelope_content: bytes, salts: Salts) -> list[bytes]:
    """Give the commitments of a commit's Events, in order. Raises LeafError for one that cannot be what it says."""
    envelope_hash = inner_hash(Group.ENVELOPE, salts.of(Group.ENVELOPE, 0), envelope_content)
    streams = [salts.groups.get(group, b"") for group in Group]
    are_complete = all(len(stream) >= SALT_BYTES * len(events) for stream in streams[1:])
    sha256, join = hashlib.sha256, b"".join
    out = []
    for number, kept in enumerate(events):
        if kept.removed or kept.tombstone is not None or not are_complete:
            out.append(kept_commitment(kept, number, envelope_hash, salts))
            continue
        usual = usual_hashes(kept.line, _PREFIXES, streams, number)
        if usual is None:
            out.append(kept_commitment(kept, number, envelope_hash, salts))
            continue
        bits, hashes = usual
        out.append(sha256(join((_HEADS[bits >> Group.QUERY], envelope_hash, *hashes))).digest())
    return out


def leaves(events: Sequence[Kept], envelope_content: bytes, salts: Salts) -> list[bytes]:
    """Give the entries of a commit's Events, in order. Raises LeafError for one that cannot be what it says."""
    return [_VERSION + of for of in commitments(events, envelope_content, salts)]
