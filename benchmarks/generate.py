"""
Write an audit log of a busy cluster that does not exist: the same bytes for the same seed, profile and size.

    python -m benchmarks.generate OUT --events 500000 [--profile meta|body] [--seed 7] [--workers 2]

The log is made of chunks of `CHUNK` Events, each with its own random numbers, so the number of workers changes nothing.
Profile `meta` is a cluster under a sensible policy (about 1.9 kB an Event, one in ten with a body); `body` one under a
careless policy (two in three with bodies). The mix of actors, verbs and sizes was counted on recorded logs.
One needle at 61.8 %: user-13 deletes secrets/important in production, with near misses around it.
"""

import argparse
import multiprocessing
import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from benchmarks.bodies import TEMPLATES, filled
from benchmarks.cast import (
    AGENTS,
    CONTROLLER_AGENT,
    CONTROLLERS,
    HUMAN_AGENTS,
    HUMANS,
    NAMES,
    NAMESPACES,
    NODE_ADDRESSES,
    NODES,
    RESOURCES,
    SECRETS,
    WORDS,
)

Profile = Literal["meta", "body"]

CHUNK = 20_000
START = datetime(2026, 3, 1, tzinfo=UTC)
STEP_US = 25_920
"""Between two Events: 38.6 Events a second."""
RARE_ADDRESS = "203.0.113.77"
NEEDLE_AT = 0.618
NEEDLE = "user-13@example.com"
FIRST_VERSION = 800_000_000
"""The first resourceVersion, long as on an old cluster."""


@dataclass(slots=True)
class Request:
    """One request before it becomes a line; texts are JSON-safe as they stand."""

    username: str
    groups: str
    agent: str
    verb: str = "get"
    uri: str = ""
    group: str = ""
    version: str = "v1"
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    resource_version: str = ""
    addresses: str = '"10.0.0.10"'
    extra: str = ""
    why: str = ""
    code: int = 200
    decision: str = "allow"
    reason: str = ""
    message: str = ""

    @property
    def prefix(self) -> str:
        """The part of the path that names group and version."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"


def _uuid(rand: random.Random) -> str:
    text = f"{rand.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def _time(microseconds: int) -> str:
    moment = START + timedelta(microseconds=microseconds)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06}Z"


def _node(rand: random.Random, index: int) -> Request:
    """A kubelet's lease, status, mount, token; or a probe of a load balancer."""
    which = rand.randrange(len(NODES))
    node = NODES[which]
    request = Request(f"system:node:{node}", '"system:nodes","system:authenticated"', "kubelet/v1.33.4 (linux/amd64)")
    request.addresses = f'"{NODE_ADDRESSES[which]}"'
    request.extra = f'"authentication.kubernetes.io/credential-id":["X509SHA256={which * 7919:064x}"]'
    part = rand.random()
    if part < 0.52:
        request.verb, request.group, request.resource = "update", "coordination.k8s.io", "leases"
        request.namespace, request.name = "kube-node-lease", node
        request.uri = f"{request.prefix}/namespaces/kube-node-lease/leases/{node}?timeout=10s"
        request.uid, request.resource_version = _uuid(rand), str(FIRST_VERSION + index)
    elif part < 0.66:
        request.verb, request.resource, request.subresource, request.name = "patch", "nodes", "status", node
        request.uri = f"/api/v1/nodes/{node}/status?timeout=10s"
    elif part < 0.78:
        _mount(request, rand, part, index)
    elif part < 0.86:
        request.verb, request.resource, request.subresource = "patch", "pods", "status"
        request.namespace, request.name = rand.choice(NAMESPACES), rand.choice(NAMES)
        request.uri = f"/api/v1/namespaces/{request.namespace}/pods/{request.name}/status"
    elif part < 0.90:
        request.verb, request.resource, request.subresource = "create", "serviceaccounts", "token"
        request.namespace, request.name, request.code = rand.choice(NAMESPACES), rand.choice(WORDS), 201
        request.uri = f"/api/v1/namespaces/{request.namespace}/serviceaccounts/{request.name}/token"
    else:
        request.username, request.groups = "system:anonymous", '"system:unauthenticated"'
        request.agent, request.extra = "kube-probe/1.33", ""
        request.uri = rand.choice(["/livez", "/readyz", "/healthz", "/livez?verbose=true", "/readyz?exclude=etcd"])
        request.why = (
            'RBAC: allowed by ClusterRoleBinding \\"system:public-info-viewer\\" of ClusterRole '
            '\\"system:public-info-viewer\\" to Group \\"system:unauthenticated\\"'
        )
    return request


