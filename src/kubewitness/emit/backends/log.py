"""
The log backend: each Event becomes a line, in the file, in standard output, or wherever a Writer leads.

Events come from many threads, lines leave one at a time. What cannot be written is counted and reported as
kube-apiserver does, and `process_events` says so; whether that matters is the mode's affair (`build`).

Follows k8s.io/apiserver/plugin/pkg/audit/log/backend.go. Differs: a line above maxsize is written and counted as
oversized; kube-apiserver loses it.
"""

import threading
from collections.abc import Callable, Sequence
from typing import BinaryIO, Protocol

import msgspec

from kubewitness.emit import wire
from kubewitness.emit.legacy import text_line
from kubewitness.emit.metrics import Metrics
from kubewitness.event.types import Event

NAME = "log"


class Writer(Protocol):
    """Takes lines."""

    @property
    def max_bytes(self) -> int | None:
        """The size of a line above which it counts as oversized."""

    def write(self, line: bytes) -> None:
        """Take a whole line. Raises OSError."""

    def close(self) -> None:
        """Let go of what is open."""


class Stream:
    """A Writer to an open stream, standard output for instance, which it leaves open."""

    max_bytes = None

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, line: bytes) -> None:
        """Write the line and flush it."""
        self._stream.write(line)
        self._stream.flush()

    def close(self) -> None:
        """Do nothing: the stream is not ours."""


def _as_text(event: Event) -> bytes:
    return text_line(event).encode() + b"\n"


_FORMATS: dict[str, Callable[[Event], bytes]] = {"json": wire.line, "legacy": _as_text}


class LogBackend:
    """Writes each Event as a line."""

    name = NAME

    def __init__(self, writer: Writer, metrics: Metrics, line_format: str = "json") -> None:
        self._writer = writer
        self._metrics = metrics
        self._encode = _FORMATS[line_format]
        self._lock = threading.Lock()

    def run(self) -> None:
        """Start: nothing to do, lines are written at once."""

    def shutdown(self) -> None:
        """Close the file."""
        with self._lock:
            self._writer.close()

    def process_events(self, events: Sequence[Event]) -> bool:
        """Write the Events; False when one could not be written. The others still are."""
        is_written = True
        for event in events:
            reason = self._write(event)
            if reason is not None:
                self._metrics.plugin_error(NAME, reason, (event,))
                is_written = False
        return is_written

    def _write(self, event: Event) -> str | None:
        try:
            line = self._encode(event)
        except (UnicodeEncodeError, msgspec.MsgspecError) as exc:
            return f"the Event cannot be written as text: {exc}"
        limit = self._writer.max_bytes
        try:
            with self._lock:
                self._writer.write(line)
        except OSError as exc:
            return reason_of(exc)
        if limit is not None and len(line) > limit:
            self._metrics.count_oversized()
        return None


def reason_of(error: OSError) -> str:
    """Say what the system said, as Go words it: `no space left on device`."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]
