"""
Exact bytes on demand: a second look at the inputs, only for the rows that are shown.

A row that was rescued brought its bytes along. For any other the engine numbers the lines of its part once more
(the same lines as before: same files, same conditions, same order), and `scan_lines` finds the bytes. Lines of a plain
file are then read where they stand; lines of a packed one are put aside in an unlinked file on the way.
"""

import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple

from kubewitness._kit.opening import Compression
from kubewitness.look.query.scan import Scan
from kubewitness.look.query.scan_blocks import blocks
from kubewitness.look.query.scan_lines import Line, count_lines, pick
from kubewitness.look.query.source import Input

_SPACE = b" \t\r\n\v\f"


class _Spot(NamedTuple):
    file: BinaryIO
    offset: int
    length: int


def exact_bytes(scan: Scan, rows: Sequence[int]) -> Iterator[bytes]:
    """Give the bytes of these rows of `hits`, in this order."""
    if not rows:
        return
    with tempfile.TemporaryFile(prefix="kubewitness-") as aside:
        finder = _Finder(scan, aside)
        try:
            spots = finder.find(set(rows))
            aside.flush()
            for row in rows:
                found = spots[row]
                yield found if isinstance(found, bytes) else os.pread(found.file.fileno(), found.length, found.offset)
        finally:
            finder.close()


class _Finder:
    """Finds where rows stand."""

    def __init__(self, scan: Scan, aside: BinaryIO) -> None:
        self._scan = scan
        self._aside = aside
        self._cursor = scan.connection.cursor()
        self._spots: dict[int, bytes | _Spot] = {}
        self._open: dict[str, BinaryIO] = {}

    def close(self) -> None:
        """Close the plain files."""
        for file in self._open.values():
            file.close()

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
        return self._spots

    def _find_in_input(self, wanted: dict[int, list[int]]) -> None:
        one = self._scan.parts[next(iter(wanted))].input
        in_place = next((part for part in wanted if self._scan.parts[part].lines is None), None)
        if in_place is not None:
            chunks = one.chunks
            ordinals = self._ordinals(one.path, in_place, wanted[in_place])
            lines = pick(chunks(), sorted(ordinals), has_blank_lines=self._has_blank_lines(one, in_place))
            self._keep(one, lines, ordinals)
            return
        by_offset = {self._scan.parts[part].offset: part for part in wanted}
        for block in blocks(one.chunks(), self._scan.files):
            part = by_offset.get(block.offset)
            if part is None or block.long_line:
                continue
            ordinals = self._ordinals(self._scan.files.paths[block.fd], part, wanted[part])
            lines = pick(self._scan.files.read(block.fd), sorted(ordinals), has_blank_lines=True)
            self._keep(one, lines, ordinals)

    def _has_blank_lines(self, one: Input, part: int) -> bool:
        rows = self._scan.parts[part].rows
        return rows != count_lines(one.chunks())

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
        return {ordinal: row for ordinal, row in zip(ordinals, rows, strict=True) if row in shown}

    def _keep(self, one: Input, lines: Iterator[Line], rows: dict[int, int]) -> None:
        is_plain = one.compression is Compression.NONE
        for line in lines:
            raw = line.raw.lstrip(_SPACE)
            offset = line.offset + len(line.raw) - len(raw)
            raw = raw.rstrip(_SPACE)
            if is_plain:
                file = self._open.get(one.path) or self._open.setdefault(one.path, open(one.path, "rb"))  # noqa: SIM115, PTH123
                self._spots[rows[line.ordinal]] = _Spot(file, offset, len(raw))
            else:
                self._spots[rows[line.ordinal]] = _Spot(self._aside, self._aside.tell(), len(raw))
                self._aside.write(raw)
