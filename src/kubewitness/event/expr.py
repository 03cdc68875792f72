"""
The expression tree: one way to say what is asked of an Event, whatever engine answers.

    from kubewitness.event.expr import And, In, Ref, equals

    asked = And((equals(Ref("verb"), "get"), In(Ref("objectRef.resource"), ("secrets", "configmaps"))))
    event.expr_evaluate.evaluate(asked, event)    # plain: True, False or None
    look.query.sql.where(asked)                   # DuckDB: verb = 'get' AND resource IN ('secrets', 'configmaps')
    look.query.generate.function(asked)           # a Python function for streams

Nodes are frozen Structs: two dozen data classes would take 10 ms of every start. A value is text, an integer, a truth
value, a list of text, or NULL (None). NULL means absent. What NULL does is said here once, as SQL says it: a
comparison with NULL is NULL; And, Or and Not are Kleene's; a condition of Case or of the elements of Any counts only
when true. `Known` alone turns NULL into false or unknown (event/filter.py). Times are integers: microseconds since
1970, UTC. event/expr_evaluate.py is the plain reading that the other two engines are tested against. Paths are those
of event/fields.py; derived ones must be expanded first (event/derive.py).
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, TypeAlias
from typing import Literal as Choice

import msgspec

from kubewitness.event import expr_values as values

if TYPE_CHECKING:
    import ipaddress

Scalar: TypeAlias = str | int | bool | None
Comparison: TypeAlias = Choice["=", "<", "<=", ">", ">="]
TextTest: TypeAlias = Choice["prefix", "suffix", "contains", "glob"]
Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"

EACH: Final = "[*]"
"""The step of a Json path that means every element of a list."""


class ExprError(ValueError):
    """An expression that cannot be built; the message says what is wrong with it."""


def _check_text(value: object) -> None:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as exc:
            raise ExprError(f"{value!r} is not text that UTF-8 can hold") from exc


class Ref(msgspec.Struct, frozen=True):
    """A field by its wire path. A JSON field is only of use inside Json, JsonHas and IsNull."""

    path: str


class Literal(msgspec.Struct, frozen=True):
    """A constant."""

    value: Scalar

    def __post_init__(self) -> None:
        """Refuse text that no engine can hold."""
        _check_text(self.value)


class Element(msgspec.Struct, frozen=True):
    """The element at hand, inside the condition of Any."""


class Entry(msgspec.Struct, frozen=True):
    """The value under `key` in a map: text (annotations) or a list of text (user.extra)."""

    map: Ref
    key: str


class Json(msgspec.Struct, frozen=True):
    """What lies at `steps` in a JSON field: text, whole numbers and truth values as text, anything else NULL.

    With EACH among the steps: the list of those values. A step of digits also counts into a list. Where a member
    is repeated in one object (only a raw patch can hold that) the first is read.
    """

    body: Ref
    steps: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse a path that names nothing."""
        if not self.steps or not all(self.steps):
            raise ExprError(f"{self.body.path}: a path into a body needs steps, and none of them empty: {self.steps!r}")
        for step in self.steps:
            _check_text(step)


class JsonHas(msgspec.Struct, frozen=True):
    """True if something other than null lies at `steps` (without EACH), false if not, NULL without the body."""

    body: Ref
    steps: tuple[str, ...]


class Query(msgspec.Struct, frozen=True):
    """All values of the query parameters `names` in a URL, in order, decoded; what Go cannot decode is left out."""

    url: Ref
    names: tuple[str, ...]


class UrlPath(msgspec.Struct, frozen=True):
    """The part of a URL before `?`, as sent."""

    url: Ref


class At(msgspec.Struct, frozen=True):
    """The first (index 0) or last (index -1) element of a list."""

    list: "Expr"
    index: Choice[0, -1]


class Length(msgspec.Struct, frozen=True):
    """How many elements a list has."""

    list: "Expr"


class Coalesce(msgspec.Struct, frozen=True):
    """The first of these that is not NULL."""

    options: tuple["Expr", ...]


class Case(msgspec.Struct, frozen=True):
    """The value beside the first condition that is true, else `default`."""

    branches: tuple[tuple["Expr", "Expr"], ...]
    default: "Expr"


class Compare(msgspec.Struct, frozen=True):
    """Two texts, numbers, times or truth values compared. Order is for numbers and times."""

    operator: Comparison
    left: "Expr"
    right: Literal


