"""
The page of fields: each with its column, its type, whether it may hold a secret, and when its absence says nothing.

`render_fields()` gives docs/reference/fields.md as Markdown, drawn from event/fields.py and event/recordable.py.
"""

from kubewitness.event.fields import FIELDS, Field
from kubewitness.event.recordable import NOT_GIVEN, REASONS
from kubewitness.look.query.syntax import ACTIONS

INTRODUCTION = """# Fields

What an Event can hold.
Flags, messages and `--columns` use the path that stands in the log; SQL takes the path and the column.
A derived field is computed from the Event, or says where its bytes came from.
Our own messages never show the value of a field that may hold a secret.
"""
UNKNOWN = """
## When absence is no answer

A question about a field that is absent is answered *no*, unless the Event could not have held it: then it is *unknown*.
These fields can be kept out of an Event; all others are recorded whenever they exist.
What was redacted, and what a dialect never gives, is unknown too.

| path | unknown where it is absent and |
|---|---|
"""
GENERAL = {"level": "a lower level", "stage": "an earlier stage", "code": "4xx or 5xx", "dialect": "its dialect"}


def render_fields() -> str:
    """Give the page."""
    parts = [INTRODUCTION]
    for title, is_derived in (("In the Event", False), ("Derived", True)):
        rows = "".join(_row(field) for field in FIELDS if field.is_derived is is_derived)
        parts.append(
            f"\n## {title}\n\n| path | column | type | may hold a secret | meaning |\n|---|---|---|---|---|\n{rows}"
        )
    parts.append(UNKNOWN)
    for path, reasons in REASONS.items():
        words = "; ".join(dict.fromkeys(reason.words.format(**GENERAL) for reason in reasons))
        parts.append(f"| `{path}` | {words} |\n")
    parts.append("\n## What a dialect never gives\n\n| dialect | paths |\n|---|---|\n")
    for dialect, missing in NOT_GIVEN.items():
        parts.append(f"| {dialect} | {', '.join(f'`{path}`' for path in sorted(missing))} |\n")
    parts.append("\n## Actions\n\n| action | who is found |\n|---|---|\n")
    parts += (f"| `{action}` | {meaning} |\n" for action, meaning in ACTIONS.items())
    return "".join(parts)


def _row(field: Field) -> str:
    secret = "yes" if field.may_hold_secret else ""
    meaning = field.help.replace("|", "\\|")
    return f"| `{field.path}` | `{field.column}` | {field.type.value} | {secret} | {meaning} |\n"
