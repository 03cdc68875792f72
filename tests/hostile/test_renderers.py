"""The hostile corpus through every way an answer can be written."""

import csv
import io
import json
from datetime import datetime

import pytest
import yaml

from kubewitness.cli.render.choose import FORMATS, write_events, write_rows
from kubewitness.cli.render.output import Output
from kubewitness.cli.render.printable import width
from kubewitness.cli.render.values import Column, Shrink
from tests.hostile.corpus import HOSTILE, acts

COLUMNS = (
    Column("TIME", "requestReceivedTimestamp", Shrink.NEVER),
    Column("USER", "user.username", Shrink.MIDDLE),
    Column("CODE", "responseStatus.code", Shrink.NEVER, is_right=True),
    Column("AGENT", "userAgent"),
)
MOMENT = datetime(2026, 11, 23, 3, 9, 31, 42)  # noqa: DTZ001 - as a database gives it
ROWS = [(MOMENT, text, 200, text) for text in HOSTILE.values()]


def rendered(format_name: str, rows: list[tuple[object, ...]]) -> str:
    """What `rows` look like in a format, in 80 columns."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace", newline="")
    write_rows(rows, COLUMNS, format_name, Output(stream=stream))
    stream.flush()
    return stream.buffer.getvalue().decode("utf-8")  # type: ignore[attr-defined]


@pytest.mark.parametrize("format_name", FORMATS)
def test_nothing_acts_on_the_terminal(format_name):
    """No format of rows lets a control, escape, bidi, zero-width or invisible character through."""
    assert acts(rendered(format_name, ROWS)) == []


@pytest.mark.parametrize("format_name", ["table", "wide", "csv", "jsonl"])
@pytest.mark.parametrize("what", HOSTILE)
def test_one_row_is_one_line(format_name, what):
    """Whatever a value holds, its row is one line: nobody can add a row of his own."""
    assert rendered(format_name, [(MOMENT, HOSTILE[what], 200, "x")]).count("\n") == (format_name != "jsonl") + 1


@pytest.mark.parametrize("what", HOSTILE)
def test_a_value_stays_in_its_table_column(what):
    """Splitting a table line at two spaces gives the columns that were put in: nobody can fake a column."""
    line = rendered("wide", [(MOMENT, HOSTILE[what], 200, "x")]).splitlines()[1]
    assert len([part for part in line.split("  ") if part.strip()]) == len(COLUMNS)


@pytest.mark.parametrize("what", sorted(set(HOSTILE) - {"wide letters"}))
def test_a_table_fits_80_columns(what):
    """However long or odd a value is, no line of a table is wider than the terminal."""
    assert all(width(line) <= 80 for line in rendered("table", [(MOMENT, HOSTILE[what], 200, "x")]).splitlines())


@pytest.mark.parametrize("what", HOSTILE)
def test_no_csv_cell_is_a_formula(what):
    """No cell begins with what a spreadsheet takes for a formula, and the file reads back as the same cells."""
    rows = list(csv.reader(io.StringIO(rendered("csv", [(MOMENT, HOSTILE[what], -5, HOSTILE[what])]))))
    assert len(rows) == 2
    assert len(rows[1]) == len(COLUMNS)
    assert rows[1][1][:1] not in set("=+-@\t\r＝")
    assert rows[1][2] == "-5"


@pytest.mark.parametrize("format_name", ["jsonl", "json"])
@pytest.mark.parametrize("what", HOSTILE)
def test_json_means_the_same(format_name, what):
    """JSON reads back as the value that went in, surrogates included."""
    read = json.loads(rendered(format_name, [(MOMENT, HOSTILE[what], 200, "x")]))
    row = read[0] if format_name == "json" else read
    assert row["user.username"] == HOSTILE[what]
    assert row["requestReceivedTimestamp"] == "2026-11-23T03:09:31.000042Z"


@pytest.mark.parametrize("what", sorted(set(HOSTILE) - {"unpaired surrogate"}))
def test_yaml_means_the_same(what):
    """YAML reads back as the value that went in; an unpaired surrogate has no spelling that a reader takes."""
    assert yaml.safe_load(rendered("yaml", [(MOMENT, HOSTILE[what], 200, "x")]))[0]["user.username"] == HOSTILE[what]


def event(text: str) -> bytes:
    """An event whose user is called `text`, hostile characters raw where JSON allows it."""
    return json.dumps({"stage": "Panic", "user": {"username": text}}, ensure_ascii="\ud800" in text).encode()


def written(format_name: str, events: list[bytes]) -> bytes:
    """What whole events look like in a format."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")
    write_events(events, format_name, Output(stream=stream))
    stream.flush()
    return stream.buffer.getvalue()  # type: ignore[attr-defined]


def test_jsonl_of_events_is_exact():
    """jsonl is the evidence: byte for byte, hostile characters included."""
    events = [event(text) for text in HOSTILE.values()]
    assert written("jsonl", events) == b"".join(line + b"\n" for line in events)


@pytest.mark.parametrize("what", HOSTILE)
def test_json_of_events_is_harmless_and_means_the_same(what):
    """-o json shows the same values, with nothing that acts."""
    text = written("json", [event(HOSTILE[what])]).decode()
    assert acts(text) == []
    assert json.loads(text)[0]["user"]["username"] == HOSTILE[what]


@pytest.mark.parametrize("what", HOSTILE)
def test_yaml_of_events_is_harmless(what):
    """-o yaml shows nothing that acts."""
    assert acts(written("yaml", [event(HOSTILE[what])]).decode()) == []


@pytest.mark.parametrize("format_name", ["json", "yaml"])
@pytest.mark.parametrize(
    "odd",
    [
        b'{"a":' * 2000 + b"1" + b"}" * 2000,
        b'{"a":"\xff\xfe\x9b31m"}',
        b'{"a":"raw \x1b[2J and \xc2\x9b31m"}',
        b'{"a":"\\ud800"}',
    ],
)
def test_odd_bytes_are_shown_harmlessly(format_name, odd):
    """Too deep for a parser, not UTF-8, raw controls in a string: shown, escaped, never an error."""
    text = written(format_name, [odd]).decode()
    assert acts(text) == []
    assert "a" in text


@pytest.mark.parametrize("format_name", ["json", "yaml"])
def test_numbers_keep_their_text(format_name):
    """Numbers that a float cannot hold come out as the log wrote them."""
    text = written(format_name, [b'{"v":123456789012345678901234567890,"f":1e999,"g":1.10}']).decode()
    assert all(number in text for number in ("123456789012345678901234567890", "1e999", "1.10"))
