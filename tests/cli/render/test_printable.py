"""Making hostile text fit to be seen."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kubewitness.cli.render.printable import cell, fit, pad, printable, width
from tests.hostile.corpus import HOSTILE, acts

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=40)
TROUBLE = st.text(st.sampled_from(list('\\x1bu202eU\x1b\u202e 0\U000e0041a"')), max_size=24)


def original(shown: str) -> str:
    """Undo the escape as its description says: an odd run of backslashes before an escape is ours."""

    def undo(match: re.Match[str]) -> str:
        run, code = match[1], match[2]
        half = "\\" * (len(run) // 2)
        return half + (chr(int(code[1:], 16)) if len(run) % 2 else code)

    return re.sub(r"(\\+)(x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})", undo, shown)


@pytest.mark.parametrize("what", HOSTILE)
def test_the_corpus_becomes_harmless(what):
    """Nothing of the corpus acts afterwards, and each can be told from every other."""
    assert acts(printable(HOSTILE[what])) == []
    assert "\n" not in printable(HOSTILE[what])
    assert original(printable(HOSTILE[what])) == HOSTILE[what]


@given(ANY_TEXT | TROUBLE)
@example("\\\x1b")
@example(r"\\x1b")
def test_the_escape_is_one_to_one(text):
    """The original can be read back from what is shown, in a message and in a cell."""
    assert original(printable(text)) == text
    assert original(cell(text)) == text


@given(ANY_TEXT | TROUBLE)
def test_a_cell_holds_no_column_boundary(text):
    """A cell never begins or ends with a space, and never holds two in a row."""
    assert "  " not in cell(text)
    assert cell(text) == cell(text).strip()


@pytest.mark.parametrize(
    "text", ["alice", r"CORP\jane", "system:serviceaccount:a:b", "Jürgen", "日本語", "a b", "naïve é"]
)
def test_ordinary_text_is_left_alone(text):
    """Names of people of all scripts, service accounts and domains stay as they are."""
    assert printable(text) == cell(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("\u202e", r"\u202e"),
        ("\U000e0041", r"\U000e0041"),
        ("\ud800", r"\ud800"),
        (r"\x1b", r"\\x1b"),
        ("a\nb", r"a\x0ab"),
    ],
)
def test_escapes_are_those_people_know(text, shown):
    """Controls read \\x1b, the basic plane \\u202e, the rest \\U000e0041."""
    assert printable(text) == shown


def test_spaces_that_fake_columns_are_shown():
    """The second space of a run, and one at either end, read \\x20 in a cell."""
    assert cell(" a  b c ") == r"\x20a \x20b c\x20"


@pytest.mark.parametrize(("text", "cells"), [("abc", 3), ("日本", 4), ("e\u0301", 1), ("ｱ", 1), ("", 0)])
def test_width_counts_cells(text, cells):
    """Wide letters take two cells, marks none."""
    assert width(text) == cells


@given(ANY_TEXT, st.integers(1, 20), st.booleans())
def test_fit_never_exceeds(text, cells, keep_end):
    """What is cut fits, and what fits is not cut."""
    shown = printable(text)
    cut = fit(shown, cells, keep_end=keep_end)
    assert width(cut) <= cells
    assert cut == shown or width(shown) > cells


def test_fit_can_keep_both_ends():
    """The end of a long name tells more than its middle."""
    assert fit("system:serviceaccount:kube-system:node-controller", 20, keep_end=True) == "system:…e-controller"


def test_pad_counts_cells():
    """A wide letter is filled up as two."""
    assert pad("日", 4) == "日  "
    assert pad("7", 3, right=True) == "  7"
