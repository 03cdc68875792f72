"""
Who makes a request, as far as a door can tell: an Identity, or the refusal of a request that proves none.

A door asks an `identify` function of the server for one. `from_scope_user` is the one to begin with: it reads what
Starlette's AuthenticationMiddleware (and whatever speaks like it) left in the ASGI scope.

Follows what kube-apiserver's authenticators give: groups of who is known end with system:authenticated, who proves
nothing is system:anonymous.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from kubewitness.event.types import UserInfo

AUTHENTICATED = "system:authenticated"
ANONYMOUS = UserInfo(username="system:anonymous", groups=("system:unauthenticated",))
"""Who proves nothing, on a server that lets such callers in."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks, and what authentication has to say for the record."""

    user: UserInfo
    annotations: Mapping[str, str] = field(default_factory=dict)


class NotAuthenticatedError(Exception):
    """What proves who asks is wrong: the request is answered with this and goes no further."""

    def __init__(self, code: int = 401, message: str = "Unauthorized", reason: str = "Unauthorized") -> None:
        super().__init__(message)
        self.code = code
        self.body = status_body(code, message, reason)


Identify = Callable[[Any], Identity | Awaitable[Identity]]
"""Takes the ASGI scope. Raises NotAuthenticatedError."""


def status_body(code: int, message: str, reason: str) -> bytes:
    """Write the Status that an API server answers instead of an object."""
    return msgspec.json.encode(
        {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": code,
        }
    )


def known(username: str, *groups: str, uid: str | None = None) -> Identity:
    """Give the identity of somebody who is known: in the groups named, and authenticated."""
    return Identity(UserInfo(username=username, uid=uid, groups=(*groups, AUTHENTICATED)))


def from_scope_user(scope: Mapping[str, Any]) -> Identity:
    """Read `scope["user"]`; anonymous when nobody is there or nobody is known."""
    user = scope.get("user")
    if user is None or not getattr(user, "is_authenticated", False):
        return Identity(ANONYMOUS)
    return known(str(getattr(user, "display_name", "")))
