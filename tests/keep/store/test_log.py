"""Each Event is stored once, whichever door it came through, and a receipt says under which index."""

import os
from pathlib import Path

import pytest

from kubewitness._kit.files import DiskDirectory
from kubewitness.keep.seal import leaf
from kubewitness.keep.seal.leaf import Kept, Removed
from kubewitness.keep.seal.leaf_cut import Group, State, blank, cut
from kubewitness.keep.store import log as module
from kubewitness.keep.store.dedupe import Known, Window
from kubewitness.keep.store.errors import LockedError, UnavailableError
from kubewitness.keep.store.log import Arrival, Batch, ClusterLog
from kubewitness.keep.store.reader import read_blocks
from tests.keep.store.build import KEY, made, opened, raws, read, segment, store


def seen(path: Path) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for block in read_blocks(DiskDirectory.at(path / "segments")):
        for commit in block.commits:
            if commit.seen:
                found.setdefault(commit.source, []).extend(commit.seen)
    return found


def test_a_batch_that_comes_again_is_stored_once(tmp_path):
    """The second receipt names the same indexes, also after a restart."""
    log = opened(tmp_path)
    first = store(log, raws(0, 10))
    assert (list(first.indexes), first.duplicates) == (list(range(10)), 0)
    again = store(log, raws(5, 10))
    assert (list(again.indexes), again.duplicates) == (list(range(5, 15)), 5)
    log.close()
    log = opened(tmp_path)
    after = store(log, raws(0, 16))
    assert (list(after.indexes), after.duplicates) == (list(range(16)), 15)
    log.close()
    assert read(tmp_path / "segments") == (raws(0, 16), [])


def test_twins_in_one_batch_and_in_one_commit_are_one(tmp_path):
    """What comes twice at the same time is stored once."""
    log = opened(tmp_path)
    a, b = raws(0, 2)
    arrivals = [log.arrive(raw) for raw in (a, b, a)]
    receipts = log.commit([Batch(1, "x", arrivals), Batch(1, "x", arrivals[1:])])
    assert [list(receipt.indexes) for receipt in receipts] == [[0, 1, 0], [1, 0]]
    assert [receipt.duplicates for receipt in receipts] == [1, 2]
    assert log.end == 2
    log.close()


def test_a_line_of_the_log_and_an_item_of_a_webhook_are_one(tmp_path):
    """And the second source is noted with the next Events, but not the same source again."""
    log = opened(tmp_path)
    line = b'{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"1"}'
    item = b'{"auditID":"1"}'
    assert store(log, [line], "file:audit.log").duplicates == 0
    assert store(log, [item], "webhook:a").duplicates == 1
    assert store(log, [line], "file:audit.log").duplicates == 1
    assert seen(tmp_path) == {}
    store(log, raws(5, 1), "webhook:a")
    log.close()
    assert seen(tmp_path) == {"webhook:a": [0]}
    assert read(tmp_path / "segments")[0] == [line, *raws(5, 1)]


def test_what_waits_to_be_noted_is_bounded(tmp_path, monkeypatch):
    """Beyond a limit it is only counted."""
    monkeypatch.setattr(module, "MAX_SEEN", 3)
    log = opened(tmp_path)
    store(log, raws(0, 5), "a")
    store(log, raws(0, 5), "b")
    assert log.forgotten == 2
    store(log, raws(5, 1), "a")
    log.close()
    assert seen(tmp_path) == {"b": [0, 1, 2]}


def test_the_same_audit_id_with_other_bytes_is_another_event(tmp_path):
    """Nobody can have an Event dropped by choosing its auditID."""
    log = opened(tmp_path)
    receipt = store(log, [b'{"auditID":"1","verb":"get"}', b'{"auditID":"1","verb":"delete"}'])
    assert receipt.duplicates == 0
    log.close()


def test_an_event_of_which_something_was_never_written_is_known_again(tmp_path):
    """Its identity is kept, since its bytes are not."""
    raw = b'{"auditID":"1","requestObject":{"data":"hunter2"}}'
    window = Window(KEY)
    content = dict(cut(raw))[Group.REQUEST]
    removed = {Group.REQUEST: Removed(State.DROPPED, leaf.inner_hash(Group.REQUEST, os.urandom(16), content))}
    arrival = Arrival(Kept(blank(raw, {Group.REQUEST: State.DROPPED}), removed), window.identity(raw))
    log = opened(tmp_path)
    log.commit([Batch(1, "a", [arrival])])
    log.close()
    log = opened(tmp_path)
    (receipt,) = log.commit([Batch(1, "a", [arrival])])
    assert (list(receipt.indexes), receipt.duplicates) == ([0], 1)
    log.close()
    for file in (tmp_path / "segments").iterdir():
        assert b"hunter2" not in file.read_bytes()
    (line,) = read(tmp_path / "segments")[0]
    assert line.endswith(b'"requestObject":null,"kubewitness.io/removed":{"requestObject":"dropped"}}')


