"""Histograms over time."""

import io
from datetime import datetime, timedelta

import pytest

from kubewitness.cli.render.histogram import MOST_BUCKETS, Bucket, bucket_length, bucket_start, lines
from kubewitness.cli.render.output import Output

START = datetime(2026, 11, 23, 3, 8)  # noqa: DTZ001 - as a database gives it


@pytest.mark.parametrize(
    ("span_s", "length_s"), [(0, 1), (80, 5), (3600, 300), (86400, 7200), (86400 * 400, 86400 * 17)]
)
def test_buckets_have_usual_lengths(span_s, length_s):
    """A minute in seconds, an hour in five minutes, a year in whole days; never too many lines."""
    assert bucket_length(span_s) == length_s
    assert span_s / length_s <= MOST_BUCKETS


def test_buckets_begin_at_round_times():
    """A bucket of five minutes begins at a multiple of five minutes."""
    assert bucket_start(START + timedelta(minutes=4, seconds=3), 300) == START + timedelta(minutes=2)


def test_empty_buckets_are_drawn():
    """A gap is seen as a gap."""
    counts = {START: Bucket(10, 5), START + timedelta(seconds=2): Bucket(5)}
    drawn = list(lines(counts, 1, Output(stream=io.StringIO(), width=70)))
    assert drawn == [
        "2026-11-23T03:08:00Z  ███████████▒▒▒▒▒▒▒▒▒▒▒  10  5 refused or failed\n",
        "2026-11-23T03:08:01Z                           0\n",
        "2026-11-23T03:08:02Z  ███████████              5\n",
    ]


def test_the_smallest_count_is_seen():
    """One request among a million still has a mark."""
    counts = {START: Bucket(1_000_000), START + timedelta(seconds=1): Bucket(1, 1)}
    assert "▒" in list(lines(counts, 1, Output(stream=io.StringIO(), width=70)))[1]


def test_nothing_to_draw():
    """No requests, no lines."""
    assert list(lines({}, 1, Output(stream=io.StringIO()))) == []
