"""
`kubewitness search`: find requests by who, what, where, when and result.

One row a request, its latest stage, ordered by time. The rows are the answer (standard output); what was read, what is
damaged and what could not have been recorded is said on standard error and in the exit code.
"""

import argparse
import itertools
import sys
from collections.abc import Iterable, Iterator

from kubewitness.cli.answer import conclude, say
from kubewitness.cli.columns import Shown, chosen, maker, reads_of
from kubewitness.cli.engine import open_log, select
from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.filters import add_filter_arguments, add_limit_argument, condition_of
from kubewitness.cli.progress import Progress
from kubewitness.cli.render.choose import add_output_arguments, output_of, write_events, write_rows
from kubewitness.cli.render.output import Output
from kubewitness.cli.sources import Place, SourceReport, add_source_arguments, damage_lines, sources_of, store_of

HELP = """Find requests by who, what, where, when and result.

  kubewitness search --user alice --verb delete audit.log
  kubewitness search --action exec --outcome allowed --since 7d /var/log/kubernetes/audit/
  kubewitness search --code 403 --user '!system:*' -o wide audit.log
  kubewitness search --audit-id 7f3c... --stages all -o jsonl audit.log"""

_WHOLE = ("jsonl", "json", "yaml")


_SAYS = "table fits the terminal, wide cuts nothing, jsonl keeps exact bytes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add sources, filters, limits and output."""
    add_filter_arguments(parser)
    add_source_arguments(parser)
    group = parser.add_argument_group("how much")
    add_limit_argument(group)
    group.add_argument("--count", action="store_true", help="print only how many there are")
    group.add_argument("-w", "--follow", action="store_true", help="go on as the file grows, until Ctrl-C")
    group.add_argument(
        "--show-sql", action="store_true", help="print the question as `sql` takes it, and do not ask it"
    )
    add_output_arguments(parser, says=_SAYS).add_argument(
        "--columns",
        metavar="A,B,...",
        help="show these: wire paths (objectRef.name), columns of `sql`, or time, user, object, from, ...",
    )


def run(args: argparse.Namespace) -> int:
    """Search and print."""
    shown = chosen(args.columns, args.output, is_stored=store_of(args) is not None)
    output = output_of(args)
    if args.follow:
        return _follow(args, shown, output)
    with open_log(args) as log, Progress("reading", log.fraction) as progress:
        if args.show_sql:
            sys.stdout.write(f"{log.statement(_statement(args, shown))}\n")
            return ExitCode.OK
        if args.count:
            count = log.count()
            progress.stop()
            sys.stdout.write(f"{count}\n")
        elif _is_whole(args):
            events = progress.until_first(log.raw(args.limit and args.limit + 1))
            count = write_events(itertools.islice(events, args.limit or None), args.output, output)
            _tell_more(events, args.limit)
        else:
            rows = progress.until_first(log.rows(reads_of(shown), args.limit and args.limit + 1))
            columns = [item.column for item in shown]
            first = itertools.islice(rows, args.limit or None)
            count = write_rows(map(maker(shown), first), columns, args.output, output)
            _tell_more(rows, args.limit)
        return conclude(log, args, found=count)


def _is_whole(args: argparse.Namespace) -> bool:
    """Tell whether whole events are wanted, not columns of them."""
    return args.output in _WHOLE and args.columns is None


def _statement(args: argparse.Namespace, shown: Iterable[Shown]) -> str:
    if args.count:
        return "SELECT count(*) FROM events"
    return select(reads_of(tuple(shown)), limit=args.limit and args.limit + 1)


def _tell_more(rest: Iterator[object], limit: int | None) -> None:
    """Say below the answer that there is more, if there is."""
    if limit and next(rest, None) is not None:
        say(f"the first {limit:,} are shown, there are more: raise --limit, or --count them")


def _follow(args: argparse.Namespace, shown: tuple[Shown, ...], output: Output) -> int:
    """Show what matches as it is written."""
    if args.where or args.count or args.show_sql:
        raise UserError("--follow goes with flags, not with --where, --count or --show-sql")
    from kubewitness.cli.event_rows import row_maker
    from kubewitness.cli.follow import Following, chunks_of, read_chunks
    from kubewitness.event.expr_values import Context
    from kubewitness.event.items import Damage

    following = Following(condition_of(args).filter, all_stages=args.stages == "all")
    if data := store_of(args):
        from kubewitness.cli.follow_store import read_store

        name, found = data, read_store(data, args.cluster)
    else:
        sources = sources_of(args)
        if len(sources) > 1:
            raise UserError("--follow takes one file, or standard input")
        name = "standard input" if sources == ["-"] else sources[0]
        found = read_chunks(chunks_of(sources[0]), name, Context(cluster=args.cluster, source=name))

    def tell_damage(damage: Damage) -> None:
        place = Place(damage.source, damage.offset, damage.line, damage.reason, damage.excerpt)
        for line in damage_lines(SourceReport(name, damaged=1, places=[place])):
            print(line, file=sys.stderr)  # noqa: T201 - made harmless by damage_lines

    records = itertools.islice(following.records(found, tell_damage), args.limit or None)
    if _is_whole(args):
        write_events((record.item.raw for record, _ in records), args.output, output, is_live=True)
    else:
        make, row = maker(shown), row_maker(reads_of(shown))
        rows = (make(row(record.event, context)) for record, context in records)
        write_rows(rows, [item.column for item in shown], args.output, output, is_live=True)
    return ExitCode.INCOMPLETE if following.damaged or following.unknown else ExitCode.OK
