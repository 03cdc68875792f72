"""
A small HTTP server for what is public or only local: health, metrics, tiles. GET and HEAD, an answer a connection.

Nothing is decided from what a client sends but which of the known contents it gets.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import h11

from kubewitness.keep.receiver.server import bind

HEAD_BYTES = 16 * 1024
SECONDS = 10.0
MAX_CONNECTIONS = 128


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back."""

    status: int
    body: bytes
    kind: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = field(default=())


Handler = Callable[[str], Awaitable[Answer]]
"""Gives the answer for a path, as it stands in the request."""


class PlainHttp:
    """A listener with one handler."""

    def __init__(self, handler: Handler) -> None:
        """Be ready to listen."""
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._open = 0

    async def listen(self, host: str, port: int) -> tuple[str, int]:
        """Listen; give address and port. Raises OSError."""
        self._server = await asyncio.start_server(self._serve, sock=bind(host, port), limit=HEAD_BYTES)
        name = self._server.sockets[0].getsockname()
        return str(name[0]), int(name[1])

    async def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= MAX_CONNECTIONS:
                async with asyncio.timeout(SECONDS):
                    await self._answer(reader, writer)
        except (OSError, TimeoutError, h11.ProtocolError):
            pass
        finally:
            self._open -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        event = http.next_event()
        while event is h11.NEED_DATA:
            http.receive_data(await reader.read(HEAD_BYTES))
            event = http.next_event()
        if not isinstance(event, h11.Request):
            return
        if event.method in (b"GET", b"HEAD"):
            answer = await self._handler(event.target.decode("ascii", "replace"))
        else:
            answer = Answer(405, b"only GET\n", headers=(("Allow", "GET, HEAD"),))
        headers = [
            ("Content-Type", answer.kind),
            ("Content-Length", str(len(answer.body))),
            ("X-Content-Type-Options", "nosniff"),
            ("Connection", "close"),
            *answer.headers,
        ]
        writer.write(http.send(h11.Response(status_code=answer.status, headers=headers)) or b"")
        if event.method != b"HEAD":
            writer.write(http.send(h11.Data(data=answer.body)) or b"")
        await writer.drain()
