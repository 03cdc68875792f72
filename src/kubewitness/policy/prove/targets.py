"""
What requests aim at, cut into the classes that a set of rules can tell apart.

A target is an (API group, resource, subresource) or a non-resource URL path. There are endlessly many; rules name
finitely many. Targets that the same patterns match are one class, shown by its most ordinary member: when no
rule speaks of the group "batch", one class stands for all of it.

Follows `ruleMatchesResource` and `pathMatches` of k8s.io/apiserver/pkg/audit/policy/checker.go.
"""

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kubewitness.policy.prove.universe import (
    NAMESPACE_SUBRESOURCES,
    Universe,
    is_api_group,
    is_non_resource_path,
    is_resource,
)
from kubewitness.policy.types import Attributes, GroupResources, PolicyRule

# Ordinary resources, most ordinary first: only what examples are made of. (`namespaces` is left out on purpose:
# its name and its namespace are tied to each other, so it cannot stand for others.)
ORDINARY: dict[str, tuple[str, ...]] = {
    "": ("pods", "services", "configmaps", "secrets", "endpoints", "nodes", "serviceaccounts", "events"),
    "apps": ("deployments", "daemonsets", "statefulsets", "replicasets"),
    "batch": ("jobs", "cronjobs"),
    "rbac.authorization.k8s.io": ("roles", "rolebindings", "clusterroles", "clusterrolebindings"),
    "networking.k8s.io": ("ingresses", "networkpolicies"),
    "authentication.k8s.io": ("tokenreviews",),
    "certificates.k8s.io": ("certificatesigningrequests",),
    "coordination.k8s.io": ("leases",),
}
# of those above and a few more: without a namespace; again only for examples
CLUSTER_SCOPED = frozenset(
    (
        "nodes", "persistentvolumes", "clusterroles", "clusterrolebindings", "tokenreviews", "subjectaccessreviews",
        "certificatesigningrequests", "customresourcedefinitions", "validatingwebhookconfigurations",
        "mutatingwebhookconfigurations", "storageclasses", "priorityclasses", "apiservices",
    )
)  # fmt: skip
ORDINARY_SUBRESOURCES: dict[str, tuple[str, ...]] = {
    "pods": ("log", "exec", "status", "attach", "portforward", "proxy", "eviction", "binding", "ephemeralcontainers"),
    "services": ("proxy", "status"),
    "nodes": ("status", "proxy"),
    "serviceaccounts": ("token",),
    "certificatesigningrequests": ("status", "approval"),
}


class Form(enum.Enum):
    """How a target ties the other members of a request."""

    MAIN = enum.auto()
    SUBRESOURCE = enum.auto()
    NAMESPACE = enum.auto()  # the resource `namespaces`: its name is the request's namespace
    NAMESPACE_SUBRESOURCE = enum.auto()
    PATH = enum.auto()
    IMPOSSIBLE = enum.auto()


# what an example path goes on with; the last ones are so many that no file names them all after one prefix
_LETTERS = "xyzwvutsrqponmlkjihgfedcba0123456789" + "".join(map(chr, range(0x4E00, 0x9FA5)))

# one pattern of a rule, read as (resource, subresource); None is any
Pattern = tuple[str | None, str | None]


@dataclass(frozen=True, slots=True)
class Triple:
    """(API group, resource, subresource), each None when it stands for every one that is not named."""

    api_group: str | None
    resource: str | None
    subresource: str | None


@dataclass(frozen=True, slots=True)
class Target:
    """A class of targets that no rule tells apart, and one member to show for it.

    `triples` (of resources) or `pattern` (of a path: it, less longer patterns) say all of its members.
    """

    form: Form
    rank: int
    api_group: str = ""
    resource: str = ""
    subresource: str = ""
    path: str = ""
    pattern: str = ""
    triples: tuple[Triple, ...] = ()


@dataclass(frozen=True, slots=True)
class Targets:
    """Every class of targets, smallest first, and as bits those that each pattern of a group and each URL matches."""

    classes: tuple[Target, ...]
    resources: int
    paths: int
    by_pattern: dict[tuple[str, str], int]
    by_url: dict[str, int]
    by_signature: dict[tuple[bool, int], int]

    def matching(self, entry: GroupResources) -> int:
        """Give the classes this entry of `resources` matches, names aside."""
        found = 0
        for text in entry.resources or ("*",):
            found |= self.by_pattern[entry.group, text]
        return found

    def index_of(self, request: Attributes) -> int:
        """Give the class of what a request aims at."""
        if request.resource_request:
            matched = (
                group in ("*", request.api_group)
                and any(
                    resource in (None, request.resource) and subresource in (None, request.subresource)
                    for resource, subresource in patterns_of(text)
                )
                for group, text in self.by_pattern
            )
        else:
            matched = (path_matches(request.path, url) for url in self.by_url)
        signature = sum(1 << number for number, is_match in enumerate(matched) if is_match)
        return self.by_signature[request.resource_request, signature]


