"""
A log file that is rotated by size, and whose old files are pruned by number and age and compressed.

`RotatingFile.write` takes whole lines. What to prune (`plan`) and how a rotated file is named (`free_name`) are plain
functions of names and a time. Time comes from `now_us`; pruning and compressing are handed to `later`, and `wait`
returns when they are done.

Follows lumberjack v2, as kube-apiserver sets it up. Differs, never to the loss of a line: a line greater than the
size is written, alone in its file; a rotated file is never overwritten, the name takes the next free millisecond; a
line that could not be written whole is taken back; a torn last line found at the start is ended first; a compressed
file is on the disk before the plain one goes. As there, names follow the clock: after the clock was set back, pruning
by number may take the newest file for the oldest.
"""

import os
import stat
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from isal import isal_zlib

from kubewitness.emit.backends.options import Rotation
from kubewitness.event import logfiles
from kubewitness.event.microtime import DAY_US

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
GZIP = ".gz"
_MILLISECOND_US = 1_000
# names this far ahead of the clock come from rotations in quick succession; further ahead, the clock was set back
_CROWDED_US = 1_000_000
_CHUNK_BYTES = 1 << 20
_GZIP_WBITS = 31


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done with the files beside a log: names to remove, names to compress."""

    remove: tuple[str, ...]
    compress: tuple[str, ...]


def plan(names: Iterable[str], base: str, rotation: Rotation, now_us: int) -> Plan:
    """Decide about the files in the folder of the log `base`; what is no rotated file of it is left alone."""
    found = [(rotated, name) for name in names if (rotated := logfiles.parse(name, base)) is not None]
    # our own readers know .zst, lumberjack does not
    found = sorted((pair for pair in found if pair[0].compression in ("", GZIP)), key=lambda pair: -pair[0].rotated_us)
    remove: list[str] = []
    kept: list[tuple[logfiles.Rotated, str]] = []
    # a file that is there both plain and compressed counts once
    counted: set[int] = set()
    oldest_us = now_us - rotation.max_age_days * DAY_US
    for rotated, name in found:
        counted.add(rotated.rotated_us)
        is_one_too_many = 0 < rotation.max_backups < len(counted)
        is_too_old = rotation.max_age_days > 0 and rotated.rotated_us < oldest_us
        if is_one_too_many or is_too_old:
            remove.append(name)
        else:
            kept.append((rotated, name))
    plain = tuple(name for rotated, name in kept if not rotated.compression) if rotation.is_compressed else ()
    return Plan(tuple(remove), plain)


def free_name(base: str, now_us: int, taken: Collection[str]) -> str:
    """Give the name under which the log is put away: of this millisecond, or after the names used up since.

    After, not just free: of two files put away in a millisecond the first may be pruned already.
    """
    time_us = now_us - now_us % _MILLISECOND_US
    used = {rotated.rotated_us for name in taken if (rotated := logfiles.parse(name, base)) is not None}
    recent = [other for other in used if time_us <= other < time_us + _CROWDED_US]
    time_us = max([time_us, *(other + _MILLISECOND_US for other in recent)])
    while time_us in used:
        time_us += _MILLISECOND_US
    return logfiles.format_name(base, time_us)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, for the owner alone."""
    if not folder.exists():
        make_folder(folder.parent)
        folder.mkdir(DIRECTORY_MODE, exist_ok=True)


class RotatingFile:
    """The live file. Not thread-safe: the log backend writes one line at a time."""

    def __init__(
        self,
        path: Path,
        rotation: Rotation,
        now_us: Callable[[], int],
        later: Callable[[Callable[[], None]], None],
        wait: Callable[[], None] = lambda: None,
    ) -> None:
        """Make folder and file, as a server does at its start, so that mistakes show then. Raises OSError."""
        self._path = path
        self._rotation = rotation
        self._now_us = now_us
        self._later = later
        self._wait = wait
        self._fd: int | None = None
        self._size = 0
        make_folder(path.parent)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, FILE_MODE))

    @property
    def max_bytes(self) -> int | None:
        """The size of a file at most, but for one line that is greater."""
        return self._rotation.max_bytes

    def write(self, line: bytes) -> None:
        """Append a line, rotating first where it would not fit. Raises OSError; then nothing of it is there."""
        limit = self._rotation.max_bytes
        if self._fd is None:
            self._open(len(line))
        elif limit is not None and self._size and self._size + len(line) > limit:
            self._rotate()
        self._append(line)

    def close(self) -> None:
        """Let go of the file, and wait for what was left for later."""
        self._let_go()
        self._wait()

    def _let_go(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _open(self, length: int) -> None:
        make_folder(self._path.parent)
        self._tidy()
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            size = 0
        limit = self._rotation.max_bytes
        # at the start, unlike later, a file that would be exactly full counts as full
        if limit is not None and size and size + length >= limit:
            self._rotate()
            return
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, FILE_MODE)
        self._size = size
        if size and not _ends_a_line(self._path, size):
            self._append(b"\n")

    def _rotate(self) -> None:
        self._let_go()
        mode, owner = FILE_MODE, None
        try:
            before = self._path.stat()
        except FileNotFoundError:
            pass
        else:
            mode, owner = stat.S_IMODE(before.st_mode), (before.st_uid, before.st_gid)
            name = free_name(self._path.name, self._now_us(), _names(self._path.parent))
            self._path.rename(self._path.with_name(name))
        make_folder(self._path.parent)
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, mode)
        os.fchmod(fd, mode)
        if owner is not None and owner != (os.geteuid(), os.getegid()):
            os.fchown(fd, *owner)
        self._fd, self._size = fd, 0
        self._tidy()

    def _append(self, data: bytes) -> None:
        fd = self._fd
        if fd is None:
            raise RuntimeError("the log is not open")
        written = 0
        try:
            while written < len(data):
                written += os.write(fd, data[written:] if written else data)
        except OSError:
            if written:
                os.ftruncate(fd, os.fstat(fd).st_size - written)
            raise
        self._size += written

    def _tidy(self) -> None:
        rotation = self._rotation
        if rotation.max_bytes is not None and (rotation.max_backups or rotation.max_age_days or rotation.is_compressed):
            self._later(self.tidy)

    def tidy(self) -> None:
        """Prune and compress now. Raises OSError."""
        folder = self._path.parent
        todo = plan(_names(folder), self._path.name, self._rotation, self._now_us())
        for name in todo.remove:
            (folder / name).unlink(missing_ok=True)
        for name in todo.compress:
            compress(folder / name)


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _ends_a_line(path: Path, size: int) -> bool:
    with path.open("rb") as file:
        file.seek(size - 1)
        return file.read(1) == b"\n"


def compress(source: Path) -> None:
    """Put `source.gz` in the place of `source`, with its mode and owner; what is left of an earlier try goes."""
    target = source.with_name(source.name + GZIP)
    with source.open("rb") as plain:
        before = os.fstat(plain.fileno())
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, stat.S_IMODE(before.st_mode))
        try:
            with os.fdopen(fd, "wb") as raw:
                os.fchmod(fd, stat.S_IMODE(before.st_mode))
                if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(fd, before.st_uid, before.st_gid)
                packer = isal_zlib.compressobj(wbits=_GZIP_WBITS)
                while chunk := plain.read(_CHUNK_BYTES):
                    raw.write(packer.compress(chunk))
                raw.write(packer.flush())
                raw.flush()
                os.fsync(fd)
        except OSError:
            target.unlink(missing_ok=True)
            raise
    source.unlink()
