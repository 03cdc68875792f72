"""
The one table of fields: what an Event can hold, by which names people and engines call it.

Parser, SQL columns, `--help`, documentation, the UNKNOWN logic and redaction all read this table.
`path` is the wire name users see in the log; `column` is the column of the `events` relation.
"""

import enum

import msgspec


class FieldType(enum.Enum):
    """What a column holds."""

    STRING = "string"
    STRINGS = "list of strings"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    TIME = "time, UTC, microseconds"
    MAP = "map of string to string"
    LISTS = "map of string to list of strings"
    JSON = "JSON text"


class Field(msgspec.Struct, frozen=True):
    """One field: its wire path, its column, its type, whether it may hold a secret, and what it means."""

    path: str
    column: str
    type: FieldType
    help: str
    may_hold_secret: bool = False
    is_derived: bool = False


_S, _L, _I, _B, _T, _M, _X, _J = FieldType

FIELDS: tuple[Field, ...] = (
    Field("kind", "kind", _S, "Event, or absent in webhook items"),
    Field("level", "level", _S, "None, Metadata, Request or RequestResponse"),
    Field("auditID", "audit_id", _S, "id of the request; a client may choose it, so it is not unique"),
    Field("stage", "stage", _S, "RequestReceived, ResponseStarted, ResponseComplete or Panic"),
    Field("requestURI", "request_uri", _S, "path and query as sent", may_hold_secret=True),
    Field("verb", "verb", _S, "get, list, watch, create, update, patch, delete, deletecollection, or an HTTP method"),
    Field("user.username", "username", _S, "who asked; absent when authentication failed"),
    Field("user.uid", "user_uid", _S, "uid of the user"),
    Field("user.groups", "groups", _L, "groups of the user"),
    Field("user.extra", "user_extra", _X, "further attributes, such as the credential id", may_hold_secret=True),
    Field("impersonatedUser.username", "impersonated_username", _S, "as whom the user acted"),
    Field("impersonatedUser.uid", "impersonated_uid", _S, "uid acted as"),
    Field("impersonatedUser.groups", "impersonated_groups", _L, "groups acted as"),
    Field("impersonatedUser.extra", "impersonated_extra", _X, "extra acted as", may_hold_secret=True),
    Field("authenticationMetadata.impersonationConstraint", "impersonation_constraint", _S, "which permission let it"),
    Field("sourceIPs", "source_ips", _L, "claimed hops, then the peer; only the last is known"),
    Field("userAgent", "user_agent", _S, "what the client calls itself; chosen by the client"),
    Field("objectRef.resource", "resource", _S, "pods, secrets, ..."),
    Field("objectRef.namespace", "namespace", _S, "namespace; absent for cluster-scoped requests"),
    Field("objectRef.name", "name", _S, "object name; absent on lists and on creates with generateName"),
    Field("objectRef.uid", "object_uid", _S, "uid, when the request body held it"),
    Field("objectRef.apiGroup", "api_group", _S, "API group; absent for core"),
    Field("objectRef.apiVersion", "api_version", _S, "API version"),
    Field("objectRef.resourceVersion", "resource_version", _S, "resourceVersion, when the request body held it"),
    Field("objectRef.subresource", "subresource", _S, "exec, log, status, ..."),
    Field("responseStatus.code", "code", _I, "HTTP status"),
    Field("responseStatus.status", "status", _S, "Success or Failure, when the server answered a Status"),
    Field("responseStatus.reason", "reason", _S, "Forbidden, NotFound, ..."),
    Field("responseStatus.message", "message", _S, "the server's sentence", may_hold_secret=True),
    Field("responseStatus.details", "details", _J, "name, kind, uid and causes"),
    Field("requestObject", "request_object", _J, "request body, from level Request", may_hold_secret=True),
    Field("responseObject", "response_object", _J, "response body, at level RequestResponse", may_hold_secret=True),
    Field("requestReceivedTimestamp", "received", _T, "when the request arrived"),
    Field("stageTimestamp", "stage_time", _T, "when this stage was reached"),
    Field("annotations", "annotations", _M, "what the chain of filters noted", may_hold_secret=True),
    # derived: defined once in event/derive.py, equal on raw scans and in the store
    Field("action", "action", _S, "what was done, whatever the HTTP verb", is_derived=True),
    Field("exec.command", "exec_command", _L, "command decoded from the URI", may_hold_secret=True, is_derived=True),
    Field("actor.kind", "actor_kind", _S, "human, serviceaccount, node, controller, ...", is_derived=True),
    Field("outcome", "outcome", _S, "allowed, denied (401, 403) or failed", is_derived=True),
    Field("object.name", "object_name", _S, "objectRef.name, or the name that a create was given", is_derived=True),
    Field("source.peer", "source_peer", _S, "the last hop: the only address that is known", is_derived=True),
    Field("credential.id", "credential_id", _S, "JTI=... or X509SHA256=... of the credential used", is_derived=True),
    Field(
        "credential.issued", "credential_issued", _S, "id of the credential that this request issued", is_derived=True
    ),
    Field("dryrun", "dryrun", _B, "the request changed nothing: dryRun=All", is_derived=True),
    Field("truncated", "truncated", _B, "bodies were cut: audit.k8s.io/truncated", is_derived=True),
    # the envelope: what we know about the bytes, not in them
    Field("cluster", "cluster", _S, "cluster the bytes came from", is_derived=True),
    Field("source", "source", _S, "file or door the bytes came through", is_derived=True),
    Field("dialect", "dialect", _S, "kube-apiserver, eks, gke, aks, legacy, ...", is_derived=True),
    Field("redacted", "redacted", _L, "members that were blanked or never written", is_derived=True),
    Field("log.index", "log_index", _I, "place in the log of a store, by which it is proved", is_derived=True),
    Field("log.time", "log_time", _T, "when the store took it in", is_derived=True),
)

_BY_PATH = {field.path: field for field in FIELDS}
_BY_COLUMN = {field.column: field for field in FIELDS}


def by_path(path: str) -> Field:
    """Give the field with this wire path. Raises KeyError."""
    return _BY_PATH[path]


def by_column(column: str) -> Field:
    """Give the field with this column name. Raises KeyError."""
    return _BY_COLUMN[column]
