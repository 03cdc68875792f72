"""What is said after an answer, on standard error: what was searched when nothing was found, damage, unknowns."""

import argparse
import sys
from typing import TYPE_CHECKING

from kubewitness.cli.errors import ExitCode
from kubewitness.cli.render.printable import printable

if TYPE_CHECKING:
    from kubewitness.cli.engine import Log

# More reasons than this are not read.
_REASONS = 4


def say(text: str) -> None:
    """Say one line on standard error, below what standard output has so far."""
    from kubewitness.cli.render.folded import folded

    sys.stdout.flush()
    print(folded(printable(text), sys.stderr), file=sys.stderr)  # noqa: T201


def counted(number: int, noun: str) -> str:
    """Write a number of things: `1 event`, `4,842 events`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def conclude(log: "Log", args: argparse.Namespace, *, found: int) -> int:
    """Say what has to be said after an answer, and give the exit code."""
    from kubewitness.cli.sources import tell

    sys.stdout.flush()
    facts = log.facts()
    code = tell(facts.reports, is_verbose=args.verbose, shows_damage=args.show_damage)
    if found == 0:
        files = counted(len(facts.reports), "file")
        if facts.is_all_checked:
            say(f"0 found in {counted(facts.events, 'event')} of {files}{_span(log)}")
        else:
            say(f"0 found in {files}")
        from kubewitness.cli.spelling import misspelt

        for sentence in misspelt(args, log.has):
            say(sentence)
    if not facts.is_all_checked:
        say("lines without the text sought were not parsed, so damage was not checked; --account checks it")
    if facts.unknown:
        _tell_unknown(log, facts.unknown)
        code = ExitCode.INCOMPLETE
    return code


def _span(log: "Log") -> str:
    from kubewitness.cli.render.values import rfc3339

    span = log.span()
    if span is None:
        return ""
    first, last = (rfc3339(moment, timespec="seconds") for moment in span)
    return f", {first} to {last}"


def _tell_unknown(log: "Log", unknown: int) -> None:
    """Say how many requests could match, and what would have told: the usual reasons, the most frequent first."""
    reasons, looked_at = log.why_unknown()
    shown = reasons.most_common(_REASONS)
    say(f"{counted(unknown, 'request')} could match, but the log cannot tell{':' if shown else ''}")
    digits = len(f"{shown[0][1]:,}") if shown else 0
    for reason, count in shown:
        say(f"  {count:>{digits},}  {reason}")
    if looked_at < unknown:
        say(f"  (reasons of the first {looked_at:,})")
