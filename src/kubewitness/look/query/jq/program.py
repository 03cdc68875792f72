"""
Read the part of the jq language in which filters over audit logs are written, into a small tree.

In: the text of a filter. Out: its stages, the expressions between the top-level pipes, as far as they are understood;
what follows is left out and `Program.is_whole` is false. Nothing is guessed: whatever this grammar does not hold is
`Opaque` (an expression whose value is unknown) or ends the reading, so a tree never means something else than
the text does. A text that jq itself refuses may still give a tree; jq then says so.

Follows jq's src/lexer.l and src/parser.y, 1.5 to 1.8: `|` binds loosest, then `,`, `//`, `or`, `and`, comparisons.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Identity:
    """The input itself, `.`."""


@dataclass(frozen=True, slots=True)
class Field:
    """One key of an object, `.name`, `."name"` or `.["name"]`."""

    base: "Node"
    name: str


@dataclass(frozen=True, slots=True)
class At:
    """One element of an array, `.[0]`."""

    base: "Node"
    index: int


@dataclass(frozen=True, slots=True)
class Each:
    """Every element, `.[]`."""

    base: "Node"


@dataclass(frozen=True, slots=True)
class Optional:
    """The same without its errors, `X?`."""

    base: "Node"


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant: a string, a whole number, true, false, null, or a `$name` given on the command line."""

    value: object


@dataclass(frozen=True, slots=True)
class Array:
    """All outputs in one array, `[X]`."""

    body: "Node | None"


@dataclass(frozen=True, slots=True)
class Pipe:
    """`left | right`."""

    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class Comma:
    """`left, right`."""

    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class Binary:
    """`left OP right`, where OP is `//`, `or`, `and` or a comparison."""

    operator: str
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class Call:
    """A function, with the arguments between `;`."""

    name: str
    arguments: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Opaque:
    """An expression that is well delimited but not understood."""


Node = Identity | Field | At | Each | Optional | Literal | Array | Pipe | Comma | Binary | Call | Opaque


@dataclass(frozen=True, slots=True)
class Program:
    """The top-level stages of a filter that were understood; not whole when more follow."""

    stages: tuple[Node, ...]
    is_whole: bool


def parse(text: str, variables: Mapping[str, object] | None = None) -> Program:
    """Read the leading stages of a filter; `variables` are the values of `--arg` and `--argjson`."""
    parser = _Parser(_tokens(text), dict(variables or {}))
    stages: list[Node] = []
    while True:
        try:
            stage = parser.comma()
        except (UnknownSyntaxError, RecursionError):
            return Program(tuple(stages), is_whole=False)
        kind = parser.peek()[0]
        if kind == "end":
            return Program((*stages, stage), is_whole=True)
        if kind != "|":
            return Program(tuple(stages), is_whole=False)
        stages.append(stage)
        parser.take()


class UnknownSyntaxError(ValueError):
    """Here the known part of the language ends."""


