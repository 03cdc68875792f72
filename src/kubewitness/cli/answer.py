"""
What is said after an answer, on standard error: what was read when nothing was found, damage, what is unknown.
"""

import argparse
import sys

from kubewitness.cli.engine import Facts
from kubewitness.cli.errors import ExitCode
from kubewitness.cli.render.printable import printable
from kubewitness.cli.render.values import rfc3339
from kubewitness.cli.sources import tell


def say(text: str) -> None:
    """Say one line on standard error."""
    print(printable(text), file=sys.stderr)  # noqa: T201


def counted(number: int, noun: str) -> str:
    """Write a number of things: `1 event`, `4,842 events`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def conclude(facts: Facts, args: argparse.Namespace, *, found: int) -> int:
    """Say what has to be said after an answer, and give the exit code."""
    sys.stdout.flush()
    code = tell(facts.reports, is_verbose=args.verbose, shows_damage=args.show_damage)
    if found == 0:
        say(f"0 found in {searched(facts)}")
    if facts.unknown:
        say(f"{counted(facts.unknown, 'request')} could match but {facts.unknown_why}")
        code = ExitCode.INCOMPLETE
    return code


def searched(facts: Facts) -> str:
    """Say what was searched: events, files, span."""
    span = ""
    if facts.first and facts.last:
        first, last = rfc3339(facts.first, timespec="seconds"), rfc3339(facts.last, timespec="seconds")
        span = f", {first} to {last}"
    return f"{counted(facts.events, 'event')} of {counted(len(facts.reports), 'file')}{span}"
