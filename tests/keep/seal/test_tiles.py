"""Tiles: their names, their contents, and a whole tree read back out of them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubewitness.keep.seal import merkle, tiles
from kubewitness.keep.seal.errors import TileError
from kubewitness.keep.seal.tiles import ENTRIES, Tile

SIZE = 257 * 256 + 3
LEAVES = [merkle.leaf_hash(b"%d" % i) for i in range(SIZE)]
FRONTIER = merkle.Frontier()
NODES = {(level, index): h for leaf in LEAVES for level, index, h in FRONTIER.append(leaf)}


def fetch(tile):
    """A tile as a writer would have written it."""
    first = tile.number * tiles.TILE_WIDTH
    return b"".join(NODES[tile.level * tiles.TILE_HEIGHT, first + i] for i in range(tile.width))


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(1, 1_234_067, 5), "tile/1/x001/x234/067.p/5"),
        (Tile(63, 999), "tile/63/999"),
        (Tile(0, 1000, 255), "tile/0/x001/000.p/255"),
        (Tile(ENTRIES, 1_000_000), "tile/entries/x001/x000/000"),
    ],
)
def test_paths_are_those_of_the_specification(tile, path):
    """Groups of three digits, all but the last after an x; partial tiles end in .p/ and their width."""
    assert tile.path() == path
    assert tiles.parse_path(path) == tile


@given(st.builds(Tile, st.sampled_from([ENTRIES, 0, 1, 9, 10, 59, 63]), st.integers(0, 10**12), st.integers(1, 256)))
def test_every_tile_has_one_path(tile):
    """Names round trip."""
    assert tiles.parse_path(tile.path()) == tile


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/x000/001",
        "tile/0/1",
        "tile/64/000",
        "tile/00/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/001",
        "tile/0/001/000",
        "/tile/0/000",
        "tile/0/../000",
        "tile/0/000\n",
        "tile/data/000",
        "",
    ],
)
def test_other_spellings_are_refused(path):
    """No traversal, no second spelling of the same tile."""
    with pytest.raises(TileError):
        tiles.parse_path(path)


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 512, 65535, 65536, 65537, SIZE])
def test_a_tree_is_read_back_out_of_its_tiles(size):
    """Root, inclusion and consistency proofs come from tiles alone, and only tiles that exist are asked for."""
    named = set(tiles.tiles_of(size))

    def only_existing(tile):
        assert tile in named
        return fetch(tile)

    reader = tiles.TileReader(size, only_existing)
    root = merkle.root_hash(size, reader.node)
    assert root == merkle.root_hash(size, lambda level, index: NODES[level, index])
    for index in {0, size // 2, size - 1}:
        merkle.verify_inclusion(index, size, LEAVES[index], merkle.inclusion_proof(index, size, reader.node), root)
    old = max(1, size // 3)
    old_root = merkle.root_hash(old, reader.node)
    merkle.verify_consistency(old, size, old_root, root, merkle.consistency_proof(old, size, reader.node))


@settings(max_examples=50)
@given(st.integers(0, 140_000), st.integers(0, 1000))
def test_new_tiles_are_what_is_missing(old, growth):
    """Growing names exactly the hash tiles and bundles that the old tree had not."""
    new = old + growth
    expected = set(tiles.tiles_of(new)) - set(tiles.tiles_of(old))
    added = list(tiles.new_tiles(old, new))
    assert {tile for tile in added if tile.level != ENTRIES} == expected
    bundles = [tile for tile in added if tile.level == ENTRIES]
    assert [tile.number for tile in bundles] == sorted({index >> 8 for index in range(old, new)})
    assert len(added) == len(set(added))


@given(st.lists(st.binary(max_size=70), min_size=1, max_size=256))
def test_a_bundle_reads_back(entries):
    """Entries of any length, empty ones too."""
    tile = Tile(ENTRIES, 0, len(entries))
    assert tiles.read_entries(tile, tiles.format_entries(entries)) == entries


def test_a_cut_or_padded_bundle_is_refused():
    """Nothing missing, nothing more."""
    data = tiles.format_entries([b"ab", b"c"])
    for wrong in (data[:-1], data[:4], data + b"\0\0", data + b"\0", b""):
        with pytest.raises(TileError):
            tiles.read_entries(Tile(ENTRIES, 0, 2), wrong)


def test_a_cut_or_padded_tile_is_refused():
    """A hash tile has exactly the hashes of its width."""
    for wrong in (b"", b"x" * 31, b"x" * 33, b"x" * 64):
        with pytest.raises(TileError):
            tiles.read_hashes(Tile(0, 0, 1), wrong)


def test_an_entry_that_no_bundle_holds_is_an_error():
    """The length has two bytes."""
    with pytest.raises(ValueError, match="65536"):
        tiles.format_entries([b"x" * 65536])


def test_asking_beyond_the_tree_is_an_error():
    """A subtree that is not complete, or not there, is never made up."""
    reader = tiles.TileReader(300, fetch)
    for level, index in ((0, 300), (1, 150), (8, 1), (9, 0), (16, 0)):
        with pytest.raises(TileError):
            reader.node(level, index)
