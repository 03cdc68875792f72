"""The Merkle tree against RFC 9162 as written, and its verifiers against every small change."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubewitness.keep.seal import merkle
from kubewitness.keep.seal.errors import ProofError
from tests.model import merkle as model

ENTRIES = [f"entry {i}".encode() for i in range(70)]
NODES: dict[tuple[int, int], bytes] = {}
_frontier = merkle.Frontier()
ROOTS = [_frontier.root()]
for _entry in ENTRIES:
    for _level, _index, _hash in _frontier.append(merkle.leaf_hash(_entry)):
        NODES[_level, _index] = _hash
    ROOTS.append(_frontier.root())


def node(level, index):
    return NODES[level, index]


@pytest.mark.parametrize("size", range(len(ENTRIES) + 1))
def test_roots_are_those_of_the_rfc(size):
    """The growing root and the root from stored nodes both equal MTH."""
    expected = model.mth(ENTRIES[:size])
    assert ROOTS[size] == expected
    assert merkle.root_hash(size, node) == expected


def test_a_known_tree():
    """The root of the eight entries that implementations of Certificate Transparency test with."""
    entries = [
        bytes.fromhex(x)
        for x in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
    ]
    frontier = merkle.Frontier()
    for entry in entries:
        frontier.append(merkle.leaf_hash(entry))
    assert frontier.root().hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


def test_every_inclusion_proof_is_the_rfcs_and_verifies():
    """For every size up to 40 and every leaf."""
    for size in range(1, 41):
        for index in range(size):
            proof = merkle.inclusion_proof(index, size, node)
            assert proof == model.path(index, ENTRIES[:size])
            merkle.verify_inclusion(index, size, merkle.leaf_hash(ENTRIES[index]), proof, ROOTS[size])


def test_every_consistency_proof_is_the_rfcs_and_verifies():
    """For every pair of sizes up to 40."""
    for new in range(1, 41):
        for old in range(1, new + 1):
            proof = merkle.consistency_proof(old, new, node)
            assert proof == model.proof(old, ENTRIES[:new])
            merkle.verify_consistency(old, new, ROOTS[old], ROOTS[new], proof)


sizes = st.integers(2, len(ENTRIES))
bad_hash = hashlib.sha256(b"bad").digest()


@given(st.data(), sizes)
def test_a_changed_inclusion_proof_is_refused(data, size):
    """Another leaf, another place, a hash more, less or changed: refused."""
    index = data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(index, size, node)
    leaf = merkle.leaf_hash(ENTRIES[index])
    at = data.draw(st.integers(0, len(proof) - 1))
    other = data.draw(st.integers(0, size).filter(lambda i: i != index))
    for changed in (
        (index, size, bad_hash, proof, ROOTS[size]),
        (other, size, leaf, proof, ROOTS[size]),
        (index, size, leaf, proof[:-1], ROOTS[size]),
        (index, size, leaf, [*proof, bad_hash], ROOTS[size]),
        (index, size, leaf, [*proof[:at], bad_hash, *proof[at + 1 :]], ROOTS[size]),
        (index, size, leaf, proof, ROOTS[size - 1]),
        (-1, size, leaf, proof, ROOTS[size]),
    ):
        with pytest.raises(ProofError):
            merkle.verify_inclusion(*changed)


@given(st.data(), sizes)
def test_a_changed_consistency_proof_is_refused(data, new):
    """A rewritten old or new head, a hash more, less or changed, a shrunk tree: refused."""
    old = data.draw(st.integers(1, new - 1))
    proof = merkle.consistency_proof(old, new, node)
    at = data.draw(st.integers(0, len(proof) - 1))
    for changed in (
        (old, new, bad_hash, ROOTS[new], proof),
        (old, new, ROOTS[old], bad_hash, proof),
        (old, new, ROOTS[old], ROOTS[new], proof[:-1]),
        (old, new, ROOTS[old], ROOTS[new], [*proof, bad_hash]),
        (old, new, ROOTS[old], ROOTS[new], [*proof[:at], bad_hash, *proof[at + 1 :]]),
        (new, old, ROOTS[new], ROOTS[old], proof),
    ):
        with pytest.raises(ProofError):
            merkle.verify_consistency(*changed)


@pytest.mark.parametrize(
    ("old", "new", "old_root", "new_root", "proof"),
    [
        (0, 5, bad_hash, ROOTS[5], []),
        (0, 5, ROOTS[0], ROOTS[5], [bad_hash]),
        (5, 5, bad_hash, ROOTS[5], []),
        (5, 5, ROOTS[5], ROOTS[5], [bad_hash]),
        (3, 5, ROOTS[3], ROOTS[5], []),
    ],
)
def test_trivial_consistency_is_still_checked(old, new, old_root, new_root, proof):
    """An empty proof is accepted only where the RFC says that it is empty."""
    with pytest.raises(ProofError):
        merkle.verify_consistency(old, new, old_root, new_root, proof)


def test_a_frontier_goes_on_from_its_peaks():
    """A tree resumed from stored nodes grows as if it had never stopped."""
    for size in range(len(ENTRIES)):
        frontier = merkle.Frontier(size, merkle.peaks(size, node))
        frontier.append(merkle.leaf_hash(ENTRIES[size]))
        assert frontier.root() == ROOTS[size + 1]


@pytest.mark.parametrize(
    "call",
    [
        lambda: merkle.inclusion_proof(5, 5, node),
        lambda: merkle.consistency_proof(6, 5, node),
        lambda: merkle.Frontier(3, [bad_hash]),
    ],
)
def test_a_question_about_no_tree_is_an_error(call):
    """Asking for what cannot be proved raises ValueError."""
    with pytest.raises(ValueError):  # noqa: PT011
        call()


@given(st.lists(st.integers(0, 40), max_size=6))
def test_many_leaves_at_once_are_as_one_by_one(counts):
    """The same peaks, and the same hashes complete at each level, however many come at a time."""
    many, single = merkle.Frontier(), merkle.Frontier()
    for count in counts:
        leaves = [hashlib.sha256(b"%d" % (many.size + number)).digest() for number in range(count)]
        expected: dict[int, list[bytes]] = {}
        for leaf in leaves:
            for level, _, value in single.append(leaf):
                expected.setdefault(level, []).append(value)
        assert {level: hashes for level, hashes in enumerate(many.extend(leaves)) if hashes} == expected
        assert (many.size, many.peaks) == (single.size, single.peaks)
