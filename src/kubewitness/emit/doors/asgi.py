"""
ASGI middleware: any Python web application leaves audit.k8s.io/v1 Events, as if it were an API server.

`AuditMiddleware(app, auditor, identify)` takes HTTP requests and WebSockets through their stages. Handlers may add what
only they know by `annotate`, `impersonate` and `request_object`, given the scope of their request. Middleware that
authenticates, compresses or answers CORS preflights goes outside this one, everything else inside.

A request that is not well-formed is answered 400 here, one whose Event could not be stored (blocking-strict) 500; both
never reach the application. An exception that gets as far as this is a Panic, and goes on. The Event of
ResponseComplete is handed over before the last part of the answer is: who has the answer can find the Event.

Follows the filters WithAuditInit, WithAudit and WithFailedAuthenticationAudit of k8s.io/apiserver. Differs: bodies are
read off the wire where kube-apiserver's handlers hand over objects (`capture`).
"""

import asyncio
import functools
import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from kubewitness.emit.doors.capture import (
    RequestBody,
    ResponseBody,
    is_request_body_wanted,
    is_response_body_wanted,
)
from kubewitness.emit.doors.identity import Identify, Identity, NotAuthenticatedError, from_scope_user
from kubewitness.emit.stages.handler import AuditedRequest, Auditor, NotStoredError
from kubewitness.emit.stages.request import Request
from kubewitness.event.types import UserInfo
from kubewitness.policy.request import RequestError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

KEY = "kubewitness.audit"
"""Where the scope of an audited request holds its AuditedRequest."""
_AUDIT_ID = b"audit-id"
_MICROSECOND_NS = 1_000
_SWITCHING_PROTOCOLS = 101
_FORBIDDEN = 403
_FAULT = 500
_FIRST_ERROR = 400
# the headers that audit takes something from, in the order of Request's members
_HEADERS = {b"user-agent": 0, b"audit-id": 1, b"x-forwarded-for": 2, b"x-real-ip": 3}


def annotate(scope: Scope, key: str, value: str) -> None:
    """Add an annotation to the Events of this request from now on; the first value of a key stays."""
    exchange: _Exchange | None = scope.get(KEY)
    if exchange is not None:
        exchange.audited.annotate(key, value)


def impersonate(scope: Scope, user: UserInfo, constraint: str | None = None) -> None:
    """Note that the caller may act for this user."""
    exchange: _Exchange | None = scope.get(KEY)
    if exchange is not None:
        exchange.audited.impersonate(user, constraint)


def request_object(scope: Scope, body: bytes) -> None:
    """Hand over the decoded object of the request as JSON, in place of what came over the wire."""
    exchange: _Exchange | None = scope.get(KEY)
    if exchange is not None:
        exchange.replace_request(body)


