"""
What kube-apiserver makes of a request line: method and URL to the Attributes a policy is asked with.

`request_info` reads a method and URL, `attributes_from_event` a recorded Event: from its verb and requestURI, since
objectRef.name may stem from the body. Only an event without requestURI falls back on objectRef.

Follows k8s.io/apiserver/pkg/endpoints/request/requestinfo.go with the prefixes /api and /apis, and the URL reading of
Go's net/http. Rows of odd requests: docs/reference/policy-requests.md.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from kubewitness.policy.selectors import SelectorError, is_label_selector, required_name
from kubewitness.policy.types import Attributes

if TYPE_CHECKING:
    from kubewitness.event.types import Event

_VERBS = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
# verbs that stand in the path: /api/v1/watch/pods
_PATH_VERBS = frozenset(("proxy", "watch"))
_NAMESPACE_SUBRESOURCES = frozenset(("status", "finalize"))
_LONG_RUNNING_VERBS = frozenset(("watch", "proxy"))
_LONG_RUNNING_SUBRESOURCES = frozenset(("attach", "exec", "proxy", "log", "portforward"))
_BAD_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")
_INTEGER = re.compile(r"[-+]?[0-9]{1,19}", re.ASCII)
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?]*")
_INTEGER_PARAMETERS = ("timeoutSeconds", "limit")


class RequestError(ValueError):
    """A request that kube-apiserver turns away before anything is audited."""


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """The parts of a request that authorization and audit see."""

    verb: str
    path: str
    is_resource_request: bool = False
    api_group: str = ""
    api_version: str = ""
    namespace: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""

    def attributes(self, user: str | None = None, groups: tuple[str, ...] | None = None) -> Attributes:
        """Add who asks."""
        return Attributes(
            self.verb,
            user,
            groups,
            self.namespace,
            self.api_group,
            self.api_version,
            self.resource,
            self.subresource,
            self.name,
            self.is_resource_request,
            self.path,
        )


def request_info(method: str, url: str) -> RequestInfo:
    """Read a request line. Raises RequestError where kube-apiserver answers before auditing."""
    path, query = split_url(url)
    parts = _parts(path)
    if parts is None:
        return RequestInfo(method.lower(), path)
    group, version, rest = parts
    verb, is_path_verb = _VERBS.get(method, ""), False
    if rest[0] in _PATH_VERBS:
        if len(rest) < 2:
            raise RequestError(f"unable to determine kind and namespace from url, {url}")
        verb, is_path_verb, rest = rest[0], True, rest[1:]
    namespace, resource, name, subresource = _object(rest, verb)
    if not name and verb == "get":
        verb, name = _list_or_watch(query)
    elif not name and verb == "delete" and not is_path_verb:
        verb = "deletecollection"
    return RequestInfo(verb, path, True, group, version, namespace, resource, subresource, name)


def attributes_from_event(event: "Event") -> Attributes:
    """Rebuild the attributes a policy was asked with from a recorded Event."""
    user = event.user
    name = user.username if user is not None else None
    # a user without groups is not the same as no user
    groups = (user.groups or ()) if user is not None and name is not None else None
    verb = event.verb or ""
    if event.request_uri is not None:
        return info_from_uri(verb, event.request_uri).attributes(name, groups)
    reference = event.object_ref
    if reference is None:
        return Attributes(verb, name, groups)
    return Attributes(
        verb,
        name,
        groups,
        reference.namespace or "",
        reference.api_group or "",
        reference.api_version or "",
        reference.resource or "",
        reference.subresource or "",
        reference.name or "",
        resource_request=True,
    )


def info_from_uri(verb: str, uri: str) -> RequestInfo:
    """Read the URL of a request whose verb is known already."""
    path, query = split_url(uri, is_strict=False)
    parts = _parts(path)
    if parts is None:
        return RequestInfo(verb, path)
    group, version, rest = parts
    is_path_verb = rest[0] in _PATH_VERBS and len(rest) > 1
    namespace, resource, name, subresource = _object(rest[1:] if is_path_verb else rest, verb)
    if not name and not is_path_verb and verb in ("list", "watch"):
        _, name = _list_or_watch(query)
    return RequestInfo(verb, path, True, group, version, namespace, resource, subresource, name)


def is_long_running(info: Attributes) -> bool:
    """Say whether the request has a ResponseStarted stage of its own: watches, exec, logs, proxies, profiles."""
    if not info.resource_request:
        return info.path.startswith("/debug/pprof/")
    return info.verb in _LONG_RUNNING_VERBS or info.subresource in _LONG_RUNNING_SUBRESOURCES


def split_url(url: str, *, is_strict: bool = True) -> tuple[str, str]:
    """Give decoded path and raw query of a request target; an origin before the path is dropped."""
    origin = _ORIGIN.match(url)
    target = url[origin.end() :] if origin else url
    raw_path, _, query = target.partition("?")
    if "%" in raw_path:
        if is_strict and _BAD_ESCAPE.search(raw_path):
            raise RequestError(f"invalid URL escape in {url!r}: 400 Bad Request, not audited")
        return _decoded(raw_path), query
    return raw_path, query


def query_values(query: str) -> dict[str, str]:
    """Give the first value of each parameter; pairs that Go cannot read are left out."""
    values: dict[str, str] = {}
    for pair in query.split("&"):
        if not pair or ";" in pair or _BAD_ESCAPE.search(pair):
            continue
        name, _, value = pair.partition("=")
        values.setdefault(_decoded(name.replace("+", " ")), _decoded(value.replace("+", " ")))
    return values


def _decoded(text: str) -> str:
    if "%" not in text:
        return text
    return unquote_to_bytes(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogateescape")


def _parts(path: str) -> tuple[str, str, list[str]] | None:
    """Split a resource path into group, version and the rest; None for everything else."""
    segments = path.strip("/").split("/")
    if len(segments) < 3 or segments[0] not in ("api", "apis"):
        return None
    if segments[0] == "api":
        return "", segments[1], segments[2:]
    return (segments[1], segments[2], segments[3:]) if len(segments) > 3 else None


def _object(rest: list[str], verb: str) -> tuple[str, str, str, str]:
    """Give namespace, resource, name and subresource of what follows the version."""
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in _NAMESPACE_SUBRESOURCES:
            rest = rest[2:]
    subresource = rest[2] if len(rest) > 2 and verb != "proxy" else ""
    return namespace, rest[0], rest[1] if len(rest) > 1 else "", subresource


def _list_or_watch(query: str) -> tuple[str, str]:
    """Read the list options of a GET without a name: whether it watches, and a name from its field selector."""
    if not query:
        return "list", ""
    values = query_values(query)
    watch = values.get("watch")
    verb = "list" if watch is None or watch.lower() in ("false", "0") else "watch"
    if any(not _is_int64(values[name]) for name in _INTEGER_PARAMETERS if name in values):
        return verb, ""
    if not is_label_selector(values.get("labelSelector", "")):
        return verb, ""
    try:
        return verb, required_name(values.get("fieldSelector", ""))
    except SelectorError:
        return verb, ""


def _is_int64(text: str) -> bool:
    return bool(_INTEGER.fullmatch(text)) and -(1 << 63) <= int(text) < 1 << 63