def _mount(request: Request, rand: random.Random, part: float, index: int) -> None:
    """What a kubelet reads before it starts a pod: config maps and secrets, once or watched."""
    request.namespace = rand.choice(NAMESPACES)
    request.resource = "configmaps" if part < 0.72 else "secrets"
    request.name = "kube-root-ca.crt" if part < 0.70 else rand.choice(SECRETS)
    path = f"/api/v1/namespaces/{request.namespace}/{request.resource}"
    if part < 0.755:
        request.uri = f"{path}/{request.name}"
    else:
        request.verb = "watch"
        request.uri = (
            f"{path}?allowWatchBookmarks=true&fieldSelector=metadata.name%3D{request.name}"
            f"&resourceVersion={FIRST_VERSION + index}&timeoutSeconds={300 + rand.randrange(300)}&watch=true"
        )


_CONTROLLER_VERBS = [
    (0.42, "get"),
    (0.55, "list"),
    (0.72, "watch"),
    (0.84, "update"),
    (0.93, "patch"),
    (0.98, "create"),
    (1.0, "delete"),
]


def _controller(rand: random.Random, index: int) -> Request:
    """A service account at its daily work."""
    home, account = rand.choice(CONTROLLERS)
    request = Request(
        f"system:serviceaccount:{home}:{account}",
        f'"system:serviceaccounts","system:serviceaccounts:{home}","system:authenticated"',
        CONTROLLER_AGENT + account if home == "kube-system" else rand.choice(AGENTS),
    )
    request.addresses = f'"{rand.choice(NODE_ADDRESSES)}"'
    token, prefix = _uuid(rand), '"authentication.kubernetes.io/'
    request.extra = (
        f'{prefix}credential-id":["JTI={token}"],{prefix}node-name":["{rand.choice(NODES)}"],{prefix}node-uid":["{token}"],'
        f'{prefix}pod-name":["{account}-{rand.randrange(16**5):05x}"],{prefix}pod-uid":["{token}"]'
    )
    part = rand.random()
    if part < 0.07:
        request.resource, request.namespace, request.name = "secrets", rand.choice(NAMESPACES), rand.choice(SECRETS)
        request.verb = "get" if part < 0.06 else rand.choice(["list", "watch", "update", "create"])
        request.uri = f"/api/v1/namespaces/{request.namespace}/secrets/{request.name}"
    elif part < 0.17:
        request.verb, request.group = rand.choice(["get", "update"]), "coordination.k8s.io"
        request.resource, request.namespace, request.name = "leases", home, f"{account}-leader"
        request.uri = f"{request.prefix}/namespaces/{home}/leases/{request.name}"
    elif part < 0.20:
        request.group, request.resource = rand.choice(
            [("authentication.k8s.io", "tokenreviews"), ("authorization.k8s.io", "subjectaccessreviews")]
        )
        request.verb, request.code = "create", 201
        request.uri = f"{request.prefix}/{request.resource}"
    else:
        _reconcile(request, rand, index)
    request.why = (
        f'RBAC: allowed by ClusterRoleBinding \\"{account}\\" of ClusterRole \\"{account}\\" '
        f'to ServiceAccount \\"{account}/{home}\\"'
    )
    return request


