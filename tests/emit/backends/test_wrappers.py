"""Truncating, joining, ignoring: what goes through, what is lost and counted, and how the wrappers print."""

import itertools
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubewitness.emit import wire
from kubewitness.emit.backends.truncate import Truncate
from kubewitness.emit.backends.union import IgnoreErrors, Union
from kubewitness.emit.metrics import Metrics
from kubewitness.event.types import Event, Level
from tests.emit.samples import Kept, event

SMALL = len(wire.line(event()))


class Batches(Kept):
    """Keeps how the Events came."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def process_events(self, events: Sequence[Event]) -> bool:
        self.sizes.append(len(events))
        return super().process_events(events)


def with_bodies(level: Level, size: int = 500) -> Event:
    body = msgspec.Raw(b'"' + b"x" * size + b'"')
    return msgspec.structs.replace(
        event(level=level), request_object=body, response_object=body, annotations={"a": "b"}
    )


@pytest.mark.parametrize("level", [Level.REQUEST, Level.REQUEST_RESPONSE])
def test_a_large_event_loses_both_bodies(level: Level) -> None:
    """Both bodies go, the annotation says so beside those that were there, the level stays."""
    sink, metrics = Batches(), Metrics()
    large = with_bodies(level)
    assert Truncate(sink, 700, 10_000, metrics).process_events([large])
    [left] = sink
    assert (bytes(left.request_object), bytes(left.response_object)) == (b"", b"")
    assert left.annotations == {"a": "b", "audit.k8s.io/truncated": "true"}
    assert left.level is level
    assert large.annotations == {"a": "b"}
    assert metrics.errors == {}


def test_the_size_is_that_of_the_line() -> None:
    """An Event of exactly the limit, newline included, passes untouched; one byte more does not."""
    large = with_bodies(Level.REQUEST)
    size = len(wire.line(large))
    for limit, is_touched in ((size, False), (size - 1, True)):
        sink = Batches()
        Truncate(sink, limit, 10_000, Metrics()).process_events([large])
        assert (sink != [large]) is is_touched


@pytest.mark.parametrize("level", [Level.METADATA, Level.REQUEST])
def test_what_is_still_too_large_is_discarded(level: Level) -> None:
    """Without bodies to drop, or too large without them, an Event is lost and counted; the others pass."""
    told: list[str] = []
    sink, metrics = Batches(), Metrics(told.append)
    assert Truncate(sink, 1000, 10_000, metrics).process_events([event(2000, level), event(2000, level), event()])
    assert sink == [event()]
    assert metrics.errors == {"truncate": 2}
    assert told[0].startswith(
        "Error in audit plugin 'truncate' affecting 2 audit events: event is too large even after truncating\n"
    )


def test_below_level_request_there_is_nothing_to_drop() -> None:
    """An Event at Metadata is never truncated, whatever it holds: it is discarded."""
    sink, metrics = Batches(), Metrics()
    Truncate(sink, 700, 10_000, metrics).process_events([with_bodies(Level.METADATA)])
    assert sink == []
    assert metrics.errors == {"truncate": 1}


def test_a_batch_of_exactly_the_limit_is_not_split() -> None:
    """Two Events that fill a batch to the byte go together, a third goes alone."""
    sink = Batches()
    Truncate(sink, 1000, 2 * SMALL, Metrics()).process_events([event(), event(), event()])
    assert sink.sizes == [2, 1]


def test_an_event_that_is_no_text_is_discarded() -> None:
    """An Event that cannot be encoded has no size: it is lost here, and counted."""
    sink, metrics = Batches(), Metrics()
    odd = msgspec.structs.replace(event(), verb="\udcff")
    assert Truncate(sink, 1000, 10_000, metrics).process_events([odd, event()])
    assert sink == [event()]
    assert metrics.errors == {"truncate": 1}


@given(st.lists(st.integers(0, 40), max_size=20), st.integers(SMALL + 40, 5 * SMALL))
def test_batches_are_split(sizes: list[int], limit: int) -> None:
    """No batch is above its size, none could have taken the next Event, and order and Events stay."""
    sink = Batches()
    events = [event(size) for size in sizes]
    assert Truncate(sink, SMALL + 40, limit, Metrics()).process_events(events)
    assert sink == events
    start, totals = 0, []
    for count in sink.sizes:
        totals.append([len(wire.line(item)) for item in events[start : start + count]])
        start += count
    assert all(sum(total) <= limit for total in totals)
    for total, following in itertools.pairwise(totals):
        assert sum(total) + following[0] > limit


def test_a_split_batch_fails_if_a_part_fails() -> None:
    """When the backend refuses, the wrapper does, though it goes on."""
    sink = Batches()
    sink.is_full = True
    assert not Truncate(sink, 1000, SMALL, Metrics()).process_events([event(), event()])
    assert sink.sizes == [1, 1]


def test_union_hands_to_all_and_fails_if_one_fails() -> None:
    """One backend's failure does not keep the Event from the next."""
    first, second = Batches(), Batches()
    union = Union(first, second)
    assert union.process_events([event()])
    first.is_full = True
    assert not union.process_events([event()])
    assert len(first) == len(second) == 2


def test_ignored_errors() -> None:
    """In mode blocking a failing backend fails no request."""
    sink = Batches()
    sink.is_full = True
    assert IgnoreErrors(sink).process_events([event()])
    assert sink == [event()]


def test_names() -> None:
    """Wrappers print as in kube-apiserver's start-up line."""
    kept = Kept()
    truncate = Truncate(IgnoreErrors(kept), 1, 1, Metrics())
    assert Union(truncate, kept).name == "union[truncate<ignoreErrors<kept>>,kept]"


def test_start_and_stop_go_through() -> None:
    """Wrappers start and stop what they wrap."""

    class Living(Kept):
        life = ""

        def run(self) -> None:
            self.life += "run "

        def shutdown(self) -> None:
            self.life += "shutdown"

    living = Living()
    outer = Union(Truncate(IgnoreErrors(living), 1, 1, Metrics()))
    outer.run()
    outer.shutdown()
    assert living.life == "run shutdown"
