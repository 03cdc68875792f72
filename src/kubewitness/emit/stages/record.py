"""
What an Event holds at each level and stage: the record of one request, filled while the request is handled.

`begin` takes request, identity and the policy's decision; the rest is told as it becomes known (`impersonate`,
`keep_request`, `keep_response`, `set_code`, `annotate`, `panic`); `event` gives the Event of a stage. Values in, values
out: times come from the caller, and when a stage is reached is `lifecycle`'s affair.

Follows k8s.io/apiserver/pkg/audit/request.go and context.go. Differs: kube-apiserver's handlers never hand over the
body of a watch, a log, an exec or a proxied request; here `keep_request` and `keep_response` may be told every body
and leave those out themselves.
"""

import dataclasses
import functools
import re
from dataclasses import dataclass, field

import msgspec

from kubewitness.emit.stages.managedfields import without_managed_fields
from kubewitness.emit.stages.request import Request, request_uri, source_ips, user_agent
from kubewitness.emit.wire import BodyError, compact, go_text
from kubewitness.event.microtime import SECOND_US, format_us
from kubewitness.event.types import (
    ABSENT,
    AuthenticationMetadata,
    Event,
    Level,
    ObjectReference,
    ResponseStatus,
    Stage,
    UserInfo,
)
from kubewitness.policy.request import is_long_running
from kubewitness.policy.types import Attributes, Decision

_EMPTY_METADATA = msgspec.Raw(b"{}")
_OBJECT_VERBS = frozenset(("create", "update"))
_BODY_VERBS = _OBJECT_VERBS | {"patch", "delete", "deletecollection"}
_FIRST_ERROR = 400
# the non-resource paths whose answers are objects
_DISCOVERY = re.compile(r"/api(?:/[^/]+)?/?|/apis(?:/[^/]+){0,2}/?")
CLOSED_EARLY = ResponseStatus(metadata=_EMPTY_METADATA, status="Success", message="Connection closed early", code=200)
"""What is recorded of a request whose handler wrote nothing."""


class _ObjectMeta(msgspec.Struct, frozen=True, rename="camel"):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""


class _Object(msgspec.Struct, frozen=True):
    """The head of an API object."""

    metadata: _ObjectMeta = _ObjectMeta()


class _Status(msgspec.Struct, frozen=True, rename="camel"):
    """A Status, as far as it is recorded outside the body."""

    kind: str = ""
    api_version: str = ""
    status: str | None = None
    message: str | None = None
    reason: str | None = None
    details: msgspec.Raw = ABSENT


_object = msgspec.json.Decoder(_Object)
_status = msgspec.json.Decoder(_Status)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True)
class Subject:
    """What is the same for all requests of one method, URL and user."""

    attributes: Attributes
    decision: Decision
    request_uri: str
    object_ref: ObjectReference | None
    is_long_running: bool


def subject_of(attributes: Attributes, decision: Decision, target: str) -> Subject:
    """Make ready what an Event takes from method, URL and user."""
    # a method may hold anything, and on a path that is no resource it is the verb
    if not attributes.verb.isascii():
        attributes = dataclasses.replace(attributes, verb=go_text(attributes.verb))
    reference = _reference(attributes) if attributes.resource_request else None
    return Subject(attributes, decision, request_uri(target), reference, is_long_running(attributes))


