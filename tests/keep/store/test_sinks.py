"""Heads go where they are told to, whole and signed; a sink that fails or hangs is counted and holds nobody up."""

import base64
import re
import socket
import subprocess
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kubewitness._kit.files import DiskDirectory
from kubewitness.keep.seal.checkpoint import Checkpoint
from kubewitness.keep.seal.ed25519 import Ed25519Signer
from kubewitness.keep.seal.note import format_note, sign
from kubewitness.keep.store.sinks import (
    MAX_WAITING,
    FileSink,
    GitSink,
    Sinks,
    SyslogSink,
    file_name,
    sinks_of,
    syslog_message,
)

ORIGIN = "kubewitness.io/log/prod"


def head(size: int, origin: str = ORIGIN, root: int = 7) -> bytes:
    signer = Ed25519Signer.make("k", b"k" * 32)
    return format_note(sign(Checkpoint(origin, size, bytes([root]) * 32).text(), [signer]))


def test_files_are_kept_and_never_written_again(tmp_path):
    """A file for each size; the same head again is nothing, another one of that size is refused."""
    sink = FileSink(tmp_path)
    for note in (head(1), head(2), head(2), head(1, "../other")):
        sink(note)
    assert (tmp_path / file_name(ORIGIN) / "2").read_bytes() == head(2)
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(FileExistsError):
        sink(head(2, root=8))
    assert (tmp_path / file_name(ORIGIN) / "2").read_bytes() == head(2)
    with pytest.raises(FileNotFoundError):
        FileSink(tmp_path / "no")(head(1))


def test_a_file_is_kept_at_the_same_cost_among_many(tmp_path, monkeypatch):
    """The directory, which grows by a file with each head, is not listed."""
    monkeypatch.setattr(DiskDirectory, "names", lambda self: pytest.fail("it was listed"))
    for note in (head(1), head(2), head(2)):
        FileSink(tmp_path)(note)


