"""
Proofs that travel: a C2SP tlog-proof of one Event, and in its `extra` line what its leaf needs besides its bytes.

That is a JSON object: time and source, for each group its salt, or its hash and why it is not there.
Whoever has the Event's bytes and this file can check both without us; `bundle_verify` of the store does.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kubewitness.keep.seal import merkle
from kubewitness.keep.seal.errors import LeafError
from kubewitness.keep.seal.leaf import Kept, Salts, envelope, inner_hash, kept_commitment, leaf
from kubewitness.keep.seal.leaf_cut import GROUP_NAMES, Group, cut, cut_blanked

HEADER = "c2sp.org/tlog-proof@v1"
VERSION = 1
_NAMES = {Group.ENVELOPE: "envelope", Group.OUTLINE: "outline", **GROUP_NAMES}


@dataclass(frozen=True, slots=True)
class Evidence:
    """An Event with all that its leaf commits to."""

    index: int
    kept: Kept
    number: int
    """Which Event of its commit it is."""
    received_ns: int
    source: str
    salts: Salts

    def entry(self) -> bytes:
        """Give its leaf. Raises LeafError for an Event that cannot be what it says."""
        content = envelope(self.received_ns, self.source)
        if self.kept.tombstone is not None:
            return leaf(kept_commitment(self.kept, self.number, b"", self.salts))
        hashed = inner_hash(Group.ENVELOPE, self.salts.of(Group.ENVELOPE, 0), content)
        return leaf(kept_commitment(self.kept, self.number, hashed, self.salts))

    def extra(self) -> bytes:
        """Write what besides its bytes is needed to make its leaf. Raises LeafError when a salt is gone."""
        told: dict[str, Any] = {"version": VERSION, "groups": {}}
        if self.kept.tombstone is not None:
            told |= {
                "commitment": self.kept.tombstone.commitment.hex(),
                "state": self.kept.tombstone.state.name.lower(),
            }
        else:
            told |= {"received": str(self.received_ns), "source": self.source, "groups": self._groups()}
        return json.dumps(told, sort_keys=True, separators=(",", ":")).encode()

    def _groups(self) -> dict[str, dict[str, str]]:
        removed = self.kept.removed
        states = {group: what.state for group, what in removed.items()}
        contents = cut_blanked(self.kept.line, states) if removed else cut(self.kept.line)
        groups = {
            _NAMES[Group(group)]: {"salt": self.salts.of(group, self.number).hex()}
            for group in (Group.ENVELOPE, *(group for group, _ in contents))
        }
        return groups | {
            _NAMES[Group(group)]: {"state": what.state.name.lower(), "hash": what.inner.hex()}
            for group, what in removed.items()
        }


def format_proof(evidence: Evidence, path: Sequence[bytes], checkpoint: bytes) -> bytes:
    """Write the tlog-proof of an Event in the log of a signed checkpoint. Raises LeafError."""
    hashes = "".join(f"{base64.b64encode(part).decode()}\n" for part in path)
    extra = base64.b64encode(evidence.extra()).decode()
    return f"{HEADER}\nextra {extra}\nindex {evidence.index}\n{hashes}\n".encode() + checkpoint


def prove(evidence: Evidence, size: int, root: bytes, node: merkle.Node) -> list[bytes]:
    """Prove that an Event is under a root, and check it. Raises LeafError, ProofError, TileError."""
    if evidence.index >= size:
        raise LeafError(f"Event {evidence.index} came after the head of {size} Events")
    path = merkle.inclusion_proof(evidence.index, size, node)
    merkle.verify_inclusion(evidence.index, size, merkle.leaf_hash(evidence.entry()), path, root)
    return path
