"""
What turning auditing on would change, before anything is changed: directories, files with their bytes, advice.

A Plan is data: `difference` shows it, `apply` carries it out, `undo` takes it back.
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol


class PlanError(Exception):
    """This cannot be set up as asked. `file` and `line` say where what is not understood stands, if anywhere."""

    def __init__(self, message: str, file: str = "", line: int = 0, help_: str = "") -> None:
        super().__init__(message)
        self.file = file
        self.line = line
        self.help = help_


@dataclass(frozen=True, slots=True)
class NewDirectory:
    """A directory that is to be there. `owner`: the user it must belong to, where that is not root."""

    path: str
    mode: int = 0o700
    owner: str = ""


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file with its bytes before (None: not there) and after. `mode` is that of a file that is made."""

    path: str
    before: bytes | None
    after: bytes
    mode: int = 0o600

    @property
    def is_changed(self) -> bool:
        """Whether anything would be written."""
        return self.before != self.after


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is to be done, in this order; the file that makes the server restart comes last.

    `advice` is what the person has to do or know; `log` is the host's path of the log, empty where there is none.
    """

    distro: str
    directories: tuple[NewDirectory, ...]
    files: tuple[NewFile, ...]
    config: str
    policy: str
    log: str
    advice: tuple[str, ...] = ()

    @property
    def changed(self) -> tuple[NewFile, ...]:
        """The files that differ from what is there."""
        return tuple(file for file in self.files if file.is_changed)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person asked for. Empty or None: what is there stays, or else the distribution's usual place is taken.

    `fallback` is the policy where none was asked for and none is there. `flags` are set even where the server has
    another value; `defaults` only where it has none.
    """

    policy: bytes | None = None
    fallback: bytes | None = None
    policy_path: str = ""
    log_path: str = ""
    webhook: bytes | None = None
    flags: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)
    config: str = ""


class Host(Protocol):
    """The files of the machine that is set up, by their paths there."""

    def read(self, path: str) -> bytes | None:
        """Give a file's bytes, None when there is none. Raises OSError."""
        ...

    def names(self, directory: str) -> list[str]:
        """List a directory; empty when there is none."""
        ...

    def is_directory(self, path: str) -> bool:
        """Say whether this is a directory."""
        ...


def difference(plan: Plan) -> Iterator[str]:
    """Show the plan as a unified diff, without line ends."""
    for file in plan.changed:
        old = "/dev/null" if file.before is None else file.path
        before = (file.before or b"").decode("utf-8", "replace").splitlines()
        after = file.after.decode("utf-8", "replace").splitlines()
        yield from difflib.unified_diff(before, after, old, file.path, lineterm="")
