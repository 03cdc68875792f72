"""What a line takes: told beside the engine where each row is a line, and by the engine itself everywhere else."""

import gzip
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
import zstandard

from kubewitness.look.query import scan_lengths
from kubewitness.look.query.relation import LINE_BYTES, Reading
from kubewitness.look.query.run import Events, open_events
from kubewitness.look.query.scan import Scan
from kubewitness.look.query.scan_lengths import LENGTHS, Measure
from tests.look.query.test_shape_sql import lines_of

WEIGHTS = {"_bytes": (LINE_BYTES, "0")}
SQL = "SELECT audit_id, stage, verb, username, _bytes FROM events ORDER BY ALL"


def weighed(source: Path, where: str = "TRUE") -> tuple[list[tuple[object, ...]], set[Reading], int]:
    """Give what each Event takes, how its lines were read, and how many are damaged."""
    with open_events([str(source)]) as log:
        answer = log.query(SQL, stages="all", weights=WEIGHTS, where=where)
        assert log._scan is not None
        return list(answer), {part.reading for part in log._scan.parts}, answer.account.damaged


def twin(source: Path, where: str = "TRUE") -> list[tuple[object, ...]]:
    """Give the same from lines that are parsed twice."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Measure, "keep", lambda *_: False)
        rows, readings, _ = weighed(source, where)
    assert Reading.STRICT not in readings
    return rows


def sizes(lines: list[bytes]) -> list[int]:
    """Give the lengths of lines with their ends."""
    return sorted(len(line) + 1 for line in lines)


@pytest.mark.parametrize("name", ["full", "metadata", "security"])
def test_recorded_logs_weigh_what_their_lines_take(name: str, tmp_path: Path) -> None:
    """Each line of a clean log is measured beside the engine, and weighs the same as when it is parsed twice."""
    lines = lines_of(name)
    source = tmp_path / "audit.log"
    source.write_bytes(b"".join(line + b"\n" for line in lines))
    rows, readings, damaged = weighed(source)
    assert (readings, damaged) == ({Reading.STRICT}, 0)
    assert sorted(row[-1] for row in rows) == sizes(lines)
    assert rows == twin(source)


def test_a_condition_leaves_each_line_its_own_length(tmp_path: Path) -> None:
    """Rows that a condition leaves out do not move the lengths of the others."""
    lines = lines_of("metadata")
    source = tmp_path / "audit.log"
    source.write_bytes(b"".join(line + b"\n" for line in lines))
    rows, readings, _ = weighed(source, "verb = 'list'")
    assert readings == {Reading.STRICT}
    assert sorted(row[-1] for row in rows) == sizes([line for line in lines if b'"verb":"list"' in line])
    assert rows == twin(source, "verb = 'list'")


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_packed_logs_are_measured_in_blocks(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """What is unpacked is measured where it is laid out."""
    lines = lines_of("metadata")
    source = tmp_path / "audit.log"
    source.write_bytes(pack(b"".join(line + b"\n" for line in lines)))
    rows, readings, _ = weighed(source)
    assert readings == {Reading.STRICT}
    assert sorted(row[-1] for row in rows) == sizes(lines)


ODD = {
    "empty lines": (lambda a, b: a + b"\n\n\n" + b + b"\n", True),
    "blanks around": (lambda a, b: b"  " + a + b" \t\n" + b + b"\r\n", False),
    "blank lines": (lambda a, b: a + b"\n   \n" + b + b"\n", False),
    "two on a line": (lambda a, b: a + b + b"\n" + a + b"\n", False),
    "no end": (lambda a, b: a + b"\n" + b, True),
    "a list on a line": (lambda a, b: a + b"\n[" + b + b"]\n", False),
    "not json": (lambda a, b: a + b"\n{oops}\n" + b + b"\n", False),
    "torn": (lambda a, b: a + b"\n" + b[: len(b) // 2] + b"\n" + a + b"\n", False),
    "no event": (lambda a, b: a + b'\n{"kind":"Pod"}\n' + b + b"\n", True),
    "a wrong type": (lambda a, b: a + b"\n" + re.sub(b'"verb":"[a-z]*"', b'"verb":5', b) + b"\n", True),
    "no user": (lambda a, b: a + b"\n" + re.sub(b'"user":{.*?},"s', b'"user":"me","s', b) + b"\n", False),
    "letters beyond": (lambda a, b: a + b"\n" + b.replace(b"kubectl", "kübectl\u2028".encode()) + b"\n", True),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_files_weigh_what_the_engine_says(name: str, tmp_path: Path) -> None:
    """Whatever stands between and around the Events, each weighs its own line, whoever has measured it."""
    make, is_measured = ODD[name]
    first, *_, last = (line for line in lines_of("metadata") if b'"verb"' in line)
    source = tmp_path / "audit.log"
    source.write_bytes(make(first, last))
    rows, readings, _ = weighed(source)
    assert (Reading.STRICT in readings) is is_measured
    assert rows == twin(source)
    assert rows


def test_a_file_that_grows_is_measured_again(tmp_path: Path) -> None:
    """Rows that came after the first look at the file have their lengths, too; of one that shrank, none is known."""
    source, fd = tmp_path / "audit.log", os.memfd_create("lengths")
    source.write_bytes(b"{}\n{ }\n")
    with duckdb.connect() as connection:
        connection.execute(LENGTHS)
        connection.execute("CREATE TABLE hits AS SELECT 0 AS _part FROM range(3)")
        with Measure(str(source), fd) as measure:
            measure._thread.join()
            assert not measure.keep(connection, 0, 3)
            source.write_bytes(b"{}\n{ }\n{  }\n{   }\n")
            assert measure.keep(connection, 0, 3)
        assert connection.execute("SELECT * FROM lengths").fetchall() == [(0, 3), (1, 4), (2, 5)]
        with Measure(str(tmp_path / "gone"), fd) as measure:
            assert not measure.keep(connection, 0, 1)
    os.close(fd)


def test_lines_across_chunks_are_measured_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a chunk ends, and however much longer a line is than one."""
    monkeypatch.setattr(scan_lengths, "_CHUNK_BYTES", 16)
    lengths = [2, 13, 14, 15, 16, 17, 30, 31, 32, 33, 2, 2, 200, 3]
    source, fd = tmp_path / "audit.log", os.memfd_create("lengths")
    source.write_bytes(b"".join(b"{" + b" " * (length - 2) + b"}\n" for length in lengths))
    with Measure(str(source), fd) as measure:
        measure._thread.join()
        assert os.pread(fd, 1 << 16, 0).split() == [b"%d" % (length + 1) for length in lengths]
        assert measure.bytes_read >= sum(lengths)
    monkeypatch.setattr(scan_lengths, "_LONGEST_BYTES", 64)
    with Measure(str(source), fd) as measure:
        measure._thread.join()
        assert measure._lines is None
    os.close(fd)


def test_an_interrupted_question_leaves_no_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends the INSERT ends the measuring."""
    source = tmp_path / "audit.log"
    source.write_bytes(lines_of("metadata")[0] + b"\n")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Scan, "_insert_select", interrupted)
    before = threading.active_count()
    with open_events([str(source)]) as log, pytest.raises(KeyboardInterrupt):
        log.query(SQL, stages="all", weights=WEIGHTS)
    assert threading.active_count() == before
    assert Events([]).bytes_measured == 0
