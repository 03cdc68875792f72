"""
Make again what follows from the segments: the index, the tiles; and write cold segments anew in less space.

Nothing is removed before what replaces it is there and was checked. Tiles are made again only if the segments lead to
every head that was signed; if they do not, the tiles stay, for they may be the only copy of some leaves.
"""

import shutil
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Self

from kubewitness._kit.files import DiskDirectory
from kubewitness.assembly.reindexing import catch_up
from kubewitness.keep.index.maker import LOCK as INDEX_LOCK
from kubewitness.keep.index.manifest import INDEX, Manifest
from kubewitness.keep.store.errors import LockedError
from kubewitness.keep.store.log import LOCK, SEGMENTS
from kubewitness.keep.store.recompress import Recompressed, recompress
from kubewitness.keep.store.tree import SETTLED, TILES, Tree, check_shown, head_sizes

NEW, OLD = ".new", ".old"


class Rebuilding:
    """One log, locked, of which things are made again; use as a context manager."""

    def __init__(self, path: Path, cluster: str, origin: str) -> None:
        """Lock it. Raises LockedError when another process writes to it, OSError."""
        self._path, self._cluster, self._origin = path, cluster, origin
        self._root = DiskDirectory.at(path)
        try:
            self._lock = self._root.lock(LOCK)
        except BlockingIOError as exc:
            self._root.close()
            raise LockedError(f"{path}: another process writes to this store") from exc
        self._put_back()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()
        self._root.close()

    def index(self, told: Callable[[int], None] = lambda _: None) -> Manifest:
        """Make the index again, beside the old one, which answers until the new one takes its place. Raises OSError."""
        fresh = INDEX + NEW
        shutil.rmtree(self._path / fresh, ignore_errors=True)
        with self._root.enter(INDEX) as index, closing(index.lock(INDEX_LOCK)):
            catch_up(self._root, self._cluster, told, name=fresh)
            self._root.replace(INDEX, INDEX + OLD)
            self._root.replace(fresh, INDEX)
            self._root.sync()
        shutil.rmtree(self._path / (INDEX + OLD))
        return catch_up(self._root, self._cluster)

    def tiles(self) -> int:
        """Make the tiles again up to the largest head that was signed; give its size. Without a head there are none.

        Raises DamagedError, and leaves the tiles as they are, when the segments do not lead to every head.
        """
        check_shown(self._root)
        self._root.replace(TILES, TILES + OLD)
        self._root.sync()
        try:
            tree = Tree(self._root, self._origin, ())
            try:
                if head_sizes(self._root):  # else it would be a new head, and nobody here may sign one
                    tree.grow(tree.signed_size)
                tree.settle()
            finally:
                tree.abandon()
        except BaseException:
            shutil.rmtree(self._path / TILES, ignore_errors=True)
            self._root.replace(TILES + OLD, TILES)
            self._root.sync()
            raise
        shutil.rmtree(self._path / (TILES + OLD))
        return tree.signed_size

    def recompress(self, told: Callable[[Recompressed], None] = lambda _: None) -> list[Recompressed]:
        """Write cold segments anew: those that are indexed and in tiles that last. Raises DamagedError, OSError."""
        settled = 0
        with suppress(FileNotFoundError, ValueError):
            settled = int((self._path / TILES / SETTLED).read_text())
        indexed = catch_up(self._root, self._cluster).end
        done = []
        with self._root.look(SEGMENTS) as segments:
            for one in recompress(segments, min(settled, indexed)):
                told(one)
                done.append(one)
        return done

    def _put_back(self) -> None:
        """Undo what a crash left half done: what was moved away and not replaced comes back."""
        names = self._root.names()
        for name in (TILES, INDEX):
            if name + OLD in names:
                if name == TILES or name not in names:
                    shutil.rmtree(self._path / name, ignore_errors=True)
                    self._root.replace(name + OLD, name)
                else:
                    shutil.rmtree(self._path / (name + OLD))
        self._root.sync()
