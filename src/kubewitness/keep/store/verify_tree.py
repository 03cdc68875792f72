"""
Grow the tree of a store from its leaves, and compare it on the way with what heads and tiles say.

Leaves come 256 at a time, as tiles hold them, so that most of the work is a comparison of bytes.
"""

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Protocol

from kubewitness.keep.seal import merkle, tiles
from kubewitness.keep.seal.checkpoint import Checkpoint
from kubewitness.keep.seal.errors import TileError
from kubewitness.keep.seal.leaf import LEAF_BYTES
from kubewitness.keep.store.verify_read import ENTRY_BYTES, Leaves

WIDTH = tiles.TILE_WIDTH
HASH = merkle.HASH_BYTES


class Tiles(Protocol):
    """Where tiles can be had."""

    def read(self, tile: tiles.Tile) -> bytes:
        """Give a tile's bytes, or those of the full one. Raises TileError."""
        ...


class Heard(Protocol):
    """Who is told what the tree shows."""

    def met(self, head: Checkpoint) -> None:
        """Hear that the leaves lead to the root of this head."""
        ...

    def missed(self, head: Checkpoint, root: bytes) -> None:
        """Hear that they lead to another root."""
        ...

    def tile_is_missing(self, tile: tiles.Tile, why: str, first: int, end: int) -> None:
        """Hear that a tile cannot be had."""
        ...

    def tile_is_wrong(self, tile: tiles.Tile, first: int, end: int) -> None:
        """Hear that a tile holds something else for the Events [first, end)."""
        ...


