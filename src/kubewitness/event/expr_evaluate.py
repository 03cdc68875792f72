"""
The plain reading of an expression over one Event: the definition that SQL and generated Python are tested against.

Comes in: an expression of event/expr.py without derived fields, an Event, its envelope. Goes out: a value, None for
NULL. Made to be read, not to be fast; look/query/generate.py is the fast one.
"""

from collections.abc import Callable, Iterable
from typing import TypeAlias, assert_never

from kubewitness.event import expr_values as values
from kubewitness.event.expr import (
    And,
    Any,
    At,
    Case,
    Coalesce,
    Compare,
    Comparison,
    Element,
    Entry,
    Expr,
    In,
    IsNull,
    Json,
    JsonHas,
    Known,
    Length,
    Literal,
    Not,
    Or,
    Query,
    Ref,
    Text,
    TextTest,
    UrlPath,
    Within,
)
from kubewitness.event.expr_values import RAW, Context, Value
from kubewitness.event.types import Event

Reader: TypeAlias = Callable[[Expr], Value]


def evaluate(expr: Expr, event: Event, context: Context = RAW) -> Value:
    """Give the value of an expression for one Event."""
    return _evaluate(expr, event, context, None)


def _evaluate(expr: Expr, event: Event, context: Context, element: str | None) -> Value:
    def value(inner: Expr) -> Value:
        return _evaluate(inner, event, context, element)

    match expr:
        case Literal(constant):
            return constant
        case Element():
            return element
        case Ref(path):
            return values.read(event, context, path)
        case Json(body, steps):
            return values.json_value(values.raw(event, body.path), steps)
        case JsonHas(body, steps):
            return values.json_has(values.raw(event, body.path), steps)
        case Any(items, condition):
            held = value(items)
            if not isinstance(held, tuple):
                return None
            return any(_evaluate(condition, event, context, one) is True for one in held)
        case Compare() | In() | Text() | Within():
            return test_value(expr, value(expr.left if isinstance(expr, Compare) else expr.value))
        case And() | Or() | Not() | IsNull() | Known():
            return _connect(expr, value)
        case _:
            return _derive(expr, value)


def _derive(expr: Entry | Query | UrlPath | At | Length | Coalesce | Case, value: Reader) -> Value:
    match expr:
        case Entry(mapping, key):
            held = value(mapping)
            return held.get(key) if isinstance(held, dict) else None
        case Query(url, names):
            text = value(url)
            return values.query(text, names) if isinstance(text, str) else None
        case UrlPath(url):
            text = value(url)
            return text.partition("?")[0] if isinstance(text, str) else None
        case At(items, index):
            held = value(items)
            return held[index] if isinstance(held, tuple) and held else None
        case Length(items):
            held = value(items)
            return len(held) if isinstance(held, tuple) else None
        case Coalesce(options):
            return next((held for held in map(value, options) if held is not None), None)
        case Case(branches, default):
            return value(next((then for when, then in branches if value(when) is True), default))
        case _:
            assert_never(expr)


def _connect(expr: And | Or | Not | IsNull | Known, value: Reader) -> bool | None:
    match expr:
        case And(parts):
            return _all(map(value, parts))
        case Or(parts):
            return _opposite(_all(map(_opposite, map(value, parts))))
        case Not(part):
            return _opposite(value(part))
        case IsNull(inner):
            return value(inner) is None
        case Known(test, unrecordable):
            held = value(test)
            if held is None:
                return None if value(unrecordable) is True else False
            return held is True
        case _:
            assert_never(expr)


def test_value(test: Compare | In | Text | Within, held: Value) -> bool | None:
    """Give the answer of a test about a value."""
    if held is None:
        return None
    match test:
        case Compare(operator, _, Literal(bound)):
            return None if bound is None else _COMPARE[operator](held, bound)
        case In(_, options):
            return held in options
        case Text(kind, _, pattern):
            return _TEXT[kind](str(held), pattern)
        case Within(_, network):
            return values.within(str(held), network)
        case _:
            assert_never(test)


def _all(parts: Iterable[Value]) -> bool | None:
    """Kleene's And: false wins over NULL, NULL over true."""
    held = tuple(parts)
    if any(part is False for part in held):
        return False
    return None if any(part is None for part in held) else True


def _opposite(held: Value) -> bool | None:
    return None if held is None else not held


_COMPARE: dict[Comparison, Callable[[Value, Value], bool]] = {
    "=": lambda left, right: left == right,
    "<": lambda left, right: values.number(left) < values.number(right),
    "<=": lambda left, right: values.number(left) <= values.number(right),
    ">": lambda left, right: values.number(left) > values.number(right),
    ">=": lambda left, right: values.number(left) >= values.number(right),
}
_TEXT: dict[TextTest, Callable[[str, str], bool]] = {
    "prefix": str.startswith,
    "suffix": str.endswith,
    "contains": str.__contains__,
    "glob": lambda held, pattern: values.glob_regex(pattern).fullmatch(held) is not None,
}
