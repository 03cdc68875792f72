"""
Decide which inputs a jq filter provably passes over: no output, no error, no side effect.

In: the tree of `program`. Out: a `Silence`, which decodes only what the filter's leading `select(...)` stages read and
tells, for each input, whether jq must see it. The proof is by evaluation: the stages are compiled to one Python
expression with jq's meaning (`values`), and an input is passed over only if they yield nothing. Whatever is not known
exactly raises `UnsureError`, and the input goes to jq.

An input on the way to a value (`.objectRef` of `.objectRef.resource`) must be an object or null, else jq reports
an error: there the decoder demands just that, and what it refuses goes to jq as well.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from kubewitness.look.query.jq import values
from kubewitness.look.query.jq.program import (
    Array,
    At,
    Binary,
    Call,
    Comma,
    Each,
    Field,
    Identity,
    Literal,
    Node,
    Opaque,
    Optional,
    Pipe,
    Program,
)

# Words that let one input see or depend on another, or on how inputs reach jq; anywhere in the text, even in a string.
_SEES_OTHER_INPUTS = re.compile(
    r"\b(?:inputs?|input_filename|input_line_number|import|include|modulemeta|def)\b", re.ASCII
)
_CALL = re.compile(r"\w\(")  # in generated code: it may raise
_EXACT_DIGITS = 15  # whole numbers of so many digits are exact in a double
_MOST_CODE = 10_000  # characters for one expression; some operators repeat the code of their operands
_PLAIN_NAME = re.compile(r"[ !#-\[\]-~]+")  # as a key it stands in JSON as it is


@dataclass(frozen=True, slots=True)
class Silence:
    """What jq need not see: `decode*` give views of inputs, `spoken` the indices of those jq must see."""

    decode: Callable[[bytes | memoryview], Any]
    decode_lines: Callable[[bytes | memoryview], list[Any]]
    spoken: Callable[[Sequence[Any]], list[int]]
    source: str


def silence(text: str, program: Program) -> Silence | None:
    """Compile a filter; None when it may say something about every input."""
    if _SEES_OTHER_INPUTS.search(text):
        return None
    # the first pass learns which paths are read, the second writes code for the decoder that this makes
    first = _Compiler()
    if first.silent(program.stages, _Place(())) == "False":
        return None
    compiler = _Compiler(reads=first.reads)
    condition = compiler.silent(program.stages, _Place(()))
    checks = compiler.checks()
    source = (
        "def spoken(inputs):\n"
        "    seen = []\n"
        "    for i, e in enumerate(inputs):\n"
        "        try:\n"
        + "".join(f"            {check}\n" for check in checks)
        + f"            if {condition}: continue\n"
        "        except UnsureError:\n"
        "            pass\n"
        "        seen.append(i)\n"
        "    return seen\n"
    )
    names: dict[str, Any] = {name: getattr(values, name) for name in _HELPERS}
    try:
        code = compile(source, "<jq filter>", "exec")
    except (SyntaxError, RecursionError, MemoryError):  # nested deeper than Python can
        return None
    exec(code, names)  # noqa: S102 -- our own code; texts enter it by repr() only
    decoder = msgspec.json.Decoder(compiler.reads.struct())
    return Silence(decoder.decode, decoder.decode_lines, names["spoken"], source)


_HELPERS = [
    *(
        "UnsureError",
        "unsure",
        "truthy",
        "get",
        "at",
        "each",
        "each_optional",
        "equal",
        "order",
        "startswith",
        "endswith",
    ),
    *("contains", "index", "has", "length", "kind", "downcase", "upcase", "same_string", "matches", "pairs"),
]
_ONE_ARGUMENT = {
    "startswith": "startswith({}, {})",
    "endswith": "endswith({}, {})",
    "contains": "contains({}, {})",
    "has": "has({}, {})",
    "index": "index({}, {})",
    "rindex": "index({}, {})",
    "test": "matches({}, {}, '')",
}
_NO_ARGUMENT = {
    "length": "length",
    "type": "kind",
    "tostring": "same_string",
    "ascii_downcase": "downcase",
    "ascii_upcase": "upcase",
}
_GUARDS = {
    "values": "{v} is not None",
    "nulls": "{v} is None",
    "strings": "type({v}) is str",
    "arrays": "type({v}) is list",
    "objects": "type({v}) is dict",
    "iterables": "type({v}) in (list, dict)",
}


@dataclass(slots=True)
class _Reads:
    """The keys that a filter reads of an object: a trie, whose leaves are decoded whole."""

    children: "dict[str, _Reads]" = field(default_factory=dict)
    is_value: bool = False

    def add(self, path: Sequence[str], *, as_value: bool) -> None:
        """Note that a path is read as a value, or only gone through."""
        here = self
        for name in path:
            here = here.children.setdefault(name, _Reads())
        here.is_value = here.is_value or as_value

    def struct(self) -> type[msgspec.Struct]:
        """Make the view of an object that holds just these keys."""
        fields: list[tuple[str, Any, Any]] = []
        rename: dict[str, str] = {}
        for number, (name, child) in enumerate(self.children.items()):
            kind: Any = object if child.is_value else child.struct() | None
            fields.append((f"f{number}", kind, None))
            rename[f"f{number}"] = name
        return msgspec.defstruct("Input", fields, rename=rename, gc=False)


@dataclass(frozen=True, slots=True)
class _Place:
    """A value of the input that is not read yet."""

    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _One:
    """Python code for exactly one value."""

    code: str
    is_bool: bool = False


@dataclass(frozen=True, slots=True)
class _Many:
    """Python code for a list of values."""

    code: str


_Value = _Place | _One | _Many
_UNKNOWN = _One("unsure()")


@dataclass(slots=True)
class _Compiler:
    """Writes Python for a tree; `reads` grows on the first pass and shapes the code on the second."""

    reads: _Reads = field(default_factory=_Reads)
    gone_through: set[tuple[str, ...]] = field(default_factory=set)
    variables: int = 0

    def silent(self, stages: Sequence[Node], given: _Place | _One) -> str:
        """Code that is true when these stages, given this input, yield nothing."""
        if not stages:
            return "False"
        stage, rest = stages[0], stages[1:]
        match stage:
            case Pipe(left, right):
                return self.silent((left, right, *rest), given)
            case Comma(left, right):
                both = [self.silent((one, *rest), given) for one in (left, right)]
                return "False" if "False" in both else f"({both[0]} and {both[1]})"
            case Call("empty", ()):
                return "True"
            case Call("select", (condition,)):
                spoken = self.any_true(self.compile(condition, given))
                after = self.silent(rest, given)
                return f"(not {spoken})" if after == "False" else f"(not {spoken} or {after})"
        value = self.compile(stage, given)
        if value == _UNKNOWN:
            return "False"
        if isinstance(value, _Many):
            name = self.variable()
            after = self.silent(rest, _One(name))
            return f"(not {value.code})" if after == "False" else f"all([{after} for {name} in {value.code}])"
        after = self.silent(rest, value)
        return after if after == "False" or isinstance(value, _Place) else self.forced(value, after)

    def compile(self, node: Node, given: _Place | _One) -> _Value:
        """Give the outputs of one expression."""
        match node:
            case Identity():
                return given
            case Literal(value):
                return _One(repr(value)) if isinstance(value, str | int | None) else _UNKNOWN
            case Opaque():
                return _UNKNOWN
            case Field(base, name):
                return self.field(self.compile(base, given), name)
            case At(base, index):
                return self.each_value(self.compile(base, given), lambda v: f"at({v}, {index})")
            case Each(base) | Optional(Each(base)):
                helper = "each_optional" if isinstance(node, Optional) else "each"
                found = self.read(self.compile(base, given))
                if isinstance(found, _One):
                    return _Many(f"{helper}({found.code})")
                name, inner = self.variable(), self.variable()
                return _Many(f"[{inner} for {name} in {found.code} for {inner} in {helper}({name})]")
            case Optional(base):
                return self.compile(base, given)
            case Array(body):
                return self.array(body, given)
            case Pipe(left, right):
                return self.pipe(self.compile(left, given), right)
            case Comma(left, right):
                return _Many(f"[*{self.list(left, given)}, *{self.list(right, given)}]")
            case Binary(operator, left, right):
                return self.binary(operator, left, right, given)
            case Call(name, arguments):
                return self.call(name, arguments, given)

    # values

    def field(self, base: _Value, name: str) -> _Value:
        if isinstance(base, _Place) and _PLAIN_NAME.fullmatch(name):
            self.go_through(base.path)
            return _Place((*base.path, name))
        return self.each_value(base, lambda v: f"get({v}, {name!r})")

    def each_value(self, value: _Value, code: Callable[[str], str], *, is_bool: bool = False) -> _Value:
        """Apply code to the one value or to each of many."""
        value = self.read(value)
        if isinstance(value, _One):
            return _One(code(value.code), is_bool)
        name = self.variable()
        return _Many(f"[{code(name)} for {name} in {value.code}]")

    def read(self, value: _Value) -> _One | _Many:
        """Code for a value, which the decoder must then give."""
        if not isinstance(value, _Place):
            return value
        if not value.path:
            return _UNKNOWN  # the whole input is never decoded
        self.reads.add(value.path, as_value=True)
        here, code, guards = self.reads, "e", list[str]()
        for depth, name in enumerate(value.path):
            if here.is_value:
                for key in value.path[depth:]:
                    code = f"get({code}, {key!r})"
                break
            if depth:
                guards.append(f"{code} is None")
            code = f"{code}.f{list(here.children).index(name)}"
            here = here.children[name]
        return _One(f"(None if {' or '.join(guards)} else {code})" if guards else code)

    def go_through(self, path: tuple[str, ...]) -> None:
        """Demand that the value at this path is an object or null."""
        self.reads.add(path, as_value=False)
        self.gone_through.add(path)

    def checks(self) -> list[str]:
        """Code that demands the same where the decoder does not, because it decodes the value whole."""
        found = []
        for path in sorted(self.gone_through):
            here = self.reads
            for name in path:
                if here.is_value:
                    break
                here = here.children[name]
            if here.is_value:
                value = self.read(_Place(path))
                found.append(f"get({value.code}, '')")
        return found

    def list(self, node: Node, given: _Place | _One) -> str:
        value = self.read(self.compile(node, given))
        return f"({value.code},)" if isinstance(value, _One) else value.code

    def variable(self) -> str:
        self.variables += 1
        return f"v{self.variables}"

    @staticmethod
    def forced(first: _One, code: str) -> str:
        """Code that computes a value before the code that may not come to use it, for the errors of both."""
        return f"({first.code}, {code})[1]" if _CALL.search(first.code) else code

    # truth

    def any_true(self, value: _Value) -> str:
        """Code that is true when some output counts as true; every output is computed, for its errors."""
        value = self.read(value)
        if isinstance(value, _One):
            return self.truth(value)
        name = self.variable()
        return f"any([truthy({name}) for {name} in {value.code}])"

    def truth(self, value: _One) -> str:
        return value.code if value.is_bool else f"truthy({value.code})"

    # operators

    def pipe(self, left: _Value, right: Node) -> _Value:
        if isinstance(left, _Place):
            return self.compile(right, left)
        if isinstance(left, _One):
            value = self.read(self.compile(right, left))
            code = self.forced(left, value.code)
            return _One(code, value.is_bool) if isinstance(value, _One) else _Many(code)
        name = self.variable()
        value = self.read(self.compile(right, _One(name)))
        if isinstance(value, _One):
            return _Many(f"[{value.code} for {name} in {left.code}]")
        inner = self.variable()
        return _Many(f"[{inner} for {name} in {left.code} for {inner} in {value.code}]")

    def array(self, body: Node | None, given: _Place | _One) -> _Value:
        return _One("[]" if body is None else f"[*{self.list(body, given)}]")

    def binary(self, operator: str, left: Node, right: Node, given: _Place | _One) -> _Value:
        a, b = self.read(self.compile(left, given)), self.read(self.compile(right, given))
        if len(a.code) + len(b.code) > _MOST_CODE:
            return _UNKNOWN
        if operator == "//":
            if isinstance(a, _One) and isinstance(b, _One):
                return _One(f"({a.code} if {self.truth(a)} else {b.code})")
            name = self.variable()
            kept = f"[{name} for {name} in {self.as_list(a)} if truthy({name})]"
            return _Many(f"({kept} or {self.as_list(b)})")
        if isinstance(a, _One) and isinstance(b, _One):
            match operator:
                case "and" | "or":
                    return _One(f"({self.truth(a)} {operator} {self.truth(b)})", is_bool=True)
                case _:
                    return _One(_compare(operator, a.code, b.code), is_bool=True)
        x, y = self.variable(), self.variable()
        match operator:
            case "and":
                inner = f"({self.as_list(b)} if truthy({x}) else (False,))"
                return _Many(f"[truthy({y}) for {x} in {self.as_list(a)} for {y} in {inner}]")
            case "or":
                inner = f"((True,) if truthy({x}) else {self.as_list(b)})"
                return _Many(f"[truthy({y}) for {x} in {self.as_list(a)} for {y} in {inner}]")
        if isinstance(b, _One) and not _CALL.search(b.code):
            return _Many(f"[{_compare(operator, x, b.code)} for {x} in {a.code}]")
        pairs = f"pairs({self.as_list(a)}, {self.as_list(b)})"
        return _Many(f"[{_compare(operator, x, y)} for {x}, {y} in {pairs}]")

    @staticmethod
    def as_list(value: _One | _Many) -> str:
        return f"({value.code},)" if isinstance(value, _One) else value.code

    # functions

    def call(self, name: str, arguments: tuple[Node, ...], given: _Place | _One) -> _Value:
        match name, arguments:
            case "not", ():
                return _One(f"(not {self.any_true(given)})", is_bool=True)
            case "empty", ():
                return _Many("[]")
            case "select", (condition,):
                value = self.read(given)
                return _Many(f"([{value.code}] if {self.any_true(self.compile(condition, given))} else [])")
            case (("any" | "all"), ()):
                return self.quantifier(name, Each(Identity()), Identity(), given)
            case (("any" | "all"), (condition,)):
                return self.quantifier(name, Each(Identity()), condition, given)
            case (("any" | "all"), (generator, condition)):
                return self.quantifier(name, generator, condition, given)
            case "IN", (source,):
                value = self.read(given)
                one = self.variable()
                return _One(f"any([equal({value.code}, {one}) for {one} in {self.list(source, given)}])", is_bool=True)
            case "inside", (whole,):
                argument = self.read(self.compile(whole, given))
                value = self.read(given)
                return (
                    _One(f"contains({argument.code}, {value.code})", True) if isinstance(argument, _One) else _UNKNOWN
                )
            case "test", (Literal(pattern), Literal(flags)):
                return self.each_value(given, lambda v: f"matches({v}, {pattern!r}, {flags!r})", is_bool=True)
            case _, (argument,) if name in _ONE_ARGUMENT:
                found = self.read(self.compile(argument, given))
                if isinstance(found, _Many):
                    return _UNKNOWN
                is_bool = name not in ("index", "rindex")
                return self.each_value(given, lambda v: _ONE_ARGUMENT[name].format(v, found.code), is_bool=is_bool)
            case _, () if name in _NO_ARGUMENT:
                return self.each_value(given, lambda v: f"{_NO_ARGUMENT[name]}({v})")
            case _, () if name in _GUARDS:
                value = self.read(given)
                return _Many(f"([{value.code}] if {_GUARDS[name].format(v=value.code)} else [])")
        return _UNKNOWN

    def quantifier(self, name: str, generator: Node, condition: Node, given: _Place | _One) -> _Value:
        found = self.read(self.pipe(self.compile(generator, given), condition))
        one = self.variable()
        return _One(f"{name}([truthy({one}) for {one} in {self.as_list(found)}])", is_bool=True)


def _compare(operator: str, left: str, right: str) -> str:
    """Code for one comparison, without a helper where Python's own gives the same."""
    is_equality = operator in ("==", "!=")
    if is_equality and (right[:1] in "'\"" or left[:1] in "'\""):
        return f"({left} {operator} {right})"  # nothing else equals a text
    if is_equality and right in ("None", "True", "False"):
        return f"({left} {'is' if operator == '==' else 'is not'} {right})"
    slow = f"equal({left}, {right}) is {operator == '=='}" if is_equality else f"order({left}, {right}) {operator} 0"
    # a constant below 2**53 compares with any whole number as it does with the nearest double
    usual = "str" if right[:1] in "'\"" else "int" if right.isdigit() and len(right) <= _EXACT_DIGITS else None
    if usual is None or _CALL.search(left):
        return f"({slow})"
    return f"(({left} {operator} {right}) if type({left}) is {usual} else {slow})"
