"""
How long each line of a file is, found beside the engine, which tells of a line only what it parsed of it.

The engine gives one row for each line that is not blank, in order, when it reads strictly; so the n-th length belongs
to the n-th row. Finding line ends takes a tenth of the time of parsing; an engine that keeps lines parses them twice.
"""

# ruff: noqa: S608 - writing SQL is what this module is for; paths go through literal()
import os
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from kubewitness.look.query.relation_names import literal
from kubewitness.look.query.scan_blocks import path_of

if TYPE_CHECKING:
    import duckdb

MOST_IN_PLACE_BYTES = 4 << 30
"""Of a longer file too many lengths would stand in memory together: it is read in blocks."""
_CHUNK_BYTES = 256 << 10
_LONGEST_BYTES = 64 << 20
_OPEN, _CLOSE = b"{}"

LENGTHS = "CREATE OR REPLACE TABLE lengths (hit BIGINT, bytes BIGINT)"
_AS_CSV = (
    "columns={bytes: 'BIGINT'}, auto_detect=false, header=false, delim=',', quote='', escape='', compression='none'"
)


def with_lengths(weights: Iterable[str]) -> str:
    """Write `hits` with the lengths of its lines in these columns, as far as they are not there."""
    known = ", ".join(f"coalesce({weight}, bytes) AS {weight}" for weight in weights)
    return f"(SELECT hits.* REPLACE ({known}), hits.rowid AS rowid FROM hits LEFT JOIN lengths ON hit = hits.rowid)"


class Measure:
    """
    Measures the lines of a file in a thread of its own; use as a context manager.

    The lengths go to a memory file, a number a line: of lines that are not empty, with their ends.
    """

    def __init__(self, path: str, fd: int) -> None:
        self._path = path
        self._fd = fd
        self._lines: int | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lengths", daemon=True)
        self.bytes_read = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()

    def keep(self, connection: "duckdb.DuckDBPyConnection", part: int, rows: int) -> bool:
        """Put the lengths of so many rows of a part of `hits` into `lengths`; False where they are not known.

        Waits for them.
        """
        self._thread.join()
        if self._lines is not None and self._lines < rows:
            self._run()  # the file has grown since
        if self._lines is None or self._lines < rows:
            return False
        [(first, kept)] = connection.execute("SELECT min(rowid), count(*) FROM hits WHERE _part = ?", [part]).fetchall()
        if kept and kept == rows:
            written = f"read_csv({literal(path_of(self._fd))}, {_AS_CSV})"
            numbers = f"SELECT bytes, row_number() OVER () - 1 AS n FROM {written}"
            connection.execute(f"INSERT INTO lengths SELECT {first} + n, bytes FROM ({numbers}) WHERE n < {rows}")
        return bool(kept == rows)

    def _run(self) -> None:
        """Measure; None lines when one is not plainly an object, as blanks around it are not counted."""
        try:
            os.ftruncate(self._fd, 0)
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                self._lines = self._measure(fd)
            finally:
                os.close(fd)
        except OSError:
            self._lines = None

    def _measure(self, fd: int) -> int | None:
        count = at = written = 0
        size = _CHUNK_BYTES
        while not self._stopped.is_set():
            chunk = os.pread(fd, size, at)
            self.bytes_read += len(chunk)
            last = chunk.rfind(b"\n")
            if last < 0:
                if len(chunk) < size:
                    return count
                if size > _LONGEST_BYTES:
                    return None
                size *= 2
                continue
            lengths = _lengths(chunk, last)
            if lengths is None:
                return None
            if lengths:
                count += len(lengths)
                written += os.pwrite(self._fd, b"%s\n" % "\n".join(map(str, lengths)).encode(), written)
            at += last + 1
            size = _CHUNK_BYTES
        return None


def _lengths(chunk: bytes, last: int) -> list[int] | None:
    """Give the lengths of the lines that end at `last` or before; None when one is not plainly an object."""
    lengths: list[int] = []
    add, find = lengths.append, chunk.find
    start = 0
    while start <= last:
        end = find(b"\n", start)
        if end > start:
            if chunk[start] != _OPEN or chunk[end - 1] != _CLOSE:
                return None
            add(end - start + 1)
        start = end + 1
    return lengths
