"""Bytes in any shape, cut anywhere, become Items and Damage, and nothing is lost."""

import itertools
import json
import tarfile
from io import BytesIO
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from kubewitness.event.decode import Record, read_all
from kubewitness.event.items import Damage, DamageKind, Item
from kubewitness.event.split import Splitter, split
from tests.event.damage import CASES, event, lines
from tests.event.slow_split import slow_split

DATA = Path(__file__).parent.parent / "data"


def unpack(name: str) -> bytes:
    with (DATA / name).open("rb") as file:
        return zstandard.ZstdDecompressor().stream_reader(file).read()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Cut the bytes at these places, taken modulo the length."""
    edges = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


# what a log may be made of: whole, torn and odd pieces
PIECES = [
    event(1).encode(),
    event(2)[:90].encode(),
    event(3)[:150].encode(),
    json.dumps(json.loads(event(4)), indent=2).encode(),
    json.dumps(json.loads(event(5)), indent=2)[:120].encode(),
    f'{{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{{}},"items":[{event(6)},{event(7)}]}}'.encode(),
    json.dumps({"kind": "EventList", "items": [json.loads(event(8)), json.loads(event(9))]}, indent=1).encode(),
    f"[{event(10)},\n{event(11)}\n]".encode(),
    f'{{"kind":"EventList","items":[{event(12)},{event(13)[:60]}'.encode(),
    json.dumps({"events": [{"message": event(14), "timestamp": 1}], "searchedLogStreams": []}).encode(),
    f'{{"items":[{event(15)}],"note":"]}}{{\\\\\\" [","more":{{"a":["}}"]}}}}'.encode(),
    f'{{"items":[{event(18)}], "kind":"Event" , "records":[{event(19)}]}}'.encode(),
    f'{{"items":[{event(20)}],"more":"{"y" * 5000}","a":1}}'.encode(),
    f'[{{"kind":"EventList","items":[{event(16)}]}}, {{"kind":"EventList","items":[{event(17)}]}}]'.encode(),
    b'[{"a":1} {"b":2}]',
    b"E0301 panic: text",
    b'2026-11-23T03:11:27Z AUDIT: id="a" stage="ResponseComplete" user="u"',
    b'{"kind":"Event","apiVersion":"v1"}',
    b"{}",
    b"[]",
    b'{"a":[{"b":"\\"}]{"}],"c":"\\\\"}',
    b"\xef\xbb\xbf",
    b"\0\0\0",
    b",",
    b"]}",
]
logs = st.lists(st.one_of(st.sampled_from(PIECES), st.sampled_from([b"\n", b"\r\n", b" ", b"\n\n", b""]))).map(b"".join)
cuts = st.lists(st.integers(0, 1 << 30), max_size=8)


@given(logs, cuts)
def test_where_the_bytes_are_cut_does_not_matter(data, places):
    """Any chunking of the same bytes gives the same Items and the same Damage."""
    assert list(split(cut(data, places), "f")) == list(split([data], "f"))


@pytest.mark.parametrize("first", PIECES)
@pytest.mark.parametrize("second", [PIECES[0], PIECES[2], b'{"a":\n{"b":1}'])
def test_one_byte_at_a_time_is_the_same(first, second):
    """The hardest chunking: every byte alone."""
    data = first + b"\n" + second
    assert list(split([data[i : i + 1] for i in range(len(data))], "f")) == list(split([data], "f"))


@given(st.lists(st.sampled_from([b"{", b"}", b'"', b"\\", b"\n", b"\r\n", b",", b" ", b"a", b"1", b'{"a":', b"{}"])))
def test_the_fast_splitter_agrees_with_the_slow_twin(pieces):
    """Objects outside lists: the same spans as a byte-by-byte reading of the rules."""
    data = b"".join(pieces)
    spans = []
    for part in split([data], "f"):
        # `{}` is whole, and an alien: the twin does not look inside
        is_alien_object = isinstance(part, Damage) and part.kind is DamageKind.ALIEN and part.excerpt[:1] == b"{"
        is_whole = isinstance(part, Item) or is_alien_object
        spans.append(("item" if is_whole else "damage", part.offset, part.offset + part.length))
    assert spans == slow_split(data)


@given(logs, cuts)
def test_nothing_is_lost(data, places):
    """Spans come in order, do not overlap, count their lines right, and hold every byte that could be an Event's."""
    rest, at = [], 0
    for part in split(cut(data, places), "f"):
        assert part.offset >= at
        assert part.line == data.count(b"\n", 0, part.offset) + 1
        rest.append(data[at : part.offset])
        at = part.offset + part.length
        if isinstance(part, Item) and not part.notes:
            assert part.raw == data[part.offset : at]
        if isinstance(part, Damage):
            assert data[part.offset : at].startswith(part.excerpt)
            assert part.excerpt or not part.length
    rest.append(data[at:])
    between = b"".join(rest)
    assert b"auditID" not in between
    assert b"panic" not in between
    assert b"\0" not in between
    if b"[" not in data:
        assert not between.replace(b"\xef\xbb\xbf", b"").strip()


