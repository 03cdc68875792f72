"""
Times and durations as whole microseconds: RFC 3339 in and out, and what people type.

An instant is an integer of microseconds since 1970-01-01T00:00:00Z. Instants are compared as integers, never as
text: the same instant has many spellings. Nothing here reads a clock: `parse_when` is told what `now` is.

Follows RFC 3339 with 0 to 9 fractional digits (digits beyond microseconds are cut, as metav1.MicroTime does),
lower-case `t` and `z`, a space for `T`, and years 0001 to 9999. A leap second, 23:59:60 UTC, is the first instant of
the next minute, which is how POSIX counts it.
"""

import re
from datetime import UTC, date, datetime, timedelta

from kubewitness._kit import lazy

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US

_EPOCH_DAYS = date(1970, 1, 1).toordinal()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_US = (1 - _EPOCH_DAYS) * DAY_US
_LAST_US = (date(9999, 12, 31).toordinal() + 1 - _EPOCH_DAYS) * DAY_US - 1

_DATE = r"(\d{4})-(\d\d)-(\d\d)"
_RFC3339 = lazy.pattern(_DATE + r"[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:([Zz])|([+-])(\d\d):(\d\d))", re.ASCII)
_DAY = lazy.pattern(_DATE, re.ASCII)
_LOCAL_MINUTE = lazy.pattern(_DATE + r"[Tt ](\d\d):(\d\d)(?::(\d\d))?", re.ASCII)

_UNITS_US = {
    "us": 1,
    "µs": 1,
    "ms": 1_000,
    "s": SECOND_US,
    "m": MINUTE_US,
    "h": HOUR_US,
    "d": DAY_US,
    "w": 7 * DAY_US,
}
_PART = lazy.pattern(r"(\d{1,18})(?:\.(\d{1,18}))?(us|µs|ms|s|m|h|d|w)", re.ASCII)


class TimeError(ValueError):
    """This is not a time, or not a duration; the text shows it and says what would be one."""


def parse(text: str) -> int:
    """Read an RFC 3339 time. Raises TimeError."""
    match = _RFC3339().fullmatch(text)
    if match is None:
        raise _not_a_time(text)
    year, month, day, hour, minute, second, fraction, _zulu, sign, zone_hour, zone_minute = match.groups()
    zone_us = 0
    if sign is not None:
        if int(zone_hour) > 23 or int(zone_minute) > 59:
            raise _not_a_time(text)
        zone_us = (int(zone_hour) * HOUR_US + int(zone_minute) * MINUTE_US) * (1 if sign == "+" else -1)
    within_minute = int(second) * SECOND_US + (int(fraction.ljust(9, "0")[:6]) if fraction else 0)
    if int(hour) > 23 or int(minute) > 59 or int(second) > 60:
        raise _not_a_time(text)
    instant = _days(text, year, month, day) * DAY_US + int(hour) * HOUR_US + int(minute) * MINUTE_US - zone_us
    if int(second) == 60:
        if (instant + MINUTE_US) % DAY_US:
            raise _not_a_time(text)
        within_minute = MINUTE_US
    instant += within_minute
    if not _FIRST_US <= instant <= _LAST_US:
        raise TimeError(f"{text!r:.60} lies outside the years 0001 to 9999")
    return instant


def _days(text: str, year: str, month: str, day: str) -> int:
    try:
        return date(int(year), int(month), int(day)).toordinal() - _EPOCH_DAYS
    except ValueError as exc:
        raise TimeError(f"{text!r:.60} is not a time: {exc}") from exc


def _not_a_time(text: str) -> TimeError:
    return TimeError(f"{text!r:.60} is not an RFC 3339 time such as 2026-11-23T03:11:14.360000Z")


def parse_or_none(text: str | None) -> int | None:
    """Read a time of the wire; None when it is absent or is not one."""
    if text is None:
        return None
    try:
        return parse(text)
    except TimeError:
        return None


def format_us(instant: int) -> str:
    """Write an instant as kube-apiserver does: RFC 3339, UTC, six fractional digits."""
    if not _FIRST_US <= instant <= _LAST_US:
        raise TimeError(f"{instant} microseconds lie outside the years 0001 to 9999")
    moment = _EPOCH + timedelta(microseconds=instant)
    return f"{moment.year:04d}-{moment:%m-%dT%H:%M:%S}.{moment.microsecond:06d}Z"


def parse_duration(text: str) -> int:
    """Read `90m`, `7d`, `1h30m`, `1.5h`, `2w` as microseconds. Raises TimeError."""
    total, position = 0, 0
    while position < len(text):
        match = _PART().match(text, position)
        if match is None:
            break
        whole, fraction, unit = match.groups()
        total += int(whole) * _UNITS_US[unit]
        if fraction is not None:
            total += int(fraction) * _UNITS_US[unit] // 10 ** len(fraction)
        position = match.end()
    if not text or position != len(text):
        raise TimeError(f"{text!r:.60} is not a duration such as 90m, 1h30m, 7d")
    return total


def parse_when(text: str, now: int, *, is_end: bool = False) -> int:
    """Read what people type for --since and --until: a time, a date, a duration before `now`, or `now`.

    A date, or a time without a zone, is UTC. As the end of a span (`is_end`) a date is its last microsecond.
    """
    stripped = text.strip()
    if stripped == "now":
        return now
    day = _DAY().fullmatch(stripped)
    if day is not None:
        start = _days(text, *day.groups()) * DAY_US
        return start + DAY_US - 1 if is_end else start
    minute = _LOCAL_MINUTE().fullmatch(stripped)
    if minute is not None:
        return parse(f"{stripped}Z" if minute[6] else f"{stripped}:00Z")
    if _RFC3339().fullmatch(stripped):
        return parse(stripped)
    try:
        span = parse_duration(stripped.removesuffix(" ago").removeprefix("now-"))
    except TimeError as exc:
        raise TimeError(
            f"{text!r:.60} is not a time: give RFC 3339 (2026-11-23T03:11:14Z), a date (2026-11-23), "
            "a duration before now (90m, 1h30m, 7d), or now"
        ) from exc
    if now - span < _FIRST_US:
        raise TimeError(f"{text!r:.60} before now lies before the year 0001")
    return now - span
