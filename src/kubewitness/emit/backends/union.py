"""
Several backends as one, and a backend whose failures do not matter.

Follows k8s.io/apiserver/pkg/audit/union.go and the ignoreErrors wrapper of pkg/server/options/audit.go.
"""

from collections.abc import Sequence

from kubewitness.event.flow import Backend
from kubewitness.event.types import Event


class Union:
    """Hands every Event to each backend in turn; fails if one fails, and goes on all the same."""

    def __init__(self, *backends: Backend) -> None:
        self._backends = backends
        self.name = f"union[{','.join(backend.name for backend in backends)}]"

    def run(self) -> None:
        """Start each backend."""
        for backend in self._backends:
            backend.run()

    def shutdown(self) -> None:
        """Stop each backend."""
        for backend in self._backends:
            backend.shutdown()

    def process_events(self, events: Sequence[Event]) -> bool:
        """Hand on; True when every backend took them."""
        is_taken = True
        for backend in self._backends:
            is_taken = backend.process_events(events) and is_taken
        return is_taken


class IgnoreErrors:
    """Mode blocking: the backend counts what it loses, but no request fails for it."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.name = f"ignoreErrors<{backend.name}>"

    def run(self) -> None:
        """Start the backend."""
        self._backend.run()

    def shutdown(self) -> None:
        """Stop the backend."""
        self._backend.shutdown()

    def process_events(self, events: Sequence[Event]) -> bool:
        """Hand on, and say that all is well."""
        self._backend.process_events(events)
        return True