def patterns_of(text: str) -> tuple[Pattern, ...]:
    """Read one string of `resources[].resources`; an odd one may have no reading or two."""
    if text == "*":
        return ((None, None),)
    found: list[Pattern] = []
    resource, slash, subresource = text.partition("/")
    if not slash:
        return ((text, ""),)
    if subresource and "/" not in subresource:
        found.append((resource, subresource))
    if resource == "*" and subresource and "/" not in subresource:
        found.append((None, subresource))
    if subresource == "*":
        found.append((resource, None))
    return tuple(found)


def find_targets(rules: Iterable[PolicyRule], universe: Universe) -> Targets:
    """Give the classes of targets that these rules tell apart."""
    rules = tuple(rules)
    # an entry without resources is an entry of all of them
    patterns = {(e.group, text): None for rule in rules for e in rule.resources for text in e.resources or ("*",)}
    urls = {url: None for rule in rules for url in rule.non_resource_urls}
    found: list[tuple[Target, int]] = [
        *_resource_classes(list(patterns), universe),
        *_path_classes(list(urls), universe),
    ]
    found.sort(key=lambda pair: (pair[0].rank, len(_text(pair[0])), _text(pair[0]), pair[0].form.value))
    by_pattern = dict.fromkeys(patterns, 0)
    by_url = dict.fromkeys(urls, 0)
    pattern_keys, url_keys = list(patterns), list(urls)
    by_signature: dict[tuple[bool, int], int] = {}
    resources = paths = 0
    for index, (target, signature) in enumerate(found):
        bit = 1 << index
        if target.form is not Form.IMPOSSIBLE:
            by_signature.setdefault((target.form is not Form.PATH, signature), index)
        if target.form is Form.PATH:
            paths |= bit
            for number in bits(signature):
                by_url[url_keys[number]] |= bit
        else:
            resources |= bit
            for number in bits(signature):
                by_pattern[pattern_keys[number]] |= bit
    return Targets(tuple(target for target, _ in found), resources, paths, by_pattern, by_url, by_signature)


def _text(target: Target) -> str:
    return target.path or f"{target.resource}.{target.api_group}/{target.subresource}"


