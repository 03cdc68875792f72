"""Text of YAML: plain, quoted and block scalars, with their escapes and the folding of their lines."""

import re

from kubewitness.policy.yaml11.cursor import BREAKS, COMMENT, Cursor, T, Token

_DOUBLE_RUN = re.compile('[^"\\\\\0 \t\r\n\x85\u2028\u2029]*')
_SINGLE_RUN = re.compile("[^'\0 \t\r\n\x85\u2028\u2029]*")
_PLAIN_BLOCK = re.compile("(?:[^:\0 \t\r\n\x85\u2028\u2029]|:(?![\0 \t\r\n\x85\u2028\u2029]))*")
_PLAIN_FLOW = re.compile("(?:[^:,?\\[\\]{}\0 \t\r\n\x85\u2028\u2029]|:(?![\0 \t\r\n\x85\u2028\u2029]))*")
_ESCAPES = {
    "0": "\0", "a": "\a", "b": "\b", "t": "\t", "\t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r", "e": "\x1b",
    " ": " ", '"': '"', "'": "'", "\\": "\\", "N": "\x85", "_": "\xa0", "L": "\u2028", "P": "\u2029",
}  # fmt: skip
_HEX_DIGITS = {"x": 2, "u": 4, "U": 8}


class Scalars(Cursor):
    """Reads scalars into tokens."""

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
            parts.append(self._skip(COMMENT))
            leading_break = self._skip_break() if self._text[self._at] in BREAKS else ""
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
            if text[self._at] not in BREAKS:
                break
            breaks.append(self._skip_break())
        return indent or max(deepest, self._indent + 1, 1), "".join(breaks)

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
                    if text[self._at + 1] in BREAKS:
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
            elif character in BREAKS:
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
            if text[self._at] not in " \t" + BREAKS:
                break
            between += self._fold(indent=indent)
            if not self._flow_level and self._column < indent:
                break
        if self._line > last_line:
            self._may_start_key = True
        self._tokens.append(Token(T.SCALAR, line, column, "".join(parts), is_plain=True))
