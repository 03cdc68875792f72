"""What os.read and os.write leave to do: all of some bytes, through a descriptor; and how many processors there are."""

import os

_MOST_AT_ONCE = 1 << 20


def write_all(fd: int, data: bytes | bytearray | memoryview) -> None:
    """Write all of `data`; a short write is continued."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def read_exactly(fd: int, size: int) -> bytes | None:
    """Read so many bytes; None when they end before."""
    found = bytearray()
    while len(found) < size:
        part = os.read(fd, min(size - len(found), _MOST_AT_ONCE))
        if not part:
            return None
        found += part
    return bytes(found)


def processors() -> int:
    """Give how many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1
