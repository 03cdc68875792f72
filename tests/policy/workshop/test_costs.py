"""Costs: files, POSTs, money, and price files that say something else."""

import pytest

from kubewitness.policy.workshop.costs import (
    Batching,
    Disk,
    Price,
    PriceError,
    Rotation,
    a_day,
    disk,
    posts,
    prices_of,
)

MIB = 1 << 20


def test_files_reach_back_until_the_first_limit():
    """maxbackup counts the file being written too; maxage may come first; without either there is no limit."""
    assert disk(110 * MIB, Rotation(10, 10)) == Disk(1.0, 110 * MIB)
    assert disk(11 * MIB, Rotation(10, 10, 3)) == Disk(3, 33 * MIB)
    assert disk(110 * MIB, Rotation(10, 10, 3)).days == 1.0
    assert disk(5, Rotation()) == Disk(None, None)
    assert disk(0, Rotation(10, 10)).days is None
    assert disk(200 * MIB, Rotation(0, 1)).days == 1.0


def test_batches_are_sent_when_full_or_when_they_have_waited():
    """Few events go one batch each 30 s; many go in full batches; more than the throttle lets through are lost."""
    assert posts(0, Batching()).per_s == 0
    assert posts(0.01, Batching()).per_s == 0.01
    assert posts(1, Batching()).per_s == 1 / 30
    assert posts(2000, Batching()).per_s == 5
    assert posts(2000, Batching()).of_throttle == 0.5
    assert posts(2000, Batching()).full_after_s is None
    assert posts(5000, Batching()).full_after_s == 10


def test_a_day_scales_by_the_length_of_the_log():
    """A log without length cannot be scaled."""
    assert a_day(10, 43_200) == 20
    assert a_day(10, 0) is None


def test_prices():
    """Taken in for thirty days, and stored as long as said."""
    [price] = prices_of(
        {
            "currency": "EUR",
            "prices": [{"name": "logs", "ingest_per_gb": 0.5, "store_per_gb_month": 0.03, "retention_days": 90}],
        }
    )
    assert price == Price("logs", "EUR", 0.5, 0.03, 90)
    assert price.month(2e9) == pytest.approx(2 * (30 * 0.5 + 90 * 0.03))


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (None, "has a list `prices`"),
        ({"prices": {}}, "has a list `prices`"),
        ({"prices": [], "sums": 1}, "no member 'sums'"),
        ({"prices": [], "currency": 5}, "currency is a text"),
        ({"prices": [5]}, "prices[0]: an entry has a name"),
        ({"prices": [{"name": "a", "ingest": 1}]}, "prices[0]: no member 'ingest'"),
        ({"prices": [{"name": "a", "ingest_per_gb": -1}]}, "prices[0].ingest_per_gb: a number from 0 on, not -1"),
        ({"prices": [{"name": "a", "ingest_per_gb": True}]}, "prices[0].ingest_per_gb"),
        ({"prices": [{"name": "a", "ingest_per_gb": float("nan")}]}, "prices[0].ingest_per_gb"),
    ],
)
def test_wrong_price_files(document, words):
    """The message names the place."""
    with pytest.raises(PriceError) as caught:
        prices_of(document)
    assert words in str(caught.value)
