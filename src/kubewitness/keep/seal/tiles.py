"""
Tiles: the tree cut into files of up to 256 hashes, and the entries into bundles of up to 256.

A complete tile never changes; the last tile of each level is partial and carries its width in its name.
This module names tiles, cuts and reads them; where they lie is left to the caller.

Follows C2SP tlog-tiles 0.1.0.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from kubewitness.keep.seal import merkle
from kubewitness.keep.seal.errors import TileError

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
MAX_ENTRY_BYTES = 0xFFFF
ENTRIES = -1
"""The "level" of entry bundles."""

_NUMBER = r"((?:x[0-9]{3}/)*[0-9]{3})"
_PATH = re.compile(rf"tile/(entries|[0-9]|[1-5][0-9]|6[0-3])/{_NUMBER}(?:\.p/([1-9][0-9]{{0,2}}))?")


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """One tile: its level (`ENTRIES` for a bundle), its number in the level, its width 1..256."""

    level: int
    number: int
    width: int = TILE_WIDTH

    def path(self) -> str:
        """Give the path that the specification gives it."""
        level = "entries" if self.level == ENTRIES else str(self.level)
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{level}/{_format_number(self.number)}{partial}"


def _format_number(number: int) -> str:
    groups = [f"{number % 1000:03d}"]
    while number := number // 1000:
        groups.append(f"x{number % 1000:03d}")
    return "/".join(reversed(groups))


def parse_path(path: str) -> Tile:
    """Read a tile's path; only the one spelling of each tile is accepted. Raises TileError."""
    match = _PATH.fullmatch(path)
    if not match:
        raise TileError(f"not the path of a tile: {path!r}")
    level = ENTRIES if match[1] == "entries" else int(match[1])
    width = int(match[3]) if match[3] else TILE_WIDTH
    tile = Tile(level, int(match[2].replace("x", "").replace("/", "")), width)
    if width > TILE_WIDTH or tile.path() != path:
        raise TileError(f"not the only spelling of a tile's path: {path!r}")
    return tile


def tiles_of(size: int) -> Iterator[Tile]:
    """Name every hash tile of a tree, full ones first in each level, level 0 first."""
    level, count = 0, size
    while count:
        yield from _level_tiles(level, 0, count)
        level, count = level + 1, count >> TILE_HEIGHT


def new_tiles(old: int, new: int) -> Iterator[Tile]:
    """Name the hash tiles and bundles that a tree of `new` leaves has and one of `old` has not."""
    yield from _level_tiles(ENTRIES, old, new)
    level, before, after = 0, old, new
    while after:
        yield from _level_tiles(level, before, after)
        level, before, after = level + 1, before >> TILE_HEIGHT, after >> TILE_HEIGHT


def _level_tiles(level: int, before: int, after: int) -> Iterator[Tile]:
    """Name the tiles of a level that hold anything of [before, after)."""
    if before == after:
        return
    for number in range(before >> TILE_HEIGHT, (after - 1 >> TILE_HEIGHT) + 1):
        yield Tile(level, number, min(TILE_WIDTH, after - (number << TILE_HEIGHT)))


def read_hashes(tile: Tile, data: bytes) -> list[bytes]:
    """Cut a hash tile into its hashes. Raises TileError when it does not hold exactly `width` of them."""
    if len(data) != tile.width * merkle.HASH_BYTES:
        raise TileError(f"{tile.path()} holds {len(data)} bytes, not {tile.width} hashes of {merkle.HASH_BYTES}")
    return [data[i : i + merkle.HASH_BYTES] for i in range(0, len(data), merkle.HASH_BYTES)]


def format_entries(entries: Sequence[bytes]) -> bytes:
    """Write a bundle: each entry after its length in two bytes. Raises ValueError for one that is too long."""
    parts: list[bytes] = []
    for entry in entries:
        if len(entry) > MAX_ENTRY_BYTES:
            raise ValueError(f"an entry of {len(entry)} bytes does not fit a bundle ({MAX_ENTRY_BYTES})")
        parts += (len(entry).to_bytes(2), entry)
    return b"".join(parts)


def read_entries(tile: Tile, data: bytes) -> list[bytes]:
    """Cut a bundle into its entries. Raises TileError when it does not hold exactly `width` of them."""
    entries, at = [], 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 2])
        begin, at = at + 2, at + 2 + length
        entries.append(data[begin:at])
    if at != len(data) or len(entries) != tile.width:
        raise TileError(f"{tile.path()} holds {len(entries)} entries in {len(data)} bytes, not {tile.width}")
    return entries


class TileReader:
    """Gives the hashes of complete subtrees out of tiles, as `merkle` asks for them; keeps the tiles it read."""

    def __init__(self, size: int, fetch: Callable[[Tile], bytes]) -> None:
        """Read a tree of `size` leaves; `fetch` gives a tile's bytes or raises TileError."""
        self._size = size
        self._fetch = fetch
        self._tiles: dict[tuple[int, int], list[bytes]] = {}

    def node(self, level: int, index: int) -> bytes:
        """Give the hash at (level, index), computed from the lowest tile row at or below it."""
        tile_level, above = divmod(level, TILE_HEIGHT)
        first = index << above
        number, offset = divmod(first, TILE_WIDTH)
        hashes = self._read(tile_level, number)[offset : offset + (1 << above)]
        if len(hashes) != 1 << above:
            raise TileError(f"the tree of {self._size} leaves has no subtree at level {level}, index {index}")
        while len(hashes) > 1:
            hashes = [merkle.node_hash(a, b) for a, b in zip(hashes[::2], hashes[1::2], strict=True)]
        return hashes[0]

    def _read(self, level: int, number: int) -> list[bytes]:
        known = self._tiles.get((level, number))
        if known is None:
            count = (self._size >> level * TILE_HEIGHT) - number * TILE_WIDTH
            if count <= 0:
                raise TileError(f"the tree of {self._size} leaves has no tile {number} at level {level}")
            tile = Tile(level, number, min(TILE_WIDTH, count))
            known = self._tiles[level, number] = read_hashes(tile, self._fetch(tile))
        return known
