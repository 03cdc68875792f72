"""
Take out of a stream of bytes the inputs that jq need not see, so that jq cannot tell.

In: chunks of a file and a `Silence`. Out: the bytes for jq. An input that the filter passes over leaves an empty line
behind, so jq still counts lines as before, and says the same in its errors. The last input of each stream stays,
because jq's exit code may depend on the last one alone.

A line is taken out only while jq's parser must be between two values: every line before was a whole JSON object or
array. After any other line (torn, pretty-printed, `NaN`, half a surrogate pair) everything goes to jq as it is.
msgspec's parser stands guard: it refuses whatever some jq refuses, but for deep nesting, see `refuses_nesting`.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from kubewitness.look.query.jq.silence import Silence

_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n"
_OPEN, _CLOSE = b"{}"
# Bytes read at a time: they stay in a processor's cache, and calls cost little. Grows with the longest line.
BUFFER = 256 * 1024
# A longer line is not held in memory to be judged; it and all after it go to jq as they are.
LONGEST_LINE = 64 * 2**20
# What msgspec and Python raise for bytes that are not what was asked for.
_REFUSALS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_any_object = msgspec.json.Decoder(msgspec.defstruct("AnyObject", [])).decode
_any_value = msgspec.json.Decoder(msgspec.Raw).decode


class Sifter:
    """Sifts one stream after another: read into `room`, say how much to `take`, and `end` each stream."""

    def __init__(self, silence: Silence | None, nesting: int | None = None, *, is_first: bool = True) -> None:
        """Sift with a proof, or let all through; `nesting` is set where `shallow` cannot guard against deep nesting."""
        self.silence = silence
        self.nesting = nesting
        self.in_step = silence is not None
        self._is_first = is_first  # only here jq passes over a byte order mark
        self._buffer = bytearray(BUFFER)
        self._have = 0
        self._held = b""
        self._held_breaks = 0

    def room(self) -> memoryview:
        """Give the place for the next bytes."""
        return memoryview(self._buffer)[self._have :]

    def take(self, size: int) -> bytes:
        """Give what jq gets for the bytes just read; the last unfinished line waits for its end."""
        have = self._have + size
        cut = self._buffer.rfind(b"\n", self._have, have) + 1 if self.in_step else have
        self._have = have
        if not cut:
            if have < len(self._buffer):
                return b""
            if have < LONGEST_LINE:
                self._buffer = self._buffer + bytes(have)
                return b""
            self.in_step = False
            cut = have
        found = self._block(cut) if self.in_step else self._let_go() + self._buffer[:cut]
        if not self.in_step:
            found += self._buffer[cut:have]
            cut = have
        self._buffer[: have - cut] = self._buffer[cut:have]
        self._have = have - cut
        return found

    def push(self, chunk: bytes) -> Iterator[bytes]:
        """Take bytes that were read elsewhere; give, piece by piece, what jq gets."""
        rest = memoryview(chunk)
        while rest:
            with self.room() as room:
                size = min(len(room), len(rest))
                room[:size] = rest[:size]
            rest = rest[size:]
            yield self.take(size)

    def end(self) -> bytes:
        """Give what is left: the last input, even one that the filter passes over."""
        rest = bytes(self._buffer[: self._have])
        self._have = 0
        if not rest.strip(_BLANK):
            held, breaks = self._held, self._held_breaks
            self._held, self._held_breaks = b"", 0
            return held + b"\n" * breaks + rest
        if self.in_step and not is_whole(rest):
            self.in_step = False
        return self._let_go() + rest

    def leave(self) -> tuple[bytes, int, int]:
        """Give the held input, its line breaks, and how many bytes of an unfinished line there are."""
        return self._held, self._held_breaks, self._have

    def adopt(self, found: bytes, held: bytes, held_breaks: int) -> bytes:
        """Go on from where another sifter has come to; give what jq gets."""
        if not held and not found.strip(_BLANK):
            return self._blank_lines(found.count(b"\n"))
        before = self._let_go()
        self._held, self._held_breaks = held, held_breaks
        return before + found

    def _block(self, size: int) -> bytes:
        """Sift complete lines, those in the first bytes of the buffer."""
        buffer = self._buffer
        if self.silence is None or (self._is_first and buffer.startswith(_BOM)):
            return self._line_by_line(bytes(buffer[:size]))
        self._is_first = False
        try:
            with memoryview(buffer) as whole, whole[:size] as block:
                inputs = self.silence.decode_lines(block)
        except _REFUSALS:
            return self._line_by_line(bytes(buffer[:size]))
        ends: list[int] = []
        at = buffer.find(b"\n", 0, size)
        while at >= 0:
            ends.append(at)
            at = buffer.find(b"\n", at + 1, size)
        spoken = self.silence.spoken(inputs)
        if not spoken and self.nesting is None and inputs:
            start = ends[-2] + 1 if len(ends) > 1 else 0
            last = bytes(buffer[start : ends[-1]])
            # these objects are whole, and so is the last line: it cannot be the end of an object that begins before it
            if is_whole(last):
                before = self._let_go()
                self._held, self._held_breaks = last, 1
                return before + b"\n" * (len(ends) - 1)
        starts = [0, *[end + 1 for end in ends[:-1]]]
        # K objects on K lines that all look like `{...}`: no object can hold `}\n{`, so each line is one of them
        if len(ends) != len(inputs) or not all(
            [buffer[start] == _OPEN and buffer[end - 1] == _CLOSE for start, end in zip(starts, ends, strict=True)]  # noqa: C419 -- faster
        ):
            return self._line_by_line(bytes(buffer[:size]))
        if self.nesting is not None and any(
            self._may_be_deep(buffer[start:end]) for start, end in zip(starts, ends, strict=True)
        ):
            return self._line_by_line(bytes(buffer[:size]))
        found = [self._let_go()]
        done = 0
        for index in spoken:
            found.append(b"\n" * (index - done))
            found.append(bytes(buffer[starts[index] : ends[index] + 1]))
            done = index + 1
        if done < len(ends):
            found.append(b"\n" * (len(ends) - 1 - done))
            self._held, self._held_breaks = bytes(buffer[starts[-1] : ends[-1]]), 1
        return b"".join(found)

    def _line_by_line(self, block: bytes) -> bytes:
        found: list[bytes] = []
        at = 0
        while at < len(block):
            end = block.index(b"\n", at) + 1
            line = block[at : end - 1]
            if not line.strip(_BLANK):
                found.append(self._blank_lines(1))
            elif self._is_first and line.startswith(_BOM) and is_whole(line[len(_BOM) :]):
                found.append(line + b"\n")
            elif self._may_be_deep(line):
                return b"".join(found) + self._out_of_step(block[at:])
            elif self._is_silent(line):
                found.append(self._let_go())
                self._held, self._held_breaks = line, 1
            elif is_whole(line):
                found.append(self._let_go() + line + b"\n")
            else:
                return b"".join(found) + self._out_of_step(block[at:])
            self._is_first = False
            at = end
        return b"".join(found)

    def _may_be_deep(self, line: bytes | bytearray) -> bool:
        """Tell whether a line closes more objects and arrays than jq allows to be open at a time."""
        most = self.nesting
        return most is not None and len(line) > 2 * most and len(line) - len(line.translate(None, b"}]")) > most

    def _is_silent(self, line: bytes) -> bool:
        if self.silence is None:
            return False
        try:
            return not self.silence.spoken([self.silence.decode(line)])
        except _REFUSALS:
            return False

    def _blank_lines(self, breaks: int) -> bytes:
        """Empty lines wait behind a held input."""
        if not self._held:
            return b"\n" * breaks
        self._held_breaks += breaks
        return b""

    def _let_go(self) -> bytes:
        """Empty the line of the held input, which was not the last."""
        breaks, self._held, self._held_breaks = self._held_breaks, b"", 0
        return b"\n" * breaks

    def _out_of_step(self, rest: bytes) -> bytes:
        self.in_step = False
        return self._let_go() + rest


def is_whole(line: bytes) -> bool:
    """Tell whether a line is one JSON object or array, so that jq's parser ends where it began."""
    try:
        if line.lstrip(_BLANK).startswith(b"["):
            _any_value(line)
        else:
            _any_object(line)
    except _REFUSALS:
        return False
    return True


@contextmanager
def shallow(levels: int) -> Iterator[bool]:
    """
    Make msgspec refuse what is nested deeper than `levels`; gives False when this Python cannot be told so.

    jq 1.5 and 1.6 stop at 256 levels, later ones at 10,000; msgspec's only limit is Python's.
    """
    before = sys.getrecursionlimit()
    if refuses_nesting(levels):
        yield True
        return
    depth, frame = 0, sys._getframe()
    while frame := frame.f_back:  # type: ignore[assignment]  # None ends it
        depth += 1
    try:
        sys.setrecursionlimit(depth + levels - 10)
        yield refuses_nesting(levels)
    finally:
        sys.setrecursionlimit(before)


def refuses_nesting(levels: int) -> bool:
    """Tell whether the parser refuses an input nested one level deeper than this."""
    try:
        _any_object(b'{"a":' + b"[" * levels + b"]" * levels + b"}")
    except _REFUSALS:
        return True
    return False