class In(msgspec.Struct, frozen=True):
    """Ask whether the text or number is one of these."""

    value: "Expr"
    options: tuple[str, ...] | tuple[int, ...]

    def __post_init__(self) -> None:
        """Refuse an empty list, which SQL cannot say."""
        if not self.options:
            raise ExprError("IN needs at least one value")
        for option in self.options:
            _check_text(option)


class Text(msgspec.Struct, frozen=True):
    r"""Ask whether the text begins with, ends with, contains or matches this. `*`, `?`, `\` are special in a glob."""

    test: TextTest
    value: "Expr"
    pattern: str

    def __post_init__(self) -> None:
        """Refuse text that no engine can hold."""
        _check_text(self.pattern)


class Within(msgspec.Struct, frozen=True):
    """Ask whether the text is an IP address inside this network. Text that is no address is inside none."""

    value: "Expr"
    network: Network


class Any(msgspec.Struct, frozen=True):
    """Ask whether the condition is true of some Element of the list."""

    list: "Expr"
    condition: "Expr"


class IsNull(msgspec.Struct, frozen=True):
    """Ask whether the value is absent. Never NULL itself."""

    value: "Expr"


class And(msgspec.Struct, frozen=True):
    """All of these; true when there are none."""

    parts: tuple["Expr", ...]


class Or(msgspec.Struct, frozen=True):
    """Some of these; false when there are none."""

    parts: tuple["Expr", ...]


class Not(msgspec.Struct, frozen=True):
    """The opposite; NULL stays NULL."""

    part: "Expr"


class Known(msgspec.Struct, frozen=True):
    """`test` where it is true or false; where it is NULL: NULL (unknown) if `unrecordable` is true, else false."""

    test: "Expr"
    unrecordable: "Expr"


Expr: TypeAlias = (
    Ref
    | Literal
    | Element
    | Entry
    | Json
    | JsonHas
    | Query
    | UrlPath
    | At
    | Length
    | Coalesce
    | Case
    | Compare
    | In
    | Text
    | Within
    | Any
    | IsNull
    | And
    | Or
    | Not
    | Known
)

TRUE: Final = Literal(True)
FALSE: Final = Literal(False)
NULL: Final = Literal(None)


def equals(value: Expr, *options: str) -> Expr:
    """Say that the text is one of these, in the shortest form."""
    return Compare("=", value, Literal(options[0])) if len(options) == 1 else In(value, options)


def glob(value: Expr, pattern: str) -> Expr:
    """Say that the text matches the pattern, in the shortest form: equality, prefix, suffix, contains or glob."""
    pieces = values.glob_pieces(pattern)
    texts = tuple(piece for piece in pieces if not isinstance(piece, values.Wild))
    match tuple("*" if piece is values.Wild.ANY else "?" if piece is values.Wild.ONE else "t" for piece in pieces):
        case () | ("t",):
            return Compare("=", value, Literal(texts[0] if texts else ""))
        case ("t", "*"):
            return Text("prefix", value, texts[0])
        case ("*", "t"):
            return Text("suffix", value, texts[0])
        case ("*", "t", "*"):
            return Text("contains", value, texts[0])
        case _:
            return Text("glob", value, pattern)


def children(expr: Expr) -> Iterator[Expr]:
    """Give the expressions directly inside this one."""
    for name in expr.__struct_fields__:
        inner = getattr(expr, name)
        for item in inner if isinstance(inner, tuple) else (inner,):
            for one in item if isinstance(item, tuple) else (item,):
                if isinstance(one, Expr):
                    yield one


def rebuild(expr: Expr, change: Callable[[Expr], Expr]) -> Expr:
    """Give the same node with `change` applied to the expressions directly inside it."""
    changed = {}
    for name in expr.__struct_fields__:
        inner = getattr(expr, name)
        if isinstance(inner, Expr):
            new: object = change(inner)
        elif isinstance(inner, tuple):
            new = tuple(
                tuple(change(one) for one in item)
                if isinstance(item, tuple)
                else change(item)
                if isinstance(item, Expr)
                else item
                for item in inner
            )
        else:
            new = inner
        changed[name] = new
    make: Callable[..., Expr] = type(expr)
    return make(**changed)


def paths(expr: Expr) -> frozenset[str]:
    """Give the wire paths of the fields that this expression reads."""
    if isinstance(expr, Ref):
        return frozenset({expr.path})
    return frozenset().union(*(paths(child) for child in children(expr)))
