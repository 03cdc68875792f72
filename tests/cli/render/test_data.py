"""CSV: the same bytes as the standard library's writer makes of the same cells."""

import csv
import io
from datetime import UTC

from hypothesis import given
from hypothesis import strategies as st

from kubewitness.cli.render.data import csv_cell, write_csv
from kubewitness.cli.render.output import Output
from kubewitness.cli.render.values import UNKNOWN, Column

TEXTS = st.text(alphabet="a ,\"'\r\n=;\u202e", max_size=6)
TIMES = st.datetimes(timezones=st.sampled_from([None, UTC]))
VALUES = st.one_of(TEXTS, st.none(), st.integers(-9, 9), TIMES, st.just(UNKNOWN), st.lists(TEXTS, max_size=2))


def written(rows: list[tuple[object, ...]], names: list[str], *, is_live: bool) -> str:
    """What `write_csv` writes."""
    stream = io.StringIO(newline="")
    assert write_csv(rows, [Column(name, name) for name in names], Output(stream=stream), is_live=is_live) == len(rows)
    return stream.getvalue()


def by_the_library(rows: list[tuple[object, ...]], names: list[str]) -> str:
    """The slow twin: one cell after the other through `csv`."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows([[csv_cell(cell) for cell in row] for row in [tuple(names), *rows]])
    return stream.getvalue()


@given(st.integers(1, 3).flatmap(lambda n: st.lists(st.tuples(*[VALUES] * n), max_size=4)), st.booleans())
def test_csv_is_what_the_library_writes(rows: list[tuple[object, ...]], is_live: bool) -> None:
    """Commas, quotes, line ends, a lone empty cell: quoted as `csv` quotes them, live or in batches."""
    names = ["user.username", 'a"b', "c,d"][: len(rows[0]) if rows else 3]
    assert written(rows, names, is_live=is_live) == by_the_library(rows, names)
    for column in zip(*rows, strict=True):  # columns of one kind go another way
        alone = [(cell, cell) for cell in column if type(cell) is type(column[0])]
        assert written(alone, names[:1] * 2, is_live=is_live) == by_the_library(alone, names[:1] * 2)
