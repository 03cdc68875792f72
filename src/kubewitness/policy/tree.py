"""
A decoded document with the place of every value: what YAML and JSON readers hand to the typed decoder and to `check`.

The shape is JSON's: objects keep every member in order, repeated names included, because Go's strict decoder names
them. Lines and columns count from 1. `GoError` carries a sentence exactly as kube-apiserver would print it.
"""

import enum
from dataclasses import dataclass, field


class GoError(Exception):
    """A document that Go's decoders refuse, with their sentence and the place where known."""

    def __init__(self, message: str, mark: "Mark | None" = None) -> None:
        super().__init__(message)
        self.mark = mark


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the text, both numbers from 1."""

    line: int
    column: int


START = Mark(1, 1)


class Kind(enum.Enum):
    """The kinds of JSON value, in the words of Go's error texts."""

    OBJECT = "object"
    ARRAY = "array"
    STRING = "string"
    NUMBER = "number"
    BOOL = "bool"
    NULL = "null"


@dataclass(slots=True)
class Value:
    """One value. `text` is the string, or the literal of a number or boolean."""

    kind: Kind
    mark: Mark
    text: str = ""
    members: "list[Member]" = field(default_factory=list)
    items: "list[Value]" = field(default_factory=list)

    def get(self, name: str) -> "Value | None":
        """Give the value of this member; of a repeated one the last, as the server does."""
        for member in reversed(self.members):
            if member.name == name:
                return member.value
        return None

    def at(self, path: tuple[str | int, ...]) -> "Value | None":
        """Give the value at this path of names and indexes."""
        value: Value | None = self
        for step in path:
            if value is None:
                return None
            if isinstance(step, int):
                value = value.items[step] if step < len(value.items) else None
            else:
                value = value.get(step)
        return value


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an object and the place of its name."""

    name: str
    mark: Mark
    value: Value