class Walk:
    """A tree on its way from its first leaf (or from a size that is known) to its last."""

    def __init__(
        self,
        heard: Heard,
        held: Tiles | None,
        heads: Mapping[int, Checkpoint],
        upper: merkle.Frontier | None = None,
    ) -> None:
        """Compare with these heads and the tiles of the largest. `upper` is a tree of whole tiles to go on from."""
        self._heard = heard
        self._held = held
        self._heads = heads
        self._upper = upper or merkle.Frontier()
        self.tiled = max(heads, default=0)
        """How many leaves the tiles have."""
        self._sizes = deque(sorted(size for size in heads if size > self._upper.size * WIDTH or size == 0))
        self._rows: dict[int, bytearray] = {}
        self._bundle = bytearray()
        self._hashes = bytearray()
        if self._sizes and self._sizes[0] == 0:
            self._compare_head(0, merkle.EMPTY_ROOT)

    @property
    def size(self) -> int:
        """How many leaves were taken."""
        return self._upper.size * WIDTH + len(self._hashes) // HASH

    def rows_from(self, level: int, hashes: bytes) -> None:
        """Take the hashes with which the last tile of a level begins; for a tree that is gone on with."""
        self._rows[level] = bytearray(hashes)

    def take(self, leaves: Leaves) -> None:
        """Take leaves that follow those taken before."""
        self._bundle += leaves.bundle
        self._hashes += leaves.hashes
        whole = len(self._hashes) // (WIDTH * HASH)
        for number in range(whole):
            at, entry = number * WIDTH * HASH, number * WIDTH * ENTRY_BYTES
            self._tile(self._bundle[entry : entry + WIDTH * ENTRY_BYTES], self._hashes[at : at + WIDTH * HASH])
        del self._bundle[: whole * WIDTH * ENTRY_BYTES], self._hashes[: whole * WIDTH * HASH]

    def finish(self) -> None:
        """Compare what is left: the heads in the last tile, and the tiles that are not full."""
        self._heads_within(self._hashes)
        width = self.tiled - self._upper.size * WIDTH
        if 0 < width <= len(self._hashes) // HASH:
            self._level_zero(bytes(self._bundle), bytes(self._hashes), width)
        for level, row in sorted(self._rows.items()):
            count = self.tiled >> level * tiles.TILE_HEIGHT
            if row and len(row) // HASH == count % WIDTH:
                self._compare(tiles.Tile(level, count // WIDTH, len(row) // HASH), bytes(row))

    def _tile(self, bundle: bytearray, hashes: bytearray) -> None:
        """Take 256 leaves that begin where a tile begins."""
        self._heads_within(hashes)
        width = min(self.tiled - self._upper.size * WIDTH, WIDTH)
        if width > 0:
            self._level_zero(bytes(bundle), bytes(hashes), width)
        for level, index, value in self._upper.append(_root_of(bytes(hashes))):
            row, left = divmod(level, tiles.TILE_HEIGHT)
            if not left and index < self.tiled >> (row + 1) * tiles.TILE_HEIGHT:
                self._add(row + 1, index, value)
        self._heads_at_edge()

    def _add(self, level: int, index: int, value: bytes) -> None:
        row = self._rows.setdefault(level, bytearray())
        row += value
        if len(row) == WIDTH * HASH:
            self._compare(tiles.Tile(level, index // WIDTH), bytes(row))
            row.clear()

    def _heads_within(self, hashes: bytearray) -> None:
        """Compare the heads whose last leaf is one of these, but for one that ends with a whole tile."""
        begin = self._upper.size * WIDTH
        small = merkle.Frontier()
        count = len(hashes) // HASH
        while self._sizes and begin < self._sizes[0] <= begin + min(count, WIDTH - 1):
            size = self._sizes[0]
            for at in range(small.size * HASH, (size - begin) * HASH, HASH):
                small.append(bytes(hashes[at : at + HASH]))
            self._compare_head(size, merkle.Frontier(size, self._upper.peaks + small.peaks).root())

    def _heads_at_edge(self) -> None:
        if self._sizes and self._sizes[0] == self._upper.size * WIDTH:
            self._compare_head(self._sizes[0], self._upper.root())

    def _compare_head(self, size: int, root: bytes) -> None:
        self._sizes.popleft()
        head = self._heads[size]
        if head.root == root:
            self._heard.met(head)
        else:
            self._heard.missed(head, root)

    def _level_zero(self, bundle: bytes, hashes: bytes, width: int) -> None:
        number = self._upper.size
        self._compare(tiles.Tile(tiles.ENTRIES, number, width), bundle[: width * ENTRY_BYTES])
        self._compare(tiles.Tile(0, number, width), hashes[: width * HASH])

    def _compare(self, tile: tiles.Tile, ought: bytes) -> None:
        """Compare a tile with what it should hold."""
        step = 1 << max(tile.level, 0) * tiles.TILE_HEIGHT
        begin = tile.number * WIDTH
        try:
            found = self._read(tile, len(ought))
        except TileError as exc:
            self._heard.tile_is_missing(tile, str(exc), begin * step, (begin + tile.width) * step)
            return
        if found != ought:
            size = len(ought) // tile.width
            wrong = [
                n for n in range(tile.width) if found[n * size : (n + 1) * size] != ought[n * size : (n + 1) * size]
            ]
            self._heard.tile_is_wrong(tile, (begin + wrong[0]) * step, (begin + wrong[-1] + 1) * step)

    def _read(self, tile: tiles.Tile, length: int) -> bytes:
        """Give so many bytes of a tile. Raises TileError when it is not there, cut, or of another length."""
        if self._held is None:
            raise TileError("is not there")
        try:
            data = self._held.read(tile)
        except OSError as exc:
            raise TileError(f"cannot be read: {exc.strerror}") from exc
        full = WIDTH * (length // tile.width)
        if len(data) not in (length, full):
            raise TileError(f"holds {len(data)} bytes, not {length}")
        return data[:length]

    def instead(self, first: int, end: int) -> Iterator[Leaves]:
        """Give the leaves that tiles hold for Events that cannot be read; nothings where they hold none."""
        for number in range(first // WIDTH, -(-end // WIDTH)):
            begin = number * WIDTH
            width = min(WIDTH, max(self.tiled - begin, 0))
            bundle = b""
            if width:
                with suppress(TileError):
                    bundle = self._read(tiles.Tile(tiles.ENTRIES, number, width), width * ENTRY_BYTES)
            lead = LEAF_BYTES.to_bytes(2)
            entries: list[bytes] = []
            for index in range(max(first, begin), min(end, begin + WIDTH)):
                entry = bundle[(index - begin) * ENTRY_BYTES : (index - begin + 1) * ENTRY_BYTES]
                entries.append(entry if entry[:2] == lead else lead + bytes(LEAF_BYTES))
            hashes = b"".join(merkle.leaf_hash(entry[2:]) for entry in entries)
            yield Leaves(max(first, begin), b"".join(entries), hashes)


def _root_of(hashes: bytes) -> bytes:
    """Give the root of a full tile."""
    sha256 = hashlib.sha256
    while len(hashes) > HASH:
        hashes = b"".join(
            [sha256(b"\x01" + hashes[at : at + 2 * HASH]).digest() for at in range(0, len(hashes), 2 * HASH)]
        )
    return hashes
