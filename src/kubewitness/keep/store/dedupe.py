"""
Know an Event that came before, whichever door it came through.

The identity is a keyed hash of its canonical bytes, so that nobody without the key can look content up in it; the key
is kept outside of the store. Only a window is remembered, in memory: as many Events as a retry can be late by.
"""

import hmac
from typing import NamedTuple

from kubewitness.event.identity import canonical_bytes
from kubewitness.keep.store.segment import IDENTITY_BYTES

WINDOW_EVENTS = 500_000  # some 90 MB; kube-apiserver sends at most 4,000 a second and gives up after 250 s
KEY_BYTES = 32


class Known(NamedTuple):
    """The index of an Event, and the source from which it was stored."""

    at: int
    source: str


class Window:
    """The latest Events by identity: `capacity` of them at least, twice as many at most."""

    def __init__(self, key: bytes, capacity: int = WINDOW_EVENTS // 2) -> None:
        """Begin with nothing known. Raises ValueError for a key that is too short to be one."""
        if len(key) < KEY_BYTES:
            raise ValueError(f"the key of identities has {len(key)} bytes, not {KEY_BYTES} or more")
        self._key = key
        self.capacity = capacity
        self._young: dict[bytes, Known] = {}
        self._old: dict[bytes, Known] = {}

    def identity(self, raw: bytes) -> bytes:
        """Give the identity of an Event by its exact bytes."""
        return hmac.digest(self._key, canonical_bytes(raw), "sha256")[:IDENTITY_BYTES]

    def find(self, identity: bytes) -> Known | None:
        """Say where this Event was stored, if it is known."""
        return self._young.get(identity) or self._old.get(identity)

    def remember(self, identity: bytes, known: Known) -> None:
        """Know this Event from now on."""
        if len(self._young) >= self.capacity:
            self._old, self._young = self._young, {}
        self._young[identity] = known
