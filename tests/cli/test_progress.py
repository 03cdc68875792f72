"""The progress bar: only for people, only when the work lasts, gone when it ends."""

import io
import time

import pytest

from kubewitness.cli.progress import Progress, bar


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_nothing_is_drawn_off_a_terminal():
    """A pipe or a file never sees a bar."""
    stream = io.StringIO()
    with Progress("reading", lambda: 0.5, stream, patience_s=0):
        time.sleep(0.05)
    assert stream.getvalue() == ""


def test_short_work_draws_nothing():
    """Work within the patience leaves no flicker."""
    stream = Terminal()
    with Progress("reading", lambda: 0.5, stream):
        pass
    assert stream.getvalue() == ""


def test_the_bar_goes_before_the_first_row():
    """Rows come on a clean line: the bar is cleared before the first of them."""
    stream = Terminal()
    with Progress("reading", lambda: 0.5, stream, patience_s=0) as progress:
        while "50%" not in stream.getvalue():
            time.sleep(0.005)
        for _ in progress.until_first([1]):
            assert stream.getvalue().endswith("\r\x1b[K")


def test_the_bar_goes_on_ctrl_c():
    """An interrupt leaves a clean line behind."""
    stream = Terminal()

    def work() -> None:
        with Progress("reading", lambda: 0.5, stream, patience_s=0):
            while not stream.getvalue():
                time.sleep(0.005)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert stream.getvalue().endswith("\r\x1b[K")


def test_a_bar_says_how_far_and_how_long():
    """A quarter in ten seconds leaves thirty."""
    assert bar("reading", 0.25, 10) == "reading [######..................]  25%, 30 s left"
    assert bar("reading", None, 3) == "reading ... 3 s"


def test_a_hostile_file_name_does_not_act():
    """The label is made harmless like everything else."""
    stream = Terminal()
    with Progress("\x1b[2J", lambda: None, stream, patience_s=0):
        while not stream.getvalue():
            time.sleep(0.005)
    assert "\x1b[2J" not in stream.getvalue()
