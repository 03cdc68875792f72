"""How much, how many and how long: what bounds a client, so that none can take what the others need."""

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a receiver. Seconds and bytes; docs/reference/config.md explains each."""

    body_bytes: int = 64 * MIB
    """Of one request."""
    waiting_bytes: int = 96 * MIB
    """Of the bodies of one cluster that are being received or stored."""
    connections: int = 64
    """Of one cluster."""
    handshakes: int = 256
    """That are not finished, from everybody."""
    handshakes_of_address: int = 64
    """That are not finished, from one address."""
    head_bytes: int = 32 * 1024
    handshake_seconds: float = 5.0
    head_seconds: float = 10.0
    body_seconds: float = 25.0
    """For all of the body; kube-apiserver gives up after 30 s."""
    store_seconds: float = 28.0
    """From the head to the answer, which is 503 then: kube-apiserver should still hear it."""
    idle_seconds: float = 120.0
    """Longer than the 90 s after which kube-apiserver closes a connection itself."""
    retry_after_seconds: int = 3
    """Ten times this fills kube-apiserver's 30 s, and so keeps a batch alive longest."""
    quarantine_bytes: int = 1024 * MIB
    """Of one cluster; when it is full, 503."""
    reserve_bytes: int = 256 * MIB
    """Free space of the disk below which nothing more is taken."""
