"""
The flags that choose how an answer looks, and the writer they choose.

`-o table|wide|jsonl|json|yaml|csv`, `--no-headers`, `--color`; defaults from KUBEWITNESS_OUTPUT and KUBEWITNESS_COLOR.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from kubewitness.cli.defaults import env_choice
from kubewitness.cli.render.output import Output, may_cut, terminal_width, wants_colour
from kubewitness.cli.render.values import Column

T = TypeVar("T")

FORMATS = ("table", "wide", "jsonl", "json", "yaml", "csv")
_COLOURS = ("auto", "always", "never")


_SAYS = "table fits the terminal, wide cuts nothing"


def add_output_arguments(
    parser: argparse.ArgumentParser, formats: Sequence[str] = FORMATS, *, says: str = _SAYS
) -> "argparse._ArgumentGroup":
    """Add the flags every command with an answer of rows takes; `says` tells what the formats are good for."""
    group = parser.add_argument_group("output")
    group.add_argument(
        "-o",
        "--output",
        choices=formats,
        metavar="FORMAT",
        default=env_choice("KUBEWITNESS_OUTPUT", FORMATS, formats[0], among=formats),
        help=f"{', '.join(formats)} (default: %(default)s, or KUBEWITNESS_OUTPUT); {says}",
    )
    group.add_argument("--no-headers", action="store_true", help="leave out the heading line of table, wide and csv")
    group.add_argument(
        "--color",
        choices=_COLOURS,
        metavar="WHEN",
        default=env_choice("KUBEWITNESS_COLOR", _COLOURS, "auto"),
        help="auto, always or never (default: %(default)s, or KUBEWITNESS_COLOR); NO_COLOR is respected",
    )
    return group


def output_of(args: argparse.Namespace) -> Output:
    """Give standard output as the flags want it."""
    return Output(
        stream=sys.stdout,
        width=terminal_width(),
        has_colour=wants_colour(args.color, sys.stdout),
        has_headers=not args.no_headers,
        may_cut=may_cut(sys.stdout),
    )


def write_rows(
    rows: Iterable[Sequence[object]],
    columns: Sequence[Column],
    format_name: str,
    output: Output,
    *,
    is_live: bool = False,
) -> int:
    """Write `rows` in a format of `FORMATS`; give how many there were. `is_live` shows each row at once."""
    from kubewitness.cli.render import data, table  # not before they are needed: an answer may be on its way by then

    if is_live:
        rows = _flushing(rows, output)
    match format_name:
        case "table" | "wide":
            sample = 0 if is_live else table.SAMPLE_ROWS
            return table.write_table(rows, columns, output, is_wide=format_name == "wide", sample=sample)
        case "jsonl":
            return data.write_jsonl(rows, columns, output)
        case "json":
            return data.write_json(rows, columns, output)
        case "yaml":
            return data.write_yaml(rows, columns, output)
        case "csv":
            return data.write_csv(rows, columns, output, is_live=is_live)
    raise AssertionError(format_name)


def _flushing(rows: Iterable[T], output: Output) -> Iterator[T]:
    for row in rows:
        yield row
        output.flush()


def write_events(raw: Iterable[bytes], format_name: str, output: Output, *, is_live: bool = False) -> int:
    """Write whole events in jsonl (exact), json or yaml; give how many there were."""
    from kubewitness.cli.render import events

    if is_live:
        raw = _flushing(raw, output)
    match format_name:
        case "jsonl":
            return events.write_events_jsonl(raw, output)
        case "json":
            return events.write_events_json(raw, output)
        case "yaml":
            return events.write_events_yaml(raw, output)
    raise AssertionError(format_name)
