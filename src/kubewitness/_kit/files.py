"""
Files that last: made once, appended to, synced, replaced as a whole; and read while they grow.

A `Directory` is held open and everything is done under it by plain names, so that no path is walked twice and no
link is followed. `OSError` is passed on as it is. A simulated directory that loses power stands in tests/crash.

POSIX; a step makes durable what fsync(2) promises: a file's bytes by its own sync, a name by its directory's.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Protocol, Self

from kubewitness._kit.descriptors import write_all

_FILE_MODE = 0o600
_DIRECTORY_MODE = 0o700
_READ_BYTES = 1 << 20
_SYNCS_AT_ONCE = 16  # which the journal then serves together: 512 files in 0.1 s, one after the other in 1.5 s
_ENTER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Appender(Protocol):
    """A new file that only grows."""

    def append(self, data: bytes) -> None:
        """Write all of `data` at the end."""
        ...

    def sync(self) -> None:
        """Make all that was written last. After an error nothing is known of any of it: make another file."""
        ...

    def cut(self, size: int) -> None:
        """Shorten the file to `size` bytes."""
        ...

    def close(self) -> None:
        """Let go of the file, without a sync."""
        ...


class Reader(Protocol):
    """A file to be read, which may grow meanwhile."""

    def size(self) -> int:
        """Give how many bytes it has now."""
        ...

    def read_at(self, offset: int, length: int) -> bytes:
        """Read so many bytes from there; fewer only where the file ends."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class Directory(Protocol):
    """A directory that is held open; names are plain, without a slash."""

    def names(self) -> list[str]:
        """List what is in it, sorted."""
        ...

    def enter(self, name: str) -> "Directory":
        """Open a directory of ours in it, made if it is not there; a made one lasts after the next sync."""
        ...

    def look(self, name: str) -> "Directory":
        """Open a directory in it only to read."""
        ...

    def create(self, name: str) -> Appender:
        """Make a file that is not there yet; its name lasts after the next sync."""
        ...

    def open(self, name: str) -> Reader:
        """Open a file to read."""
        ...

    def replace(self, old: str, new: str) -> None:
        """Give a file another name, in place of what had that name; lasts after the next sync."""
        ...

    def remove(self, name: str) -> None:
        """Take a file away; lasts after the next sync."""
        ...

    def remove_directory(self, name: str) -> None:
        """Take an empty directory away; lasts after the next sync."""
        ...

    def sync_files(self, names: Sequence[str]) -> None:
        """Make the bytes of files last. After an error: make them all anew."""
        ...

    def sync(self) -> None:
        """Make its names last."""
        ...

    def lock(self, name: str) -> "Lock":
        """Lock it against others who ask the same. Raises BlockingIOError."""
        ...

    def close(self) -> None:
        """Let go of the directory."""
        ...


class Lock(Protocol):
    """Held until it is closed or the process ends."""

    def close(self) -> None:
        """Let others in."""
        ...


def write_whole(directory: Directory, name: str, data: bytes) -> None:
    """Put a file in place so that after any crash it is there whole, or as it was before."""
    temporary = name + ".new"
    discard(directory, temporary)
    file = directory.create(temporary)
    try:
        file.append(data)
        file.sync()
    finally:
        file.close()
    directory.replace(temporary, name)
    directory.sync()


def write_lightly(directory: Directory, name: str, data: bytes) -> None:
    """Put a file in place whole for who reads it now; a crash may lose or empty it."""
    temporary = name + ".new"
    discard(directory, temporary)
    file = directory.create(temporary)
    try:
        file.append(data)
    finally:
        file.close()
    directory.replace(temporary, name)


def read_whole(directory: Directory, name: str) -> bytes:
    """Read all of a file."""
    file = directory.open(name)
    try:
        return file.read_at(0, file.size())
    finally:
        file.close()


def discard(directory: Directory, name: str) -> None:
    """Remove a file that may not be there; the directory is not listed, for it may be large."""
    with suppress(FileNotFoundError):
        directory.remove(name)


class _Handle:
    """A descriptor that is closed once."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def close(self) -> None:
        """Close it; a second time is nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


