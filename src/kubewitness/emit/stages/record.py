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
import re
from dataclasses import dataclass, field

import msgspec

from kubewitness.emit.stages.managedfields import without_managed_fields
from kubewitness.emit.stages.request import Request, request_uri, source_ips, user_agent
from kubewitness.emit.wire import BodyError, compact, go_text
from kubewitness.event.microtime import format_us
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
_BODY_VERBS = frozenset(("create", "update", "patch", "delete", "deletecollection"))
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


@dataclass(slots=True)
class Record:
    """What is known of one audited request so far."""

    attributes: Attributes
    decision: Decision
    audit_id: str
    request_uri: str
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
        return self.annotations.setdefault(go_text(key), go_text(value)) == go_text(value)

    def keep_request(self, body: bytes) -> None:
        """Take what the client sent, decoded and encoded again as JSON (a patch: as sent). Not JSON: not kept."""
        if not self.attributes.resource_request or self.attributes.verb not in _BODY_VERBS:
            return
        if is_long_running(self.attributes):
            return
        try:
            raw = compact(body)
        except BodyError:
            return
        keeps_body = self.decision.level >= Level.REQUEST
        match self.attributes.verb:
            case "patch":
                pass
            case "delete" | "deletecollection":
                raw = _as_delete_options(raw)
            case _:
                self._complete_reference(raw)
                if keeps_body and self.decision.omit_managed_fields:
                    raw = without_managed_fields(raw)
        if keeps_body:
            self.request_object = raw

    def _complete_reference(self, raw: bytes) -> None:
        """Fill what the URL left open from the object: at every level, as names are not bodies."""
        reference = self.object_ref
        try:
            meta = _object.decode(raw).metadata
        except msgspec.DecodeError:
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
        try:
            raw = compact(body)
        except BodyError:
            return
        status = _status_of(raw)
        if not self._answers_objects() and (status is None or code < 400):
            return
        if status is not None:
            self.response_status = ResponseStatus(
                metadata=_EMPTY_METADATA,
                status=status.status or None,
                message=status.message or None,
                reason=status.reason or None,
                details=status.details if bytes(status.details) != b"null" else ABSENT,
            )
        if self.decision.level >= Level.REQUEST_RESPONSE:
            if self.decision.omit_managed_fields:
                raw = without_managed_fields(raw)
            self.response_object = raw

    def _answers_objects(self) -> bool:
        if self.attributes.resource_request:
            return not is_long_running(self.attributes)
        return self.attributes.verb == "get" and _DISCOVERY.fullmatch(self.attributes.path) is not None

    def set_code(self, code: int) -> None:
        """Take the HTTP status code, when it is written."""
        status = self.response_status or ResponseStatus(metadata=_EMPTY_METADATA)
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
        """Give the Event of this stage. RequestReceived carries the time of receipt, whatever the clock says."""
        return Event(
            kind="Event",
            api_version="audit.k8s.io/v1",
            level=self.decision.level,
            audit_id=self.audit_id,
            stage=stage,
            request_uri=self.request_uri,
            verb=self.attributes.verb,
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
            stage_timestamp=self.received if stage is Stage.REQUEST_RECEIVED else format_us(at_us),
            annotations=dict(self.annotations) or None,
        )


def begin(
    request: Request,
    attributes: Attributes,
    decision: Decision,
    user: UserInfo | None,
    received_us: int,
    new_id: str,
) -> Record:
    """Start the record of a request. `user` None: not authenticated. A client's Audit-ID goes before `new_id`."""
    return Record(
        attributes=_mended_attributes(attributes),
        decision=decision,
        audit_id=go_text(request.audit_id) or new_id,
        request_uri=request_uri(request.target),
        received=format_us(received_us),
        user=mended(user or UserInfo()),
        source_ips=source_ips(request) or None,
        user_agent=user_agent(request),
        object_ref=_reference(attributes) if attributes.resource_request else None,
    )


def mended(user: UserInfo) -> UserInfo:
    """Give the user as Go writes one: empty members absent, no text that is not UTF-8."""
    extra = {go_text(key): tuple(map(go_text, values)) for key, values in (user.extra or {}).items()}
    return UserInfo(
        username=go_text(user.username or "") or None,
        uid=go_text(user.uid or "") or None,
        groups=tuple(map(go_text, user.groups or ())) or None,
        extra=extra or None,
    )


def _mended_attributes(attributes: Attributes) -> Attributes:
    # a method may hold anything, and on a path that is no resource it is the verb
    return attributes if attributes.verb.isascii() else dataclasses.replace(attributes, verb=go_text(attributes.verb))


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
