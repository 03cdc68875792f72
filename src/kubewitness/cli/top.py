"""
`kubewitness top`: count requests by any fields, or weigh the bytes they cost in the log.

`--by user,verb,resource` groups; `bytes` among the names weighs and orders by bytes instead of by number. What is
weighed is every Event, as each stage of a request takes its place in the log; what is counted, one for a request.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from kubewitness.cli.answer import conclude, counted, say
from kubewitness.cli.columns import field_column, field_of
from kubewitness.cli.engine import Log, Stages, listed, open_log
from kubewitness.cli.filters import add_filter_arguments, add_limit_argument
from kubewitness.cli.progress import Progress
from kubewitness.cli.render.choose import add_output_arguments, output_of, write_rows
from kubewitness.cli.render.values import Column, Shrink
from kubewitness.cli.sources import add_source_arguments
from kubewitness.event.fields import Field

HELP = """Count requests by any fields, or weigh the bytes they cost in the log.

  kubewitness top audit.log
  kubewitness top --by user --outcome denied audit.log
  kubewitness top --by bytes,user,verb,resource audit.log"""

_USUAL_GROUPS = "user,verb,resource"
_BYTES = "bytes"
_USUAL_LIMIT = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add sources, what to count by, filters and output."""
    group = parser.add_argument_group("what to count")
    group.add_argument(
        "--by",
        metavar="A,B,...",
        default=_USUAL_GROUPS,
        help="fields to count by, and `bytes` to weigh: then of all stages (default: %(default)s)",
    )
    add_limit_argument(group, _USUAL_LIMIT)
    add_filter_arguments(parser)
    parser.set_defaults(stages=None)
    add_source_arguments(parser)
    add_output_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Count and print."""
    names = [name.strip() for name in args.by.split(",") if name.strip()]
    weighs = _BYTES in names
    fields = [field_of(name) for name in names if name != _BYTES] or list(map(field_of, _USUAL_GROUPS.split(",")))
    columns = [field.column for field in fields]
    stages: Stages = args.stages or ("all" if weighs else "latest")
    with open_log(args, stages=stages) as log, Progress("reading", log.fraction) as progress:
        rows = _weighed(log, columns) if weighs else _counted(log, columns)
        progress.stop()
        measures = len(rows[0]) - len(fields) if rows else 1
        total = sum(row[measures - 1] for row in rows)
        shown = rows[: args.limit or None]
        write_rows(
            [(*row[:measures], _share(row[measures - 1], total), *row[measures:]) for row in shown],
            [*_measures(stages, weighs=weighs), *map(_column, fields)],
            args.output,
            output_of(args),
        )
        if len(shown) < len(rows):
            say(f"{counted(len(rows) - len(shown), 'more group')}; --limit 0 shows all")
        return conclude(log, args, found=len(rows))


def _counted(log: Log, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    groups = listed(columns)
    statement = f"SELECT count(*), {groups} FROM events GROUP BY {groups} ORDER BY 1 DESC, {groups}"  # noqa: S608 - quoted
    return list(log.query(statement))


def _weighed(log: Log, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    """Count and weigh in one go: by what lines take, or by exact bytes where an event is not what its line is."""
    if not log.is_store:
        from kubewitness.look.query.relation import LINE_BYTES

        groups = listed(columns)
        size = "sum(_bytes - 1)::BIGINT"  # the line end is nobody's
        statement = f"SELECT count(*), {size}, {groups} FROM events GROUP BY {groups} ORDER BY 2 DESC, {groups}"  # noqa: S608 - quoted
        rows = list(log.query(statement, weights={"_bytes": (LINE_BYTES, "0")}))
        if log.has_lines_alone:
            return rows
    totals: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0])
    for group, bytes_ in log.weighed(columns):
        both = totals[tuple(tuple(value) if isinstance(value, list) else value for value in group)]
        both[0] += 1
        both[1] += bytes_
    found = [(count, bytes_, *group) for group, (count, bytes_) in totals.items()]
    return sorted(found, key=lambda row: (-row[1], *map(str, row[2:])))


def _measures(stages: Stages, *, weighs: bool) -> list[Column]:
    things = "events" if stages == "all" else "requests"
    names = [things, _BYTES, "share"] if weighs else [things, "share"]
    return [Column(name.upper(), name, Shrink.NEVER, is_right=True) for name in names]


def _column(field: Field) -> Column:
    return field_column(field.column, "USER" if field.column == "username" else field.column.upper()).column


def _share(part: int, total: int) -> str:
    return f"{100 * part / total:.1f}%" if total else "-"
