"""
Write rows as a table that fits the terminal, or as a wide one that cuts nothing; nothing is cut in a pipe either.

The first rows (`SAMPLE_ROWS`) decide the widths; later rows stream through them. When a table is too wide, first the
date that all sampled rows share moves into the heading of the time column, then columns that may shrink give
way so that the fewest letters are lost, the cut marked by an ellipsis. A cell never holds what could pass for a
column's end.
"""

import functools
import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from kubewitness.cli.render.output import Output
from kubewitness.cli.render.printable import cell, fit, pad, width
from kubewitness.cli.render.values import UNKNOWN, Column, Shrink, Tone, rfc3339, text_of

# Enough to see the usual values of every column; small enough to be on the screen at once.
SAMPLE_ROWS = 1000
_GAP = "  "
_MOST_KNOWN = 1 << 12
_COMING_AGAIN = frozenset({str, int, type(None)})  # not bool, of which 1 is an equal

Row = Sequence[object]


def write_table(
    rows: Iterable[Row], columns: Sequence[Column], output: Output, *, is_wide: bool = False, sample: int = SAMPLE_ROWS
) -> int:
    """Write `rows`; give how many there were."""
    stream = iter(rows)
    first = list(itertools.islice(stream, sample))
    table = _Table(columns, first, output, is_wide=is_wide)
    if output.has_headers and (first or sample == 0):
        output.write(table.heading())
    count = 0
    for row in itertools.chain(first, stream):
        output.write(table.line(row))
        count += 1
    return count


def _tone(value: object) -> Tone | None:
    return Tone.FAINT if value is None or value is UNKNOWN else None


def _keeps_end(column: Column, text: str) -> bool:
    # people differ at the beginning of their names (jane@...), accounts of the system at the end
    return column.shrink is Shrink.MIDDLE or (column.shrink is Shrink.USER and text.startswith("system:"))


class _Table:
    """The widths and the way of writing each column, decided on a sample."""

    def __init__(self, columns: Sequence[Column], sample: Sequence[Row], output: Output, *, is_wide: bool) -> None:
        self._columns = columns
        self._output = output
        self._timespec = "microseconds" if is_wide else "seconds"
        self._titles = [cell(column.title) for column in columns]
        self._day: list[str | None] = [None] * len(columns)
        self._cuts = output.may_cut and not is_wide
        self._known = [_Known(self, at) for at in range(len(columns))]
        self._measure(sample)
        if not self._cuts:
            return
        if self._total() > output.width and self._share_days(sample):
            self._measure(sample)
        self._shrink()

    def heading(self) -> str:
        return _joined([self._set(at, title, Tone.STRONG) for at, title in enumerate(self._titles)])

    def line(self, row: Row) -> str:
        return _joined(
            [
                known[value] if type(value) in _COMING_AGAIN else known.written(value)  # type: ignore[index]
                for known, value in zip(self._known, row, strict=True)
            ]
        )

    def written(self, at: int, value: object) -> str:
        """Write a value as it stands in its column: cut, filled and coloured."""
        tone = self._columns[at].tone or _tone
        return self._set(at, self._cell(at, value), tone(value))

    def _set(self, at: int, text: str, tone: Tone | None) -> str:
        column, cells_wide = self._columns[at], self._widths[at]
        if self._cuts and column.shrink is not Shrink.NEVER:
            text = fit(text, cells_wide, self._output.ellipsis, keep_end=_keeps_end(column, text))
        # colour goes round the text, not the filling, and the last column is not filled: no trailing spaces
        is_filled = column.is_right or at < len(self._columns) - 1
        filled = pad(text, cells_wide, right=column.is_right) if is_filled else text
        return filled.replace(text, self._output.paint(text, tone), 1) if text else filled

    def _cell(self, at: int, value: object) -> str:
        column = self._columns[at]
        if value is None:
            return "-"
        if isinstance(value, datetime):
            text = rfc3339(value, timespec=self._timespec)
            day = self._day[at]
            return text.removeprefix(f"{day}T") if day else text
        return cell((column.text or text_of)(value)) or '""'

    def _measure(self, sample: Sequence[Row]) -> None:
        """Count how many cells of each column have which width; each column as wide as its widest."""
        # without a sample (rows come one by one, as they happen) the usual width of each column has to do
        self._counts = [
            Counter({width(title): 1, 0 if sample else column.usual_width: 1})
            for title, column in zip(self._titles, self._columns, strict=True)
        ]
        for row in sample:
            for at, value in enumerate(row):
                self._counts[at][width(self._cell(at, value))] += 1
        self._widths = [max(counts) for counts in self._counts]

    def _total(self) -> int:
        return sum(self._widths) + len(_GAP) * (len(self._widths) - 1)

    def _share_days(self, sample: Sequence[Row]) -> bool:
        """Move the one day of a time column into its heading; tell whether any column had one."""
        for at in range(len(self._columns)):
            moments = [row[at] for row in sample if row[at] is not None]
            days = {rfc3339(moment)[:10] for moment in moments if isinstance(moment, datetime)}
            if len(days) == 1 and all(isinstance(moment, datetime) for moment in moments):
                self._day[at] = days.pop()
                self._titles[at] = str(self._day[at])
        return any(self._day)

    def _shrink(self) -> None:
        """Take cells from the columns that may shrink, each time where the fewest rows are cut, until the line fits."""
        free = [at for at, column in enumerate(self._columns) if column.shrink is not Shrink.NEVER]
        cut = {at: self._counts[at][self._widths[at]] for at in free}
        while self._total() > self._output.width:
            able = [at for at in free if self._widths[at] > self._columns[at].least_width]
            if not able:
                return
            # the rows that lose a letter, weighed a little by what is left: a letter of twelve tells more than of fifty
            at = min(able, key=lambda at: (self._columns[at].weight * cut[at] / self._widths[at] ** 0.5, at))
            self._widths[at] -= 1
            cut[at] += self._counts[at][self._widths[at]]


class _Known(dict[str | int | None, str]):
    """Cells of one column whose values have come before: names come again and again."""

    def __init__(self, table: _Table, at: int) -> None:
        super().__init__()
        self.written = functools.partial(table.written, at)

    def __missing__(self, value: str | int | None) -> str:
        if len(self) >= _MOST_KNOWN:
            self.clear()
        written = self[value] = self.written(value)
        return written


def _joined(cells: Sequence[str]) -> str:
    return f"{_GAP.join(cells).rstrip(' ')}\n"
