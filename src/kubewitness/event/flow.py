"""
The one joint of the house: `Sink` takes Events, `Backend` is a Sink with a life, `Source` gives Events.

A station is a Sink or is handed one; wrappers print themselves, so `union[buffered<truncate<log>>]` is both
a log line and the architecture. Follows k8s.io/apiserver/pkg/audit/types.go.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

from kubewitness.event.types import Event

Where_contra = TypeVar("Where_contra", contravariant=True)


class Sink(Protocol):
    """Takes Events."""

    def process_events(self, events: Sequence[Event]) -> bool:
        """Take these Events; True when all were taken."""
        ...


class Backend(Sink, Protocol):
    """A Sink that is started, stopped and has a name."""

    name: str

    def run(self) -> None:
        """Start taking Events; returns when ready."""
        ...

    def shutdown(self) -> None:
        """Take no more Events, and return when those taken are delivered or counted as lost."""
        ...


class Source(Protocol[Where_contra]):
    """Gives Events."""

    def scan(self, where: Where_contra) -> Iterator[Event]:
        """Give the Events for which `where` is true."""
        ...