def _reconcile(request: Request, rand: random.Random, index: int) -> None:
    """One step of a controller's loop over some resource."""
    request.group, request.version, request.resource = rand.choice(RESOURCES)
    part = rand.random()
    request.verb = next(verb for bound, verb in _CONTROLLER_VERBS if part < bound)
    if request.verb in ("list", "watch"):
        last = "&watch=true" if request.verb == "watch" else "&limit=500"
        request.uri = (
            f"{request.prefix}/{request.resource}?allowWatchBookmarks=true&resourceVersion={FIRST_VERSION + index}"
            f"&timeoutSeconds={300 + rand.randrange(300)}{last}"
        )
        return
    request.namespace, request.name = rand.choice(NAMESPACES), rand.choice(NAMES)
    request.uri = f"{request.prefix}/namespaces/{request.namespace}/{request.resource}/{request.name}"
    if request.verb == "create":
        request.code = 201
    elif request.verb in ("update", "patch"):
        request.uid, request.resource_version = _uuid(rand), str(FIRST_VERSION + index)
        if rand.random() < 0.4:
            request.subresource = "status"
            request.uri += "/status"


def _human(rand: random.Random) -> Request:
    """A person or a pipeline: shells, role bindings, secrets, everyday reads and writes."""
    who = rand.choice(HUMANS)
    groups = '"system:masters","system:authenticated"'
    if "@" in who:
        groups = '"oidc:staff","developers","system:authenticated"'
    request = Request(who, groups, rand.choice(HUMAN_AGENTS))
    request.addresses = f'"198.51.100.{rand.randrange(256)}"'
    if rand.random() < 0.004:
        request.addresses = f'"{RARE_ADDRESS}","10.0.0.1"'
    elif rand.random() < 0.4:
        request.addresses += ',"10.0.0.1"'
    if rand.random() < 0.6:
        request.extra = f'"oidc.example.com/session":["{_uuid(rand)}"]'
    request.why = (
        'RBAC: allowed by ClusterRoleBinding \\"staff-edit\\" of ClusterRole \\"edit\\" to Group \\"developers\\"'
    )
    part = rand.random()
    request.namespace, request.name = rand.choice(NAMESPACES), rand.choice(NAMES)
    if part < 0.012:
        request.verb, request.resource, request.subresource = rand.choice(["create", "get"]), "pods", "exec"
        request.code = 101
        request.uri = (
            f"/api/v1/namespaces/{request.namespace}/pods/{request.name}/exec?command=%2Fbin%2Fsh&command=-c&command=id"
            "&container=main&stderr=true&stdin=true&stdout=true&tty=true"
        )
    elif part < 0.02:
        request.verb, request.resource, request.code = "create", "pods", 101
        request.subresource = rand.choice(["portforward", "attach", "log", "eviction"])
        request.uri = f"/api/v1/namespaces/{request.namespace}/pods/{request.name}/{request.subresource}"
    elif part < 0.03:
        request.verb, request.group = rand.choice(["create", "update", "patch", "delete"]), "rbac.authorization.k8s.io"
        request.resource = rand.choice(["clusterrolebindings", "rolebindings", "roles", "clusterroles"])
        if request.resource.startswith("cluster"):
            request.namespace = ""
        place = f"/namespaces/{request.namespace}" if request.namespace else ""
        request.uri = f"{request.prefix}{place}/{request.resource}/{request.name}"
    elif part < 0.10:
        request.resource, request.name = "secrets", rand.choice(SECRETS)
        request.verb = rand.choice(["get", "get", "list", "create", "delete", "patch"])
        request.uri = f"/api/v1/namespaces/{request.namespace}/secrets/{request.name}"
    else:
        request.group, request.version, request.resource = rand.choice(RESOURCES)
        request.verb = rand.choice(["get", "get", "get", "list", "list", "watch", "patch", "delete", "create"])
        last = f"/{request.name}"
        if request.verb in ("list", "watch"):
            request.name, last = "", "?limit=500"
        request.uri = f"{request.prefix}/namespaces/{request.namespace}/{request.resource}{last}"
    return request


_AROUND_THE_NEEDLE = {
    -3: ("get", "secrets", "important", "production"),
    -2: ("delete", "secrets", "important", "staging"),
    -1: ("delete", "pods", "important-pod", "production"),
    0: ("delete", "secrets", "important", "production"),
    1: ("list", "secrets", "", "production"),
}


