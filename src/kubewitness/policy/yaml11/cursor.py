"""
The place in the text that a YAML scanner reads at, the tokens it makes, and what every part of it does with characters.

The text ends in NUL, which cannot occur inside.
"""

import enum
import re
from collections import deque
from dataclasses import dataclass
from typing import NoReturn

from kubewitness.policy.tree import GoError, Mark

BREAKS = "\r\n\x85\u2028\u2029"
BLANK_OR_END = " \t\0" + BREAKS
BREAK_OR_END = "\0" + BREAKS
WORD = re.compile(r"[0-9A-Za-z_-]*")
COMMENT = re.compile("[^\0\r\n\x85\u2028\u2029]*")
BLANKS = re.compile("[ \t]*")


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


class Cursor:
    """Where the scanner is: the character, the line, the indentation, and the tokens found so far."""

    def __init__(self, text: str) -> None:
        self._text = text + "\0\0\0\0"
        self._at = 0
        self._line = 0
        self._line_start = 0
        self._flow_level = 0
        self._indent = -1
        self._may_start_key = True
        self._tokens: deque[Token] = deque()

    def fail(self, problem: str) -> NoReturn:
        """Raise what the Go reader says of a problem here; on the first line it names no line."""
        where = f"line {self._line + 1}: " if self._line else ""
        raise GoError(f"yaml: {where}{problem}", Mark(self._line + 1, self._column + 1))

    @property
    def _column(self) -> int:
        return self._at - self._line_start

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

    def _rest_of_line(self) -> None:
        self._skip(BLANKS)
        if self._text[self._at] == "#":
            self._skip(COMMENT)
        if self._text[self._at] not in BREAK_OR_END:
            self.fail("did not find expected comment or line break")
        if self._text[self._at] in BREAKS:
            self._skip_break()

    def _is_document_indicator(self) -> bool:
        text, at = self._text, self._at
        return self._column == 0 and text[at : at + 3] in ("---", "...") and text[at + 3] in BLANK_OR_END
