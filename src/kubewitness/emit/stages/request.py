"""
What audit takes from a request as it stands on the wire: URI, source addresses, user agent, audit ID.

In: method, target, the five headers that matter and the address of the peer. Out: the members of an Event, in its
spelling. Who asks, verb and resource come from elsewhere (`policy.request`).

Follows LogRequestMetadata of k8s.io/apiserver/pkg/audit/request.go, SourceIPs of k8s.io/apimachinery/pkg/util/net and
the URL type of Go's net/url.
"""

import functools
import ipaddress
import re
from collections.abc import Iterable
from typing import Self
from urllib.parse import quote_from_bytes

import msgspec

from kubewitness.emit.wire import go_text

USER_AGENT_MAX_BYTES = 1024
# nobody writes an address longer than this, not even with leading zeros
_ADDRESS_MAX_CHARACTERS = 256
_TRUNCATED = b"...TRUNCATED"
_ORIGIN = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[^/?]*")
# what Go leaves alone in a path that it was given, and what it leaves alone when it must escape one itself
_VALID_PATH = re.compile(rb"(?:[A-Za-z0-9\-_.~!$&'()*+,;=:@\[\]/]|%[0-9A-Fa-f]{2})*+")
_PLAIN_TARGET = re.compile(r"/(?:[A-Za-z0-9\-_.~!$&'()*+,;=:@\[\]/]|%[0-9A-Fa-f]{2})*+(?:\?[!-~]*+)?")
_UNESCAPED = "-_.~$&+,/:;=@"


class Request(msgspec.Struct, frozen=True):
    """A request as it came; text may hold bytes that are no UTF-8 (surrogateescape). `peer`: host, or host:port."""

    method: str
    target: str
    user_agent: str = ""
    audit_id: str = ""
    forwarded_for: str = ""
    real_ip: str = ""
    peer: str = ""

    @classmethod
    def from_headers(cls, method: str, target: str, headers: Iterable[tuple[bytes, bytes]], peer: str = "") -> Self:
        """Take the headers that matter; of a header given twice the first counts, as in Go."""
        first: dict[bytes, str] = {}
        for name, value in headers:
            first.setdefault(name.lower(), value.decode("utf-8", "surrogateescape"))
        return cls(
            method,
            target,
            first.get(b"user-agent", ""),
            first.get(b"audit-id", ""),
            first.get(b"x-forwarded-for", ""),
            first.get(b"x-real-ip", ""),
            peer,
        )


def request_uri(target: str) -> str:
    """Give path and query as Go writes them: the origin dropped, a path that is not well spelt escaped anew."""
    if _PLAIN_TARGET.fullmatch(target):
        return target
    raw = target.encode("utf-8", "surrogateescape")
    origin = _ORIGIN.match(raw)
    if origin is not None:
        raw = raw[origin.end() :]
    path, mark, query = raw.partition(b"?")
    if not _VALID_PATH.fullmatch(path):
        path = _escaped_anew(path)
    return go_text((path or b"/") + mark + query)


def _escaped_anew(path: bytes) -> bytes:
    unescaped = re.sub(rb"%([0-9A-Fa-f]{2})", lambda match: bytes([int(match[1], 16)]), path)
    return quote_from_bytes(unescaped, safe=_UNESCAPED).encode()


def user_agent(request: Request) -> str | None:
    """Give the user agent, cut after 1024 bytes; None when there was none."""
    agent = request.user_agent
    if len(agent) <= USER_AGENT_MAX_BYTES and agent.isascii():
        return agent or None
    raw = agent.encode("utf-8", "surrogateescape")
    if len(raw) > USER_AGENT_MAX_BYTES:
        raw = raw[:USER_AGENT_MAX_BYTES] + _TRUNCATED
    return go_text(raw) or None


def source_ips(request: Request) -> tuple[str, ...]:
    """Give the claimed addresses, then the peer's: only the last is what the server saw itself."""
    if not request.forwarded_for and not request.real_ip:
        return _peer_alone(request.peer)
    claimed = request.forwarded_for.split(",") if request.forwarded_for else ()
    found = [ip for part in claimed if (ip := parse_ip(part.strip())) is not None]
    real = parse_ip(request.real_ip) if request.real_ip else None
    if real is not None and real not in found:
        found.append(real)
    peer = parse_ip(_host(request.peer)) or parse_ip(request.peer)
    if peer is not None and (not found or found[-1] != peer):
        found.append(peer)
    return tuple(found)


@functools.lru_cache(1024)
def _peer_alone(peer: str) -> tuple[str, ...]:
    found = parse_ip(_host(peer)) or parse_ip(peer)
    return () if found is None else (found,)


def _host(peer: str) -> str:
    host = peer.rpartition(":")[0]
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def parse_ip(text: str) -> str | None:
    """Give an address in Go's spelling, or None. Leading zeros are decimal; an IPv4-mapped address is an IPv4 one."""
    return _parse_ip(text) if len(text) <= _ADDRESS_MAX_CHARACTERS else None


@functools.lru_cache(1024)
def _parse_ip(text: str) -> str | None:
    if "%" in text:
        return None
    try:
        address = ipaddress.ip_address(_without_zeros(text))
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _without_zeros(text: str) -> str:
    """Drop leading zeros of each number, which kube-apiserver's parser accepts, as many as there are."""
    return ":".join(".".join(part.lstrip("0") or part[:1] for part in group.split(".")) for group in text.split(":"))
