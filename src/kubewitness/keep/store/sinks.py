"""
Where signed heads go beside the data directory, so that somebody else remembers them: files, git, syslog.

A sink is a callable that takes a head as it was signed. Each has a thread of its own: one that hangs or fails holds up
neither sealing nor the others, and what it missed is covered by the next head, which says more.
"""

import base64
import hashlib
import os
import socket
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from kubewitness._kit.files import DiskDirectory, read_whole, write_whole
from kubewitness.keep.seal.checkpoint import Checkpoint, parse_checkpoint
from kubewitness.keep.seal.note import parse_note

Sink = Callable[[bytes], None]
"""Takes a signed head. Raises OSError when it cannot be handed on."""

MAX_WAITING = 64
GIT_SECONDS = 30.0
NET_SECONDS = 5.0
_PRIORITY = 13 * 8 + 5  # "log audit", notice
_ENTERPRISE = 32473  # the number that RFC 5612 sets aside for examples; we have none of our own
_git_locks: dict[str, threading.Lock] = {}
_git_guard = threading.Lock()


def head_of(note: bytes) -> Checkpoint:
    """Read a head as it was signed."""
    return parse_checkpoint(parse_note(note).text)


def file_name(origin: str) -> str:
    """Name the file or folder of a log: a name that somebody chose never becomes a path."""
    return hashlib.sha256(origin.encode()).hexdigest()[:16]


def fields_of(note: bytes) -> dict[str, str]:
    """Say in a few words what a head says, and the head itself in base64."""
    head = head_of(note)
    return {
        "origin": head.origin,
        "size": str(head.size),
        "root": head.root.hex(),
        "note": base64.b64encode(note).decode(),
    }


@dataclass(frozen=True, slots=True)
class FileSink:
    """Keeps each head as a file of its own, never written again: `<path>/<hash of origin>/<size>`."""

    path: Path

    def __call__(self, note: bytes) -> None:
        """Write it. Raises OSError, also when another head of this size is there."""
        head = head_of(note)
        with DiskDirectory.at(self.path) as top, top.enter(file_name(head.origin)) as folder:
            name = str(head.size)
            try:
                known = read_whole(folder, name)
            except FileNotFoundError:
                write_whole(folder, name, note)
                top.sync()
                return
            if known != note:
                raise FileExistsError(f"{self.path}: another head of {head.size} events of {head.origin} is there")


