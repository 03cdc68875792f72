"""Colour, width and the letters a stream can show."""

import io

import pytest

from kubewitness.cli.render.output import Output, may_cut, terminal_width, wants_colour


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("choice", "is_terminal", "env", "expected"),
    [
        ("auto", True, {}, True),
        ("auto", False, {}, False),
        ("auto", True, {"NO_COLOR": "1"}, False),
        ("auto", True, {"NO_COLOR": ""}, True),
        ("auto", True, {"TERM": "dumb"}, False),
        ("auto", False, {"FORCE_COLOR": "1"}, True),
        ("auto", False, {"FORCE_COLOR": "0"}, False),
        ("auto", True, {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        ("always", False, {"NO_COLOR": "1"}, True),
        ("never", True, {"FORCE_COLOR": "1"}, False),
    ],
)
def test_who_decides_about_colour(choice, is_terminal, env, expected):
    """The flag, then NO_COLOR, then FORCE_COLOR, then the terminal."""
    assert wants_colour(choice, Terminal() if is_terminal else io.StringIO(), env) is expected


def test_the_width_comes_from_columns(monkeypatch):
    """COLUMNS is believed."""
    monkeypatch.setenv("COLUMNS", "123")
    assert terminal_width() == 123


def test_tables_are_cut_for_people_only():
    """A terminal or COLUMNS has a width to keep to; a pipe has none, and a cut would hide a name from grep."""
    assert may_cut(Terminal(), {})
    assert may_cut(io.StringIO(), {"COLUMNS": "80"})
    assert not may_cut(io.StringIO(), {})


def test_the_ellipsis_is_one_the_stream_can_show():
    """A stream that knows no ellipsis gets a tilde."""
    assert Output(stream=io.TextIOWrapper(io.BytesIO(), encoding="latin-1")).ellipsis == "~"
    assert Output(stream=io.TextIOWrapper(io.BytesIO(), encoding="utf-8")).ellipsis == "…"
