"""
The Merkle tree of a log: its root, and proofs that an entry is in it and that it only ever grew.

Hashes of complete subtrees are addressed as (level, index): level 0 are the leaves, and (level, index)
covers leaves [index * 2**level, (index + 1) * 2**level). Whoever holds them hands in a `Node` function;
where they are kept is left to `tiles`.

Follows RFC 9162 section 2.1 (SHA-256), whose trees equal those of RFC 6962.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence

from kubewitness.keep.seal.errors import ProofError

HASH_BYTES = 32

Node = Callable[[int, int], bytes]
"""Gives the hash of the complete subtree at (level, index)."""


def leaf_hash(entry: bytes) -> bytes:
    """Hash one entry: SHA-256(0x00 || entry) (RFC 9162 2.1.1)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash an inner node: SHA-256(0x01 || left || right) (RFC 9162 2.1.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


EMPTY_ROOT = hashlib.sha256(b"").digest()


class Frontier:
    """The right edge of a growing tree: enough to append leaves and to give the root, nothing more."""

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        """Go on from a tree of `size` leaves whose complete subtrees, largest first, are `peaks`."""
        self.size = size
        self.peaks = list(peaks)
        if len(self.peaks) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} peaks, not {len(self.peaks)}")

    def append(self, leaf: bytes) -> list[tuple[int, int, bytes]]:
        """Add one leaf hash; give every (level, index, hash) that became complete, the leaf first."""
        complete = [(0, self.size, leaf)]
        level, index, current = 0, self.size, leaf
        while index & 1:
            current = node_hash(self.peaks.pop(), current)
            level, index = level + 1, index >> 1
            complete.append((level, index, current))
        self.peaks.append(current)
        self.size += 1
        return complete

    def extend(self, leaves: Sequence[bytes]) -> list[list[bytes]]:
        """Add leaf hashes, as `append` does one by one; give by level the hashes that became complete, in order."""
        complete = [list(leaves)]
        left: list[bytes] = []  # of each level the one without a sibling, lowest first
        level, current = 0, complete[0]
        while current or self.size >> level:
            if self.size >> level & 1:
                current = [self.peaks.pop(), *current]
            if len(current) & 1:
                left.append(current[-1])
            current = [node_hash(a, b) for a, b in zip(current[::2], current[1::2], strict=False)]
            complete.append(current)
            level += 1
        self.peaks = left[::-1]
        self.size += len(leaves)
        return complete

    def root(self) -> bytes:
        """Give the root of the tree as it stands."""
        return _fold(self.peaks)


def _fold(peaks: Sequence[bytes]) -> bytes:
    """Join complete subtrees, largest first, into one root."""
    if not peaks:
        return EMPTY_ROOT
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = node_hash(peak, root)
    return root


def _complete_subtrees(begin: int, end: int) -> list[tuple[int, int]]:
    """Split [begin, end) into the complete subtrees that RFC 9162 joins, left to right.

    `begin` must be a multiple of the largest power of two below the length, as all ranges met here are.
    """
    parts = []
    while begin < end:
        level = (end - begin).bit_length() - 1
        parts.append((level, begin >> level))
        begin += 1 << level
    return parts


def subtree_hash(begin: int, end: int, node: Node) -> bytes:
    """Hash the leaves [begin, end) as RFC 9162's MTH does."""
    return _fold([node(level, index) for level, index in _complete_subtrees(begin, end)])


def root_hash(size: int, node: Node) -> bytes:
    """Give the root of the first `size` leaves."""
    return subtree_hash(0, size, node)


def peaks(size: int, node: Node) -> list[bytes]:
    """Give the complete subtrees of a tree, largest first: what a `Frontier` goes on from."""
    return [node(level, index) for level, index in _complete_subtrees(0, size)]


def inclusion_proof(index: int, size: int, node: Node) -> list[bytes]:
    """Prove that leaf `index` is in the tree of `size` leaves (RFC 9162 2.1.3.1). Raises ValueError."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size} leaves")
    proof: list[bytes] = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            proof.append(subtree_hash(middle, end, node))
            end = middle
        else:
            proof.append(subtree_hash(begin, middle, node))
            begin = middle
    proof.reverse()
    return proof


def consistency_proof(old: int, new: int, node: Node) -> list[bytes]:
    """Prove that the first `old` of `new` leaves are unchanged (RFC 9162 2.1.4.1). Raises ValueError."""
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {new} leaves has no older tree of {old}")
    if old in (0, new):
        return []
    proof: list[bytes] = []
    begin, end, is_known = 0, new, True
    while old != end:
        middle = begin + _split(end - begin)
        if old <= middle:
            proof.append(subtree_hash(middle, end, node))
            end = middle
        else:
            proof.append(subtree_hash(begin, middle, node))
            begin, is_known = middle, False
    if not is_known:
        proof.append(subtree_hash(begin, end, node))
    proof.reverse()
    return proof


def _split(count: int) -> int:
    """Give the largest power of two smaller than `count` (2 or more)."""
    return 1 << ((count - 1).bit_length() - 1)


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Check an inclusion proof (RFC 9162 2.1.3.2). Raises ProofError."""
    if not 0 <= index < size:
        raise ProofError(f"leaf {index} is not in a tree of {size} leaves")
    fn, sn, current = index, size - 1, leaf
    for part in proof:
        if sn == 0:
            raise ProofError(f"inclusion proof of leaf {index} is too long: {len(proof)} hashes")
        if fn & 1 or fn == sn:
            current = node_hash(part, current)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            current = node_hash(current, part)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0:
        raise ProofError(f"inclusion proof of leaf {index} is too short: {len(proof)} hashes")
    if current != root:
        raise ProofError(f"leaf {index} is not under root {root.hex()}: its proof leads to {current.hex()}")


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree `new` begins with the tree `old` (RFC 9162 2.1.4.2). Raises ProofError."""
    if not 0 <= old <= new:
        raise ProofError(f"the tree shrank from {old} to {new} leaves")
    if old == 0 or old == new:
        _verify_trivial(old, old_root, new_root, proof)
        return
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise ProofError(f"consistency proof from {old} to {new} leaves is empty")
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    first = second = path[0]
    for part in path[1:]:
        if sn == 0:
            raise ProofError(f"consistency proof from {old} to {new} leaves is too long")
        if fn & 1 or fn == sn:
            first, second = node_hash(part, first), node_hash(part, second)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            second = node_hash(second, part)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0:
        raise ProofError(f"consistency proof from {old} to {new} leaves is too short")
    if first != old_root:
        raise ProofError(f"the tree of {old} leaves was {old_root.hex()}; the proof leads to {first.hex()}")
    if second != new_root:
        raise ProofError(f"the tree of {new} leaves is {new_root.hex()}; the proof leads to {second.hex()}")


def _verify_trivial(old: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Check the two cases that need no hashes: from nothing, and from the tree to itself."""
    if proof:
        raise ProofError(f"consistency proof from {old} leaves needs no hashes, {len(proof)} given")
    if old == 0 and old_root != EMPTY_ROOT:
        raise ProofError(f"an empty tree has the root {EMPTY_ROOT.hex()}, not {old_root.hex()}")
    if old != 0 and old_root != new_root:
        raise ProofError(f"two roots for one tree of {old} leaves: {old_root.hex()} and {new_root.hex()}")
