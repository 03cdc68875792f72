"""Which files source arguments name."""

import gzip
import os
from pathlib import Path

import pytest

from kubewitness.look.query.source import SourceError, find_inputs
from tests.event.damage import event


def names(directory: Path) -> list[str]:
    """Give the names of the inputs that a directory gives, below it."""
    return [str(Path(one.path).relative_to(directory)) for one in find_inputs([str(directory)])]


def write(directory: Path, *files: str) -> None:
    """Write a log of one Event into each file, each later than the one before."""
    for second, name in enumerate(files):
        data = f"{event(second)}\n".encode()
        (directory / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)


def test_rotated_by_logrotate(tmp_path):
    """A number or a date behind the name is the name of a log, in the order of what is inside."""
    logs = ["audit.log.2.gz", "audit.log-20261122", "audit.log-2026-11-23.gz", "audit.log.1", "audit.log"]
    write(tmp_path, *logs, "notes.txt", "audit.log.old", ".audit.log", "catalog")
    assert names(tmp_path) == logs


def test_a_file_that_is_being_packed_is_read_once(tmp_path):
    """Beside the rotated file stands what kube-apiserver has packed of it so far; other pairs are two logs."""
    rotated = "audit-2026-11-23T03-11-14.360.log"
    write(tmp_path, rotated, f"{rotated}.gz", "audit.log", "audit.log.gz")
    assert names(tmp_path) == [rotated, "audit.log", "audit.log.gz"]


def test_a_folder_that_cannot_be_looked_into(tmp_path, monkeypatch):
    """Said, not passed over: what is in it would be missing from the answer."""
    write(tmp_path, "audit.log")
    locked = tmp_path / "locked"
    locked.mkdir()
    scandir = os.scandir

    def refusing(path: str) -> object:
        if path == str(locked):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(SourceError, match="locked: Permission denied"):
        find_inputs([str(tmp_path)])


def test_links_that_lead_nowhere_or_round(tmp_path):
    """They hold no log of their own."""
    write(tmp_path, "audit.log")
    for name, target in (("round", "."), ("self.log", "self.log"), ("gone.log", "nowhere")):
        (tmp_path / name).symlink_to(target)
    assert names(tmp_path) == ["audit.log"]