@given(st.binary())
def test_no_bytes_raise(data):
    """Whatever the bytes, there is an answer, and every byte that is not white space is in it."""
    at, between = 0, b""
    for part in read_all([data], "f"):
        span = part.item if isinstance(part, Record) else part
        between += data[at : span.offset]
        at = span.offset + span.length
    between += data[at:]
    if b"[" not in data and b"\xef\xbb\xbf" not in data:
        assert not between.strip(b" \t\r\n")


@given(st.sampled_from(sorted(CASES.keys() - {"huge_20MB_line", "deep_2000"})), st.data())
def test_no_mutation_raises(name, data):
    """A log with bytes overwritten still gives an answer for every line."""
    log = bytearray(CASES[name][0])
    for _ in range(data.draw(st.integers(1, 4))):
        log[data.draw(st.integers(0, len(log) - 1))] = data.draw(st.integers(0, 255))
    assert list(read_all([bytes(log)], "f"))


@pytest.mark.parametrize("log", ["audit-full.log.zst", "audit-security.log.zst", "audit-metadata.log.zst"])
def test_a_recorded_log_is_its_lines(log):
    """Every line of a real log is one Item with its place, reads strictly, and nothing was mended."""
    data = unpack(log)
    expected = data.split(b"\n")[:-1]
    records = list(read_all(cut(data, list(range(0, len(data), 65_537))), "f"))
    assert [r.item.raw for r in records if isinstance(r, Record)] == expected
    assert [r.item.line for r in records if isinstance(r, Record)] == list(range(1, len(expected) + 1))
    assert not any(r.notes for r in records)


def test_a_webhook_body_gives_its_items_exactly():
    """Items of an EventList are slices of the body, at their places."""
    with tarfile.open(fileobj=BytesIO(unpack("webhook-full.tar.zst"))) as tar:
        bodies = [tar.extractfile(m) for m in tar.getmembers() if m.name.endswith(".json")]
        for body in (file.read() for file in bodies if file is not None):
            parts = list(split([body], "f"))
            assert all(isinstance(p, Item) and p.raw == body[p.offset : p.offset + p.length] for p in parts)
            assert [json.loads(p.raw) for p in parts if isinstance(p, Item)] == json.loads(body)["items"]


