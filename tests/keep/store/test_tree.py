"""The tree of a store: tiles and heads of exactly what is stored, made again after any stop, or refused."""

import gc
import hashlib
import shutil

import pytest

from kubewitness._kit.files import DiskDirectory
from kubewitness.keep.seal import merkle, tiles
from kubewitness.keep.seal.checkpoint import Checkpoint, parse_checkpoint
from kubewitness.keep.seal.note import parse_note
from kubewitness.keep.store import tree as module
from kubewitness.keep.store.errors import DamagedError, LockedError
from kubewitness.keep.store.tree import Tree
from tests.keep.store.build import made, opened, raws, segment, store
from tests.model import merkle as model
from tests.model import segment as model_segment

ORIGIN = "example.test/audit"


class FakeSigner:
    """Signs with a hash; what a signature is worth is tested with notes."""

    name = ORIGIN
    key_id = b"fake"

    def sign(self, message: bytes) -> bytes:
        return hashlib.sha256(message).digest()


def grown(path, **options) -> Tree:
    return Tree(DiskDirectory.at(path), ORIGIN, [FakeSigner()], **options)


def leaves(path) -> list[bytes]:
    return [entry for _, _, _, entry in model_segment.store(path / "segments")]


def published(path):
    return parse_checkpoint(parse_note((path / "tiles" / "checkpoint").read_bytes()).text)


def fetch(path):
    return lambda tile: (path / "tiles" / tile.path()).read_bytes()


