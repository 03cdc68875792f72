"""A receiver of audit webhooks that does as it is told, over real TLS; and the kubeconfigs that lead to it."""

import contextlib
import http.server
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.toyapi.process import certificate

RESET, EOF, GARBAGE, TRICKLE, HALF = "reset", "eof", "garbage", "trickle", "half"


@dataclass
class Seen:
    """One request as it came."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes
    port: int
    certificate: dict[str, Any] | None
    at_s: float


@dataclass
class Receiver:
    """What the receiver is told to do, and what it saw. Each act: a code, (code, headers, body), or a misdeed."""

    folder: Path
    port: int = 0
    scheme: str = "https"
    acts: list[Any] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    slow_s: float = 0

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def kubeconfig(
        self, path: str = "/k8s-audit", user: str = "{}", cluster: str = "", server: str | None = None
    ) -> Path:
        """Write a kubeconfig; `user` and `cluster` are further members as YAML flow."""
        trust = f"certificate-authority: {self.folder / 'ca.crt'}" if self.scheme == "https" else ""
        found = self.folder / "webhook.yaml"
        lines = ["apiVersion: v1", "kind: Config", "current-context: c", "clusters:", "- name: audit", "  cluster:"]
        lines.append(f"    server: {server or self.url}{path}")
        lines += [f"    {line}" for line in (cluster or trust).splitlines()]
        lines += ["users:", "- name: me", f"  user: {user}"]
        lines += ["contexts:", "- name: c", "  context: {cluster: audit, user: me}", ""]
        found.write_text("\n".join(lines))
        return found


@contextlib.contextmanager
def receiving(folder: Path, *acts: Any, tls: bool = True, asks_certificate: bool = False) -> Iterator[Receiver]:
    """Run a receiver; after its acts it answers 200."""
    receiver = Receiver(folder, acts=list(acts), scheme="https" if tls else "http")

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            shown = self.connection.getpeercert() if isinstance(self.connection, ssl.SSLSocket) else None
            receiver.seen.append(
                Seen(
                    self.requestline,
                    self.headers.items(),
                    body,
                    self.client_address[1],
                    shown or None,
                    time.monotonic(),
                )
            )
            act = receiver.acts.pop(0) if receiver.acts else 200
            if receiver.slow_s:
                time.sleep(receiver.slow_s)
            _act(self, act)

        do_GET = do_POST  # noqa: N815

        def log_message(self, *arguments: Any) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def process_request_thread(self, request, address) -> None:
            if tls:
                try:
                    request = context.wrap_socket(request, server_side=True)
                except OSError:
                    request.close()
                    return
            super().process_request_thread(request, address)

        def handle_error(self, request, address) -> None:
            pass

    if tls:
        certificate(folder, "ca", "test authority")
        server_certificate = certificate(folder, "receiver", "receiver", (), folder / "ca")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*server_certificate)
        if asks_certificate:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(folder / "ca.crt")
    server = Server(("127.0.0.1", 0), Handler)
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _act(handler: http.server.BaseHTTPRequestHandler, act: Any) -> None:
    raw = handler.connection
    match act:
        case "reset":
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.close_connection = True
            # closed under TLS without a word
            socket.socket.close(raw)
            return
        case "eof":
            handler.close_connection = True
            return
        case "garbage":
            handler.wfile.write(b"SSH-2.0-OpenSSH\r\n\r\n")
            handler.close_connection = True
            return
        case "half":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhal")
            handler.close_connection = True
            return
        case "trickle":
            handler.close_connection = True
            with contextlib.suppress(OSError):
                for letter in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 600:
                    handler.wfile.write(bytes([letter]))
                    time.sleep(0.02)
            return
    code, headers, body = act if isinstance(act, tuple) else (act, {}, b"")
    handler.send_response(code)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
