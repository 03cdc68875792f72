"""What is to be read, and what is said about it."""

import argparse
import io

import pytest

from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.sources import (
    Place,
    SourceReport,
    add_source_arguments,
    damage_lines,
    sources_of,
    store_of,
    summary,
    tell,
)


def parsed(*arguments: str) -> argparse.Namespace:
    """The arguments as a command gets them."""
    parser = argparse.ArgumentParser()
    add_source_arguments(parser)
    return parser.parse_args(arguments)


def test_files_are_taken_as_named(tmp_path):
    """Names come back in the order given, - among them."""
    log = tmp_path / "audit.log"
    log.touch()
    assert sources_of(parsed(str(log), "-")) == [str(log), "-"]


def test_a_misspelt_file_gets_a_hint(tmp_path):
    """A name that is nearly there is proposed."""
    (tmp_path / "audit.log").touch()
    with pytest.raises(UserError, match=r"audit\.lgo: no such file or directory; did you mean .*audit\.log\?"):
        sources_of(parsed(str(tmp_path / "audit.lgo")))


def test_a_link_that_leads_nowhere_is_not_its_own_hint(tmp_path):
    """It is not there, and its name is not misspelt."""
    link = tmp_path / "audit.log"
    link.symlink_to("nowhere")
    with pytest.raises(UserError, match=r"no such file or directory$"):
        sources_of(parsed(str(link)))


def test_an_empty_directory_is_an_error(tmp_path):
    """Nothing to read is said, not searched."""
    with pytest.raises(UserError, match="the directory is empty"):
        sources_of(parsed(str(tmp_path)))


def test_a_store_is_named_or_comes_from_the_variable(tmp_path):
    """--data wins over KUBEWITNESS_DATA, files over both; what is no directory is said at once."""
    here = str(tmp_path)
    assert store_of(parsed("--data", here), {"KUBEWITNESS_DATA": "/x"}) == here
    assert store_of(parsed(), {"KUBEWITNESS_DATA": here}) == here
    assert store_of(parsed("audit.log"), {"KUBEWITNESS_DATA": here}) is None
    assert store_of(parsed(), {}) is None
    with pytest.raises(UserError, match="no such directory"):
        store_of(parsed("--data", "/x"), {})
    with pytest.raises(UserError, match="not both"):
        store_of(parsed("--data", here, "audit.log"), {})


def test_files_win_over_the_variable(tmp_path):
    """KUBEWITNESS_DATA is a default, so files named on the command line are read."""
    log = tmp_path / "audit.log"
    log.touch()
    assert store_of(parsed(str(log)), {"KUBEWITNESS_DATA": "/x"}) is None


def test_a_pipe_is_read_without_being_named(monkeypatch):
    """Without SRC a piped standard input is the source; a terminal is not."""
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert sources_of(parsed()) == ["-"]
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    with pytest.raises(UserError, match="nothing to read"):
        sources_of(parsed())


DAMAGED = SourceReport(
    "audit.log",
    form="EventList body",
    events=7,
    damaged=3,
    places=(Place("audit.log", 1234, 7, "truncated JSON", b'{"kind":"Event\x1b[2J'),),
)


def test_damage_is_one_line_and_exit_code_4(capsys):
    """The summary names form, count, the first place and reason; the answer is incomplete."""
    assert tell([DAMAGED]) is ExitCode.INCOMPLETE
    assert capsys.readouterr().err == (
        "audit.log: EventList body; 7 events; 3 places damaged (first at line 7, byte 1234: truncated JSON)\n"
        "what is damaged is not in the answer; --show-damage lists every place\n"
    )


def test_each_place_can_be_listed():
    """--show-damage gives place, reason and a harmless excerpt, and counts what it does not list."""
    assert damage_lines(DAMAGED) == [
        r'audit.log: line 7, byte 1234: truncated JSON: {"kind":"Event\x1b[2J',
        "audit.log: 2 more damaged places are not listed",
    ]


def test_a_clean_file_is_not_mentioned(capsys):
    """Silence when nothing is odd; -v says what was recognised."""
    clean = SourceReport("audit.log")
    assert tell([clean]) is ExitCode.OK
    assert capsys.readouterr().err == ""
    tell([clean], is_verbose=True)
    assert capsys.readouterr().err == "audit.log: one event a line; 0 events\n"


def test_repaired_lines_are_no_damage(capsys):
    """What needed help but is in the answer is noted, and does not make it incomplete."""
    report = SourceReport("a.log", repaired=2, notes=["byte order mark skipped"])
    assert tell([report]) is ExitCode.OK
    assert capsys.readouterr().err == "a.log: one event a line; 0 events; byte order mark skipped\n"


def test_many_odd_files_are_bounded(capsys):
    """Of a hundred odd files ten are told, the damaged ones first; -v tells of all."""
    reports = [SourceReport(f"{number}.log", notes=["odd"]) for number in range(100)]
    tell([*reports, DAMAGED])
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("audit.log")
    assert said[10] == "91 more files are unusual or damaged; -v tells of each"
    tell(reports, is_verbose=True)
    assert len(capsys.readouterr().err.splitlines()) == 100


def test_a_cloud_is_named():
    """The dialect stands beside the form."""
    assert summary(SourceReport("a.log", dialect="eks", events=3)) == "a.log: one event a line, eks; 3 events"
