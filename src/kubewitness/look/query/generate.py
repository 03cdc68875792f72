"""
Expressions as one generated Python function each: what streams use, where a plain walk of the tree would be too slow.

    is_wanted = function(filter_)         # (event, context) -> True, False or None: unknown
    action = value_function(Ref("action"))

The function is the condition written out, with attributes read in place and constants bound by name: nothing that a
user typed becomes part of the program text. Tested to agree with event/expr_evaluate.py, which says what is meant.
"""

from collections.abc import Callable
from typing import TypeAlias, assert_never

from kubewitness.event import expr_values as values
from kubewitness.event.derive import expand
from kubewitness.event.expr import (
    FALSE,
    And,
    Any,
    At,
    Case,
    Coalesce,
    Compare,
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
    UrlPath,
    Within,
)
from kubewitness.event.expr_logic import NO_FACTS, Facts, nullness, simplify, truth
from kubewitness.event.expr_values import Context, Value
from kubewitness.event.fields import FieldType, by_path
from kubewitness.event.types import Event, Level, Stage

Filter: TypeAlias = Callable[[Event, Context], bool | None]
ValueFunction: TypeAlias = Callable[[Event, Context], Value]
Test: TypeAlias = Compare | In | Text | Within | Any

_ENUMS: dict[str, type[Level] | type[Stage]] = {"level": Level, "stage": Stage}
_STRUCTS = {attributes[0] for attributes in values.ATTRIBUTES.values() if len(attributes) == 2}


def function(filter_: Expr, facts: Facts = NO_FACTS) -> Filter:
    """Make the function that answers a filter: True, False, or None for unknown."""
    writer = _Writer()
    yes = simplify(truth(expand(filter_)), facts)
    perhaps = simplify(nullness(expand(filter_)), facts)
    text = f"True if {writer.condition(yes)} else "
    text += "False" if perhaps == FALSE else f"None if {writer.condition(perhaps)} else False"
    return writer.compile(text)  # type: ignore[return-value]  # the text is one of the three


def value_function(expr: Expr) -> ValueFunction:
    """Make the function that gives the value of any expression."""
    writer = _Writer()
    return writer.compile(writer.value(expand(expr)))


def source(filter_: Expr, facts: Facts = NO_FACTS) -> str:
    """Give the text of the condition under which the filter is true, for people."""
    return _Writer().condition(simplify(truth(expand(filter_)), facts))


