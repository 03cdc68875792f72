"""
Say who a client is, and so whose Events it brings: by its certificate, or by a token. Never by what it writes.

Certificates are checked by TLS before anything here runs; here only names are compared. Of tokens only hashes are
known. A client that is known as two clusters at once, or as none, is refused.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

TOKEN_HASH_BYTES = 32


@dataclass(frozen=True, slots=True)
class CertificateRule:
    """What a client certificate must say; every field that is given must be right."""

    common_name: str = ""
    dns_name: str = ""
    uri: str = ""
    fingerprint: str = ""
    """SHA-256 of the certificate, hexadecimal in lower case."""

    def matches(self, shown: "Shown") -> bool:
        """Tell whether this certificate is meant."""
        wanted = (
            (self.common_name, shown.common_names),
            (self.dns_name, shown.dns_names),
            (self.uri, shown.uris),
            (self.fingerprint, (shown.fingerprint,)),
        )
        return any(value for value, _ in wanted) and all(not value or value in given for value, given in wanted)


@dataclass(frozen=True, slots=True)
class Shown:
    """What the certificate of a client says of it."""

    common_names: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    fingerprint: str = ""

    @property
    def name(self) -> str:
        """A short name for people."""
        return next(iter((*self.common_names, *self.dns_names, *self.uris, self.fingerprint[:16])), "")


@dataclass(frozen=True, slots=True)
class ClusterClients:
    """Who may bring the Events of a cluster."""

    certificates: Sequence[CertificateRule] = ()
    tokens: Sequence[bytes] = field(default=(), repr=False)
    """SHA-256 of each token; two while one replaces the other."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A client that is known."""

    cluster: str
    name: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a client is not let in; `is_alarm` when somebody should look into it."""

    status: int
    reason: str
    text: str
    is_alarm: bool = False


def shown_by(peer: Mapping[str, object] | None, der: bytes | None) -> Shown | None:
    """Read what `ssl` tells of a peer's certificate that it has verified; None when there is none."""
    if not peer or not der:
        return None
    subject = peer.get("subject")
    names = tuple(
        value for part in (subject if isinstance(subject, tuple) else ()) for key, value in part if key == "commonName"
    )
    alternatives = peer.get("subjectAltName")
    pairs = alternatives if isinstance(alternatives, tuple) else ()
    return Shown(
        names,
        tuple(value for kind, value in pairs if kind == "DNS"),
        tuple(value for kind, value in pairs if kind == "URI"),
        hashlib.sha256(der).hexdigest(),
    )


class Clients:
    """Everybody who may bring Events."""

    def __init__(self, clusters: Mapping[str, ClusterClients]) -> None:
        self._clusters = dict(clusters)

    @property
    def has_tokens(self) -> bool:
        """Whether somebody may come without a certificate."""
        return any(clients.tokens for clients in self._clusters.values())

    def known_by_certificate(self, shown: Shown | None) -> frozenset[str]:
        """Give the clusters whose Events the holder of this certificate may bring."""
        if shown is None:
            return frozenset()
        return frozenset(
            name
            for name, clients in self._clusters.items()
            if any(rule.matches(shown) for rule in clients.certificates)
        )

    def known_by_token(self, token: bytes) -> frozenset[str]:
        """Give the clusters that a token stands for; takes as long whichever it is."""
        given = hashlib.sha256(token).digest()
        found = set()
        for name, clients in self._clusters.items():
            for known in clients.tokens:
                if hmac.compare_digest(known, given):
                    found.add(name)
        return frozenset(found)

    def identify(self, shown: Shown | None, authorization: bytes | None) -> Caller | Refusal:
        """Say who this is, by what TLS has verified and the Authorization header."""
        by_certificate = self.known_by_certificate(shown)
        by_token: frozenset[str] = frozenset()
        scheme, _, token = (authorization or b"").partition(b" ")
        if scheme.lower() == b"bearer" and token.strip():
            by_token = self.known_by_token(token.strip())
        known = by_certificate | by_token
        name = shown.name if shown else ""
        if len(known) > 1:
            return Refusal(403, "ambiguous", "the credentials stand for more than one cluster", is_alarm=True)
        if known:
            return Caller(next(iter(known)), name or "token")
        if shown is None and authorization is None:
            return Refusal(401, "anonymous", "a client certificate or a token is needed")
        return Refusal(403, "unknown", "the credentials are of no cluster here", is_alarm=True)
