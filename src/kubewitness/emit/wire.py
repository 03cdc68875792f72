"""
Write Events as kube-apiserver writes them, byte for byte: a line of the log file, or an item of a webhook's EventList.

Takes Events and raw JSON bodies, gives bytes. The order of members is that of the struct, maps are sorted, `<`, `>`,
`&`, U+2028 and U+2029 are escaped, other text stays UTF-8, bodies keep their order and the spelling of their numbers.

Follows Go's encoding/json under k8s.io/apimachinery's JSON serializer. Differs for text that is not UTF-8: it must be
mended before it gets into an Event (`go_text`), as kube-apiserver's own encoder does while writing.
"""

import json
import re
from collections.abc import Sequence

import msgspec

from kubewitness.event.types import Event

HEAD = b'{"kind":"Event","apiVersion":"audit.k8s.io/v1",'
"""What the log has and the item of an EventList has not."""

# maps come sorted out of a Go encoder; members of structs keep their order
_encoder = msgspec.json.Encoder(order="deterministic")
_SEPARATORS = (("\u2028".encode(), b"\\u2028"), ("\u2029".encode(), b"\\u2029"))
# a string of JSON, or white space between values
_STRING_OR_SPACE = re.compile(rb'("(?:[^"\\]|\\.)*+")|[ \t\r\n]++')


class BodyError(ValueError):
    """This body is not JSON."""


def item(event: Event) -> bytes:
    """Give the Event as it stands in an EventList: without kind and apiVersion."""
    encoded = escaped(_encoder.encode(event))
    return b"{" + encoded[len(HEAD) :] if encoded.startswith(HEAD) else encoded


def line(event: Event) -> bytes:
    """Give the Event as a line of the log, with its newline."""
    encoded = escaped(_encoder.encode(event))
    return encoded + b"\n" if encoded.startswith(HEAD) else b"%b%b\n" % (HEAD, encoded[1:])


def event_list(items: Sequence[bytes]) -> bytes:
    """Give the body of one POST of the webhook backend."""
    return b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[%b]}\n' % b",".join(items)


def compact(raw: bytes) -> bytes:
    """Take the white space out of a body and escape what Go escapes. Raises BodyError."""
    if not raw.isascii():
        raw = go_text(raw).encode()
    try:
        return escaped(msgspec.json.format(raw, indent=-1))
    except (msgspec.DecodeError, RecursionError) as exc:
        return escaped(_compact_slowly(raw, exc))


def _compact_slowly(raw: bytes, reason: Exception) -> bytes:
    """Compact what Go takes and msgspec does not: halves of surrogate pairs, written as escapes."""
    try:
        json.loads(raw, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise BodyError(f"the body is not JSON: {reason}") from reason
    return _STRING_OR_SPACE.sub(lambda match: match[1] or b"", raw)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def escaped(encoded: bytes) -> bytes:
    """Escape in JSON what Go escapes so that it may stand in HTML and JavaScript."""
    if b"&" in encoded:
        encoded = encoded.replace(b"&", b"\\u0026")
    if b"<" in encoded:
        encoded = encoded.replace(b"<", b"\\u003c")
    if b">" in encoded:
        encoded = encoded.replace(b">", b"\\u003e")
    # the first byte alone is found much faster than all three
    if b"\xe2" in encoded:
        for plain, escape in _SEPARATORS:
            encoded = encoded.replace(plain, escape)
    return encoded


def go_text(text: str | bytes) -> str:
    """Give text in which each byte that is not UTF-8 is U+FFFD; take bytes, or text read with surrogateescape."""
    if isinstance(text, str) and text.isascii():
        return text
    decoded = text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else text
    return "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in decoded)
