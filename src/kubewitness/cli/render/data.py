r"""
Write rows for other programs: csv, json, jsonl, yaml.

CSV follows RFC 4180 with one row a line (line ends inside a value are escaped like every other control) and a `'`
before a cell that a spreadsheet would take for a formula. JSON and YAML come out in ASCII: `\u202e` in JSON means the
same as the raw character, and shows harmlessly. Exact bytes of events are in `events.py`.
"""

import itertools
from collections.abc import Iterable, Sequence
from datetime import datetime

from kubewitness.cli.render.output import Output
from kubewitness.cli.render.printable import printable
from kubewitness.cli.render.values import Column, json_text, rfc3339, text_of
from kubewitness.cli.render.yamltext import yaml_text

# What Excel, LibreOffice and Google Sheets start a formula with, full-width forms included; tab and CR hide one.
_FORMULA_STARTS = frozenset("=+-@\t\r\n＝＋－＠")

Row = Sequence[object]


_BATCH_ROWS = 1024
_MOST_KNOWN = 1 << 16
_TEXTS = {str, type(None)}
_QUOTE = '"'
_EMPTY = '""'


def write_csv(rows: Iterable[Row], columns: Sequence[Column], output: Output, *, is_live: bool = False) -> int:
    """Write `rows` as CSV; give how many there were. `is_live` writes each row before the next is asked for."""
    known = _Known()
    if output.has_headers:
        output.write(_lines([[known[column.name]] for column in columns]))
    count = 0
    rows = iter(rows)
    while batch := list(itertools.islice(rows, 1 if is_live else _BATCH_ROWS)):
        output.write(_lines([_csv_cells(values, known) for values in zip(*batch, strict=True)]))
        count += len(batch)
        if len(known) > _MOST_KNOWN:
            known.clear()
    return count


def _lines(columns: Sequence[Iterable[str]]) -> str:
    """Put cells of each column side by side, a line for each row."""
    if len(columns) == 1:  # an empty line is no row for many readers
        return "".join([f"{cell or _EMPTY}\n" for cell in columns[0]])
    return "\n".join([*map(",".join, zip(*columns, strict=True)), ""])


def _quoted(cell: str) -> str:
    """Write a cell as RFC 4180 does: in quotes where it holds a comma, a quote or a line end."""
    if "," in cell or _QUOTE in cell or "\n" in cell or "\r" in cell:
        return f'"{cell.replace(_QUOTE, _QUOTE * 2)}"'
    return cell


class _Known(dict[str | None, str]):
    """Cells of texts that have come before, in quotes where needed: names come again and again."""

    def __missing__(self, text: str | None) -> str:
        written = self[text] = _quoted(csv_cell(text))
        return written


def _csv_cells(values: Sequence[object], known: _Known) -> Iterable[str]:
    """Write values of one column, as `csv_cell` does each."""
    kinds = set(map(type, values))
    if kinds <= _TEXTS:
        return map(known.__getitem__, values)  # type: ignore[arg-type]
    if kinds == {int}:  # not bool, which is another type
        return map(str, values)
    if kinds == {datetime}:
        return map(rfc3339, values)  # type: ignore[arg-type]
    return (_quoted(csv_cell(value)) for value in values)


def csv_cell(value: object) -> str:
    """Write one value for CSV, harmless to terminals and to spreadsheets."""
    text = text_of(value)
    # numbers are ours, not the log's: a negative one is a number, not a formula
    if text[:1] in _FORMULA_STARTS and text and not isinstance(value, int | float):
        return f"'{printable(text)}"
    return printable(text)


def write_jsonl(rows: Iterable[Row], columns: Sequence[Column], output: Output) -> int:
    """Write each row as one JSON object on a line, members named by wire path; give how many there were."""
    names = [column.name for column in columns]
    count = 0
    for row in rows:
        output.write(f"{json_text(dict(zip(names, row, strict=True)))}\n")
        count += 1
    return count


def write_json(rows: Iterable[Row], columns: Sequence[Column], output: Output) -> int:
    """Write all rows as one JSON array of objects; give how many there were."""
    names = [column.name for column in columns]
    count = 0
    output.write("[")
    for row in rows:
        output.write(f"{',' if count else ''}\n  {json_text(dict(zip(names, row, strict=True)))}")
        count += 1
    output.write("\n]\n" if count else "]\n")
    return count


def write_yaml(rows: Iterable[Row], columns: Sequence[Column], output: Output) -> int:
    """Write all rows as one YAML list of mappings; give how many there were."""
    names = [column.name for column in columns]
    count = 0
    for row in rows:
        output.write(yaml_text([dict(zip(names, row, strict=True))]))
        count += 1
    if not count:
        output.write("[]\n")
    return count