def git(path: Path, *words: str) -> str:
    command = ["git", "-C", str(path), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_git_has_a_commit_for_each_head_and_pushes_it(tmp_path):
    """To the remote there is, never with force: what somebody else pushed is not overwritten."""
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", "remote.git")
    git(tmp_path, "clone", "--quiet", "remote.git", "clone")
    clone, remote = tmp_path / "clone", tmp_path / "remote.git"
    sink = GitSink(clone)
    for note in (head(1), head(2), head(2), head(5, "other")):
        sink(note)
    assert git(remote, "log", "--format=%s", "main").splitlines() == [
        f"other: 5 events, root {'07' * 32}",
        f"{ORIGIN}: 2 events, root {'07' * 32}",
        f"{ORIGIN}: 1 events, root {'07' * 32}",
    ]
    assert git(remote, "show", f"main:{file_name(ORIGIN)}.checkpoint") == head(2).decode().strip()
    git(tmp_path, "clone", "--quiet", "remote.git", "else")
    git(
        tmp_path / "else",
        "-c",
        "user.name=e",
        "-c",
        "user.email=e@x",
        "commit",
        "--quiet",
        "--allow-empty",
        "-m",
        "mine",
    )
    git(tmp_path / "else", "push", "--quiet")
    with pytest.raises(OSError, match="git push"):
        sink(head(9))
    assert git(remote, "log", "-1", "--format=%s", "main") == "mine"
    assert git(clone, "log", "-1", "--format=%s").startswith(f"{ORIGIN}: 9 events")


def test_git_without_a_remote_or_a_repository(tmp_path):
    """Without a remote the commit is all; without a repository it fails and says so."""
    git(tmp_path, "init", "--quiet", "alone")
    GitSink(tmp_path / "alone")(head(1))
    assert git(tmp_path / "alone", "rev-list", "--count", "HEAD") == "1"
    (tmp_path / "none").mkdir()
    with pytest.raises(OSError, match="not a git repository"):
        GitSink(tmp_path / "none")(head(1))


def test_syslog_over_udp_tcp_and_a_socket(tmp_path):
    """The same message of RFC 5424 each way; it holds the whole signed head."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unix,
    ):
        udp.bind(("127.0.0.1", 0))
        unix.bind(str(tmp_path / "log"))
        for receiver, address in ((udp, f"udp://127.0.0.1:{udp.getsockname()[1]}"), (unix, f"unix://{tmp_path}/log")):
            receiver.settimeout(5)
            SyslogSink(address)(head(3))
            check_message(receiver.recv(65536))
    with socket.create_server(("127.0.0.1", 0)) as server:
        SyslogSink(f"tcp://127.0.0.1:{server.getsockname()[1]}")(head(3))
        stream, _ = server.accept()
        with stream:
            stream.settimeout(5)
            data = b"".join(iter(lambda: stream.recv(65536), b""))
    length, _, message = data.partition(b" ")
    assert int(length) == len(message)
    check_message(message)
    for address in ("http://x", "udp://", "plain"):
        with pytest.raises(ValueError, match="udp"):
            SyslogSink(address)(head(3))


def check_message(message: bytes) -> None:
    text = message.decode()
    match = re.fullmatch(
        r"<109>1 \d{4}-\d\d-\d\dT[\d:.]+Z \S+ kubewitness \d+ checkpoint \[checkpoint@32473 (.*)\] (\S+) 3 (\S+)", text
    )
    assert match, text
    note = re.search(r'note="([^"]+)"', match[1])[1]
    assert base64.b64decode(note) == head(3)
    assert (match[2], match[3]) == (ORIGIN, "07" * 32)


def test_a_hostile_origin_stays_inside_its_quotes():
    """Quotes, brackets and backslashes are escaped as RFC 5424 says."""
    message = syslog_message(head(1, 'a"b]c\\d'), datetime(2026, 1, 2, tzinfo=UTC), "host name\n", 1).decode()
    assert r'origin="a\"b\]c\\d"' in message
    assert " hostname kubewitness 1 " in message


def test_one_that_fails_or_hangs_holds_up_nobody():
    """The others get every head; failures are counted and told once, and when it works again."""
    got, told = [], []
    hangs, broken = threading.Event(), [True]

    def fails(note: bytes) -> None:
        if broken[0]:
            raise OSError("no")

    sinks = Sinks(
        {"good": got.append, "fails": fails, "hangs": lambda note: hangs.wait(10)},
        on_change=lambda name, error: told.append((name, error)),
    )
    notes = [head(size) for size in range(1, MAX_WAITING + 10)]
    for note in notes:
        before = len(got)
        sinks(note)
        until(lambda before=before: len(got) > before)
    until(lambda: sinks.counts["fails"].failed == len(notes))
    broken[0] = False
    sinks(head(1000))
    until(lambda: sinks.counts["fails"].sent == 1)
    hangs.set()
    sinks.close()
    assert got == [*notes, head(1000)]
    assert told == [("fails", "OSError: no"), ("fails", "")]
    assert sinks.counts["hangs"].skipped > 0
    assert sinks.counts["good"].sent == len(notes) + 1
    assert sinks.counts["fails"].error == ""


def until(holds) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_what_waits_is_handed_on_at_the_end():
    """Closing hands on what waits, and does not wait for what hangs."""
    got = []
    sinks = Sinks({"slow": lambda note: (time.sleep(0.01), got.append(note)), "hangs": lambda note: time.sleep(3)})
    for size in range(10):
        sinks(head(size))
    started = time.monotonic()
    sinks.close(0.3)
    assert len(got) == 10
    assert time.monotonic() - started < 2


def test_sinks_of_a_configuration(tmp_path):
    """Each by kind and place; what others see to is passed over."""
    made = sinks_of([{"file": str(tmp_path)}, {"git": "x"}, {"syslog": "udp://h"}, {"stdout": "yes"}])
    assert list(made.values()) == [FileSink(tmp_path), GitSink(Path("x")), SyslogSink("udp://h")]
