"""
The nouns of `audit.k8s.io/v1`: Event, Level, Stage and what they hold.

An `Event` is a frozen view of exact bytes; unknown fields are absent here and survive because the bytes
are what is stored, hashed and exported. Wire names are given once, beside the attribute.

Follows k8s.io/apiserver/pkg/apis/audit/v1/types.go; differs in that every member but `stage` may be
absent, because managed clouds, old versions and training material leave members out.
"""

import enum
import functools

import msgspec


@functools.total_ordering
class Level(enum.Enum):
    """How much of a request is recorded. Ordered: NONE < METADATA < REQUEST < REQUEST_RESPONSE."""

    # members are compared by identity; Enum's own hash is written in Python
    __hash__ = object.__hash__

    NONE = "None"
    METADATA = "Metadata"
    REQUEST = "Request"
    REQUEST_RESPONSE = "RequestResponse"

    @property
    def rank(self) -> int:
        """Its place in the order, 0 to 3."""
        return _LEVELS.index(self)

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Level):
            return NotImplemented
        return self.rank < other.rank


_LEVELS = tuple(Level)


@functools.total_ordering
class Stage(enum.Enum):
    """How far a request had got when the Event was made. Ordered by the life of a request, Panic last."""

    __hash__ = object.__hash__

    REQUEST_RECEIVED = "RequestReceived"
    RESPONSE_STARTED = "ResponseStarted"
    RESPONSE_COMPLETE = "ResponseComplete"
    PANIC = "Panic"

    @property
    def rank(self) -> int:
        """Its place in the order, 0 to 3."""
        return _STAGES.index(self)

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Stage):
            return NotImplemented
        return self.rank < other.rank


_STAGES = tuple(Stage)


class _Wire(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A struct of the wire: frozen, camelCase, absent members left out."""


ABSENT = msgspec.Raw()
"""An absent member that is kept as exact bytes: empty, hence false. (msgspec has no optional Raw.)"""


class UserInfo(_Wire, frozen=True, kw_only=True):
    """Who asked. All members are empty when authentication failed."""

    username: str | None = None
    uid: str | None = None
    groups: tuple[str, ...] | None = None
    extra: dict[str, tuple[str, ...]] | None = None


class ObjectReference(_Wire, frozen=True, kw_only=True):
    """What was asked for. `name` is absent on a create without a name in its body, on lists, on deletecollection."""

    resource: str | None = None
    namespace: str | None = None
    name: str | None = None
    uid: str | None = None
    api_group: str | None = None
    api_version: str | None = None
    resource_version: str | None = None
    subresource: str | None = None


class ResponseStatus(_Wire, frozen=True, kw_only=True):
    """The result. `code` is the HTTP status; the rest is there when the server answered a Status object."""

    metadata: msgspec.Raw = ABSENT
    status: str | None = None
    message: str | None = None
    reason: str | None = None
    details: msgspec.Raw = ABSENT
    code: int | None = None


class AuthenticationMetadata(_Wire, frozen=True, kw_only=True):
    """How the user came to be (kube-apiserver 1.36 on)."""

    impersonation_constraint: str | None = None


class Event(_Wire, frozen=True, kw_only=True):
    """One audit.k8s.io/v1 Event: who asked for what, and how far it got.

    Times stay the text of the wire here; compare them with `event.microtime`, never as text.
    """

    kind: str | None = None
    api_version: str | None = None
    level: Level | None = None
    audit_id: str | None = msgspec.field(name="auditID", default=None)
    stage: Stage
    request_uri: str | None = msgspec.field(name="requestURI", default=None)
    verb: str | None = None
    user: UserInfo | None = None
    impersonated_user: UserInfo | None = None
    authentication_metadata: AuthenticationMetadata | None = None
    source_ips: tuple[str, ...] | None = msgspec.field(name="sourceIPs", default=None)
    user_agent: str | None = None
    object_ref: ObjectReference | None = None
    response_status: ResponseStatus | None = None
    request_object: msgspec.Raw = ABSENT
    response_object: msgspec.Raw = ABSENT
    request_received_timestamp: str | None = None
    stage_timestamp: str | None = None
    annotations: dict[str, str] | None = None
