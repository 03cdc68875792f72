"""Whatever crashes, a reader of the manifest sees each Event once, and no start of the index needs help."""

import random
from contextlib import suppress

import pytest

from kubewitness._kit.files import read_whole, write_lightly
from kubewitness.keep.index import manifest as manifest_module
from kubewitness.keep.index.maker import IndexMaker
from kubewitness.keep.index.manifest import INDEX, read_manifest
from kubewitness.keep.store.errors import StoreError, UnavailableError
from kubewitness.keep.store.log import Batch
from tests.crash.simfs import ProcessEnd, SimDisk
from tests.crash.test_store import Sender, opened
from tests.keep.index.test_maker import Plain, _rows


def seen(disk: SimDisk) -> tuple[dict[int, bytes], int]:
    """What a reader finds: rows by index, and up to where they should go."""
    manifest = read_manifest(disk.root, Plain.schema)
    rows: dict[int, bytes] = {}
    for entry in manifest.files:
        folder = disk.root.look(INDEX)
        *folders, name = entry.path.split("/")
        for part in folders:
            folder = folder.look(part)
        data = read_whole(folder, name)
        assert len(data) == entry.bytes, "a file that the manifest names is not whole"
        found = dict(_rows(data))
        assert not rows.keys() & found.keys(), "an Event is in two files"
        rows |= found
    return rows, manifest.end


def look(disk: SimDisk, stored: dict[int, bytes]) -> None:
    rows, end = seen(disk)
    assert rows.keys() == set(range(end)), "an Event is in no file"
    for index, line in rows.items():
        assert stored.get(index, line) == line


def live(disk: SimDisk, sender: Sender, stored: dict[int, bytes]) -> None:
    """Store and index for a while, as a server does."""
    log = opened(disk, 0)
    maker = IndexMaker(disk.root, Plain(), batch_bytes=200, file_bytes=2000, clock=lambda: disk.operations / 3)
    for _ in range(10):
        sent = sender.next()
        try:
            (receipt,) = log.commit([Batch(1, "a", [log.arrive(raw) for raw in sent])])
        except UnavailableError:
            continue
        sender.acknowledged(sent, receipt.indexes)
        stored |= dict(zip(receipt.indexes, sent, strict=True))
        if disk.rng.random() < 0.6:
            maker.advance(log.end)
            look(disk, stored)
    if disk.rng.random() < 0.5:
        maker.settle()
        maker.close()
        log.close()


def history(seed: int) -> None:
    rng = random.Random(seed)
    disk, sender = SimDisk(rng), Sender(rng)
    stored: dict[int, bytes] = {}
    for _ in range(5):
        disk.trouble(500)
        with suppress(ProcessEnd, UnavailableError, OSError):
            live(disk, sender, stored)
        disk.fall()
        look(disk, stored)
    disk.locks.clear()
    log = opened(disk, 0)
    maker = IndexMaker(disk.root, Plain())
    assert maker.advance(log.end) == log.end
    look(disk, stored)
    assert seen(disk)[0].keys() == set(range(log.end))


def histories(seeds: range) -> None:
    for seed in seeds:
        try:
            history(seed)
        except (AssertionError, StoreError, FileNotFoundError) as exc:
            raise AssertionError(f"history({seed})") from exc


@pytest.mark.parametrize("group", range(2))
def test_no_history_loses_or_doubles_a_row(group: int) -> None:
    """Power cuts, ends of the process and errors at any operation of storing, indexing and merging."""
    histories(range(group, 60, 2))


@pytest.mark.soak
@pytest.mark.parametrize("group", range(10))
def test_thousands_of_histories(group: int) -> None:
    """The same for many more seeds."""
    histories(range(60 + group, 3060, 10))


def test_a_manifest_before_its_files_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not waiting for the disk shows within a few histories."""
    monkeypatch.setattr(manifest_module, "write_whole", write_lightly)
    monkeypatch.setattr("tests.crash.simfs.SimAppender.sync", lambda self: None)
    with pytest.raises(AssertionError):
        histories(range(100))
