"""What may stand before a YAML node or document: anchors, aliases, tags and directives."""

import re

from kubewitness.policy.yaml11.cursor import BLANK_OR_END, BLANKS, WORD, T, Token
from kubewitness.policy.yaml11.scalars import Scalars

_URI = re.compile(r"[0-9A-Za-z_\-;/?:@&=+$,.!~*'()\[\]]*")


class Properties(Scalars):
    """Reads anchors, aliases, tags and the values of directives into tokens."""

    def _version_directive(self, line: int, column: int) -> Token:
        self._skip(BLANKS)
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
        self._skip(BLANKS)
        handle = self._tag_handle(is_directive=True)
        if self._text[self._at] not in " \t":
            self.fail("did not find expected whitespace")
        self._skip(BLANKS)
        prefix = self._tag_uri("")
        if self._text[self._at] not in BLANK_OR_END:
            self.fail("did not find expected whitespace or line break")
        return Token(T.TAG_DIRECTIVE, line, column, handle, prefix)

    def _scan_anchor(self, kind: T) -> None:
        line, column = self._line, self._column
        self._at += 1
        name = self._skip(WORD)
        if not name or self._text[self._at] not in BLANK_OR_END + "?:,]}%@`":
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
        if self._text[self._at] not in BLANK_OR_END:
            self.fail("did not find expected whitespace or line break")
        self._tokens.append(Token(T.TAG, line, column, handle, suffix))

    def _tag_handle(self, *, is_directive: bool) -> str:
        if self._text[self._at] != "!":
            self.fail("did not find expected '!'")
        self._at += 1
        handle = "!" + self._skip(WORD)
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
