"""Rotation: no line lost, names and modes as lumberjack's, pruning by number and age, whatever the clock does."""

import errno
import gzip
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubewitness.emit.backends.options import Rotation
from kubewitness.emit.backends.rotate import RotatingFile, compress, free_name, plan
from kubewitness.event import logfiles
from kubewitness.event.microtime import DAY_US, parse

START_US = parse("2026-11-23T03:11:14.360000Z")
BASE = "kube-audit.log"


class Disk:
    """A folder, a clock that goes when told, and the log in it."""

    def __init__(self, folder: Path, rotation: Rotation) -> None:
        self.folder = folder / "made" / "here"
        self.rotation = rotation
        self.now_us = START_US
        self.start()

    def start(self) -> None:
        self.file = RotatingFile(self.folder / BASE, self.rotation, lambda: self.now_us, lambda tidy: tidy())

    def restart(self) -> None:
        self.file.close()
        self.start()

    @property
    def names(self) -> list[str]:
        return logfiles.in_order((path.name for path in self.folder.iterdir()), BASE)

    def content(self, name: str) -> bytes:
        raw = (self.folder / name).read_bytes()
        return gzip.decompress(raw) if name.endswith(".gz") else raw

    def lines(self) -> list[bytes]:
        return b"".join(map(self.content, self.names)).splitlines(keepends=True)


@contextmanager
def disk(rotation: Rotation) -> Iterator[Disk]:
    with tempfile.TemporaryDirectory() as folder:
        made = Disk(Path(folder), rotation)
        yield made
        made.file.close()


@dataclass(frozen=True)
class Write:
    length: int


@dataclass(frozen=True)
class Clock:
    by_us: int


@dataclass(frozen=True)
class Restart:
    pass


def steps(*, may_step_back: bool) -> st.SearchStrategy[list[Write | Clock | Restart]]:
    lowest = -3 * DAY_US if may_step_back else 0
    clock = st.sampled_from([0, 1_000, 60_000_000, DAY_US, DAY_US + 1]) | st.integers(lowest, 3 * DAY_US)
    return st.lists(st.integers(12, 130).map(Write) | clock.map(Clock) | st.just(Restart()), min_size=1, max_size=30)


def play(log: Disk, todo: list[Write | Clock | Restart]) -> list[bytes]:
    written = []
    for number, step in enumerate(todo):
        match step:
            case Write(length):
                line = f"{number:04d}:{'x' * (length - 6)}\n".encode()
                log.file.write(line)
                written.append(line)
            case Clock(by_us):
                log.now_us += by_us
            case Restart():
                log.restart()
    return written


@settings(max_examples=60, deadline=None)
@given(steps(may_step_back=True), st.booleans())
def test_without_pruning_no_line_is_lost(todo: list[Write | Clock | Restart], is_compressed: bool) -> None:
    """Whatever the clock does and however often the server starts anew, every line is in some file, whole, once."""
    with disk(Rotation(100, is_compressed=is_compressed)) as log:
        written = play(log, todo)
        assert sorted(log.lines()) == sorted(written)


@settings(max_examples=60, deadline=None)
@given(steps(may_step_back=False), st.booleans())
def test_with_a_clock_that_goes_on_the_files_are_in_order(
    todo: list[Write | Clock | Restart], is_compressed: bool
) -> None:
    """Read in the order of their names, the files give the lines in the order in which they were written."""
    with disk(Rotation(100, is_compressed=is_compressed)) as log:
        written = play(log, todo)
        assert log.lines() == written


@settings(max_examples=60, deadline=None)
@given(steps(may_step_back=True), st.integers(0, 3), st.integers(0, 2), st.booleans())
def test_what_is_on_the_disk(
    todo: list[Write | Clock | Restart], max_backups: int, max_age_days: int, is_compressed: bool
) -> None:
    """Sizes, numbers, ages, suffixes and modes are within what was asked for after every step."""
    with disk(Rotation(100, max_backups, max_age_days, is_compressed)) as log:
        play(log, todo)
        log.file.tidy()
        rotated = [logfiles.parse(path.name, BASE) for path in log.folder.iterdir() if path.name != BASE]
        assert None not in rotated
        assert max_backups == 0 or len(rotated) <= max_backups
        for found in filter(None, rotated):
            assert max_age_days == 0 or found.rotated_us >= log.now_us - max_age_days * DAY_US
            assert found.compression == (".gz" if is_compressed else "")
        for path in log.folder.iterdir():
            lines = log.content(path.name).splitlines(keepends=True)
            assert sum(map(len, lines)) <= 100 or len(lines) == 1
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for folder in (log.folder, log.folder.parent):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@settings(max_examples=60, deadline=None)
@given(steps(may_step_back=False), st.integers(1, 3))
def test_pruning_by_number_takes_the_oldest(todo: list[Write | Clock | Restart], max_backups: int) -> None:
    """With a clock that goes on, what is left is the end of what was written."""
    with disk(Rotation(100, max_backups)) as log:
        written = play(log, todo)
        left = log.lines()
        assert left == written[len(written) - len(left) :]
        assert len(log.names) == max_backups + 1 or left == written
        assert len(log.names) <= max_backups + 1


