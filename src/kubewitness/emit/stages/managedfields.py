"""
Take `metadata.managedFields` out of a body, for a policy that says omitManagedFields.

In: compact JSON. Out: the same bytes without that member in the object, in every item of a list, in the object of every
row of a Table. Everything else keeps its order and spelling; a body without managed fields comes back as it is.

Follows copyWithoutManagedFields of k8s.io/apiserver/pkg/audit/request.go. A patch is never handed here: kube-apiserver
leaves patches alone.
"""

from collections.abc import Callable

import msgspec

_NAME = b"managedFields"
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_elements = msgspec.json.Decoder(list[msgspec.Raw])
_text = msgspec.json.Decoder(str)


def without_managed_fields(raw: bytes) -> bytes:
    """Give the body without managed fields."""
    # the name may be spelt with escapes, too
    if _NAME not in raw and b"\\u" not in raw:
        return raw
    body = _object(raw)
    if body is None:
        return raw
    kind = _string(body.get("kind"))
    if kind == "Table":
        return _with_each(raw, body, "rows", _row)
    if "items" in body and kind.endswith("List"):
        return _with_each(raw, body, "items", _item)
    return _item(raw)


def _item(raw: bytes) -> bytes:
    body = _object(raw)
    metadata = _object(bytes(body["metadata"])) if body is not None and "metadata" in body else None
    if body is None or metadata is None or metadata.pop("managedFields", None) is None:
        return raw
    return msgspec.json.encode({**body, "metadata": msgspec.Raw(msgspec.json.encode(metadata))})


def _row(raw: bytes) -> bytes:
    row = _object(raw)
    if row is None or "object" not in row:
        return raw
    return msgspec.json.encode({**row, "object": msgspec.Raw(_item(bytes(row["object"])))})


def _with_each(raw: bytes, body: dict[str, msgspec.Raw], name: str, change: Callable[[bytes], bytes]) -> bytes:
    try:
        elements = _elements.decode(body.get(name, b"null"))
    except msgspec.DecodeError:
        return raw
    changed = [msgspec.Raw(change(bytes(element))) for element in elements]
    return msgspec.json.encode({**body, name: msgspec.Raw(msgspec.json.encode(changed))})


def _object(raw: bytes) -> dict[str, msgspec.Raw] | None:
    try:
        return _members.decode(raw)
    except msgspec.DecodeError:
        return None


def _string(raw: msgspec.Raw | None) -> str:
    try:
        return _text.decode(raw) if raw is not None else ""
    except msgspec.DecodeError:
        return ""