@dataclass(slots=True)
class Record:
    """What is known of one audited request so far."""

    subject: Subject
    audit_id: str
    received: str
    user: UserInfo
    source_ips: tuple[str, ...] | None
    user_agent: str | None
    object_ref: ObjectReference | None
    impersonated_user: UserInfo | None = None
    authentication_metadata: AuthenticationMetadata | None = None
    response_status: ResponseStatus | None = None
    request_object: bytes = b""
    response_object: bytes = b""
    annotations: dict[str, str] = field(default_factory=dict)

    def impersonate(self, user: UserInfo, constraint: str | None) -> None:
        """Keep for whom the request is really made, from now on."""
        self.impersonated_user = mended(user)
        if constraint:
            self.authentication_metadata = AuthenticationMetadata(impersonation_constraint=constraint)

    def annotate(self, key: str, value: str) -> bool:
        """Keep an annotation. The first writer wins: False when the key has another value already."""
        key, value = go_text(key), go_text(value)
        return self.annotations.setdefault(key, value) == value

    def keep_request(self, body: bytes) -> None:
        """Take what the client sent, decoded and encoded again as JSON (a patch: as sent). Not JSON: not kept."""
        attributes, decision = self.subject.attributes, self.subject.decision
        if not attributes.resource_request or attributes.verb not in _BODY_VERBS or self.subject.is_long_running:
            return
        if attributes.verb in _OBJECT_VERBS:
            self._complete_reference(body)
        if decision.level < Level.REQUEST:
            return
        try:
            raw = compact(body)
        except BodyError:
            return
        if attributes.verb in _OBJECT_VERBS:
            self.request_object = without_managed_fields(raw) if decision.omit_managed_fields else raw
        else:
            self.request_object = raw if attributes.verb == "patch" else _as_delete_options(raw)

    def _complete_reference(self, raw: bytes) -> None:
        """Fill what the URL left open from the object: at every level, as names are not bodies."""
        reference = self.object_ref
        try:
            meta = _object.decode(raw).metadata
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        if reference is None:
            return
        self.object_ref = msgspec.structs.replace(
            reference,
            namespace=reference.namespace or meta.namespace or None,
            name=reference.name or meta.name or None,
            uid=reference.uid or meta.uid or None,
            resource_version=reference.resource_version or meta.resource_version or None,
        )

    def keep_response(self, code: int, body: bytes) -> None:
        """Take the object that is answered, before its status code is written."""
        decision = self.subject.decision
        keeps_body = decision.level >= Level.REQUEST_RESPONSE
        if not keeps_body and b'"Status"' not in body:
            return
        try:
            raw = compact(body)
        except BodyError:
            return
        status = _status_of(raw)
        if not self.answers_objects() and (status is None or code < _FIRST_ERROR):
            return
        if status is not None:
            self.response_status = ResponseStatus(
                metadata=_EMPTY_METADATA,
                status=status.status or None,
                message=status.message or None,
                reason=status.reason or None,
                details=status.details if bytes(status.details) != b"null" else ABSENT,
            )
        if keeps_body:
            self.response_object = without_managed_fields(raw) if decision.omit_managed_fields else raw

    def answers_objects(self) -> bool:
        """Say whether what is answered to such a request is an object, and no stream or text."""
        attributes = self.subject.attributes
        if attributes.resource_request:
            return not self.subject.is_long_running
        return attributes.verb == "get" and _DISCOVERY.fullmatch(attributes.path) is not None

    def set_code(self, code: int) -> None:
        """Take the HTTP status code, when it is written."""
        status = self.response_status
        if status is None:
            self.response_status = ResponseStatus(metadata=_EMPTY_METADATA, code=code)
        else:
            self.response_status = msgspec.structs.replace(status, code=code)

    def panic(self, reason: str) -> None:
        """Take the end of a request whose handler broke off; there is no answer to keep."""
        self.response_object = b""
        self.response_status = ResponseStatus(
            metadata=_EMPTY_METADATA,
            status="Failure",
            message=go_text(f"APIServer panic'd: {reason}"),
            reason="InternalError",
            code=500,
        )

    def event(self, stage: Stage, at_us: int) -> Event:
        """Give the Event of this stage, reached now: RequestReceived is reached when the request is received."""
        subject = self.subject
        return Event(
            kind="Event",
            api_version="audit.k8s.io/v1",
            level=subject.decision.level,
            audit_id=self.audit_id,
            stage=stage,
            request_uri=subject.request_uri,
            verb=subject.attributes.verb,
            user=self.user,
            impersonated_user=self.impersonated_user,
            authentication_metadata=self.authentication_metadata,
            source_ips=self.source_ips,
            user_agent=self.user_agent,
            object_ref=self.object_ref,
            response_status=self.response_status,
            request_object=msgspec.Raw(self.request_object) if self.request_object else ABSENT,
            response_object=msgspec.Raw(self.response_object) if self.response_object else ABSENT,
            request_received_timestamp=self.received,
            stage_timestamp=self.received if stage is Stage.REQUEST_RECEIVED else time_text(at_us),
            annotations=dict(self.annotations) if self.annotations else None,
        )


def begin(request: Request, subject: Subject, user: UserInfo | None, received_us: int, new_id: str) -> Record:
    """Start the record of a request. `user` None: not authenticated. A client's Audit-ID goes before `new_id`."""
    return Record(
        subject,
        go_text(request.audit_id) or new_id,
        time_text(received_us),
        _NOBODY if user is None else mended(user),
        source_ips(request) or None,
        user_agent(request),
        subject.object_ref,
    )


_NOBODY = UserInfo()


def mended(user: UserInfo) -> UserInfo:
    """Give the user as Go writes one: empty members absent, no text that is not UTF-8."""
    is_plain = user.username and user.groups and user.uid is None and user.extra is None
    if is_plain and f"{user.username}{''.join(user.groups or ())}".isascii():
        return user
    extra = {go_text(key): tuple(map(go_text, values)) for key, values in (user.extra or {}).items()}
    return UserInfo(
        username=go_text(user.username or "") or None,
        uid=go_text(user.uid or "") or None,
        groups=tuple(map(go_text, user.groups or ())) or None,
        extra=extra or None,
    )


def time_text(at_us: int) -> str:
    """Write a time as an Event has it."""
    second = at_us // SECOND_US
    return f"{_second_text(second)}{at_us - second * SECOND_US:06d}Z"


# requests come in a row: nearly all of them within a second that was written before
@functools.lru_cache(maxsize=16)
def _second_text(second: int) -> str:
    return format_us(second * SECOND_US)[: -len("000000Z")]


def _reference(attributes: Attributes) -> ObjectReference:
    return ObjectReference(
        resource=go_text(attributes.resource) or None,
        namespace=go_text(attributes.namespace) or None,
        name=go_text(attributes.name) or None,
        api_group=go_text(attributes.api_group) or None,
        api_version=go_text(attributes.api_version) or None,
        subresource=go_text(attributes.subresource) or None,
    )


def _as_delete_options(raw: bytes) -> bytes:
    """Give DeleteOptions as kube-apiserver records them: of its internal version, whatever the client sent."""
    try:
        members = _members.decode(raw)
    except msgspec.DecodeError:
        return b""
    head = {"kind": msgspec.Raw(b'"DeleteOptions"'), "apiVersion": msgspec.Raw(b'"meta.k8s.io/__internal"')}
    return msgspec.json.encode({**head, **{name: value for name, value in members.items() if name not in head}})


def _status_of(raw: bytes) -> _Status | None:
    try:
        found = _status.decode(raw)
    except msgspec.DecodeError:
        return None
    return found if found.kind == "Status" and found.api_version == "v1" else None
