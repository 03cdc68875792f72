"""
Say what a JSON object is: an audit Event, an envelope around one, or something else and what.

An audit Event is an object whose `stage` is a known Stage and whose `kind` and `apiVersion` are absent (items of
a webhook body have none) or `Event` and `audit.k8s.io/*`. A core/v1 Event is not one. Bytes that cannot be
read here are given the benefit of the doubt: the tolerant decoder has the last word.
"""

import enum

import msgspec

from kubewitness.event.items import KUBE_APISERVER
from kubewitness.event.types import ABSENT

API_GROUP = "audit.k8s.io/"


class Shape(enum.Enum):
    """What an object is, as far as its members tell."""

    EVENT = "an audit Event"
    MESSAGE = "a record whose `message` or `log` holds the Event as text"
    AZURE = "an Azure diagnostic record"
    GOOGLE = "a Google Cloud LogEntry"
    ALIEN = "something else"


class Head(msgspec.Struct, frozen=True):
    """The members that tell shapes apart, undecoded."""

    kind: msgspec.Raw = ABSENT
    api_version: msgspec.Raw = msgspec.field(name="apiVersion", default=ABSENT)
    stage: msgspec.Raw = ABSENT
    audit_id: msgspec.Raw = msgspec.field(name="auditID", default=ABSENT)
    message: msgspec.Raw = ABSENT
    log: msgspec.Raw = ABSENT
    category: msgspec.Raw = ABSENT
    azure_category: msgspec.Raw = msgspec.field(name="Category", default=ABSENT)
    properties: msgspec.Raw = ABSENT
    log_s: msgspec.Raw = ABSENT
    proto_payload: msgspec.Raw = msgspec.field(name="protoPayload", default=ABSENT)
    log_stream_name: msgspec.Raw = msgspec.field(name="logStreamName", default=ABSENT)


class Recognised(msgspec.Struct, frozen=True):
    """The shape; for an Event its dialect; for something else why; and the head it was told from."""

    shape: Shape
    dialect: str = KUBE_APISERVER
    reason: str = ""
    head: Head | None = None


_decoder = msgspec.json.Decoder(Head)
_text_decoder = msgspec.json.Decoder(str)
_IN_DOUBT = Recognised(Shape.EVENT)


def recognise(raw: bytes) -> Recognised:
    """Say what the JSON object in `raw` is."""
    try:
        head = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _IN_DOUBT
    if head.stage or head.audit_id:
        return _as_event(head)
    if head.proto_payload:
        return Recognised(Shape.GOOGLE, "gke", head=head)
    if head.log_s or ((head.category or head.azure_category) and (head.properties or head.log)):
        return Recognised(Shape.AZURE, "aks", head=head)
    if text(head.message) is not None or text(head.log) is not None:
        return Recognised(Shape.MESSAGE, head=head)
    return Recognised(Shape.ALIEN, reason=f"{_name(head)}, not an audit Event: it has no stage", head=head)


def text(raw: msgspec.Raw) -> str | None:
    """Give the string that `raw` is, or None."""
    try:
        return _text_decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _as_event(head: Head) -> Recognised:
    kind, api_version = text(head.kind), text(head.api_version)
    if (head.kind and kind != "Event") or (head.api_version and not (api_version or "").startswith(API_GROUP)):
        return Recognised(Shape.ALIEN, reason=f"{_name(head)}, not an audit Event", head=head)
    # a stage that is wrong or missing is for the decoder to say, with the field's name
    version = (api_version or "").removeprefix(API_GROUP)
    return Recognised(Shape.EVENT, version if version in {"v1alpha1", "v1beta1"} else KUBE_APISERVER, head=head)


def _name(head: Head) -> str:
    kind, api_version = text(head.kind), text(head.api_version)
    if kind is None:
        return "a JSON object"
    group = "core/v1" if api_version == "v1" else api_version
    return f"a {group} {kind}" if group else f"a {kind}"
