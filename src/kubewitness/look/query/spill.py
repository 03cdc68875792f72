"""
Where the engine puts what does not fit in memory: a directory that only its owner may enter, gone when we are.

`spill_directory()` makes one for this process on first use; without one, a question has to fit into memory. What is
left behind by a process that was killed is removed by the next one of the same owner. (The engine's wheel has no cipher
that it calls safe, so files are not encrypted: they are copies of parts of a log, and stand where only the person who
could read the log can read them.)
"""

import atexit
import contextlib
import errno
import os
import re
from collections.abc import Iterator

_NAME = re.compile(r"kubewitness-spill-(\d+)-[0-9a-f]+")
_made: dict[int, str] = {}


def spill_directory() -> str:
    """Give the directory of this process, made with mode 0700; none where nothing can be written.

    /tmp may be memory, so comes late.
    """
    pid = os.getpid()
    if pid not in _made:
        base = next(filter(_can_write, (os.environ.get("TMPDIR", ""), "/var/tmp", "/tmp", ".")), None)  # noqa: S108 - a name nobody can guess
        if base is None:
            return ""
        _sweep(base)
        path = os.path.join(base, f"kubewitness-spill-{pid}-{os.urandom(8).hex()}")  # noqa: PTH118 - pathlib costs start-up
        os.mkdir(path, 0o700)  # noqa: PTH102
        _made.clear()
        _made[pid] = path
        atexit.register(_remove, path, pid)
    return _made[pid]


@contextlib.contextmanager
def naming_place() -> Iterator[None]:
    """Let want of room for temporary files name their directory."""
    try:
        yield
    except OSError as exc:
        if exc.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        import tempfile

        words = f"{exc.strerror} in {tempfile.gettempdir()} for what is put aside; TMPDIR names another place"
        raise OSError(exc.errno, words) from exc


def _can_write(path: str) -> bool:
    return bool(path) and os.access(path, os.W_OK | os.X_OK)


def _remove(path: str, pid: int | None = None) -> None:
    if pid not in {None, os.getpid()}:
        return  # a child of the process whose directory it is
    try:
        os.rmdir(path)  # noqa: PTH106
    except FileNotFoundError:
        return
    except OSError:
        import shutil

        shutil.rmtree(path, ignore_errors=True)


def _sweep(base: str) -> None:
    """Remove what processes of ours that are no more have left."""
    with contextlib.suppress(OSError), os.scandir(base) as entries:
        for entry in entries:
            found = _NAME.fullmatch(entry.name)
            if found and entry.stat(follow_symlinks=False).st_uid == os.getuid() and not _is_alive(int(found[1])):
                _remove(entry.path)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
