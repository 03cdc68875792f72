"""Recorded traffic for the commands about policies: the log that SRC name, counted once for the policies at hand."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kubewitness.cli.errors import UserError
from kubewitness.cli.progress import Progress

SHORT_S = 3600
"""A log that is shorter tells little about a day."""

if TYPE_CHECKING:
    from kubewitness.cli.engine import Log
    from kubewitness.policy.shapes import Traffic
    from kubewitness.policy.types import Policy


def count_traffic(log: "Log", policies: Sequence["Policy"]) -> "Traffic":
    """Count the shapes of a log in one pass."""
    from kubewitness.look.query.shape_sql import made_of, shape_sql, traffic_of, weights_of
    from kubewitness.policy.shapes import interest_of

    interest = interest_of(policies)
    with Progress("reading", log.fraction) as progress:
        statement = shape_sql(interest, is_store=log.is_store, is_made=not log.is_store)
        made = None if log.is_store else made_of(interest)
        rows = list(log.query(statement, stages="all", weights=weights_of(interest), made=made))
        progress.stop()
    return traffic_of(rows, interest)


def add_flag_of_baseline(parser: argparse.ArgumentParser) -> None:
    """Add --baseline."""
    parser.add_argument(
        "--baseline", metavar="OLD", help="compare with what this policy would write, not with the log as it is"
    )


def not_negative(text: str) -> int:
    """Read a whole number from 0 on, for argparse."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a whole number from 0 on belongs here, not {text!r}")
    return int(text)


def number_of(text: str) -> float:
    """Read a number of bytes a day: `5GB`, `500MB/day`, `1.5 TiB`. Raises UserError."""
    import re

    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kKMGT]i?)?B?\s*(?:/\s*d(?:ay)?)?\s*", text)
    if not found:
        raise UserError(f"{text!r} is no number of bytes a day; write 5GB/day or 500MB")
    prefix = found[2] or ""
    base = 1024 if prefix.endswith("i") else 1000
    power = "kMGT".index(prefix[0].replace("K", "k")) + 1 if prefix else 0
    return float(found[1]) * float(base**power)


def short(seconds: float) -> str:
    """Say how short a log is."""
    from datetime import timedelta

    return f"the log is only {timedelta(seconds=round(seconds))} long (h:mm:ss): numbers a day are a rough guess"


def bytes_text(size: float) -> str:
    """Write bytes for a person: `2.54 MB`, `11.7 GB`."""
    units = ("B", "kB", "MB", "GB", "TB", "PB")
    at = 0
    while abs(size) >= 999.5 and at < len(units) - 1:
        size, at = size / 1000, at + 1
    digits = 0 if at == 0 else 2 if abs(size) < 9.995 else 1 if abs(size) < 99.95 else 0
    return f"{size:,.{digits}f} {units[at]}"


def change_text(before: float, after: float) -> str:
    """Write a change in per cent: `-78 %`, `+5 %`, `new`, `=`."""
    if before == after:
        return "="
    if not before:
        return "new"
    change = 100 * (after - before) / before
    return f"{change:+.0f} %" if abs(change) >= 0.5 else f"{change:+.1f} %"
