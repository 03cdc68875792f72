"""
What a log costs: bytes a day, how far back the rotated files reach, POSTs of the webhook, money.

Flags and defaults are kube-apiserver's: rotated files as lumberjack keeps them, batches as `--audit-webhook-mode=batch`
sends them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

DAY_S = 86_400
MONTH_DAYS = 30
GB = 1_000_000_000
_MIB = 1 << 20


class PriceError(ValueError):
    """A price file that says something else; the message names the place."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """`--audit-log-max...`: 0 means no limit (and for `max_size_mib` 100, as lumberjack has it)."""

    max_size_mib: int = 100
    max_backup: int = 0
    max_age_days: int = 0


@dataclass(frozen=True, slots=True)
class Disk:
    """How far back the files of one server reach, and how much room they take before compression. None: no limit."""

    days: float | None
    size: float | None


@dataclass(frozen=True, slots=True)
class Batching:
    """`--audit-webhook-batch-...` and their defaults."""

    max_size: int = 400
    max_wait_s: float = 30
    throttle_qps: float = 10
    buffer_size: int = 10_000


@dataclass(frozen=True, slots=True)
class Posts:
    """What the webhook does with so many events a second."""

    per_s: float
    of_throttle: float
    """POSTs as a share of what the throttle lets through; above 1 the buffer fills."""
    full_after_s: float | None
    """When the buffer is full and events are dropped; None: never."""


@dataclass(frozen=True, slots=True)
class Price:
    """What one place takes for a log."""

    name: str
    currency: str
    ingest_per_gb: float = 0
    store_per_gb_month: float = 0
    retention_days: float = MONTH_DAYS

    def month(self, bytes_a_day: float) -> float:
        """Give the price of a month in which the store is as full as it gets."""
        daily_gb = bytes_a_day / GB
        return daily_gb * (MONTH_DAYS * self.ingest_per_gb + self.retention_days * self.store_per_gb_month)


def a_day(amount: float, seconds: float) -> float | None:
    """Scale what a log of so many seconds has to a day; None when the log has no length."""
    return amount * DAY_S / seconds if seconds > 0 else None


def disk(bytes_a_day: float, rotation: Rotation) -> Disk:
    """Say how far back the log files reach."""
    size_days: float | None = None
    size: float | None = None
    if rotation.max_backup:
        size = float((rotation.max_size_mib or 100) * _MIB * (rotation.max_backup + 1))
        size_days = size / bytes_a_day if bytes_a_day else None
    age = rotation.max_age_days or None
    if age is not None and (size_days is None or age < size_days):
        return Disk(age, age * bytes_a_day)
    return Disk(size_days, size)


def posts(events_per_s: float, batching: Batching) -> Posts:
    """Say how many POSTs so many events a second are, and whether the throttle lets them through."""
    # a batch goes out when it is full, or when it has waited long enough
    full_per_s = events_per_s / batching.max_size
    per_s = max(full_per_s, min(events_per_s, 1 / batching.max_wait_s)) if events_per_s else 0.0
    surplus = events_per_s - batching.throttle_qps * batching.max_size
    return Posts(per_s, per_s / batching.throttle_qps, batching.buffer_size / surplus if surplus > 0 else None)


_MEMBERS = ("ingest_per_gb", "store_per_gb_month", "retention_days")


def prices_of(document: object) -> tuple[Price, ...]:
    """Read a price file that has been parsed. Raises PriceError."""
    if not isinstance(document, Mapping) or not isinstance(document.get("prices"), list):
        raise PriceError("a price file has a list `prices`, and `currency`")
    if unknown := sorted(map(str, set(document) - {"currency", "prices"})):
        raise PriceError(f"a price file has no member {unknown[0]!r}: only currency and prices")
    currency = document.get("currency", "USD")
    if not isinstance(currency, str):
        raise PriceError("currency is a text, such as USD")
    return tuple(_price(entry, currency, f"prices[{index}]") for index, entry in enumerate(document["prices"]))


def _price(entry: object, currency: str, where: str) -> Price:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
        raise PriceError(f"{where}: an entry has a name, and {', '.join(_MEMBERS)}")
    numbers: dict[str, float] = {}
    for member, value in entry.items():
        if member == "name":
            continue
        if member not in _MEMBERS:
            raise PriceError(f"{where}: no member {member!r}: only name, {', '.join(_MEMBERS)}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
            raise PriceError(f"{where}.{member}: a number from 0 on, not {value!r}")
        numbers[str(member)] = float(value)
    return Price(entry["name"], currency, **numbers)
