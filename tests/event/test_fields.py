"""The one table of fields, and the page drawn from it."""

import msgspec

from kubewitness.event.derive import DERIVED
from kubewitness.event.expr_values import ATTRIBUTES, ENVELOPE
from kubewitness.event.fields import FIELDS, by_column, by_path
from kubewitness.event.types import Event
from tools.generated_fields import render_fields


def test_paths_and_columns_are_unique() -> None:
    """No two fields share a path or a column, and each is found by both."""
    assert len({field.path for field in FIELDS}) == len({field.column for field in FIELDS}) == len(FIELDS)
    assert all(by_path(field.path) is by_column(field.column) is field for field in FIELDS)


def test_every_field_can_be_read() -> None:
    """A field is a member of the Event, a derived one, or of the envelope."""
    assert {field.path for field in FIELDS} == (
        (set(ATTRIBUTES) - {"apiVersion", "responseStatus.metadata"}) | set(DERIVED) | ENVELOPE
    )
    assert {field.path for field in FIELDS if field.is_derived} == set(DERIVED) | ENVELOPE


def test_every_member_of_the_event_has_its_attribute() -> None:
    """Wire paths lead to attributes that exist."""
    event = msgspec.json.decode(b'{"stage":"Panic"}', type=Event)
    assert all(hasattr(event, attributes[0]) for attributes in ATTRIBUTES.values())


def test_the_page_names_every_field() -> None:
    """The page of fields has each field, and says when absence is no answer."""
    page = render_fields()
    assert all(f"| `{field.path}` | `{field.column}` |" in page for field in FIELDS)
    assert "| `requestObject` | what passes through a proxy is never recorded;" in page
    assert "| gke | `authenticationMetadata.impersonationConstraint`," in page
