"""Tables: fitted to the terminal, or cut nowhere."""

import io
from datetime import datetime

from kubewitness.cli.render import table as table_module
from kubewitness.cli.render.output import Output
from kubewitness.cli.render.table import write_table
from kubewitness.cli.render.values import UNKNOWN, Column, Shrink, Tone

COLUMNS = (
    Column("TIME", "time", Shrink.NEVER),
    Column("USER", "user", Shrink.MIDDLE),
    Column("OBJECT", "object", Shrink.MIDDLE),
    Column("CODE", "code", Shrink.NEVER, is_right=True, tone=lambda value: Tone.BAD if value == 403 else None),
)


def at(day: int, second: int) -> datetime:
    """A time as a database gives it: naive, UTC."""
    return datetime(2026, 11, day, 3, 9, second, 500)  # noqa: DTZ001


def table(rows: list[tuple[object, ...]], width: int = 80, **settings: bool) -> str:
    """The table of `rows` on a terminal of this width."""
    stream = io.StringIO()
    is_wide = settings.pop("is_wide", False)
    sample = 0 if settings.pop("is_live", False) else 1000
    write_table(rows, COLUMNS, Output(stream=stream, width=width, **settings), is_wide=is_wide, sample=sample)
    return stream.getvalue()


def test_a_table_that_fits_is_not_touched():
    """Columns are as wide as their longest cell, numbers stand right, no line ends in spaces."""
    assert table([(at(23, 1), "alice", "pods a/b", 200), (at(23, 2), "bob", "-", None)]) == (
        "TIME                  USER   OBJECT    CODE\n"
        "2026-11-23T03:09:01Z  alice  pods a/b   200\n"
        "2026-11-23T03:09:02Z  bob    -            -\n"
    )


def test_a_table_for_a_pipe_cuts_nothing():
    """Where no width has to be kept, every cell is whole and keeps its date."""
    lines = table([(at(23, 1), "a" * 90, "pods a/b", 200)], width=36, may_cut=False).splitlines()
    assert lines[1] == f"2026-11-23T03:09:01Z  {'a' * 90}  pods a/b   200"


def test_a_shared_day_moves_into_the_heading_when_space_is_short():
    """Before anything is cut, the one day of all rows leaves the cells."""
    assert table([(at(23, 1), "alice", "pods a/b", 200)], width=36) == (
        "2026-11-23  USER   OBJECT    CODE\n03:09:01Z   alice  pods a/b   200\n"
    )


def test_two_days_stay_in_the_cells():
    """Rows of different days keep their full time, however narrow the terminal."""
    assert "2026-11-24T03:09:01Z" in table([(at(23, 1), "a", "b", 1), (at(24, 1), "a", "b", 1)], width=20)


def test_one_long_value_does_not_cut_the_others():
    """Where one row is long and many are short, the one is cut: the fewest letters are lost."""
    rows = [(at(23, 1), "u" * 30, "o" * 20, 200), *[(at(23, 1), "u", "o" * 20, 200)] * 9]
    lines = table(rows, width=60).splitlines()
    assert lines[1] == f"03:09:01Z   uuuuuuu…{'u' * 12}  {'o' * 20}   200"
    assert "…" not in "".join(lines[2:])


def test_cuts_are_marked_and_keep_the_ends():
    """Of a name that is cut, the end stays longer than the beginning: there names differ."""
    row = (at(23, 1), "system:serviceaccount:kube-system:node-controller", "pods default/a", 200)
    assert table([row], width=60).splitlines()[1] == "03:09:01Z   system:se…:node-controller  pods default/a   200"


def test_wide_cuts_nothing():
    """Wide shows every character and microseconds, whatever the terminal."""
    shown = table([(at(23, 1), "u" * 200, "o" * 200, 200)], is_wide=True)
    assert "u" * 200 in shown
    assert "o" * 200 in shown
    assert "2026-11-23T03:09:01.000500Z" in shown


def test_absent_empty_and_unknown_differ():
    """What the log lacks, what it holds as empty text, and what it could not hold look different."""
    assert table([(None, "", UNKNOWN, None)]).splitlines()[1].split() == ["-", '""', "unknown", "-"]


def test_values_that_are_equal_but_not_alike_differ():
    """1 is True and 1.0 to Python; each is written as what it is, whichever came before."""
    values = [1, True, 1.0, "1", 0, False, None, "None"]
    lines = table([(None, "a", value, None) for value in (*values, *reversed(values))]).splitlines()[1:]
    written = ["1", "true", "1.0", "1", "0", "false", "-", "None"]
    assert [line.split()[2] for line in lines] == [*written, *reversed(written)]


def test_more_values_than_are_kept_are_written_alike(monkeypatch):
    """What was written before is forgotten at times, and written again."""
    rows = [(None, f"user-{number % 7}", "x", number) for number in range(50)] * 2
    expected = table(rows)
    monkeypatch.setattr(table_module, "_MOST_KNOWN", 3)
    assert table(rows) == expected


def test_no_rows_no_heading():
    """An empty table prints nothing: the sentence about it goes to standard error."""
    assert table([]) == ""


def test_headings_can_be_left_out():
    """--no-headers leaves only rows."""
    assert table([(at(23, 1), "a", "b", 1)], has_headers=False).startswith("2026-11-23T")


def test_colour_goes_round_the_text_only():
    """Colour is added to the cell, not to the filling, so that columns still stand."""
    shown = table([(at(23, 1), "a", "b", 403)], has_colour=True)
    assert "  \x1b[31m403\x1b[0m\n" in shown
    assert "\x1b[1mUSER\x1b[0m" in shown


def test_live_rows_need_no_sample():
    """With rows that come one by one the heading is written first and each row at once."""
    lines = table([(at(23, 1), "a", "b", 200)], is_live=True).splitlines()
    assert lines[0].startswith("TIME")
    assert lines[1].startswith("2026-11-23T03:09:01Z")


def test_people_keep_the_beginning_and_accounts_the_end():
    """A cut user name keeps what tells it from others: jane@..., ...:node-controller."""
    columns = (Column("USER", "user", Shrink.USER),)
    stream = io.StringIO()
    rows = [("jane@some-long-domain.example",), ("system:serviceaccount:kube-system:node-controller",)]
    write_table(rows, columns, Output(stream=stream, width=20))
    assert stream.getvalue() == "USER\njane@some-long-doma…\nsystem:…e-controller\n"


def test_a_column_is_not_cut_below_its_least():
    """An address stays whole while another column can give way."""
    columns = (Column("A", "a", Shrink.MIDDLE, least_width=15), Column("B", "b", Shrink.MIDDLE, weight=2))
    stream = io.StringIO()
    write_table([("198.51.100.240", "b" * 40)], columns, Output(stream=stream, width=30))
    assert "198.51.100.240" in stream.getvalue()
