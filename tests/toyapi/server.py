"""Run the toy API server: `python -m tests.toyapi.server CONFIG.json`; says where it is in the file that it is told."""

import asyncio
import json
import socket
import ssl
import sys
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from kubewitness.emit.doors.asgi import AuditMiddleware
from kubewitness.emit.doors.auditing import Auditing
from tests.toyapi.access import Access
from tests.toyapi.app import ToyApi
from tests.toyapi.kinds import find
from tests.toyapi.store import Store
from tests.toyapi.websocket import WebSocket


class WithCertificate(H11Protocol):
    """Tells the application which certificate the client showed."""

    def connection_made(self, transport) -> None:
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.getpeercert():
            facts = {"certificate": tls.getpeercert(), "certificate_bytes": tls.getpeercert(binary_form=True)}
            self.app_state = {**self.app_state, **facts}


class Server(uvicorn.Server):
    """Ends open watches before it waits for requests to end."""

    stopping: asyncio.Event

    async def shutdown(self, sockets=None) -> None:
        self.stopping.set()
        await super().shutdown(sockets)


def seeded(objects: list[dict]) -> Store:
    store = Store()
    for name in ("default", "kube-system"):
        objects = [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}},
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}},
            *objects,
        ]
    for body in objects:
        group, _, version = body["apiVersion"].rpartition("/")
        plural = {"NetworkPolicy": "networkpolicies"}.get(body["kind"], body["kind"].lower() + "s")
        store.create(find(group, version, plural), body["metadata"].get("namespace", ""), body)
    return store


async def serve(config: dict) -> None:
    with Auditing(config["flags"], tell=lambda text: sys.stderr.write(f"{text}\n")) as auditing:
        store = seeded(config.get("objects", []))
        access = Access(store, config.get("tokens", {}))

        def identify(scope):
            identity = access.identify(scope)
            scope["toy.user"] = identity.user
            return identity

        toy = ToyApi(store, access, auditing.metrics)
        app = AuditMiddleware(toy, auditing.auditor, identify)
        # with nothing audited nobody asks who it is
        if auditing.auditor is None:
            raise SystemExit("the toy API server needs a policy and a backend")
        tls = config.get("tls") or {}
        listening = socket.create_server(("127.0.0.1", config.get("port", 0)))
        settings = uvicorn.Config(
            app,
            http=WithCertificate,
            ws=WebSocket,
            lifespan="on",
            log_level="warning",
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=2,
            ssl_certfile=tls.get("cert"),
            ssl_keyfile=tls.get("key"),
            ssl_ca_certs=tls.get("ca"),
            ssl_cert_reqs=ssl.CERT_OPTIONAL if tls else ssl.CERT_NONE,
        )
        server = Server(settings)
        server.stopping = toy.stopping
        told = Path(config["told"])
        part = told.with_suffix(".part")
        part.write_text(str(listening.getsockname()[1]))
        part.rename(told)
        await server.serve(sockets=[listening])


if __name__ == "__main__":
    asyncio.run(serve(json.loads(Path(sys.argv[1]).read_text())))
