"""Mode batch with its thread: Events arrive, losses count, stopping hands on what is there."""

import threading
from collections.abc import Sequence

from kubewitness.emit.backends.batcher import BatchOptions
from kubewitness.emit.backends.buffered import Buffered
from kubewitness.emit.metrics import Metrics
from kubewitness.event.types import Event
from tests.emit.samples import Kept, event

HOUR_NS = 3600 * 1_000_000_000


class Gate(Kept):
    """A backend that holds each batch until it is let through."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Semaphore(0)
        self.let = threading.Semaphore(0)
        self.life: list[str] = []

    def run(self) -> None:
        self.life.append("run")

    def shutdown(self) -> None:
        self.life.append("shutdown")

    def process_events(self, events: Sequence[Event]) -> bool:
        self.entered.release()
        assert self.let.acquire(timeout=30)
        return super().process_events(events)


def test_events_arrive_in_order_and_stopping_hands_on_the_rest() -> None:
    """A batch that is not full waits for its time, or for the end."""
    sink = Kept()
    buffered = Buffered(sink, BatchOptions(100, 10, HOUR_NS), Metrics())
    assert buffered.name == "buffered<kept>"
    buffered.run()
    for number in range(25):
        assert buffered.process_events([event(audit_id=str(number))])
    buffered.shutdown()
    assert [item.audit_id for item in sink] == [str(number) for number in range(25)]


def test_what_comes_while_the_buffer_is_full_is_lost_and_counted() -> None:
    """The request never notices: the answer is yes, the loss is counted with the words of kube-apiserver."""
    told: list[str] = []
    gate, metrics = Gate(), Metrics(told.append)
    buffered = Buffered(gate, BatchOptions(2, 1, 0), metrics)
    buffered.run()
    buffered.process_events([event()])
    assert gate.entered.acquire(timeout=30)
    # one is collected, two are buffered, the last two do not fit
    assert buffered.process_events([event(), event(), event(), event(), event()])
    assert metrics.errors == {"buffered": 2}
    assert told[0].startswith("Error in audit plugin 'buffered' affecting 2 audit events: audit buffer queue blocked\n")
    gate.let.release(4)
    buffered.shutdown()
    assert len(gate) == 4
    assert gate.life == ["run", "shutdown"]


def test_what_comes_after_the_end_is_lost_and_counted() -> None:
    """Events of requests that outlive the backend are counted with their reason."""
    told: list[str] = []
    metrics = Metrics(told.append)
    buffered = Buffered(Kept(), BatchOptions(2, 1, 0), metrics)
    buffered.run()
    buffered.shutdown()
    assert buffered.process_events([event()])
    assert metrics.errors == {"buffered": 1}
    assert "audit backend shut down" in told[0]


def test_a_slow_batch_does_not_hold_up_the_next() -> None:
    """With batches in flight, as the webhook has them, two are under way at once; the third waits its turn."""
    gate = Gate()
    buffered = Buffered(gate, BatchOptions(10, 1, 0), Metrics(), in_flight_max=2)
    buffered.run()
    buffered.process_events([event(), event(), event()])
    assert gate.entered.acquire(timeout=30)
    assert gate.entered.acquire(timeout=30)
    assert not gate.entered.acquire(timeout=0.05)
    gate.let.release(3)
    buffered.shutdown()
    assert len(gate) == 3


def test_a_backend_that_never_ran_can_be_stopped() -> None:
    """A server that fails to start stops what it made."""
    gate = Gate()
    Buffered(gate, BatchOptions(1, 1, 0), Metrics()).shutdown()
    assert gate.life == ["shutdown"]