class _Writer:
    """Writes one function: program text, and the constants that the text names."""

    def __init__(self) -> None:
        self.names: dict[str, object] = {
            "is_absent": values.is_absent,
            "json_has": values.json_has,
            "json_value": values.json_value,
            "micros": values.micros,
            "query": values.query,
            "raw": values.raw,
            "read": values.read,
            "within": values.within,
        }
        self.temporaries = 0
        self.structs: set[str] = set()

    def compile(self, text: str) -> ValueFunction:
        """Make a function of an expression in Python."""
        lines = [f"    s_{struct} = event.{struct}" for struct in sorted(self.structs)]
        program = "\n".join(("def generated(event, context):", *lines, f"    return {text}"))
        exec(compile(program, "<generated>", "exec"), self.names)  # noqa: S102  # our own text; constants are bound by name
        return self.names["generated"]  # type: ignore[return-value]  # defined by the program

    def constant(self, held: object) -> str:
        """Give a constant a name."""
        if held is None or isinstance(held, bool | int):
            return repr(held)
        name = f"k{len(self.names)}"
        self.names[name] = held
        return name

    def temporary(self) -> str:
        """Give a fresh name."""
        self.temporaries += 1
        return f"t{self.temporaries}"

    def condition(self, expr: Expr) -> str:
        """Write a condition in positive form: truthy exactly when it is true."""
        match expr:
            case And(parts):
                return "(" + " and ".join(map(self.condition, sorted(parts, key=_cost))) + ")"
            case Or(parts):
                return "(" + " or ".join(map(self.condition, sorted(parts, key=_cost))) + ")"
            case Literal(held):
                return repr(held is True)
            case Not(Known(test, _)):
                return f"(not {self.condition(test)})"
            case IsNull(held):
                return self.absence(held, is_absent=True)
            case Not(IsNull(held)):
                return self.absence(held, is_absent=False)
            case Compare() | In() | Text() | Within() | Any():
                return self.test(expr, turned=False)
            case Not(Compare() | In() | Text() | Within() | Any() as test):
                return self.test(test, turned=True)
            case Not(part):
                return f"({self.value(part)} is False)"
            case _:
                return f"({self.value(expr)} is True)"

    def absence(self, held: Expr, *, is_absent: bool) -> str:
        """Write that a value is absent, or that it is there."""
        if isinstance(held, Ref) and by_path(held.path).type is FieldType.JSON:
            return f"({'' if is_absent else 'not '}is_absent({self.raw(held)}))"
        return f"({self.value(held)} is {'' if is_absent else 'not '}None)"

    def test(self, test: Test, *, turned: bool) -> str:
        """Write a test, or (`turned`) that it is false; NULL is neither."""
        held = _subject(test)
        if isinstance(held, Ref) and held.path in _ENUMS and isinstance(test, Compare | In):
            return self.enum_test(test, _ENUMS[held.path], held.path, turned=turned)
        if not turned and isinstance(test, Compare) and test.operator == "=":
            return f"({self.value(held)} == {self.constant(test.right.value)})"
        name = "x" if isinstance(held, Element) else self.temporary()
        asked = self.ask(test, name)
        return f"({self.held(held, name)} and {'not ' if turned else ''}{asked})"

    def held(self, held: Expr, name: str) -> str:
        """Write that a value is there, and give it a name."""
        if isinstance(held, Element):
            return "x is not None"
        return f"({name} := {self.value(held)}) is not None"

    def ask(self, test: Test, name: str) -> str:
        """Write a test of a value that is there."""
        match test:
            case Compare(operator, _, right):
                return f"{name} {'==' if operator == '=' else operator} {self.constant(right.value)}"
            case In(_, options):
                return f"{name} in {self.constant(frozenset(options))}"
            case Text("glob", _, pattern):
                return f"({self.constant(values.glob_regex(pattern).fullmatch)}({name}) is not None)"
            case Text("contains", _, pattern):
                return f"({self.constant(pattern)} in {name})"
            case Text(kind, _, pattern):
                method = {"prefix": "startswith", "suffix": "endswith"}[kind]
                return f"{name}.{method}({self.constant(pattern)})"
            case Within(_, network):
                return f"within({name}, {self.constant(network)})"
            case Any(_, Compare("=", Element(), Literal(text))):
                return f"({self.constant(text)} in {name})"
            case Any(_, In(Element(), options)):
                return f"(not {self.constant(frozenset(options))}.isdisjoint({name}))"
            case Any(_, condition):
                return f"any({self.condition(truth(condition))} for x in {name})"
            case _:
                assert_never(test)

    def enum_test(self, test: Compare | In, enum: type[Level] | type[Stage], path: str, *, turned: bool) -> str:
        """Write a test of level or stage by identity."""
        options = (test.right.value,) if isinstance(test, Compare) else test.options
        members = tuple(member for member in enum if member.value in options)
        there = f"event.{path} is not None and " if turned else ""
        return f"({there}event.{path} {'not ' if turned else ''}in {self.constant(members)})"

    def raw(self, body: Ref) -> str:
        """Write the exact bytes of a JSON field."""
        attributes = values.ATTRIBUTES[body.path]
        return f"event.{attributes[0]}" if len(attributes) == 1 else f"raw(event, {self.constant(body.path)})"

    def ref(self, path: str) -> str:
        """Write the value of a field."""
        if path in values.ENVELOPE:
            return f"context.{path.replace('.', '_')}"
        attributes = values.ATTRIBUTES[path]
        if path in _ENUMS or by_path(path).type is FieldType.JSON:
            return f"read(event, context, {self.constant(path)})"
        if path in values.TIMES:
            name = self.temporary()
            return f"(micros({name}) if ({name} := event.{attributes[0]}) is not None else None)"
        if len(attributes) == 1:
            return f"event.{attributes[0]}"
        self.structs.add(attributes[0])
        return f"(s_{attributes[0]}.{attributes[1]} if s_{attributes[0]} is not None else None)"

    def value(self, expr: Expr) -> str:
        """Write a value."""
        match expr:
            case Ref(path):
                return self.ref(path)
            case Literal(held):
                return self.constant(held)
            case Element():
                return "x"
            case Json(body, steps):
                return f"json_value({self.raw(body)}, {self.constant(steps)})"
            case JsonHas(body, steps):
                return f"json_has({self.raw(body)}, {self.constant(steps)})"
            case Coalesce(options):
                return self.coalesce(options)
            case Case(branches, default):
                whens = "".join(
                    f"{self.value(then)} if {self.condition(simplify(truth(when)))} else " for when, then in branches
                )
                return f"({whens}{self.value(default)})"
            case Entry() | Query() | UrlPath() | At() | Length():
                return self.part(expr)
            case And() | Or() | Not() | Known() | Compare() | In() | Text() | Within() | Any() | IsNull():
                yes, null = simplify(truth(expr)), simplify(nullness(expr))
                perhaps = "" if null == FALSE else f"None if {self.condition(null)} else "
                return f"(True if {self.condition(yes)} else {perhaps}False)"
            case _:
                assert_never(expr)

    def part(self, expr: Entry | Query | UrlPath | At | Length) -> str:
        """Write a part of a value that may be absent."""
        name = self.temporary()
        match expr:
            case Entry(whole, key):
                part: str = f"{name}.get({self.constant(key)})"
            case Query(whole, names):
                part = f"query({name}, {self.constant(names)})"
            case UrlPath(whole):
                part = f'{name}.partition("?")[0]'
            case At(items, index):
                return f"({name}[{index}] if ({name} := {self.value(items)}) else None)"
            case Length(items):
                return f"(len({name}) if ({name} := {self.value(items)}) is not None else None)"
            case _:
                assert_never(expr)
        return f"({part} if ({name} := {self.value(whole)}) is not None else None)"

    def coalesce(self, options: tuple[Expr, ...]) -> str:
        """Write the first value that is there."""
        name = self.temporary()
        firsts = "".join(f"{name} if ({name} := {self.value(option)}) is not None else " for option in options[:-1])
        return f"({firsts}{self.value(options[-1])})"


def _subject(test: Test) -> Expr:
    match test:
        case Compare(left=held) | In(value=held) | Text(value=held) | Within(value=held) | Any(list=held):
            return held


def _cost(expr: Expr) -> int:
    """Say roughly what a condition costs, so that cheap ones come first."""
    match expr:
        case And(parts) | Or(parts):
            return sum(map(_cost, parts))
        case Not(part) | Known(part, _):
            return _cost(part)
        case IsNull(held) | Compare(left=held) | In(value=held):
            return 1 + _cost(held)
        case Text(value=held) | Within(value=held) | Any(list=held):
            return 3 + _cost(held)
        case Ref(path):
            return 8 if path in values.TIMES else 0
        case Element() | Literal():
            return 0
        case Entry():
            return 1
        case Json() | JsonHas():
            return 50
        case _:
            return 10
