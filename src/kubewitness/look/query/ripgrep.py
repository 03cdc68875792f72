"""Let `rg` find the lines of a file that hold one of some texts, or an escape behind which one may hide."""

import contextlib
import os
import re
from collections.abc import Collection

from kubewitness.look.query.linesearch import MOST_BYTES

# no configuration, no guessing of encodings, no Unicode: bytes in, bytes out, each line with its offset
_OPTIONS = ("--no-config", "-a", "--encoding", "none", "--no-unicode", "-b", "-N", "--no-filename", "--color", "never")
_ESCAPES = rb"\\u00(?:2[0-57-9a-fA-F]|3[0-9abdfABCDEF]|[4-7][0-9a-fA-F])"
_SIGPIPE = 13


class RgError(Exception):
    """It could not search."""


def which(name: str) -> str | None:
    """Give the program of this name that a shell would run."""
    for directory in os.environ.get("PATH", "").split(os.pathsep):
        program = f"{directory}/{name}"
        if directory and os.access(program, os.X_OK) and os.path.isfile(program):  # noqa: PTH113 - pathlib costs start-up
            return program
    return None


class Rg:
    """A search that has begun."""

    def __init__(self, program: str, path: str, needles: Collection[bytes]) -> None:
        self.path = path
        pattern = b"|".join([*map(re.escape, sorted(needles)), _ESCAPES])
        if any(b"/" in needle for needle in needles):
            pattern += rb"|\\/"
        command: list[str | bytes] = [program, *_OPTIONS, "-e", pattern, "--", path]
        self._found: list[tuple[int, bytes]] = []
        self._is_over = self._has_failed = self._has_too_many = False
        reading, writing = os.pipe()
        null = os.open(os.devnull, os.O_RDWR)
        actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, writing, 1), (os.POSIX_SPAWN_DUP2, null, 2)]
        try:
            # the program is what the user calls rg, the path follows --
            self._process = os.posix_spawn(
                program,
                command,
                os.environ,
                file_actions=actions,
                setsigdef=[_SIGPIPE],
            )
        except OSError:
            self._is_over = self._has_failed = True
            os.close(reading)
        finally:
            os.close(null)
            os.close(writing)
        self._reading = reading

    def lines(self) -> list[tuple[int, bytes]] | None:
        """Wait for it; give offset and bytes of each line, None for too many. Raises RgError."""
        if not self._is_over:
            self._read()
        if self._has_failed:
            raise RgError
        return None if self._has_too_many else self._found

    def _read(self) -> None:
        held = 0
        with open(self._reading, "rb", closefd=False) as answers:
            for answer in answers:
                offset, _, line = answer.partition(b":")
                held += len(line)
                if held > MOST_BYTES:
                    self._has_too_many = True
                    break
                self._found.append((int(offset), line))
        if self._has_too_many:
            self.close()
        else:
            self._has_failed = self._reap() not in {0, 1}

    def close(self) -> None:
        """Stop it, if it still runs."""
        if not self._is_over:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process, 9)
            self._reap()

    def _reap(self) -> int:
        self._is_over = True
        os.close(self._reading)
        try:
            return os.waitstatus_to_exitcode(os.waitpid(self._process, 0)[1])
        except ChildProcessError:  # who started us ignores the ends of processes: how it ended nobody knows
            return -1
