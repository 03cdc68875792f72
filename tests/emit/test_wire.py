"""Bytes as kube-apiserver writes them."""

import json
import tarfile
from io import BytesIO
from pathlib import Path

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from kubewitness.emit import wire
from kubewitness.event.types import Event
from tests.emit.samples import event
from tests.emit.stages.recorded import DATA, lines


@pytest.mark.parametrize("log", ["full", "security", "metadata"])
def test_recorded_lines_come_out_as_they_were(log: str) -> None:
    """Decoding and writing each of the 9,383 recorded Events gives its bytes, with and without kind."""
    for raw in lines(log):
        decoded = msgspec.json.decode(raw, type=Event)
        assert wire.line(decoded) == raw + b"\n"
        assert wire.item(decoded) == b"{" + raw[len(wire.HEAD) :]
        bare = msgspec.structs.replace(decoded, kind=None, api_version=None)
        assert wire.line(bare) == raw + b"\n"
        assert wire.item(bare) == wire.item(decoded)


def test_recorded_posts_come_out_as_they_were() -> None:
    """The items of a recorded POST of the webhook backend, put together again, are its body."""
    with tarfile.open(fileobj=BytesIO(_unpacked(DATA / "webhook-full.tar.zst"))) as tar:
        bodies = [file.read() for member in tar if member.name.endswith(".json") and (file := tar.extractfile(member))]
    assert len(bodies) == 126
    for body in bodies:
        raws = msgspec.json.decode(body, type=_List).items
        assert wire.event_list([wire.item(msgspec.json.decode(raw, type=Event)) for raw in raws]) == body


class _List(msgspec.Struct):
    items: list[msgspec.Raw]


def _unpacked(path: Path) -> bytes:
    return zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read()


def test_go_escapes() -> None:
    """`<`, `>`, `&` and the two separators are escaped, other text is not."""
    odd = msgspec.structs.replace(event(), request_uri="<>&\u2028\u2029é\x7f\x01\u20ac")
    assert b'"requestURI":"\\u003c\\u003e\\u0026\\u2028\\u2029\xc3\xa9\x7f\\u0001\xe2\x82\xac"' in wire.line(odd)


def test_maps_are_sorted() -> None:
    """Annotations come in the order of their names, members in the order of the type."""
    odd = msgspec.structs.replace(event(), annotations={"b": "1", "a": "2", "B": "3"})
    assert wire.line(odd).endswith(b'"annotations":{"B":"3","a":"2","b":"1"}}\n')


@pytest.mark.parametrize(
    ("body", "compacted"),
    [
        (b'{ "a" : [ 1.0 , 1e5,\n-0 ] , "a":"x  y\\u003c<" }', b'{"a":[1.0,1e5,-0],"a":"x  y\\u003c\\u003c"}'),
        (b'{"a": "\\ud800 \\" <"}', b'{"a":"\\ud800 \\" \\u003c"}'),
        (b'"\xff\xe2\x80"', '"\ufffd\ufffd\ufffd"'.encode()),
    ],
)
def test_compact_keeps_order_and_spelling(body: bytes, compacted: bytes) -> None:
    """White space between values goes; members, numbers and escapes stay as they were written."""
    assert wire.compact(body) == compacted


@pytest.mark.parametrize("body", [b"", b"{", b"ok", b"{}{}", b"NaN", b'{"a":01}', b'"\n"', b"[" * 100_000])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    """Anything but one JSON value raises."""
    with pytest.raises(wire.BodyError, match="the body is not JSON"):
        wire.compact(body)


_TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("<>&\u2028"), max_size=6)
_LEAVES = st.none() | st.integers() | _TEXT


@given(st.recursive(_LEAVES, lambda i: st.lists(i) | st.dictionaries(_TEXT, i), max_leaves=10))
def test_compact_changes_no_value(value: object) -> None:
    """Whatever the layout, the value stays, and nothing is left to escape or to compact."""
    compacted = wire.compact(json.dumps(value, indent=2, ensure_ascii=False).encode())
    assert json.loads(compacted) == value
    assert not any(character in compacted for character in (b"<", b">", b"&"))
    assert wire.compact(compacted) == compacted