def _needle(offset: int) -> Request:
    """The needle at offset 0, a near miss elsewhere."""
    request = Request(NEEDLE, '"developers","oidc:staff","system:authenticated"', HUMAN_AGENTS[1])
    request.verb, request.resource, request.name, request.namespace = _AROUND_THE_NEEDLE[offset]
    request.addresses = f'"{RARE_ADDRESS}","10.0.0.1"'
    last = f"/{request.name}" if request.name else "?limit=500"
    request.uri = f"/api/v1/namespaces/{request.namespace}/{request.resource}{last}"
    request.why = (
        'RBAC: allowed by RoleBinding \\"dev-admin/production\\" of ClusterRole \\"admin\\" to Group \\"developers\\"'
    )
    return request


_ODD_FAILURES = [
    (401, "Unauthorized", "Unauthorized"),
    (422, "Invalid", "is invalid"),
    (429, "TooManyRequests", "too many requests"),
    (500, "InternalError", "etcdserver: request timed out"),
]


def _fail_some(request: Request, rand: random.Random) -> None:
    """Refuse, miss or break 4.5 % of the requests."""
    part = rand.random()
    if part >= 0.045 or not request.resource:
        return
    if part < 0.012:
        request.code, request.decision, request.why, request.reason = 403, "forbid", "", "Forbidden"
        request.message = (
            f'{request.resource} \\"{request.name}\\" is forbidden: User \\"{request.username}\\" '
            f'cannot {request.verb} resource \\"{request.resource}\\" in API group \\"{request.group}\\" '
            f'in the namespace \\"{request.namespace}\\"'
        )
    elif part < 0.024 and request.verb in ("update", "patch"):
        request.code, request.reason = 409, "Conflict"
        request.message = (
            f'Operation cannot be fulfilled on {request.resource} \\"{request.name}\\": the object has been modified; '
            "please apply your changes to the latest version and try again"
        )
    elif part < 0.040:
        request.code, request.reason = 404, "NotFound"
        request.message = f'{request.resource} \\"{request.name}\\" not found'
    else:
        request.code, request.reason, request.message = rand.choice(_ODD_FAILURES)


def _bodies(request: Request, rand: random.Random, profile: Profile, index: int, time: str) -> tuple[str, str]:
    """The level, and the members requestObject and responseObject as they stand in the line."""
    skew = 1.6 if profile == "meta" else 1.0
    filling = {
        "s": request.namespace or "default",
        "r": str(FIRST_VERSION + index),
        "t": time[:19] + "Z",
        "h": f"{rand.getrandbits(256):064x}",
    }
    template = TEMPLATES[int(len(TEMPLATES) * rand.random() ** skew)]
    body = filled(template, n=request.name or rand.choice(NAMES), u=request.uid or _uuid(rand), **filling)
    if request.verb in ("create", "update", "patch") and request.code < 400:
        if profile == "body":
            return "RequestResponse", f',"requestObject":{body},"responseObject":{body}'
        return ("RequestResponse" if rand.random() < 0.5 else "Request"), f',"requestObject":{body}'
    if profile == "body" and request.verb == "list":
        items = [body] + [
            filled(rand.choice(TEMPLATES), n=rand.choice(NAMES), u=_uuid(rand), **filling)
            for _ in range(rand.randrange(8))
        ]
        version = f'{{"resourceVersion":"{FIRST_VERSION + index}"}}'
        body = f'{{"kind":"PodList","apiVersion":"v1","metadata":{version},"items":[{",".join(items)}]}}'
    return "RequestResponse", f',"responseObject":{body}'


def _object_ref(request: Request) -> str:
    if not request.resource:
        return ""
    members = {
        "resource": request.resource,
        "namespace": request.namespace,
        "name": request.name,
        "uid": request.uid,
        "apiGroup": request.group,
        "apiVersion": request.version,
        "resourceVersion": request.resource_version,
        "subresource": request.subresource,
    }
    return ',"objectRef":{' + ",".join(f'"{key}":"{value}"' for key, value in members.items() if value) + "}"


