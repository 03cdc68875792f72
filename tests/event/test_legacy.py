"""Lines of text that hold an Event."""

import json

import pytest

from kubewitness.event.decode import Record, read_all
from kubewitness.event.items import Damage
from kubewitness.event.legacy import unquote

LINE = (
    '2026-11-23T03:11:27.501519768Z AUDIT: id="5f6e" stage="ResponseComplete" ip="127.0.0.1" method="create" '
    'user="admin" groups="\\"system:masters\\",\\"system:authenticated\\"" as="<self>" asgroups="<lookup>" '
    'user-agent="exp/1.0 \\"x\\"" namespace="default" uri="/api/v1/namespaces/default/pods" response="201"'
)


def test_a_legacy_line_is_translated():
    """What the line holds is in the Event; what it cannot hold is absent."""
    (record,) = read_all([LINE.encode() + b"\n"], "f")
    assert isinstance(record, Record)
    assert record.item.dialect == "legacy"
    assert record.item.length == len(LINE)
    event = json.loads(record.item.raw)
    assert event == {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "auditID": "5f6e",
        "stage": "ResponseComplete",
        "requestURI": "/api/v1/namespaces/default/pods",
        "verb": "create",
        "user": {"username": "admin", "groups": ["system:masters", "system:authenticated"]},
        "sourceIPs": ["127.0.0.1"],
        "userAgent": 'exp/1.0 "x"',
        "objectRef": {"namespace": "default"},
        "responseStatus": {"code": 201},
        "requestReceivedTimestamp": "2026-11-23T03:11:27.501519768Z",
    }


def test_placeholders_of_the_legacy_format_are_absence():
    """<none>, <unknown>, <deferred> say that there is no value; impersonation is kept."""
    line = (
        '2026-11-23T03:11:27Z AUDIT: id="a" stage="RequestReceived" ip="<unknown>" method="get" user="<none>" '
        'groups="<none>" as="boss" asgroups="\\"g\\"" user-agent="" namespace="<none>" uri="/healthz" '
        'response="<deferred>"'
    )
    (record,) = read_all([line.encode()], "f")
    assert isinstance(record, Record)
    view = record.event
    assert view.source_ips is None
    assert view.object_ref is None
    assert view.response_status is None
    assert view.user is not None
    assert view.user.username is None
    assert view.impersonated_user is not None
    assert (view.impersonated_user.username, view.impersonated_user.groups) == ("boss", ("g",))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("2026-11-23T03:11:27Z hello", "a line of text, not JSON"),
        ('2026-11-23T03:11:27Z stdout P {"kind":', "a part of a line, as a container runtime cuts long ones"),
        ('2026-11-23T03:11:27Z {"kind":"Pod"}', "a line of text that holds a Pod, not an audit Event: it has no stage"),
        ("12345", "a line of text, not JSON"),
        ("I1123 03:05:03.0 1 main.go:1] hello", "not JSON: it begins with 'I'"),
    ],
)
def test_other_text_is_damage(line, reason):
    """A line of another log is counted and named."""
    (damage,) = read_all([line.encode()], "f")
    assert isinstance(damage, Damage)
    assert damage.reason == reason
    assert damage.length == len(line)


@pytest.mark.parametrize(
    ("quoted", "text"),
    [
        (r"a\"b\\c", 'a"b\\c'),
        (r"\n\t\r\a\b\f\v", "\n\t\r\a\b\f\v"),
        (r"\x00\x7f\u00e9\U0001f600", "\0\x7fé😀"),
        (r"\xff", "\ufffd"),
        (r"\ud800", "\ufffd"),
        ("\\\\n", "\\n"),
        (r"\q", r"\q"),
    ],
)
def test_go_quoting_is_undone(quoted, text):
    """What %q of Go wrote is read back; bytes that were not UTF-8 become U+FFFD."""
    assert unquote(quoted) == text
