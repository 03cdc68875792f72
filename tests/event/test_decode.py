"""Exact bytes become Events, or a reason."""

import json

import msgspec
import pytest

from kubewitness.event.decode import EventError, Record, decode, decode_tolerant, normalise, read, read_all
from kubewitness.event.items import Damage, DamageKind, Item
from kubewitness.event.types import Level, Stage
from tests.event.damage import CASES, LINES, event


def split_both(data: bytes) -> tuple[list[Record], list[Damage]]:
    parts = list(read_all([data], "a.log"))
    return [p for p in parts if isinstance(p, Record)], [p for p in parts if isinstance(p, Damage)]


@pytest.mark.parametrize("name", CASES)
def test_a_damaged_log_gives_every_event_that_can_be_had(name):
    """Each case returns the number of Events it must, and every other line is Damage with its place."""
    data, good = CASES[name]
    records, damage = split_both(data)
    assert len(records) == good
    assert len(damage) == max(LINES - good, 0)
    for part in damage:
        assert part.line == (10 if name == "truncated_last" else 6)
        assert data[part.offset - 1 : part.offset] == b"\n"
        assert data[part.offset :].startswith(part.excerpt)
        assert part.excerpt
        assert part.reason


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("bom", "byte order mark skipped"),
        ("code_string", "responseStatus.code: '200' read as the number 200"),
        ("sourceIPs_is_string", "sourceIPs: text read as a list of one"),
        ("lone_surrogate", "half of a surrogate pair replaced by U+FFFD"),
        ("invalid_utf8", "text that is not UTF-8 replaced by U+FFFD"),
    ],
)
def test_what_was_mended_is_said(name, note):
    """A line that needed help comes back with a note; the other nine have none."""
    records, _ = split_both(CASES[name][0])
    assert [r.notes for r in records if r.notes] == [(note,)]


def test_the_view_has_what_the_bytes_say():
    """Levels and stages are enums, lists are tuples, bodies are exact bytes."""
    view = decode(event(1, requestObject={"a": [1, 2]}).encode())
    assert (view.level, view.stage) == (Level.METADATA, Stage.RESPONSE_COMPLETE)
    assert view.source_ips == ("10.0.0.1",)
    assert bytes(view.request_object) == b'{"a":[1,2]}'
    assert not view.response_object


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"objectRef": "secrets"}, "objectRef: text ('secrets') where an object belongs"),
        ({"user": []}, "user: a list where an object belongs"),
        ({"user": {"username": 7}}, "user.username: a number (7) where text belongs"),
        ({"verb": 1}, "verb: a number (1) where text belongs"),
        ({"sourceIPs": 5}, "sourceIPs: a number (5) where a list belongs"),
        ({"sourceIPs": ["10.0.0.1", None]}, "sourceIPs[1]: something where text belongs"),
        ({"responseStatus": {"code": 403.5}}, "responseStatus.code: a number (403.5) where a whole number belongs"),
        ({"responseStatus": {"code": "abc"}}, "responseStatus.code: text ('abc') where a whole number belongs"),
        ({"responseStatus": {"code": True}}, "responseStatus.code: a boolean (True) where a whole number belongs"),
        ({"responseStatus": 200}, "responseStatus: a number (200) where an object belongs"),
        (
            {"stage": "Done"},
            "stage: text ('Done') where one of RequestReceived, ResponseStarted, ResponseComplete, Panic belongs",
        ),
        ({"level": 3}, "level: a number (3) where one of None, Metadata, Request, RequestResponse belongs"),
        ({"annotations": {"a": {}}}, "annotations.a: an object where text belongs"),
    ],
)
def test_a_field_of_the_wrong_type_is_named(members, reason):
    """The reason names the field, shows the value, and says what belongs there."""
    raw = event(1, **members).encode()
    assert decode_tolerant(raw) == reason
    assert normalise(raw) == reason
    with pytest.raises(EventError):
        decode(raw)


@pytest.mark.parametrize(
    ("members", "path", "value"),
    [
        ({"responseStatus": {"code": "404"}}, "response_status.code", 404),
        ({"responseStatus": {"code": 404.0}}, "response_status.code", 404),
        ({"sourceIPs": "::1"}, "source_ips", ("::1",)),
        ({"user": {"groups": "g"}}, "user.groups", ("g",)),
        ({"impersonatedUser": {"extra": {"k": "v"}}}, "impersonated_user.extra", {"k": ("v",)}),
        ({"annotations": {"a": True, "b": "x"}}, "annotations", {"a": "true", "b": "x"}),
    ],
)
def test_a_scalar_that_loses_nothing_is_mended(members, path, value):
    """A number as text, a list of one without its brackets, a boolean annotation: mended, and noted."""
    raw = event(1, **members).encode()
    found = decode_tolerant(raw)
    assert not isinstance(found, str)
    view, notes = found
    for name in path.split("."):
        view = getattr(view, name)
    assert view == value
    assert notes


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        (r"\ud800", "\ufffd"),
        (r"\udc00\ud800", "\ufffd\ufffd"),
        (r"\ud83d\ude00", "😀"),
        (r"\\ud800", r"\ud800"),
        (r"\\\ud800", "\\\ufffd"),
        (r"\uD83D\uDE00\uD83D", "😀\ufffd"),
    ],
)
def test_only_half_pairs_are_replaced(written, read_as):
    """Whole pairs, and a backslash that only looks like an escape, stay."""
    found = decode_tolerant(event(1, userAgent="@").replace("@", written).encode())
    assert not isinstance(found, str)
    assert found[0].user_agent == read_as


