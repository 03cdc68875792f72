"""A real server process with its certificates, and clients that post to it over TLS, for tests."""

import datetime as dt
import http.client
import io
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tarfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Self

import zstandard

from kubewitness.assembly.certificates import Pair, make_ca, make_client, make_server
from kubewitness.keep.store.layout import DataDir
from kubewitness.keep.store.reader import Lost, Record, read_blocks, records

DATA = Path(__file__).resolve().parent.parent / "data"
PROGRAM = [sys.executable, "-c", "import sys; from kubewitness.cli.main import main; sys.exit(main())"]
NOW = dt.datetime.now(dt.UTC)


@cache
def recorded() -> tuple[bytes, ...]:
    """The 126 bodies that a real kube-apiserver posted."""
    raw = zstandard.ZstdDecompressor().stream_reader((DATA / "webhook-full.tar.zst").read_bytes()).read()
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        files = [(member.name, tar.extractfile(member)) for member in tar]
        return tuple(file.read() for name, file in files if name.endswith(".json") and file is not None)


@cache
def recorded_items() -> tuple[bytes, ...]:
    """Their items, exact bytes, by a second way than the receiver's."""
    out = []
    decoder = json.JSONDecoder()
    for body in recorded():
        text = body.decode()
        at = text.index('"items":[') + len('"items":[')
        while text[at] != "]":
            _, end = decoder.raw_decode(text, at)
            out.append(text[at:end].encode())
            at = end + (text[end] == ",")
    return tuple(out)


def event(number: int, audit_id: str | None = None, **members: object) -> bytes:
    """One small Event."""
    head = {"level": "Metadata", "auditID": audit_id or f"id-{number}", "stage": "ResponseComplete"}
    stamp = "2026-11-23T03:05:00.000000Z"
    rest = {"requestURI": f"/api/{number}", "verb": "get", "stageTimestamp": stamp}
    return json.dumps(head | rest | members, separators=(",", ":")).encode()


