"""
Mend what can be mended without a guess, and say what was mended; else say which field is wrong.

Mended: text that is not UTF-8 and lone surrogates (U+FFFD takes their place), a key given twice (the last one
counts, as in kube-apiserver), `"200"` for 200, `"10.0.0.1"` for `["10.0.0.1"]`, numbers and booleans among
annotations, and the fields that v1alpha1 and v1beta1 name differently. Not mended: a struct that is not an
object, a name that is not text, a code such as 403.5, an unknown stage or level.

The result is one line of JSON. Bodies and unknown members stay bytes, at any depth and with any number in them.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from kubewitness.event import microtime
from kubewitness.event.recognise import API_GROUP
from kubewitness.event.split_values import WHITE_SPACE, OddError, members, skip_space
from kubewitness.event.types import Level, Stage

BREAKS_OFF = "it breaks off: the line ends inside"
_TIME_LENGTH = len("2026-11-23T03:11:14.360000Z")
BODIES = {b"requestObject": "request_object", b"responseObject": "response_object"}


class Repaired(NamedTuple):
    """One line of clean JSON, its members, and what was mended."""

    raw: bytes
    members: dict[bytes, bytes]
    notes: tuple[str, ...]


class _WrongError(ValueError):
    """A field that cannot be mended."""


type_names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", int: "a number", float: "a number"}

# one backslash that is not itself escaped, then an unpaired half of a UTF-16 pair
_LONE_SURROGATE = re.compile(
    rb"(?<!\\)((?:\\\\)*+)(?:"
    rb"(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)


def repair(raw: bytes) -> Repaired | str:
    """Mend one Event, or say why it is none."""
    notes: list[str] = []
    data = _clean_text(raw, notes)
    try:
        found = _members(data, notes)
        for key, mend in _MENDERS.items():
            if key in found:
                found[key] = _mended(key.decode(), found[key], mend, notes)
        _rename_old_fields(found, notes)
    except _WrongError as exc:
        return str(exc)
    if b"stage" not in found:
        return "stage: missing, and every audit Event has one"
    clean = b"{" + b",".join(b'"' + key + b'":' + value for key, value in found.items()) + b"}"
    return Repaired(clean, found, tuple(dict.fromkeys(notes)))


def _clean_text(raw: bytes, notes: list[str]) -> bytes:
    data = raw.strip(WHITE_SPACE)
    if not data.isascii():
        decoded = data.decode(errors="replace").encode()
        if decoded != data:
            notes.append("text that is not UTF-8 replaced by U+FFFD")
            data = decoded
    if b"\\u" in data:
        mended = _LONE_SURROGATE.sub(lambda m: m[0] if m[2] else m[1] + b"\\ufffd", data)
        if mended != data:
            notes.append("half of a surrogate pair replaced by U+FFFD")
            data = mended
    return data


def _members(data: bytes, notes: list[str]) -> dict[bytes, bytes]:
    if data[:1] != b"{":
        raise _WrongError("not a JSON object")
    found: dict[bytes, bytes] = {}
    end = 1
    try:
        for member in members(data, 0, len(data)):
            if member.end is None:
                raise _WrongError(BREAKS_OFF)
            key = _plain_key(member.key)
            if key in found:
                notes.append(f"{_shown(key)} stands twice: the last one counts")
                del found[key]
            # a line end stands between tokens only: `members` lets none pass inside a string
            found[key] = data[member.start : member.end].replace(b"\r", b" ").replace(b"\n", b" ")
            end = member.end
    except OddError as exc:
        raise _broken(exc.position, data) from exc
    close = skip_space(data, end)
    if data[close : close + 1] != b"}" or skip_space(data, close + 1) != len(data):
        raise _broken(close, data)
    return found


def _broken(position: int, data: bytes) -> _WrongError:
    return _WrongError(BREAKS_OFF if position >= len(data) else f"not JSON: it breaks at byte {position}")


def _plain_key(key: bytes) -> bytes:
    """Give a known key without its escapes; any other as it stands."""
    if b"\\" not in key:
        return key
    try:
        plain = msgspec.json.decode(b'"' + key + b'"', type=str).encode()
    except msgspec.DecodeError:
        return key
    return plain if plain in _MENDERS or plain in BODIES else key


def _shown(key: bytes) -> str:
    return key.decode(errors="replace")[:60]


_Mender = Callable[[str, object, list[str]], object]


def _mended(path: str, value: bytes, mend: _Mender, notes: list[str]) -> bytes:
    try:
        decoded = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise _WrongError(f"{path}: not JSON: {exc}") from exc
    except RecursionError as exc:
        raise _WrongError(f"{path}: nested too deep") from exc
    if decoded is None:
        return value
    result = mend(path, decoded, notes)
    return value if result is decoded else msgspec.json.encode(result)


def _wrong(path: str, value: object, wanted: str) -> _WrongError:
    shown = f" ({value!r:.40})" if isinstance(value, str | int | float) else ""
    return _WrongError(f"{path}: {type_names.get(type(value), 'something')}{shown} where {wanted} belongs")


def _text(path: str, value: object, _notes: list[str]) -> object:
    if not isinstance(value, str):
        raise _wrong(path, value, "text")
    return value


def _time(path: str, value: object, notes: list[str]) -> object:
    """Write a time in UTC, as kube-apiserver does: an engine may read its digits and pass over its offset."""
    text = str(_text(path, value, notes))
    instant = None if len(text) == _TIME_LENGTH and text.endswith("Z") else microtime.parse_or_none(text)
    return value if instant is None else microtime.format_us(instant)


def _one_of(*names: str) -> _Mender:
    def mend(path: str, value: object, _notes: list[str]) -> object:
        if value not in names:
            raise _wrong(path, value, f"one of {', '.join(names)}")
        return value

    return mend


def _integer(path: str, value: object, notes: list[str]) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    number = value
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,9}(\.0+)?", value):
        number = float(value)
    if isinstance(number, float) and number.is_integer():
        notes.append(f"{path}: {value!r} read as the number {int(number)}")
        return int(number)
    raise _wrong(path, value, "a whole number")


def _texts(path: str, value: object, notes: list[str]) -> object:
    if isinstance(value, str):
        notes.append(f"{path}: text read as a list of one")
        return [value]
    if not isinstance(value, list):
        raise _wrong(path, value, "a list")
    for index, element in enumerate(value):
        if not isinstance(element, str):
            raise _wrong(f"{path}[{index}]", element, "text")
    return value


def _map_of(mend_value: _Mender) -> _Mender:
    def mend(path: str, value: object, notes: list[str]) -> object:
        if not isinstance(value, dict):
            raise _wrong(path, value, "an object")
        mended = {k: v if v is None else mend_value(f"{path}.{k}", v, notes) for k, v in value.items()}
        return value if all(mended[k] is v for k, v in value.items()) else mended

    return mend


def _scalar_as_text(path: str, value: object, notes: list[str]) -> object:
    if isinstance(value, bool | int | float):
        notes.append(f"{path}: {value!r} read as text")
        return msgspec.json.encode(value).decode()
    return _text(path, value, notes)


def _struct(**fields: _Mender) -> _Mender:
    def mend(path: str, value: object, notes: list[str]) -> object:
        if not isinstance(value, dict):
            raise _wrong(path, value, "an object")
        mended = dict(value)
        for name, mend_field in fields.items():
            if mended.get(name) is not None:
                mended[name] = mend_field(f"{path}.{name}", mended[name], notes)
        return value if all(mended[k] is v for k, v in value.items()) else mended

    return mend


_USER = _struct(username=_text, uid=_text, groups=_texts, extra=_map_of(_texts))
_MENDERS: dict[bytes, _Mender] = {
    b"kind": _one_of("Event"),
    b"apiVersion": _text,
    b"level": _one_of(*(level.value for level in Level)),
    b"auditID": _text,
    b"stage": _one_of(*(stage.value for stage in Stage)),
    b"requestURI": _text,
    b"verb": _text,
    b"user": _USER,
    b"impersonatedUser": _USER,
    b"authenticationMetadata": _struct(impersonationConstraint=_text),
    b"sourceIPs": _texts,
    b"userAgent": _text,
    b"objectRef": _struct(
        resource=_text,
        namespace=_text,
        name=_text,
        uid=_text,
        apiGroup=_text,
        apiVersion=_text,
        resourceVersion=_text,
        subresource=_text,
    ),
    b"responseStatus": _struct(status=_text, message=_text, reason=_text, code=_integer),
    b"requestReceivedTimestamp": _time,
    b"stageTimestamp": _time,
    b"annotations": _map_of(_scalar_as_text),
}


def _rename_old_fields(found: dict[bytes, bytes], notes: list[str]) -> None:
    """Give a v1alpha1 or v1beta1 Event the fields of v1.

    Follows v1alpha1/conversion.go and v1beta1/conversion.go of k8s.io/apiserver/pkg/apis/audit.
    """
    version = found.get(b"apiVersion", b"").strip(b'"').removeprefix(API_GROUP.encode())
    if version not in {b"v1alpha1", b"v1beta1"}:
        return
    notes.append(f"read as {version.decode()}")
    if found.get(b"requestReceivedTimestamp", b"null") == b"null" and b"timestamp" in found:
        found[b"requestReceivedTimestamp"] = found[b"timestamp"]
    created = _member_of(found, b"metadata", "creationTimestamp")
    if found.get(b"stageTimestamp", b"null") == b"null" and created is not None:
        found[b"stageTimestamp"] = msgspec.json.encode(created)
    group, slash, api_version = (_member_of(found, b"objectRef", "apiVersion") or "").rpartition("/")
    if version == b"v1alpha1" and slash:
        reference = msgspec.json.decode(found[b"objectRef"])
        found[b"objectRef"] = msgspec.json.encode(reference | {"apiGroup": group, "apiVersion": api_version})


def _member_of(found: dict[bytes, bytes], key: bytes, name: str) -> str | None:
    try:
        struct = msgspec.json.decode(found.get(key, b"null"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    value = struct.get(name) if isinstance(struct, dict) else None
    return value if isinstance(value, str) else None
