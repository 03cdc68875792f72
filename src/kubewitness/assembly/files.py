"""Write files of a server's configuration: whole or not at all, private where they must be, never over another."""

import os
from pathlib import Path


def write_new(path: Path, data: bytes, mode: int) -> bool:
    """Write a file that is not there; False, and nothing done, when it is. Raises OSError."""
    if path.exists() or path.is_symlink():
        return False
    _write(path, data, mode)
    return True


def write_over(path: Path, data: bytes, mode: int) -> None:
    """Write a file in place of what is there. Raises OSError."""
    _write(path, data, mode)


def _write(path: Path, data: bytes, mode: int) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(fd, mode)
            os.fsync(fd)
        temporary.rename(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
