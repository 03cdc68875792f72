"""What a server knows of the disk under its data."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from kubewitness.assembly.desk import RESERVE_FILES, DiskGuard
from kubewitness.keep.store.layout import DataDir


@pytest.mark.parametrize(
    ("free", "files", "free_files", "is_full", "used"),
    [
        (5_000, 10_000, 9_000, False, 0.5),
        (5_000, 10_000, RESERVE_FILES, False, 1 - RESERVE_FILES / 10_000),
        (5_000, 10_000, RESERVE_FILES - 1, True, 1 - (RESERVE_FILES - 1) / 10_000),
        (999, 10_000, 9_000, True, 1 - 999 / 10_000),
        (5_000, 0, 0, False, 0.5),
    ],
)
def test_a_disk_is_full_of_bytes_or_of_files(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    free: int,
    files: int,
    free_files: int,
    is_full: bool,
    used: float,
) -> None:
    """Whichever ends first; a file system that makes inodes as needed counts none."""
    found = SimpleNamespace(f_bavail=free, f_frsize=1, f_blocks=10_000, f_favail=free_files, f_files=files)
    monkeypatch.setattr(os, "statvfs", lambda _: found)
    guard = DiskGuard(DataDir(tmp_path), 1_000)
    assert guard.is_full() is is_full
    assert guard.used == pytest.approx(used)
