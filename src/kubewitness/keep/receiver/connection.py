"""
One connection of a client: HTTP/1.1 read strictly, within limits and deadlines, one request after the other.

A body that is complete is handed to the cluster's intake, and the answer waits until it lasts. Whoever cannot be
served is told so in a way kube-apiserver makes the best of: 503 with Retry-After while nothing can be stored, never a
redirect (which it would take for success), never a 4xx for what a body holds.

Follows RFC 9112 as h11 does; no Content-Encoding and no chunks, which kube-apiserver never sends.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import h11

from kubewitness.keep.receiver.clients import Caller, Clients, Refusal, Shown, shown_by
from kubewitness.keep.receiver.intake import Outcome
from kubewitness.keep.receiver.limits import Limits
from kubewitness.keep.store.doors import WEBHOOK, source_name
from kubewitness.keep.store.errors import StoreError

if TYPE_CHECKING:
    import ssl
    from concurrent.futures import Future

LINGER_SECONDS = 2.0
RENEW_SECONDS = 5.0


class Intaker(Protocol):
    """What takes the bodies of a cluster."""

    def take(self, body: bytes, source: str, received_ns: int) -> "Future[Outcome]":
        """Store what is in a body."""
        ...


class House(Protocol):
    """What connections need of the receiver that they belong to."""

    limits: Limits

    @property
    def clients(self) -> Clients:
        """Who is who."""
        ...

    def intake(self, cluster: str) -> Intaker | None:
        """Give what takes the bodies of this cluster; None when its store cannot be opened now."""
        ...

    def reserve(self, cluster: str, size: int) -> bool:
        """Set memory for a body apart; False when the cluster has as much as it may."""
        ...

    def release(self, cluster: str, size: int) -> None:
        """Give such memory back."""
        ...

    def enter(self, connection: "Connection") -> bool:
        """Count a connection in; False when its cluster has too many, or the receiver stops."""
        ...

    def leave(self, connection: "Connection") -> None:
        """Count a connection out."""
        ...

    def answered(self, caller: Caller, status: int, seconds: float, outcome: Outcome | None, source: str) -> None:
        """Count an answer."""
        ...

    def refused(self, refusal: Refusal, address: str) -> None:
        """Count, and where it is an alarm log, that somebody was turned away."""
        ...


@dataclass(slots=True)
class _Request:
    """The request that is being received or answered."""

    began: float
    caller: Caller
    source: str
    parts: list[bytes]
    length: int
    reserved: int = 0
    refused: Refusal | None = None
    is_answered: bool = False


class Connection(asyncio.Protocol):
    """A client that TLS let in."""

    def __init__(self, house: House, loop: asyncio.AbstractEventLoop) -> None:
        """Belong to this receiver."""
        self._house = house
        self._loop = loop
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=house.limits.head_bytes)
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._request: _Request | None = None
        self._is_closing = False
        self._is_lingering = False
        self._is_last = False
        self.shown: Shown | None = None
        self.cluster = ""
        """The cluster its certificate stands for; empty when only a token will tell."""
        self.address = ""

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Find out who it is, as far as the certificate tells."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if peer else "?"
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        if tls is not None:
            self.shown = shown_by(tls.getpeercert(), tls.getpeercert(binary_form=True))
        known = self._house.clients.known_by_certificate(self.shown)
        self.cluster = next(iter(known)) if len(known) == 1 else ""
        if not self._house.enter(self):
            self._is_closing = True
            self._transport.abort()
            return
        self._wait(self._house.limits.head_seconds, "silent")

    def data_received(self, data: bytes) -> None:
        """Go on with what has come."""
        if self._is_lingering or self._is_closing:
            return
        try:
            if self._request is None and self._http.our_state is h11.IDLE and not self._http.trailing_data[0]:
                self._wait(self._house.limits.head_seconds, "head")
            self._http.receive_data(data)
            self._go_on()
        except h11.RemoteProtocolError as exc:
            self._refuse_and_close(Refusal(exc.error_status_hint, "malformed", "not HTTP/1.1 as it should be"))

    def eof_received(self) -> bool:
        """Nothing more will come."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Let go of everything."""
        self._is_closing = True
        self._stop_waiting()
        if self._request is not None:
            self._release(self._request)
            self._request = None
        self._house.leave(self)

    # what the receiver calls

    def finish(self) -> None:
        """Close as soon as nothing is being received or answered."""
        if self._request is None:
            self._close()
        self._is_last = True

    def renew(self) -> None:
        """Answer one more request if it comes soon, then close: who it was let in by does not count any more."""
        self._is_last = True
        if self._request is None and not self._is_lingering:
            self._wait(RENEW_SECONDS, "idle")

    def abort(self) -> None:
        """Close now, whatever is going on."""
        if self._transport is not None:
            self._transport.abort()

    # reading

    def _go_on(self) -> None:
        while not self._is_closing and not self._is_lingering:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue and self._request is not None:
                    self._send(h11.InformationalResponse(status_code=100, headers=[]))
                return
            if event is h11.PAUSED:
                return
            if isinstance(event, h11.Request):
                self._head(event)
            elif isinstance(event, h11.Data):
                self._take(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                self._complete()
            elif isinstance(event, h11.ConnectionClosed):
                self._close()

    def _head(self, head: h11.Request) -> None:
        limits = self._house.limits
        headers = dict(head.headers)
        caller = self._house.clients.identify(self.shown, headers.get(b"authorization"))
        if isinstance(caller, Refusal):
            self._refuse_and_close(caller)
            return
        refusal = _misfit(head.method, headers, limits)
        if refusal is not None:
            self._refuse_and_close(refusal)
            return
        length = int(headers[b"content-length"])
        request = _Request(self._loop.time(), caller, source_name(WEBHOOK, f"{caller.name}@{self.address}"), [], length)
        self._request = request
        if self._house.reserve(caller.cluster, length):
            request.reserved = length
        else:
            request.refused = Refusal(503, "busy", "more is being received for this cluster than there is room for")
        self._wait(limits.body_seconds, "body")

    def _take(self, data: bytes) -> None:
        request = self._request
        if request is not None and request.refused is None:
            request.parts.append(data)

    def _complete(self) -> None:
        request, transport = self._request, self._transport
        if request is None or transport is None:
            return
        transport.pause_reading()
        left = request.began + self._house.limits.store_seconds - self._loop.time()
        self._wait(max(left, 0.1), "store")
        if request.refused is not None:
            self._answer(request, request.refused.status, {"error": request.refused.text})
            return
        intake = self._house.intake(request.caller.cluster)
        if intake is None:
            self._answer(request, 503, {"error": "the store of this cluster is not open"})
            return
        body = b"".join(request.parts)
        request.parts.clear()
        done = intake.take(body, request.source, time.time_ns())
        size, cluster, request.reserved = request.reserved, request.caller.cluster, 0
        done.add_done_callback(lambda done: self._loop.call_soon_threadsafe(self._stored, request, done, cluster, size))

    # answering

    def _stored(self, request: _Request, done: "Future[Outcome]", cluster: str, size: int) -> None:
        self._house.release(cluster, size)  # the memory was used until now, whether anybody still waits or not
        error = done.exception()
        if error is not None:
            if not request.is_answered:
                # of other errors only the kind is told: what they say might be content
                said = str(error) if isinstance(error, StoreError) else type(error).__name__
                self._house.refused(Refusal(503, "unavailable", said, is_alarm=True), self.address)
            self._answer(request, 503, {"error": "it cannot be stored now"})
            return
        outcome = done.result()
        counts = {"stored": outcome.stored, "duplicates": outcome.duplicates, "quarantined": outcome.quarantined}
        self._answer(request, 200, counts, outcome)

    def _answer(
        self,
        request: _Request,
        status: int,
        content: Mapping[str, object],
        outcome: Outcome | None = None,
    ) -> None:
        if request.is_answered or request is not self._request:
            if outcome is not None:  # stored, but too late to say so: it is counted all the same
                self._house.answered(request.caller, 0, 0.0, outcome, request.source)
            return
        request.is_answered = True
        self._house.answered(request.caller, status, self._loop.time() - request.began, outcome, request.source)
        self._release(request)
        self._request = None
        self._write(status, content, is_last=self._is_last)
        if self._is_last or self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            self._close()  # it was to be the last, or the client has said that it wants no more
            return
        if self._transport is not None and not self._transport.is_closing():
            self._http.start_next_cycle()
            self._wait(self._house.limits.idle_seconds, "idle")
            self._transport.resume_reading()
            try:
                self._go_on()
            except h11.RemoteProtocolError as exc:
                self._refuse_and_close(Refusal(exc.error_status_hint, "malformed", "not HTTP/1.1 as it should be"))

    def _write(self, status: int, content: Mapping[str, object], *, is_last: bool) -> None:
        body = json.dumps(content).encode() + b"\n"
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        if status == 503:
            headers.append(("Retry-After", str(self._house.limits.retry_after_seconds)))
        if is_last:
            headers.append(("Connection", "close"))
        self._send(h11.Response(status_code=status, headers=headers))
        self._send(h11.Data(data=body))
        self._send(h11.EndOfMessage())

    def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _refuse_and_close(self, refusal: Refusal) -> None:
        """Say why not, read on for a moment so that it is heard, then close."""
        self._house.refused(refusal, self.address)
        if self._request is not None:
            self._release(self._request)
            self._request = None
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._write(refusal.status, {"error": refusal.text}, is_last=True)
        self._is_lingering = True
        self._wait(LINGER_SECONDS, "linger")

    # deadlines

    def _wait(self, seconds: float, what: str) -> None:
        self._stop_waiting()
        self._deadline = self._loop.call_later(seconds, self._expire, what)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expire(self, what: str) -> None:
        request = self._request
        if what == "store" and request is not None:
            self._house.refused(Refusal(503, "slow", "the disk does not answer", is_alarm=True), self.address)
            self._is_last = True
            self._answer(request, 503, {"error": "it could not be stored in time"})
            return
        if what in ("head", "body"):
            self._refuse_and_close(Refusal(408, f"slow_{what}", f"the {what} took too long"))
            return
        if what == "silent":
            self._house.refused(Refusal(408, what, "nothing was asked"), self.address)
        self._close()

    def _close(self) -> None:
        self._is_closing = True
        self._stop_waiting()
        if self._transport is not None:
            self._transport.close()

    def _release(self, request: _Request) -> None:
        if request.reserved:
            self._house.release(request.caller.cluster, request.reserved)
            request.reserved = 0
        request.parts.clear()


def _misfit(method: bytes, headers: dict[bytes, bytes], limits: Limits) -> Refusal | None:
    """Say what is wrong with a head, if anything."""
    if method != b"POST":
        return Refusal(405, "method", "only POST")
    if b"transfer-encoding" in headers or b"content-length" not in headers:
        return Refusal(411, "no_length", "a Content-Length is needed")
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        return Refusal(415, "encoded", "a body must not be compressed")
    if int(headers[b"content-length"]) > limits.body_bytes:
        return Refusal(413, "too_large", f"a body has at most {limits.body_bytes} bytes")
    return None
