"""
`kubewitness reconcile`: compare log files with a store, Event by Event, by identity.

An Event is the same whether it came as a line of the log file or in the body of a webhook. What is only in the files
was lost on the way to the store, what is only in the store was taken out of the files, or never written to them.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from kubewitness.cli.answer import counted, say
from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.progress import Progress
from kubewitness.cli.render.choose import add_output_arguments, output_of, write_rows
from kubewitness.cli.render.values import Column, Shrink
from kubewitness.cli.sources import add_source_arguments, sources_of

if TYPE_CHECKING:
    from kubewitness.assembly.reconciling import Comparison, Difference

HELP = """Compare log files with a store, event by event.

  kubewitness reconcile --data /var/lib/kubewitness --cluster prod /var/log/kubernetes/audit/
  kubewitness reconcile --data ./store audit.log -o json

Only the time that the files span is compared. Ends with 1 if there is a difference, 0 if there is none."""

COLUMNS = (
    Column("ONLY IN", "onlyIn", Shrink.NEVER),
    Column("TIME", "requestReceivedTimestamp", Shrink.NEVER, usual_width=20),
    Column("STAGE", "stage", Shrink.NEVER),
    Column("USER", "user.username", Shrink.MIDDLE),
    Column("VERB", "verb", Shrink.NEVER),
    Column("URI", "requestURI", Shrink.MIDDLE, weight=2),
    Column("PLACE", "place", Shrink.MIDDLE),
    Column("AUDIT-ID", "auditID", Shrink.END),
)
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - times of answers are UTC and have no zone
_TABLE = range(len(COLUMNS) - 1)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add files, the store and output."""
    add_source_arguments(parser)
    parser.usage = "%(prog)s --data DIR [--cluster NAME] SRC..."
    parser.add_argument("--keys", metavar="DIR", help="where the keys of the store are (default: DIR.keys beside it)")
    add_output_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Compare and print the differences."""
    from kubewitness.assembly.reconciling import compare
    from kubewitness.keep.store.errors import DamagedError
    from kubewitness.keep.store.layout import DataDir, default_keys
    from kubewitness.look.query.source import SourceError, find_inputs
    from kubewitness.look.query.store import open_shelves

    if not args.data:
        raise UserError("name the store to compare with: --data DIR")
    if not args.sources:
        raise UserError("name the log files to compare with the store")
    data = Path(args.data)
    keys = Path(args.keys) if args.keys else default_keys(DataDir(data.absolute()).path)
    try:
        inputs = find_inputs(sources_of(argparse.Namespace(sources=args.sources, data=None)))
        shelves = open_shelves(args.data, args.cluster)
    except SourceError as error:
        raise UserError(str(error)) from error
    try:
        if len(shelves) > 1:
            names = ", ".join(shelf.cluster for shelf in shelves)
            raise UserError(f"{data} has logs of several clusters: choose one with --cluster: {names}")
        with Progress("comparing", lambda: None):
            found = compare(inputs, shelves[0], keys)
    except DamagedError as error:
        raise UserError(str(error), ExitCode.INTEGRITY) from error
    finally:
        for shelf in shelves:
            shelf.close()
    differences = sorted((*found.only_in_files, *found.only_in_store), key=lambda one: one.received_us or 0)
    whole = args.output != "table"
    shown = range(len(COLUMNS)) if whole else _TABLE
    rows = ([_row(one)[at] for at in shown] for one in differences)
    write_rows(rows, [COLUMNS[at] for at in shown], args.output, output_of(args))
    sys.stdout.flush()
    _tell(found, shelves[0].cluster)
    if differences:
        return ExitCode.FINDINGS
    return ExitCode.INCOMPLETE if found.damaged or found.lost else ExitCode.OK


def _row(one: "Difference") -> Sequence[object]:
    moment = None if one.received_us is None else _EPOCH + timedelta(microseconds=one.received_us)
    place = f"{one.source}:{one.place}" if one.only_in == "files" else f"index {one.place}"
    return (one.only_in, moment, one.stage, one.username, one.verb, one.request_uri, place, one.audit_id)


def _tell(found: "Comparison", cluster: str) -> None:
    say(
        f"{counted(found.in_files, 'event')} in the files, {found.in_store:,} of that time in the store of {cluster}: "
        f"{found.in_both:,} in both, {len(found.only_in_files):,} only in the files, "
        f"{len(found.only_in_store):,} only in the store"
    )
    for line in _remarks(found):
        say(line)


def _remarks(found: "Comparison") -> Iterator[str]:
    if found.copies:
        yield f"in the files more than once: {counted(found.copies, 'event')}"
    if found.outside:
        yield f"of another time, and not compared: {counted(found.outside, 'event')} of the store"
    if found.uncertain:
        yield (
            f"{counted(found.uncertain, 'event')} of the store lack members that were never written, and without its "
            "keys they cannot be compared"
        )
    if found.damaged:
        yield f"damaged, and not compared: {counted(found.damaged, 'place')} of the files"
    if found.lost:
        yield f"{counted(found.lost, 'event')} of the store cannot be read; `verify` says why"
