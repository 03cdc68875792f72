"""A line of JSON becomes the request that it describes, or says why not."""

import pytest

from kubewitness.emit.doors.described import DescriptionError, exchange_of
from kubewitness.event.microtime import parse
from kubewitness.event.types import UserInfo

NOW = parse("2026-11-23T03:05:09.000001Z")


def test_a_line_with_everything() -> None:
    """Every member lands where the Event takes it from."""
    told = exchange_of(
        b'{"method":"PUT","requestURI":"/api/v1/namespaces/shop/pods/web","user":{"username":"alice","uid":"1",'
        b'"groups":["dev"],"extra":{"k":["v"]}},"userAgent":"curl","auditID":"id","sourceIPs":["1.2.3.4","10.0.0.7"],'
        b'"impersonatedUser":"bob","impersonationConstraint":"impersonate:user-info","requestObject":{"a":1},'
        b'"responseObject":{"b":2},"code":409,"received":"2026-11-23T03:00:00Z","started":"2026-11-23T03:00:01Z",'
        b'"completed":"2026-11-23T03:00:02Z","annotations":{"x":"y"},"panic":"boom"}',
        NOW,
        "fresh",
    )
    request = told.request
    assert (request.method, request.target) == ("PUT", "/api/v1/namespaces/shop/pods/web")
    assert (request.user_agent, request.audit_id) == ("curl", "id")
    assert (request.forwarded_for, request.peer) == ("1.2.3.4", "10.0.0.7")
    assert told.user == UserInfo(username="alice", uid="1", groups=("dev",), extra={"k": ("v",)})
    assert told.impersonated_user == UserInfo(username="bob", groups=("system:authenticated",))
    assert told.impersonation_constraint == "impersonate:user-info"
    assert (told.request_object, told.response_object, told.code) == (b'{"a":1}', b'{"b":2}', 409)
    assert told.received_us == parse("2026-11-23T03:00:00Z")
    assert told.started_us == told.received_us + 1_000_000
    assert told.completed_us == told.received_us + 2_000_000
    assert (told.annotations, told.panic) == ({"x": "y"}, "boom")


def test_what_is_left_out_is_dull() -> None:
    """A GET by nobody in particular, answered 200, now."""
    told = exchange_of(b'{"requestURI":"/healthz"}', NOW, "fresh")
    assert (told.request.method, told.code, told.new_id) == ("GET", 200, "fresh")
    assert told.user == UserInfo(username="system:anonymous", groups=("system:unauthenticated",))
    assert (told.received_us, told.started_us, told.completed_us) == (NOW, NOW, NOW)
    assert (told.request_object, told.response_object) == (b"", b"")


def test_null_means_something() -> None:
    """No user: authentication failed. No end: still open. No code: nothing was answered."""
    told = exchange_of(b'{"requestURI":"/","user":null,"completed":null,"code":null,"requestObject":null}', NOW, "")
    assert (told.user, told.completed_us, told.code, told.request_object) == (None, None, None, b"")


def test_a_past_request_ends_in_the_past() -> None:
    """Without a time of its own the end is not now but the last time told."""
    told = exchange_of(b'{"requestURI":"/","received":"2020-01-01T00:00:00Z"}', NOW, "")
    assert told.completed_us == told.received_us == parse("2020-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "Input data was truncated"),
        (b"[]", "Expected `object`, got `array`"),
        (b"{}", "Object missing required field `requestURI`"),
        (b'{"requestURI":"/","usr":"a"}', "Object contains unknown field `usr`"),
        (b'{"requestURI":"/","user":{"groups":[]}}', "Object missing required field `username` - at `\\$.user`"),
        (b'{"requestURI":"/","received":"noon"}', "received: 'noon' is not an RFC 3339 time"),
        (b'{"requestURI":"/","code":99}', "code 99 is no HTTP status"),
        (b'{"requestURI":"/","code":600}', "code 600 is no HTTP status"),
        (b'{"requestURI":"/","requestObject":' + b"[" * 20_000 + b"]" * 20_000 + b"}", "nested too deeply"),
        (b'{"requestURI":"/\xff"}', r"not UTF-8: 0xff \(byte 16\)"),
        (b'{"requestURI":"/\xed\xa0\x80"}', r"not UTF-8: 0xed \(byte 16\)"),
        (b'{"requestURI":"/\\ud800"}', r"half a surrogate pair: \\ud800 \(byte 16\)"),
        (b'{"requestURI":"/\\ud83d\\ude00\\\\ud800\\uDC00x"}', r"half a surrogate pair: \\uDC00 \(byte 35\)"),
        (b'{"requestURI":"/\\\\ud800', "Input data was truncated"),
        (
            b'{"requestURI":"/","received":"2020-01-01T00:00:01Z","completed":"2020-01-01T00:00:00Z"}',
            "received, started and completed are not in this order",
        ),
    ],
)
def test_what_describes_no_request(line: bytes, message: str) -> None:
    """The reason names the member."""
    with pytest.raises(DescriptionError, match=message):
        exchange_of(line, NOW, "")