class DiskAppender(_Handle):
    """`Appender` on a disk."""

    def append(self, data: bytes) -> None:
        """Write all of `data`; a short write is continued."""
        write_all(self._fd, data)

    def sync(self) -> None:
        """Call fdatasync, which also makes a new size last."""
        os.fdatasync(self._fd)

    def cut(self, size: int) -> None:
        """Call ftruncate."""
        os.ftruncate(self._fd, size)


class DiskReader(_Handle):
    """`Reader` on a disk."""

    def size(self) -> int:
        """Ask the file system."""
        return os.fstat(self._fd).st_size

    def read_at(self, offset: int, length: int) -> bytes:
        """Read with pread, until all is there or the file ends."""
        data = os.pread(self._fd, length, offset)
        if len(data) == length or not data:
            return data
        parts, done = [data], len(data)
        while done < length and (data := os.pread(self._fd, min(length - done, _READ_BYTES), offset + done)):
            parts.append(data)
            done += len(data)
        return b"".join(parts)


class DiskDirectory(_Handle):
    """`Directory` on a disk, reached by its descriptor."""

    @classmethod
    def at(cls, path: str | os.PathLike[str]) -> "DiskDirectory":
        """Open a directory that is there."""
        return cls(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))

    def names(self) -> list[str]:
        """List it."""
        return sorted(os.listdir(self._fd))  # noqa: PTH208 - a descriptor, not a path

    def enter(self, name: str) -> "DiskDirectory":
        """Open a directory of ours in it; a link or a directory that others may write to is refused."""
        _check(name)
        try:
            os.mkdir(name, _DIRECTORY_MODE, dir_fd=self._fd)
        except FileExistsError:
            pass
        except OSError as exc:
            exc.filename = self._place(name)
            raise
        fd = self._open(name, _ENTER)
        found = os.fstat(fd)
        if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            os.close(fd)
            raise PermissionError(errno.EPERM, "others own it or may write to it", self._place(name))
        return DiskDirectory(fd)

    def look(self, name: str) -> "DiskDirectory":
        """Open a directory in it, whoever owns it; no link is followed."""
        return DiskDirectory(self._open(name, _ENTER))

    def create(self, name: str) -> DiskAppender:
        """Make a file for appending, readable by nobody else."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        return DiskAppender(self._open(name, flags, _FILE_MODE))

    def open(self, name: str) -> DiskReader:
        """Open a plain file; a link, pipe or device is refused and never waited for."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = self._open(name, flags)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "not a plain file", self._place(name))
        return DiskReader(fd)

    def replace(self, old: str, new: str) -> None:
        """Rename."""
        os.rename(_check(old), _check(new), src_dir_fd=self._fd, dst_dir_fd=self._fd)

    def remove(self, name: str) -> None:
        """Unlink."""
        os.unlink(_check(name), dir_fd=self._fd)

    def remove_directory(self, name: str) -> None:
        """Call rmdir."""
        os.rmdir(_check(name), dir_fd=self._fd)

    def sync_files(self, names: Sequence[str]) -> None:
        """Call fdatasync; on Linux it serves all that was written, through whichever descriptor."""
        with ThreadPoolExecutor(_SYNCS_AT_ONCE) as pool:
            list(pool.map(self._sync_file, names))

    def _sync_file(self, name: str) -> None:
        with self.open(name) as file:
            os.fdatasync(file._fd)

    def sync(self) -> None:
        """Call fsync on the directory."""
        os.fsync(self._fd)

    def lock(self, name: str) -> _Handle:
        """Hold an flock on a file of that name, which stays."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = self._open(name, flags, _FILE_MODE)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise
        return _Handle(fd)

    def _open(self, name: str, flags: int, mode: int = 0) -> int:
        try:
            return os.open(_check(name), flags, mode, dir_fd=self._fd)
        except OSError as exc:
            exc.filename = self._place(name)
            raise

    def _place(self, name: str) -> str:
        """Give the whole path of a name, for an error to say; where nobody knows it, the name."""
        try:
            return f"{os.readlink(f'/proc/self/fd/{self._fd}')}/{name}"  # noqa: PTH115 - for an error only
        except OSError:
            return name


def _check(name: str) -> str:
    if not name or "/" in name or "\0" in name or name in (".", ".."):
        raise OSError(errno.EINVAL, "not a plain name", name)
    return name
