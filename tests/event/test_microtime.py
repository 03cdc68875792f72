"""Times and durations as whole microseconds."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubewitness.event import microtime
from kubewitness.event.microtime import DAY_US, HOUR_US, MINUTE_US, SECOND_US, TimeError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOW = microtime.parse("2026-11-23T03:11:14.360000Z")


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000001Z", 1),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("2026-11-23T03:11:27.501519768Z", 1795403487501519),
        ("2026-11-23t03:11:27.501519z", 1795403487501519),
        ("2026-11-23 03:11:27.501519Z", 1795403487501519),
        ("2026-11-23T05:41:27.501519+02:30", 1795403487501519),
        ("2026-11-22T20:11:27.501519-07:00", 1795403487501519),
        ("2026-11-23T03:11:27.5Z", 1795403487500000),
        ("2016-12-31T23:59:60Z", 1483228800000000),
        ("2017-01-01T05:29:60.9+05:30", 1483228800000000),
        ("0001-01-01T00:00:00Z", -62135596800000000),
        ("9999-12-31T23:59:59.999999999Z", 253402300799999999),
    ],
)
def test_rfc_3339_is_read_exactly(text, instant):
    """Any zone, 0 to 9 digits, either case: one integer, and nothing rounded."""
    assert microtime.parse(text) == instant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-23",
        "2026-11-23T03:11:14",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-11-23T24:00:00Z",
        "2026-11-23T03:60:00Z",
        "2026-11-23T03:11:61Z",
        "2026-11-23T03:11:60Z",
        "2026-11-23T03:11:14.Z",
        "2026-11-23T03:11:14.1234567890Z",
        "2026-11-23T03:11:14+24:00",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "２０２６-11-23T03:11:14Z",
        " 2026-11-23T03:11:14Z",
        "2026-11-23T03:11:14Z\n",
    ],
)
def test_what_is_no_time_is_refused(text):
    """A wrong time is an error that shows it, never a guess; on the wire it is None."""
    with pytest.raises(TimeError):
        microtime.parse(text)
    assert microtime.parse_or_none(text) is None


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31)), st.integers(-23 * 60, 23 * 60))  # noqa: DTZ001
def test_it_agrees_with_datetime(moment, zone):
    """Written in any zone, an instant is the one that datetime computes."""
    expected = (moment.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
    sign = "-" if zone < 0 else "+"
    text = f"{moment.isoformat(timespec='microseconds')}{sign}{abs(zone) // 60:02d}:{abs(zone) % 60:02d}"
    assert microtime.parse(text) == expected - zone * MINUTE_US


@given(st.integers(microtime.parse("0001-01-01T00:00:00Z"), microtime.parse("9999-12-31T23:59:59.999999Z")))
def test_what_is_written_is_read_back(instant):
    """Format and parse are inverse, and the text has kube-apiserver's form."""
    text = microtime.format_us(instant)
    assert len(text) == len("2026-11-23T03:11:14.360000Z")
    assert microtime.parse(text) == instant


def test_an_instant_outside_the_years_is_not_written():
    """Year 10000 has no RFC 3339 form."""
    with pytest.raises(TimeError):
        microtime.format_us(microtime.parse("9999-12-31T23:59:59.999999Z") + 1)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("90m", 90 * MINUTE_US),
        ("7d", 7 * DAY_US),
        ("1h30m", 90 * MINUTE_US),
        ("1.5h", 90 * MINUTE_US),
        ("2w", 14 * DAY_US),
        ("250ms", 250_000),
        ("0.1s", 100_000),
        ("10us", 10),
        ("1d2h3m4s", DAY_US + 2 * HOUR_US + 3 * MINUTE_US + 4 * SECOND_US),
        ("0s", 0),
    ],
)
def test_durations(text, span):
    """Parts add up, fractions are exact."""
    assert microtime.parse_duration(text) == span


@pytest.mark.parametrize("text", ["", "7", "d", "-7d", "7 d", "1h 30m", "1y", "7D", "1e3s", "1h30"])
def test_what_is_no_duration_is_refused(text):
    """A number needs its unit, and nothing else may stand about."""
    with pytest.raises(TimeError, match="is not a duration"):
        microtime.parse_duration(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", "2026-11-23T03:11:14.360000Z"),
        ("90m", "2026-11-23T01:41:14.360000Z"),
        ("7d ago", "2026-11-16T03:11:14.360000Z"),
        ("now-7d", "2026-11-16T03:11:14.360000Z"),
        ("2026-03-01", "2026-03-01T00:00:00.000000Z"),
        ("2026-03-01 12:30", "2026-03-01T12:30:00.000000Z"),
        ("2026-03-01T12:30:05", "2026-03-01T12:30:05.000000Z"),
        ("2026-03-01T12:30:05+01:00", "2026-03-01T11:30:05.000000Z"),
    ],
)
def test_what_people_type(text, expected):
    """Times, dates and durations before now, in UTC."""
    assert microtime.format_us(microtime.parse_when(text, NOW)) == expected


def test_the_end_of_a_day_is_its_last_microsecond():
    """`--until 2026-03-01` includes that day."""
    end = microtime.parse_when("2026-03-01", NOW, is_end=True)
    assert microtime.format_us(end) == "2026-03-01T23:59:59.999999Z"


@pytest.mark.parametrize("text", ["yesterday", "2026-02-30", "2026-03-01 25:00", "99999999999999999w", ""])
def test_what_nobody_can_mean_is_refused(text):
    """The error shows what was typed."""
    with pytest.raises(TimeError):
        microtime.parse_when(text, NOW)
