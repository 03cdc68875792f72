"""
Exact bytes on demand: a second look at the inputs, only for the rows that are shown.

A row that was rescued brought its bytes along. The others are found by their auditIDs: the lines in which one stands
are given to the engine once more, and those that give rows again are, in order, those of the rows. Where that does not
come out even (an auditID that is spelled otherwise, or none), or where many lines are shown, the engine numbers all
lines of a part (the same lines as before: same files, same conditions, same order), and `scan_lines` finds the bytes.
Lines of a plain file are then read where they stand; lines of a packed one are put aside in an unlinked file.
What is read in blocks is not unpacked again where few rows match: the scan has put the lines with their auditIDs aside.
"""

import bisect
import errno
import itertools
import os
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import BinaryIO, NamedTuple, TypeAlias

from kubewitness._kit.opening import Compression, TornError
from kubewitness.look.query.scan import AUDIT_ID, Scan
from kubewitness.look.query.scan_blocks import blocks
from kubewitness.look.query.scan_lines import Line, batches, count_lines, lines_named, pick
from kubewitness.look.query.source import Input
from kubewitness.look.query.spill import naming_place

_MOST_SHOWN = 0.25  # of the lines: to find more by their auditIDs takes longer than to number all

_Named: TypeAlias = tuple[int, str]
"""A part, and an auditID in it."""


class _Spot(NamedTuple):
    file: BinaryIO
    offset: int
    length: int


def exact_bytes(scan: Scan, rows: Sequence[int]) -> Iterator[bytes]:
    """Give the bytes of these rows of `hits`, in this order."""
    if not rows:
        return
    with naming_place(), ExitStack() as files:
        spots = _Finder(scan, files).find(set(rows))
        for row in rows:
            found = spots.get(row)
            yield found if isinstance(found, bytes) else _bytes_at(found)


