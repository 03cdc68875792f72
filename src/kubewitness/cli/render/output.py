"""
Where an answer goes: the stream, its width, whether it may be coloured.

Colour only on a terminal, unless `--color always` or FORCE_COLOR; never with NO_COLOR, `--color never` or TERM=dumb.
The width is the terminal's, or COLUMNS, or 80. Where there is neither a terminal nor COLUMNS nothing is cut: a cut
name would be lost to the `grep` that reads the pipe.
"""

import os
import sys
from collections.abc import Mapping
from typing import TextIO

import msgspec

from kubewitness.cli.render.terminal import DEFAULT_WIDTH, terminal_width
from kubewitness.cli.render.values import Tone

__all__ = ["Output", "may_cut", "terminal_width", "wants_colour"]

_SGR = {Tone.GOOD: "32", Tone.BAD: "31", Tone.FAINT: "2", Tone.STRONG: "1"}


def _stdout() -> TextIO:
    return sys.stdout


class Output(msgspec.Struct, frozen=True):
    """One destination and what it can show."""

    stream: TextIO = msgspec.field(default_factory=_stdout)
    width: int = DEFAULT_WIDTH
    has_colour: bool = False
    has_headers: bool = True
    may_cut: bool = True

    @property
    def ellipsis(self) -> str:
        """The mark of a cut that this stream can encode."""
        return "…" if self._can_show("…") else "~"

    @property
    def blocks(self) -> tuple[str, str]:
        """What bars are drawn with: the ordinary and the lighter block."""
        return ("█", "▒") if self._can_show("█▒") else ("#", "=")

    def _can_show(self, text: str) -> bool:
        try:
            text.encode(self.stream.encoding or "utf-8")
        except UnicodeEncodeError:
            return False
        return True

    def paint(self, text: str, tone: Tone | None) -> str:
        """Colour `text`, where colour is wanted and there is something to see."""
        if tone is None or not self.has_colour or not text.strip():
            return text
        return f"\x1b[{_SGR[tone]}m{text}\x1b[0m"

    def write(self, text: str) -> None:
        """Write `text` as it is; the caller has made it harmless."""
        self.stream.write(text)

    def write_bytes(self, data: bytes) -> None:
        """Write exact bytes, after whatever text went before them."""
        self.stream.flush()
        self.stream.buffer.write(data)

    def flush(self) -> None:
        """Hand everything to the reader now."""
        self.stream.flush()


def may_cut(stream: TextIO, env: Mapping[str, str] = os.environ) -> bool:
    """Tell whether tables may cut what does not fit: for a person who looks at them, not for the next program."""
    return stream.isatty() or bool(env.get("COLUMNS"))


def wants_colour(choice: str, stream: TextIO, env: Mapping[str, str] = os.environ) -> bool:
    """Decide about colour: the flag first, then NO_COLOR, then FORCE_COLOR, then whether this is a terminal."""
    if choice != "auto":
        return choice == "always"
    if env.get("NO_COLOR"):
        return False
    if env.get("FORCE_COLOR"):
        return env["FORCE_COLOR"] != "0"
    return stream.isatty() and env.get("TERM") != "dumb"
