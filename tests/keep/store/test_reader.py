"""Reading gives every Event that is there, names those that are not, and goes on while the store grows."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubewitness._kit.files import DiskDirectory
from kubewitness.keep.store.errors import DamagedError
from kubewitness.keep.store.reader import Lost, Tail, records
from kubewitness.keep.store.scan import name_of
from kubewitness.keep.store.segment import END_BYTES
from tests.keep.store.build import made, opened, raws, read, segment, store


@pytest.mark.parametrize(("begin", "first"), [(0, 0), (9, 0), (10, 10), (35, 30), (49, 40), (50, 50), (70, 50)])
def test_reading_begins_at_the_block_that_holds_the_event(tmp_path, begin, first):
    """Whole blocks are given, from the one asked for on."""
    assert read(made(tmp_path, 50, segment_bytes=600), begin) == (raws(first, 50 - first), [])


def test_reading_ends_with_the_block_that_holds_the_last(tmp_path):
    """Nothing from `end` on is asked of the disk."""
    path = made(tmp_path, 50, segment_bytes=600)
    assert read(path, 5, 11) == (raws(0, 20), [])
    assert read(path, 5, 10) == (raws(0, 10), [])


def test_an_empty_store_has_nothing(tmp_path):
    """And nothing is lost of it."""
    assert read(tmp_path) == ([], [])


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_flipped_byte_loses_one_block(tmp_path_factory, data):
    """Wherever a bit rots, all Events of other blocks are read, and those of this one are named."""
    path = made(tmp_path_factory.mktemp("store"), 50, segment_bytes=600)
    first = data.draw(st.sampled_from([0, 30]))
    file = segment(path, first)
    content = bytearray(file.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(content)
    lines, lost = read(path)
    if at >= len(content) - END_BYTES:
        assert (lines, lost) == (raws(0, 50), [])
    elif first == 30 and not lost:
        # the last block of all; what follows it cannot tell that it was whole once
        assert lines == raws(0, 40)
    else:
        (gone,) = lost
        assert gone.end - gone.first == 10
        assert gone.segment == name_of(first)
        assert lines == raws(0, gone.first) + raws(gone.end, 50 - gone.end)


def test_a_missing_segment_is_named(tmp_path):
    """The Events between two segments that do not meet are lost."""
    path = made(tmp_path, 90, segment_bytes=600)
    segment(path, 30).unlink()
    lines, lost = read(path)
    assert lines == raws(0, 30) + raws(60, 30)
    assert [(gone.first, gone.end) for gone in lost] == [(30, 60)]


def test_a_missing_block_is_named(tmp_path):
    """A block that was taken out whole leaves a gap in the indexes."""
    path = made(tmp_path, 30)
    data = segment(path, 0).read_bytes()
    block = (len(data) - END_BYTES) // 3
    at = data.index(b"KUBEWIT", block // 2) - 8
    after = data.index(b"KUBEWIT", at + 20) - 8
    segment(path, 0).write_bytes(data[:at] + data[after:])
    lines, lost = read(path)
    assert lines == raws(0, 10) + raws(20, 10)
    assert [(gone.first, gone.end, gone.offset) for gone in lost] == [(10, 20, at)]


def test_blocks_out_of_order_are_refused(tmp_path):
    """A block again is no Event again."""
    path = made(tmp_path, 30)
    data = segment(path, 0).read_bytes()
    segment(path, 0).write_bytes(data[:-END_BYTES] + data)
    with pytest.raises(DamagedError, match="a block of Event 0 follows 30"):
        read(path)


def lines_of(parts) -> list[bytes]:
    parts = list(parts)
    assert not any(isinstance(part, Lost) for part in parts)
    return [record.kept.line for part in parts for record in records(part)]


def test_a_tail_follows_a_growing_store(tmp_path):
    """Each poll gives what has come since, over the ends of segments and of processes, and nothing twice."""
    log = opened(tmp_path, segment_bytes=600)
    tail = Tail(DiskDirectory.at(tmp_path / "segments"))
    assert list(tail.poll()) == []
    got: list[bytes] = []
    for first in range(0, 100, 10):
        store(log, raws(first, 10))
        if first % 30 == 0:
            got += lines_of(tail.poll())
            assert got == raws(0, first + 10)
        if first == 50:
            log.close()
            log = opened(tmp_path, segment_bytes=600)
    log.close()
    assert got + lines_of(tail.poll()) == raws(0, 100)
    assert list(tail.poll()) == []
    assert tail.index == 100


def test_a_tail_waits_for_what_is_half_written(tmp_path):
    """A block that is not all there yet is neither given nor lost."""
    path = made(tmp_path, 20)
    data = segment(path, 0).read_bytes()
    for size in range(0, len(data), 37):
        segment(path, 0).write_bytes(data[:size])
        lines, lost = read(path)
        assert lines in (raws(0, 0), raws(0, 10), raws(0, 20))
        assert not lost


def test_a_tail_stops_where_it_is_told(tmp_path):
    """Who signs reads only what is durable."""
    path = made(tmp_path, 50, segment_bytes=600)
    tail = Tail(DiskDirectory.at(path))
    assert lines_of(tail.poll(until=29)) == raws(0, 20)
    assert lines_of(tail.poll(until=40)) == raws(20, 20)
    assert lines_of(tail.poll()) == raws(40, 10)


def test_a_record_says_when_and_from_where(tmp_path: Path):
    """Index, time of receipt and source are those of its commit."""
    log = opened(tmp_path)
    store(log, raws(0, 2), "webhook:a", 11)
    store(log, raws(2, 1), "file:b", 12)
    log.close()
    tail = Tail(DiskDirectory.at(tmp_path / "segments"))
    found = [record for part in tail.poll() if not isinstance(part, Lost) for record in records(part)]
    assert [(r.index, r.received_ns, r.source) for r in found] == [
        (0, 11, "webhook:a"),
        (1, 11, "webhook:a"),
        (2, 12, "file:b"),
    ]
