"""
The slow obvious twin of `policy.prove`: every request of a small universe, one after the other.

`matches` is the plain reading of the rules, `is_possible` the plain reading of what cannot happen; a `Pool` lists
all requests that a vocabulary allows, with values that no policy of it names, and answers by looking at each.
Sets of requests are the bits of an integer, filled by asking `matches` about one member of a rule at a time.
"""

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from kubewitness.event.types import Level, Stage
from kubewitness.policy.types import Attributes, GroupResources, Policy, PolicyRule

# --- the plain reading of a rule


def matches(rule: PolicyRule, request: Attributes) -> bool:
    if rule.users and request.user not in rule.users:
        return False
    if rule.user_groups and not set(rule.user_groups) & set(request.groups or ()):
        return False
    if rule.verbs and request.verb not in rule.verbs:
        return False
    if rule.namespaces or rule.resources:
        return request.resource_request and _matches_resource(rule, request)
    if rule.non_resource_urls:
        return not request.resource_request and any(_matches_url(u, request.path) for u in rule.non_resource_urls)
    return True


def _matches_resource(rule: PolicyRule, request: Attributes) -> bool:
    if rule.namespaces and request.namespace not in rule.namespaces:
        return False
    return not rule.resources or any(_matches_entry(entry, request) for entry in rule.resources)


def _matches_entry(entry: GroupResources, request: Attributes) -> bool:
    if entry.group not in ("*", request.api_group):
        return False
    if not entry.resources:
        return True
    if entry.resource_names and request.name not in entry.resource_names:
        return False
    combined = request.resource + ("/" + request.subresource if request.subresource else "")
    return any(
        pattern in ("*", combined)
        or (request.subresource != "" and pattern == "*/" + request.subresource)
        or pattern == request.resource + "/*"
        for pattern in entry.resources
    )


def _matches_url(pattern: str, path: str) -> bool:
    return pattern in ("*", path) or (pattern[-1:] == "*" and path.startswith(pattern.rstrip("*")))


@dataclass(frozen=True)
class Outcome:
    level: Level
    omit_stages: frozenset[Stage]
    omit_managed_fields: bool


def outcome(policy: Policy, index: int | None) -> Outcome:
    if index is None:
        return Outcome(Level.NONE, frozenset(policy.omit_stages), policy.omit_managed_fields)
    rule = policy.rules[index]
    omit = policy.omit_managed_fields if rule.omit_managed_fields is None else rule.omit_managed_fields
    return Outcome(rule.level, frozenset(policy.omit_stages) | frozenset(rule.omit_stages), omit)


def decide(policy: Policy, request: Attributes) -> int | None:
    return next((index for index, rule in enumerate(policy.rules) if matches(rule, request)), None)


# --- the plain reading of what cannot happen


def is_possible(request: Attributes) -> bool:
    return _is_possible_identity(request) and (
        _is_possible_on_resource(request) if request.resource_request else _is_possible_on_path(request)
    )


def _is_possible_identity(request: Attributes) -> bool:
    user, groups = request.user, request.groups
    if user is None or groups is None:
        return user is None and groups is None
    if "*" in user or any("*" in group for group in groups):
        return False
    if user == "system:anonymous":
        return set(groups) == {"system:unauthenticated"}
    account = re.fullmatch(r"system:serviceaccount:([a-z0-9-]+):([a-z0-9.-]+)", user)
    if account:
        return set(groups) == {
            "system:serviceaccounts",
            f"system:serviceaccounts:{account[1]}",
            "system:authenticated",
        }
    is_stranger = "system:authenticated" not in groups
    has_foreign = any(g == "system:unauthenticated" or g.startswith("system:serviceaccounts") for g in groups)
    if user.startswith("system:serviceaccount:") or is_stranger or has_foreign:
        return False
    return not user.startswith("system:node:") or "system:nodes" in groups


