"""The times a person types."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubewitness.cli.errors import UserError
from kubewitness.cli.times import moment

NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("90m", "2026-11-24T00:30:00+00:00"),
        ("1h30m", "2026-11-24T00:30:00+00:00"),
        ("now-7d", "2026-11-17T02:00:00+00:00"),
        ("2w", "2026-11-10T02:00:00+00:00"),
        ("now", "2026-11-24T02:00:00+00:00"),
        ("2026-11-23", "2026-11-23T00:00:00+00:00"),
        ("2026-11-23T03:09", "2026-11-23T03:09:00+00:00"),
        ("2026-11-23 03:09:31", "2026-11-23T03:09:31+00:00"),
        ("2026-11-23T03:09:31Z", "2026-11-23T03:09:31+00:00"),
        ("2026-11-23t03:09:31.5z", "2026-11-23T03:09:31.500000+00:00"),
        ("2026-11-23T03:09:31.123456789Z", "2026-11-23T03:09:31.123456+00:00"),
        ("2026-11-23T05:09:31+02:00", "2026-11-23T03:09:31+00:00"),
    ],
)
def test_what_is_meant(text, meant):
    """Durations count back from now, dates begin at midnight, everything is UTC unless it says otherwise."""
    assert moment(text, NOW, "--since").isoformat() == meant


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "7", "d", "-7d", "2026-13-01", "2026-11-23T25:00", "20261123", "03:09", "٣d", "9" * 30 + "w"],
)
def test_what_is_no_time(text):
    """A text that means no time is refused with the flag's name and what would be right."""
    with pytest.raises(UserError, match=r"^--until "):
        moment(text, NOW, "--until")


@given(st.datetimes(timezones=st.just(UTC)))
def test_every_moment_of_the_log_can_be_typed(when):
    """A time copied from the output means itself."""
    assert moment(when.isoformat().replace("+00:00", "Z"), NOW, "--since") == when


@given(st.integers(0, 10**6), st.sampled_from("smhdw"))
def test_durations_are_counted(number, unit):
    """Any count of any unit is what it says, or beyond the calendar."""
    length = timedelta(**{{"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}[unit]: number})
    try:
        expected = NOW - length
    except OverflowError:
        with pytest.raises(UserError):
            moment(f"{number}{unit}", NOW, "--since")
    else:
        assert moment(f"{number}{unit}", NOW, "--since") == expected
