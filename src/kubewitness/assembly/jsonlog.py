"""
The server's own log: a line of JSON each on standard error, about names, counts and files, never about content.

What comes too often is left out and counted, so that nobody can fill a disk by being refused.
"""

import contextlib
import datetime as dt
import json
import sys
import threading
import time
from collections.abc import Callable
from typing import TextIO

BURST = 20  # lines of one kind
PER_SECOND = 1.0
LEVELS = ("debug", "info", "warning", "error")


class JsonLog:
    """Writes lines, from any thread."""

    def __init__(
        self,
        stream: TextIO | None = None,
        level: str = "info",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Write to `stream` what is as grave as `level`, or graver."""
        self._stream = stream or sys.stderr
        self._from = LEVELS.index(level)
        self._clock = clock
        self._lock = threading.Lock()
        self._left: dict[str, tuple[float, float, int]] = {}

    def info(self, event: str, **fields: object) -> None:
        """Say what happened."""
        self._write("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Say what somebody may want to look into."""
        self._write("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Say what somebody must look into."""
        self._write("error", event, fields)

    def _write(self, level: str, event: str, fields: dict[str, object]) -> None:
        if LEVELS.index(level) < self._from:
            return
        now = self._clock()
        with self._lock:
            suppressed = self._account(event, now)
            if suppressed < 0:
                return
            time_text = dt.datetime.fromtimestamp(now, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            line = {"time": time_text, "level": level, "event": event, **fields}
            if suppressed:
                line["suppressed"] = suppressed
            # escaped to ASCII: a terminal or a collector must not be steered by a name that somebody chose
            text = json.dumps(line, ensure_ascii=True, default=str)
            # nobody may suffer for that a line cannot be written: the disk of the log may be full
            with contextlib.suppress(OSError, ValueError):
                self._stream.write(text + "\n")
                self._stream.flush()

    def _account(self, event: str, now: float) -> int:
        """Give how many lines of this kind were left out since the last one; -1 to leave out this one too."""
        tokens, last, suppressed = self._left.get(event, (float(BURST), now, 0))
        tokens = min(BURST, tokens + max(now - last, 0.0) * PER_SECOND)
        if tokens < 1:
            self._left[event] = (tokens, now, suppressed + 1)
            return -1
        self._left[event] = (tokens - 1, now, 0)
        return suppressed
