"""URI, addresses and user agent as Go and kube-apiserver read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubewitness.emit.stages.request import Request, parse_ip, request_uri, source_ips, user_agent


@pytest.mark.parametrize(
    ("target", "uri"),
    [
        ("/api/v1/pods?a=1&b=<>", "/api/v1/pods?a=1&b=<>"),
        ("//api/v1/pods", "//api/v1/pods"),
        ("/%61pi/v1/pods", "/%61pi/v1/pods"),
        ("/api/v1/namespaces/default/secrets/a%2Fb", "/api/v1/namespaces/default/secrets/a%2Fb"),
        ("https://host:6443/api?x", "/api?x"),
        ("https://host", "/"),
        ("https://host?x", "/?x"),
        ("/api?", "/api?"),
        ('/a"b', "/a%22b"),
        ('/a"b-_.~$&+,/:;=@', "/a%22b-_.~$&+,/:;=@"),
        ("/a b!(*)", "/a%20b%21%28%2A%29"),
        ("/a!(*)", "/a!(*)"),
        ("/é", "/%C3%A9"),
        ("/é%41", "/%C3%A9A"),
        ("/\udcff?\udcff", "/%FF?\ufffd"),
        ("*", "*"),
    ],
)
def test_request_uri(target: str, uri: str) -> None:
    """A well-spelt path stays as sent, an odd one is escaped anew, the query is never touched, the origin goes."""
    assert request_uri(target) == uri


@pytest.mark.parametrize(
    ("text", "ip"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("010.0.00.1", "10.0.0.1"),
        ("::00010", "::10"),
        ("0fe80::000:1", "fe80::1"),
        ("::ffff:010.0.0.000", "10.0.0.0"),
        ("00010", None),
        ("1.2.3.", None),
        ("1.2.3.~4", None),
        ("0" * 249 + "1.2.3.4", "1.2.3.4"),
        ("0" * 250 + "1.2.3.4", None),
        ("000.0.0.0", "0.0.0.0"),
        ("::1", "::1"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("::ffff:01.2.3.04", "1.2.3.4"),
        ("fe80::1%eth0", None),
        ("300.1.1.1", None),
        ("garbage", None),
        ("", None),
        ("1.2.3", None),
        ("1.2.3.٤", None),
    ],
)
def test_parse_ip(text: str, ip: str | None) -> None:
    """Addresses come out in Go's spelling; leading zeros are read as decimal, zones and nonsense refused."""
    assert parse_ip(text) == ip


@pytest.mark.parametrize(
    ("forwarded_for", "real_ip", "peer", "expected"),
    [
        ("garbage, 1.2.3.4, ::1, 300.1.1.1", "", "127.0.0.1:5", ("1.2.3.4", "::1", "127.0.0.1")),
        ("", "", "127.0.0.1:5", ("127.0.0.1",)),
        ("", "", "[::1]:5", ("::1",)),
        ("", "", "10.0.0.1", ("10.0.0.1",)),
        ("", "", "::1", ("::1",)),
        ("1.1.1.1", "2.2.2.2", "3.3.3.3:1", ("1.1.1.1", "2.2.2.2", "3.3.3.3")),
        ("1.1.1.1, 2.2.2.2", "1.1.1.1", "3.3.3.3:1", ("1.1.1.1", "2.2.2.2", "3.3.3.3")),
        ("1.1.1.1,3.3.3.3", "", "3.3.3.3:1", ("1.1.1.1", "3.3.3.3")),
        ("3.3.3.3,1.1.1.1", "", "3.3.3.3:1", ("3.3.3.3", "1.1.1.1", "3.3.3.3")),
        ("", "", "@", ()),
    ],
)
def test_source_ips(forwarded_for: str, real_ip: str, peer: str, expected: tuple[str, ...]) -> None:
    """Forwarded addresses in order, then X-Real-Ip if new, then the peer unless it is already last."""
    assert source_ips(Request("GET", "/", forwarded_for=forwarded_for, real_ip=real_ip, peer=peer)) == expected


def test_a_long_user_agent_is_cut() -> None:
    """1024 bytes stay, longer ones end in ...TRUNCATED; a character cut in half becomes U+FFFD for each byte."""
    assert user_agent(Request("GET", "/", user_agent="a" * 1024)) == "a" * 1024
    assert user_agent(Request("GET", "/", user_agent="a" * 1025)) == "a" * 1024 + "...TRUNCATED"
    assert user_agent(Request("GET", "/", user_agent="a" * 1021 + "€")) == "a" * 1021 + "€"
    cut = user_agent(Request("GET", "/", user_agent="a" * 1022 + "€uro"))
    assert cut == "a" * 1022 + "\ufffd\ufffd...TRUNCATED"
    assert user_agent(Request("GET", "/")) is None


def test_headers_of_the_wire() -> None:
    """Of a header given twice the first counts; names are compared without case; bad bytes become U+FFFD one by one."""
    headers = [
        (b"User-Agent", b"a\xe2\x82b"),
        (b"user-agent", b"second"),
        (b"AUDIT-ID", b"id"),
        (b"X-Forwarded-For", b"1.1.1.1"),
        (b"X-Real-Ip", b"2.2.2.2"),
        (b"Accept", b"*/*"),
    ]
    request = Request.from_headers("GET", "/", headers, "3.3.3.3:1")
    assert user_agent(request) == "a\ufffd\ufffdb"
    assert request.audit_id == "id"
    assert source_ips(request) == ("1.1.1.1", "2.2.2.2", "3.3.3.3")


@pytest.mark.parametrize(
    ("forwarded_for", "real_ip", "ips"),
    [
        ("", "", ("3.3.3.3",)),
        ("", "2.2.2.2", ("2.2.2.2", "3.3.3.3")),
        ("1.1.1.1", "", ("1.1.1.1", "3.3.3.3")),
        ("1.1.1.1, 2.2.2.2", "2.2.2.2", ("1.1.1.1", "2.2.2.2", "3.3.3.3")),
        ("1.1.1.1,3.3.3.3", "x", ("1.1.1.1", "3.3.3.3")),
        ("3.3.3.3,1.1.1.1", "", ("3.3.3.3", "1.1.1.1", "3.3.3.3")),
    ],
)
def test_claimed_addresses_come_before_the_peer(forwarded_for: str, real_ip: str, ips: tuple[str, ...]) -> None:
    """Either header alone counts; what it repeats is not said twice in a row."""
    assert source_ips(Request("GET", "/", forwarded_for=forwarded_for, real_ip=real_ip, peer="3.3.3.3:1")) == ips


@pytest.mark.parametrize(
    ("peer", "ips"),
    [("[::1]:443", ("::1",)), ("::1", ("::1",)), ("[::1:443", ()), ("1.2.3.4]:1", ()), ("1.2.3.4", ("1.2.3.4",))],
)
def test_the_peer_is_read_with_and_without_a_port(peer: str, ips: tuple[str, ...]) -> None:
    """Brackets come in pairs."""
    assert source_ips(Request("GET", "/", peer=peer)) == ips


@given(st.text(max_size=40))
def test_nothing_breaks_addresses_or_uris(text: str) -> None:
    """No text of a client makes reading an address or a URI fail, and an address read is read again as itself."""
    ip = parse_ip(text)
    assert ip is None or parse_ip(ip) == ip
    target = text.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
    request_uri(target).encode()