def bits(mask: int) -> Iterator[int]:
    """Give the numbers of the bits that are set, lowest first."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def _resource_classes(patterns: list[tuple[str, str]], universe: Universe) -> Iterator[tuple[Target, int]]:
    """Group all triples by the patterns that match them; a signature is the bits of those patterns."""
    named_groups = {"": None} | {group: None for group, _ in patterns if group != "*"}
    merged: dict[tuple[int, Form], list[tuple[Triple, Target]]] = {}
    for group in (*named_groups, None):
        conditions = [
            (number, pattern)
            for number, (of_group, text) in enumerate(patterns)
            if of_group in ("*", group)
            for pattern in patterns_of(text)
        ]
        examples = _Examples(group, conditions, set(named_groups), universe)
        for triple, signature in _triples(group, conditions):
            example = examples.of(triple)
            merged.setdefault((signature, example.form), []).append((triple, example))
    for (signature, form), members in merged.items():
        best = min((m for _, m in members), key=lambda m: (m.rank, len(_text(m)), _text(m)))
        triples = tuple(triple for triple, _ in members)
        yield Target(form, best.rank, best.api_group, best.resource, best.subresource, triples=triples), signature


def _triples(group: str | None, conditions: list[tuple[int, Pattern]]) -> Iterator[tuple[Triple, int]]:
    """Every triple of one group that its patterns can tell apart, with the bits of those that match it."""
    by_resource: dict[str | None, list[tuple[int, str | None]]] = {None: []}
    for number, (resource, subresource) in conditions:
        by_resource.setdefault(resource, []).append((number, subresource))
    general = by_resource[None]
    for resource, own in by_resource.items():
        patterns = general if resource is None else own + general
        named: dict[str | None, int] = {"": 0, None: 0}
        if resource == "namespaces":
            named |= dict.fromkeys(NAMESPACE_SUBRESOURCES, 0)
        named |= {subresource: 0 for _, subresource in patterns if subresource is not None}
        everything = 0
        for number, subresource in patterns:
            if subresource is None:
                everything |= 1 << number
            else:
                named[subresource] |= 1 << number
        for subresource, signature in named.items():
            yield Triple(group, resource, subresource), signature | everything


class _Examples:
    """Ordinary members for the triples of one group: real resources that none of its patterns names."""

    def __init__(
        self, group: str | None, conditions: list[tuple[int, Pattern]], named_groups: set[str], universe: Universe
    ) -> None:
        if group is None:
            group = next((g for g in ORDINARY if g not in named_groups), None) or unused("example.com", named_groups)
        self._group = group
        self._universe = universe
        self._known = ORDINARY.get(group, ())
        self._resources = {resource for _, (resource, _) in conditions if resource is not None}
        self._subresources = {subresource for _, (_, subresource) in conditions if subresource is not None}

    def of(self, triple: Triple) -> Target:
        """One member of a triple, its rank (0 is the most ordinary) and its form."""
        resource, subresource = triple.resource, triple.subresource
        if resource is None:
            ordinary = (r for r in self._known if r not in self._resources)
            resource = next(ordinary, None) or unused("widgets", self._resources)
        if subresource is None:
            ordinary = (s for s in _subresources_of(resource) if s not in self._subresources)
            subresource = next(ordinary, None) or unused("other", self._subresources)
        rank = (subresource != "") + 2 * (resource not in self._known) + (self._group != "")
        form = _form(triple, resource, subresource, self._group, self._universe)
        return Target(form, rank, self._group, resource, subresource)


def _subresources_of(resource: str) -> tuple[str, ...]:
    return ORDINARY_SUBRESOURCES.get(resource, ("status", "scale"))


def _form(triple: Triple, resource: str, subresource: str, group: str, universe: Universe) -> Form:
    if universe is Universe.ANY:
        return Form.SUBRESOURCE if subresource else Form.MAIN
    is_possible = is_api_group(group) and is_resource(resource) and (subresource == "" or is_resource(subresource))
    if not is_possible:
        return Form.IMPOSSIBLE
    if resource != "namespaces":
        return Form.SUBRESOURCE if subresource else Form.MAIN
    if subresource == "":
        return Form.NAMESPACE
    return Form.NAMESPACE_SUBRESOURCE if triple.subresource in NAMESPACE_SUBRESOURCES else Form.IMPOSSIBLE


def _path_classes(urls: list[str], universe: Universe) -> Iterator[tuple[Target, int]]:
    """Group all URL paths by the patterns that match them; a signature is the bits of those patterns."""
    prefixes = {url.rstrip("*") for url in urls if url.endswith("*")} | {"" if universe is Universe.ANY else "/"}
    exact = {url for url in urls if not url.endswith("*")}
    members = [(path, False) for path in exact] + [(prefix, True) for prefix in prefixes]
    for text, is_prefix in members:
        path: str | None = text
        if is_prefix:
            path = _beyond(text, prefixes, exact, universe)
        elif universe is Universe.POSSIBLE and not is_non_resource_path(text):
            path = None
        if path is not None:
            signature = sum(1 << number for number, url in enumerate(urls) if path_matches(path, url))
            yield Target(Form.PATH, 4, path=path, pattern=text + "*" * is_prefix), signature


def path_matches(path: str, pattern: str) -> bool:
    """Whether one string of `nonResourceURLs` matches a URL path."""
    return pattern in ("*", path) or (pattern.endswith("*") and path.startswith(pattern.rstrip("*")))


def _beyond(prefix: str, prefixes: set[str], exact: set[str], universe: Universe) -> str | None:
    """Give a path with this prefix that no longer prefix and no exact pattern takes; None when there is none.

    A letter that follows the prefix in no pattern settles it, unless it turns the path into a resource request
    (`/api/v1/x`); then only the prefix itself and the prefix with more slashes are left to try.
    """
    longer = {p for p in prefixes if p != prefix and p.startswith(prefix)}
    following = {pattern[len(prefix)] for pattern in longer | exact if pattern.startswith(prefix) and pattern != prefix}
    letter = next(c for c in _LETTERS if c not in following)
    slashes = max((len(p) for p in longer | exact), default=0) + 1
    for path in (prefix + letter, *(prefix + "/" * count for count in range(slashes + 1))):
        is_free = path not in exact and not any(path.startswith(p) for p in longer)
        if is_free and (universe is Universe.ANY or is_non_resource_path(path)):
            return path
    return None


def unused(text: str, taken: Iterable[str]) -> str:
    """Give this text, or with the first number that makes it differ from all that are taken."""
    taken = set(taken)
    candidates = (text if number == 1 else f"{text}-{number}" for number in range(1, len(taken) + 2))
    return next(candidate for candidate in candidates if candidate not in taken)
