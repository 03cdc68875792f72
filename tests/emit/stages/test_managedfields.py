"""Managed fields leave objects, lists and Tables, and nothing else changes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubewitness.emit.stages.managedfields import without_managed_fields


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"metadata":{"name":"a","managedFields":[1]},"spec":{}}', '{"metadata":{"name":"a"},"spec":{}}'),
        ('{"metadata":{"managedFields":[]}}', '{"metadata":{}}'),
        ('{"spec":{"metadata":{"managedFields":[1]}}}', None),
        ('{"managedFields":[1]}', None),
        ('{"metadata":{"managed\\u0046ields":[1],"n":1e2}}', '{"metadata":{"n":1e2}}'),
        (
            '{"kind":"PodList","metadata":{"managedFields":[1]},"items":[{"metadata":{"managedFields":[1]},"x":1.0},{}]}',
            '{"kind":"PodList","metadata":{"managedFields":[1]},"items":[{"metadata":{},"x":1.0},{}]}',
        ),
        (
            '{"kind":"ConfigMap","metadata":{"managedFields":1},"items":[{"metadata":{"managedFields":[1]}}]}',
            '{"kind":"ConfigMap","metadata":{},"items":[{"metadata":{"managedFields":[1]}}]}',
        ),
        (
            '{"kind":"Table","rows":[{"cells":[],"object":{"metadata":{"managedFields":[1]}}},{"a":1},{"object":null}]}',
            '{"kind":"Table","rows":[{"cells":[],"object":{"metadata":{}}},{"a":1},{"object":null}]}',
        ),
        ('{"kind":"PodList","items":"managedFields"}', None),
        ('{"kind":7,"metadata":"managedFields"}', None),
        ('["managedFields"]', None),
    ],
)
def test_where_managed_fields_go(body: str, expected: str | None) -> None:
    """They go from metadata of the object, of each item of a list, of each row of a Table; None: nothing changes."""
    assert without_managed_fields(body.encode()) == (body if expected is None else expected).encode()


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "x", "é\u2028"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["metadata", "items", "a"]), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["kind", "metadata", "spec", "items", "rows"]), _values), st.booleans())
def test_the_same_as_plain_python(body: dict[str, Any], is_list: bool) -> None:
    """Against a model on decoded values: exactly `metadata.managedFields` goes."""
    body["kind"] = "ThingList" if is_list else "Thing"
    if is_list:
        body["items"] = [{"metadata": {"managedFields": 1, "a": 2}}, body.get("spec"), {"b": 1}]
    else:
        body["metadata"] = {"managedFields": body.get("spec"), "a": 1}
    got = json.loads(without_managed_fields(json.dumps(body).encode()))
    for item in body["items"] if is_list else [body]:
        if isinstance(item, dict) and isinstance(item.get("metadata"), dict):
            item["metadata"].pop("managedFields", None)
    assert got == body


@pytest.mark.parametrize(
    "body",
    [
        b'{"metadata":{"name":"a"}}',
        b'[{"metadata":{"managedFields":[1]}}]',
        b'{"metadata":{"managedFields":[1]}',
        b'{"kind":"PodList","items":5,"x":"managedFields"}',
        b'{"kind":"PodList","items":[5,null],"x":"managedFields"}',
        b'{"kind":"Table","rows":[5,{"cells":["managedFields"]}]}',
        b'{"kind":5,"metadata":"managedFields"}',
        b'{"kind":5,"items":[],"x":"managedFields"}',
        b'["managedFields"]',
    ],
)
def test_bodies_of_another_shape_stay_as_they_are(body: bytes) -> None:
    """What looks like a list or a Table and is none is left alone."""
    assert without_managed_fields(body) == body
