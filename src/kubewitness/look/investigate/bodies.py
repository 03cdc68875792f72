"""
What the bodies of an Event say of names: of the object answered, of the objects in a list or Table.

A body is hostile and of any shape: one that does not look like an object or a list names nothing.
"""

import msgspec

from kubewitness.event.types import Event


class _Metadata(msgspec.Struct):
    name: str | None = None
    namespace: str | None = None
    generateName: str | None = None  # noqa: N815 - the wire's name


class _Object(msgspec.Struct):
    kind: str | None = None
    metadata: _Metadata | None = None


class _Row(msgspec.Struct):
    object: _Object | None = None


class _Collection(msgspec.Struct):
    kind: str | None = None
    items: list[_Object] | None = None
    rows: list[_Row] | None = None


_DECODE_OBJECT = msgspec.json.Decoder(_Object)
_DECODE_COLLECTION = msgspec.json.Decoder(_Collection)


def _body(raw: msgspec.Raw) -> _Object | None:
    if not raw:
        return None
    try:
        return _DECODE_OBJECT.decode(raw)
    except msgspec.DecodeError:
        return None  # a JSON patch is an array; a body of a strange shape names nothing


def name_in_body(event: Event) -> str | None:
    """Give the object's name from the response body; None when none is recorded, or it is a Status."""
    body = _body(event.response_object)
    if body is None or body.kind == "Status" or body.metadata is None:
        return None
    return body.metadata.name or None


def name_prefix(event: Event) -> str | None:
    """Give the `generateName` of the request body; None when none is recorded."""
    body = _body(event.request_object)
    return body.metadata.generateName if body and body.metadata else None


def names_in_list(event: Event, namespace: str | None) -> set[str] | None:
    """Give the names in a recorded list or Table, None when no list is recorded, or one that does not name its objects.

    The rows of a Table that was asked for without objects (includeObject=None) hold cells alone.
    """
    if not event.response_object:
        return None
    try:
        body = _DECODE_COLLECTION.decode(event.response_object)
    except msgspec.DecodeError:
        return None
    if body.items is None and body.rows is None and not (body.kind or "").endswith("List"):
        return None
    objects = [*(body.items or ()), *(row.object for row in body.rows or ())]
    named = [item.metadata for item in objects if item and item.metadata and item.metadata.name]
    if len(named) < len(objects):
        return None
    return {item.name for item in named if item.name and (namespace is None or item.namespace in (None, namespace))}
