"""A live log file, read over whatever happens to it: every line once, nothing invented, losses told."""

import gzip
import hashlib
import os
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kubewitness.emit.backends.rotate import RotatingFile, compress
from kubewitness.event import logfiles
from kubewitness.event.items import Damage
from kubewitness.keep.receiver.logtail import LogTail, State


def _line(number: int, size: int = 0) -> bytes:
    return b'{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"%d","x":"%s"}\n' % (number, b"x" * size)


def _fingerprint(head: bytes) -> str:
    return hashlib.sha256(head).hexdigest()


class Reader:
    """A tail that may be stopped and started, and what it gave."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.alerts: list[str] = []
        self.lines: list[bytes] = []
        self.damage: list[bytes] = []
        self.tail = self._new(None)

    def _new(self, state: State | None) -> LogTail:
        return LogTail(self.path, _fingerprint, state, self.alerts.append)

    def poll(self) -> list[bytes]:
        found = []
        for read in self.tail.poll():
            if isinstance(read.part, Damage):
                self.damage.append(read.raw)
            else:
                found.append(read.part.raw + b"\n")
        self.lines += found
        return found

    def restart(self) -> None:
        state = self.tail.state
        self.tail.close()
        self.tail = self._new(state)

    def close(self) -> None:
        self.tail.close()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The path of a log that is not there yet."""
    return tmp_path / "audit.log"


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def _rotate(path: Path, second: int, *, is_packed: bool = False) -> Path:
    name = path.with_name(logfiles.format_name(path.name, 1_767_225_600_000_000 + second * 1_000_000))
    path.rename(name)
    os.utime(name, (1_767_225_600 + second, 1_767_225_600 + second))
    if is_packed:
        packed = Path(f"{name}.gz")
        packed.write_bytes(gzip.compress(name.read_bytes()))
        name.unlink()
        return packed
    return name


def test_lines_are_whole(log: Path) -> None:
    """A line is given when its end has come, however slowly; one of 2 MB like any other."""
    reader = Reader(log)
    assert reader.poll() == []
    big = _line(1, 2 << 20)
    for cut in range(0, len(big), 300_001):
        _append(log, big[cut : cut + 300_001])
        found = reader.poll()
        assert found == ([big] if cut + 300_001 >= len(big) else [])
    _append(log, _line(2)[:20])
    assert reader.poll() == []
    reader.restart()
    _append(log, _line(2)[20:] + _line(3))
    assert reader.poll() == [_line(2), _line(3)]
    assert reader.alerts == []
    reader.close()


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("is_restarted", [False, True])
def test_rotation(log: Path, is_packed: bool, is_restarted: bool) -> None:
    """What was written to the old file before the new one began is read, also when it was packed meanwhile."""
    reader = Reader(log)
    for number in range(5):
        _append(log, _line(3 * number))
        reader.poll()
        _append(log, _line(3 * number + 1) + _line(3 * number + 2))
        if is_restarted:
            reader.restart()
        _rotate(log, number, is_packed=is_packed)
    _append(log, _line(15))
    reader.poll()
    reader.poll()
    assert reader.lines == [_line(number) for number in range(16)]
    assert reader.alerts == []
    reader.close()


def test_what_was_there_before_is_read_first(log: Path) -> None:
    """A new tail begins with the oldest rotated file; files of other names are left alone."""
    for number in range(3):
        _append(log, _line(number))
        _rotate(log, number, is_packed=number == 0)
    _append(log, _line(3))
    (log.parent / "audit-other.log").write_bytes(_line(99))
    (log.parent / "audit.log.bak").write_bytes(_line(98))
    reader = Reader(log)
    assert reader.poll() == [_line(number) for number in range(4)]
    reader.close()


def test_truncation_is_seen_and_told(log: Path) -> None:
    """`copytruncate` begins the file anew; also when it has grown beyond where we were."""
    reader = Reader(log)
    _append(log, _line(1))
    reader.poll()
    log.write_bytes(b"")
    reader.poll()
    _append(log, _line(2))
    assert reader.poll() == [_line(2)]
    log.write_bytes(_line(3) + _line(4))
    assert reader.poll() == [_line(3), _line(4)]
    assert len(reader.alerts) == 2
    assert all("was truncated" in alert for alert in reader.alerts)
    reader.close()


def test_deletion_is_told_and_the_file_read_on(log: Path) -> None:
    """While the writer holds the file that somebody deleted, its lines still come; then those of the new one."""
    reader = Reader(log)
    with log.open("ab", buffering=0) as writer:
        writer.write(_line(1))
        reader.poll()
        log.unlink()
        writer.write(_line(2))
        reader.poll()
        writer.write(_line(3))
        reader.poll()
    log.write_bytes(_line(4))
    reader.poll()
    assert reader.lines == [_line(number) for number in (1, 2, 3, 4)]
    assert [alert for alert in reader.alerts if "was deleted" in alert] == reader.alerts
    assert len(reader.alerts) == 1
    reader.close()