def test_normalised_bytes_are_one_strict_line():
    """Repaired bytes decode strictly, hold one line, and keep members we do not know."""
    raw = json.dumps(json.loads(event(1, sourceIPs="::1", mystery={"x": [1]})), indent=2).encode()
    clean = normalise(raw)
    assert isinstance(clean, bytes)
    assert b"\n" not in clean
    assert decode(clean).source_ips == ("::1",)
    assert json.loads(clean)["mystery"] == {"x": [1]}


def test_the_last_of_two_equal_keys_counts():
    """As in kube-apiserver, the second `verb` wins; normalised bytes have one."""
    raw = (event(1)[:-1] + ',"verb":"delete"}').encode()
    found = decode_tolerant(raw)
    assert not isinstance(found, str)
    assert found[0].verb == "delete"
    assert found[1] == ("verb stands twice: the last one counts",)
    clean = normalise(raw)
    assert isinstance(clean, bytes)
    assert clean.count(b'"verb"') == 1


def test_a_body_of_any_depth_is_kept_as_bytes():
    """A body too deep for a recursive parser comes back byte for byte."""
    body = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    found = decode_tolerant((event(1)[:-1] + ',"responseObject":').encode() + body + b"}")
    assert not isinstance(found, str)
    assert bytes(found[0].response_object) == body


def test_numbers_no_computer_holds_stay_in_bodies():
    """1e999 and 30 digits in a body are kept as written."""
    view = decode(CASES["bigint"][0].split(b"\n")[5])
    assert bytes(view.request_object) == b'{"v":123456789012345678901234567890,"f":1e999}'


def test_a_core_event_is_alien():
    """A core/v1 Event says kind Event too, and is not an audit Event."""
    core = {"kind": "Event", "apiVersion": "v1", "metadata": {"name": "n"}, "reason": "Started", "type": "Normal"}
    records, damage = split_both(json.dumps(core).encode() + b"\n" + event(1).encode())
    assert len(records) == 1
    assert damage[0].kind is DamageKind.ALIEN
    assert damage[0].reason == "a core/v1 Event, not an audit Event: it has no stage"


@pytest.mark.parametrize(
    ("kind", "api_version", "is_event"),
    [
        ("Event", "audit.k8s.io/v1", True),
        (None, None, True),
        ("Event", "audit.k8s.io/v2", True),
        ("Event", "v1", False),
        ("Event", "events.k8s.io/v1", False),
        ("Pod", "audit.k8s.io/v1", False),
        ("Pod", None, False),
    ],
)
def test_the_rule_of_recognition(kind, api_version, is_event):
    """A known stage, and kind and apiVersion absent or those of audit.k8s.io."""
    data = json.loads(event(1)) | {"kind": kind, "apiVersion": api_version}
    raw = json.dumps({k: v for k, v in data.items() if v is not None}).encode()
    records, damage = split_both(raw)
    assert (len(records), len(damage)) == ((1, 0) if is_event else (0, 1))
    assert isinstance(decode_tolerant(raw), tuple) == is_event


def test_other_line_ends_of_unicode_end_no_line():
    """U+0085 and U+2028 inside strings are text."""
    raw = event(1, userAgent="a\u0085b\u2028c").encode("ascii")
    raw = msgspec.json.encode(msgspec.json.decode(raw))
    assert b"\xc2\x85" in raw
    records, damage = split_both(raw + b"\n" + raw)
    assert not damage
    assert [r.event.user_agent for r in records] == ["a\u0085b\u2028c"] * 2


def test_an_old_event_is_read_as_v1():
    """v1alpha1 has whole seconds under other names, and the group inside objectRef.apiVersion."""
    raw = event(
        1,
        apiVersion="audit.k8s.io/v1alpha1",
        requestReceivedTimestamp=None,
        timestamp="2017-07-01T10:00:00Z",
        metadata={"creationTimestamp": "2017-07-01T10:00:01Z"},
        objectRef={"resource": "deployments", "apiVersion": "apps/v1beta1"},
    ).encode()
    (record,), damage = split_both(raw)
    assert not damage
    assert record.item.dialect == "v1alpha1"
    assert record.item.raw == raw
    assert record.notes == ("read as v1alpha1",)
    view = record.event
    assert (view.request_received_timestamp, view.stage_timestamp) == ("2017-07-01T10:00:00Z", "2017-07-01T10:00:01Z")
    assert view.object_ref is not None
    assert (view.object_ref.api_group, view.object_ref.api_version) == ("apps", "v1beta1")


def test_damage_of_an_item_stands_where_the_item_stood():
    """An Item that is not an Event becomes Damage with the Item's place."""
    found = read(Item(b'{"stage":"Nope"}', "f", 70, 3, 16))
    assert isinstance(found, Damage)
    assert (found.source, found.offset, found.line, found.length) == ("f", 70, 3, 16)
