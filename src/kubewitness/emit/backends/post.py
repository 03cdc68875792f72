"""
Post a body to a webhook once: one connection out of those kept alive, one answer or the reason why there is none.

`Poster.post` gives an Answer for whatever the receiver said, and raises PostError, worded as Go words it, when it said
nothing whole within the time. Nothing is retried and no redirect is followed here.

Follows what k8s.io/client-go and Go's net/http put on the wire. Differs: HTTP/1.1 only, and User-Agent names us.
"""

import contextlib
import http.client
import select
import socket
import ssl
import threading
import urllib.request
import zlib
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from kubewitness import __version__
from kubewitness.emit.backends.credentials import CredentialError, Credentials, load_certificate
from kubewitness.emit.backends.kubeconfig import Target
from kubewitness.emit.backends.log import reason_of
from kubewitness.policy.gotext import quote

TIMEOUT_SECONDS = 30.0
_USER_AGENT = f"kubewitness/{__version__}"
_BODY_MAX_BYTES = 2048
# an answer that goes on for longer than this is not read to its end: the connection is given up instead
_DRAIN_MAX_BYTES = 1 << 20
_IDLE_MAX = 8
_GZIP_WBITS = 31
_UNAUTHORIZED = 401


class PostError(Exception):
    """No answer: the reason as Go words it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the receiver said. `body`: the beginning of it."""

    code: int
    body: bytes
    media_type: str = ""
    retry_after: str = ""
    location: str = ""


class _Lines:
    """A stream that remembers whether it ended amid its lines."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.is_cut = False

    def readline(self, limit: int = -1) -> bytes:
        line = self._stream.readline(limit)
        self.is_cut = self.is_cut or not line
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Response(http.client.HTTPResponse):
    """An answer whose headers must be whole: the library takes those before the cut for all there are."""

    def begin(self) -> None:
        stream: Any = self.fp
        lines: Any = _Lines(stream)
        self.fp = lines
        super().begin()
        if self.fp is lines:
            self.fp = stream
        if lines.is_cut:
            raise http.client.RemoteDisconnected("the answer broke off")


class _Tls(http.client.HTTPSConnection):
    """A TLS connection whose certificate is checked for a name that may be another than the host's."""

    def __init__(self, host: str, port: int, timeout: float, context: ssl.SSLContext, name: str) -> None:
        super().__init__(host, port, timeout=timeout, context=context)
        self._kept_context = context
        self._name = name

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._kept_context.wrap_socket(self.sock, server_hostname=self._name)


