"""
Split bytes into Items and Damage, whatever shape the Events come in.

Chunks of bytes come in, cut anywhere; what comes out does not depend on the cuts. Understood, by content: one
JSON object a line (CRLF, blank lines and a byte order mark included), pretty-printed objects one after
another, several on a line, JSON arrays, `EventList` on a line, pretty or as a webhook body, the envelopes of
`event.envelopes`, and the text lines of `event.legacy`. There is no line limit; memory is bounded by the
largest single Event, as lists are taken apart while they arrive.

A common line (it begins as kube-apiserver begins one and ends with `}`) is cut out and not looked into:
an Item is what *may* be an Event, and `decode.read` decides. Opening files, decompressing and following are
the caller's.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from kubewitness.event import envelopes, legacy
from kubewitness.event.items import EXCERPT_BYTES, KUBE_APISERVER, Damage, DamageKind, Item
from kubewitness.event.split_values import (
    WHITE_SPACE,
    Outcome,
    Scan,
    element_lengths,
    find_list,
    scan,
    skip_space,
    valid_end,
)

_COMMON = b'{"kind":"Event","apiVersion":"audit.k8s.io/v1",'
_MERGED = (b'}{"kind":"Event', b'} {"kind":"Event')  # two Events on one line: a line end was lost between them
_CANDIDATES = (_COMMON, b'{"level":"')  # the same, and an item of a webhook body: `decode.read` will say
_BOM = b"\xef\xbb\xbf"
_BOM_NOTE = "byte order mark skipped"
_HEAD_BYTES = 4096  # within these the key of a list must stand for the list to be taken apart as it arrives
_NESTED_LISTS = 16  # deeper ones are one value
_REGROW = 1 << 20  # from this size on, an unfinished value is looked at again when it has grown by an eighth

_NEWLINE, _RETURN, _OPEN_BRACE, _CLOSE_BRACE, _OPEN_BRACKET, _CLOSE_BRACKET, _COMMA = b"\n\r{}[],"
_TEXT_LINE = b"0123456789-"  # a line of text that holds an Event begins with its time


def split(chunks: Iterable[bytes], source: str, *, offset: int = 0, line: int = 1) -> Iterator[Item | Damage]:
    """Give every Item and every Damage in these bytes, in order. `offset` and `line` are those of the first byte."""
    splitter = Splitter(source, offset=offset, line=line)
    for chunk in chunks:
        yield from splitter.feed(chunk)
    yield from splitter.close()


@dataclass(slots=True)
class _List:
    """A list that we are inside of: its key (None for a bare array), and what may come next."""

    key: str | None
    after_value: bool = False
    closing: Scan | None = None  # behind its `]`: how far the object around it has been skipped
    tail: Damage | None = None  # what is skipped there, when it is long
    lengths: list[int] = field(default_factory=list)  # of its next elements, last first, where they are known


class Splitter:
    """Splits bytes as they arrive: `feed` and `close` give what has become certain."""

    def __init__(self, source: str, *, offset: int = 0, line: int = 1) -> None:
        self._source = source
        self._base = offset  # of _data[0]
        self._line = line  # of _data[_position]
        self._data = b""
        self._position = 0  # everything before has been given out
        self._arriving: list[bytes] = []
        self._arriving_bytes = 0
        self._needs_line_end = False
        self._final = False
        self._out: list[Item | Damage] = []
        self._lists: list[_List] = []
        self._merged_at = -1  # the next place where two Events meet on a line
        self._list_was_lost = False  # its commas and brackets still stand about
        self._value: Scan | None = None  # how far the unfinished value at _position has been looked at
        self._value_is_plain = False  # not a list
        self._discarded: Damage | None = None  # so far; its line goes on
        self._notes: tuple[str, ...] = ()

    @property
    def pending_bytes(self) -> int:
        """How many bytes wait for what completes them."""
        return len(self._data) - self._position + self._arriving_bytes

    def feed(self, chunk: bytes) -> list[Item | Damage]:
        """Take the next bytes; give what they complete."""
        self._arriving.append(chunk)
        self._arriving_bytes += len(chunk)
        if self._needs_line_end:
            if b"\n" not in chunk:
                return []
        elif self._arriving_bytes < (len(self._data) - self._position) // 8 and len(self._data) > _REGROW:
            return []
        return self._go_on()

    def close(self) -> list[Item | Damage]:
        """Say that no more bytes come; give what is left."""
        self._final = True
        return self._go_on()

    def _go_on(self) -> list[Item | Damage]:
        # the byte before stays, as the column matters
        cut = max(self._position - 1, 0)
        kept = self._data[cut:]
        if self._value is not None:
            self._value = self._value._replace(position=self._value.position - cut)
        self._base += cut
        self._position -= cut
        self._data = b"".join((kept, *self._arriving)) if kept else b"".join(self._arriving)
        self._arriving, self._arriving_bytes, self._needs_line_end = [], 0, False
        self._merged_at = self._find_merged(self._position)
        while self._step():
            pass
        out, self._out = self._out, []
        return out

    def _step(self) -> bool:
        """Do the next thing; False when it needs more bytes, or all are done."""
        if self._discarded is not None:
            return self._discard_on(self._position)
        if self._value is not None:
            return self._value_on()
        if self._lists:
            return self._list_on()
        return self._between()

    # between values, outside lists

    def _between(self) -> bool:
        position = skip_space(self._data, self._position)
        self._advance(position)
        self._common_lines()
        if self._position > position:
            return True
        if position >= len(self._data):
            return False
        byte = self._data[position]
        if byte == _OPEN_BRACE:
            if self._may_be_common_line(position):
                return False
            self._begin_value(position, self._quick_length(position), is_array=False)
            return True
        if byte == _OPEN_BRACKET:
            self._open_list(None, position, position)
            return True
        if byte == _BOM[0] and (not self._final or self._data.startswith(_BOM, position)):
            return self._skip_bom(position)
        if self._list_was_lost and byte in b",]}":
            self._advance(position + 1)
            return True
        return self._text_line(position)

    def _may_be_common_line(self, position: int) -> bool:
        """Say whether a common line may stand here, whose end has not arrived."""
        if self._final:
            return False
        if len(self._data) - position < len(_COMMON):
            return _COMMON.startswith(self._data[position:])
        self._needs_line_end = self._data.startswith(_COMMON, position) and self._data.find(b"\n", position) < 0
        return self._needs_line_end

    def _skip_bom(self, position: int) -> bool:
        if self._data.startswith(_BOM, position):
            self._advance(position + len(_BOM))
            self._notes = (_BOM_NOTE,)
            return True
        if _BOM.startswith(self._data[position : position + len(_BOM)]):
            return False
        return self._text_line(position)

    def _common_lines(self) -> None:
        """Cut out the lines that need no looking into. Every Event of a plain log takes this loop."""
        data, source, base = self._data, self._source, self._base
        position, line, notes = self._position, self._line, self._notes
        append, find, startswith = self._out.append, data.find, data.startswith
        if self._merged_at < position:
            self._merged_at = self._find_merged(position)
        merged_at = self._merged_at
        while startswith(_COMMON, position):
            newline = end = find(b"\n", position)
            if newline < 0:
                if not self._final:
                    break
                newline = end = len(data)
            if data[end - 1] == _RETURN:
                end -= 1
            if data[end - 1] != _CLOSE_BRACE or merged_at < end:
                break
            append(Item(data[position:end], source, base + position, line, end - position, KUBE_APISERVER, notes))
            notes = ()
            if newline == len(data):
                position = newline
                break
            position = newline + 1
            line += 1
        self._position, self._line, self._notes = position, line, notes

    def _find_merged(self, position: int) -> int:
        found = [at for at in (self._data.find(needle, position) for needle in _MERGED) if at >= 0]
        return min(found, default=len(self._data))

    def _text_line(self, position: int) -> bool:
        if self._data[position] not in _TEXT_LINE:
            return self._discard(position, _describe(self._data[position]))
        end = self._data.find(b"\n", position)
        if end < 0:
            if not self._final:
                self._needs_line_end = True
                return False
            end = len(self._data)
        stop = position + len(self._data[position:end].rstrip(WHITE_SPACE))
        found = legacy.text_line(self._data[position:stop])
        if isinstance(found, str):
            self._damage(position, end, found, DamageKind.ALIEN)
        else:
            self._item(found.raw, position, stop, found.dialect, found.notes)
        self._advance(end)
        return True

    # inside a list

    def _open_list(self, key: str | None, start: int, bracket: int) -> None:
        opened = _List(key)
        if not self._lists and self._is_column_0(start):
            end = self._line_end(start)
            if end is not None:
                opened.lengths = element_lengths(self._data, start, end, key, bracket)[::-1]
        self._lists.append(opened)
        self._advance(bracket + 1)

    def _list_on(self) -> bool:
        top = self._lists[-1]
        if top.closing is not None:
            return self._close_list_on(top, top.closing)
        position = skip_space(self._data, self._position)
        self._advance(position)
        if position >= len(self._data):
            return self._need_more()
        byte = self._data[position]
        if byte == _CLOSE_BRACKET:
            self._advance(position + 1)
            if top.key is None:
                self._lists.pop()
            else:
                top.closing = Scan(0, depth=1)
        elif byte == _COMMA and top.after_value:
            self._advance(position + 1)
            top.after_value = False
        elif byte in b"{[" and not top.after_value:
            self._begin_value(position, top.lengths.pop() if top.lengths else 0, is_array=byte == _OPEN_BRACKET)
        elif byte == _OPEN_BRACE and self._data[position - 1 : position] in {b"\n", b""}:
            self._damage(position, position, "a list breaks off before this line", DamageKind.TORN)
            self._lose_lists()
        else:
            self._lose_lists()
            return self._discard(position, _describe(self._data[position]))
        return True

    def _close_list_on(self, top: _List, closing: Scan) -> bool:
        """Skip what follows the list inside the object that holds it; a further list there is opened."""
        data, start = self._data, self._position
        outcome, state = scan(data, closing._replace(position=start))
        if top.tail is None:
            is_long = state.position - start >= _HEAD_BYTES
            if outcome is Outcome.MORE and not is_long:
                return self._need_more()
            if self._reopen_list(top, start, min(state.position, start + _HEAD_BYTES)):
                return True
            if is_long:
                reason = "what follows a list inside its object"
                excerpt = data[start : start + EXCERPT_BYTES]
                top.tail = Damage(self._source, self._base + start, self._line, 0, reason, excerpt, DamageKind.ALIEN)
        if top.tail is not None:
            top.tail = msgspec.structs.replace(top.tail, length=top.tail.length + state.position - start)
        self._advance(state.position)
        if outcome is Outcome.MORE and not self._final:
            top.closing = state
            return False
        if top.tail is not None:
            self._out.append(top.tail)
        if outcome is Outcome.MORE:
            return self._need_more()
        if outcome is Outcome.DONE:
            self._lists.pop()
        elif outcome is Outcome.BOUNDARY:
            self._damage(state.position, state.position, "a list breaks off before this line", DamageKind.TORN)
            self._lose_lists()
        else:
            self._lose_lists()
            return self._discard(state.position, _describe(data[state.position]))
        return True

    def _reopen_list(self, top: _List, start: int, stop: int) -> bool:
        comma = skip_space(self._data, start)
        if self._data[comma : comma + 1] != b",":
            return False
        found = find_list(b"{" + self._data[comma + 1 : stop], 0, stop - comma, is_tail=True)
        if found is None:
            return False
        top.key, bracket = found
        top.after_value, top.closing, top.lengths = False, None, []
        self._advance(comma + bracket + 1)
        return True

    def _lose_lists(self) -> None:
        self._list_was_lost = self._list_was_lost or bool(self._lists)
        self._lists.clear()

    # inside an object, or an array that is an element

    def _begin_value(self, start: int, length: int, *, is_array: bool) -> None:
        """Begin a value; `length`, if not 0, is what scanning it would find."""
        is_list = is_array or not length or find_list(self._data, start, start + min(length, _HEAD_BYTES)) is not None
        if is_list and not (is_array and length):
            self._value, self._value_is_plain = Scan(start), is_array
            return
        self._mark_value()
        self._whole(start, start + length)
        self._advance(start + length)

    def _quick_length(self, start: int) -> int:
        """Give the length of a valid object that is one line, or printed as `jq .` does; 0 when it is not so easy."""
        if not self._is_column_0(start):
            return 0
        data = self._data
        if data[start + 1 : start + 2] in {b"\n", b"\r"}:
            next_begins = data.find(b"\n{", start)
            end = data.find(b"\n}", start, next_begins if next_begins >= 0 else len(data)) + 2
        else:
            end = self._line_end(start) or 0
        return end - start if end > start and valid_end(data, start, end) else 0

    def _line_end(self, start: int) -> int | None:
        """Give the end of the line without white space, if it has arrived."""
        end = self._data.find(b"\n", start)
        if end < 0:
            if not self._final:
                return None
            end = len(self._data)
        while end > start and self._data[end - 1] in WHITE_SPACE:
            end -= 1
        return end

    def _is_column_0(self, position: int) -> bool:
        return position == 0 or self._data[position - 1] == _NEWLINE

    def _value_on(self) -> bool:
        assert self._value is not None  # noqa: S101
        start, position = self._position, self._value.position
        # long before an object is complete its head tells whether it is a list
        if len(self._data) - start >= _HEAD_BYTES and self._is_list(start, start + _HEAD_BYTES):
            return True
        outcome, state = scan(self._data, Scan(max(start, position), self._value.depth, self._value.in_string))
        self._value = state
        if outcome is Outcome.MORE and not self._final and state.position - start < _HEAD_BYTES:
            return False
        if self._is_list(start, min(state.position, start + _HEAD_BYTES)):
            return True
        if outcome is Outcome.MORE and not self._final:
            return False
        self._value = None
        if outcome is Outcome.DONE:
            self._mark_value()
            self._whole(start, state.position)
            self._advance(state.position)
            return True
        return self._torn(start, outcome, state)

    def _is_list(self, start: int, stop: int) -> bool:
        """Open the list that the unfinished value is, unless it is none."""
        if self._value_is_plain:
            return False
        self._value_is_plain = True
        found = find_list(self._data, start, stop)
        if found is None or len(self._lists) >= _NESTED_LISTS:
            return False
        self._value = None
        self._mark_value()
        key, bracket = found
        self._open_list(key, start, bracket)
        return True

    def _mark_value(self) -> None:
        if self._lists:
            self._lists[-1].after_value = True

    def _whole(self, start: int, end: int) -> None:
        """Give out a complete value."""
        if self._data.startswith(_CANDIDATES, start):
            self._item(self._data[start:end], start, end, KUBE_APISERVER, ())
            return
        key = self._lists[-1].key if self._lists else None
        found = envelopes.open_value(self._data[start:end], key)
        if isinstance(found, str):
            self._damage(start, end, found, DamageKind.ALIEN)
        else:
            self._item(found.raw, start, end, found.dialect, found.notes)

    def _torn(self, start: int, outcome: Outcome, state: Scan) -> bool:
        """Give out a value that ends before its time, and go on behind it."""
        data, stop = self._data, state.position
        self._lose_lists()
        if outcome is Outcome.MORE:
            self._damage(start, len(data), "it breaks off: the input ends inside", DamageKind.TORN)
            self._advance(len(data))
            return True
        line_start = data.rfind(b"\n", 0, stop) + 1
        if outcome is Outcome.BROKEN and (line_start <= start or data[line_start:stop].strip(WHITE_SPACE)):
            if data[stop] == _NEWLINE:
                return self._discard(stop, "it breaks off: the line ends inside a string", DamageKind.TORN)
            return self._discard(stop, f"not JSON: {_byte(data[stop])} at byte {stop - start}")
        # what breaks it off stands on a line of its own, which is looked at afresh
        stop = start + len(data[start:line_start].rstrip(WHITE_SPACE))
        self._damage(start, stop, "it breaks off: another value begins before it ends", DamageKind.TORN)
        self._advance(line_start)
        return True

    # giving out

    def _item(self, raw: bytes, start: int, end: int, dialect: str, notes: tuple[str, ...]) -> None:
        notes, self._notes = self._notes + notes, ()
        self._out.append(Item(raw, self._source, self._base + start, self._line, end - start, dialect, notes))

    def _damage(self, start: int, end: int, reason: str, kind: DamageKind = DamageKind.MALFORMED) -> None:
        self._notes = ()
        excerpt = self._data[start : min(end, start + EXCERPT_BYTES)]
        line = self._line + self._data.count(b"\n", self._position, start)
        self._out.append(Damage(self._source, self._base + start, line, end - start, reason, excerpt, kind))

    def _discard(self, seen: int, reason: str, kind: DamageKind = DamageKind.MALFORMED) -> bool:
        """Count everything from here to the end of the line that `seen` is on as one Damage."""
        self._notes = ()
        self._discarded = Damage(self._source, self._base + self._position, self._line, 0, reason, b"", kind)
        return self._discard_on(seen)

    def _discard_on(self, seen: int) -> bool:
        assert self._discarded is not None  # noqa: S101
        start, damage = self._position, self._discarded
        end = self._data.find(b"\n", seen)
        is_whole = end >= 0 or self._final
        if end < 0:
            end = len(self._data)
        excerpt = (damage.excerpt + self._data[start : min(end, start + EXCERPT_BYTES)])[:EXCERPT_BYTES]
        damage = msgspec.structs.replace(damage, length=damage.length + end - start, excerpt=excerpt)
        self._advance(end)
        self._discarded = None if is_whole else damage
        if is_whole:
            self._out.append(damage)
        return is_whole

    def _advance(self, position: int) -> None:
        self._line += self._data.count(b"\n", self._position, position)
        self._position = position

    def _need_more(self) -> bool:
        """Wait inside a list; if nothing more comes, say that the list is torn."""
        if not self._final:
            return False
        self._damage(self._position, self._position, "a list breaks off: the input ends inside", DamageKind.TORN)
        self._lose_lists()
        return True


def _describe(byte: int) -> str:
    if byte == 0:
        return "not JSON: NUL bytes, such as a crash leaves in a file"
    if byte in b"\xff\xfe":
        return "not UTF-8: UTF-16, as some shells write; convert it first"
    return f"not JSON: it begins with {_byte(byte)}"


def _byte(byte: int) -> str:
    return repr(chr(byte)) if 32 <= byte < 127 else f"byte 0x{byte:02x}"
