"""Verification accepts a store as it was written, and nothing else; what is wrong is named by index and file."""

import hashlib
import shutil
import threading
import time
from pathlib import Path

import pytest

from kubewitness._kit.files import DiskDirectory
from kubewitness.keep.seal.checkpoint import parse_checkpoint
from kubewitness.keep.seal.leaf import Kept
from kubewitness.keep.seal.leaf_secret import Secret
from kubewitness.keep.seal.note import parse_note
from kubewitness.keep.store import tree as tree_module
from kubewitness.keep.store.segment import END_BYTES, Block, Commit, encode_block
from kubewitness.keep.store.tree import Tree
from kubewitness.keep.store.verify import Verdict, verify_store
from tests.keep.store.build import opened, raws, segment, store

ORIGIN = "example.test/audit"


class Key:
    """Signs and checks with a hash and a secret, as far as tests of the store need it."""

    name = ORIGIN
    key_id = b"fake"

    def __init__(self, secret: bytes = b"secret") -> None:
        self.secret = secret

    def sign(self, message: bytes) -> bytes:
        return hashlib.sha256(self.secret + message).digest()

    def verify(self, message: bytes, signature: bytes) -> bool:
        return self.sign(message) == signature


def written(path: Path, count: int = 600, key: Key | None = None, first: int = 0) -> Path:
    """A store of `count` Events, a head after every 100."""
    path.mkdir(exist_ok=True)
    log = opened(path, segment_bytes=2000)
    tree = Tree(DiskDirectory.at(path), ORIGIN, [key or Key()])
    for n in range(first, count, 20):
        store(log, raws(n, 20))
        if log.end % 100 == 0:
            tree.grow(log.end)
    tree.close()
    log.close()
    return path


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> Path:
    """A store that nobody changes."""
    return written(tmp_path_factory.mktemp("pristine") / "store")


@pytest.fixture
def path(pristine, tmp_path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(pristine, tmp_path / "store"))


def verified(path: Path, key: Key | None = None, **options) -> Verdict:
    return verify_store(DiskDirectory.at(path), [key or Key()], options.pop("origin", ORIGIN), **options)


def test_a_store_as_it_was_written_is_sound(pristine):
    """All heads and all Events were checked, and nothing was written."""
    before = sorted((p, p.stat().st_mtime_ns) for p in pristine.rglob("*"))
    verdict = verified(pristine)
    assert verdict.findings == []
    assert verdict.is_sound
    assert (verdict.head.size, verdict.heads, verdict.events) == (600, 6, 600)
    assert sorted((p, p.stat().st_mtime_ns) for p in pristine.rglob("*")) == before


def test_events_that_are_not_signed_yet_are_no_finding(path):
    """They are counted, so that the caller can say how many."""
    log = opened(path)
    store(log, raws(600, 30))
    verdict = verified(path)
    log.close()
    assert verdict.is_sound
    assert (verdict.head.size, verdict.events) == (600, 630)


def flip(at: float):
    def change(file: Path) -> None:
        data = bytearray(file.read_bytes())
        data[int(at * (len(data) - 1))] ^= 4
        file.write_bytes(data)

    return change


def swap(path: Path, one: str, other: str) -> None:
    a, b = (path / one).read_bytes(), (path / other).read_bytes()
    (path / one).write_bytes(b)
    (path / other).write_bytes(a)


def another(path: Path) -> Path:
    """A store of other Events, signed with the same key."""
    other = path.parent / "other"
    other.mkdir()
    log = opened(other, segment_bytes=2000)
    for n in range(0, 600, 20):
        store(log, [raw.replace(b"Panic", b"Calm!") for raw in raws(n, 20)])
    log.close()
    return other


def with_other_events(path: Path) -> None:
    other = another(path)
    name = sorted(p.name for p in (path / "segments").iterdir())[1]
    shutil.copy(other / "segments" / name, path / "segments" / name)


def last(path: Path) -> Path:
    return max((path / "segments").iterdir())


