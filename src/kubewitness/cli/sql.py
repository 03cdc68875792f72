"""
`kubewitness sql`: ask in SQL over the relation `events`.

The engine is DuckDB, locked down: it reads the sources named here and nothing else. Both the flat columns (`resource`)
and the wire paths (`objectRef.resource`) can be written.
"""

import argparse

from kubewitness.cli.answer import conclude
from kubewitness.cli.engine import open_log
from kubewitness.cli.errors import UserError
from kubewitness.cli.progress import Progress
from kubewitness.cli.render.choose import add_output_arguments, output_of, write_rows
from kubewitness.cli.render.values import Column, Shrink
from kubewitness.cli.sources import add_source_arguments

HELP = """Ask in SQL over `events` (one row an event, every stage) or `requests` (one row a request, its latest stage).

  kubewitness sql "SELECT username, count(*) FROM events WHERE code = 403 GROUP BY ALL ORDER BY 2 DESC" audit.log
  kubewitness sql "SELECT requestReceivedTimestamp, user.username FROM events WHERE objectRef.resource = 'secrets'" -
  kubewitness sql "DESCRIBE events" audit.log"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the statement, sources and output."""
    parser.add_argument("statement", metavar="SQL", help="one SELECT in the SQL of DuckDB")
    add_source_arguments(parser)
    parser.usage = "%(prog)s [flags] SQL [SRC...]"
    add_output_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Ask and print."""
    if not {" ", "\t", "\n", "("} & set(args.statement):
        raise UserError(f"{args.statement!r} is no question: SQL comes first, between quotes, then the files")
    with open_log(args, stages="all") as log, Progress("reading", log.fraction) as progress:
        answer = log.query(args.statement)
        columns = [
            _column(name, is_number=is_number) for name, is_number in zip(answer.names, answer.are_numbers, strict=True)
        ]
        count = write_rows(progress.until_first(answer), columns, args.output, output_of(args))
        return conclude(log, args, found=count)


def _column(name: str, *, is_number: bool) -> Column:
    return Column(name, name, Shrink.NEVER if is_number else Shrink.MIDDLE, is_right=is_number)