def _status(request: Request) -> str:
    out = '{"metadata":{}'
    if request.reason:
        out += f',"status":"Failure","message":"{request.message}","reason":"{request.reason}"'
        if request.name:
            out += f',"details":{{"name":"{request.name}","kind":"{request.resource}"}}'
    return f'{out},"code":{request.code}}}'


def _request(rand: random.Random, index: int, offset: int) -> Request:
    if offset in _AROUND_THE_NEEDLE:
        return _needle(offset)
    part = rand.random()
    if part < 0.35:
        request = _node(rand, index)
    elif part < 0.955:
        request = _controller(rand, index)
    else:
        request = _human(rand)
    _fail_some(request, rand)
    return request


def _line(rand: random.Random, index: int, needle: int, profile: Profile) -> str:
    offset = index - needle
    received = index * STEP_US + rand.randrange(STEP_US)
    latency = int(rand.expovariate(1 / 6000)) + 400
    request = _request(rand, index, offset)
    stage, level, bodies = "ResponseComplete", "Metadata", ""
    if request.verb == "watch" or request.subresource in ("exec", "portforward", "attach"):
        if rand.random() < 0.5:
            stage = "ResponseStarted"
        elif request.verb == "watch":
            latency += rand.randrange(600_000_000)
    time = _time(received)
    with_body = rand.random() < (0.12 if profile == "meta" else 0.70)
    has_body = request.verb != "watch" and request.resource not in ("secrets", "") and offset not in _AROUND_THE_NEEDLE
    if with_body and has_body:
        level, bodies = _bodies(request, rand, profile, index, time)
    annotations = f'"authorization.k8s.io/decision":"{request.decision}","authorization.k8s.io/reason":"{request.why}"'
    if level != "Metadata" and request.resource == "pods" and request.verb == "create":
        annotations = '"pod-security.kubernetes.io/enforce-policy":"privileged:latest",' + annotations
    uid = f',"uid":"{_uuid(rand)}"' if request.username.startswith("system:serviceaccount:") else ""
    extra = f',"extra":{{{request.extra}}}' if request.extra else ""
    return (
        f'{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"{level}","auditID":"{_uuid(rand)}","stage":"{stage}",'
        f'"requestURI":"{request.uri}","verb":"{request.verb}",'
        f'"user":{{"username":"{request.username}"{uid},"groups":[{request.groups}]{extra}}},'
        f'"sourceIPs":[{request.addresses}],"userAgent":"{request.agent}"{_object_ref(request)},'
        f'"responseStatus":{_status(request)}{bodies},"requestReceivedTimestamp":"{time}",'
        f'"stageTimestamp":"{_time(received + latency)}","annotations":{{{annotations}}}}}\n'
    )


@dataclass(frozen=True, slots=True)
class Chunk:
    """The part of a log that one worker makes at a time."""

    number: int
    events: int
    total: int
    seed: int
    profile: Profile


def render(chunk: Chunk) -> bytes:
    """The lines of one chunk."""
    rand = random.Random(f"{chunk.seed}/{chunk.profile}/{chunk.number}")
    first = chunk.number * CHUNK
    needle = int(chunk.total * NEEDLE_AT)
    lines = [_line(rand, index, needle, chunk.profile) for index in range(first, first + chunk.events)]
    return "".join(lines).encode()


def generate(events: int, *, profile: Profile = "meta", seed: int = 7, workers: int = 1) -> Iterator[bytes]:
    """Give the log of this many Events, chunk by chunk."""
    chunks = [
        Chunk(number, min(CHUNK, events - number * CHUNK), events, seed, profile)
        for number in range(-(-events // CHUNK))
    ]
    if workers == 1:
        yield from map(render, chunks)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(render, chunks)


def main() -> None:
    """Write one log."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--events", type=int, default=500_000)
    parser.add_argument("--profile", choices=["meta", "body"], default="meta")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    with args.out.open("wb") as out:
        for block in generate(args.events, profile=args.profile, seed=args.seed, workers=args.workers):
            out.write(block)


if __name__ == "__main__":
    main()
