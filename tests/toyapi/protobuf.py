"""
Read the protobuf that kubectl's typed clients send: the envelope `k8s\\0`, and in it an object by field numbers.

Only members that kubectl writes are listed; others are passed over. Empty text and empty messages are left out, as
Go's encoder writes every member of a struct.
"""

MAGIC = b"k8s\x00"
MEDIA_TYPE = "application/vnd.kubernetes.protobuf"

# number: name, or (name, what it is); "[]" repeats, "{}" is a map of text
_REFERENCE = {1: "kind", 2: "namespace", 3: "name", 4: "uid", 5: "apiVersion", 6: "resourceVersion", 7: "fieldPath"}
_META = {
    1: "name",
    2: "generateName",
    3: "namespace",
    5: "uid",
    6: "resourceVersion",
    11: ("labels", "{}"),
    12: ("annotations", "{}"),
}
_SELECTOR = {1: ("matchLabels", "{}")}
_ENV = {1: "name", 2: "value"}
_PORT = {1: "name", 2: ("hostPort", int), 3: ("containerPort", int), 4: "protocol"}
_SECURITY = {2: ("privileged", bool), 4: ("runAsUser", int)}
_CONTAINER = {
    1: "name",
    2: "image",
    3: ("command", ["text"]),
    4: ("args", ["text"]),
    5: "workingDir",
    6: ("ports", [_PORT]),
    7: ("env", [_ENV]),
    14: "imagePullPolicy",
    15: ("securityContext", _SECURITY),
}
_POD_SPEC = {
    2: ("containers", [_CONTAINER]),
    3: "restartPolicy",
    6: "dnsPolicy",
    7: ("nodeSelector", "{}"),
    8: "serviceAccountName",
    10: "nodeName",
    11: ("hostNetwork", bool),
    12: ("hostPID", bool),
    20: ("initContainers", [_CONTAINER]),
}
_POD = {1: ("metadata", _META), 2: ("spec", _POD_SPEC)}
_JOB = {1: ("metadata", _META), 2: ("spec", {1: ("parallelism", int), 2: ("completions", int), 6: ("template", _POD)})}
_CRON_SPEC = {1: "schedule", 3: "concurrencyPolicy", 4: ("suspend", bool), 5: ("jobTemplate", _JOB)}
_DEPLOYMENT_SPEC = {1: ("replicas", int), 2: ("selector", _SELECTOR), 3: ("template", _POD)}
_SERVICE_PORT = {1: "name", 2: "protocol", 3: ("port", int)}
_RULE = {
    1: ("verbs", ["text"]),
    2: ("apiGroups", ["any text"]),
    3: ("resources", ["text"]),
    4: ("resourceNames", ["text"]),
    5: ("nonResourceURLs", ["text"]),
}
_ROLE = {1: ("metadata", _META), 2: ("rules", [_RULE])}
_BINDING = {
    1: ("metadata", _META),
    2: ("subjects", [{1: "kind", 2: "apiGroup", 3: "name", 4: "namespace"}]),
    3: ("roleRef", {1: "apiGroup", 2: "kind", 3: "name"}),
}
_RESOURCE = {1: "namespace", 2: "verb", 3: "group", 4: "version", 5: "resource", 6: "subresource", 7: "name"}
_ACCESS = {
    1: ("resourceAttributes", _RESOURCE),
    2: ("nonResourceAttributes", {1: "path", 2: "verb"}),
    3: "user",
    4: ("groups", ["text"]),
}
_TOKEN = {1: ("audiences", ["text"]), 3: ("boundObjectRef", {1: "kind", 2: "apiVersion", 3: "name", 4: "uid"})}


def _with_spec(spec: dict) -> dict:
    return {1: ("metadata", _META), 2: ("spec", spec)}


_KINDS = {
    "ConfigMap": {1: ("metadata", _META), 2: ("data", "{}"), 4: ("immutable", bool)},
    "Secret": {1: ("metadata", _META), 2: ("data", "{bytes}"), 3: "type", 4: ("stringData", "{}")},
    "Namespace": {1: ("metadata", _META)},
    "ServiceAccount": {1: ("metadata", _META)},
    "Pod": _POD,
    "Service": _with_spec({1: ("ports", [_SERVICE_PORT]), 2: ("selector", "{}"), 3: "clusterIP", 4: "type"}),
    "Deployment": _with_spec(_DEPLOYMENT_SPEC),
    "Job": _JOB,
    "CronJob": _with_spec(_CRON_SPEC),
    "Role": _ROLE,
    "ClusterRole": _ROLE,
    "RoleBinding": _BINDING,
    "ClusterRoleBinding": _BINDING,
    "SelfSubjectAccessReview": _with_spec(_ACCESS),
    "SubjectAccessReview": _with_spec(_ACCESS),
    "SelfSubjectRulesReview": _with_spec({1: "namespace"}),
    "SelfSubjectReview": {1: ("metadata", _META)},
    "TokenRequest": _with_spec({**_TOKEN, 4: ("expirationSeconds", int)}),
    "TokenReview": _with_spec({1: "token", 2: ("audiences", ["text"])}),
    "Scale": _with_spec({1: ("replicas", int)}),
    "Eviction": {1: ("metadata", _META)},
}


def decode(raw: bytes) -> dict:
    """Give the object. Raises ValueError."""
    if not raw.startswith(MAGIC):
        raise ValueError("no Kubernetes protobuf")
    envelope = dict(_fields(raw[len(MAGIC) :]))
    kind = {number: value.decode() for number, value in _fields(envelope[1])}
    shape = _KINDS.get(kind.get(2, ""))
    if shape is None:
        raise ValueError(f"kind {kind.get(2)} is not read as protobuf here")
    return {"kind": kind[2], "apiVersion": kind[1], **_message(envelope.get(2, b""), shape)}


def _message(raw: bytes, shape: dict) -> dict:
    out: dict = {}
    for number, value in _fields(raw):
        if number not in shape:
            continue
        name, what = shape[number] if isinstance(shape[number], tuple) else (shape[number], "text")
        if isinstance(what, list):
            read = _value(value, what[0])
            if read or what[0] == "any text":
                out.setdefault(name, []).append(read)
        elif what in ("{}", "{bytes}"):
            pair = dict(_fields(value))
            out.setdefault(name, {})[pair.get(1, b"").decode()] = _text(pair.get(2, b""), what)
        elif (read := _value(value, what)) not in ("", {}):
            out[name] = read
    return out


def _text(value: bytes, what: str) -> str:
    import base64

    return base64.b64encode(value).decode() if what == "{bytes}" else value.decode()


def _value(value, what):
    if isinstance(what, dict):
        return _message(value, what)
    return what(value) if what in (int, bool) else value.decode()


def _fields(raw: bytes):
    """Give (number, value): bytes, or a whole number."""
    at = 0
    while at < len(raw):
        key, at = _varint(raw, at)
        match key & 7:
            case 0:
                value, at = _varint(raw, at)
            case 1:
                value, at = raw[at : at + 8], at + 8
            case 2:
                size, at = _varint(raw, at)
                value, at = raw[at : at + size], at + size
            case 5:
                value, at = raw[at : at + 4], at + 4
            case kind:
                raise ValueError(f"wire type {kind}")
        yield key >> 3, value


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (raw[at] & 0x7F) << shift
        shift += 7
        at += 1
        if not raw[at - 1] & 0x80:
            return value, at
