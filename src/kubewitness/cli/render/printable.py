r"""
Make hostile text fit to be seen: every character that could act on a terminal, or hide, becomes a visible escape.

In comes text of a log, a file name, a message; out goes the same text in which controls, escapes, bidirectional
and zero-width characters, odd spaces, unpaired surrogates and unassigned code points read `\x1b`, `\u202e`,
`\U000e0041`. Called where text leaves us (table, csv, messages), never earlier: the log's bytes stay as they are.

The escape is one to one: a run of backslashes that stands before an escape of ours, or before text that looks like
one, is doubled, so an odd run before `x1b` always means "we wrote this". Other backslashes (`CORP\jane`) stay single.

What is done with look-alikes (a Cyrillic letter among Latin ones): nothing; they are letters.
"""

import functools
import unicodedata

from kubewitness._kit import lazy

# Invisible though Unicode calls them letters, marks or symbols: fillers, joiners, the blank of Braille, selectors.
_INVISIBLE = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)
# controls, formats (bidi, zero-width, tags), surrogates, private, unassigned, line ends, spaces other than " "
_UNFIT = frozenset(["Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"])
# More marks than this on one letter overprint the lines above and below.
_MAX_MARKS = 3

_LIKE_AN_ESCAPE = lazy.pattern(r"x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}")
# Spaces that could pass for the end of a column: leading, trailing, and any after the first of a run.
_COLUMN_SPACES = lazy.pattern(r"^ +| +$|(?<= ) +")


def printable(text: str) -> str:
    """Give `text` with every character that acts or hides replaced by its visible escape."""
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return _written(text, _unfit(text))


def cell(text: str) -> str:
    r"""Give `text` for a table cell: as `printable`, and spaces that could pass for a column's end read `\x20`."""
    if text.isascii() and text.isprintable() and "\\" not in text and "  " not in text and text == text.strip(" "):
        return text
    unfit = _unfit(text)
    for run in _COLUMN_SPACES().finditer(text):
        unfit.update(range(*run.span()))
    return _written(text, unfit)


def width(text: str) -> int:
    """Give the number of terminal cells that printable `text` takes: two for wide characters, none for marks."""
    if text.isascii():
        return len(text)
    return sum(map(_cells, text))


def fit(text: str, cells: int, ellipsis: str = "…", *, keep_end: bool = False) -> str:
    """Cut printable `text` to at most `cells` cells, the cut marked; `keep_end` cuts before the end.

    Names of Kubernetes differ at their ends: the end gets two thirds.
    """
    if width(text) <= cells:
        return text
    room = cells - width(ellipsis)
    if room <= 0:
        return ellipsis[:cells]
    tail = room * 2 // 3 if keep_end else 0
    head, end = _take(text, room - tail), _take(text[::-1], tail)[::-1]
    return f"{head}{ellipsis}{end}"


def pad(text: str, cells: int, *, right: bool = False) -> str:
    """Fill printable `text` with spaces to `cells` cells; `right` puts them before it."""
    filling = " " * max(0, cells - width(text))
    return filling + text if right else text + filling


def _take(text: str, cells: int) -> str:
    taken = 0
    for at, character in enumerate(text):
        taken += _cells(character)
        if taken > cells:
            return text[:at]
    return text


@functools.lru_cache(maxsize=4096)
def _cells(character: str) -> int:
    if _is_mark(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


@functools.lru_cache(maxsize=4096)
def _is_fit(character: str) -> bool:
    return character == " " or (unicodedata.category(character) not in _UNFIT and character not in _INVISIBLE)


@functools.lru_cache(maxsize=4096)
def _is_mark(character: str) -> bool:
    return unicodedata.category(character) in ("Mn", "Me")


def _unfit(text: str) -> set[int]:
    """Give the positions of the characters to be escaped."""
    unfit: set[int] = set()
    marks = _MAX_MARKS  # a mark at the start would sit on whatever stands before this text
    for at, character in enumerate(text):
        if not _is_fit(character):
            unfit.add(at)
            marks = _MAX_MARKS
        elif _is_mark(character):
            marks += 1
            if marks > _MAX_MARKS:
                unfit.add(at)
        else:
            marks = 0
    return unfit


def _written(text: str, unfit: set[int]) -> str:
    if not unfit and "\\" not in text:
        return text
    out: list[str] = []
    run = 0  # backslashes just before this character
    for at, character in enumerate(text):
        if at in unfit:
            out.append("\\" * run + _escape(character))
        elif run and _LIKE_AN_ESCAPE().match(text, at):
            out.append("\\" * run + character)
        else:
            out.append(character)
        run = run + 1 if character == "\\" else 0
    return "".join(out)


def _escape(character: str) -> str:
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
