"""Call an ASGI application as a server does, and keep what it sends."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from kubewitness.emit.doors.asgi import AuditMiddleware
from kubewitness.emit.doors.identity import Identify, from_scope_user
from kubewitness.emit.metrics import Metrics
from kubewitness.emit.stages.handler import Auditor
from kubewitness.event.types import Event, Level, Stage
from kubewitness.policy.types import Policy, PolicyRule
from tests.emit.samples import Kept

JSON = (b"content-type", b"application/json")


class Call:
    """One connection of a client: what it sends, and what it gets."""

    def __init__(
        self,
        method: str,
        target: str,
        *parts: bytes,
        headers: Sequence[tuple[bytes, bytes]] = (),
        kind: str = "http",
        **members: Any,
    ) -> None:
        path, _, query = target.partition("?")
        self.scope: dict[str, Any] = {
            "type": kind,
            "method": method,
            "path": path,
            "raw_path": path.encode("utf-8", "surrogateescape"),
            "query_string": query.encode(),
            "headers": list(headers),
            "client": ("10.0.0.7", 50123),
            **members,
        }
        parts = parts or (b"",)
        self._messages = [
            {"type": "http.request", "body": part, "more_body": number < len(parts)}
            for number, part in enumerate(parts, 1)
        ]
        if kind == "websocket":
            self._messages = [{"type": "websocket.connect"}]
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        if self._messages:
            return self._messages.pop(0)
        return {"type": f"{self.scope['type']}.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    @property
    def code(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])


class Site:
    """An application under audit, with a policy of one rule."""

    def __init__(
        self,
        app: Callable[..., Awaitable[None]],
        level: Level = Level.REQUEST_RESPONSE,
        *omit: Stage,
        identify: Identify = from_scope_user,
        is_slow: bool = False,
    ) -> None:
        self.sink, self.metrics = Kept(), Metrics()
        self.auditor = Auditor(Policy((PolicyRule(level, omit_stages=omit),)), self.sink, self.metrics)
        self.door = AuditMiddleware(app, self.auditor, identify, is_slow=is_slow)

    def call(self, method: str, target: str, *parts: bytes, **rest: Any) -> Call:
        call = Call(method, target, *parts, **rest)
        asyncio.run(self.door(call.scope, call.receive, call.send))
        return call

    @property
    def events(self) -> list[Event]:
        return self.sink

    @property
    def stages(self) -> list[str]:
        return [event.stage.value for event in self.sink]


def answering(code: int = 200, *parts: bytes, headers: Sequence[tuple[bytes, bytes]] = (JSON,), reads: bool = True):
    """An application that reads the request and answers this."""

    async def app(scope, receive, send) -> None:
        while reads and (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": code, "headers": list(headers)})
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return app
