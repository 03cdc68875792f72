"""
Characters to YAML tokens, with the sentences and lines that Go's YAML reader gives for what it cannot read.

Follows the YAML 1.1 specification with the choices of the libyaml family as of gopkg.in/yaml.v2: tabs never indent in
block context, `?` ends a plain scalar in flow context, `a:b` is one scalar there, an implicit key fits in one line
and 1,024 characters, nesting stops at 10,000. The text ends in NUL, which cannot occur inside.
"""

import enum
import re
from collections import deque
from dataclasses import dataclass
from typing import NoReturn

from kubewitness.policy.tree import GoError, Mark
from kubewitness.policy.yaml11.source import Source

MAX_DEPTH = 10_000
_MAX_KEY_CHARACTERS = 1024
_BREAKS = "\r\n\x85\u2028\u2029"
_BLANK_OR_END = " \t\0" + _BREAKS
_BREAK_OR_END = "\0" + _BREAKS
_WORD = re.compile(r"[0-9A-Za-z_-]*")
_URI = re.compile(r"[0-9A-Za-z_\-;/?:@&=+$,.!~*'()\[\]]*")
_COMMENT = re.compile("[^\0\r\n\x85\u2028\u2029]*")
_BLANKS = re.compile("[ \t]*")
_DOUBLE_RUN = re.compile('[^"\\\\\0 \t\r\n\x85\u2028\u2029]*')
_SINGLE_RUN = re.compile("[^'\0 \t\r\n\x85\u2028\u2029]*")
_PLAIN_BLOCK = re.compile("(?:[^:\0 \t\r\n\x85\u2028\u2029]|:(?![\0 \t\r\n\x85\u2028\u2029]))*")
_PLAIN_FLOW = re.compile("(?:[^:,?\\[\\]{}\0 \t\r\n\x85\u2028\u2029]|:(?![\0 \t\r\n\x85\u2028\u2029]))*")
_ESCAPES = {
    "0": "\0", "a": "\a", "b": "\b", "t": "\t", "\t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r", "e": "\x1b",
    " ": " ", '"': '"', "'": "'", "\\": "\\", "N": "\x85", "_": "\xa0", "L": "\u2028", "P": "\u2029",
}  # fmt: skip
_HEX_DIGITS = {"x": 2, "u": 4, "U": 8}


class T(enum.Enum):
    """Kinds of token."""

    STREAM_END = enum.auto()
    VERSION = enum.auto()
    TAG_DIRECTIVE = enum.auto()
    DOCUMENT_START = enum.auto()
    DOCUMENT_END = enum.auto()
    BLOCK_SEQUENCE = enum.auto()
    BLOCK_MAPPING = enum.auto()
    BLOCK_END = enum.auto()
    FLOW_SEQUENCE = enum.auto()
    FLOW_SEQUENCE_END = enum.auto()
    FLOW_MAPPING = enum.auto()
    FLOW_MAPPING_END = enum.auto()
    BLOCK_ENTRY = enum.auto()
    FLOW_ENTRY = enum.auto()
    KEY = enum.auto()
    VALUE = enum.auto()
    ALIAS = enum.auto()
    ANCHOR = enum.auto()
    TAG = enum.auto()
    SCALAR = enum.auto()


@dataclass(frozen=True, slots=True)
class Token:
    """One token. `line` and `column` count from 0; `extra` is the tag suffix or the prefix of a %TAG directive."""

    kind: T
    line: int
    column: int
    value: str = ""
    extra: str = ""
    is_plain: bool = False


@dataclass(slots=True)
class _SimpleKey:
    """A place that may turn out to start a `key:`; `required` when it can be nothing else."""

    number: int
    index: int
    line: int
    column: int
    required: bool


