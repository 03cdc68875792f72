"""
Bodies as a door sees them pass by: kept as far as the policy's level makes an Event of them, and no further.

`RequestBody` and `ResponseBody` are handed parts as they come; `whole` gives what audit is to be told, or nothing. What
a level keeps of it is `stages.record`'s affair: this one only saves the memory of bodies that cannot matter.

Differs from kube-apiserver, whose handlers hand over decoded objects: a request's body counts as decoded when the
application read it to its end and did not answer 400, 413 or 415, nor that the request is forbidden (annotation
`authorization.k8s.io/decision: forbid`). YAML becomes JSON, other media types are nothing we could keep.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from kubewitness.emit.stages.record import Record
from kubewitness.event.types import Level
from kubewitness.policy import yaml11
from kubewitness.policy.tree import GoError, Kind, Value

REQUEST_MAX_BYTES = 3 * 1024 * 1024
"""Above this kube-apiserver answers 413, and never has an object to record."""
STATUS_MAX_BYTES = 256 * 1024
"""Below level RequestResponse only a Status matters, and no Status is larger."""
_UNDECODED = frozenset((400, 413, 415))
_FIRST_ERROR = 400
_DECISION = "authorization.k8s.io/decision"
_BODY_METHODS = frozenset(("create", "update", "patch", "delete", "deletecollection"))
_NAMING_VERBS = frozenset(("create", "update"))
Headers = Iterable[tuple[bytes, bytes]]


def media_type(headers: Headers) -> bytes:
    """Give the media type without parameters, lower case; empty when none is given."""
    for name, value in headers:
        if name.lower() == b"content-type":
            return value.partition(b";")[0].strip().lower()
    return b""


def _is_json(kind: bytes) -> bool:
    return not kind or kind == b"application/json" or kind.endswith((b"+json", b"/json"))


def _is_yaml(kind: bytes) -> bool:
    return kind.endswith((b"yaml", b"+yaml"))


def is_request_body_wanted(record: Record) -> bool:
    """Say whether the policy's level makes anything of what the client sends."""
    subject = record.subject
    verb = subject.attributes.verb
    return (
        verb in _BODY_METHODS
        and subject.attributes.resource_request
        and not subject.is_long_running
        and (verb in _NAMING_VERBS or subject.decision.level >= Level.REQUEST)
    )


def is_response_body_wanted(record: Record, code: int) -> bool:
    """Say whether it makes anything of what is answered with this code: the object, or a Status."""
    subject = record.subject
    # who reads gets a Status only when it fails; who writes may get one whatever the code
    if code >= _FIRST_ERROR or subject.attributes.verb in _BODY_METHODS:
        return True
    return subject.decision.level is Level.REQUEST_RESPONSE and record.answers_objects()


class RequestBody:
    """What the client sends, as the application reads it."""

    __slots__ = ("_is_told", "_is_whole", "_kind", "_parts", "_record", "_size", "is_wanted")

    def __init__(self, record: Record, headers: Headers) -> None:
        self._record = record
        self._kind = media_type(headers)
        self.is_wanted = _is_json(self._kind) or _is_yaml(self._kind)
        self._parts: list[bytes] = []
        self._size = 0
        self._is_whole = self._is_told = False

    def take(self, part: bytes, *, is_last: bool) -> None:
        """Keep a part of the body."""
        if not self.is_wanted or self._is_told:
            return
        self._size += len(part)
        if self._size > REQUEST_MAX_BYTES:
            self._parts.clear()
            self.is_wanted = False
            return
        self._parts.append(part)
        self._is_whole = self._is_whole or is_last

    def replace(self, body: bytes) -> None:
        """Take the object from who decoded it."""
        self._parts = [body]
        self._kind = b"application/json"
        self._is_whole = self._is_told = True

    def whole(self, code: int) -> bytes:
        """Give the body as JSON for an answer with this code; empty when audit is not to know it."""
        if not self._is_whole or (not self._is_told and self._is_undecoded(code)):
            return b""
        body = b"".join(self._parts)
        return _from_yaml(body) if body and _is_yaml(self._kind) else body

    def _is_undecoded(self, code: int) -> bool:
        return code in _UNDECODED or self._record.annotations.get(_DECISION) == "forbid"


class ResponseBody:
    """What the application answers, part by part."""

    __slots__ = ("_limit", "_parts", "_size", "is_wanted")

    def __init__(self, record: Record, headers: Headers) -> None:
        is_whole_wanted = record.subject.decision.level is Level.REQUEST_RESPONSE and record.answers_objects()
        self._limit = None if is_whole_wanted else STATUS_MAX_BYTES
        self._parts: list[bytes] = []
        self._size = 0
        self.is_wanted = _is_json(media_type(headers))

    def take(self, part: bytes) -> None:
        """Keep a part of the body."""
        if not self.is_wanted:
            return
        self._size += len(part)
        if self._limit is not None and self._size > self._limit:
            self._parts.clear()
            self.is_wanted = False
            return
        self._parts.append(part)

    def whole(self) -> bytes:
        """Give the body, or nothing when it cannot matter."""
        return b"".join(self._parts)


def _from_yaml(body: bytes) -> bytes:
    try:
        return msgspec.json.encode(_plain(yaml11.decode(body).value))
    except (GoError, RecursionError):
        return b""


def _plain(value: Value) -> Any:
    match value.kind:
        case Kind.OBJECT:
            return {member.name: _plain(member.value) for member in value.members}
        case Kind.ARRAY:
            return [_plain(item) for item in value.items]
        case Kind.STRING:
            return value.text
        case Kind.NULL:
            return None
    return msgspec.Raw(value.text.encode())
