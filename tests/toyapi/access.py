"""Who a caller of the toy API server is (certificate, token, nobody), and what its RBAC objects let them do."""

import base64
import hashlib
import hmac
import json
import time
import uuid

from kubewitness.emit.doors.identity import ANONYMOUS, Identity, NotAuthenticatedError
from kubewitness.event.types import UserInfo
from tests.toyapi.kinds import find
from tests.toyapi.store import Store

_RBAC = "rbac.authorization.k8s.io"
_KEY = uuid.uuid4().bytes
_CREDENTIAL = "authentication.kubernetes.io/credential-id"
_FOR_ALL = ("/healthz", "/livez", "/readyz", "/version")
_FOR_KNOWN = ("/api", "/apis", "/openapi", *_FOR_ALL)


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def issue(namespace: str, name: str, seconds: int) -> tuple[str, str]:
    """Give a token of a service account and its id."""
    jti = str(uuid.uuid4())
    claims = {"sub": f"system:serviceaccount:{namespace}:{name}", "jti": jti, "exp": int(time.time()) + seconds}
    text = f"{_b64(json.dumps({'alg': 'HS256', 'typ': 'JWT'}).encode())}.{_b64(json.dumps(claims).encode())}"
    return f"{text}.{_b64(hmac.digest(_KEY, text.encode(), 'sha256'))}", f"JTI={jti}"


def service_account(namespace: str, name: str, jti: str = "") -> UserInfo:
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
    extra = {_CREDENTIAL: (jti,)} if jti else None
    return UserInfo(username=f"system:serviceaccount:{namespace}:{name}", groups=groups, extra=extra)


class Access:
    def __init__(self, store: Store, tokens: dict[str, dict]) -> None:
        self._store = store
        self._tokens = tokens

    def identify(self, scope) -> Identity:
        headers = dict(scope["headers"])
        kind, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        if kind.lower() == "bearer":
            return Identity(self.of_token(token))
        certificate = scope.get("state", {}).get("certificate")
        if certificate:
            parts = [pair for part in certificate["subject"] for pair in part]
            name = next(value for key, value in parts if key == "commonName")
            groups = tuple(value for key, value in parts if key == "organizationName")
            digest = hashlib.sha256(scope["state"]["certificate_bytes"]).hexdigest()
            extra = {_CREDENTIAL: (f"X509SHA256={digest}",)}
            return Identity(UserInfo(username=name, groups=(*groups, "system:authenticated"), extra=extra))
        return Identity(ANONYMOUS)

    def of_token(self, token: str) -> UserInfo:
        entry = self._tokens.get(token)
        if entry is not None:
            return UserInfo(
                username=entry["user"], uid=entry.get("uid"), groups=(*entry.get("groups", ()), "system:authenticated")
            )
        try:
            text, _, signature = token.rpartition(".")
            if hmac.compare_digest(signature, _b64(hmac.digest(_KEY, text.encode(), "sha256"))):
                body = text.partition(".")[2]
                claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
                if claims["exp"] > time.time():
                    _, _, namespace, name = claims["sub"].split(":")
                    return service_account(namespace, name, f"JTI={claims['jti']}")
        except (ValueError, KeyError):
            pass
        raise NotAuthenticatedError

    def decide(self, user: UserInfo, attributes) -> tuple[bool, str]:
        """Say whether RBAC allows this, and why."""
        groups = user.groups or ()
        if "system:masters" in groups:
            return True, ""
        if not attributes.resource_request:
            known = "system:authenticated" in groups
            prefixes = _FOR_KNOWN if known else _FOR_ALL
            if attributes.verb == "get" and any(
                attributes.path == p or attributes.path.startswith(p + "/") for p in prefixes
            ):
                role = "system:discovery" if known else "system:public-info-viewer"
                group = "system:authenticated" if known else "system:unauthenticated"
                return True, f'RBAC: allowed by ClusterRoleBinding "{role}" of ClusterRole "{role}" to Group "{group}"'
            return False, ""
        if attributes.resource.startswith("selfsubject") and "system:authenticated" in groups:
            role = "system:basic-user"
            return (
                True,
                f'RBAC: allowed by ClusterRoleBinding "{role}" of ClusterRole "{role}" to Group "system:authenticated"',
            )
        for binding, rules, subject in self._grants(user, attributes.namespace):
            if any(_allows(rule, attributes) for rule in rules):
                meta, role = binding["metadata"], binding["roleRef"]
                name = f"{meta['name']}/{meta['namespace']}" if meta.get("namespace") else meta["name"]
                who = f'{subject["kind"]} "{_subject_name(subject)}"'
                reason = f'RBAC: allowed by {binding["kind"]} "{name}" of {role["kind"]} "{role["name"]}" to {who}'
                return True, reason
        return False, ""

    def rules_of(self, user: UserInfo, namespace: str) -> list[dict]:
        if "system:masters" in (user.groups or ()):
            return [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]
        return [rule for _, rules, _ in self._grants(user, namespace) for rule in rules]

    def _grants(self, user: UserInfo, namespace: str):
        for resource in ("clusterrolebindings", "rolebindings"):
            kind = find(_RBAC, "v1", resource)
            if resource == "rolebindings" and not namespace:
                continue
            for binding in self._store.list(kind, namespace if resource == "rolebindings" else ""):
                subject = next((s for s in binding.get("subjects") or () if _is(s, user)), None)
                if subject is None:
                    continue
                role_ref = binding["roleRef"]
                is_cluster = role_ref["kind"] == "ClusterRole"
                role = self._store.find(
                    find(_RBAC, "v1", "clusterroles" if is_cluster else "roles"),
                    "" if is_cluster else namespace,
                    role_ref["name"],
                )
                yield binding, (role or {}).get("rules") or (), subject


def _subject_name(subject: dict) -> str:
    return f"{subject['name']}/{subject['namespace']}" if subject["kind"] == "ServiceAccount" else subject["name"]


def _is(subject: dict, user: UserInfo) -> bool:
    match subject["kind"]:
        case "User":
            return subject["name"] == user.username
        case "Group":
            return subject["name"] in (user.groups or ())
    return user.username == f"system:serviceaccount:{subject.get('namespace')}:{subject['name']}"


def _allows(rule: dict, attributes) -> bool:
    def has(member: str, value: str) -> bool:
        return "*" in rule.get(member, ()) or value in rule.get(member, ())

    resource = attributes.resource
    if attributes.subresource:
        resource = f"{resource}/{attributes.subresource}"
    names = rule.get("resourceNames") or ()
    is_resource = has("resources", resource) or f"*/{attributes.subresource}" in rule.get("resources", ())
    return (
        has("verbs", attributes.verb)
        and has("apiGroups", attributes.api_group)
        and is_resource
        and (not names or attributes.name in names)
    )
