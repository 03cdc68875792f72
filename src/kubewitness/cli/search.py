"""
`kubewitness search`: find requests by who, what, where, when and result.

One row a request, its latest stage, ordered by time. The rows are the answer (standard output); what was read, what is
damaged and what could not have been recorded is said on standard error and in the exit code.
"""

import argparse
import sys
from collections.abc import Iterator

from kubewitness.cli.answer import conclude, say
from kubewitness.cli.columns import chosen, maker, reads_of
from kubewitness.cli.engine import Log
from kubewitness.cli.errors import UserError
from kubewitness.cli.filters import add_filter_arguments
from kubewitness.cli.progress import Progress
from kubewitness.cli.render.choose import add_output_arguments, output_of, write_events, write_rows
from kubewitness.cli.sources import add_source_arguments

HELP = """Find requests by who, what, where, when and result.

  kubewitness search --user alice --verb delete audit.log
  kubewitness search --resource pods/exec --outcome allowed --since 7d /var/log/kubernetes/audit/
  kubewitness search --code 403 --user '!system:*' -o wide audit.log
  kubewitness search --audit-id 7f3c... --stages all -o jsonl audit.log"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add sources, filters, limits and output."""
    add_source_arguments(parser)
    add_filter_arguments(parser)
    group = parser.add_argument_group("how much")
    group.add_argument("--limit", type=_positive, metavar="N", help="show the first N, and say that there are more")
    group.add_argument("--count", action="store_true", help="print only how many there are")
    group.add_argument("-w", "--follow", action="store_true", help="go on as the file grows, until Ctrl-C")
    add_output_arguments(parser)
    parser.add_argument(
        "--columns",
        metavar="A,B,...",
        help="what to show: wire paths (objectRef.name) or time, user, object, from, ...",
    )


def _positive(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of rows")
    return number


def run(args: argparse.Namespace) -> int:
    """Search and print."""
    shown = chosen(args.columns, args.output)
    with Log(args) as log, Progress("reading", log.fraction) as progress:
        if args.count:
            _, rows = log.query("SELECT count(*) FROM events")
            [(count,)] = progress.until_first(rows)
            sys.stdout.write(f"{count}\n")
            return conclude(log.facts(), args, found=count)
        output = output_of(args)
        if args.output in ("jsonl", "json", "yaml") and args.columns is None:
            count = write_events(progress.until_first(log.raw(args.limit)), args.output, output)
            return conclude(log.facts(), args, found=count)
        reads = reads_of(shown)
        limit = f" LIMIT {args.limit + 1}" if args.limit else ""
        _, rows = log.query(f"SELECT {', '.join(reads)} FROM events ORDER BY received, stage_time{limit}")
        first = _first(progress.until_first(rows), args.limit)
        count = write_rows(map(maker(shown), first), [item.column for item in shown], args.output, output)
        return conclude(log.facts(), args, found=count)


def _first(rows, limit):
    for number, row in enumerate(rows):
        if number == limit:
            say(f"there are more than {limit}; --limit shows more, --count counts them")
            return
        yield row