def test_the_name_of_a_rotated_file() -> None:
    """UTC to the millisecond, with dashes in the time, between the name and its suffix."""
    with disk(Rotation(20)) as log:
        log.file.write(b"a" * 19 + b"\n")
        log.file.write(b"b\n")
        assert log.names == ["kube-audit-2026-11-23T03-11-14.360.log", BASE]
        assert log.lines() == [b"a" * 19 + b"\n", b"b\n"]


def test_a_file_that_is_just_full_is_not_rotated() -> None:
    """A write that brings the file exactly to its size fits; at a start it counts as full."""
    with disk(Rotation(20)) as log:
        log.file.write(b"a" * 9 + b"\n")
        log.file.write(b"b" * 9 + b"\n")
        assert log.names == [BASE]
    with disk(Rotation(20)) as log:
        log.file.write(b"a" * 9 + b"\n")
        log.restart()
        log.file.write(b"b" * 9 + b"\n")
        assert len(log.names) == 2


def test_a_line_greater_than_the_size_stands_alone() -> None:
    """kube-apiserver loses it; here it has a file of its own, and the next line starts another."""
    with disk(Rotation(20)) as log:
        for line in (b"a\n", b"b" * 50 + b"\n", b"c\n"):
            log.file.write(line)
        assert [log.content(name) for name in log.names] == [b"a\n", b"b" * 50 + b"\n", b"c\n"]


def test_without_a_size_nothing_is_rotated_or_pruned() -> None:
    """maxsize 0: the file grows, and files beside it are left alone."""
    with disk(Rotation(None, 1, 1, is_compressed=True)) as log:
        for name in ("kube-audit-2020-01-01T00-00-00.000.log", "kube-audit-2020-01-02T00-00-00.000.log"):
            (log.folder / name).write_bytes(b"x")
        for _ in range(50):
            log.file.write(b"x" * 99 + b"\n")
        assert len(log.names) == 3
        assert (log.folder / BASE).stat().st_size == 5000


def test_the_file_is_there_before_the_first_event() -> None:
    """An empty file is made at the start, in folders made for the owner alone."""
    with disk(Rotation(20)) as log:
        assert log.names == [BASE]
        assert stat.S_IMODE((log.folder / BASE).stat().st_mode) == 0o600


def test_the_mode_of_the_file_is_kept() -> None:
    """Who opens the file to a group finds the next file open to it, and its compressed form, too."""
    with disk(Rotation(20, is_compressed=True)) as log:
        (log.folder / BASE).chmod(0o664)
        for _ in range(3):
            log.file.write(b"x" * 19 + b"\n")
            log.now_us += 1_000
        assert {stat.S_IMODE(path.stat().st_mode) for path in log.folder.iterdir()} == {0o664}


def test_a_taken_name_is_not_overwritten() -> None:
    """Two rotations in a millisecond get two names, also when the first is compressed already."""
    first = "kube-audit-2026-11-23T03-11-14.360.log"
    assert free_name(BASE, START_US, set()) == first
    for suffix in ("", ".gz", ".zst"):
        assert free_name(BASE, START_US, {first + suffix}) == "kube-audit-2026-11-23T03-11-14.361.log"


def test_a_name_does_not_go_behind_one_used_since() -> None:
    """When the first of two names of a millisecond is pruned, the third still comes after the second."""
    assert (
        free_name(BASE, START_US, {"kube-audit-2026-11-23T03-11-14.361.log"})
        == "kube-audit-2026-11-23T03-11-14.362.log"
    )
    assert (
        free_name(BASE, START_US, {"kube-audit-2026-11-23T03-11-15.360.log"})
        == "kube-audit-2026-11-23T03-11-14.360.log"
    )