def test_a_window_forgets_the_oldest(tmp_path):
    """At least `capacity` Events are known, and at most twice as many."""
    window = Window(KEY, 3)
    identities = [window.identity(raw) for raw in raws(0, 20)]
    for at, identity in enumerate(identities):
        window.remember(identity, Known(at, "a"))
        known = [n for n in range(20) if window.find(identities[n])]
        assert known == list(range(max(at - len(known) + 1, 0), at + 1))
        assert min(3, at + 1) <= len(known) <= 6


def test_a_restart_knows_as_many_as_the_window_holds(tmp_path):
    """Only the latest segments are read for it."""
    made(tmp_path, 60, segment_bytes=600)
    log = opened(tmp_path, window=Window(KEY, 20))
    assert store(log, raws(40, 20)).duplicates == 20
    assert store(log, raws(0, 1)).duplicates == 0
    log.close()


def test_another_key_knows_nothing(tmp_path):
    """Identities mean nothing without their key; a short key is refused."""
    assert Window(b"a" * 32).identity(b"{}") != Window(b"b" * 32).identity(b"{}")
    with pytest.raises(ValueError, match="5 bytes"):
        Window(b"short")


def test_a_big_batch_is_cut_into_blocks(tmp_path, monkeypatch):
    """No block is much bigger than its limit, and the receipt is of them all."""
    monkeypatch.setattr(module, "BLOCK_BYTES", 300)
    log = opened(tmp_path)
    assert list(store(log, raws(0, 100)).indexes) == list(range(100))
    log.commit([Batch(1, "a", [log.arrive(raw) for raw in raws(100 + 5 * n, 5)]) for n in range(4)])
    log.close()
    sizes = [
        sum(len(kept.line) for commit in block.commits for kept in commit.events)
        for block in read_blocks(DiskDirectory.at(tmp_path / "segments"))
    ]
    assert len(sizes) > 10
    assert max(sizes) <= 300
    assert read(tmp_path / "segments") == (raws(0, 120), [])


def test_two_writers_are_one_too_many(tmp_path):
    """The second is refused until the first has closed, and damages nothing."""
    log = opened(tmp_path)
    store(log, raws(0, 3))
    with pytest.raises(LockedError, match="another process"):
        opened(tmp_path)
    store(log, raws(3, 3))
    log.close()
    log = opened(tmp_path)
    assert log.end == 6
    log.close()


def test_a_damaged_block_in_the_window_stops_nobody(tmp_path):
    """New Events are taken, and what is lost is told."""
    path = made(tmp_path, 30)
    data = bytearray(segment(path, 0).read_bytes())
    data[60] ^= 1
    segment(path, 0).write_bytes(data)
    log = opened(tmp_path)
    assert [(lost.first, lost.end) for lost in log.lost] == [(0, 10)]
    assert list(store(log, raws(30, 1)).indexes) == [30]
    log.close()


def test_files_and_directories_are_private(tmp_path):
    """0600 and 0700, whatever the umask says."""
    old = os.umask(0)
    try:
        made(tmp_path, 1)
    finally:
        os.umask(old)
    assert (tmp_path / "segments").stat().st_mode & 0o777 == 0o700
    assert segment(tmp_path / "segments", 0).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


def test_a_directory_that_is_not_ours_alone_is_refused(tmp_path):
    """A link, or one that others may write to."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "segments").symlink_to("elsewhere")
    with pytest.raises(UnavailableError, match="cannot open the store"):
        opened(tmp_path)
    (tmp_path / "segments").unlink()
    (tmp_path / "segments").mkdir()
    (tmp_path / "segments").chmod(0o770)
    with pytest.raises(UnavailableError, match="others"):
        opened(tmp_path)


def test_every_salt_is_of_its_own_commit(tmp_path):
    """No two commits share a seed."""
    made(tmp_path, 30)
    blocks = read_blocks(DiskDirectory.at(tmp_path / "segments"))
    seeds = [commit.secret.seed for block in blocks for commit in block.commits]
    assert len(set(seeds)) == len(seeds) == 3
    assert all(len(seed) == 32 for seed in seeds)
    assert isinstance(ClusterLog.__init__.__kwdefaults__["random"], type(os.urandom))
