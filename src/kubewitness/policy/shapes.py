"""
Counted request shapes: what a log holds, as far as audit policies can tell its events apart.

A caller counts (`look.query.shape_sql` does in SQL); `simulate`, `suggest` and others judge the shapes instead of the
events. `Interest` says what the policies at hand look at, so that a million pod names are one shape unless a rule
names one of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import msgspec

from kubewitness.event.types import Level, Stage
from kubewitness.policy.types import Attributes, Policy

OTHER = "?/?"
"""Stands for every name and namespace that no policy at hand names: no segment of a URL, nor a pattern of anyone's."""
NODE_PREFIX = "system:node:"
ANY_NODE = "system:node:*"
# told apart though no policy may name them: they differ in what they weigh, and a reader wants to see them
_USUAL_PATHS = ("/healthz*", "/livez*", "/readyz*", "/metrics*", "/openapi*", "/api*", "/version*", "/debug/pprof/*")
OTHER_PATH = "?"
"""Stands for every other path: patterns begin with a slash."""


@dataclass(frozen=True, slots=True)
class Interest:
    """The names that some policy states."""

    users: frozenset[str] = frozenset()
    groups: tuple[str, ...] = ()
    namespaces: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    paths: frozenset[str] = frozenset()
    path_prefixes: tuple[str, ...] = ()
    """Longest first, without the star."""
    omits_managed: bool = False


class Shape(msgspec.Struct, frozen=True, gc=False):
    """
    Events that no policy at hand can tell apart: one kind of request by one user, at one level and stage.

    Sizes are sums in bytes; `..._squares` sums of squares, for intervals. `..._managed` is what
    metadata.managedFields take in the bodies. A body's size includes its member name.
    """

    request: Attributes
    level: Level
    stage: Stage
    is_failed: bool
    events: int
    size: int = 0
    request_body: int = 0
    response_body: int = 0
    request_squares: float = 0
    response_squares: float = 0
    request_managed: int = 0
    response_managed: int = 0

    @property
    def plain(self) -> int:
        """Bytes without bodies."""
        return self.size - self.request_body - self.response_body


@dataclass(frozen=True, slots=True)
class Traffic:
    """All shapes of a log, how long it is, and its busiest minute."""

    shapes: tuple[Shape, ...]
    first: datetime | None = None
    last: datetime | None = None
    busiest_minute_events: int = 0
    minutes: int = 0

    @property
    def seconds(self) -> float:
        """Length of the log."""
        if self.first is None or self.last is None:
            return 0.0
        return (self.last - self.first).total_seconds()

    @property
    def events(self) -> int:
        """Number of events."""
        return sum(shape.events for shape in self.shapes)

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(shape.size for shape in self.shapes)


def interest_of(policies: Iterable[Policy]) -> Interest:
    """Give what these policies look at."""
    rules = [rule for policy in policies for rule in policy.rules]
    paths = {path for rule in rules for path in rule.non_resource_urls} | set(_USUAL_PATHS)
    prefixes = {path.rstrip("*") for path in paths if path.endswith("*")} - {""}
    return Interest(
        users=frozenset(user for rule in rules for user in rule.users),
        groups=tuple(sorted({group for rule in rules for group in rule.user_groups})),
        namespaces=frozenset(namespace for rule in rules for namespace in rule.namespaces),
        names=frozenset(name for rule in rules for entry in rule.resources for name in entry.resource_names),
        paths=frozenset(path for path in paths if not path.endswith("*")),
        path_prefixes=tuple(sorted(prefixes, key=lambda prefix: (-len(prefix), prefix))),
        omits_managed=any(policy.omit_managed_fields for policy in policies)
        or any(rule.omit_managed_fields for rule in rules),
    )
