"""
Read JSON text as Go's encoding/json does, with its error texts and the place of every value.

Differs from `json.loads`: repeated names are kept, nothing may follow the value, bad UTF-8 becomes U+FFFD, and
nesting is limited to 10,000 without recursion.
"""

import re

from kubewitness.policy import gotext
from kubewitness.policy.tree import GoError, Kind, Mark, Member, Value

MAX_DEPTH = 10_000
_SPACE = re.compile(rb"[ \t\r\n]*")
_STRING_RUN = re.compile(rb'[^"\\\x00-\x1f]*')
_ESCAPED = {34: '"', 92: "\\", 47: "/", 98: "\b", 102: "\f", 110: "\n", 114: "\r", 116: "\t"}
_LITERALS = {ord("t"): (b"true", Kind.BOOL), ord("f"): (b"false", Kind.BOOL), ord("n"): (b"null", Kind.NULL)}


def parse(data: bytes) -> Value:
    """Parse one JSON text. Raises GoError with Go's sentence."""
    return _Parser(data).document()


class _Parser:
    """Walks the bytes once; an explicit stack of open containers stands in for recursion."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.line = 1
        self.column = 1
        self.counted = 0

    def document(self) -> Value:
        """Parse the whole text."""
        root: Value | None = None
        stack: list[Value] = []
        names: list[tuple[str, Mark]] = []
        while True:
            value = self._value(stack)
            if root is None:
                root = value
            else:
                self._attach(stack[-1], names, value)
            if value.kind in (Kind.OBJECT, Kind.ARRAY) and self._opened(value):
                stack.append(value)
                if value.kind is Kind.OBJECT:
                    names.append(self._name())
                continue
            while stack:
                if not self._closed(stack[-1]):
                    if stack[-1].kind is Kind.OBJECT:
                        names.append(self._name())
                    break
                stack.pop()
            if not stack:
                break
        self._skip()
        if self.at < len(self.data):
            raise self._invalid("after top-level value")
        return root

    @staticmethod
    def _attach(container: Value, names: list[tuple[str, Mark]], value: Value) -> None:
        if container.kind is Kind.ARRAY:
            container.items.append(value)
        else:
            name, mark = names.pop()
            container.members.append(Member(name, mark, value))

    def _opened(self, value: Value) -> bool:
        """Enter a container; False when it is empty."""
        self._skip()
        closing = b"}" if value.kind is Kind.OBJECT else b"]"
        if self.data[self.at : self.at + 1] == closing:
            self.at += 1
            return False
        return True

    def _closed(self, container: Value) -> bool:
        """After a member: True when the container ends, False when another member follows."""
        self._skip()
        character = self._peek()
        if character == ord(","):
            self.at += 1
            self._skip()
            return False
        is_object = container.kind is Kind.OBJECT
        if character == (ord("}") if is_object else ord("]")):
            self.at += 1
            return True
        raise self._invalid("after object key:value pair" if is_object else "after array element")

    def _name(self) -> tuple[str, Mark]:
        self._skip()
        if self._peek() != ord('"'):
            raise self._invalid("looking for beginning of object key string")
        mark = self._mark()
        name = self._string()
        self._skip()
        if self._peek() != ord(":"):
            raise self._invalid("after object key")
        self.at += 1
        return name, mark

    def _value(self, stack: list[Value]) -> Value:
        self._skip()
        character = self._peek()
        mark = self._mark()
        if character in (ord("{"), ord("[")):
            self.at += 1
            if len(stack) >= MAX_DEPTH:
                raise GoError("exceeded max depth", mark)
            return Value(Kind.OBJECT if character == ord("{") else Kind.ARRAY, mark)
        if character == ord('"'):
            return Value(Kind.STRING, mark, self._string())
        if character in _LITERALS:
            return self._literal(mark)
        if character == ord("-") or ord("0") <= character <= ord("9"):
            return Value(Kind.NUMBER, mark, self._number())
        raise self._invalid("looking for beginning of value")

    def _literal(self, mark: Mark) -> Value:
        word, kind = _LITERALS[self.data[self.at]]
        for expected in word:
            if self._peek() != expected:
                raise self._invalid(f"in literal {word.decode()} (expecting '{chr(expected)}')")
            self.at += 1
        return Value(kind, mark, word.decode())

    def _number(self) -> str:
        start = self.at
        if self._peek() == ord("-"):
            self.at += 1
            if not self._is_digit(self._peek()):
                raise self._invalid("in numeric literal")
        if self._peek() == ord("0"):
            self.at += 1
        else:
            self._digits()
        if self._peek_or_none() == ord("."):
            self.at += 1
            if not self._is_digit(self._peek()):
                raise self._invalid("after decimal point in numeric literal")
            self._digits()
        if self._peek_or_none() in (ord("e"), ord("E")):
            self.at += 1
            if self._peek() in (ord("+"), ord("-")):
                self.at += 1
            if not self._is_digit(self._peek()):
                raise self._invalid("in exponent of numeric literal")
            self._digits()
        return self.data[start : self.at].decode()

    def _digits(self) -> None:
        while self._is_digit(self._peek_or_none()):
            self.at += 1

    @staticmethod
    def _is_digit(character: int) -> bool:
        return ord("0") <= character <= ord("9")

    def _string(self) -> str:
        self.at += 1
        parts: list[str] = []
        while True:
            run = _STRING_RUN.match(self.data, self.at)
            assert run is not None  # noqa: S101  the pattern matches the empty string
            parts.append(run.group().decode("utf-8", "replace"))
            self.at = run.end()
            character = self._peek()
            if character == ord('"'):
                self.at += 1
                return "".join(parts)
            if character != ord("\\"):
                raise self._invalid("in string literal")
            self.at += 1
            parts.append(self._escape())

    def _escape(self) -> str:
        character = self._peek()
        if character in _ESCAPED:
            self.at += 1
            return _ESCAPED[character]
        if character != ord("u"):
            raise self._invalid("in string escape code")
        code = self._hex4()
        if not 0xD800 <= code < 0xE000:
            return chr(code)
        # half a pair alone becomes U+FFFD; the other half is consumed only when it fits
        if code < 0xDC00 and self.data[self.at : self.at + 2] == b"\\u":
            before = self.at
            self.at += 1
            low = self._hex4()
            if 0xDC00 <= low < 0xE000:
                return chr(0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00))
            self.at = before
        return "\ufffd"

    def _hex4(self) -> int:
        self.at += 1
        for _ in range(4):
            if chr(self._peek()) not in "0123456789abcdefABCDEF":
                raise self._invalid("in \\u hexadecimal character escape")
            self.at += 1
        return int(self.data[self.at - 4 : self.at], 16)

    def _skip(self) -> None:
        run = _SPACE.match(self.data, self.at)
        assert run is not None  # noqa: S101  the pattern matches the empty string
        self.at = run.end()

    def _peek(self) -> int:
        if self.at >= len(self.data):
            raise GoError("unexpected end of JSON input", self._mark())
        return self.data[self.at]

    def _peek_or_none(self) -> int:
        return self.data[self.at] if self.at < len(self.data) else -1

    def _mark(self) -> Mark:
        passed = self.data[self.counted : self.at]
        self.counted = self.at
        breaks = passed.count(b"\n")
        if breaks:
            self.line += breaks
            self.column = 1
            passed = passed[passed.rindex(b"\n") + 1 :]
        self.column += len(passed.decode("utf-8", "replace"))
        return Mark(self.line, self.column)

    def _invalid(self, context: str) -> GoError:
        character = gotext.quote_byte(self._peek())
        return GoError(f"invalid character {character} {context}", self._mark())
