"""Whatever crashes, no head that anybody may have seen is ever taken back, and no start needs help."""

import hashlib
import random
from contextlib import suppress

import pytest

from kubewitness._kit.files import read_whole, write_lightly
from kubewitness.keep.seal import merkle, tiles
from kubewitness.keep.seal.checkpoint import Checkpoint, parse_checkpoint
from kubewitness.keep.seal.note import parse_note
from kubewitness.keep.store import tree as module
from kubewitness.keep.store.errors import StoreError, UnavailableError
from kubewitness.keep.store.log import Batch
from kubewitness.keep.store.tree import CHECKPOINT, TILES, Tree, head_sizes, read_head
from tests.crash.simfs import ProcessEnd, SimDisk
from tests.crash.test_store import Sender, opened

ORIGIN = "example.test/audit"


class FakeSigner:
    """Signs with a hash."""

    name = ORIGIN
    key_id = b"fake"

    def sign(self, message: bytes) -> bytes:
        return hashlib.sha256(message).digest()


def seen(disk: SimDisk) -> Checkpoint | None:
    """The head that a reader of files sees now."""
    directory = disk.root.entries.get(TILES)
    if directory is None or CHECKPOINT not in directory.entries:
        return None
    return parse_checkpoint(parse_note(read_whole(directory, CHECKPOINT)).text)


def live(disk: SimDisk, sender: Sender, shown: dict[int, bytes]) -> None:
    """Store and sign for a while, as one process does."""
    sizes = head_sizes(disk.root)
    log = opened(disk, max(sizes, default=0))
    tree = Tree(disk.root, ORIGIN, [FakeSigner()])
    for _ in range(10):
        sent = sender.next()
        try:
            (receipt,) = log.commit([Batch(1, "a", [log.arrive(raw) for raw in sent])])
        except UnavailableError:
            continue
        sender.acknowledged(sent, receipt.indexes)
        if disk.rng.random() < 0.6:
            tree.grow(log.end)
            look(disk, shown)
    if disk.rng.random() < 0.5:
        tree.close()
        log.close()


def look(disk: SimDisk, shown: dict[int, bytes]) -> None:
    head = seen(disk)
    if head is not None:
        assert shown.setdefault(head.size, head.root) == head.root, "two heads of one size"


def check(disk: SimDisk, shown: dict[int, bytes]) -> None:
    """Every head that was seen is there, and the tree goes on from it."""
    sizes = head_sizes(disk.root)
    for size, root in shown.items():
        assert read_head(disk.root, size).root == root
    log = opened(disk, max(sizes, default=0))
    tree = Tree(disk.root, ORIGIN, [FakeSigner()])
    tree.grow(log.end)
    look(disk, shown)
    directory = disk.root.look(TILES)

    def fetch(tile: tiles.Tile) -> bytes:
        folder = directory
        *folders, name = tile.path().split("/")
        for part in folders:
            folder = folder.look(part)
        return read_whole(folder, name)

    reader = tiles.TileReader(tree.size, fetch)
    assert merkle.root_hash(tree.size, reader.node) == tree.head().root
    for size, root in shown.items():
        assert merkle.root_hash(size, reader.node) == root, "not the same log"
    disk.locks.clear()


def history(seed: int) -> None:
    rng = random.Random(seed)
    disk, sender, shown = SimDisk(rng), Sender(rng), {}
    for _ in range(5):
        disk.trouble(400)
        with suppress(ProcessEnd, UnavailableError, OSError):
            live(disk, sender, shown)
        disk.calm()
        look(disk, shown)
        disk.fall()
        if rng.random() < 0.5:
            check(disk, shown)
    disk.power_cut()
    check(disk, shown)


def histories(seeds: range) -> None:
    for seed in seeds:
        try:
            history(seed)
        except (AssertionError, StoreError) as exc:
            raise AssertionError(f"history({seed})") from exc


@pytest.fixture(autouse=True)
def _settle_often(monkeypatch):
    monkeypatch.setattr(module, "SETTLE_EVENTS", 9)


@pytest.mark.parametrize("group", range(4))
def test_no_history_takes_back_a_head(group):
    """Power cuts, ends of the process and errors at any operation of storing and signing."""
    histories(range(group, 120, 4))


@pytest.mark.soak
@pytest.mark.parametrize("group", range(20))
def test_thousands_of_histories(group):
    """The same for many more seeds."""
    histories(range(120 + group, 5120, 20))


def test_showing_a_head_before_it_lasts_is_found(monkeypatch):
    """The classic mistake shows within a few histories."""
    monkeypatch.setattr(module, "write_whole", write_lightly)
    with pytest.raises(AssertionError):
        histories(range(200))


def test_believing_tiles_that_were_not_synced_is_found(monkeypatch):
    """So does settling without a sync."""
    monkeypatch.setattr(module.TileFiles, "sync", lambda self: None)
    with pytest.raises(AssertionError):
        histories(range(200))
