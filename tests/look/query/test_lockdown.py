"""An engine that opens the files of its question and no others, however it was made."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubewitness.look.query import lockdown
from kubewitness.look.query.tabulate import DuckTabulator


@pytest.fixture
def _on_one_processor() -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.usefixtures("_on_one_processor")
@pytest.mark.skipif(os.cpu_count() == 1, reason="there is but one processor")
def test_an_engine_takes_no_more_processors_than_it_may_use() -> None:
    """Not those of the machine: where one is allowed, there is one thread."""
    asked = lockdown.locked(["/dev/null"])
    tabulator = DuckTabulator("prod")
    for connection in (asked, tabulator._connection):
        assert connection.execute("SELECT current_setting('threads')").fetchall() == [(1,)]
    asked.close()
    tabulator.close()


def test_an_engine_made_ahead_is_used_once(tmp_path: Path) -> None:
    """It is locked down as any other, and the next who asks gets one of its own."""
    path = tmp_path / "other.log"
    path.write_bytes(b"{}\n")
    lockdown.begin()
    lockdown.begin()
    first, second = lockdown.locked(["/dev/null"]), lockdown.locked(["/dev/null"])
    assert first is not second
    for connection in (first, second):
        with pytest.raises(lockdown.engine_errors(), match="disabled by configuration"):
            connection.execute(f"FROM read_ndjson('{path}')")
        connection.close()


def test_an_error_that_is_no_lack_is_about_the_question() -> None:
    """Whatever its words are."""
    connection = lockdown.locked([])
    with pytest.raises(lockdown.engine_errors()) as raised:
        connection.execute("SELECT error('No space left')").fetchall()
    assert lockdown.lack(raised.value) is None
    assert str(lockdown.told(raised.value)) == "No space left"
    connection.close()
