"""Who is who: by certificate, by token, never by both for different clusters."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubewitness.keep.receiver.clients import (
    Caller,
    CertificateRule,
    Clients,
    ClusterClients,
    Refusal,
    Shown,
    shown_by,
)


def token_hash(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()


CLIENTS = Clients(
    {
        "a": ClusterClients([CertificateRule(common_name="one"), CertificateRule(dns_name="a.example")]),
        "b": ClusterClients([CertificateRule(uri="spiffe://x/b", common_name="two")], [token_hash(b"old")]),
        "c": ClusterClients([CertificateRule(fingerprint="f" * 64)], [token_hash(b"c1"), token_hash(b"c2")]),
    }
)


@pytest.mark.parametrize(
    ("shown", "authorization", "expected"),
    [
        (Shown(("one",)), None, "a"),
        (Shown(("x",), ("a.example",)), None, "a"),
        (Shown(("two",), (), ("spiffe://x/b",)), None, "b"),
        (Shown(("two",)), None, 403),
        (Shown(("ONE",)), None, 403),
        (Shown(("one ",)), None, 403),
        (Shown((), (), (), "f" * 64), None, "c"),
        (Shown(), None, 403),
        (None, None, 401),
        (None, b"Bearer c1", "c"),
        (None, b"bearer c2", "c"),
        (None, b"Bearer old", "b"),
        (None, b"Bearer c3", 403),
        (None, b"Bearer ", 403),
        (None, b"Basic c1", 403),
        (None, b"Bearer " + token_hash(b"c1").hex().encode(), 403),
        (Shown(("one",)), b"Bearer c1", 403),
        (Shown(("one",)), b"Bearer wrong", "a"),
        (Shown(("x",)), b"Bearer c1", "c"),
    ],
)
def test_who_is_who(shown: Shown | None, authorization: bytes | None, expected: str | int) -> None:
    """T8: every field of a rule must be right; a token is known by its hash; two clusters at once are refused."""
    who = CLIENTS.identify(shown, authorization)
    if isinstance(expected, str):
        assert isinstance(who, Caller)
        assert who.cluster == expected
    else:
        assert isinstance(who, Refusal)
        assert (who.status, who.is_alarm) == (expected, expected == 403)


names = st.sampled_from(["one", "two", "a.example", "spiffe://x/b", "x", ""])


@given(st.lists(names, max_size=3), st.lists(names, max_size=3), st.lists(names, max_size=3), st.binary(max_size=20))
def test_no_header_and_no_certificate_gives_two_clusters(
    common: list[str], dns: list[str], uris: list[str], authorization: bytes
) -> None:
    """T9: whatever is shown, the answer is one cluster that each part of it allows, or a refusal."""
    shown = Shown(tuple(common), tuple(dns), tuple(uris))
    who = CLIENTS.identify(shown, authorization)
    known = CLIENTS.known_by_certificate(shown)
    if isinstance(who, Caller):
        assert known <= {who.cluster}
    else:
        assert who.status in (401, 403)


def test_what_ssl_tells() -> None:
    """Common names, DNS names and URIs of a verified certificate; nothing for one that was not verified."""
    peer = {
        "subject": ((("organizationName", "o"),), (("commonName", "one"),)),
        "subjectAltName": (("DNS", "a.example"), ("URI", "spiffe://x/b"), ("IP Address", "10.0.0.1")),
    }
    shown = shown_by(peer, b"der")
    assert shown == Shown(("one",), ("a.example",), ("spiffe://x/b",), hashlib.sha256(b"der").hexdigest())
    assert shown.name == "one"
    assert shown_by({}, b"der") is None
    assert shown_by(None, None) is None


def test_an_empty_rule_matches_nobody() -> None:
    """A rule without a field is no rule for everybody."""
    assert not CertificateRule().matches(Shown(("",), ("",), ("",), ""))


def test_token_hashes_are_not_shown() -> None:
    """The representation of clients has no hash in it."""
    assert "tokens" not in repr(ClusterClients((), [token_hash(b"x")]))
