"""
Translate a Cloud Logging LogEntry of GKE to the shape of an audit Event.

GKE does not hand out the Event: the apiserver's Event becomes a `google.cloud.audit.AuditLog` in `protoPayload`.
What can be translated without a guess is; what GKE leaves out is left out (`event.dialects.not_given`). Three
values are derived: `level` from which bodies are there, `stage` from `operation` (an operation that has begun and not
ended is a ResponseStarted), and `responseStatus.code` from the body of a Status, else from the gRPC code.
Bodies are kept as they stand in the entry, with the `@type` that Google adds.
"""

import msgspec

from kubewitness.event.types import ABSENT, Level, Stage

# google.rpc.Code, by its number, to HTTP as google/rpc/code.proto documents it
_HTTP_BY_GRPC = (200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401)


class _Struct(msgspec.Struct, frozen=True, rename="camel"):
    """A struct of the LogEntry; what we do not use is skipped."""


class _Authentication(_Struct, frozen=True):
    principal_email: str | None = None


class _RequestMetadata(_Struct, frozen=True):
    caller_ip: str | None = None
    caller_supplied_user_agent: str | None = None


class _Status(_Struct, frozen=True):
    code: int = 0
    message: str | None = None


class _AuditLog(_Struct, frozen=True):
    service_name: str = ""
    method_name: str = ""
    resource_name: str = ""
    authentication_info: _Authentication = _Authentication()
    request_metadata: _RequestMetadata = _RequestMetadata()
    status: _Status | None = None
    request: msgspec.Raw = ABSENT
    response: msgspec.Raw = ABSENT


class _Operation(_Struct, frozen=True):
    id: str | None = None
    first: bool | str = False  # some exports write "true"
    last: bool | str = False


class _LogEntry(_Struct, frozen=True):
    proto_payload: _AuditLog
    insert_id: str | None = None
    timestamp: str | None = None
    labels: dict[str, str] = {}
    operation: _Operation | None = None


class _ResponseBody(msgspec.Struct, frozen=True):
    """The body of a response, as far as it may be a Status."""

    kind: str = ""
    code: int | None = None
    status: str | None = None
    reason: str | None = None
    message: str | None = None


_decoder = msgspec.json.Decoder(_LogEntry)
_body_decoder = msgspec.json.Decoder(_ResponseBody)
_METHOD_PREFIX = "io.k8s."


def translate(raw: bytes) -> bytes | str:
    """Give the Event that this LogEntry tells of, or say what the entry is instead."""
    try:
        entry = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        return f"a Google Cloud LogEntry that cannot be read: {exc}"
    log = entry.proto_payload
    if not log.method_name.startswith(_METHOD_PREFIX):
        return f"a Google Cloud LogEntry of {log.service_name or 'an unnamed service'}, not of the Kubernetes API"
    event: dict[str, object] = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": _level(log).value,
        "auditID": (entry.operation and entry.operation.id) or entry.insert_id,
        "stage": _stage(entry.operation).value,
        "verb": log.method_name.rpartition(".")[2],
        "user": _present(username=log.authentication_info.principal_email),
        "sourceIPs": [log.request_metadata.caller_ip] if log.request_metadata.caller_ip else None,
        "userAgent": log.request_metadata.caller_supplied_user_agent,
        "objectRef": object_ref(log.method_name, log.resource_name),
        "responseStatus": _response_status(log, entry.labels.get("authorization.k8s.io/decision")),
        "requestObject": log.request or None,
        "responseObject": log.response or None,
        "requestReceivedTimestamp": entry.timestamp,
        "annotations": entry.labels or None,
    }
    return msgspec.json.encode(_present(**event))


def _present(**members: object) -> dict[str, object]:
    return {name: value for name, value in members.items() if value is not None}


def _level(log: _AuditLog) -> Level:
    if log.response:
        return Level.REQUEST_RESPONSE
    return Level.REQUEST if log.request else Level.METADATA


def _stage(operation: _Operation | None) -> Stage:
    is_open = operation is not None and str(operation.first).lower() == "true" and str(operation.last).lower() != "true"
    return Stage.RESPONSE_STARTED if is_open else Stage.RESPONSE_COMPLETE


def object_ref(method: str, resource_name: str) -> dict[str, str] | None:
    """Take `core/v1/namespaces/default/pods/web/exec` apart; the method tells a Namespace from what is in it."""
    group, _, rest = resource_name.partition("/")
    version, _, rest = rest.partition("/")
    parts = rest.split("/") if rest else []
    if not parts:
        return None
    found = {"apiVersion": version} if group == "core" else {"apiGroup": group, "apiVersion": version}
    # io.k8s.<group>.<version>.<resource>[.<subresource>].<verb>; the group may hold dots
    words = method.removeprefix(_METHOD_PREFIX).split(".")
    is_namespace = version in words and words[words.index(version) + 1 :][:1] == ["namespaces"]
    if parts[0] == "namespaces" and not is_namespace and len(parts) > 2:
        found["namespace"] = parts[1]
        parts = parts[2:]
    elif parts[0] == "namespaces" and len(parts) > 1:
        found["namespace"] = parts[1]
    return found | dict(zip(("resource", "name", "subresource"), parts, strict=False))


def _response_status(log: _AuditLog, decision: str | None) -> dict[str, object]:
    body = _ResponseBody()
    if log.response:
        try:
            body = _body_decoder.decode(log.response)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            body = _ResponseBody()
    is_status = body.kind == "Status"
    if is_status and body.code is not None:
        code = body.code
    elif log.status is None:
        code = 403 if decision == "forbid" else 200
    else:
        code = _HTTP_BY_GRPC[log.status.code] if 0 <= log.status.code < len(_HTTP_BY_GRPC) else 500
    return {
        "metadata": {},
        **_present(
            status=body.status if is_status else None,
            message=log.status.message if log.status else None,
            reason=body.reason if is_status else None,
        ),
        "code": code,
    }
