"""
Tiles as files, under the names that tlog-tiles gives them; partial ones go when the full one is there.

Writing does not wait for the disk; `sync` does, for all that was written since the last time.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import groupby

from kubewitness._kit.files import Directory, read_whole, write_lightly
from kubewitness.keep.seal.errors import TileError
from kubewitness.keep.seal.tiles import TILE_WIDTH, Tile


class TileFiles:
    """The tiles of one tree, in a directory."""

    def __init__(self, directory: Directory) -> None:
        """Use a directory that holds `tile/`, or will."""
        self._directory = directory
        self._fresh: dict[tuple[int, int], Tile] = {}
        self._open: dict[int, tuple[str, Directory]] = {}

    def read(self, tile: Tile) -> bytes:
        """Give a tile's bytes; where a partial one has become full, the full one's, to be cut. Raises TileError."""
        if tile.width < TILE_WIDTH:
            *folders, name = tile.path().split("/")
            with suppress(FileNotFoundError), self._folder(folders, is_new=False) as folder:
                return read_whole(folder, name)
        path, _, name = Tile(tile.level, tile.number).path().rpartition("/")
        with suppress(FileNotFoundError):
            return read_whole(self._kept_open(tile.level, path), name)
        raise TileError(f"{tile.path()} is not there")

    def _kept_open(self, level: int, path: str) -> Directory:
        """Open the folder of a full tile, or give the one that is open: whoever reads many reads them in order."""
        known = self._open.get(level)
        if known is None or known[0] != path:
            *parents, last = path.split("/")
            with self._folder(parents, is_new=False) as parent:
                folder = parent.look(last)
            if known is not None:
                known[1].close()
            known = self._open[level] = path, folder
        return known[1]

    def write(self, made: Iterable[tuple[Tile, bytes]]) -> None:
        """Put tiles in place; a folder is opened once for those of it that follow each other."""
        for path, of_folder in groupby(made, lambda one: one[0].path().rpartition("/")[0]):
            with self._folder(path.split("/"), is_new=True) as folder:
                for tile, data in of_folder:
                    write_lightly(folder, tile.path().rpartition("/")[2], data)
                    self._fresh[tile.level, tile.number] = tile

    def sync(self) -> None:
        """Make last what was written. Raises OSError; then all of it must be written again."""
        folders: dict[tuple[str, ...], list[str]] = {}
        for tile in self._fresh.values():
            *names, name = tile.path().split("/")
            folders.setdefault(tuple(names), []).append(name)
        for path, fresh in folders.items():
            with self._folder(path, is_new=True) as folder:
                folder.sync_files(fresh)
                folder.sync()
        for parent in sorted({path[:depth] for path in folders for depth in range(len(path))}):
            with self._folder(parent, is_new=True) as folder:
                folder.sync()

    def tidy(self) -> None:
        """Remove the partial tiles of those that became full; to be called when what was synced counts."""
        full = sorted(tile.path() for tile in self._fresh.values() if tile.width == TILE_WIDTH)
        for path, of_folder in groupby(full, lambda one: one.rpartition("/")[0]):
            partial = {f"{one.rpartition('/')[2]}.p" for one in of_folder}
            with self._folder(path.split("/"), is_new=False) as folder:
                for name in partial.intersection(folder.names()):
                    with _closing(folder.enter(name)) as inside:
                        for old in inside.names():
                            inside.remove(old)
                    folder.remove_directory(name)
        self._fresh = {}

    @contextmanager
    def _folder(self, names: Sequence[str], *, is_new: bool) -> Iterator[Directory]:
        """Enter folder after folder, making them if they may be new."""
        with ExitStack() as opened:
            folder = self._directory
            for name in names:
                folder = opened.enter_context(_closing(folder.enter(name) if is_new else folder.look(name)))
            yield folder


@contextmanager
def _closing(directory: Directory) -> Iterator[Directory]:
    try:
        yield directory
    finally:
        directory.close()
