"""The names of rotated log files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubewitness.event import microtime
from kubewitness.event.logfiles import Rotated, format_name, in_order, parse

TIME = microtime.parse("2026-11-23T03:11:14.360Z")


@pytest.mark.parametrize(
    ("base", "name", "compression"),
    [
        ("kube-audit.log", "kube-audit-2026-11-23T03-11-14.360.log", ""),
        ("kube-audit.log", "kube-audit-2026-11-23T03-11-14.360.log.gz", ".gz"),
        ("kube-audit.log", "kube-audit-2026-11-23T03-11-14.360.log.zst", ".zst"),
        ("audit", "audit-2026-11-23T03-11-14.360", ""),
        ("a.b.log", "a.b-2026-11-23T03-11-14.360.log.gz", ".gz"),
        (".log", "-2026-11-23T03-11-14.360.log", ""),
    ],
)
def test_a_rotated_name_is_read_and_written(base, name, compression):
    """Name and time are inverse."""
    assert parse(name, base) == Rotated(base, TIME, compression)
    assert format_name(base, TIME, compression) == name


@pytest.mark.parametrize(
    "name",
    [
        "audit.log",
        "audit-2026-11-23T03:11:14.360.log",
        "audit-2026-11-23T03-11-14.log",
        "audit-2026-11-23T03-11-14.3600.log",
        "audit-2026-02-30T03-11-14.360.log",
        "audit-2026-11-23T03-11-14.360.log.bz2",
        "audit-2026-11-23T03-11-14.360.txt",
        "audit-old-2026-11-23T03-11-14.360.log",
        "other-2026-11-23T03-11-14.360.log",
        "audit-.log",
        "",
    ],
)
def test_other_names_are_not_rotated_files(name):
    """Only the exact form counts."""
    assert parse(name, "audit.log") is None


@given(st.integers(0, microtime.parse("9999-12-31T23:59:59.999Z") // 1000))
def test_any_time_survives_its_name(milliseconds):
    """Milliseconds are kept, for every time a server can have."""
    found = parse(format_name("audit.log", milliseconds * 1000), "audit.log")
    assert found is not None
    assert found.rotated_us == milliseconds * 1000


def test_files_come_oldest_first_and_the_live_one_last():
    """Order is that of the times in the names; a plain file stands for its half-made compression."""
    names = [
        "audit.log",
        "audit-2026-11-23T03-11-14.360.log.gz",
        "audit-2026-11-23T03-11-14.360.log",
        "audit-2026-11-22T00-00-00.000.log.gz",
        "audit-2025-01-01T00-00-00.000.log.zst",
        "notes.txt",
    ]
    expected = [
        "audit-2025-01-01T00-00-00.000.log.zst",
        "audit-2026-11-22T00-00-00.000.log.gz",
        "audit-2026-11-23T03-11-14.360.log",
        "audit.log",
    ]
    assert in_order(names, "audit.log") == expected
    assert in_order(reversed(names), "audit.log") == expected
