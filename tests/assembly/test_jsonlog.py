"""The server's own log: lines of JSON that steer no terminal and fill no disk."""

import contextlib
import io
import json
from pathlib import Path

from kubewitness.assembly.jsonlog import BURST, JsonLog


def test_lines_are_ascii_and_rare() -> None:
    """T27: control characters are escaped; of what comes all the time some is left out, and counted."""
    stream, now = io.StringIO(), [1_000_000.0]
    log = JsonLog(stream, clock=lambda: now[0])
    log.info("hello", name="\x1b[31mé\u202e\n", count=3)
    line = stream.getvalue()
    assert line.isascii()
    assert line.count("\n") == 1
    assert json.loads(line) == {
        "time": "1970-01-12T13:46:40.000Z",
        "level": "info",
        "event": "hello",
        "name": "\x1b[31mé\u202e\n",
        "count": 3,
    }
    stream.truncate(0)
    for _ in range(1000):
        log.warning("refused")
    assert len(stream.getvalue().splitlines()) == BURST
    now[0] += 10
    log.warning("refused")
    assert json.loads(stream.getvalue().splitlines()[-1])["suppressed"] == 1000 - BURST


def test_levels() -> None:
    """What is less grave than asked for is not written."""
    stream = io.StringIO()
    log = JsonLog(stream, level="error")
    log.info("a")
    log.warning("b")
    log.error("c")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["c"]


def test_a_stream_that_fails_is_nobodys_trouble() -> None:
    """A full disk under the log, or a pipe without a reader, raises nothing."""
    with Path("/dev/full").open("w") as stream:
        log = JsonLog(stream)
        log.error("x")
        log.error("y" * 10_000)
        with contextlib.suppress(OSError):
            stream.close()
    JsonLog(stream).error("closed")
