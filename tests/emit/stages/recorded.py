"""Rebuild what a client and a server did from a recorded ResponseComplete alone, to drive it through our stages."""

import functools
from pathlib import Path

import msgspec
import zstandard

from kubewitness.emit.stages.handler import LATENCY_PREFIX, Exchange
from kubewitness.emit.stages.request import Request
from kubewitness.event.microtime import parse
from kubewitness.event.types import Event, Stage

DATA = Path(__file__).parents[2] / "data"
_METHODS = {
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
    "deletecollection": "DELETE",
    "get": "GET",
    "list": "GET",
    "watch": "GET",
    "proxy": "GET",
    "": "OPTIONS",
}
# annotations of the time before the request was received, and of the time after its answer began
_EARLY = ("apiserver.k8s.io/startup",)
_LATE = ("k8s.io/deprecated",)


@functools.cache
def lines(name: str) -> tuple[bytes, ...]:
    """The lines of a recorded log, without their newlines."""
    text = zstandard.ZstdDecompressor().stream_reader((DATA / f"audit-{name}.log.zst").read_bytes()).read()
    return tuple(text.split(b"\n")[:-1])


@functools.cache
def requests(name: str) -> dict[str, dict[Stage, tuple[Event, bytes]]]:
    """The recorded Events of a log with their bytes, by auditID and stage."""
    found: dict[str, dict[Stage, tuple[Event, bytes]]] = {}
    for raw in lines(name):
        event = msgspec.json.decode(raw, type=Event)
        assert event.audit_id is not None
        found.setdefault(event.audit_id, {})[event.stage] = (event, raw)
    return found


def exchange_of(event: Event, started: str | None) -> Exchange:
    """What was asked and answered, read from its last Event; `started`: when the answer began."""
    assert event.request_uri is not None
    assert event.request_received_timestamp is not None
    assert event.stage_timestamp is not None
    assert event.response_status is not None
    verb = event.verb or ""
    method = _METHODS.get(verb, "GET") if event.object_ref is not None or not verb else verb.upper()
    ips = event.source_ips or ("",)
    annotations = event.annotations or {}
    is_open = event.stage is Stage.RESPONSE_STARTED
    return Exchange(
        request=Request(
            method,
            event.request_uri,
            user_agent=event.user_agent or "",
            audit_id=event.audit_id or "",
            forwarded_for=", ".join(ips[:-1]),
            peer=f"[{ips[-1]}]:50000" if ":" in ips[-1] else f"{ips[-1]}:50000",
        ),
        user=None if is_open and event.user is not None and event.user.username is None else event.user,
        received_us=parse(event.request_received_timestamp),
        new_id="a fresh id",
        request_object=_as_sent(bytes(event.request_object)),
        impersonated_user=event.impersonated_user,
        impersonation_constraint=event.authentication_metadata.impersonation_constraint
        if event.authentication_metadata
        else None,
        code=event.response_status.code,
        response_object=bytes(event.response_object),
        started_us=parse(started) if started else parse(event.stage_timestamp),
        completed_us=None if is_open else parse(event.stage_timestamp),
        early_annotations={key: value for key, value in annotations.items() if key in _EARLY},
        annotations={key: value for key, value in annotations.items() if not _is_late(key) and key not in _EARLY},
        # the total was measured to the nanosecond, finer than any Event tells: so it comes from here, and is not made
        late_annotations={key: value for key, value in annotations.items() if _is_late(key)},
    )


def _is_late(key: str) -> bool:
    return key in _LATE or key.startswith(LATENCY_PREFIX)


def _as_sent(body: bytes) -> bytes:
    """Undo what kube-apiserver does to DeleteOptions, and lay the body out as nobody would."""
    body = body.replace(b'"apiVersion":"meta.k8s.io/__internal"', b'"apiVersion":"v1"', 1)
    return msgspec.json.format(body, indent=3) if body else b""