def test_another_file_in_its_place(log: Path) -> None:
    """A file that was put in the place of the log is read, after the old one, and somebody hears of it."""
    reader = Reader(log)
    _append(log, _line(1))
    reader.poll()
    _append(log, _line(2))
    (log.parent / "new").write_bytes(_line(3))
    (log.parent / "new").rename(log)
    reader.poll()
    assert reader.lines == [_line(1), _line(2), _line(3)]
    assert ["another file was put" in alert for alert in reader.alerts] == [True]
    reader.close()


def test_pruned_while_we_were_away(log: Path) -> None:
    """Where the file that was being read is gone, it is said that something may be lost, and newer files are read."""
    _append(log, _line(1))
    os.utime(log, (1_767_225_600, 1_767_225_600))
    reader = Reader(log)
    reader.poll()
    reader.restart()
    state = reader.tail.state
    assert state is not None
    _rotate(log, 10).unlink()
    _append(log, _line(2))
    _rotate(log, 20)
    _append(log, _line(3))
    reader.poll()
    assert reader.lines == [_line(1), _line(2), _line(3)]
    assert ["is gone" in alert for alert in reader.alerts] == [True]
    reader.close()


def test_what_is_no_event(log: Path) -> None:
    """A line that is none is given with its bytes; a link in the place of the log is not followed."""
    reader = Reader(log)
    _append(log, b"alien\n" + _line(1))
    reader.poll()
    assert (reader.lines, reader.damage) == ([_line(1)], [b"alien"])
    reader.close()
    (log.parent / "elsewhere").write_bytes(_line(2))
    log.unlink()
    log.symlink_to(log.parent / "elsewhere")
    reader = Reader(log)
    assert reader.poll() == []


@pytest.mark.parametrize("is_restarted", [False, True])
@pytest.mark.parametrize("is_packed", [False, True])
def test_logs_begin_alike(log: Path, is_restarted: bool, is_packed: bool) -> None:
    """A file of which less is there than tells logs apart is not taken for an older one that was packed."""
    reader = Reader(log)
    _append(log, _line(1))
    reader.poll()
    _rotate(log, 10, is_packed=True)
    _append(log, _line(2)[:30])
    os.utime(log, (1_767_225_615, 1_767_225_615))
    assert reader.poll() == []
    if is_restarted:
        reader.restart()
    _rotate(log, 20, is_packed=is_packed)
    _append(log, _line(3))
    reader.poll()
    reader.close()
    assert (reader.lines, len(reader.damage), reader.alerts) == ([_line(1), _line(3)], 1, [])


@settings(max_examples=60, deadline=None)
@example(steps=["write", "rotate", "pack", "half", "poll", "restart"])
@given(steps=st.lists(st.sampled_from(["write", "half", "poll", "restart", "rotate", "pack", "big"]), max_size=40))
def test_every_line_once(tmp_path_factory: pytest.TempPathFactory, steps: list[str]) -> None:
    """Whatever comes between: each line is given once, in order."""
    log = tmp_path_factory.mktemp("log") / "audit.log"
    reader = Reader(log)
    number, clock, rest = 0, 0, b""  # the rest of a line of which the beginning is written
    for step in steps:
        if step in ("write", "big", "half"):
            if rest:
                _append(log, rest)
                rest = b""
            line = _line(number, 70_000 if step == "big" else 0)
            number += 1
            if step == "half":
                line, rest = line[:30], line[30:]
            _append(log, line)
            os.utime(log, (1_767_225_600 + clock, 1_767_225_600.5 + clock))
        elif step == "poll":
            reader.poll()
        elif step == "restart":
            reader.restart()
        elif step == "rotate" and log.exists() and not rest:
            clock += 1
            _rotate(log, clock)
        elif step == "pack" and (plain := [p for p in log.parent.iterdir() if p.suffix == ".log" and p != log]):
            compress(min(plain))
    _append(log, rest + _line(number))
    for _ in range(3):
        reader.poll()
    reader.close()
    numbers = [int(line.split(b'"auditID":"')[1].split(b'"')[0]) for line in reader.lines]
    assert numbers == list(range(number + 1))
    assert (reader.damage, reader.alerts) == ([], [])


def test_the_real_writer(tmp_path: Path) -> None:
    """Over rotations of the log backend itself, with packing, every line comes once and in order."""
    from kubewitness.emit.backends.options import Rotation

    log = tmp_path / "audit.log"
    rotation = Rotation(max_bytes=1 << 20, is_compressed=True)
    writer = RotatingFile(log, rotation, lambda: time.time_ns() // 1000, lambda work: work())
    reader = Reader(log)
    for number in range(400):
        writer.write(_line(number, 15_000))
        if number % 17 == 0:
            reader.poll()
        if number % 97 == 0:
            reader.restart()
    writer.close()
    for _ in range(3):
        reader.poll()
    assert reader.lines == [_line(number, 15_000) for number in range(400)]
    assert reader.alerts == []
    assert len(list(tmp_path.glob("*.gz"))) > 3
    reader.close()