def check(path, size: int) -> None:
    """The published head is the model's, and every tile that its size names holds what it should."""
    entries = leaves(path)[:size]
    head = published(path)
    assert (head.origin, head.size, head.root) == (ORIGIN, size, model.mth(entries))
    assert (path / "heads" / str(size)).read_bytes() == (path / "tiles" / "checkpoint").read_bytes()
    reader = tiles.TileReader(size, fetch(path))
    for index in range(0, size, 37):
        proof = merkle.inclusion_proof(index, size, reader.node)
        merkle.verify_inclusion(index, size, merkle.leaf_hash(entries[index]), proof, head.root)
    found = []
    for number in range(-(-size // 256)):
        tile = tiles.Tile(tiles.ENTRIES, number, min(256, size - 256 * number))
        found += tiles.read_entries(tile, fetch(path)(tile))
    assert found == entries


@pytest.mark.parametrize(("settle", "step"), [(1, 26), (300, 7), (65_536, 2)])
def test_a_tree_grows_with_its_store(tmp_path, monkeypatch, settle, step):
    """After each head, tiles and bundles are those of the Events it covers, also over restarts, settled or not."""
    monkeypatch.setattr(module, "SETTLE_EVENTS", settle)
    log = opened(tmp_path, segment_bytes=3000)
    tree = grown(tmp_path)
    for n in range(0, 78, 1):
        store(log, raws(10 * n, 10))
        if n % step == 0:
            assert tree.grow(log.end) is not None
            assert tree.grow(log.end) is None
            check(tmp_path, log.end)
        if n % 20 == 19:
            (tree.close if n == 39 else tree.abandon)()
            tree = grown(tmp_path)
            assert tree.signed_size == published(tmp_path).size
    tree.grow(log.end)
    check(tmp_path, 780)
    tree.close()
    log.close()
    partial = list((tmp_path / "tiles").rglob("*.p"))
    assert {p.name for p in partial} <= {"003.p", "000.p"}
    assert grown(tmp_path).head() == published(tmp_path)


def test_old_heads_are_not_held(tmp_path, monkeypatch):
    """Those below what is settled bind nobody any more: a tree that grows for a month signs millions."""
    monkeypatch.setattr(module, "SETTLE_EVENTS", 100)
    log = opened(tmp_path)
    tree = grown(tmp_path)
    for n in range(0, 1000, 10):
        store(log, raws(n, 10))
        tree.grow(log.end)
    gc.collect()
    held = [one for one in gc.get_objects() if isinstance(one, Checkpoint) and one.origin == ORIGIN]
    assert len(held) <= 11
    tree.close()
    log.close()


def test_only_what_is_durable_is_signed(tmp_path):
    """The caller says up to where."""
    made(tmp_path, 30)
    tree = grown(tmp_path)
    tree.grow(19)
    assert published(tmp_path).size == 10


def test_a_store_without_tiles_gets_them_again(tmp_path):
    """All of them, and the same heads."""
    made(tmp_path, 600, per_block=30)
    tree = grown(tmp_path)
    for until in (90, 300, 600):
        tree.grow(until)
    tree.close()
    before = {p: p.read_bytes() for p in (tmp_path / "tiles").rglob("*") if p.is_file() and ".p" not in str(p)}
    shutil.rmtree(tmp_path / "tiles")
    tree = grown(tmp_path)
    tree.grow(600)
    tree.close()
    assert {p: p.read_bytes() for p in before} == before
    check(tmp_path, 600)


def changed(path) -> None:
    """Change an Event in its segment, as somebody who knows the format can."""
    other = path / "other"
    other.mkdir()
    log = opened(other)
    for n in range(0, 30, 10):
        store(log, [raw.replace(b"Panic", b"Calm!") for raw in raws(n, 10)])
    log.close()
    segment(other / "segments", 0).rename(segment(path / "segments", 0))


TAMPERED = {
    "Events were changed": (changed, "first 20 Events are not those"),
    "Events are gone": (lambda p: shutil.rmtree(p / "segments"), "a head of 30 Events was signed, and the store has 0"),
    "a head is no head": (lambda p: (p / "heads" / "20").write_bytes(b"x"), "heads/20 is not a head"),
    "a head is under another size": (
        lambda p: (p / "heads" / "20").write_bytes((p / "heads" / "30").read_bytes()),
        "heads/20 is a head of 30",
    ),
    "the settled size is none": (lambda p: (p / "tiles" / "settled").write_bytes(b"x"), "settled is not a size"),
    "settled tiles are gone": (
        lambda p: (
            (p / "tiles" / "settled").write_bytes(b"30"),
            shutil.rmtree(p / "tiles" / "tile"),
        ),
        "tile/0/000.p/30 is not there",
    ),
    "settled tiles are others": (
        lambda p: (
            (p / "tiles" / "settled").write_bytes(b"30"),
            (p / "tiles" / "tile/0/000.p/30").write_bytes(bytes(960)),
        ),
        "another root than the head",
    ),
}


@pytest.mark.parametrize("case", TAMPERED)
def test_a_store_that_is_not_what_was_signed_is_refused(tmp_path, case):
    """No head is signed over it."""
    made(tmp_path, 30)
    tree = grown(tmp_path)
    tree.grow(20)
    tree.grow(30)
    tree.abandon()
    change, message = TAMPERED[case]
    change(tmp_path)
    heads = sorted(p.name for p in (tmp_path / "heads").iterdir())
    with pytest.raises(DamagedError, match=message):
        grown(tmp_path)
    assert sorted(p.name for p in (tmp_path / "heads").iterdir()) == heads


def test_another_origin_is_refused(tmp_path):
    """The heads of one log are not gone on with under the name of another."""
    made(tmp_path, 10)
    grown(tmp_path).grow(10)
    with pytest.raises(DamagedError, match=r"heads/10 is a head of 'example.test/audit', not of 'other'"):
        Tree(DiskDirectory.at(tmp_path), "other", [FakeSigner()])


def test_a_damaged_segment_is_not_signed_over(tmp_path):
    """Events that cannot be read any more stop the tree, and the error names them."""
    path = made(tmp_path, 30)
    data = bytearray(segment(path, 0).read_bytes())
    data[250] ^= 1
    segment(path, 0).write_bytes(data)
    with pytest.raises(DamagedError, match=r"Events 10\.\.20 are missing"):
        grown(tmp_path).grow(30)


def test_a_head_is_on_the_disk_before_it_is_shown(tmp_path, monkeypatch):
    """Should the disk fail between the two, the next tree shows the head that was signed, not another."""
    made(tmp_path, 30)
    tree = grown(tmp_path)
    real = module.write_whole

    def failing(directory, name, data):
        if name == "checkpoint":
            raise OSError(5, "no")
        real(directory, name, data)

    monkeypatch.setattr(module, "write_whole", failing)
    with pytest.raises(OSError, match="no"):
        tree.grow(20)
    monkeypatch.undo()
    tree.abandon()
    assert (tmp_path / "heads" / "20").exists()
    assert not (tmp_path / "tiles" / "checkpoint").exists()
    tree = grown(tmp_path)
    tree.grow(20)
    check(tmp_path, 20)


def test_two_do_not_seal_one_log(tmp_path):
    """A process that a killed server left behind may still be at work."""
    made(tmp_path, 10)
    tree = grown(tmp_path)
    with pytest.raises(LockedError, match="another process seals"):
        grown(tmp_path)
    tree.abandon()
    grown(tmp_path).close()


def test_what_only_came_again_has_no_leaf(tmp_path):
    """A block that also notes Events that came through a second door is sealed like any other."""
    log = opened(tmp_path)
    store(log, raws(0, 3), "webhook:a")
    store(log, raws(0, 3), "tail:b")
    store(log, raws(3, 2), "tail:b")
    log.close()
    tree = grown(tmp_path)
    tree.grow(5)
    assert tree.size == 5
    tree.close()