def _is_possible_on_path(request: Attributes) -> bool:
    parts = request.path.strip("/").split("/")
    is_resource_path = (parts[0] == "api" and len(parts) >= 3) or (parts[0] == "apis" and len(parts) >= 4)
    is_method = request.verb in {"get", "head", "post", "put", "patch", "delete", "options", "connect", "trace"}
    return request.path.startswith("/") and not is_resource_path and is_method and not request.namespace + request.name


def _is_possible_on_resource(request: Attributes) -> bool:
    verb, name, subresource = request.verb, request.name, request.subresource
    for text in (request.resource, request.resource + subresource):
        if not re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", text):
            return False
    if not re.fullmatch(r"([a-z0-9-]+)?", request.namespace) or "/" in name or "%" in name or name in (".", ".."):
        return False
    verbs = {"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "", "proxy"}
    if name == "":
        verbs -= {"get", "update", "patch", "delete"}
        if subresource:
            return False
    elif subresource:
        verbs -= {"list", "deletecollection", "proxy"}
    else:
        verbs -= {"create", "deletecollection"}
    if verb not in verbs:
        return False
    return request.resource != "namespaces" or _is_possible_namespace_request(request)


def _is_possible_namespace_request(request: Attributes) -> bool:
    if request.subresource not in ("", "status", "finalize"):
        return False
    if request.namespace == "":
        return request.name == "" or (request.subresource == "" and request.verb in ("list", "watch"))
    return request.name == request.namespace and request.verb != "list"


# --- all requests of a small universe


@dataclass(frozen=True)
class Vocabulary:
    """The constants policies are drawn from, and the values requests are made of."""

    users: tuple[str, ...]
    groups: tuple[str, ...]
    request_users: tuple[str | None, ...]
    verbs: tuple[str, ...] = ("get", "create", "list", "delete", "watch", "*", "post")
    request_verbs: tuple[str, ...] = (
        "get",
        "create",
        "list",
        "delete",
        "watch",
        "*",
        "post",
        "put",
        "deletecollection",
        "",
    )
    namespaces: tuple[str, ...] = ("", "dev", "ops", "*")
    request_namespaces: tuple[str, ...] = ("", "dev", "ops", "*", "nsx", "x1")
    names: tuple[str, ...] = ("", "dev", "x1", "a/b")
    request_names: tuple[str, ...] = ("", "dev", "x1", "a/b", "nsx", "ops")
    api_groups: tuple[str, ...] = ("", "apps", "*", "apps/v1")
    request_api_groups: tuple[str, ...] = ("", "apps", "batch", "apps/v1")
    patterns: tuple[str, ...] = (
        "pods", "pods/*", "pods/log", "*/log", "*", "namespaces", "namespaces/status", "namespaces/*", "Pods", "*/*",
        "pods/", "pods/log/*", "secrets",
    )  # fmt: skip
    request_resources: tuple[str, ...] = ("pods", "namespaces", "Pods", "secrets", "widgets")
    request_subresources: tuple[str, ...] = ("", "log", "status", "other")
    urls: tuple[str, ...] = ("/healthz", "/healthz*", "/api*", "/api/v1*", "/api/v1/*", "/api/v1/pods", "*", "/version")
    request_paths: tuple[str, ...] = (
        "/healthz", "/healthz/x", "/healthzz", "/api", "/apix", "/api/v1", "/api/v1x", "/api/v1/", "/api/v1/pods",
        "/api/v1/x", "/version", "/zz",
    )  # fmt: skip


POSSIBLE = Vocabulary(
    users=("u1", "system:anonymous", "system:serviceaccount:dev:a", "system:node:n1", "system:serviceaccount:dev:*"),
    groups=("g1", "system:authenticated", "system:unauthenticated", "system:serviceaccounts:dev", "system:nodes", "g*"),
    request_users=(
        None, "u1", "u9", "system:anonymous", "system:serviceaccount:dev:a", "system:serviceaccount:dev:z",
        "system:serviceaccount:ops:z", "system:node:n1", "system:node:z", "system:serviceaccount:dev:*",
    ),
)  # fmt: skip
ANY = Vocabulary(
    users=("u1", "system:serviceaccount:dev:*"),
    groups=("g1", "system:authenticated"),
    request_users=(None, "u1", "u9", "system:serviceaccount:dev:*"),
    namespaces=("", "dev"),
    request_namespaces=("", "dev", "x"),
    names=("", "x1"),
    request_names=("", "x1", "x2"),
    verbs=("get", "create", "*"),
    request_verbs=("get", "create", "*", "other"),
    request_resources=("pods", "namespaces", "Pods", "secrets", "widgets", "*"),
    request_subresources=("", "log", "status", "other", "*"),
)


@dataclass
class Pool:
    """Every request a vocabulary allows, and the set of those that a rule matches, as bits."""

    vocabulary: Vocabulary
    requests: list[Attributes]
    _parts: dict[tuple[str, object], int] = field(default_factory=dict)

    @property
    def everything(self) -> int:
        return (1 << len(self.requests)) - 1

    def matching(self, rule: PolicyRule) -> int:
        """The requests a rule matches: alternatives of a member are joined, members are met."""
        found = self.everything
        for name in ("users", "user_groups", "verbs", "namespaces", "resources", "non_resource_urls"):
            values = getattr(rule, name)
            if values:
                alternatives = 0
                for value in values:
                    alternatives |= self._part(name, value)
                found &= alternatives
        return found

    def _part(self, name: str, value: object) -> int:
        part = self._parts.get((name, value))
        if part is None:
            rule = PolicyRule(Level.NONE, **{name: (value,)})  # type: ignore[arg-type]
            digits = "".join("1" if matches(rule, request) else "0" for request in reversed(self.requests))
            part = self._parts[name, value] = int(digits, 2)
        return part

    def decided(self, policy: Policy) -> list[tuple[int | None, int]]:
        """Which requests each rule decides, and at the end which none does."""
        left = self.everything
        found: list[tuple[int | None, int]] = []
        for index, rule in enumerate(policy.rules):
            taken = left & self.matching(rule)
            found.append((index, taken))
            left &= ~taken
        return [*found, (None, left)]


def make_pool(vocabulary: Vocabulary, *, only_possible: bool) -> Pool:
    what = [
        {"resource_request": True, "api_group": g, "resource": r, "subresource": s, "namespace": ns, "name": n}
        for g, r, s, ns, n in itertools.product(
            vocabulary.request_api_groups,
            vocabulary.request_resources,
            vocabulary.request_subresources,
            vocabulary.request_namespaces,
            vocabulary.request_names,
        )
    ]
    what += [{"path": path} for path in vocabulary.request_paths]
    requests = [Attributes(verb=verb, **one) for verb in vocabulary.request_verbs for one in what]  # type: ignore[arg-type]
    if only_possible:
        served = [r for r in requests if r.api_group != "apps/v1"]
        requests = [r for r in served if is_possible(r)]
    identities = list(_identities(vocabulary))
    if only_possible:
        identities = [i for i in identities if _is_possible_identity(i)]
    return Pool(vocabulary, [_with_identity(r, i) for i in identities for r in requests])


def _identities(vocabulary: Vocabulary) -> Iterable[Attributes]:
    yield Attributes("get")
    groups = (*vocabulary.groups, "system:serviceaccounts", "system:serviceaccounts:ops")
    if "system:serviceaccounts:dev" not in vocabulary.groups:
        groups = vocabulary.groups
    for user in vocabulary.request_users:
        for size in range(len(groups) + 1):
            for chosen in itertools.combinations(groups, size):
                if user is not None:
                    yield Attributes("get", user, chosen)


def _with_identity(request: Attributes, who: Attributes) -> Attributes:
    return Attributes(
        request.verb, who.user, who.groups, request.namespace, request.api_group, "v1", request.resource,
        request.subresource, request.name, request.resource_request, request.path,
    )  # fmt: skip
