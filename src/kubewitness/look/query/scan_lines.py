"""
Lines by their number: from the ordinals an engine gives to bytes, offsets and line numbers.

An engine numbers what it read: one row for each line that is not blank. `pick` finds those lines again in the
bytes, without looking into any other line; `regions` joins lines that stand together, because what is not one
value a line may be one value over several.
"""

from collections.abc import Collection, Iterable, Iterator
from itertools import groupby

import msgspec

BATCH_BYTES = 32 << 20
_AUDIT_ID = b'"auditID":"'


class Line(msgspec.Struct, frozen=True):
    """One line, with blank lines before it if `pick` met some: its ordinal, where it stands, its bytes."""

    ordinal: int
    offset: int
    line: int
    raw: bytes


def count_lines(chunks: Iterable[bytes]) -> int:
    """Count lines, blank ones included; a last line without its end counts."""
    count, last = 0, b"\n"
    for chunk in chunks:
        count += chunk.count(b"\n")
        last = chunk[-1:] or last
    return count if last == b"\n" else count + 1


def pick(chunks: Iterable[bytes], ordinals: Iterable[int], *, has_blank_lines: bool) -> Iterator[Line]:
    """Give the lines with these ordinals (ascending); blank lines have none."""
    wanted = iter(ordinals)
    target = next(wanted, None)
    rows, offset, line = 0, 0, 1
    blank = b""  # blank lines directly before the next line
    for block in _whole_lines(chunks):
        if target is None:
            return
        lines_here = block.count(b"\n") + (not block.endswith(b"\n"))
        if not has_blank_lines and target >= rows + lines_here:
            rows, line, offset = rows + lines_here, line + lines_here, offset + len(block)
            continue
        for raw in _lines(block):
            if has_blank_lines and not raw.strip():
                blank += raw
            else:
                if rows == target:
                    yield Line(rows, offset - len(blank), line - blank.count(b"\n"), blank + raw)
                    target = next(wanted, None)
                rows, blank = rows + 1, b""
            offset, line = offset + len(raw), line + 1


def lines_named(chunks: Iterable[bytes], ids: Collection[bytes]) -> Iterator[tuple[int, bytes]]:
    """Give offset and bytes of every line in which one of these auditIDs stands as kube-apiserver writes it."""
    from ahocorasick_rs import BytesAhoCorasick

    search = BytesAhoCorasick([_AUDIT_ID]).find_matches_as_indexes
    named = {one + b'"' for one in ids}
    offset = 0
    for piece, begin, cut in _line_pieces(chunks):
        last = begin
        for _, _, hit in search(memoryview(piece)[begin:cut]):
            at = begin + hit
            if at >= last and piece[at : piece.find(b'"', at) + 1] in named:
                first, last = piece.rfind(b"\n", begin, at) + 1 or begin, piece.find(b"\n", at, cut) + 1 or cut
                yield offset + first - begin, piece[first:last]
        offset += cut - begin


def _lines(block: bytes) -> Iterator[bytes]:
    start = 0
    while (end := block.find(b"\n", start) + 1) > 0:
        yield block[start:end]
        start = end
    if start < len(block):
        yield block[start:]


def _whole_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Cut chunks at line ends."""
    for piece, begin, cut in _line_pieces(chunks):
        yield piece[begin:cut]


def _line_pieces(chunks: Iterable[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """Give bytes with the places where whole lines begin and end in them; only a line over two chunks is copied."""
    rest: list[bytes] = []
    for chunk in chunks:
        begin, cut = chunk.find(b"\n") + 1, chunk.rfind(b"\n") + 1
        if not cut:
            rest.append(chunk)
            continue
        begun = b"".join([*rest, chunk[:begin]])
        yield begun, 0, len(begun)
        if begin < cut:
            yield chunk, begin, cut
        rest = [chunk[cut:]]
    if last := b"".join(rest):
        yield last, 0, len(last)


def batches(lines: Iterable[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    """Give lines, each with its offset, some at a time: as many as the engine reads well at once."""
    batch: list[tuple[int, bytes]] = []
    size = 0
    for line in lines:
        batch.append(line)
        size += len(line[1])
        if size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def regions(lines: Iterable[Line]) -> Iterator[Iterator[Line]]:
    """Group lines whose ordinals follow one another; each group is to be used up before the next."""
    for _, group in groupby(enumerate(lines), key=lambda pair: pair[1].ordinal - pair[0]):
        yield (line for _, line in group)
