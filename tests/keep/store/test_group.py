"""Group commit: batches that come while one is written share the next write; what cannot be stored is said at once."""

import threading
from concurrent.futures import wait

import pytest

from kubewitness.keep.store.errors import UnavailableError
from kubewitness.keep.store.group import GroupCommit
from kubewitness.keep.store.log import Batch, Receipt
from tests.keep.store.build import opened, raws, read


class Slow:
    """A commit that waits to be let go."""

    def __init__(self) -> None:
        self.groups: list[int] = []
        self.go = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)
        self.error: Exception | None = None

    def __call__(self, batches):
        self.groups.append(len(batches))
        self.begun.release()
        self.go.acquire()
        if self.error is not None:
            raise self.error
        return [Receipt([self.groups.index(len(batches))], 0) for _ in batches]


@pytest.fixture
def log(tmp_path):
    """An open store."""
    found = opened(tmp_path)
    yield found
    found.close()


def batch(log, first: int = 0, count: int = 1) -> Batch:
    return Batch(1, "a", [log.arrive(raw) for raw in raws(first, count)])


def test_what_comes_during_a_write_is_written_together(log):
    """One write for the first, one for all that came meanwhile."""
    slow = Slow()
    with GroupCommit(slow) as group:
        first = group.submit(batch(log))
        slow.begun.acquire()
        later = [group.submit(batch(log, n)) for n in range(1, 6)]
        slow.go.release(2)
        wait([first, *later])
    assert slow.groups == [1, 5]
    assert group.waiting_bytes == 0


def test_too_much_waiting_is_refused(log):
    """And nothing of it is stored; what was taken is."""
    slow = Slow()
    with GroupCommit(slow, max_waiting_bytes=100) as group:
        first = group.submit(batch(log, 0, 30))
        slow.begun.acquire()
        second = group.submit(batch(log, 30, 30))
        with pytest.raises(UnavailableError, match="limit is 100"):
            group.submit(batch(log, 60))
        slow.go.release(2)
        wait([first, second])
        slow.go.release(1)
        assert group.submit(batch(log, 60)).result().duplicates == 0


def test_an_error_reaches_all_that_waited_for_it(log):
    """And the next group is tried again."""
    slow = Slow()
    slow.error = UnavailableError("no space")
    with GroupCommit(slow) as group:
        first = group.submit(batch(log))
        slow.go.release()
        with pytest.raises(UnavailableError, match="no space"):
            first.result()
        slow.error = None
        slow.go.release()
        assert group.submit(batch(log)).result().duplicates == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nobody_waits_for_a_thread_that_died(log):
    """A fault of ours ends the store; everybody hears of it, those who come later too."""
    slow = Slow()
    slow.error = RuntimeError("a fault")
    with GroupCommit(slow) as group:
        first = group.submit(batch(log))
        slow.begun.acquire()
        second = group.submit(batch(log))
        slow.go.release()
        for receipt, message in ((first, "failed"), (second, "closed")):
            with pytest.raises(UnavailableError, match=message):
                receipt.result()
        with pytest.raises(UnavailableError, match="closing"):
            group.submit(batch(log))


def test_closing_stores_what_waits(tmp_path):
    """All that was handed in is stored, each sender's Events in its order."""
    log = opened(tmp_path)
    receipts = []
    with GroupCommit(log.commit) as group:
        threads = [
            threading.Thread(
                target=lambda n=n: receipts.extend(group.submit(batch(log, n * 100 + k, 1)) for k in range(20))
            )
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(receipt.result().indexes[0] for receipt in receipts) == list(range(80))
    log.close()
    lines, lost = read(tmp_path / "segments")
    assert sorted(lines) == sorted(raw for n in range(4) for raw in raws(n * 100, 20))
    assert not lost
