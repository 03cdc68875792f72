"""
Fold a line of prose between words, for a terminal that would otherwise break it inside one.

Only on a terminal: in a pipe and in a file a line stays a line, which is what grep and editors need.
"""

import textwrap
from typing import TextIO

from kubewitness.cli.render.output import terminal_width

_DEEPER = 4
_LEAST_ROOM = 20


def folded(line: str, stream: TextIO, *, width: int | None = None) -> str:
    """Give the printable `line` as it suits `stream`; continued lines stand four cells deeper."""
    cells = terminal_width() if width is None else width
    if not stream.isatty() or len(line) <= cells:
        return line
    indent = " " * (len(line) - len(line.lstrip(" ")) + _DEEPER)
    return "\n".join(
        textwrap.wrap(
            line,
            max(cells, len(indent) + _LEAST_ROOM),
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
            drop_whitespace=True,
        )
    )