def event_list(*items: bytes) -> bytes:
    """A body as kube-apiserver writes it."""
    return b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[' + b",".join(items) + b"]}\n"


@cache
def authority() -> Pair:
    """The authority of all test certificates, made once."""
    return make_ca("test authority", NOW - dt.timedelta(days=600))


def write_pair(place: Path, name: str, pair: Pair) -> None:
    (place / f"{name}.crt").write_bytes(pair.certificate)
    (place / f"{name}.key").write_bytes(pair.key)


class Site:
    """A place on the disk with certificates and a configuration of clusters a and b."""

    def __init__(self, place: Path, clusters: Sequence[str] = ("a", "b"), extra: str = "", **limits: object) -> None:
        self.place = place
        self.data = place / "data"
        self.clusters = clusters
        place.mkdir(parents=True, exist_ok=True)
        (place / "ca.crt").write_bytes(authority().certificate)
        long_ago = NOW - dt.timedelta(days=500)
        write_pair(place, "server", make_server(authority(), ["127.0.0.1"], long_ago, 1000))
        for name in clusters:
            write_pair(place, name, make_client(authority(), f"apiserver {name}", long_ago, 1000))
        lines = [
            "data: data",
            "listen: {events: '127.0.0.1:0', operate: '127.0.0.1:0', tiles: '127.0.0.1:0'}",
            "tls: {certificate: server.crt, key: server.key, clientCA: ca.crt}",
            "seal: {every: 50ms}",
            "clusters:",
        ]
        lines += [f"- {{name: {name}, certificates: [{{commonName: apiserver {name}}}]}}" for name in clusters]
        lines += ["limits:", "  reserveBytes: 1", *(f"  {name}: {value}" for name, value in limits.items()), extra]
        self.config = place / "kubewitness.yaml"
        self.config.write_text("\n".join(lines) + "\n")

    def tls(self, name: str | None) -> ssl.SSLContext:
        """What a client with this certificate connects with."""
        context = ssl.create_default_context(cafile=str(self.place / "ca.crt"))
        if name is not None:
            context.load_cert_chain(self.place / f"{name}.crt", self.place / f"{name}.key")
        return context

    def stored(self, cluster: str = "a") -> list[Record]:
        """What the log of a cluster holds; fails when anything is lost."""
        out: list[Record] = []
        with DataDir(self.data).look(cluster) as root, root.look("segments") as segments:
            for part in read_blocks(segments):
                assert not isinstance(part, Lost), part
                out += records(part)
        assert [record.index for record in out] == list(range(len(out)))
        return out

    def lines(self, cluster: str = "a") -> list[bytes]:
        """The exact bytes of the Events of a log."""
        return [record.kept.line for record in self.stored(cluster)]

    def operator(self) -> list[dict[str, object]]:
        """The entries of the operator log."""
        return [json.loads(line) for line in self.lines("_operator")]


class Server:
    """A running server."""

    def __init__(self, site: Site, *, before: Sequence[str] = (), env: dict[str, str] | None = None) -> None:
        self.site = site
        self.said: list[dict[str, object]] = []
        self.raw: list[str] = []
        self.process = subprocess.Popen(
            [*before, *PROGRAM, "serve", "--config", str(site.config)],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | (env or {}),
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        try:
            started = self.wait_for("started", 60)
        except AssertionError:
            self.kill()
            raise
        self.pid = int(str(started["pid"]))
        addresses = started["addresses"]
        assert isinstance(addresses, dict)
        self.ports = {kind: found[0][1] for kind, found in addresses.items()}
        self.port = self.ports["events"]

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.raw.append(line)
            if line.startswith("{"):
                self.said.append(json.loads(line))

    def wait_for(self, what: str, seconds: float = 30, **fields: object) -> dict[str, object]:
        """Wait until the server's log has such a line."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for line in list(self.said):
                if line["event"] == what and fields.items() <= line.items():
                    return line
            if self.process.poll() is not None and not self._reader.is_alive():
                break
            time.sleep(0.02)
        raise AssertionError(f"no {what} {fields} in:\n{''.join(self.raw)}")

    def get(self, path: str, kind: str = "operate") -> tuple[int, bytes]:
        """Ask health, metrics or tiles."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[kind]}{path}", timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def metric(self, name: str) -> float:
        """A metric with its labels, as /metrics writes it; 0 when it is not there."""
        for line in self.get("/metrics")[1].decode().splitlines():
            if line.startswith(name + " "):
                return float(line.rpartition(" ")[2])
        return 0.0

    def until(self, condition, seconds: float = 30) -> None:
        """Wait until this holds."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it never came about\n" + "".join(self.raw)
            time.sleep(0.02)

    def wait_open(self, *clusters: str) -> None:
        for cluster in clusters or self.site.clusters:
            self.wait_for("store_open", cluster=cluster)

    def client(self, name: str | None = "a", timeout: float = 30) -> "Client":
        return Client(self.port, self.site.tls(name), timeout)

    def raw_client(self, name: str | None = "a") -> ssl.SSLSocket:
        """A TLS connection on which to write whatever one likes."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=15)
        try:
            return self.site.tls(name).wrap_socket(plain, server_hostname="127.0.0.1")
        except OSError:
            plain.close()
            raise

    def stop(self, seconds: float = 60) -> int:
        """SIGTERM, and wait."""
        if self.process.poll() is None:
            os.kill(getattr(self, "pid", self.process.pid), signal.SIGTERM)
        try:
            code = self.process.wait(seconds)
        finally:
            self.kill()
        return code

    def kill(self) -> None:
        """SIGKILL, and wait."""
        if self.process.poll() is None:
            with suppress(ProcessLookupError):  # under strace the process that we started may live on for a moment
                os.kill(getattr(self, "pid", self.process.pid), signal.SIGKILL)
            self.process.wait(10)
        self._reader.join(10)
        assert self.process.stderr is not None
        self.process.stderr.close()


@contextmanager
def serving(site: Site, **options) -> Iterator[Server]:
    """A server for as long as the block runs; its stop must be clean."""
    server = Server(site, **options)
    try:
        server.wait_open()
        yield server
        code = server.stop()
        assert code == 0, "".join(server.raw)
    finally:
        server.kill()


class Client:
    """A client that posts bodies and reads answers, over one connection."""

    def __init__(self, port: int, context: ssl.SSLContext, timeout: float = 30) -> None:
        self._http = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=timeout)
        self.headers: dict[str, str] = {}

    def post(self, body: bytes, path: str = "/k8s-audit?timeout=30s", **headers: str) -> tuple[int, dict[str, object]]:
        """Post a body; give status and the answer."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._http.request("POST", path, body, {"Content-Type": "application/json"} | named)
        answer = self._http.getresponse()
        text = answer.read()
        self.headers = dict(answer.getheaders())
        return answer.status, json.loads(text)

    def send(self, body: bytes) -> None:
        """Post a body and do not wait for the answer."""
        self._http.request("POST", "/", body)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