@pytest.mark.parametrize("indent", [None, 1, 2, 4, "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_pretty_printing_changes_nothing(indent, end):
    """Objects one after another, however indented, come back as they stand."""
    pretty = [json.dumps(json.loads(line), indent=indent).replace("\n", end) for line in lines()]
    data = end.join(pretty).encode()
    assert [p.raw for p in split([data], "f") if isinstance(p, Item)] == [p.encode() for p in pretty]


def test_a_torn_line_costs_only_itself():
    """A line cut anywhere is one Damage of exactly that line; its neighbours stay whole."""
    whole = event(1).encode()
    torn = event(2).encode()
    for length in range(1, len(torn)):
        data = whole + b"\n" + torn[:length] + b"\n" + whole
        parts = list(read_all([data], "f"))
        assert [type(p) for p in parts] == [Record, Damage, Record], torn[:length]
        damage = parts[1]
        assert isinstance(damage, Damage)
        assert (damage.offset, damage.length, damage.line) == (len(whole) + 1, length, 2)
        assert damage.kind is DamageKind.TORN


def test_a_torn_pretty_event_costs_only_itself():
    """In pretty-printed input the next object in the first column ends a torn one."""
    whole = json.dumps(json.loads(event(1)), indent=2).encode()
    for length in range(2, len(whole) - 1, 7):
        data = whole + b"\n" + whole[:length] + b"\n" + whole
        parts = [p for p in read_all([data], "f") if isinstance(p, Record)]
        assert [p.item.offset for p in parts] == [0, len(whole) + length + 2]


def test_a_torn_list_gives_what_it_holds():
    """The items before the tear come back; the tear is Damage; lines after it are read."""
    data = f'{{"kind":"EventList","items":[{event(1)},{event(2)},{event(3)[:50]}\n{event(4)}\n'.encode()
    parts = list(read_all([data], "f"))
    assert [p.event.audit_id if isinstance(p, Record) else p.kind for p in parts] == [
        "id-1",
        "id-2",
        DamageKind.TORN,
        "id-4",
    ]


def test_a_list_cut_between_items_is_torn():
    """A list that ends without its bracket says so, with no byte of its own."""
    parts = list(split([f"[{event(1)},".encode()], "f"))
    assert [type(p) for p in parts] == [Item, Damage]
    assert parts[1].length == 0
    assert parts[1].reason == "a list breaks off: the input ends inside"


def test_a_list_of_lists_is_taken_apart():
    """`jq -s .` over webhook bodies: every item comes back, and what follows each list is skipped."""
    bodies = [{"kind": "EventList", "items": [json.loads(event(i))], "note": "]}"} for i in range(3)]
    parts = list(read_all([json.dumps(bodies).encode()], "f"))
    assert [p.event.audit_id for p in parts if isinstance(p, Record)] == ["id-0", "id-1", "id-2"]
    assert len(parts) == 3


def test_two_lists_of_one_name_are_both_read():
    """A key given twice hides no Event."""
    data = f'{{"items":[{event(1)}],"items":[{event(2, userAgent="of another length")}]}}\n'.encode()
    parts = list(read_all([data], "f"))
    assert [p.event.audit_id for p in parts if isinstance(p, Record)] == ["id-1", "id-2"]


@pytest.mark.parametrize("size", [1 << 10, 1 << 14, 1 << 20])
def test_what_follows_a_list_is_not_passed_over_in_silence(size):
    """A few members behind a list belong to its envelope; a long tail, where a list might hide, is counted."""
    data = f'{{"items":[{event(1)}],"more":"{"x" * size}","items":[{event(2)}]}}\n{event(3)}\n'.encode()
    for pieces in ([data], [data[i : i + 1000] for i in range(0, len(data), 1000)]):
        parts = list(read_all(pieces, "f"))
        found = [p.event.audit_id for p in parts if isinstance(p, Record)]
        if size < 4096:
            assert found == ["id-1", "id-2", "id-3"]
        else:
            assert found == ["id-1", "id-3"]
            (damage,) = (p for p in parts if isinstance(p, Damage))
            assert b"id-2" in data[damage.offset : damage.offset + damage.length]
            assert damage.kind is DamageKind.ALIEN


def test_two_events_on_a_line_are_two():
    """A lost line end between two Events costs nothing."""
    data = f"{event(1)}{event(2)}\n{event(3)} {event(4)}\n".encode()
    found = [(p.event.audit_id, p.item.line) for p in read_all([data], "f") if isinstance(p, Record)]
    assert found == [("id-1", 1), ("id-2", 1), ("id-3", 2), ("id-4", 2)]


def test_lists_are_taken_apart_as_they_arrive():
    """Of a list on one line, an item is given out before the list is complete, and not kept."""
    splitter = Splitter("f")
    item = event(1, requestObject={"data": "x" * 10_000}).encode()
    splitter.feed(b'{"kind":"EventList","items":[')
    given_out = 0
    for _ in range(200):
        given_out += len(splitter.feed(item + b","))
        assert splitter.pending_bytes < 4 * len(item)
    assert given_out >= 199


def test_garbage_without_line_ends_is_not_kept():
    """A line that is no JSON is counted, not collected."""
    splitter = Splitter("f")
    for _ in range(100):
        assert splitter.feed(b"x" * 10_000) == []
        assert splitter.pending_bytes < 20_000
    (damage,) = splitter.close()
    assert isinstance(damage, Damage)
    assert damage.length == 1_000_000
    assert len(damage.excerpt) == 160


@pytest.mark.parametrize("size", [40_000_000, pytest.param(300_000_000, marks=pytest.mark.soak)])
@pytest.mark.parametrize("indent", [None, 1])
def test_a_huge_event_is_an_event(size, indent):
    """There is no line limit: 40 MB, on a line or pretty-printed, arrive in pieces of 1 MB."""
    head, tail = json.dumps(json.loads(event(1, requestObject={"data": "@", "more": [1]})), indent=indent).split("@")
    data = b"".join([event(0).encode(), b"\n", head.encode(), b"x" * size, tail.encode(), b"\n", event(2).encode()])
    chunks = (data[i : i + (1 << 20)] for i in range(0, len(data), 1 << 20))
    records = [p for p in read_all(chunks, "f") if isinstance(p, Record)]
    assert [r.event.audit_id for r in records] == ["id-0", "id-1", "id-2"]
    assert len(bytes(records[1].event.request_object)) > size


def test_reading_may_begin_anywhere():
    """Offset and line of the first byte are the caller's to say."""
    (item,) = split([b"\n" + event(1).encode()], "f", offset=1000, line=7)
    assert (item.offset, item.line) == (1001, 8)


def test_what_a_writer_appends_comes_at_once():
    """A followed log gives each Event when its line ends, not later."""
    splitter = Splitter("f")
    assert len(splitter.feed(event(1).encode() + b"\n" + event(2).encode()[:50])) == 1
    assert splitter.feed(event(2).encode()[50:]) == []
    assert len(splitter.feed(b"\n")) == 1
    assert splitter.close() == []
