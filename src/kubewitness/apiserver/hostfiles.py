"""
The files of a server's host for the checks: under a root, read and never written; and its processes, from /proc.

What cannot be read (no permission, a loop, a device) is as if it were not there: the checks say what they know.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from kubewitness.apiserver.context import FileFacts

# The policies and kubeconfigs that are read have some kilobytes.
_MOST_BYTES = 4 << 20
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class RootFiles:
    """The tree under a root. Implements `HostFiles`."""

    root: Path
    is_known: bool = True

    def _at(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def read(self, path: str) -> bytes | None:
        """Give a plain file's bytes, None when there is none."""
        place = self._at(path)
        try:
            if not stat.S_ISREG(place.stat().st_mode):
                return None
            with place.open("rb") as file:
                return file.read(_MOST_BYTES)
        except OSError:
            return None

    def names(self, directory: str) -> list[str]:
        """List the files of a directory."""
        try:
            return sorted(entry.name for entry in os.scandir(self._at(directory)) if entry.is_file())
        except OSError:
            return []

    def facts(self, path: str) -> FileFacts | None:
        """Look at a path, None when there is nothing."""
        try:
            found = self._at(path).stat()
        except OSError:
            return None
        mode = found.st_mode
        return FileFacts(stat.S_IMODE(mode), found.st_uid, found.st_gid, stat.S_ISDIR(mode), stat.S_ISREG(mode))

    def is_hidden(self, path: str) -> bool:
        """Say whether it may be there, and we may not look."""
        place = self._at(path)
        try:
            found = place.stat()
        except PermissionError:
            return True
        except OSError:
            return False
        return stat.S_ISREG(found.st_mode) and not os.access(place, os.R_OK)

    def free_bytes(self, path: str) -> int | None:
        """Give the room on the file system of a path, or of what is nearest above it."""
        place = self._at(path)
        for one in (place, *place.parents):
            try:
                found = os.statvfs(one)
            except OSError:
                continue
            return found.f_bavail * found.f_frsize
        return None


@dataclass(frozen=True, slots=True)
class Process:
    """A kube-apiserver that runs here: its command line, and the files it holds that are deleted."""

    pid: int
    command: bytes
    deleted: tuple[str, ...]

    @property
    def root(self) -> Path:
        """The file system as the process sees it."""
        return _PROC / str(self.pid) / "root"


def running(proc: Path = _PROC) -> list[Process]:
    """Find the kube-apiservers that run here."""
    found = []
    for entry in proc.iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if command.partition(b"\0")[0].rpartition(b"/")[2] == b"kube-apiserver":
            found.append(Process(int(entry.name), command, _deleted(entry / "fd")))
    return sorted(found, key=lambda process: process.pid)


def _deleted(directory: Path) -> tuple[str, ...]:
    found = []
    try:
        for entry in directory.iterdir():
            target = str(entry.readlink())
            if target.endswith(" (deleted)"):
                found.append(target.removesuffix(" (deleted)"))
    except OSError:
        return tuple(found)
    return tuple(found)
