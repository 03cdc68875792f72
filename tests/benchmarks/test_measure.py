"""Measuring and judging: what is timed, counted and called a MISS."""

import sys
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.measure import Command, CommandError, Measured, Run, interleave, ratio, run
from benchmarks.report import Limit, Target


def _measured(name: str, *walls: float, results: int = 1) -> Measured:
    runs = tuple(Run(wall, cpu_s=wall, max_rss_mb=10, anonymous_mb=5, results=results) for wall in walls)
    return Measured(Command(name, "true"), runs)


def test_a_run_is_timed_and_its_results_counted(tmp_path: Path) -> None:
    """Wall time covers the whole command; results are the lines it prints."""
    done = run(Command("three", "sleep 0.1; printf '1\\n2\\n3\\n'"), tmp_path)
    assert done.wall_s >= 0.1
    assert done.results == 3


def test_memory_of_children_is_seen(tmp_path: Path) -> None:
    """Anonymous memory is that of the command and what it starts, together."""
    grow = f"{sys.executable} -c 'import time; held = bytearray(60_000_000); time.sleep(0.4)'"
    done = run(Command("grow", f"{grow} | cat"), tmp_path)
    assert 60 < done.anonymous_mb < 200
    assert done.max_rss_mb > 60


def test_a_failing_contestant_stops_the_run(tmp_path: Path) -> None:
    """An exit code that is not the contestant's own raises, with what it said; in a pipe too."""
    with pytest.raises(CommandError, match="no such thing"):
        run(Command("bad", "echo no such thing >&2; exit 3"), tmp_path)
    with pytest.raises(CommandError):
        run(Command("pipe", "false | cat"), tmp_path)
    assert run(Command("known", "exit 3", exit_codes=(3,)), tmp_path).results == 0


def test_contestants_take_turns(tmp_path: Path) -> None:
    """A B A B, not A A B B."""
    turns = tmp_path / "turns"
    commands = [Command(name, f"echo {name} >> {turns}", is_slow=name == "C") for name in "ABC"]
    measured = interleave(commands, 2, tmp_path, lambda _: None)
    assert turns.read_text().split() == ["A", "B", "A", "B", "C"]  # what is slow runs once
    assert [len(entry.runs) for entry in measured] == [2, 2, 1]


def test_a_ratio_is_taken_within_a_round() -> None:
    """A slow round slows both, and does not count against one."""
    assert ratio(_measured("a", 2, 20, 2), _measured("b", 1, 10, 1)) == 2
    assert ratio(_measured("a", 2, 20, 3), _measured("slow", 30)) == 0.1  # one run of a slow one: medians


@pytest.mark.parametrize(("wall", "is_met"), [(1.0, True), (1.24, True), (1.3, False)])
def test_a_target_missed_is_called_so(wall: float, is_met: bool) -> None:
    """At most 1.25 times the peer's time is asked."""
    (judged,) = report.judge([Target("a", "b", 1.25)], [_measured("a", wall), _measured("b", 1.0)])
    assert judged.is_met is is_met
    assert ("MISS" in judged.row()) is not is_met


def test_a_speed_target_reads_as_times_faster() -> None:
    """Asked 15x faster, measured 20x faster."""
    (judged,) = report.judge([Target("a", "b", 1 / 15)], [_measured("a", 1.0), _measured("b", 20.0)])
    assert judged.row() == "| a | 20.0x faster | >= 15x faster than b | met |"


def test_a_bar_in_a_name_stays_in_its_cell() -> None:
    """`rg | jq` is one cell of a table, as subject and as peer."""
    (judged,) = report.judge([Target("a", "rg | jq", 1.5)], [_measured("a", 1.0), _measured("rg | jq", 1.0)])
    assert judged.row() == "| a | 1.00x the time | <= 1.5x the time of rg \\| jq | met |"
    assert "| rg \\| jq | 1 | 1 |" in report.table([_measured("rg | jq", 1.0)])


def test_a_target_whose_peer_is_absent_is_not_judged() -> None:
    """A tool that is not on the machine is left out."""
    assert report.judge([Target("a", "b", 1.0)], [_measured("a", 1.0)]) == []


def test_disagreeing_contestants_are_noticed() -> None:
    """Answers must be equal in number, in every run."""
    assert report.agree([_measured("a", 1, results=3), _measured("b", 1, results=3)])
    assert not report.agree([_measured("a", 1, results=3), _measured("b", 1, results=4)])


def test_limits_have_a_direction() -> None:
    """A ceiling is not to be passed, a floor is to be reached."""
    assert not Limit("memory", 601, 600, "MB").is_met
    assert Limit("decisions", 200_000, 150_000, "/s", is_ceiling=False).is_met
    assert "MISS" in Limit("decisions", 100_000, 150_000, "/s", is_ceiling=False).row()


def test_the_table_shows_results_and_ratios_to_the_first() -> None:
    """Each contestant has a row with its results and its ratio."""
    text = report.table([_measured("a", 1.0, results=1234), _measured("b", 2.5, results=1234)])
    assert "| a | 1 | 1,234 | 1.000 | 1.000 | 1.00 | 1.00x | 10 | 5 |" in text
    assert "| b | 1 | 1,234 | 2.500 | 2.500 | 2.50 | 2.50x | 10 | 5 |" in text
