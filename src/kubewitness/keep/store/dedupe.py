"""
Know an Event that came before, whichever door it came through.

The identity is a keyed hash of its canonical bytes, so that nobody without the key can look content up in it; the key
is kept outside of the store. Only a window is remembered, in memory: as many Events as a retry can be late by.
"""

import hashlib

import msgspec

from kubewitness.event.identity import USUAL_TYPE_META, canonical_bytes
from kubewitness.keep.store.segment import IDENTITY_BYTES

WINDOW_EVENTS = 500_000  # some 90 MB; kube-apiserver sends at most 4,000 a second and gives up after 250 s
KEY_BYTES = 32


class Known(msgspec.Struct, frozen=True, gc=False):
    """The index of an Event, and the source from which it was stored."""

    at: int
    source: str


class Window:
    """The latest Events by identity: `capacity` of them at least, twice as many at most."""

    def __init__(self, key: bytes, capacity: int = WINDOW_EVENTS // 2) -> None:
        """Begin with nothing known. Raises ValueError for a key that is too short to be one."""
        if len(key) < KEY_BYTES:
            raise ValueError(f"the key of identities has {len(key)} bytes, not {KEY_BYTES} or more")
        self._inner, self._outer = _begun(key)
        self._inner_of_usual = self._inner.copy()
        self._inner_of_usual.update(b"{")
        self.capacity = capacity
        self._young: dict[bytes, Known] = {}
        self._old: dict[bytes, Known] = {}

    def identity(self, raw: bytes) -> bytes:
        """Give the identity of an Event by its exact bytes: HMAC-SHA256 of its canonical ones. From any thread."""
        if raw.startswith(USUAL_TYPE_META):  # nearly all from files: the rest is hashed where it lies
            inner = self._inner_of_usual.copy()
            inner.update(memoryview(raw)[len(USUAL_TYPE_META) :])
        else:
            inner = self._inner.copy()
            inner.update(canonical_bytes(raw))
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()[:IDENTITY_BYTES]

    def find(self, identity: bytes) -> Known | None:
        """Say where this Event was stored, if it is known."""
        return self._young.get(identity) or self._old.get(identity)

    def remember(self, identity: bytes, known: Known) -> None:
        """Know this Event from now on."""
        if len(self._young) >= self.capacity:
            self._old, self._young = self._young, {}
        self._young[identity] = known


_BLOCK_BYTES = 64  # of SHA-256
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))


def _begun(key: bytes) -> "tuple[hashlib._Hash, hashlib._Hash]":
    """Give both hashes of HMAC (RFC 2104) with the key taken in: to copy them takes half the time of a new one."""
    if len(key) > _BLOCK_BYTES:
        key = hashlib.sha256(key).digest()
    key = key.ljust(_BLOCK_BYTES, b"\0")
    return hashlib.sha256(key.translate(_INNER)), hashlib.sha256(key.translate(_OUTER))
