"""
Prove that a kube-apiserver came back after a change: its log has grown, then it says twice that it is ready.

Before the restart the old server still answers, so an answer alone proves nothing; a log that was not there before and
grows was written by a server that has read the new flags. Clock and pause are handed in.
"""

import http.client
import ssl
import subprocess
import urllib.parse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

PATHS = ("/livez", "/readyz")
_ANSWER_S = 10.0
_PAUSE_S = 0.5
_WATCH_S = 0.1
"""Until the old server was seen to be away, which may be short."""
_ENOUGH = 2
Probe = Callable[[], str]


@dataclass(frozen=True, slots=True)
class LogState:
    """How far a log is: which file, and how long."""

    inode: int
    size: int

    @classmethod
    def of(cls, path: Path) -> "LogState":
        """Look at a log, which may not be there yet."""
        try:
            found = path.stat()
        except OSError:
            return cls(0, 0)
        return cls(found.st_ino, found.st_size)

    def has_grown_since(self, before: "LogState") -> bool:
        """Say whether anything was written since."""
        return self.size > 0 and (self.inode != before.inode or self.size > before.size)


def wait(probe: Probe, log: Path | None, before: LogState, within_s: float, now: Callable[[], float],
         pause: Callable[[float], None], has_restarted: Callable[[], bool]) -> str:  # fmt: skip
    """Wait until the server is well; give "" or why it is not.

    Where there was a log before, the old server may still write it: then the new one is believed only once the old one
    was seen to be away, or `has_restarted` says so.
    """
    deadline, good, why, was_away = now() + within_s, 0, "nothing was tried", before.size == 0
    while now() < deadline:
        answer = probe()
        was_away = was_away or bool(answer) or has_restarted()
        if log is not None and not LogState.of(log).has_grown_since(before):
            why, good = f"nothing was written to {log}" + (f"; {answer}" if answer else ""), 0
        elif not was_away:
            why, good = "the server that ran before is still running", 0
        else:
            why, good = answer, 0 if answer else good + 1
            if good == _ENOUGH:
                return ""
        pause(_PAUSE_S if was_away else _WATCH_S)
    return why


def kubectl_probe(command: Sequence[str]) -> Probe:
    """Ask through kubectl."""

    def probe() -> str:
        for path in PATHS:
            try:
                done = subprocess.run(  # noqa: S603 - the program the user named
                    [*command, "get", "--raw", path], capture_output=True, text=True, timeout=_ANSWER_S, check=False
                )
            except subprocess.TimeoutExpired:
                return f"kubectl get --raw {path}: no answer in {_ANSWER_S:.0f} s"
            except OSError as exc:
                return f"{command[0]}: {exc.strerror}"
            if done.returncode:
                said = done.stderr.strip().splitlines()
                return f"kubectl get --raw {path}: {said[-1] if said else f'ended with {done.returncode}'}"
        return ""

    return probe


def url_probe(url: str, ca: str | None, *, is_verified: bool) -> Probe:
    """Ask the server itself; /livez and /readyz answer without credentials."""
    parts = urllib.parse.urlsplit(url)

    def probe() -> str:
        for path in PATHS:
            try:
                status = _get(parts, path, ca, is_verified=is_verified)
            except (OSError, http.client.HTTPException) as exc:
                return f"{url}{path}: {exc}"
            if status != http.client.OK:
                return f"{url}{path}: status {status}"
        return ""

    return probe


def _get(parts: urllib.parse.SplitResult, path: str, ca: str | None, *, is_verified: bool) -> int:
    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=ca)
        if not is_verified:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, parts.port or 443, timeout=_ANSWER_S, context=context)
    else:
        connection = http.client.HTTPConnection(host, parts.port or 80, timeout=_ANSWER_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()
