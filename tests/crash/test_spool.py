"""What was synced into the spool is read again in its order, whatever ended the process before."""

import random
from contextlib import suppress

import pytest

from kubewitness.emit.backends.spoolfiles import Spool, SpoolFullError
from tests.crash.simfs import ProcessEnd, SimDisk


class Promises:
    """What was synced and not yet delivered, in order; and what may come again."""

    def __init__(self) -> None:
        self.made = 0
        self.unsynced: list[bytes] = []
        self.kept: list[bytes] = []
        self.delivered: list[bytes] = []


def sync_aside(spool: Spool) -> None:
    """Sync as the thread does that holds up nobody."""
    file = spool.begin_sync()
    assert file is not None
    try:
        file.sync()
    except OSError:
        spool.end_sync(is_failed=True)
        raise
    spool.end_sync(is_failed=False)


def live(disk: SimDisk, promises: Promises) -> None:
    """Run one process that keeps and delivers for a while."""
    spool = Spool(disk.root, 20_000, 700)
    for _ in range(disk.rng.randrange(1, 25)):
        if disk.rng.random() < 0.6:
            items = []
            for _ in range(disk.rng.randrange(1, 4)):
                promises.made += 1
                items.append(b"%d " % promises.made + disk.rng.randbytes(disk.rng.choice((1, 40, 600))))
            with suppress(SpoolFullError, OSError):
                spool.append(items)
                if disk.rng.random() < 0.5:
                    spool.sync()
                else:
                    sync_aside(spool)
                promises.kept += items
        else:
            with suppress(OSError):
                items, position = spool.read(disk.rng.randrange(1, 5), 1000)
                if items:
                    # delivered as soon as the receiver has them, whatever becomes of the cursor
                    promises.delivered += items
                    spool.release(position, len(items))
    if disk.rng.random() < 0.3:
        with suppress(OSError):
            spool.close()


def number_of(item: bytes) -> int:
    return int(item.split()[0])


def history(seed: int) -> None:
    rng = random.Random(seed)
    disk, promises = SimDisk(rng), Promises()
    for _ in range(5):
        disk.trouble(150, (0, 0, 1, 3))
        with suppress(ProcessEnd, OSError):
            live(disk, promises)
        disk.fall()
    disk.locks.clear()
    spool = Spool(disk.root, 20_000, 700)
    waiting = spool.waiting
    items, position = spool.read(10_000, 1 << 30)
    assert len(items) == waiting
    numbers = [number_of(item) for item in items]
    assert numbers == sorted(set(numbers)), "out of order, or twice"
    found = {*items, *promises.delivered}
    assert set(promises.kept) <= found, "lost what was synced"
    spool.release(position, len(items))
    assert (spool.waiting, spool.used_bytes) == (0, 0)


def histories(seeds: range) -> None:
    for seed in seeds:
        try:
            history(seed)
        except AssertionError as exc:
            raise AssertionError(f"history({seed})") from exc


def test_no_history_loses_what_was_synced() -> None:
    """Power cuts, ends of the process and errors at any operation."""
    histories(range(400))


@pytest.mark.soak
def test_thousands_of_histories() -> None:
    """The same for many more seeds."""
    histories(range(400, 20_000))


def test_not_syncing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check can fail: without the sync a power cut shows."""
    monkeypatch.setattr(Spool, "sync", lambda _self: None)
    monkeypatch.setattr("tests.crash.test_spool.sync_aside", lambda _spool: None)
    with pytest.raises(AssertionError):
        histories(range(200))
