"""
The nouns of an audit policy: Policy, PolicyRule, GroupResources; Attributes of a request; the Decision.

Follows k8s.io/apiserver/pkg/apis/audit/types.go. An empty tuple means "not stated", which matches anything.
"""

from dataclasses import dataclass

from kubewitness.event.types import Level, Stage


@dataclass(frozen=True, slots=True)
class GroupResources:
    """Resources of one API group. `group` "" is core, "*" is every group (1.36 on)."""

    group: str = ""
    resources: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """One rule: when every stated member matches, its level is the answer."""

    level: Level
    users: tuple[str, ...] = ()
    user_groups: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    resources: tuple[GroupResources, ...] = ()
    namespaces: tuple[str, ...] = ()
    non_resource_urls: tuple[str, ...] = ()
    omit_stages: tuple[Stage, ...] = ()
    omit_managed_fields: bool | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """An audit policy: the first rule that matches a request decides."""

    rules: tuple[PolicyRule, ...]
    omit_stages: tuple[Stage, ...] = ()
    omit_managed_fields: bool = False


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a policy can see of a request.

    `user` and `groups` None: a request without a user (authentication failed); `user` "": a user with an empty name.
    """

    verb: str
    user: str | None = None
    groups: tuple[str, ...] | None = None
    namespace: str = ""
    api_group: str = ""
    api_version: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    resource_request: bool = False
    path: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a policy says of a request. `rule_index` None: no rule matched."""

    level: Level
    omit_stages: frozenset[Stage]
    omit_managed_fields: bool
    rule_index: int | None
