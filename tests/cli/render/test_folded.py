"""Prose on a terminal breaks between words; elsewhere a line stays a line."""

import io

from kubewitness.cli.render.folded import folded


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


LINE = "  policy.yaml:7:70: wrong KW203: users are compared letter for letter, there is no globbing"


def test_a_terminal_gets_whole_words():
    """No line is wider than the terminal, no word is cut, and what is continued stands deeper."""
    lines = folded(LINE, Terminal(), width=40).split("\n")
    assert len(lines) == 3
    assert max(map(len, lines)) <= 40
    assert " ".join(line.strip() for line in lines) == LINE.strip()
    assert lines[0].startswith("  policy")
    assert all(line.startswith("      ") for line in lines[1:])


def test_a_word_wider_than_the_terminal_stays_whole():
    """A name that can be copied is worth more than a straight edge."""
    assert "x" * 60 in folded(f"at {'x' * 60} end", Terminal(), width=40).split("\n")[1]


def test_a_pipe_gets_the_line_as_it_is():
    """grep finds what stands on one line."""
    assert folded(LINE, io.StringIO(), width=40) == LINE


def test_a_short_line_is_not_touched():
    """Spaces inside it stay."""
    assert folded("a   b", Terminal(), width=40) == "a   b"
