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
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import quote

from kubewitness.emit.doors.capture import RequestBody, ResponseBody
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
        exchange.request_body.replace(body)


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
        audit_id = request.audit_id.encode("utf-8", "surrogateescape") or str(uuid.uuid4()).encode()
        is_websocket = scope["type"] == "websocket"
        try:
            found = self._identify(scope)
            identity = found if isinstance(found, Identity) else await found
            audited = await self._do(
                self._auditor.receive, request, identity.user, received_us, audit_id.decode(), identity.annotations
            )
        except NotAuthenticatedError as refusal:
            await self._turn_away(request, received_us, audit_id.decode(), refusal)
            await _answer(send, refusal.code, refusal.body, b"application/json", audit_id, is_websocket)
        except NotStoredError as error:
            await _answer(send, _FAULT, f"{error}\n".encode(), b"text/plain; charset=utf-8", audit_id, is_websocket)
        except RequestError as error:
            await _answer(send, _FIRST_ERROR, f"{error}\n".encode(), b"text/plain; charset=utf-8", b"", is_websocket)
        else:
            if audited is None:
                await self._app(scope, receive, _with_id(send, audit_id))
            else:
                exchange = _Exchange(audited, receive, send, audit_id, scope, self._do)
                await exchange.run(self._app, scope)

    async def _turn_away(self, request: Request, received_us: int, new_id: str, refusal: NotAuthenticatedError) -> None:
        assert self._auditor is not None  # noqa: S101  __call__ has looked
        audited = self._auditor.turn_away(request, received_us, new_id)
        if audited is not None:
            await self._do(audited.respond, refusal.code, _now_us(), refusal.body)

    async def _do(self, act: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.to_thread(act, *arguments) if self._is_slow else act(*arguments)


class _Exchange:
    """One audited request between the server and the application."""

    __slots__ = (
        "_audit_id",
        "_code",
        "_do",
        "_is_done",
        "_is_gone",
        "_is_told",
        "_receive",
        "_response",
        "_send",
        "audited",
        "request_body",
    )

    def __init__(
        self,
        audited: AuditedRequest,
        receive: Receive,
        send: Send,
        audit_id: bytes,
        scope: Scope,
        do: Callable[..., Awaitable[Any]],
    ) -> None:
        self.audited = audited
        self.request_body = RequestBody(audited.record, scope["headers"])
        self._receive = receive
        self._send = send
        self._audit_id = audit_id
        self._do = do
        self._response: ResponseBody | None = None
        self._code = 0
        self._is_told = self._is_done = self._is_gone = False

    async def run(self, app: App, scope: Scope) -> None:
        scope[KEY] = self
        receive = self.receive if self.request_body.is_wanted or scope["type"] == "websocket" else self._watch
        try:
            await app(scope, receive, self.send)
        except asyncio.CancelledError:
            # the server stops, or whoever runs us lost interest: the handler has come to its end all the same
            if not self._is_done:
                self._end(is_cut=True)
            raise
        except Exception as exc:
            if not self._is_done:
                self._is_done = True
                await self._do(self.audited.panic, f"{type(exc).__name__}: {exc}", _now_us())
            raise
        if not self._is_done:
            await self._do(self._end)

    def _end(self, *, is_cut: bool = False) -> None:
        """Come to the end without a whole answer."""
        self._is_done = True
        if self._code and not self._is_told:
            self._tell(self._code)
        elif not self._code and not self._is_gone and not is_cut:
            # a server answers for an application that does not
            self._tell(_FAULT)
        self.audited.finish(_now_us())

    async def receive(self) -> Message:
        """Hand a message to the application, keeping what is part of the request's body."""
        message = await self._watch()
        if message["type"] == "http.request":
            self.request_body.take(message.get("body", b""), is_last=not message.get("more_body", False))
        return message

    async def _watch(self) -> Message:
        message = await self._receive()
        if message["type"] in ("http.disconnect", "websocket.disconnect"):
            self._is_gone = True
        return message

    async def send(self, message: Message) -> None:
        """Hand a message of the application to the server, after what it means for audit."""
        match message["type"]:
            case "http.response.body" | "websocket.http.response.body":
                await self._take_body(message.get("body", b""), is_last=not message.get("more_body", False))
            case "http.response.start" | "websocket.http.response.start":
                await self._start(message)
            case "http.response.zerocopysend":
                await self._take_body(b"", is_last=not message.get("more_body", False))
            case "http.response.pathsend":
                await self._take_body(b"", is_last=True)
            case "websocket.accept":
                self._code = _SWITCHING_PROTOCOLS
                self._name(message)
                await self._do(self._tell, _SWITCHING_PROTOCOLS)
            case "websocket.close" if not self._code:
                self._code = _FORBIDDEN
                await self._do(self._tell, _FORBIDDEN)
        await self._send(message)

    async def _start(self, message: Message) -> None:
        self._code = message["status"]
        self._response = ResponseBody(self.audited.record, self._code, message.get("headers", ()))
        self._name(message)
        # of a long-running request that fails, the Status that follows belongs to ResponseStarted
        if self.audited.record.subject.is_long_running and not self._response.is_wanted:
            await self._do(self._tell, self._code)

    async def _take_body(self, body: bytes, *, is_last: bool) -> None:
        if self._response is not None:
            self._response.take(body)
        if is_last and not self._is_done and self._code:
            self._is_done = True
            await self._do(self._complete)

    def _complete(self) -> None:
        if not self._is_told:
            self._tell(self._code, self._response.whole() if self._response is not None else b"")
        self.audited.finish(_now_us())

    def _tell(self, code: int, body: bytes = b"") -> None:
        """Say that the status is written; what was sent is known by now, too."""
        self._is_told = True
        sent = self.request_body.whole(code)
        if sent:
            self.audited.body_read(sent)
        self.audited.respond(code, _now_us(), body)

    def _name(self, message: Message) -> None:
        headers = list(message.get("headers", ()))
        if not any(name.lower() == _AUDIT_ID for name, _ in headers):
            message["headers"] = [*headers, (_AUDIT_ID, self._audit_id)]


def request_of(scope: Scope) -> Request:
    """Read what audit needs from an ASGI scope."""
    raw_path = scope.get("raw_path") or quote(scope["path"], safe="/:@!$&'()*+,;=~").encode()
    query = scope.get("query_string", b"")
    path = raw_path.partition(b"?")[0]
    target = (path + b"?" + query if query else path).decode("utf-8", "surrogateescape")
    client = scope.get("client")
    # a server on a Unix socket has no peer to name
    peer = "" if client is None else str(client[0])
    return Request.from_headers(scope.get("method", "GET"), target, scope["headers"], peer)


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