class AuditMiddleware:
    """Wraps an ASGI application. `auditor` None: nothing is audited, as kube-apiserver does without a policy.

    `is_slow`: the backend waits for a network (mode blocking of the webhook); Events are then handed over on a thread.
    """

    def __init__(
        self, app: App, auditor: Auditor | None, identify: Identify = from_scope_user, *, is_slow: bool = False
    ) -> None:
        self._app = app
        self._auditor = auditor
        self._identify = identify
        self._is_slow = is_slow

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one connection of the server: a request, a WebSocket, or its life span."""
        if self._auditor is None or scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        received_us = _now_us()
        request = request_of(scope)
        audit_id = request.audit_id.encode("utf-8", "surrogateescape") or new_id().encode()
        is_websocket = scope["type"] == "websocket"
        try:
            try:
                found = self._identify(scope)
                identity = found if isinstance(found, Identity) else await found
            except NotAuthenticatedError as refusal:
                await self._turn_away(request, received_us, audit_id, refusal)
                await _answer(send, refusal.code, refusal.body, b"application/json", audit_id, is_websocket)
                return
            taken = (request, identity.user, received_us, audit_id.decode("utf-8", "replace"), identity.annotations)
            if self._is_slow:
                audited = await self._receive_slowly(functools.partial(self._auditor.receive, *taken))
            else:
                audited = self._auditor.receive(*taken)
        except NotStoredError as error:
            await _answer(send, _FAULT, f"{error}\n".encode(), b"text/plain; charset=utf-8", audit_id, is_websocket)
        except RequestError as error:
            await _answer(send, _FIRST_ERROR, f"{error}\n".encode(), b"text/plain; charset=utf-8", b"", is_websocket)
        else:
            if audited is None:
                await self._app(scope, receive, _with_id(send, audit_id))
            else:
                exchange = _Exchange(audited, receive, send, audit_id, scope, self._is_slow)
                await exchange.run(self._app, scope)

    async def _receive_slowly(self, receive: Callable[[], AuditedRequest | None]) -> AuditedRequest | None:
        """Store RequestReceived; a request that is cancelled meanwhile comes to its end, as it was received."""
        received: list[AuditedRequest | None] = []
        try:
            await _on_a_thread(lambda: received.append(receive()))
        except asyncio.CancelledError:
            for audited in filter(None, received):
                await _on_a_thread(functools.partial(audited.finish, _now_us()))
            raise
        return received[0]

    async def _turn_away(
        self, request: Request, received_us: int, audit_id: bytes, refusal: NotAuthenticatedError
    ) -> None:
        assert self._auditor is not None  # noqa: S101  __call__ has looked
        audited = self._auditor.turn_away(request, received_us, audit_id.decode("utf-8", "replace"))
        if audited is not None:
            told = (refusal.code, _now_us(), refusal.body)
            await _on_a_thread(lambda: audited.respond(*told)) if self._is_slow else audited.respond(*told)


class _Exchange:
    """One audited request between the server and the application."""

    __slots__ = (
        "_audit_id",
        "_code",
        "_is_done",
        "_is_gone",
        "_is_slow",
        "_is_told",
        "_receive",
        "_request",
        "_response",
        "_send",
        "audited",
    )

    def __init__(
        self,
        audited: AuditedRequest,
        receive: Receive,
        send: Send,
        audit_id: bytes,
        scope: Scope,
        is_slow: bool,
    ) -> None:
        self.audited = audited
        wants_body = is_request_body_wanted(audited.record)
        self._request = RequestBody(audited.record, scope["headers"]) if wants_body else None
        self._receive = receive
        self._send = send
        self._audit_id = audit_id
        self._is_slow = is_slow
        self._response: ResponseBody | None = None
        self._code = 0
        self._is_told = self._is_done = self._is_gone = False

    async def run(self, app: App, scope: Scope) -> None:
        scope[KEY] = self
        receive = self._watch if self._request is None else self.receive
        try:
            await app(scope, receive, self.send)
        except asyncio.CancelledError:
            # the server stops, or whoever runs us lost interest: the handler has come to its end all the same
            if not self._is_done:
                self._end(is_cut=True)
            raise
        except Exception as exc:
            if self._is_gone and not self._is_done:
                # nobody is there any more: how the handler took that is no panic
                await self._do(self._end)
            elif not self._is_done:
                self._is_done = True
                await self._do(functools.partial(self.audited.panic, f"{type(exc).__name__}: {exc}", _now_us()))
            raise
        if not self._is_done:
            await self._do(self._end)

    async def _do(self, act: Callable[[], None]) -> None:
        if self._is_slow:
            await _on_a_thread(act)
        else:
            act()

    def _end(self, *, is_cut: bool = False) -> None:
        """Come to the end without a whole answer."""
        self._is_done = True
        if self._code and not self._is_told:
            self._tell()
        elif not self._code and not self._is_gone and not is_cut:
            # a server answers for an application that does not
            self._code = _FAULT
            self._tell()
        self.audited.finish(_now_us())

    async def receive(self) -> Message:
        """Hand a message to the application, keeping what is part of the request's body."""
        message = await self._watch()
        if self._request is not None and message["type"] == "http.request":
            self._request.take(message.get("body", b""), is_last=not message.get("more_body", False))
        return message

    def replace_request(self, body: bytes) -> None:
        if self._request is None:
            self._request = RequestBody(self.audited.record, ())
        self._request.replace(body)

    async def _watch(self) -> Message:
        message = await self._receive()
        if message["type"] in ("http.disconnect", "websocket.disconnect"):
            self._is_gone = True
        return message

    async def send(self, message: Message) -> None:
        """Hand a message of the application to the server, after what it means for audit."""
        act: Callable[[], None] | None = None
        match message["type"]:
            case "http.response.body" | "websocket.http.response.body":
                act = self._take_body(message.get("body", b""), is_last=not message.get("more_body", False))
            case "http.response.start" | "websocket.http.response.start":
                act = self._start(message)
            case "http.response.zerocopysend":
                act = self._take_body(b"", is_last=not message.get("more_body", False))
            case "http.response.pathsend":
                act = self._take_body(b"", is_last=True)
            case "websocket.accept":
                self._code = _SWITCHING_PROTOCOLS
                self._name(message)
                act = self._tell
            case "websocket.close" if not self._code:
                self._code = _FORBIDDEN
                act = self._tell
        if act is not None:
            await _on_a_thread(act) if self._is_slow else act()
        try:
            await self._send(message)
        except OSError:
            self._is_gone = True
            raise

    def _start(self, message: Message) -> Callable[[], None] | None:
        self._code = message["status"]
        record = self.audited.record
        if is_response_body_wanted(record, self._code):
            response = ResponseBody(record, message.get("headers", ()))
            self._response = response if response.is_wanted else None
        self._name(message)
        # of a long-running request that fails, the Status that follows belongs to ResponseStarted
        is_told = record.subject.is_long_running and (self._response is None or self._code < _FIRST_ERROR)
        return self._tell if is_told else None

    def _take_body(self, body: bytes, *, is_last: bool) -> Callable[[], None] | None:
        if self._response is not None:
            self._response.take(body)
        if not is_last or self._is_done or not self._code:
            return None
        self._is_done = True
        return self._complete

    def _complete(self) -> None:
        if not self._is_told:
            self._tell(self._response.whole() if self._response is not None else b"")
        self.audited.finish(_now_us())

    def _tell(self, body: bytes = b"") -> None:
        """Say that the status is written; what was sent is known by now, too."""
        self._is_told = True
        if self._request is not None and (sent := self._request.whole(self._code)):
            self.audited.body_read(sent)
        self.audited.respond(self._code, _now_us(), body)

    def _name(self, message: Message) -> None:
        headers = message.get("headers", ())
        for name, _ in headers:
            if name == _AUDIT_ID:
                return
        message["headers"] = [*headers, (_AUDIT_ID, self._audit_id)]