class Scanner:
    """Gives tokens one by one: `peek()`, `take()`."""

    def __init__(self, source: Source) -> None:
        self._text = source.text + "\0\0\0\0"
        self._size = len(source.text)
        self._problem = source.problem
        self._at = 0
        self._line = 0
        self._line_start = 0
        self._flow_level = 0
        self._indent = -1
        self._indents: list[int] = []
        self._keys: list[_SimpleKey | None] = [None]
        self._keys_by_number: dict[int, int] = {}
        self._may_start_key = True
        self._tokens: deque[Token] = deque()
        self._taken = 0

    def peek(self) -> Token:
        """Give the next token without consuming it."""
        while not self._tokens or self._head_may_be_key():
            self._fetch_checked()
        return self._tokens[0]

    def take(self) -> Token:
        """Consume the next token."""
        token = self.peek()
        self._tokens.popleft()
        self._taken += 1
        return token

    def fail(self, problem: str) -> NoReturn:
        """Raise what the Go reader says of a problem here; on the first line it names no line."""
        where = f"line {self._line + 1}: " if self._line else ""
        raise GoError(f"yaml: {where}{problem}", Mark(self._line + 1, self._column + 1))

    @property
    def _column(self) -> int:
        return self._at - self._line_start

    def _head_may_be_key(self) -> bool:
        level = self._keys_by_number.get(self._taken)
        if level is None:
            return False
        key = self._keys[level]
        return key is not None and self._is_valid(key, level)

    def _is_valid(self, key: _SimpleKey, level: int) -> bool:
        if key.line < self._line or key.index + _MAX_KEY_CHARACTERS < self._at:
            if key.required:
                self.fail("could not find expected ':'")
            self._keys[level] = None
            self._keys_by_number.pop(key.number, None)
            return False
        return True

    def _fetch_checked(self) -> None:
        """Fetch a token; a bad block of bytes that was touched on the way overrules every other outcome."""
        if self._problem is None:
            self._fetch()
            return
        try:
            self._fetch()
        except GoError:
            self._check_readable()
            raise
        self._check_readable()

    def _check_readable(self) -> None:
        if self._at >= self._size:
            raise GoError(f"yaml: {self._problem}", Mark(self._line + 1, self._column + 1))

    # what comes next

    def _fetch(self) -> None:
        self._skip_to_token()
        column = self._column
        self._unroll(column)
        text, at = self._text, self._at
        character = text[at]
        following = text[at + 1] if at < self._size else "\0"
        if character == "\0":
            self._fetch_stream_end()
        elif column == 0 and character == "%":
            self._fetch_directive()
        elif column == 0 and text[at : at + 3] in ("---", "...") and text[at + 3] in _BLANK_OR_END:
            self._fetch_document_indicator(T.DOCUMENT_START if character == "-" else T.DOCUMENT_END)
        elif character in "[{":
            self._fetch_flow_start(T.FLOW_SEQUENCE if character == "[" else T.FLOW_MAPPING)
        elif character in "]}":
            self._fetch_flow_end(T.FLOW_SEQUENCE_END if character == "]" else T.FLOW_MAPPING_END)
        elif character == ",":
            self._drop_key()
            self._may_start_key = True
            self._add(T.FLOW_ENTRY, 1)
        elif character in "-?:" and self._is_indicator(character, following):
            {"-": self._fetch_block_entry, "?": self._fetch_key, ":": self._fetch_value}[character]()
        else:
            self._fetch_content(character, following)

    def _is_indicator(self, character: str, following: str) -> bool:
        return following in _BLANK_OR_END or (character != "-" and self._flow_level > 0)

    def _fetch_content(self, character: str, following: str) -> None:
        if character in "*&":
            self._save_key()
            self._may_start_key = False
            self._scan_anchor(T.ALIAS if character == "*" else T.ANCHOR)
        elif character == "!":
            self._save_key()
            self._may_start_key = False
            self._scan_tag()
        elif character in "|>" and not self._flow_level:
            self._drop_key()
            self._may_start_key = True
            self._scan_block_scalar(character == "|")
        elif character in "'\"":
            self._save_key()
            self._may_start_key = False
            self._scan_quoted(character)
        elif self._starts_plain(character, following):
            self._save_key()
            self._may_start_key = False
            self._scan_plain()
        else:
            self.fail("found character that cannot start any token")

    def _starts_plain(self, character: str, following: str) -> bool:
        if character in _BLANK_OR_END:
            return False
        if character == "-":
            return following not in " \t"
        if character in "?:":
            return not self._flow_level and following not in _BLANK_OR_END
        return character not in ",[]{}#&*!|>'\"%@`"

    def _skip_to_token(self) -> None:
        text = self._text
        while True:
            if self._column == 0 and text[self._at] == "\ufeff":
                self._at += 1
            tabs_allowed = self._flow_level > 0 or not self._may_start_key
            while text[self._at] == " " or (tabs_allowed and text[self._at] == "\t"):
                self._at += 1
            if text[self._at] == "#":
                self._skip(_COMMENT)
            if text[self._at] not in _BREAKS:
                return
            self._skip_break()
            if not self._flow_level:
                self._may_start_key = True

    def _skip(self, pattern: "re.Pattern[str]") -> str:
        found = pattern.match(self._text, self._at)
        assert found is not None  # noqa: S101  every pattern here matches the empty string
        self._at = found.end()
        return found.group()

    def _skip_break(self) -> str:
        """Consume a line break; give what it stands for."""
        text, at = self._text, self._at
        character = text[at]
        self._at += 2 if character == "\r" and text[at + 1] == "\n" else 1
        self._line += 1
        self._line_start = self._at
        return character if character in "\u2028\u2029" else "\n"

    # keys, indents, tokens

    def _add(self, kind: T, width: int) -> None:
        self._tokens.append(Token(kind, self._line, self._column))
        self._at += width

    def _save_key(self) -> None:
        if not self._may_start_key:
            return
        required = not self._flow_level and self._indent == self._column
        self._drop_key()
        number = self._taken + len(self._tokens)
        self._keys[-1] = _SimpleKey(number, self._at, self._line, self._column, required)
        self._keys_by_number[number] = len(self._keys) - 1

    def _drop_key(self) -> None:
        key = self._keys[-1]
        if key is not None:
            if key.required:
                self.fail("could not find expected ':'")
            self._keys[-1] = None
            self._keys_by_number.pop(key.number, None)

    def _roll(self, column: int, kind: T, line: int, position: int | None = None) -> None:
        if self._flow_level or self._indent >= column:
            return
        self._indents.append(self._indent)
        self._indent = column
        if len(self._indents) > MAX_DEPTH:
            self.fail(f"exceeded max depth of {MAX_DEPTH}")
        token = Token(kind, line, column)
        if position is None:
            self._tokens.append(token)
        else:
            self._tokens.insert(position, token)

    def _unroll(self, column: int) -> None:
        if self._flow_level:
            return
        while self._indent > column:
            self._tokens.append(Token(T.BLOCK_END, self._line, self._column))
            self._indent = self._indents.pop()

    def _fetch_stream_end(self) -> None:
        if self._column:
            self._line += 1
            self._line_start = self._at
        self._unroll(-1)
        self._drop_key()
        self._may_start_key = False
        self._add(T.STREAM_END, 0)

    def _fetch_document_indicator(self, kind: T) -> None:
        self._unroll(-1)
        self._drop_key()
        self._may_start_key = False
        self._add(kind, 3)

    def _fetch_flow_start(self, kind: T) -> None:
        self._save_key()
        self._keys.append(None)
        self._flow_level += 1
        if self._flow_level > MAX_DEPTH:
            self.fail(f"exceeded max depth of {MAX_DEPTH}")
        self._may_start_key = True
        self._add(kind, 1)

    def _fetch_flow_end(self, kind: T) -> None:
        self._drop_key()
        if self._flow_level:
            self._flow_level -= 1
            self._keys.pop()
        self._may_start_key = False
        self._add(kind, 1)

    def _fetch_block_entry(self) -> None:
        if not self._flow_level:
            if not self._may_start_key:
                self.fail("block sequence entries are not allowed in this context")
            self._roll(self._column, T.BLOCK_SEQUENCE, self._line)
        self._drop_key()
        self._may_start_key = True
        self._add(T.BLOCK_ENTRY, 1)

    def _fetch_key(self) -> None:
        if not self._flow_level:
            if not self._may_start_key:
                self.fail("mapping keys are not allowed in this context")
            self._roll(self._column, T.BLOCK_MAPPING, self._line)
        self._drop_key()
        self._may_start_key = not self._flow_level
        self._add(T.KEY, 1)

    def _fetch_value(self) -> None:
        level = len(self._keys) - 1
        key = self._keys[level]
        if key is not None and self._is_valid(key, level):
            position = key.number - self._taken
            self._tokens.insert(position, Token(T.KEY, key.line, key.column))
            self._roll(key.column, T.BLOCK_MAPPING, key.line, position)
            self._keys[level] = None
            self._keys_by_number.pop(key.number, None)
            self._may_start_key = False
        else:
            if not self._flow_level:
                if not self._may_start_key:
                    self.fail("mapping values are not allowed in this context")
                self._roll(self._column, T.BLOCK_MAPPING, self._line)
            self._may_start_key = not self._flow_level
        self._add(T.VALUE, 1)

    # directives, anchors, tags

    def _fetch_directive(self) -> None:
        self._unroll(-1)
        self._drop_key()
        self._may_start_key = False
        line, column = self._line, self._column
        self._at += 1
        name = self._skip(_WORD)
        if not name:
            self.fail("could not find expected directive name")
        if self._text[self._at] not in _BLANK_OR_END:
            self.fail("found unexpected non-alphabetical character")
        if name == "YAML":
            token = self._version_directive(line, column)
        elif name == "TAG":
            token = self._tag_directive(line, column)
        else:
            self.fail("found unknown directive name")
        self._rest_of_line()
        self._tokens.append(token)

    def _version_directive(self, line: int, column: int) -> Token:
        self._skip(_BLANKS)
        major = self._version_number()
        if self._text[self._at] != ".":
            self.fail("did not find expected digit or '.' character")
        self._at += 1
        return Token(T.VERSION, line, column, f"{major}.{self._version_number()}")

    def _version_number(self) -> int:
        start = self._at
        while "0" <= self._text[self._at] <= "9":
            if self._at - start == 2:
                self.fail("found extremely long version number")
            self._at += 1
        if start == self._at:
            self.fail("did not find expected version number")
        return int(self._text[start : self._at])

    def _tag_directive(self, line: int, column: int) -> Token:
        self._skip(_BLANKS)
        handle = self._tag_handle(is_directive=True)
        if self._text[self._at] not in " \t":
            self.fail("did not find expected whitespace")
        self._skip(_BLANKS)
        prefix = self._tag_uri("")
        if self._text[self._at] not in _BLANK_OR_END:
            self.fail("did not find expected whitespace or line break")
        return Token(T.TAG_DIRECTIVE, line, column, handle, prefix)

    def _rest_of_line(self) -> None:
        self._skip(_BLANKS)
        if self._text[self._at] == "#":
            self._skip(_COMMENT)
        if self._text[self._at] not in _BREAK_OR_END:
            self.fail("did not find expected comment or line break")
        if self._text[self._at] in _BREAKS:
            self._skip_break()

    def _scan_anchor(self, kind: T) -> None:
        line, column = self._line, self._column
        self._at += 1
        name = self._skip(_WORD)
        if not name or self._text[self._at] not in _BLANK_OR_END + "?:,]}%@`":
            self.fail("did not find expected alphabetic or numeric character")
        self._tokens.append(Token(kind, line, column, name))

    def _scan_tag(self) -> None:
        line, column = self._line, self._column
        if self._text[self._at + 1] == "<":
            self._at += 2
            handle, suffix = "", self._tag_uri("")
            if self._text[self._at] != ">":
                self.fail("did not find the expected '>'")
            self._at += 1
        else:
            handle = self._tag_handle(is_directive=False)
            if len(handle) > 1 and handle.endswith("!"):
                suffix = self._tag_uri("")
            else:
                suffix = self._tag_uri(handle)
                handle, suffix = ("!", suffix) if suffix else ("", "!")
        if self._text[self._at] not in _BLANK_OR_END:
            self.fail("did not find expected whitespace or line break")
        self._tokens.append(Token(T.TAG, line, column, handle, suffix))

    def _tag_handle(self, *, is_directive: bool) -> str:
        if self._text[self._at] != "!":
            self.fail("did not find expected '!'")
        self._at += 1
        handle = "!" + self._skip(_WORD)
        if self._text[self._at] == "!":
            self._at += 1
            return handle + "!"
        if is_directive and handle != "!":
            self.fail("did not find expected '!'")
        return handle

    def _tag_uri(self, head: str) -> str:
        parts = [head[1:]]
        is_tag = bool(head)
        while True:
            run = self._skip(_URI)
            parts.append(run)
            is_tag = is_tag or bool(run)
            if self._text[self._at] != "%":
                break
            parts.append(self._uri_escape())
            is_tag = True
        if not is_tag:
            self.fail("did not find expected tag URI")
        return "".join(parts)

    def _uri_escape(self) -> str:
        """Decode one character written as `%XX`, as many as its first octet asks for."""
        octets = bytearray()
        width = 1
        while len(octets) < width:
            digits = self._text[self._at + 1 : self._at + 3]
            if self._text[self._at] != "%" or not re.fullmatch("[0-9A-Fa-f]{2}", digits):
                self.fail("did not find URI escaped octet")
            octet = int(digits, 16)
            if octets:
                if octet & 0xC0 != 0x80:
                    self.fail("found an incorrect trailing UTF-8 octet")
            else:
                width = 1 if octet < 0x80 else 2 if octet & 0xE0 == 0xC0 else 3 if octet & 0xF0 == 0xE0 else 4
                if width == 4 and octet & 0xF8 != 0xF0:
                    self.fail("found an incorrect leading UTF-8 octet")
            octets.append(octet)
            self._at += 3
        return octets.decode("utf-8", "surrogateescape")

    # scalars

    def _scan_block_scalar(self, is_literal: bool) -> None:
        line, column = self._line, self._column
        self._at += 1
        chomping, increment = self._block_header()
        self._rest_of_line()
        indent = max(self._indent, 0) + increment if increment else 0
        indent, trailing = self._block_breaks(indent)
        parts: list[str] = []
        leading_break, leading_blank = "", False
        while self._column == indent and self._text[self._at] != "\0":
            is_blank = self._text[self._at] in " \t"
            if not is_literal and leading_break.startswith("\n") and not leading_blank and not is_blank:
                if not trailing:
                    parts.append(" ")
            else:
                parts.append(leading_break)
            parts.append(trailing)
            leading_blank = is_blank
            parts.append(self._skip(_COMMENT))
            leading_break = self._skip_break() if self._text[self._at] in _BREAKS else ""
            indent, trailing = self._block_breaks(indent)
        if chomping != "-":
            parts.append(leading_break)
        if chomping == "+":
            parts.append(trailing)
        self._tokens.append(Token(T.SCALAR, line, column, "".join(parts)))

    def _block_header(self) -> tuple[str, int]:
        """Read the chomping and indentation indicators, in either order."""
        chomping, increment = "", 0
        for _ in range(2):
            character = self._text[self._at]
            if character in "+-" and not chomping:
                chomping = character
            elif "0" <= character <= "9" and not increment:
                if character == "0":
                    self.fail("found an indentation indicator equal to 0")
                increment = int(character)
            else:
                break
            self._at += 1
        return chomping, increment

    def _block_breaks(self, indent: int) -> tuple[int, str]:
        """Skip indentation and empty lines; give the indent, found here when it was 0, and the breaks."""
        breaks: list[str] = []
        deepest = 0
        text = self._text
        while True:
            while (not indent or self._column < indent) and text[self._at] == " ":
                self._at += 1
            deepest = max(deepest, self._column)
            if (not indent or self._column < indent) and text[self._at] == "\t":
                self.fail("found a tab character where an indentation space is expected")
            if text[self._at] not in _BREAKS:
                break
            breaks.append(self._skip_break())
        return indent or max(deepest, self._indent + 1, 1), "".join(breaks)

    def _is_document_indicator(self) -> bool:
        text, at = self._text, self._at
        return self._column == 0 and text[at : at + 3] in ("---", "...") and text[at + 3] in _BLANK_OR_END

    def _scan_quoted(self, quote: str) -> None:
        line, column = self._line, self._column
        run = _SINGLE_RUN if quote == "'" else _DOUBLE_RUN
        text = self._text
        self._at += 1
        parts: list[str] = []
        while True:
            if self._is_document_indicator():
                self.fail("found unexpected document indicator")
            if text[self._at] == "\0":
                self.fail("found unexpected end of stream")
            escaped_break = False
            while True:
                parts.append(self._skip(run))
                character = text[self._at]
                if quote == "'" and text[self._at : self._at + 2] == "''":
                    parts.append("'")
                    self._at += 2
                elif character == "\\" and quote == '"':
                    if text[self._at + 1] in _BREAKS:
                        self._at += 1
                        self._skip_break()
                        escaped_break = True
                        break
                    parts.append(self._escape())
                else:
                    break
            if text[self._at] == quote:
                break
            parts.append(self._fold(escaped_break=escaped_break))
        self._at += 1
        self._tokens.append(Token(T.SCALAR, line, column, "".join(parts)))

    def _fold(self, *, escaped_break: bool = False, indent: int = 0) -> str:
        """Read blanks and line breaks inside a scalar; give what they stand for."""
        text, start = self._text, self._at
        leading: str | None = "" if escaped_break else None
        trailing: list[str] = []
        while True:
            character = text[self._at]
            if character in " \t":
                if character == "\t" and leading is not None and self._column < indent:
                    self.fail("found a tab character that violates indentation")
                self._at += 1
            elif character in _BREAKS:
                if leading is None:
                    leading = self._skip_break()
                else:
                    trailing.append(self._skip_break())
            else:
                break
        if leading is None:
            return text[start : self._at]
        if leading == "\n":
            return "".join(trailing) or " "
        return leading + "".join(trailing)

    def _escape(self) -> str:
        character = self._text[self._at + 1]
        if character in _ESCAPES:
            self._at += 2
            return _ESCAPES[character]
        width = _HEX_DIGITS.get(character)
        if width is None:
            self.fail("found unknown escape character")
        self._at += 2
        digits = self._text[self._at : self._at + width]
        if not re.fullmatch(f"[0-9A-Fa-f]{{{width}}}", digits):
            self.fail("did not find expected hexdecimal number")
        code = int(digits, 16)
        if 0xD800 <= code <= 0xDFFF or code > 0x10FFFF:
            self.fail("found invalid Unicode character escape code")
        self._at += width
        return chr(code)

    def _scan_plain(self) -> None:
        line, column = self._line, self._column
        run = _PLAIN_FLOW if self._flow_level else _PLAIN_BLOCK
        indent = self._indent + 1
        text = self._text
        parts: list[str] = []
        between, last_line = "", line
        while not self._is_document_indicator() and text[self._at] != "#":
            word = self._skip(run)
            if word:
                parts += (between, word)
                between, last_line = "", self._line
            if text[self._at] not in " \t" + _BREAKS:
                break
            between += self._fold(indent=indent)
            if not self._flow_level and self._column < indent:
                break
        if self._line > last_line:
            self._may_start_key = True
        self._tokens.append(Token(T.SCALAR, line, column, "".join(parts), is_plain=True))
