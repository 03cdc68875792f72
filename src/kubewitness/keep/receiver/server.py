"""
Listen, shake hands, keep within bounds: the receiver of all clusters, in one event loop.

What decides who may come in (certificates, tokens) can be exchanged while it runs; connections that were let in by the
old one are closed after their request. No cluster can take the connections, the memory or the disk of another.
"""

import asyncio
import contextlib
import errno
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kubewitness.event import microtime
from kubewitness.keep.receiver.clients import Caller, Clients, Refusal
from kubewitness.keep.receiver.connection import Connection, Intaker
from kubewitness.keep.receiver.intake import Outcome
from kubewitness.keep.receiver.limits import Limits
from kubewitness.keep.receiver.metrics import ReceiverMetrics

BACKLOG = 512
SHUTDOWN_SECONDS = 5.0
_NO_DESCRIPTORS_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Admission:
    """Who may come in: what TLS demands, and who is who."""

    tls: ssl.SSLContext
    clients: Clients


def tls_context(certificate: str, key: str, client_ca: str | None, *, is_certificate_needed: bool) -> ssl.SSLContext:
    """Make what TLS 1.2 and 1.3 connections are accepted with. Raises OSError, ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    # a session that is resumed would outlive the client CA that let it in
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED if is_certificate_needed else ssl.CERT_OPTIONAL
    return context


class Receiver:
    """All connections of all clusters."""

    def __init__(
        self,
        admission: Admission,
        intake: Callable[[str], Intaker | None],
        limits: Limits | None = None,
        metrics: ReceiverMetrics | None = None,
        on_refused: Callable[[Refusal, str], None] = lambda *_: None,
        on_answered: Callable[[str, int], None] = lambda *_: None,
    ) -> None:
        """Be ready to listen. `intake` gives what takes the bodies of a cluster, None while its store is not open."""
        self.limits = limits or Limits()
        self.metrics = metrics or ReceiverMetrics()
        self._admission = admission
        self._intake = intake
        self._on_refused = on_refused
        self._on_answered = on_answered
        self._connections: set[Connection] = set()
        self._of_cluster: Counter[str] = Counter()
        self._reserved: Counter[str] = Counter()
        self._greeting: dict[asyncio.Task[None], str] = {}
        self._accepting: list[asyncio.Task[None]] = []
        self._sockets: list[socket.socket] = []
        self._is_stopping = False

    # life

    def listen(self, addresses: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
        """Listen at these addresses; give them with the ports that were chosen for 0. Raises OSError."""
        try:
            for host, port in addresses:
                self._sockets.append(bind(host, port))
        except OSError:
            for bound in self._sockets:
                bound.close()
            raise
        for bound in self._sockets:
            self._accepting.append(asyncio.get_running_loop().create_task(self._accept(bound)))
        return [bound.getsockname()[:2] for bound in self._sockets]

    def admit_by(self, admission: Admission) -> None:
        """Let in by other certificates and tokens from now on; who was let in by the old ones must come again."""
        self._admission = admission
        for connection in list(self._connections):
            connection.renew()

    @property
    def has_requests(self) -> bool:
        """Whether a connection is open, so that a request may be on it."""
        return bool(self._connections)

    async def stop(self, seconds: float) -> None:
        """Accept nothing more, answer what was asked, then cut what is left."""
        self._is_stopping = True
        for task in [*self._accepting, *self._greeting]:
            task.cancel()
        await asyncio.gather(*self._accepting, *self._greeting, return_exceptions=True)
        for bound in self._sockets:
            bound.close()
        for connection in list(self._connections):
            connection.finish()
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while self._connections and loop.time() < end:  # noqa: ASYNC110 - also the deadline is looked at
            await asyncio.sleep(0.02)
        for connection in list(self._connections):
            connection.abort()
        await asyncio.sleep(0)

    async def _accept(self, bound: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, address = await loop.sock_accept(bound)
            except OSError as exc:
                self.refused(Refusal(0, "no_descriptors", f"cannot accept: {exc}", is_alarm=True), "")
                await asyncio.sleep(_NO_DESCRIPTORS_SECONDS)
                continue
            host = str(address[0])
            if not self._may_greet(host):
                client.close()
                self.refused(Refusal(0, "handshakes", "too many unfinished handshakes"), host)
                continue
            task = loop.create_task(self._greet(client, host))
            self._greeting[task] = host
            task.add_done_callback(self._greeted)

    def _may_greet(self, host: str) -> bool:
        if len(self._greeting) >= self.limits.handshakes:
            return False
        return sum(other == host for other in self._greeting.values()) < self.limits.handshakes_of_address

    def _greeted(self, task: "asyncio.Task[None]") -> None:
        self._greeting.pop(task, None)
        if not task.cancelled():
            task.exception()

    async def _greet(self, client: socket.socket, host: str) -> None:
        loop = asyncio.get_running_loop()
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.connect_accepted_socket(
                lambda: Connection(self, loop),
                client,
                ssl=self._admission.tls,
                ssl_handshake_timeout=self.limits.handshake_seconds,
                ssl_shutdown_timeout=SHUTDOWN_SECONDS,
            )
        except (OSError, ssl.SSLError) as exc:
            reason = exc.reason if isinstance(exc, ssl.SSLError) and exc.reason else type(exc).__name__
            self.refused(Refusal(0, "tls", f"TLS handshake failed: {reason}"), host)
            with contextlib.suppress(OSError):
                client.close()

    # what connections need

    @property
    def clients(self) -> Clients:
        """Who is who."""
        return self._admission.clients

    def intake(self, cluster: str) -> Intaker | None:
        """Give what takes the bodies of a cluster."""
        return self._intake(cluster)

    def reserve(self, cluster: str, size: int) -> bool:
        """Set memory for a body apart."""
        if self._reserved[cluster] + size > self.limits.waiting_bytes:
            return False
        self._reserved[cluster] += size
        return True

    def release(self, cluster: str, size: int) -> None:
        """Give such memory back."""
        self._reserved[cluster] -= size

    def enter(self, connection: Connection) -> bool:
        """Count a connection in."""
        cluster = connection.cluster
        if self._is_stopping:
            return False
        if self._of_cluster[cluster] >= self.limits.connections:
            self.refused(Refusal(0, "connections", "too many connections of a cluster"), connection.address)
            return False
        self._connections.add(connection)
        self._of_cluster[cluster] += 1
        self.metrics.connections.labels(cluster).set(self._of_cluster[cluster])
        return True

    def leave(self, connection: Connection) -> None:
        """Count a connection out."""
        if connection in self._connections:
            self._connections.remove(connection)
            self._of_cluster[connection.cluster] -= 1
            self.metrics.connections.labels(connection.cluster).set(self._of_cluster[connection.cluster])

    def answered(self, caller: Caller, status: int, seconds: float, outcome: Outcome | None, source: str) -> None:
        """Count an answer."""
        metrics, cluster = self.metrics, caller.cluster
        if status:
            self._on_answered(cluster, status)
            metrics.requests.labels(cluster, str(status)).inc()
            metrics.seconds.labels(cluster).observe(seconds)
        if outcome is None:
            return
        metrics.received.labels(cluster).inc(outcome.events)
        metrics.stored.labels(cluster).inc(outcome.stored)
        metrics.duplicates.labels(cluster).inc(outcome.duplicates)
        metrics.quarantined.labels(cluster).inc(outcome.quarantined)
        metrics.unknown_stages.labels(cluster).inc(outcome.unknown_stages)
        metrics.body_bytes.labels(cluster).inc(outcome.body_bytes)
        metrics.batch.labels(cluster).observe(outcome.events)
        with contextlib.suppress(microtime.TimeError):
            latest = microtime.parse(outcome.latest or "") / 1e6
            metrics.age.labels(cluster).observe(max(time.time() - latest, 0.0))
            metrics.last_event.labels(cluster, metrics.source_label(cluster, source)).set(latest)

    def refused(self, refusal: Refusal, address: str) -> None:
        """Count that somebody was turned away, and tell who looks after it."""
        self.metrics.refused.labels(refusal.reason).inc()
        self._on_refused(refusal, address)


def bind(host: str, port: int) -> socket.socket:
    """Listen at an address, IPv4 or IPv6; `::` is every address there is. Raises OSError, which names the address."""
    try:
        return _bind(host, port)
    except OSError as exc:
        if host == "::" and exc.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            return _bind("0.0.0.0", port)  # noqa: S104 - IPv6 is turned off, and every address was asked for
        shown = f"[{host}]" if ":" in host else host
        raise OSError(exc.errno, exc.strerror, f"{shown}:{port}") from exc


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
        bound.setblocking(False)
        bound.bind((host, port))
        bound.listen(BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound
