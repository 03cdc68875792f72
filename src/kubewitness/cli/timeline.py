"""
`kubewitness timeline`: what happened, in order: a histogram of the whole, then one plain sentence a request.

Requests of the same kind in a row are one sentence with their number. The histogram is of all that matched; the list
stops at `--limit`. Data formats hold the list only.
"""

import argparse
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

import msgspec

from kubewitness.cli.answer import conclude, counted, say
from kubewitness.cli.engine import Log, open_log, select
from kubewitness.cli.filters import add_filter_arguments, add_limit_argument
from kubewitness.cli.progress import Progress
from kubewitness.cli.render import histogram
from kubewitness.cli.render.choose import add_output_arguments, output_of, write_rows
from kubewitness.cli.render.values import Column, Shrink, Tone
from kubewitness.cli.request import COLUMNS, Request, did, request_of, what, who
from kubewitness.cli.sources import add_source_arguments

HELP = """Tell what happened, in order: a histogram, then one plain sentence a request.

  kubewitness timeline --user attacker audit.log
  kubewitness timeline --resource secrets -n production --name important audit.log
  kubewitness timeline --outcome denied --bucket 60 --limit 0 audit.log"""

_USUAL_LIMIT = 50
# So many names in a row are told one by one; a sweep over more is told as a sweep.
_NAMES_TOLD = 4
_TABLE = (Column("TIME", "time", Shrink.NEVER), Column("WHAT HAPPENED", "sentence", Shrink.NEVER))
_DATA = tuple(
    Column(name.upper(), name)
    for name in ("first", "last", "requests", "user", "action", "object", "outcome", "code", "sentence")
)
_TONES = {"denied": Tone.BAD, "failed": Tone.FAINT}


@dataclass(frozen=True, slots=True)
class Entry:
    """Requests of one kind in a row, told as one."""

    request: Request
    count: int
    last: datetime | None

    @property
    def sentence(self) -> str:
        """What happened."""
        return did(self.request, count=self.count)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add sources, filters, the bucket and output."""
    group = parser.add_argument_group("how much")
    group.add_argument(
        "--bucket", type=_seconds, metavar="TIME", help="length of a bar: 60, 5m, 1h (default: what fits)"
    )
    add_limit_argument(group, _USUAL_LIMIT, "in a table")
    parser.set_defaults(limit=None)
    add_filter_arguments(parser)
    add_source_arguments(parser)
    add_output_arguments(parser)


def _seconds(text: str) -> int:
    from kubewitness.event import microtime

    try:
        number = microtime.parse_duration(f"{text}s" if text.isdigit() else text) // 1_000_000
    except microtime.TimeError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of seconds nor a length of time such as 5m")
    return number


def run(args: argparse.Namespace) -> int:
    """Draw the histogram and tell the story."""
    output = output_of(args)
    is_screen = args.output in ("table", "wide")
    with open_log(args) as log, Progress("reading", log.fraction) as progress:
        seconds = _per_second(log)
        progress.stop()
        if is_screen:
            length_s = args.bucket or histogram.bucket_length(_span_s(seconds))
            for line in histogram.lines(_coarser(seconds, length_s), length_s, output):
                output.write(line)
            output.write("\n" if seconds else "")
        answer = log.query(select(COLUMNS))
        entries = merged(request_of(COLUMNS, row) for row in answer)
        limit = _USUAL_LIMIT if args.limit is None and is_screen else args.limit
        shown = _counting(itertools.islice(entries, limit or None))
        if is_screen:
            write_rows(((entry.request.received, entry.sentence) for entry in shown), _TABLE, args.output, output)
        else:
            write_rows(map(_data, shown), _DATA, args.output, output)
        total = sum(bucket.total for bucket in seconds.values())
        if shown.requests < total:
            say(f"{counted(total - shown.requests, 'more request')}; --limit 0 tells all")
        return conclude(log, args, found=total)


class _counting:  # noqa: N801 - reads as what it does to an iterable
    """Passes entries on and counts the requests in them."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = entries
        self.requests = 0

    def __iter__(self) -> Iterator[Entry]:
        for entry in self._entries:
            self.requests += entry.count
            yield entry


def merged(requests: Iterable[Request]) -> Iterator[Entry]:
    """Make one entry of the requests in a row that differ in nothing but time, or, when they are many, in name."""
    for _, group in itertools.groupby(requests, _likeness):
        alike = list(group)
        if len({request.name for request in alike}) > _NAMES_TOLD:
            yield Entry(msgspec.structs.replace(alike[0], name="*"), len(alike), alike[-1].received)
            continue
        for _, same in itertools.groupby(alike, lambda request: request.name):
            first, *rest = same
            yield Entry(first, 1 + len(rest), rest[-1].received if rest else first.received)


def _likeness(request: Request) -> tuple[object, ...]:
    command = tuple(request.exec_command) if request.exec_command else None
    path = None if request.resource else what(request)
    return (who(request), request.action, request.resource, request.subresource, request.api_group,
            request.namespace, request.outcome, request.code, command, path, bool(request.dryrun))  # fmt: skip


def _data(entry: Entry) -> tuple[object, ...]:
    request = entry.request
    return (request.received, entry.last, entry.count, who(request), request.action, what(request),
            request.outcome, request.code, entry.sentence)  # fmt: skip


def _per_second(log: Log) -> dict[datetime, histogram.Bucket]:
    answer = log.query(
        "SELECT date_trunc('second', received) AS second, count(*), "
        "count(*) FILTER (outcome IN ('denied', 'failed')) FROM events WHERE received IS NOT NULL GROUP BY 1"
    )
    return {second: histogram.Bucket(total, refused) for second, total, refused in answer}


def _span_s(seconds: dict[datetime, histogram.Bucket]) -> float:
    return (max(seconds) - min(seconds)).total_seconds() if seconds else 0


def _coarser(seconds: dict[datetime, histogram.Bucket], length_s: int) -> dict[datetime, histogram.Bucket]:
    totals: dict[datetime, list[int]] = defaultdict(lambda: [0, 0])
    for second, bucket in seconds.items():
        both = totals[histogram.bucket_start(second, length_s)]
        both[0] += bucket.total
        both[1] += bucket.refused
    return {start: histogram.Bucket(total, refused) for start, (total, refused) in totals.items()}
