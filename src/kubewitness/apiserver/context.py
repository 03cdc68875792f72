"""
What the checks of a setup look at: the setup, the flags' values, the policy, the host's files, rate and profile.

Files are reached through `HostFiles`, which may know nothing: then what only the disk can tell is not said.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from kubewitness.apiserver.findings import CODES, SetupFinding
from kubewitness.apiserver.setup import Setup
from kubewitness.emit.backends.options import Values
from kubewitness.policy.check import Report


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What the disk says of a path."""

    mode: int
    uid: int
    gid: int
    is_directory: bool
    is_file: bool


class HostFiles(Protocol):
    """The files of the server's host."""

    @property
    def is_known(self) -> bool:
        """Whether anything can be looked at."""
        ...

    def read(self, path: str) -> bytes | None:
        """Give a file's bytes, None when there is none."""
        ...

    def names(self, directory: str) -> list[str]:
        """List the files of a directory."""
        ...

    def facts(self, path: str) -> FileFacts | None:
        """Look at a path, None when there is nothing."""
        ...

    def free_bytes(self, path: str) -> int | None:
        """Give the room on the file system of a path."""
        ...

    def is_hidden(self, path: str) -> bool:
        """Say whether it may be there, and we may not look."""
        ...


@dataclass(frozen=True, slots=True)
class Unknown:
    """The host's files where none can be looked at."""

    is_known: bool = False

    def read(self, path: str) -> bytes | None:  # noqa: ARG002 - a Protocol
        """Know nothing."""
        return None

    def names(self, directory: str) -> list[str]:  # noqa: ARG002 - a Protocol
        """Know nothing."""
        return []

    def facts(self, path: str) -> FileFacts | None:  # noqa: ARG002 - a Protocol
        """Know nothing."""
        return None

    def free_bytes(self, path: str) -> int | None:  # noqa: ARG002 - a Protocol
        """Know nothing."""
        return None

    def is_hidden(self, path: str) -> bool:  # noqa: ARG002 - a Protocol
        """Know nothing."""
        return True


@dataclass(frozen=True, slots=True)
class Rate:
    """How much is logged: events a second, on average and at the busiest, and bytes an event."""

    events_per_s: float
    event_bytes: float
    peak_per_s: float
    is_measured: bool

    @property
    def bytes_per_s(self) -> float:
        """Bytes that reach the log in a second."""
        return self.events_per_s * self.event_bytes


@dataclass(frozen=True, slots=True)
class Context:
    """Everything a check may ask. `policy` None: not known. `host_file`: where the setup's file lies on its host."""

    setup: Setup
    values: Values
    files: HostFiles
    policy: Report | None
    policy_file: str
    profile: str
    rate: Rate | None
    now: datetime
    host_file: str

    def finding(self, code: str, place: tuple[int, int] | int, message: str, help_: str = "", paste: str = "",
                file: str = "") -> SetupFinding:  # fmt: skip
        """Make a finding in the setup's file, or in another."""
        line, column = place if isinstance(place, tuple) else (place, 1)
        return SetupFinding(code, CODES[code].severity, file or self.setup.file, line, column, message, help_, paste)

    def flag(self, code: str, name: str, message: str, wanted: str = "", help_: str = "") -> SetupFinding:
        """Make a finding at a flag; `wanted` is the value that would be right."""
        paste = self.setup.form.paste(name, wanted) if wanted else ""
        return self.finding(code, self.setup.place(name), message, help_, paste)

    @property
    def has_log(self) -> bool:
        """Whether the log backend is on."""
        return bool(self.values.text("audit-log-path"))

    @property
    def log_file(self) -> str:
        """The log's path, empty when it is off or on standard output."""
        path = self.values.text("audit-log-path")
        return "" if path == "-" else path

    @property
    def has_webhook(self) -> bool:
        """Whether the webhook backend is on."""
        return bool(self.values.text("audit-webhook-config-file"))


Check = Callable[[Context], Iterator[SetupFinding]]
