"""
Bytes of a YAML stream to characters: encoding by byte order mark, the allowed characters, and what is wrong where.

The Go reader decodes blocks of 512 bytes ahead of the scanner, so a bad byte stops the reading as soon as its block is
touched, even when a syntax error stands before it, and never when the document ends before the block.
"""

import re
from dataclasses import dataclass

from kubewitness.policy.tree import START, Mark

_BLOCK_BYTES = 512
# the C0 and C1 controls but tab, line feed, carriage return and NEL; surrogates; FFFE, FFFF
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_UTF8_WIDTHS = ((0x80, 0x00, 1), (0xE0, 0xC0, 2), (0xF0, 0xE0, 3), (0xF8, 0xF0, 4))
_SMALLEST = (0, 0, 0x80, 0x800, 0x10000)
_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Source:
    """The characters that can be read, and the problem met when reading on after them."""

    text: str
    problem: str | None = None
    problem_mark: Mark = START


def read(data: bytes) -> Source:
    """Decode a YAML stream. Never fails: the problem is told when the scanner gets there."""
    if data[:2] == b"\xff\xfe":
        return _read_utf16(data, "little")
    if data[:2] == b"\xfe\xff":
        return _read_utf16(data, "big")
    body = data[3:] if data[:3] == b"\xef\xbb\xbf" else data
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        text = None
    if text is not None and not _FORBIDDEN.search(text):
        return Source(text)
    return _read_blocks(data, len(data) - len(body))


def _read_blocks(data: bytes, at: int) -> Source:
    """Read block by block up to the one with a problem."""
    parts: list[str] = []
    start = 0
    while True:
        end = min(start + _BLOCK_BYTES, len(data))
        block: list[str] = []
        while at < end:
            width, problem = _utf8_width(data, at, end)
            if problem is None and width == 0:
                break
            if problem is None:
                character = data[at : at + width].decode("utf-8")
                if _FORBIDDEN.match(character):
                    problem = "control characters are not allowed"
            if problem is not None:
                return Source("".join(parts), problem, _mark("".join(parts + block)))
            block.append(data[at : at + width].decode("utf-8"))
            at += width
        parts.extend(block)
        if end == len(data):
            text = "".join(parts)
            return Source(text, "incomplete UTF-8 octet sequence", _mark(text)) if at < end else Source(text)
        start = at


def _mark(before: str) -> Mark:
    """Give the place after this text."""
    lines = _BREAK.split(before)
    return Mark(len(lines), len(lines[-1]) + 1)


def _utf8_width(data: bytes, at: int, end: int) -> tuple[int, str | None]:
    """Give the width of the character here, 0 when it runs over the end of the block, or the problem."""
    lead = data[at]
    width = next((w for mask, bits, w in _UTF8_WIDTHS if lead & mask == bits), 0)
    if width == 0:
        return 0, "invalid leading UTF-8 octet"
    if at + width > end:
        return 0, None
    code = lead & (0x7F if width == 1 else 0xFF >> (width + 1))
    for trailing in data[at + 1 : at + width]:
        if trailing & 0xC0 != 0x80:
            return 0, "invalid trailing UTF-8 octet"
        code = (code << 6) + (trailing & 0x3F)
    if code < _SMALLEST[width]:
        return 0, "invalid length of a UTF-8 sequence"
    if 0xD800 <= code <= 0xDFFF or code > 0x10FFFF:
        return 0, "invalid Unicode character"
    return width, None


def _read_utf16(data: bytes, order: str) -> Source:
    characters: list[str] = []
    at, problem = 2, None
    while at < len(data) and problem is None:
        unit = _unit(data, at, order)
        width = 2
        if len(data) - at < 2:
            problem = "incomplete UTF-16 character"
        elif unit & 0xFC00 == 0xDC00:
            problem = "unexpected low surrogate area"
        elif unit & 0xFC00 == 0xD800:
            width = 4
            low = _unit(data, at + 2, order)
            if len(data) - at < 4:
                problem = "incomplete UTF-16 surrogate pair"
            elif low & 0xFC00 != 0xDC00:
                problem = "expected low surrogate area"
            unit = 0x10000 + ((unit & 0x3FF) << 10) + (low & 0x3FF)
        if problem is None and _FORBIDDEN.match(chr(unit)):
            problem = "control characters are not allowed"
        if problem is None:
            characters.append(chr(unit))
            at += width
    mark = _mark("".join(characters))
    if problem is not None and not problem.startswith("incomplete"):
        # the block that holds the problem is never handed to the scanner
        readable = max(0, (at // _BLOCK_BYTES * _BLOCK_BYTES - 2) // 2)
        characters = list("".join(characters)[:readable])
    return Source("".join(characters), problem, mark)


def _unit(data: bytes, at: int, order: str) -> int:
    pair = data[at : at + 2]
    return (pair[0] | pair[1] << 8 if order == "little" else pair[1] | pair[0] << 8) if len(pair) == 2 else 0
