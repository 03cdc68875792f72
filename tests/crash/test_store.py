"""Acknowledged Events survive every crash, once, and no start needs anybody's help."""

import random
from contextlib import suppress

import pytest

from kubewitness.keep.store import recover
from kubewitness.keep.store.append import SegmentWriter
from kubewitness.keep.store.dedupe import Window
from kubewitness.keep.store.errors import StoreError, UnavailableError
from kubewitness.keep.store.log import SEGMENTS, Batch, ClusterLog
from kubewitness.keep.store.reader import Lost, read_blocks, records
from kubewitness.keep.store.scan import end_of, name_of
from tests.crash.simfs import ERRORS, ProcessEnd, SimAppender, SimDirectory, SimDisk

KEY = b"k" * 32


class Sender:
    """Sends Events until they are acknowledged, as an API server does; remembers what was promised."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.promised: dict[bytes, int] = {}
        self.waiting: list[bytes] = []
        self.made = 0

    def next(self) -> list[bytes]:
        self.waiting += [self._make() for _ in range(self.rng.randrange(1, 4) - bool(self.waiting))]
        again = self.rng.sample(sorted(self.promised), min(len(self.promised), self.rng.randrange(3)))
        return self.waiting + again

    def _make(self) -> bytes:
        self.made += 1
        body = self.rng.randbytes(self.rng.choice((1, 20, 900))).hex()
        space = self.rng.choice(("", " ", "\n"))
        return f'{{"auditID":"{self.made}",{space}"requestObject":"{body}"}}'.encode()

    def acknowledged(self, sent: list[bytes], indexes) -> None:
        for raw, index in zip(sent, indexes, strict=True):
            assert self.promised.setdefault(raw, index) == index, "one Event, two indexes"
        self.waiting = []


def opened(disk: SimDisk, signed: int) -> ClusterLog:
    return ClusterLog(
        disk.root,
        KEY,
        signed_size=signed,
        segment_bytes=3000,
        window=Window(KEY, 10_000),
        random=disk.rng.randbytes,
    )


def check(disk: SimDisk, sender: Sender, log: ClusterLog) -> None:
    """What was promised is where it was promised, nothing is there twice, and every finished segment says so."""
    assert not log.lost
    directory = disk.root.enter(SEGMENTS)
    found = {}
    expected = 0
    for part in read_blocks(directory, end=log.end):
        assert not isinstance(part, Lost)
        for record in records(part):
            assert record.index == expected
            expected += 1
            assert record.kept.line not in found, "stored twice"
            found[record.kept.line] = record.index
    assert expected == log.end
    assert sender.promised.items() <= found.items(), "lost what was acknowledged"
    for first in log.recovered.segments:
        file = directory.open(name_of(first))
        assert end_of(file.read_at, file.size()) is not None


def live(disk: SimDisk, sender: Sender, signed: int, rounds: int) -> int:
    """Run one process; give the size of the largest head that it may have signed."""
    log = opened(disk, signed)
    for _ in range(rounds):
        sent = sender.next()
        batches = [Batch(1, disk.rng.choice("ab"), [log.arrive(raw) for raw in sent])]
        try:
            (receipt,) = log.commit(batches)
        except UnavailableError:
            continue
        sender.acknowledged(sent, receipt.indexes)
        if disk.rng.random() < 0.3:
            signed = log.end
    if disk.rng.random() < 0.5:
        log.close()
    return signed


def history(seed: int) -> None:
    """Run processes on one disk until it has seen enough, each ended in another way."""
    rng = random.Random(seed)
    disk, sender, signed = SimDisk(rng), Sender(rng), 0
    for _ in range(6):
        disk.trouble(120, (0, 0, 1, 2, 6))
        with suppress(ProcessEnd, UnavailableError):
            signed = live(disk, sender, signed, 12)
        disk.fall()
        if rng.random() < 0.7:
            try:
                log = opened(disk, signed)
            finally:
                disk.locks.clear()
            check(disk, sender, log)
    disk.calm()
    disk.power_cut()
    check(disk, sender, opened(disk, signed))


SEEDS = 400


def histories(seeds: range) -> None:
    for seed in seeds:
        try:
            history(seed)
        except (AssertionError, StoreError) as exc:
            raise AssertionError(f"history({seed})") from exc


@pytest.mark.parametrize("group", range(8))
def test_no_history_loses_or_doubles_what_was_acknowledged(group):
    """Power cuts, ends of the process and errors at any operation, in any order (the seed is the history)."""
    histories(range(group, SEEDS, 8))


@pytest.mark.soak
@pytest.mark.parametrize("group", range(20))
def test_ten_thousand_histories(group):
    """The same for many more seeds."""
    histories(range(SEEDS + group, SEEDS + 10_000, 20))


@pytest.mark.parametrize("number", ERRORS)
@pytest.mark.parametrize("loses_power", [False, True])
def test_every_operation_may_fail(number, loses_power):
    """The 1st, 2nd, ... operation fails until a run has no more; each time all that was acknowledged is there after."""
    at, operations = 0, 1
    while at < operations:
        at += 1
        disk, sender = SimDisk(random.Random(at)), Sender(random.Random(1))
        disk.fail_at[at] = number
        try:
            live(disk, sender, 0, 9)
        except UnavailableError:
            disk.restart()
            live(disk, sender, 0, 9)
        operations = disk.operations
        disk.calm()
        if loses_power:
            disk.power_cut()
        else:
            disk.restart()
        check(disk, sender, opened(disk, 0))
    assert at > 40


def no_sync(self):
    self._disk.step()


def no_names_sync(self):
    self._disk.step()


def sync_again(self):
    """Go on with the same file after an error."""


PLANTED = {
    "acknowledged before the sync": (SimAppender, "sync", no_sync),
    "names are not synced": (SimDirectory, "sync", no_names_sync),
    "goes on with a file whose sync failed": (SegmentWriter, "_abandon", sync_again),
    "does not know duplicates": (Window, "find", lambda self, identity: None),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_planted_bugs_are_found(bug, monkeypatch):
    """The simulation is worth something: each of the classic mistakes shows within a few histories."""
    monkeypatch.setattr(*PLANTED[bug])
    with pytest.raises((AssertionError, StoreError)):
        histories(range(200))


def test_trusting_what_is_in_the_cache_is_found(monkeypatch):
    """A recovery that leaves an unfinished segment where it lies believes what the disk does not hold."""
    monkeypatch.setattr(recover, "_copy", lambda directory, name, good, end: None)
    monkeypatch.setattr("tests.crash.test_store.end_of", lambda read_at, size: 0)
    with pytest.raises((AssertionError, StoreError)):
        histories(range(200))
