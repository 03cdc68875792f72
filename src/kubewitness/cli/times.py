"""
Read the times a person types: `90m`, `7d`, `now-2h`, `2026-11-23`, `2026-11-23T03:09:31.5Z`, with an offset or without.

A duration is counted back from now. A date means its first moment. Without an offset a time is UTC, as in the log.
"""

import re
from datetime import UTC, datetime, timedelta

from kubewitness.cli.errors import UserError

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(?:now-)?((?:\d+[smhdw])+)", re.ASCII)
_PART = re.compile(r"(\d+)([smhdw])", re.ASCII)
# fromisoformat takes forms that nobody means (20261123, week dates); RFC 3339 and its beginnings are enough
_MOMENT = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[Tt ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)([Zz]|[+-]\d{2}:\d{2})?)?", re.ASCII
)


def moment(text: str, now: datetime, flag: str) -> datetime:
    """Give the moment that `text` means, in UTC; `flag` is named when it means none."""
    written = text.strip()
    if written == "now":
        return now
    duration = _DURATION.fullmatch(written)
    try:
        if duration:
            seconds = sum(int(number) * _UNITS_S[unit] for number, unit in _PART.findall(duration[1]))
            return now - timedelta(seconds=seconds)
        found = _MOMENT.fullmatch(written)
        if found:
            return _moment(*found.groups())
    except (ValueError, OverflowError) as exc:
        raise UserError(f"{flag} {text!r}: {exc}") from exc
    raise UserError(
        f"{flag} {text!r} is not a time; write a duration back from now (90m, 7d), a date (2026-11-23) "
        "or RFC 3339 (2026-11-23T03:09:31Z)"
    )


def _moment(day: str, clock: str | None, offset: str | None) -> datetime:
    # beyond microseconds there is nothing in an audit log
    clock = re.sub(r"(\.\d{6})\d+", r"\1", clock) if clock else "00:00"
    offset = "+00:00" if offset is None or offset in "Zz" else offset
    return datetime.fromisoformat(f"{day}T{clock}{offset}").astimezone(UTC)
