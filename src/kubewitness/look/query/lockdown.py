"""
Lock an engine down: it opens only the files of this question, and no SQL can change that.

`locked` gives a connection that may read the allowed paths and nothing else: no other file, no network, no extension,
no ATTACH. Before a user's own SQL runs, `seal` forbids changing the configuration, and `check_select` has let through
only one SELECT (or FROM, VALUES, DESCRIBE, SUMMARIZE), so nothing is written either: no COPY, CREATE, SET.
"""

import _thread
import atexit
import errno
import importlib
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from kubewitness._kit.descriptors import processors
from kubewitness.look.query.spill import spill_directory

if TYPE_CHECKING:
    from types import ModuleType

    import duckdb


MEMORY_BYTES = 384 << 20
"""For tables and sorting, which spill beyond it; buffers for parsing come on top."""


class QueryError(Exception):
    """SQL that is refused or that the engine does not understand; the text says why."""


def engine() -> "ModuleType":
    """Give the engine's module: the compiled one, as the package around it takes three times as long to import."""
    try:
        return importlib.import_module("_duckdb")
    except ImportError:
        return importlib.import_module("duckdb")


def engine_errors() -> type[Exception]:
    """Give the class of everything that the engine raises."""
    return cast("type[Exception]", engine().Error)


class _Ahead:
    """An engine that is made in the background. Its thread is joined before the program ends."""

    def __init__(self, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._pid = os.getpid()
        self._made: duckdb.DuckDBPyConnection | None = None
        self._is_done = _thread.allocate_lock()  # `threading` would have to be loaded first
        self._is_done.acquire()
        _thread.start_new_thread(self._make, ())
        atexit.register(self._wait)

    def _make(self) -> None:
        try:
            self._made = _connected(self._memory_bytes)
        except Exception:  # noqa: BLE001 - made again by who needs it, who meets this again
            self._made = None
        finally:
            self._is_done.release()

    def _wait(self) -> None:
        if os.getpid() == self._pid:
            with self._is_done:
                pass

    def take(self, memory_bytes: int) -> "duckdb.DuckDBPyConnection | None":
        """Give the engine, once, if it is as large as wanted."""
        if os.getpid() != self._pid:
            return None  # an engine does not outlive a fork
        self._wait()
        made, self._made = self._made, None
        return made if memory_bytes == self._memory_bytes else None


_ahead: list[_Ahead] = []


def begin(memory_bytes: int = MEMORY_BYTES) -> None:
    """Make an engine in the background, for the next who wants one: loading it takes as long as loading all of us."""
    if not _ahead:
        _ahead.append(_Ahead(memory_bytes))


def _connected(memory_bytes: int) -> "duckdb.DuckDBPyConnection":
    connection: duckdb.DuckDBPyConnection = engine().connect(
        config={
            "threads": str(processors()),
            "memory_limit": f"{memory_bytes >> 20}MiB",
            "temp_directory": spill_directory(),
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        }
    )
    return connection


def locked(allowed_paths: Iterable[str], memory_bytes: int = MEMORY_BYTES) -> "duckdb.DuckDBPyConnection":
    """Give an engine of its own, in memory, that may read these paths."""
    made = _ahead.pop().take(memory_bytes) if _ahead else None
    connection = made or _connected(memory_bytes)
    paths = ", ".join("'" + path.replace("'", "''") + "'" for path in allowed_paths)
    connection.execute(f"SET allowed_paths = [{paths}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("PRAGMA enable_profiling = 'no_output'")
    connection.execute("PRAGMA disable_progress_bar")
    return connection


def seal(connection: "duckdb.DuckDBPyConnection") -> None:
    """Forbid every further change of configuration."""
    connection.execute("SET lock_configuration = true")


def check_select(connection: "duckdb.DuckDBPyConnection", sql: str) -> None:
    """Let through one statement that only reads. Raises QueryError."""
    try:
        statements = connection.extract_statements(sql)
    except engine_errors() as exc:
        raise QueryError(tidy(exc)) from exc
    if len(statements) != 1:
        raise QueryError(f"one SELECT is wanted, and these are {len(statements)} statements")
    kind = statements[0].type.name
    if kind != "SELECT":
        raise QueryError(f"only SELECT is allowed here, not {kind}")


def tidy(error: Exception) -> str:
    """Give an engine's message without its class, and without the place in a statement that nobody wrote."""
    text = str(error).partition("\n\nLINE ")[0]
    head, _, rest = text.partition(": ")
    return (rest if head.endswith("Error") else text).strip().replace("\n\n", "\n").replace("\t", "  ")


def told(error: Exception) -> Exception:
    """Give what an engine's error is to who asked: where it is no lack, something about the question."""
    return lack(error) or QueryError(tidy(error))


def lack(error: Exception) -> MemoryError | OSError | None:
    """Give the want of memory, or of room for what does not fit into it, that an engine's error is; None for others."""
    said = tidy(error)
    if said.startswith("failed to offload") or (isinstance(error, engine().IOException) and "No space left" in said):
        where = f"{os.strerror(errno.ENOSPC)} for what does not fit into memory; TMPDIR names another place"
        return OSError(errno.ENOSPC, where, spill_directory())
    if isinstance(error, engine().OutOfMemoryException):
        return MemoryError(said.partition("\n")[0])
    return None
