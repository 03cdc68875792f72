"""
Open the envelopes in which managed clouds and log shippers hand out audit Events.

One complete JSON value comes in; the Event's own bytes come out, exactly as the envelope holds them, or the
reason why there is none. Envelopes that are lists are taken apart by `event.split` before.

- EKS, through CloudWatch Logs: `filter-log-events` and `get-log-events` print `{"events": [{"message": "..."}]}`, a
  subscription delivers `{"logEvents": [{"message": "..."}]}`, Insights prints rows of `{"field", "value"}`.
- AKS, as an Azure diagnostic record: `{"category": "kube-audit", "properties": {"log": ...}}`, `log` a string or an
  object; from Log Analytics a row with `log_s`.
- GKE, as a Cloud Logging LogEntry: `event.envelopes_gke` translates it.
- `{"log": "..."}` and `{"message": "..."}`, as container runtimes and shippers write.
"""

from typing import NamedTuple

import msgspec

from kubewitness.event import envelopes_gke
from kubewitness.event.items import KUBE_APISERVER
from kubewitness.event.recognise import Head, Shape, recognise, text

_CLOUDWATCH_LISTS = frozenset({"events", "logEvents", "results"})
_AUDIT_STREAM = "kube-apiserver-audit"
_AZURE_CATEGORIES = frozenset({"kube-audit", "kube-audit-admin"})


class Opened(NamedTuple):
    """What may be an Event: its bytes, its dialect, and what had to be done to get at it."""

    raw: bytes
    dialect: str = KUBE_APISERVER
    notes: tuple[str, ...] = ()


def open_value(raw: bytes, list_key: str | None) -> Opened | str:
    """Give the Event inside this JSON value, or say what the value is instead."""
    if raw.startswith(b"["):
        return _insights_row(raw) if list_key == "results" else "an array, not an audit Event"
    found = recognise(raw)
    match found.shape:
        case Shape.EVENT:
            return Opened(raw, found.dialect)
        case Shape.MESSAGE:
            return _message(found.head or Head(), list_key)
        case Shape.AZURE:
            return _azure(found.head or Head())
        case Shape.GOOGLE:
            event = envelopes_gke.translate(raw)
            return event if isinstance(event, str) else Opened(event, "gke", ("translated from a GKE LogEntry",))
        case _:
            return found.reason


def _inner(raw: bytes, dialect: str, note: str) -> Opened | str:
    """Look at what an envelope held."""
    if not raw.startswith(b"{"):
        return f"{note}, which holds text, not an audit Event"
    found = recognise(raw)
    if found.shape is not Shape.EVENT:
        return f"{note}, which holds {found.reason or found.shape.value}"
    return Opened(raw, dialect, (note,))


def _message(head: Head, list_key: str | None) -> Opened | str:
    stream = text(head.log_stream_name)
    if stream is not None and not stream.startswith(_AUDIT_STREAM):
        return f"a CloudWatch record of another log, {stream}"
    message = text(head.message)
    if list_key in _CLOUDWATCH_LISTS or stream is not None:
        return _inner(_encoded(message), "eks", "a CloudWatch record")
    if message is not None:
        return _inner(_encoded(message), KUBE_APISERVER, "a record with the Event in `message`")
    return _inner(_encoded(text(head.log)), KUBE_APISERVER, "a record with the Event in `log`")


def _encoded(value: str | None) -> bytes:
    return (value or "").strip().encode()


class _Cell(msgspec.Struct):
    field: str = ""
    value: str = ""


def _insights_row(raw: bytes) -> Opened | str:
    try:
        cells = msgspec.json.decode(raw, type=list[_Cell])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "an array, not an audit Event"
    for cell in cells:
        if cell.field == "@message":
            return _inner(_encoded(cell.value), "eks", "a row of CloudWatch Insights")
    return "a row of CloudWatch Insights without @message"


class _Properties(msgspec.Struct):
    log: msgspec.Raw = msgspec.Raw()


def _azure(head: Head) -> Opened | str:
    category = text(head.category) or text(head.azure_category)
    if category is not None and category not in _AZURE_CATEGORIES:
        return f"an Azure diagnostic record of another log, {category}"
    log = head.log_s or head.log
    if not log:
        properties = text(head.properties)  # some exports hold it as text
        try:
            source = properties.encode() if properties is not None else bytes(head.properties)
            log = msgspec.json.decode(source, type=_Properties).log
        except (msgspec.DecodeError, UnicodeDecodeError):
            return "an Azure diagnostic record without properties.log"
    inner = text(log)
    return _inner(bytes(log) if inner is None else _encoded(inner), "aks", "an Azure diagnostic record")
