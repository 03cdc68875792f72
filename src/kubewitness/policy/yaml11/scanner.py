"""
Characters to YAML tokens, with the sentences and lines that Go's YAML reader gives for what it cannot read.

Follows the YAML 1.1 specification with the choices of the libyaml family as of gopkg.in/yaml.v2: tabs never indent in
block context, `?` ends a plain scalar in flow context, `a:b` is one scalar there, an implicit key fits in one line
and 1,024 characters, nesting stops at 10,000. The text ends in NUL, which cannot occur inside.
"""

from dataclasses import dataclass

from kubewitness.policy.tree import GoError
from kubewitness.policy.yaml11.cursor import BLANK_OR_END, BREAKS, COMMENT, WORD, T, Token
from kubewitness.policy.yaml11.properties import Properties
from kubewitness.policy.yaml11.source import Source

__all__ = ["MAX_DEPTH", "Scanner", "T", "Token"]

MAX_DEPTH = 10_000
_MAX_KEY_CHARACTERS = 1024


@dataclass(slots=True)
class _SimpleKey:
    """A place that may turn out to start a `key:`; `required` when it can be nothing else."""

    number: int
    index: int
    line: int
    column: int
    required: bool


class Scanner(Properties):
    """Gives tokens one by one: `peek()`, `take()`."""

    def __init__(self, source: Source) -> None:
        super().__init__(source.text)
        self._size = len(source.text)
        self._problem = source.problem
        self._problem_mark = source.problem_mark
        self._indents: list[int] = []
        self._keys: list[_SimpleKey | None] = [None]
        self._keys_by_number: dict[int, int] = {}
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
            raise GoError(f"yaml: {self._problem}", self._problem_mark)

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
        elif column == 0 and text[at : at + 3] in ("---", "...") and text[at + 3] in BLANK_OR_END:
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
        return following in BLANK_OR_END or (character != "-" and self._flow_level > 0)

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
        if character in BLANK_OR_END:
            return False
        if character == "-":
            return following not in " \t"
        if character in "?:":
            return not self._flow_level and following not in BLANK_OR_END
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
                self._skip(COMMENT)
            if text[self._at] not in BREAKS:
                return
            self._skip_break()
            if not self._flow_level:
                self._may_start_key = True

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

    def _fetch_directive(self) -> None:
        self._unroll(-1)
        self._drop_key()
        self._may_start_key = False
        line, column = self._line, self._column
        self._at += 1
        name = self._skip(WORD)
        if not name:
            self.fail("could not find expected directive name")
        if self._text[self._at] not in BLANK_OR_END:
            self.fail("found unexpected non-alphabetical character")
        if name == "YAML":
            token = self._version_directive(line, column)
        elif name == "TAG":
            token = self._tag_directive(line, column)
        else:
            self.fail("found unknown directive name")
        self._rest_of_line()
        self._tokens.append(token)