class _Finder:
    """Finds where rows stand."""

    def __init__(self, scan: Scan, files: ExitStack) -> None:
        self._scan = scan
        self._files = files
        self._cursor = scan.connection.cursor()
        self._spots: dict[int, bytes | _Spot] = {}
        self._open: dict[str, BinaryIO] = {}
        self._aside: BinaryIO | None = None

    def find(self, rows: set[int]) -> dict[int, bytes | _Spot]:
        by_part: dict[int, list[int]] = defaultdict(list)
        self._cursor.execute("CREATE OR REPLACE TEMP TABLE shown AS SELECT unnest(?::BIGINT[]) AS row", [sorted(rows)])
        for part, place, row in self._cursor.execute(
            "SELECT _part, _place, rowid FROM hits WHERE rowid IN (SELECT row FROM shown) ORDER BY rowid"
        ).fetchall():
            places = self._scan.parts[part].places
            if places is not None:
                self._spots[row] = places[place].raw
            else:
                by_part[part].append(row)
        by_input: dict[int, dict[int, list[int]]] = defaultdict(dict)
        for part, wanted in by_part.items():
            by_input[id(self._scan.parts[part].input)][part] = wanted
        for parts in by_input.values():
            self._find_in_input(parts)
        if self._aside is not None:
            self._aside.flush()
        return self._spots

    def _find_in_input(self, wanted: dict[int, list[int]]) -> None:
        one = self._scan.parts[next(iter(wanted))].input
        if self._find_by_ids(one, wanted):
            return
        if not _has_changed(one):
            self._find_by_numbers(one, wanted)
            if not _has_changed(one):
                return
        # its lines have other numbers now than the rows: only what names them finds them
        if not self._find_by_ids(one, wanted):
            raise _changed(one.name)

    def _find_by_ids(self, one: Input, wanted: dict[int, list[int]]) -> bool:
        """Find rows by their auditIDs. False where that is not certain to find their own lines."""
        shown = {row for rows in wanted.values() for row in rows}
        changed = _has_changed(one)  # then its last line was half, and the engine may have read that first
        if not changed and len(shown) > _MOST_SHOWN * sum(self._scan.parts[part].rows for part in wanted):
            return False
        sharing: dict[_Named, list[int]] = defaultdict(list)
        ids = f"SELECT {AUDIT_ID} FROM hits WHERE rowid IN (SELECT unnest(?))"  # noqa: S608 - our own name
        for part, audit_id, row in self._cursor.execute(
            f"SELECT _part, {AUDIT_ID}, rowid FROM hits "  # noqa: S608
            f"WHERE NOT _odd AND _part IN (SELECT unnest(?)) AND {AUDIT_ID} IN ({ids}) ORDER BY rowid",
            [list(wanted), list(shown)],
        ).fetchall():
            sharing[part, audit_id].append(row)
        rows = {named: found for named, found in sharing.items() if not shown.isdisjoint(found)}
        if not shown.issubset(row for named in rows.values() for row in named):
            return False
        spots: dict[_Named, list[_Spot]] = defaultdict(list)
        for part, lines in self._by_part(one, self._named(one, wanted, {audit_id for _, audit_id in rows})):
            if part in wanted:
                for number, audit_id in self._scan.kept_ids(part, [raw for _, raw in lines]):
                    if (part, audit_id) in rows:
                        spots[part, audit_id].append(self._spot(one, *lines[number]))
        more = [len(spots[named]) - len(rows[named]) for named in rows]
        if min(more) < 0 or (any(more) and not changed):
            return False
        for named, places in spots.items():
            self._spots.update(
                (row, spot) for row, spot in zip(rows[named], places, strict=not changed) if row in shown
            )
        return True

    def _named(self, one: Input, wanted: Collection[int], ids: Iterable[str]) -> Iterable[tuple[int, bytes]]:
        """Give offset and bytes of every line of these parts, at least, in which one of these auditIDs stands."""
        asides = [aside for part in sorted(wanted) if (aside := self._scan.parts[part].aside) is not None]
        if len(asides) == len(wanted):
            return itertools.chain.from_iterable(asides)
        return lines_named(_until_torn(one.chunks()), {audit_id.encode() for audit_id in ids})

    def _by_part(self, one: Input, lines: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, list[tuple[int, bytes]]]]:
        """Give lines in batches, each of one part, without the space around them."""
        parts = self._scan.parts
        begins = sorted((x.offset, number) for number, x in enumerate(parts) if x.input is one and x.places is None)

        def part_of(line: tuple[int, bytes]) -> int:
            return begins[bisect.bisect_right(begins, (line[0], len(parts))) - 1][1]

        for part, group in itertools.groupby(lines, part_of):
            for batch in batches(group):
                yield part, [_stripped(*line) for line in batch]

    def _find_by_numbers(self, one: Input, wanted: dict[int, list[int]]) -> None:
        """Find rows by the numbers of their lines."""
        in_place = next((part for part in wanted if self._scan.parts[part].lines is None), None)
        if in_place is not None:
            ordinals = self._ordinals(one.path, in_place, wanted[in_place])
            chunks = _until_torn(one.chunks())
            lines = pick(chunks, sorted(ordinals), has_blank_lines=self._has_blank_lines(one, in_place))
            self._keep(one, lines, ordinals)
            return
        by_offset = {self._scan.parts[part].offset: part for part in wanted}
        for block in blocks(_until_torn(one.chunks()), self._scan.files):
            part = by_offset.get(block.offset)
            if part is None or block.long_line:
                continue
            ordinals = self._ordinals(self._scan.files.paths[block.fd], part, wanted[part])
            lines = pick(self._scan.files.read(block.fd), sorted(ordinals), has_blank_lines=True)
            self._keep(one, lines, ordinals)

    def _has_blank_lines(self, one: Input, part: int) -> bool:
        rows = self._scan.parts[part].rows
        return rows != count_lines(_until_torn(one.chunks()))

    def _ordinals(self, path: str, part: int, wanted: list[int]) -> dict[int, int]:
        """Map ordinals of lines to rows."""
        ordinals = self._scan.kept_ordinals(part, path)
        rows = [
            row
            for (row,) in self._cursor.execute(
                "SELECT rowid FROM hits WHERE _part = ? ORDER BY rowid", [part]
            ).fetchall()
        ]
        shown = set(wanted)
        # not strict: a log that grew has more lines now, and its last line may be whole
        return {ordinal: row for ordinal, row in zip(ordinals, rows, strict=False) if row in shown}

    def _keep(self, one: Input, lines: Iterator[Line], rows: dict[int, int]) -> None:
        for line in lines:
            self._spots[rows[line.ordinal]] = self._spot(one, *_stripped(line.offset, line.raw))

    def _spot(self, one: Input, offset: int, raw: bytes) -> _Spot:
        """Say where these bytes of an input can be read again."""
        if one.compression is Compression.NONE:
            if one.path not in self._open:
                self._open[one.path] = self._files.enter_context(open(one.path, "rb"))  # noqa: PTH123, SIM115
            return _Spot(self._open[one.path], offset, len(raw))
        if self._aside is None:
            self._aside = self._files.enter_context(tempfile.TemporaryFile(prefix="kubewitness-"))  # noqa: SIM115
        spot = _Spot(self._aside, self._aside.tell(), len(raw))
        self._aside.write(raw)
        return spot


def _has_changed(one: Input) -> bool:
    return one.compression is Compression.NONE and os.stat(one.path).st_size != one.size_bytes  # noqa: PTH116


def _bytes_at(spot: _Spot | None) -> bytes:
    raw = os.pread(spot.file.fileno(), spot.length, spot.offset) if spot else b""
    if spot is None or len(raw) < spot.length:
        raise _changed(spot.file.name if spot else None)
    return raw


def _changed(name: str | None) -> OSError:
    return OSError(errno.ESTALE, "the log was cut short or changed while it was read; ask a copy of it", name)


def _stripped(offset: int, line: bytes) -> tuple[int, bytes]:
    """Give a line, with its offset, without the space around it."""
    raw = line.lstrip()
    return offset + len(line) - len(raw), raw.rstrip()


def _until_torn(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Give what can be unpacked; that it breaks off was counted by the scan."""
    try:
        yield from chunks
    except TornError:
        return