def test_pruning_leaves_strangers_alone() -> None:
    """Only names of rotated files of this very log are pruned or compressed; the live file never is."""
    old = "kube-audit-2020-01-01T00-00-00.000.log"
    strangers = [BASE, "kube-audit-notes.log", "other-2020-01-01T00-00-00.000.log", f"{old}.zst", f"{old}.bak"]
    made = plan([*strangers, old], BASE, Rotation(1, 1, 1, is_compressed=True), START_US)
    assert made.remove == (old,)
    assert made.compress == ()


def test_a_half_compressed_file_counts_once() -> None:
    """Plain and compressed copies of one file are one of the number, and the plain one is compressed again."""
    new, old = "kube-audit-2026-11-22T00-00-00.000.log", "kube-audit-2026-11-21T00-00-00.000.log"
    made = plan([new, f"{new}.gz", old, BASE], BASE, Rotation(1, 2, 0, is_compressed=True), START_US)
    assert made.remove == ()
    assert made.compress == (new, old)
    made = plan([new, f"{new}.gz", old, BASE], BASE, Rotation(1, 1), START_US)
    assert made.remove == (old,)
    assert made.compress == ()


def test_age_is_counted_from_the_name() -> None:
    """A file is old when its name is more than maxage days before now, to the millisecond."""
    name = logfiles.format_name(BASE, START_US)
    for later_us, removed in ((2 * DAY_US, ()), (2 * DAY_US + 1, (name,))):
        assert plan([name], BASE, Rotation(1, 0, 2), START_US + later_us).remove == removed


def test_a_torn_last_line_is_ended_at_the_start(tmp_path: Path) -> None:
    """What a crash left without a newline does not swallow the next line."""
    log = Disk(tmp_path, Rotation(100))
    log.file.write(b"whole\n")
    log.file.close()
    with (log.folder / BASE).open("ab") as file:
        file.write(b"torn")
    log.start()
    log.file.write(b"next\n")
    assert log.lines() == [b"whole\n", b"torn\n", b"next\n"]
    log.file.close()


def test_a_write_that_fails_midway_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk fills within a line, the part that was written goes, and the next line stands whole."""
    log = Disk(tmp_path, Rotation(100))
    log.file.write(b"whole\n")
    real, calls = os.write, 0

    def full(fd: int, data: bytes) -> int:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data[:3])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            log.file.write(b"second\n")
    log.file.write(b"third\n")
    assert log.lines() == [b"whole\n", b"third\n"]
    log.file.close()


def test_a_write_in_parts_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that takes three bytes at a time gets the whole line in the end."""
    log = Disk(tmp_path, Rotation(100))
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: real(fd, data[:3]))
        log.file.write(b"a whole line\n")
    assert log.lines() == [b"a whole line\n"]
    log.file.close()


def test_a_file_moved_away_is_written_until_the_next_rotation() -> None:
    """External logrotate does not work: lines go to the moved file, and the next rotation makes a new one."""
    with disk(Rotation(20)) as log:
        log.file.write(b"a\n")
        (log.folder / BASE).rename(log.folder / "moved")
        log.file.write(b"b\n")
        assert (log.folder / "moved").read_bytes() == b"a\nb\n"
        log.file.write(b"c" * 19 + b"\n")
        assert log.names == [BASE]
        assert log.lines() == [b"c" * 19 + b"\n"]


def test_compression_that_fails_leaves_the_plain_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without room for the compressed file, the plain one stays and nothing half done lies beside it."""
    source = tmp_path / "a.log"
    source.write_bytes(b"line\n" * 1000)

    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            compress(source)
    assert [path.name for path in tmp_path.iterdir()] == ["a.log"]
    compress(source)
    assert gzip.decompress((tmp_path / "a.log.gz").read_bytes()) == b"line\n" * 1000
    assert [path.name for path in tmp_path.iterdir()] == ["a.log.gz"]


def test_a_folder_that_went_before_the_first_line_is_made_again() -> None:
    """As lumberjack does: somebody tidies up between the start and the first request."""
    with disk(Rotation(100, 3)) as made:
        (made.folder / BASE).unlink()
        made.folder.rmdir()
        made.file.write(b"one\n")
        assert made.lines() == [b"one\n"]
        assert stat.S_IMODE(made.folder.stat().st_mode) == 0o700