async def _on_a_thread(act: Callable[[], None]) -> None:
    """Do this on a thread and wait for its end; whoever is cancelled meanwhile is so afterwards: stages keep order."""
    task = asyncio.ensure_future(asyncio.to_thread(act))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        task.exception()
        raise


def request_of(scope: Scope) -> Request:
    """Read what audit needs from an ASGI scope."""
    path = scope.get("raw_path") or quote(scope["path"], safe="/:@!$&'()*+,;=~").encode()
    if b"?" in path:
        path = path.partition(b"?")[0]
    query = scope.get("query_string")
    target = (path + b"?" + query if query else path).decode("utf-8", "surrogateescape")
    client = scope.get("client")
    found = ["", "", "", ""]
    for name, value in scope["headers"]:
        # names are lower case in ASGI; of a header given twice the first counts, as in Go
        place = _HEADERS.get(name)
        if place is not None and not found[place]:
            found[place] = value.decode("utf-8", "surrogateescape")
    # a server on a Unix socket has no peer to name
    peer = "" if client is None else str(client[0])
    return Request(scope.get("method", "GET"), target, found[0], found[1], found[2], found[3], peer)


_VARIANTS = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))


class _Ids:
    """Random UUIDs, drawn by the hundred: asking the kernel for each costs more than the rest of one."""

    def __init__(self) -> None:
        self._pool: list[str] = []

    def __call__(self) -> str:
        """Give a UUID of version 4."""
        try:
            return self._pool.pop()
        except IndexError:
            drawn = os.urandom(16 * 128).hex()
            self._pool += [_uuid(drawn[at : at + 32]) for at in range(0, len(drawn), 32)]
            return self._pool.pop()


def _uuid(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{_VARIANTS[digits[16]]}{digits[17:20]}-{digits[20:]}"


new_id = _Ids()
# a process that forks must not hand out its parent's
os.register_at_fork(after_in_child=new_id._pool.clear)


def _now_us() -> int:
    return time.time_ns() // _MICROSECOND_NS


def _with_id(send: Send, audit_id: bytes) -> Send:
    async def named(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.accept"):
            message["headers"] = [*message.get("headers", ()), (_AUDIT_ID, audit_id)]
        await send(message)

    return named


async def _answer(send: Send, code: int, body: bytes, kind: bytes, audit_id: bytes, is_websocket: bool) -> None:
    """Answer in the place of the application."""
    if is_websocket:
        # without the extension for it a server answers 403 to this, whatever we mean
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    if audit_id:
        headers.append((_AUDIT_ID, audit_id))
    await send({"type": "http.response.start", "status": code, "headers": headers})
    await send({"type": "http.response.body", "body": body})
