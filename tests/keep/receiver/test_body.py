"""Bodies taken apart: exact bytes of Events, all else with a reason, whatever comes."""

import json
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kubewitness.keep.receiver.body import MAX_ODD, PLAIN_BYTES, Odd, stage_time, take_apart
from tests.assembly.serving import event, event_list, recorded, recorded_items


def test_recorded_bodies() -> None:
    """The items of 126 recorded bodies, byte for byte; nothing odd."""
    found = [take_apart(body) for body in recorded()]
    assert [raw for body in found for raw in body.events] == list(recorded_items())
    assert not any(body.odd or body.unknown_stages for body in found)


def test_both_ways_find_the_same() -> None:
    """A body that is too large for the first way, and what makes it so, gives the same Events by the second."""
    items = [event(n, f"id-{n}", requestObject={"data": "x" * 100_000}) for n in range(60)]
    body = event_list(*items)
    assert len(body) > PLAIN_BYTES
    assert take_apart(body).events == items
    assert take_apart(event_list(*items[:3])).events == items[:3]


def test_numbers_stand_for_audit_id_and_stage() -> None:
    """The same auditID and stage give the same number, another stage or another ID another one."""
    one, two, three = event(1, "x"), event(2, "x"), event(3, "x", stage="Panic")
    ids = take_apart(event_list(one, two, three, event(4, "y"))).ids
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


@pytest.mark.parametrize("bad", [b"1", b"null", b"[]", b'{"a":1}', b'{"auditID":5,"stage":"Panic"}', b'"text"'])
def test_an_odd_item_is_given_back_with_its_place(bad: bytes) -> None:
    """What is no Event among Events: its bytes, where they stand, and why; the Events are found all the same."""
    body = event_list(event(1), bad, event(2))
    found = take_apart(body)
    assert found.events == [event(1), event(2)]
    (odd,) = found.odd
    assert odd.raw == bad
    assert body[odd.at : odd.at + len(bad)] == bad
    assert odd.why


def test_many_odd_items_are_kept_as_one_body() -> None:
    """With more than a hundred odd items the body is kept whole, once; the Events between them are found."""
    items = [b'{"no":%d}' % n for n in range(MAX_ODD + 50)]
    body = event_list(event(1), *items, event(2))
    found = take_apart(body)
    assert found.events == [event(1), event(2)]
    assert [odd.raw for odd in found.odd] == [body]


def test_a_large_body_of_nothing_is_given_up_soon() -> None:
    """64 MiB of items that are none cost little time and give one piece."""
    body = b'{"kind":"EventList","items":[' + b"1," * (32 << 20) + b"1]}"
    begun = time.process_time()
    found = take_apart(body)
    assert time.process_time() - begun < 5
    assert len(found.odd) == 1
    assert len(found.odd[0].raw) > 64 << 20


@example(parts=[b"\v"], is_list=False)
@example(parts=[event(1), b" \f"], is_list=False)
@given(st.lists(st.binary(max_size=30) | st.sampled_from([event(1), event(2, "é"), b"{}", b"[", b'"'])), st.booleans())
def test_nothing_is_lost_and_nothing_raises(parts: list[bytes], is_list: bool) -> None:
    """T18: whatever the bytes, each is in an Event, in what is given back, or between them as punctuation."""
    body = event_list(*parts) if is_list else b"\n".join(parts)
    found = take_apart(body)
    assert len(found.ids) == len(found.events)
    assert all(raw in body or raw.lstrip(b"\xef\xbb\xbf") in body for raw in found.events)
    kept = sum(len(odd.raw) for odd in found.odd) + sum(map(len, found.events))
    if not found.odd:
        left = body
        for raw in found.events:
            left = left.replace(raw, b"", 1)
        assert not set(left) - set(b' \t\r\n,[]{}"kindEvtLsapVroumy:.8/1eitdMo\xef\xbb\xbf')
    assert kept <= len(body) * (len(found.odd) + 1)


def test_time_grows_as_the_bytes_do() -> None:
    """T17: names, texts and nesting of a megabyte take some milliseconds, not a power of their length."""
    for made in (
        event(1, "a" * (1 << 20)),
        event(1, requestURI="/" + "a/" * (1 << 19)),
        event(1, user={"username": "a" * (1 << 20)}),
        event(1, message="\\" * (1 << 19)),
    ):
        begun = time.process_time()
        assert take_apart(event_list(made)).events == [made]
        assert take_apart(event_list(made)[:-20]).events in ([], [made])
        assert time.process_time() - begun < 1


def test_stage_times() -> None:
    """The stageTimestamp as it stands there; none where there is none, or no JSON."""
    assert stage_time(event(1)) == "2026-11-23T03:05:00.000000Z"
    assert stage_time(b'{"a":1}') is None
    assert stage_time(b"{") is None


def test_a_body_without_anything() -> None:
    """An empty body, white space and an empty list hold nothing, which is fine."""
    for body in (b"", b" \n", event_list()):
        found = take_apart(body)
        assert (found.events, found.odd) == ([], [])


def test_other_shapes_are_understood() -> None:
    """A bare Event, lines of Events, and an indented list, as other senders write them."""
    full = b'{"kind":"Event","apiVersion":"audit.k8s.io/v1",' + event(1)[1:]
    assert take_apart(full).events == [full]
    assert take_apart(full + b"\n" + full + b"\n").events == [full, full]
    pretty = json.dumps(json.loads(event_list(event(1), event(2))), indent=2).encode()
    assert [json.loads(raw) for raw in take_apart(pretty).events] == [json.loads(event(1)), json.loads(event(2))]


def test_odd_values_compare() -> None:
    """Pieces are values."""
    assert Odd(1, "x", b"y") == Odd(1, "x", b"y")
