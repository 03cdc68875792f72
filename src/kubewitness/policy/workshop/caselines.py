"""
A table of cases: a line of headings, then a case a line; columns are divided by `|`, or by two blanks or more.

`-` stands for nothing, a line that begins with `#` is a remark. `kubectl` and `case` hold blanks as they stand.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kubewitness.policy.tree import Mark

_GAP = re.compile(r"\s{2,}|\t")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table by heading, and where it stands. `error`: the line has other columns than the headings."""

    mark: Mark
    cells: Mapping[str, str]
    error: str = ""


def rows_of(text: str, first_line: int) -> Iterator[Row]:
    """Give the rows of a table whose text begins at a line of the file."""
    headings: list[str] = []
    for offset, line in enumerate(text.split("\n")):
        stripped = line.strip()
        if not stripped or stripped.startswith("#") or not stripped.strip("|-+ :"):
            continue
        mark = Mark(first_line + offset, len(line) - len(line.lstrip()) + 1)
        cells = _cells(stripped)
        if not headings:
            headings = cells
            if len(set(headings)) != len(headings):
                yield Row(mark, {}, "a heading stands there twice")
            continue
        if len(cells) != len(headings):
            yield Row(mark, {}, f"{len(cells)} columns under {len(headings)} headings; - stands for nothing")
            continue
        yield Row(mark, {name: cell for name, cell in zip(headings, cells, strict=True) if cell not in ("", "-")})


def _cells(line: str) -> list[str]:
    if "|" in line:
        return [cell.strip() for cell in line.strip("|").split("|")]
    return _GAP.split(line)