# What jq's lexer makes of the text. A `#` is left out: 1.7 continues comments over a backslash, 1.6 does not.
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
      | (?P<string>"(?:[^"\\]|\\["\\/bfnrtu])*")
      | (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
      | (?P<field>\.[a-zA-Z_][a-zA-Z_0-9]*)
      | (?P<variable>\$[a-zA-Z_][a-zA-Z_0-9]*)
      | (?P<word>[a-zA-Z_][a-zA-Z_0-9]*)
      | (?P<sign>\?//=?|//=|//|==|!=|<=|>=|\|=|\+=|-=|\*=|/=|%=|\.\.|::|[.\[\](){}|,;:?<>=+\-*/%$@])
    """,
    re.VERBOSE | re.ASCII,
)
_KEYWORDS = frozenset(
    [
        *("def", "if", "then", "elif", "else", "end", "as", "reduce", "foreach", "try", "catch", "label"),
        *("import", "include", "module", "and", "or", "__loc__"),
    ]
)
_JQ_VARIABLES = frozenset(["ENV", "ARGS", "__loc__", "__prog_args"])
_COMPARISONS = frozenset(["==", "!=", "<", "<=", ">", ">="])
_Token = tuple[str, str]


def _tokens(text: str) -> list[_Token]:
    """Cut the text up; an unknown character ends the list with a token that no rule accepts."""
    found: list[_Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            return [*found, ("unknown", text[at])]
        kind, value = str(match.lastgroup), match.group()
        at = match.end()
        if kind == "sign" or (kind == "word" and value in _KEYWORDS):
            found.append((value, value))
        elif kind != "space":
            found.append((kind, value))
    return [*found, ("end", "")]


@dataclass(slots=True)
class _Parser:
    """Recursive descent over the tokens, one method for each level of precedence."""

    tokens: list[_Token]
    variables: dict[str, object]
    at: int = field(default=0)

    def peek(self) -> _Token:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("unknown", "")

    def take(self) -> _Token:
        token = self.peek()
        self.at += 1
        return token

    def accept(self, kind: str) -> bool:
        if self.peek()[0] != kind:
            return False
        self.at += 1
        return True

    def expect(self, kind: str) -> None:
        if not self.accept(kind):
            raise UnknownSyntaxError

    def pipe(self) -> Node:
        left = self.comma()
        return Pipe(left, self.pipe()) if self.accept("|") else left

    def comma(self) -> Node:
        left = self.alternative()
        while self.accept(","):
            left = Comma(left, self.alternative())
        return left

    def alternative(self) -> Node:
        left = self.disjunction()
        return Binary("//", left, self.alternative()) if self.accept("//") else left

    def disjunction(self) -> Node:
        left = self.conjunction()
        while self.accept("or"):
            left = Binary("or", left, self.conjunction())
        return left

    def conjunction(self) -> Node:
        left = self.comparison()
        while self.accept("and"):
            left = Binary("and", left, self.comparison())
        return left

    def comparison(self) -> Node:
        left = self.postfix()
        operator = self.peek()[0]
        if operator not in _COMPARISONS:
            return left
        self.take()
        return Binary(operator, left, self.postfix())

    def postfix(self) -> Node:
        node = self.term()
        while True:
            kind, value = self.peek()
            if kind == "field":
                self.take()
                node = Field(node, value[1:])
            elif kind == ".":
                self.take()
                node = self.after_dot(node)
            elif kind == "[":
                node = self.bracket(node)
            elif kind == "?":
                self.take()
                node = Optional(node)
            else:
                return node

    def after_dot(self, node: Node) -> Node:
        """After a `.` that does not begin a name: `."name"` or `.[...]`."""
        kind, value = self.peek()
        if kind == "string":
            self.take()
            return Field(node, _string(value))
        if kind == "[":
            return self.bracket(node)
        raise UnknownSyntaxError

    def bracket(self, node: Node) -> Node:
        self.expect("[")
        if self.accept("]"):
            return Each(node)
        inner = self.pipe()
        self.expect("]")
        match inner:
            case Literal(str() as name):
                return Field(node, name)
            case Literal(int() as index) if not isinstance(index, bool) and abs(index) < 2**31:
                return At(node, index)
            case _:
                return Opaque()

    def term(self) -> Node:
        kind, value = self.take()
        match kind:
            case ".":
                following = self.peek()[0]
                return self.after_dot(Identity()) if following in ("string", "[") else Identity()
            case "field":
                return Field(Identity(), value[1:])
            case "string":
                return Literal(_string(value))
            case "number":
                return Literal(int(value)) if value.isdigit() else Opaque()
            case "variable":
                return self.variable(value[1:])
            case "(":
                inner = self.pipe()
                self.expect(")")
                return inner
            case "[":
                if self.accept("]"):
                    return Array(None)
                body = self.pipe()
                self.expect("]")
                return Array(body)
            case "word":
                return self.call(value)
            case _:
                raise UnknownSyntaxError

    def variable(self, name: str) -> Node:
        known = self.variables.get(name, ...)
        if known is ... or name in _JQ_VARIABLES or (isinstance(known, str) and not known.isprintable()):
            return Opaque()
        return Literal(known)

    def call(self, name: str) -> Node:
        if self.peek()[0] == "::":
            raise UnknownSyntaxError
        arguments: list[Node] = []
        if self.accept("("):
            arguments.append(self.pipe())
            while self.accept(";"):
                arguments.append(self.pipe())
            self.expect(")")
        constants: dict[str, object] = {"true": True, "false": False, "null": None}
        if name in constants and not arguments:
            return Literal(constants[name])
        return Call(name, tuple(arguments))


def _string(token: str) -> str:
    """Give the value of a string token; jq's escapes are JSON's."""
    try:
        value = json.loads(token, strict=False)
    except ValueError as error:
        raise UnknownSyntaxError from error
    if not isinstance(value, str) or not value.isprintable() or "\ufffd" in value:
        raise UnknownSyntaxError
    return value
