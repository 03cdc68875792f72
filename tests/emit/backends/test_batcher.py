"""When batches leave, what the buffer holds, how the throttle paces: a simulated clock tells."""

from hypothesis import given
from hypothesis import strategies as st

from kubewitness.emit.backends.batcher import QUEUE_BLOCKED, SHUT_DOWN, Batcher, BatchOptions, TokenBucket
from tests.emit.samples import event

SECOND = 1_000_000_000
E = event()


def test_a_full_batch_leaves_at_once() -> None:
    """max-size Events are a batch without waiting; the rest begins the next."""
    batcher = Batcher(BatchOptions(10, 2, 30 * SECOND), 0)
    assert [batcher.add(E, 5) for _ in range(3)] == [None] * 3
    assert batcher.wakes_at(5) == 5
    assert len(batcher.take(5)) == 2
    assert batcher.take(5) == ()
    assert batcher.waiting == 1


def test_a_batch_leaves_when_its_time_is_over() -> None:
    """max-wait counts from when collecting began: the start, or the batch before."""
    batcher = Batcher(BatchOptions(10, 5, 30 * SECOND), 0)
    assert batcher.wakes_at(0) is None
    batcher.add(E, 20 * SECOND)
    assert batcher.wakes_at(20 * SECOND) == 30 * SECOND
    assert batcher.take(30 * SECOND - 1) == ()
    assert len(batcher.take(30 * SECOND)) == 1
    batcher.add(E, 31 * SECOND)
    assert batcher.wakes_at(31 * SECOND) == 60 * SECOND


def test_a_batch_that_leaves_early_begins_a_new_time() -> None:
    """After a batch that was full at 5 s the next one may collect until 35 s."""
    batcher = Batcher(BatchOptions(10, 2, 30 * SECOND), 0)
    for _ in range(3):
        batcher.add(E, 5 * SECOND)
    assert len(batcher.take(5 * SECOND)) == 2
    assert batcher.wakes_at(5 * SECOND) == 35 * SECOND


def test_times_in_which_nothing_came_begin_anew() -> None:
    """After two quiet spans the third one's end counts, not the last Event's age."""
    batcher = Batcher(BatchOptions(10, 5, 30 * SECOND), 0)
    batcher.add(E, 70 * SECOND)
    assert batcher.wakes_at(70 * SECOND) == 90 * SECOND


def test_a_batch_of_one_never_waits() -> None:
    """max-wait has no effect while max-size is 1."""
    batcher = Batcher(BatchOptions(10, 1, 0), 0)
    assert batcher.take(0) == ()
    batcher.add(E, 0)
    assert len(batcher.take(0)) == 1
    assert batcher.wakes_at(0) is None


def test_no_wait_at_all() -> None:
    """max-wait 0 with larger batches sends whatever is there."""
    batcher = Batcher(BatchOptions(10, 5, 0), 0)
    batcher.add(E, 7)
    assert len(batcher.take(7)) == 1


def test_what_does_not_fit_is_refused() -> None:
    """Measured on a server: buffer 5, one batch of one a second, 20 Events at once: 13 are lost."""
    batcher = Batcher(BatchOptions(5, 1, 0, 1.0, 1), 0)
    lost = 0
    for _ in range(20):
        lost += batcher.add(E, 0) == QUEUE_BLOCKED
        batcher.take(0)
    assert lost == 13


def test_the_pace_of_the_throttle() -> None:
    """Measured on a server: 60 batches at 10 a second and a burst of 15 take 4.5 s."""
    batcher = Batcher(BatchOptions(100, 1, 0, 10.0, 15), 0)
    for _ in range(60):
        batcher.add(E, 0)
    now, left = 0, []
    while batcher.waiting:
        wakes = batcher.wakes_at(now)
        assert wakes is not None
        now = wakes
        batch = batcher.take(now)
        assert len(batch) == 1
        left.append(now)
    assert left[14] == 0
    assert round(left[15] / SECOND, 6) == 0.1
    assert round(left[-1] / SECOND, 6) == 4.5


def test_the_burst_comes_back_after_a_quiet_time() -> None:
    """Tokens are earned over time, up to the burst and no more."""
    bucket = TokenBucket(2.0, 3, 0)
    for _ in range(3):
        assert bucket.ready_at(0) == 0
        bucket.use(0)
    assert bucket.ready_at(0) == SECOND // 2
    later = 100 * SECOND
    for _ in range(3):
        assert bucket.ready_at(later) == later
        bucket.use(later)
    assert bucket.ready_at(later) > later


def test_closing_hands_on_what_is_there() -> None:
    """After closing nothing is taken, what is there leaves without waiting, in batches of at most max-size."""
    batcher = Batcher(BatchOptions(10, 3, 30 * SECOND), 0)
    for _ in range(8):
        batcher.add(E, 0)
    batcher.close()
    assert batcher.add(E, 0) == SHUT_DOWN
    assert [len(batcher.take(0)) for _ in range(4)] == [3, 3, 2, 0]
    assert batcher.is_finished


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 1, 10, 31])), max_size=40),
    st.integers(1, 6),
    st.integers(1, 4),
    st.sampled_from([None, 0.1, 5.0]),
)
def test_every_event_leaves_once_and_in_order(
    arrivals: list[tuple[int, int]], buffer_size: int, max_size: int, qps: float | None
) -> None:
    """What was taken leaves in order, in batches within their size, and never faster than the throttle allows."""
    batcher = Batcher(BatchOptions(buffer_size, max_size, 30 * SECOND, qps, 2), 0)
    now, taken, left, batches = 0, [], [], 0
    number = 0
    for count, pause_s in arrivals:
        now += pause_s * SECOND
        for _ in range(count):
            number += 1
            if batcher.add(event(audit_id=str(number)), now) is None:
                taken.append(str(number))
            assert batcher.waiting <= buffer_size + max_size
        while batch := batcher.take(now):
            assert len(batch) <= max_size
            left += [item.audit_id for item in batch]
            batches += 1
        assert qps is None or batches <= 2 + now / SECOND * qps + 1e-6
    batcher.close()
    while not batcher.is_finished:
        wakes = batcher.wakes_at(now)
        assert wakes is not None
        assert wakes >= now
        now = wakes
        batch = batcher.take(now)
        assert batch
        left += [item.audit_id for item in batch]
    assert left == taken