@dataclass(frozen=True, slots=True)
class GitSink:
    """Commits each head in a clone, and pushes it where there is a remote; never with force."""

    path: Path

    def __call__(self, note: bytes) -> None:
        """Commit it, and push. Raises OSError with what git said."""
        head = head_of(note)
        name = f"{file_name(head.origin)}.checkpoint"
        with _git_guard:
            lock = _git_locks.setdefault(str(self.path), threading.Lock())
        with lock:
            (self.path / name).write_bytes(note)
            self._git("add", "--", name)
            if self._git("status", "--porcelain", "--", name):
                message = f"{head.origin}: {head.size} events, root {head.root.hex()}"
                self._git("commit", "--quiet", "--no-verify", "-m", message, "--", name)
            if self._git("remote"):
                self._git("push", "--quiet", self._git("remote").split()[0], "HEAD")

    def _git(self, *words: str) -> str:
        identity = ("-c", "user.name=kubewitness", "-c", "user.email=kubewitness@localhost")
        command = ["git", "-C", str(self.path), *identity, *words]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        environment |= {"GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": "ssh -o BatchMode=yes", "LC_ALL": "C"}
        try:
            done = subprocess.run(  # noqa: S603 - words of ours
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=GIT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as exc:
            raise TimeoutError(f"git {words[0]} in {self.path} did not end in {GIT_SECONDS:.0f} s") from exc
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip() or f"exit code {done.returncode}"
            raise OSError(f"git {words[0]} in {self.path}: {said}")
        return done.stdout.decode("utf-8", "replace").strip()


@dataclass(frozen=True, slots=True)
class SyslogSink:
    """Sends each head as a message of RFC 5424, to `udp://host:port`, `tcp://host:port` or `unix:///dev/log`."""

    address: str

    def __call__(self, note: bytes) -> None:
        """Send it. Raises OSError, ValueError for an address that is none."""
        data = syslog_message(note, datetime.now(UTC), socket.gethostname(), os.getpid())
        parts = urlsplit(self.address)
        if parts.scheme == "unix":
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(NET_SECONDS)
                sender.sendto(data, parts.path)
            return
        if parts.scheme not in ("udp", "tcp") or not parts.hostname:
            raise ValueError(f"not udp://, tcp:// or unix://: {self.address!r}")
        place = (parts.hostname, parts.port or (514 if parts.scheme == "udp" else 601))
        if parts.scheme == "tcp":
            with socket.create_connection(place, NET_SECONDS) as stream:
                stream.sendall(b"%d %s" % (len(data), data))  # octet counting, RFC 6587
            return
        family, kind, *_, address = socket.getaddrinfo(*place, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as sender:
            sender.settimeout(NET_SECONDS)
            sender.sendto(data, address)


def is_syslog_address(text: str) -> bool:
    """Tell whether `SyslogSink` can send there."""
    try:
        parts = urlsplit(text)
        known = parts.scheme in ("udp", "tcp") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return known or (parts.scheme == "unix" and len(parts.path) > 1)


def syslog_message(note: bytes, now: datetime, host: str, pid: int) -> bytes:
    """Write a head as a message of RFC 5424; its whole note is in the structured data."""
    told = fields_of(note)
    escaped = {
        name: value.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]") for name, value in told.items()
    }
    data = " ".join(f'{name}="{value}"' for name, value in escaped.items())
    stamp = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    host = "".join(c for c in host if "!" <= c <= "~")[:255] or "-"
    head = f"<{_PRIORITY}>1 {stamp} {host} kubewitness {pid} checkpoint [checkpoint@{_ENTERPRISE} {data}]"
    return f"{head} {told['origin']} {told['size']} {told['root']}".encode()


KINDS: Mapping[str, Callable[[str], Sink]] = {
    "file": lambda text: FileSink(Path(text)),
    "git": lambda text: GitSink(Path(text)),
    "syslog": SyslogSink,
}


def sinks_of(specs: Sequence[Mapping[str, str]]) -> dict[str, Sink]:
    """Make the sinks of a configuration: each `{kind: where}`. Kinds of others, such as `stdout`, are passed over."""
    return {f"{kind} {where}": KINDS[kind](where) for spec in specs for kind, where in spec.items() if kind in KINDS}


@dataclass(slots=True)
class _Line:
    """The heads that wait for one sink."""

    sink: Sink
    waiting: deque[bytes] = field(default_factory=lambda: deque(maxlen=MAX_WAITING))
    thread: threading.Thread | None = None


@dataclass(slots=True)
class Count:
    """What became of the heads of one sink."""

    sent: int = 0
    failed: int = 0
    skipped: int = 0
    error: str = ""
    """What it failed of last; empty since it works again."""


class Sinks:
    """Hands each head to every sink."""

    def __init__(self, sinks: Mapping[str, Sink], on_change: Callable[[str, str], None] = lambda _name, _error: None):
        """Begin. `on_change` is told the name of a sink that begins to fail, with why, or works again, with nothing."""
        self.counts = {name: Count() for name in sinks}
        self._on_change = on_change
        self._lines = {name: _Line(sink) for name, sink in sinks.items()}
        self._changed = threading.Condition()
        self._is_closed = False
        for name, line in self._lines.items():
            line.thread = threading.Thread(target=self._run, args=(name, line), name=f"sink {name}", daemon=True)
            line.thread.start()

    def __call__(self, note: bytes) -> None:
        """Hand on a head; never waits and never fails."""
        with self._changed:
            for name, line in self._lines.items():
                self.counts[name].skipped += len(line.waiting) == MAX_WAITING
                line.waiting.append(note)
            self._changed.notify_all()

    def _run(self, name: str, line: _Line) -> None:
        while True:
            with self._changed:
                while not line.waiting and not self._is_closed:
                    self._changed.wait()
                if not line.waiting:
                    return
                note = line.waiting.popleft()
            self._hand_on(name, line.sink, note)

    def _hand_on(self, name: str, sink: Sink, note: bytes) -> None:
        count = self.counts[name]
        try:
            sink(note)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the next head is tried again
            count.failed += 1
            error = f"{type(exc).__name__}: {exc}"
        else:
            count.sent += 1
            error = ""
        if bool(error) != bool(count.error):
            with suppress(Exception):
                self._on_change(name, error)
        count.error = error

    def close(self, seconds: float = 10.0) -> None:
        """Hand on what waits, for so long; then let it be."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        for line in self._lines.values():
            if line.thread is not None:
                line.thread.join(seconds)
