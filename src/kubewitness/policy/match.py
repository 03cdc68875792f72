"""
Whether one rule matches one request, field by field: literal comparison, an empty field matches anything.

`compile_rule` turns a rule into sets once; `RuleMatcher.matches` is the fast answer, `mismatches` the explained one.
Which rule decides is `evaluate`'s question.

Follows k8s.io/apiserver/pkg/audit/policy/checker.go (1.36: group "*" is every group).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from kubewitness.policy.types import Attributes, GroupResources, PolicyRule

ANY_GROUP = "*"


@dataclass(frozen=True, slots=True)
class ResourceMatcher:
    """One entry of `resources`, taken apart by the kinds of pattern there are."""

    group: str
    is_any_resource: bool
    combined: frozenset[str]
    subresources: frozenset[str]
    bases: frozenset[str]
    names: frozenset[str]

    def matches_resource(self, resource: str, subresource: str) -> bool:
        """Say whether a pattern matches; `pods/*` also matches pods itself."""
        if self.is_any_resource:
            return True
        if (f"{resource}/{subresource}" if subresource else resource) in self.combined:
            return True
        return resource in self.bases or (subresource != "" and subresource in self.subresources)

    def matches(self, attributes: Attributes) -> bool:
        """Say whether group, resource and name match."""
        if self.group not in (ANY_GROUP, attributes.api_group):
            return False
        if self.names and attributes.name not in self.names:
            return False
        return self.matches_resource(attributes.resource, attributes.subresource)


@dataclass(frozen=True, slots=True)
class RuleMatcher:
    """A rule as sets. `None` for `prefixes` and `resources` means "not stated"."""

    users: frozenset[str]
    groups: frozenset[str]
    verbs: frozenset[str]
    namespaces: frozenset[str]
    resources: tuple[ResourceMatcher, ...]
    urls: frozenset[str]
    url_prefixes: tuple[str, ...]
    matches_resource_requests: bool
    matches_other_requests: bool

    def matches(self, attributes: Attributes) -> bool:
        """Say whether every stated field matches."""
        if self.verbs and attributes.verb not in self.verbs:
            return False
        if attributes.resource_request:
            if not self.matches_resource_requests:
                return False
            if self.namespaces and attributes.namespace not in self.namespaces:
                return False
            if self.resources and not self.matches_resources(attributes):
                return False
        elif not self.matches_other_requests or not self.matches_path(attributes.path):
            return False
        if self.users and attributes.user not in self.users:
            return False
        return not self.groups or self.matches_groups(attributes)

    def matches_resources(self, attributes: Attributes) -> bool:
        """Say whether any entry of `resources` matches."""
        for entry in self.resources:  # noqa: SIM110 - a generator takes twice the time
            if entry.matches(attributes):
                return True
        return False

    def matches_path(self, path: str) -> bool:
        """Say whether a non-resource URL matches; true when the rule states none."""
        if not self.urls and not self.url_prefixes:
            return True
        return path in self.urls or path.startswith(self.url_prefixes)

    def matches_groups(self, attributes: Attributes) -> bool:
        """Say whether any group of the user is one of the rule's."""
        if attributes.user is None or attributes.groups is None:
            return False
        return not self.groups.isdisjoint(attributes.groups)

    def mismatches(self, attributes: Attributes) -> Iterator[str]:
        """Name the fields that do not match, by their names in the policy file, in the order the server looks."""
        if self.users and attributes.user not in self.users:
            yield "users"
        if self.groups and not self.matches_groups(attributes):
            yield "userGroups"
        if self.verbs and attributes.verb not in self.verbs:
            yield "verbs"
        if attributes.resource_request:
            if not self.matches_resource_requests:
                yield "nonResourceURLs"
            if self.namespaces and attributes.namespace not in self.namespaces:
                yield "namespaces"
            if self.resources and not any(entry.matches(attributes) for entry in self.resources):
                yield "resources"
        elif self.matches_other_requests:
            if not self.matches_path(attributes.path):
                yield "nonResourceURLs"
        else:
            yield "resources" if self.resources else "namespaces"


def compile_rule(rule: PolicyRule) -> RuleMatcher:
    """Turn a rule into sets."""
    is_for_resources = bool(rule.resources or rule.namespaces)
    return RuleMatcher(
        users=frozenset(rule.users),
        groups=frozenset(rule.user_groups),
        verbs=frozenset(rule.verbs),
        namespaces=frozenset(rule.namespaces),
        resources=tuple(_compile_resources(entry) for entry in rule.resources),
        urls=frozenset(url for url in rule.non_resource_urls if url != "*"),
        url_prefixes=tuple(url.rstrip("*") for url in rule.non_resource_urls if url.endswith("*")),
        matches_resource_requests=is_for_resources or not rule.non_resource_urls,
        matches_other_requests=not is_for_resources,
    )


def _compile_resources(entry: GroupResources) -> ResourceMatcher:
    return ResourceMatcher(
        group=entry.group,
        is_any_resource=not entry.resources or "*" in entry.resources,
        combined=frozenset(entry.resources),
        subresources=frozenset(pattern[2:] for pattern in entry.resources if pattern.startswith("*/")),
        bases=frozenset(pattern[:-2] for pattern in entry.resources if pattern.endswith("/*")),
        # names are only looked at together with resources
        names=frozenset(entry.resource_names) if entry.resources else frozenset(),
    )