class Poster:
    """Posts to one target. Thread-safe."""

    def __init__(
        self, target: Target, timeout_s: float = TIMEOUT_SECONDS, credentials: Credentials | None = None
    ) -> None:
        self._target = target
        self._timeout_s = timeout_s
        self._credentials = credentials or Credentials(target)
        self._lock = threading.Lock()
        self._idle: list[http.client.HTTPConnection] = []
        self._shown: tuple[bytes, bytes] = (b"", b"")
        self._context: ssl.SSLContext | None = None
        self.url = target.url

    def post(self, body: bytes) -> Answer:
        """Post the body. Raises PostError."""
        with self._named_errors():
            headers = self._headers(body)
            connection = self._take()
            is_kept = False
            overdue = threading.Event()
            timer = threading.Timer(self._timeout_s, _cut, (connection, overdue))
            timer.daemon = True
            timer.start()
            try:
                connection.putrequest("POST", self._path(), skip_host=True, skip_accept_encoding=True)
                for name, value in headers:
                    connection.putheader(name, value)
                connection.endheaders(body)
                answer, is_kept = _read(connection.getresponse())
                if overdue.is_set():
                    raise TimeoutError
            except (OSError, http.client.HTTPException):
                if overdue.is_set():
                    raise TimeoutError from None
                raise
            finally:
                timer.cancel()
                if is_kept and not overdue.is_set():
                    self._keep(connection)
                else:
                    connection.close()
        if answer.code == _UNAUTHORIZED:
            self._credentials.refused()
        return answer

    def check(self) -> None:
        """See that certificates and keys can be used. Raises PostError."""
        if self._target.scheme == "https" and self._target.exec_plugin is None:
            with self._named_errors():
                self._tls()

    def close(self) -> None:
        """Let go of the connections that are kept."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except CredentialError as exc:
            raise PostError(f'Post "{self.url}": {exc}') from exc
        except (OSError, http.client.HTTPException) as exc:
            raise PostError(f'Post "{self.url}": {self._reason(exc)}') from exc

    def _reason(self, error: Exception) -> str:
        target = self._target
        if isinstance(error, TimeoutError):
            return "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"tls: failed to verify certificate: x509: {_x509(error)}"
        if isinstance(error, ssl.SSLError):
            return f"tls: {error.reason or error}"
        if isinstance(error, socket.gaierror):
            return f"dial tcp: lookup {target.host}: no such host"
        if isinstance(error, ConnectionRefusedError):
            return f"dial tcp {target.host}:{target.port}: connect: connection refused"
        if isinstance(error, http.client.RemoteDisconnected):
            return "EOF"
        if isinstance(error, http.client.IncompleteRead):
            return "unexpected error when reading response body. Please retry. Original error: unexpected EOF"
        if isinstance(error, http.client.HTTPException):
            line = quote(str(error).strip())
            return f"net/http: HTTP/1.x transport connection broken: malformed HTTP response {line}"
        return reason_of(error) if isinstance(error, OSError) else str(error)

    def _path(self) -> str:
        path = f"{self._target.path}?timeout=30s"
        proxy = self._proxy()
        if proxy is None or self._target.scheme == "https":
            return path
        return self._target.url

    def _headers(self, body: bytes) -> list[tuple[str, str]]:
        target = self._target
        default = 443 if target.scheme == "https" else 80
        host = f"[{target.host}]" if ":" in target.host else target.host
        headers = [
            ("Host", host if target.port == default else f"{host}:{target.port}"),
            ("User-Agent", _USER_AGENT),
            ("Content-Length", str(len(body))),
            ("Accept", "application/json, */*"),
        ]
        authorization = self._credentials.authorization()
        if authorization:
            headers.append(("Authorization", authorization))
        headers += [("Content-Type", "application/json"), ("Accept-Encoding", "gzip")]
        if self._proxy() is not None and target.scheme == "http":
            headers += self._proxy_headers().items()
        return headers

    def _take(self) -> http.client.HTTPConnection:
        """Give a connection that was kept and still stands, or a new one."""
        # a new certificate, or one that the plugin gave anew, does not go with connections that showed the old one
        context = self._tls() if self._target.scheme == "https" else None
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return self._open(context)
            if not _is_readable(connection.sock):
                return connection
            connection.close()

    def _keep(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if len(self._idle) < _IDLE_MAX:
                self._idle.append(connection)
                return
        connection.close()

    def _open(self, context: ssl.SSLContext | None) -> http.client.HTTPConnection:
        target, proxy = self._target, self._proxy()
        host, port = (target.host, target.port) if proxy is None else proxy
        if context is None:
            plain = http.client.HTTPConnection(host, port, timeout=self._timeout_s)
            plain.response_class = _Response
            return plain
        name = target.tls_server_name or target.host
        connection = _Tls(host, port, self._timeout_s, context, name)
        connection.response_class = _Response
        if proxy is not None:
            connection.set_tunnel(target.host, target.port, self._proxy_headers())
        return connection

    def _proxy(self) -> tuple[str, int] | None:
        url = self._proxy_url()
        if not url:
            return None
        parts = urlsplit(url if "://" in url else f"http://{url}")
        return parts.hostname or "", parts.port or 80

    def _proxy_url(self) -> str:
        target = self._target
        if target.proxy_url:
            return target.proxy_url
        # as Go does: the proxy of the environment, but never on the way to ourselves
        if target.host in ("localhost", "::1") or target.host.startswith("127."):
            return ""
        found = urllib.request.getproxies_environment().get(target.scheme, "")
        return "" if not found or urllib.request.proxy_bypass(target.host) else found

    def _proxy_headers(self) -> dict[str, str]:
        parts = urlsplit(self._proxy_url())
        if parts.username is None:
            return {}
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        return {"Proxy-Authorization": f"Basic {b64encode(pair).decode()}"}

    def _tls(self) -> ssl.SSLContext:
        shown = self._credentials.certificate()
        with self._lock:
            if self._context is not None and shown == self._shown:
                return self._context
        context = _context(self._target)
        if shown[0]:
            load_certificate(context, *shown)
        self.close()
        with self._lock:
            self._context, self._shown = context, shown
        return context


def _context(target: Target) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if target.is_insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif target.ca:
        try:
            context.load_verify_locations(cadata=target.ca.decode("ascii", "replace"))
        except (ssl.SSLError, ValueError) as exc:
            raise CredentialError(f"unable to load root certificates: {exc}") from exc
    else:
        context.load_default_certs()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _x509(error: ssl.SSLCertVerificationError) -> str:
    text = error.verify_message or str(error)
    if "hostname mismatch" in text.lower() or "ip address mismatch" in text.lower():
        return text.lower()
    if "expired" in text:
        return "certificate has expired or is not yet valid"
    return f"certificate signed by unknown authority ({text})"


def _read(response: http.client.HTTPResponse) -> tuple[Answer, bool]:
    """Give the answer, and whether its connection can be used again."""
    body = response.read(_BODY_MAX_BYTES)
    drained = len(body)
    while (part := response.read(_BODY_MAX_BYTES * 8)) and drained <= _DRAIN_MAX_BYTES:
        drained += len(part)
    is_whole = drained <= _DRAIN_MAX_BYTES and not response.will_close
    if response.length and drained <= _DRAIN_MAX_BYTES:
        raise http.client.IncompleteRead(body, response.length)
    if response.getheader("Content-Encoding", "").lower() == "gzip":
        with contextlib.suppress(zlib.error):
            body = zlib.decompressobj(_GZIP_WBITS).decompress(body, _BODY_MAX_BYTES)
    answer = Answer(
        response.status,
        body,
        response.getheader("Content-Type", "").partition(";")[0].strip().lower(),
        response.getheader("Retry-After", ""),
        response.getheader("Location", ""),
    )
    if response.will_close or not is_whole:
        response.close()
    return answer, is_whole


def _cut(connection: http.client.HTTPConnection, overdue: threading.Event) -> None:
    """End a conversation that took too long, however busy it looks."""
    overdue.set()
    sock = connection.sock
    if sock is not None:
        with contextlib.suppress(OSError):
            # the socket under TLS: unwrapping would wait for the peer
            socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _is_readable(sock: socket.socket | None) -> bool:
    """Say whether something came though nothing was asked: the end, as a rule."""
    if sock is None:
        return True
    try:
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))
    except (OSError, ValueError):
        return True
