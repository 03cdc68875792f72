"""
One request as people read it: who, what was done, to what, from where, in cells and in a plain sentence.

The values are those of the flat columns of `events`, raw; whoever prints them makes them harmless.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from kubewitness.cli.render.values import command_text
from kubewitness.event.derive import UNNAMED

# Groups of kube-apiserver itself: their kinds are known by their plain name. Others are shown, so that a
# custom resource called `secrets` does not pass for the real one.
_OWN_GROUPS = frozenset(["", "apps", "batch", "autoscaling", "policy", "extensions"])
_OWN_SUFFIX = ".k8s.io"
_UNAUTHORIZED = 401
_MANY = frozenset(["list", "watch", "deletecollection"])


class Request(msgspec.Struct, frozen=True):
    """What the sentences need of a request; the names are those of the columns."""

    received: datetime | None = None
    stage: str | None = None
    username: str | None = None
    impersonated_username: str | None = None
    verb: str | None = None
    action: str | None = None
    outcome: str | None = None
    code: int | None = None
    reason: str | None = None
    resource: str | None = None
    subresource: str | None = None
    api_group: str | None = None
    namespace: str | None = None
    name: str | None = None
    request_uri: str | None = None
    exec_command: Sequence[str] | None = None
    source_ips: Sequence[str] | None = None
    dryrun: bool | None = None


COLUMNS: tuple[str, ...] = Request.__struct_fields__
_NAMES = frozenset(COLUMNS)


def request_of(columns: Sequence[str], values: Sequence[Any]) -> Request:
    """Make a Request of a row that has these columns; what a Request does not need is left out."""
    return Request(**{name: value for name, value in zip(columns, values, strict=True) if name in _NAMES})


# the subresource that an action already tells
_SAID: dict[str, tuple[str, ...]] = {
    "exec": ("exec",),
    "attach": ("attach",),
    "portforward": ("portforward",),
    "log": ("log",),
    "proxy": ("proxy",),
    "token": ("token",),
    "evict": ("eviction",),
    "schedule": ("binding",),
    "debug": ("ephemeralcontainers",),
    "scale": ("scale",),
    "approve": ("approval",),
}

# past, infinitive, and what stands between verb and object; the keys are values of `action`
_WORDS: dict[str, tuple[str, str, str]] = {
    "get": ("read", "read", ""),
    "list": ("listed", "list", ""),
    "watch": ("watched", "watch", ""),
    "create": ("created", "create", ""),
    "update": ("updated", "update", ""),
    "patch": ("patched", "patch", ""),
    "delete": ("deleted", "delete", ""),
    "deletecollection": ("deleted", "delete", "all "),
    "exec": ("ran", "run", "in "),
    "attach": ("attached", "attach", "to "),
    "portforward": ("forwarded", "forward", "ports of "),
    "proxy": ("went", "go", "through the proxy of "),
    "log": ("read", "read", "the log of "),
    "token": ("issued", "issue", "a token for "),
    "evict": ("evicted", "evict", ""),
    "schedule": ("scheduled", "schedule", ""),
    "debug": ("added", "add", "a debug container to "),
    "scale": ("scaled", "scale", ""),
    "approve": ("approved", "approve", ""),
    "bind": ("granted", "grant", "roles by "),
    "review": ("asked", "ask", "for "),
    "impersonate": ("acted", "act", "as another on "),
}


def who(request: Request) -> str:
    """Give the user, and as whom the user acted."""
    user = request.username or "unauthenticated"
    return f"{user} (as {request.impersonated_username})" if request.impersonated_username else user


def kind_of(resource: str | None, subresource: str | None, api_group: str | None) -> str:
    """Give the kind as kubectl takes it: `pods/exec`, and with its group where it is not kube-apiserver's own."""
    group = api_group or ""
    is_own = group in _OWN_GROUPS or group.endswith(_OWN_SUFFIX)
    kind = resource or "" if is_own else f"{resource}.{group}"
    return f"{kind}/{subresource}" if subresource else kind


def what(request: Request) -> str:
    """Give the object: `secrets production/important`, `nodes`, or the path of a request for no resource.

    `*` stands for every object of a namespace, `?` for a name that the server made up and this event does not hold.
    The subresource is left out where the action says it: exec into `pods production/web`.
    """
    if not request.resource:
        return (request.request_uri or "").split("?", 1)[0]
    is_said = request.subresource in _SAID.get(request.action or "", ())
    kind = kind_of(request.resource, None if is_said else request.subresource, request.api_group)
    if request.name:
        name = request.name
    elif request.verb in _MANY:
        name = "*" if request.namespace else ""
    else:
        name = "" if request.resource in UNNAMED else "?"
    # a namespace is its own namespace: `namespaces demo`, not `namespaces demo/demo`
    is_inside = request.namespace and not (request.resource == "namespaces" and request.namespace == request.name)
    place = f"{request.namespace}/{name}" if is_inside else name
    return f"{kind} {place}" if place else kind


def from_where(request: Request) -> str | None:
    """Give the peer, the one address that is known, and what it claims to speak for."""
    if not request.source_ips:
        return None
    *claimed, peer = request.source_ips
    return f"{peer} (for {', '.join(claimed)})" if claimed else peer


def peer(request: Request) -> str | None:
    """Give the peer, and only how many further addresses it claims to speak for."""
    if not request.source_ips:
        return None
    claimed = len(request.source_ips) - 1
    return f"{request.source_ips[-1]} +{claimed}" if claimed else request.source_ips[-1]


def did(request: Request, *, count: int = 1) -> str:
    """Say in one sentence what happened; `count` requests of the same kind are told as one."""
    past, infinitive, between = _words(request)
    thing = f"{count} x {what(request)}" if count > 1 else what(request)
    match request.outcome:
        case "allowed" if request.dryrun:
            return f"{who(request)} made a dry run to {infinitive} {between}{thing}: nothing was changed"
        case "allowed":
            return f"{who(request)} {past} {between}{thing}"
        case "denied" if request.code == _UNAUTHORIZED:
            return f"someone without valid credentials tried to {infinitive} {between}{thing}: 401"
        case "denied":
            return f"{who(request)} was not allowed to {infinitive} {between}{thing}: {_result(request)}"
        case "failed":
            return f"{who(request)} tried to {infinitive} {between}{thing}: {_result(request)}"
        case _:
            return f"{who(request)} asked to {infinitive} {between}{thing}; no answer is recorded"


def _words(request: Request) -> tuple[str, str, str]:
    action = request.action or request.verb or "get"
    past, infinitive, between = _WORDS.get(action, (f"sent {action} to", f"send {action} to", ""))
    if action == "exec":
        between = f"`{command_text(request.exec_command)}` in " if request.exec_command else "a command in "
    elif action == "bind":
        past_verb, _, _ = _WORDS.get(request.verb or "", ("writing", "", ""))
        between = f"roles: {past_verb} "
    return past, infinitive, between


def _result(request: Request) -> str:
    return f"{request.code} {request.reason}" if request.reason else f"{request.code}"
