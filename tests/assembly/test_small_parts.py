"""Small parts of a server: systemd's datagrams, certificates, entries of the operator log, plain HTTP."""

import asyncio
import datetime as dt
import json
import socket
import subprocess
from pathlib import Path

import pytest

from kubewitness.assembly.certificates import common_name, expires, make_ca, make_client, make_server, names_of
from kubewitness.assembly.notify import notify
from kubewitness.assembly.operatorlog import entry
from kubewitness.assembly.plainhttp import Answer, PlainHttp
from kubewitness.event.decode import decode

NOW = dt.datetime(2026, 11, 26, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize("is_abstract", [False, True])
def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_abstract: bool) -> None:
    """The state arrives as a datagram, at a path or an abstract name; without a listener nothing happens."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")
    name = f"@kubewitness-test-{tmp_path.name}" if is_abstract else str(tmp_path / "s")
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    assert not notify("READY=1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name[1:] if is_abstract else name)
        assert notify("READY=1\nSTATUS=x")
        assert listener.recv(100) == b"READY=1\nSTATUS=x"


def test_certificates_are_what_openssl_accepts(tmp_path: Path) -> None:
    """A server's certificate is good for a server, a client's for a client, and neither for the other."""
    ca = make_ca("test", NOW)
    server, client = (
        make_server(ca, ["audit.example", "10.0.0.5", "::1"], NOW),
        make_client(ca, "kube-apiserver:x", NOW),
    )
    for name, data in (("ca", ca.certificate), ("server", server.certificate), ("client", client.certificate)):
        (tmp_path / name).write_bytes(data)
    at = ["-attime", str(int(NOW.timestamp())), "-CAfile", str(tmp_path / "ca")]
    for name, purpose, is_good in (
        ("server", "sslserver", True),
        ("client", "sslclient", True),
        ("server", "sslclient", False),
        ("client", "sslserver", False),
    ):
        command = ["openssl", "verify", "-x509_strict", *at, "-purpose", purpose, str(tmp_path / name)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode == 0) == is_good, done.stderr
    assert names_of(server.certificate) == ["audit.example", "10.0.0.5", "::1"]
    assert names_of(client.certificate) == []
    assert common_name(client.certificate) == "kube-apiserver:x"
    assert expires(server.certificate) == NOW + dt.timedelta(days=397)


def test_entries_of_the_operator_log_are_events() -> None:
    """An entry reads as an Event, in the order of members that kube-apiserver writes."""
    raw = entry("reload", {"error": "ca.crt: \x1b no"}, 1_795_731_700_123_456_789, "id", 500)
    made = decode(raw)
    assert (made.verb, made.stage.value, made.audit_id) == ("reload", "ResponseComplete", "id")
    assert made.stage_timestamp == "2026-11-26T22:21:40.123457Z"
    assert json.loads(raw)["annotations"] == {"kubewitness.io/error": "ca.crt: \x1b no"}
    assert b"\n" not in raw


def test_plain_http_answers_get_and_nothing_else() -> None:
    """GET and HEAD; other methods, no HTTP and heads without end are refused; a silent client is let go."""

    async def handler(target: str) -> Answer:
        return Answer(200, target.encode())

    async def ask(port: int, data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        try:
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async def main() -> None:
        server = PlainHttp(handler)
        _, port = await server.listen("127.0.0.1", 0)
        assert (await ask(port, b"GET /x?y HTTP/1.1\r\nHost: a\r\n\r\n")).endswith(b"\r\n\r\n/x?y")
        assert (await ask(port, b"HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n")).endswith(b"\r\n\r\n")
        assert (await ask(port, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"))[:12] == b"HTTP/1.1 405"
        assert b"200" not in await ask(port, b"\x16\x03\x01\r\n\r\n")
        assert b"200" not in await ask(port, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 50_000)
        await server.stop()

    asyncio.run(main())
