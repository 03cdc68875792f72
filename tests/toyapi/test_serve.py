"""From kubectl to an answer: the toy API server's webhook, `kubewitness serve` killed and started again, `who`."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubewitness.cli.main import main
from tests.toyapi import running

ENTRY = "from kubewitness.cli.main import main; raise SystemExit(main())"
FULL = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: RequestResponse\n"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextlib.contextmanager
def serving(folder: Path, port: int, end: signal.Signals) -> Iterator[Path]:
    """Run `kubewitness serve --data` in a process; give the kubeconfig that it makes."""
    command = [sys.executable, "-c", ENTRY, "serve", "--data", str(folder / "data"), "--listen", f"127.0.0.1:{port}"]
    with (folder / "serve.log").open("ab") as log:
        process = subprocess.Popen(command, stderr=log, stdout=log)
    try:
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None, (folder / "serve.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield folder / "data.server" / "apiserver-main.kubeconfig"
    finally:
        process.send_signal(end)
        process.wait(30)


def stored(folder: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> list[dict]:
    """Everything the store holds, in its order."""
    capfdbinary.readouterr()
    assert main(["search", "--data", str(folder / "data"), "--stages", "all", "-o", "jsonl"]) == 0
    return [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]


def test_what_kubectl_did_is_kept_though_the_log_server_was_killed(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Events of before, during and after an outage are in the store, once, in order, and they answer who."""
    port = free_port()
    with serving(tmp_path, port, signal.SIGKILL) as config:
        flags = [
            f"--audit-webhook-config-file={config}",
            f"--audit-webhook-spool-dir={tmp_path / 'spool'}",
            "--audit-webhook-batch-max-wait=50ms",
            "--audit-webhook-initial-backoff=50ms",
        ]
        toy = running(tmp_path / "toy", FULL, *flags)
        server = toy.__enter__()
        server.kubectl("create", "secret", "generic", "db", "--from-literal=password=hunter2")
        time.sleep(0.3)
    try:
        server.kubectl("get", "secret", "db", "-o", "yaml")
        server.kubectl("delete", "secret", "db")
        with serving(tmp_path, port, signal.SIGTERM):
            server.kubectl("get", "secret", "db", check=False)
            deadline = time.monotonic() + 30
            logged = server.events()
            while len(stored(tmp_path, capfdbinary)) < len(logged) and time.monotonic() < deadline:
                time.sleep(0.1)
            server.stop()
    finally:
        toy.__exit__(None, None, None)
    logged = server.events()
    head = {"kind": "Event", "apiVersion": "audit.k8s.io/v1"}
    assert [{**head, **event} for event in stored(tmp_path, capfdbinary)] == logged
    data = ["--data", str(tmp_path / "data")]
    for question in ("created", "read", "deleted"):
        assert main(["who", question, "secrets/db", "-n", "default", *data]) == 0
        assert b"admin" in capfdbinary.readouterr().out
    assert main(["verify", *data]) == 0
    assert b"main: sound" in capfdbinary.readouterr().out
