"""
Which requests there are: everything the members of a request can be, or only what an API server can see.

`POSSIBLE`, the default, leaves out what cannot happen; each predicate below is one such fact. `ANY` takes every
member alone and drops all of them, so it proves more and finds more counterexamples, some of which no server will meet.

Follows RequestInfo (k8s.io/apiserver/pkg/endpoints/request/requestinfo.go) for the shape of requests, and the
authenticators for what a user name says about its groups. Stricter than the text in two places. A create, update or
patch whose URL does not fit (POST on a named object, PUT or PATCH on a collection) is left out: a client can send it,
and it is audited, but it is always refused (403, 404 or 405). And no user, group, namespace or resource has an
asterisk in its name.
"""

import enum
import re


class Universe(enum.Enum):
    """The requests an answer speaks of."""

    POSSIBLE = "possible"
    ANY = "any"


ANONYMOUS = "system:anonymous"
UNAUTHENTICATED = "system:unauthenticated"
AUTHENTICATED = "system:authenticated"
NODES = "system:nodes"
NODE_PREFIX = "system:node:"
SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"
SERVICE_ACCOUNTS = "system:serviceaccounts"
SERVICE_ACCOUNTS_PREFIX = "system:serviceaccounts:"

# RequestInfo lower-cases the method of a non-resource request; these are the methods HTTP names
METHODS = ("get", "head", "post", "put", "patch", "delete", "options", "connect", "trace")
# "" is an OPTIONS (or an unknown method) on a resource path; proxy and watch also come from /api/v1/{proxy,watch}/...
COLLECTION_VERBS = ("list", "watch", "create", "deletecollection", "", "proxy")
# list and watch carry a name when a field selector names one object
NAMED_VERBS = ("get", "update", "patch", "delete", "list", "watch", "", "proxy")
SUBRESOURCE_VERBS = ("get", "create", "update", "patch", "delete", "watch", "")
RESOURCE_VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "", "proxy")
NAMESPACE_SUBRESOURCES = ("status", "finalize")

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_RESOURCE = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


class Identity(enum.Enum):
    """What a user name says about the groups that come with it."""

    NOBODY = "no user: authentication failed"
    ANONYMOUS = "system:anonymous, in system:unauthenticated only"
    SERVICE_ACCOUNT = "a service account, in exactly its three groups"
    NODE = "a node, in system:nodes and system:authenticated at least"
    OTHER = "anyone else, in system:authenticated at least"
    IMPOSSIBLE = "a name no authenticator gives"


def identity_of(user: str | None) -> Identity:
    """Give the kind of user a name belongs to."""
    if user is None:
        return Identity.NOBODY
    if "*" in user:
        return Identity.IMPOSSIBLE
    if user == ANONYMOUS:
        return Identity.ANONYMOUS
    if user.startswith(SERVICE_ACCOUNT_PREFIX):
        return Identity.SERVICE_ACCOUNT if service_account_namespace(user) is not None else Identity.IMPOSSIBLE
    if user.startswith(NODE_PREFIX) and user != NODE_PREFIX:
        return Identity.NODE
    return Identity.OTHER


def service_account_namespace(user: str) -> str | None:
    """Give the namespace in system:serviceaccount:<namespace>:<name>; None when the name is not of that form."""
    if not user.startswith(SERVICE_ACCOUNT_PREFIX):
        return None
    namespace, _, name = user.removeprefix(SERVICE_ACCOUNT_PREFIX).partition(":")
    return namespace if _LABEL.fullmatch(namespace) and _SUBDOMAIN.fullmatch(name) else None


def service_account_groups(namespace: str) -> frozenset[str]:
    """Give the groups of every service account of a namespace: these and no others."""
    return frozenset({SERVICE_ACCOUNTS, SERVICE_ACCOUNTS_PREFIX + namespace, AUTHENTICATED})


def is_free_group(group: str) -> bool:
    """Whether users other than anonymous and service accounts may be in this group."""
    return not (
        "*" in group or group in (UNAUTHENTICATED, SERVICE_ACCOUNTS) or (group.startswith(SERVICE_ACCOUNTS_PREFIX))
    )


def is_namespace(text: str) -> bool:
    """Whether a request can be in this namespace ("" for none)."""
    return text == "" or _LABEL.fullmatch(text) is not None


def is_name(text: str) -> bool:
    """Whether this can be the name in a URL ("" for none): one path segment."""
    return "/" not in text and "%" not in text and text not in (".", "..")


def is_api_group(text: str) -> bool:
    """Whether this can be an API group ("" for core)."""
    return text == "" or _SUBDOMAIN.fullmatch(text) is not None


def is_resource(text: str) -> bool:
    """Whether this can be the name of a resource or of a subresource: plural, lower case, without version or group."""
    return _RESOURCE.fullmatch(text) is not None


def is_non_resource_path(path: str) -> bool:
    """Whether RequestInfo takes this URL path for a non-resource request."""
    if not path.startswith("/"):
        return False
    segments = path.strip("/").split("/")
    return len(segments) < {"api": 3, "apis": 4}.get(segments[0], len(segments) + 1)
