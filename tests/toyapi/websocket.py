"""As much of RFC 6455 as kubectl exec speaks, as a protocol of uvicorn: a handshake, binary messages, a close."""

import asyncio
import base64
import hashlib
import struct
from urllib.parse import unquote

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_BINARY, _CLOSE, _PING, _PONG = 2, 8, 9, 10


class WebSocket(asyncio.Protocol):
    """One connection that was a request for an upgrade."""

    def __init__(self, config, server_state, app_state) -> None:
        self._app = config.loaded_app
        self._state, self._app_state = server_state, app_state
        self._buffer = b""
        self._scope: dict | None = None
        self._key = b""
        self._is_accepted = self._is_closed = False
        self._messages: asyncio.Queue = asyncio.Queue()

    def connection_made(self, transport) -> None:
        self._transport = transport
        self._state.connections.add(self)

    def connection_lost(self, exc) -> None:
        self._state.connections.discard(self)
        self._is_closed = True
        self._messages.put_nowait({"type": "websocket.disconnect", "code": 1006})

    def shutdown(self) -> None:
        """End when the server does."""
        self._messages.put_nowait({"type": "websocket.disconnect", "code": 1012})
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._scope is None:
            self._read_head()
        else:
            self._read_frames()

    def _read_head(self) -> None:
        head, end, self._buffer = self._buffer.partition(b"\r\n\r\n")
        if not end:
            self._buffer = head
            return
        first, *lines = head.split(b"\r\n")
        _, target, _ = first.split(b" ", 2)
        path, _, query = target.partition(b"?")
        headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
        known = dict(headers)
        self._key = known[b"sec-websocket-key"]
        offered = known.get(b"sec-websocket-protocol", b"").decode()
        self._scope = {
            "type": "websocket",
            "path": unquote(path.decode("latin-1")),
            "raw_path": path,
            "query_string": query,
            "headers": headers,
            "client": self._transport.get_extra_info("peername")[:2],
            "subprotocols": [part.strip() for part in offered.split(",")],
            "state": dict(self._app_state),
            "extensions": {"websocket.http.response": {}},
        }
        self._messages.put_nowait({"type": "websocket.connect"})
        task = asyncio.get_running_loop().create_task(self._run())
        self._state.tasks.add(task)
        task.add_done_callback(self._state.tasks.discard)

    async def _run(self) -> None:
        try:
            await self._app(self._scope, self._messages.get, self._send)
        finally:
            self._transport.close()

    def _read_frames(self) -> None:
        while (frame := self._next_frame()) is not None:
            kind, payload = frame
            if kind == _CLOSE:
                self._messages.put_nowait({"type": "websocket.disconnect", "code": 1000})
            elif kind == _PING:
                self._frame(_PONG, payload)
            else:
                self._messages.put_nowait({"type": "websocket.receive", "bytes": payload})

    def _next_frame(self) -> tuple[int, bytes] | None:
        data = self._buffer
        if len(data) < 2:
            return None
        size, at = data[1] & 0x7F, 2
        if size == 126:
            size, at = struct.unpack(">H", data[2:4])[0], 4
        elif size == 127:
            size, at = struct.unpack(">Q", data[2:10])[0], 10
        if len(data) < at + 4 + size:
            return None
        mask = data[at : at + 4]
        payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data[at + 4 : at + 4 + size]))
        self._buffer = data[at + 4 + size :]
        return data[0] & 0x0F, payload

    def _frame(self, kind: int, payload: bytes) -> None:
        size = bytes([len(payload)]) if len(payload) < 126 else b"\x7e" + struct.pack(">H", len(payload))
        self._transport.write(bytes([0x80 | kind]) + size + payload)

    async def _send(self, message) -> None:
        if self._is_closed:
            return
        match message["type"]:
            case "websocket.accept":
                digest = base64.b64encode(hashlib.sha1(self._key + _MAGIC).digest())
                lines = [b"HTTP/1.1 101 Switching Protocols", b"upgrade: websocket", b"connection: Upgrade"]
                lines.append(b"sec-websocket-accept: " + digest)
                lines.append(b"sec-websocket-protocol: " + message["subprotocol"].encode())
                lines += [name + b": " + value for name, value in message.get("headers", ())]
                self._transport.write(b"\r\n".join(lines) + b"\r\n\r\n")
                self._is_accepted = True
            case "websocket.send":
                self._frame(_BINARY, message["bytes"])
            case "websocket.close" if self._is_accepted:
                self._frame(_CLOSE, struct.pack(">H", message.get("code", 1000)))
            case "websocket.close":
                self._transport.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            case "websocket.http.response.start":
                lines = [b"HTTP/1.1 %d -" % message["status"], b"connection: close"]
                lines += [name + b": " + value for name, value in message["headers"]]
                self._transport.write(b"\r\n".join(lines) + b"\r\n\r\n")
            case "websocket.http.response.body":
                self._transport.write(message.get("body", b""))