MUTATIONS = {
    "a byte of a segment": (lambda p: flip(0.5)(segment(p / "segments", 0)), "cannot be read"),
    "the last block": (
        lambda p: last(p).write_bytes(last(p).read_bytes()[: -END_BYTES - 5]),
        "600 Events were signed, and 580",
    ),
    "a segment is gone": (lambda p: sorted((p / "segments").iterdir())[1].unlink(), "cannot be read"),
    "the first segment is gone": (lambda p: segment(p / "segments", 0).unlink(), "cannot be read, from byte 0 on [0, "),
    "the last segment is gone": (lambda p: last(p).unlink(), "600 Events were signed, and"),
    "all segments are gone": (lambda p: shutil.rmtree(p / "segments"), "600 Events were signed, and 0"),
    "a segment of other Events": (with_other_events, "the Events lead to the root"),
    "a byte of a bundle": (lambda p: flip(0.5)(p / "tiles/tile/entries/000"), "holds other leaves"),
    "a byte of a tile": (lambda p: flip(0.5)(p / "tiles/tile/0/001"), "holds other hashes"),
    "a byte of an upper tile": (lambda p: flip(0.5)(p / "tiles/tile/1/000.p/2"), "holds other hashes"),
    "a byte of a partial tile": (lambda p: flip(0.5)(p / "tiles/tile/0/002.p/88"), "holds other hashes"),
    "a tile is gone": (lambda p: (p / "tiles/tile/0/001").unlink(), "is not there"),
    "a bundle is gone": (lambda p: (p / "tiles/tile/entries/001").unlink(), "is not there"),
    "a tile is short": (lambda p: (p / "tiles/tile/0/001").write_bytes(b"short"), "5 bytes"),
    "all tiles are gone": (lambda p: shutil.rmtree(p / "tiles"), "is not there"),
    "two bundles changed places": (
        lambda p: swap(p, "tiles/tile/entries/000", "tiles/tile/entries/001"),
        "holds other leaves",
    ),
    "a signature": (lambda p: flip(0.97)(p / "heads/300"), "heads/300"),
    "a root": (lambda p: flip(0.2)(p / "heads/300"), "heads/300"),
    "a head is under another size": (lambda p: shutil.copy(p / "heads/300", p / "heads/400"), "is a head of 300"),
    "the head that is shown is older": (
        lambda p: shutil.copy(p / "heads/500", p / "tiles/checkpoint"),
        "is a head of 500 Events, and one of 600 was signed",
    ),
    "the head that is shown is no head": (lambda p: (p / "tiles/checkpoint").write_bytes(b""), "tiles/checkpoint"),
    "no head is left": (
        lambda p: (shutil.rmtree(p / "heads"), (p / "tiles/checkpoint").unlink()),
        "nothing was checked",
    ),
    "the shown head alone is left": (
        lambda p: shutil.rmtree(p / "heads"),
        "a head of 600 Events, and heads/600 is not there",
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_every_mutation_is_found(path, name):
    """Each change of each kind of file is a finding that says where."""
    change, message = MUTATIONS[name]
    change(path)
    verdict = verified(path)
    assert not verdict.is_sound
    told = "\n".join(f"{f.where}: {f.what} [{f.first}, {f.end})" for f in verdict.findings)
    assert message in told, told
    assert all(f.end >= f.first for f in verdict.findings)


def test_a_changed_event_is_named(path):
    """The indexes of what was changed are those that are told."""
    with_other_events(path)
    first = sorted(int(p.name[:20]) for p in (path / "segments").iterdir())[1:3]
    found = [f for f in verified(path).findings if "tile/entries" in f.where]
    assert (found[0].first, found[-1].end) == tuple(first)


def test_a_lost_block_leaves_the_rest_verified(path):
    """Bit rot costs its own Events and no other: with the leaves that tiles hold, every head is still met."""
    flip(0.5)(segment(path / "segments", 0))
    verdict = verified(path)
    (finding,) = verdict.findings
    assert finding.end - finding.first == 20
    assert (verdict.heads, verdict.events) == (6, 580)


def test_a_gap_of_any_length_costs_nothing(path):
    """A block that claims an index far away does not make the verifier count up to it."""
    commit = Commit(1, "a", Secret(b"s" * 32), [Kept(b"{}")])
    file = last(path)
    file.write_bytes(file.read_bytes()[:-END_BYTES] + encode_block(Block(1 << 60, [commit])))
    (finding,) = verified(path).findings
    assert (finding.first, finding.end) == (600, 1 << 60)


@pytest.mark.parametrize("what", ["empty", "unsigned", "signed empty"])
def test_nothing_to_check_is_never_sound(tmp_path, what):
    """An empty directory, Events without a head, and a head of no Events."""
    if what == "unsigned":
        log = opened(tmp_path)
        store(log, raws(0, 3))
        log.close()
    if what == "signed empty":
        opened(tmp_path).close()
        Tree(DiskDirectory.at(tmp_path), ORIGIN, [Key()]).grow(0)
    assert not verified(tmp_path).is_sound


def test_another_key_and_another_log_are_refused(pristine):
    """Only heads of this log, signed by a known key, count."""
    for verdict in (verified(pristine, Key(b"other")), verified(pristine, origin="other")):
        assert not verdict.is_sound
        assert verdict.heads == 0


def rolled_back(path: Path) -> Path:
    return written(path.parent / "old", 300)


def rewritten(path: Path) -> Path:
    other = another(path)
    Tree(DiskDirectory.at(other), ORIGIN, [Key()]).grow(600)
    return other


@pytest.mark.parametrize("attack", [rolled_back, rewritten])
def test_only_memory_finds_a_rollback_and_a_rewrite_by_the_keys_holder(path, attack):
    """As theory says: a verifier with no memory accepts both, one that remembers a head neither."""
    remembered = parse_checkpoint(parse_note((path / "heads" / "600").read_bytes()).text)
    attacked = attack(path)
    assert verified(attacked).is_sound
    verdict = verified(attacked, remembered=[remembered])
    assert not verdict.is_sound
    assert any(f.where == "heads/600" for f in verdict.findings)
    assert verified(path, remembered=[remembered]).is_sound


def test_a_writer_at_work_is_no_finding(tmp_path, monkeypatch):
    """Segments that grow and end, tiles that become full, heads that come: whenever one looks, all of it is sound."""
    monkeypatch.setattr(tree_module, "SETTLE_EVENTS", 300)
    written(tmp_path / "store", 100)
    path, stop = tmp_path / "store", threading.Event()

    def write() -> None:
        log = opened(path, segment_bytes=3000)
        tree = Tree(DiskDirectory.at(path), ORIGIN, [Key()])
        while not stop.is_set():
            store(log, raws(log.end, 13))
            if log.end % 3 == 0:
                tree.grow(log.end)
        tree.close()
        log.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        deadline = time.monotonic() + 1.5
        sizes = set()
        while time.monotonic() < deadline or len(sizes) < 2:
            verdict = verified(path)
            assert verdict.findings == []
            sizes.add(verdict.head.size)
    finally:
        stop.set()
        writer.join()
    assert verified(path).is_sound
