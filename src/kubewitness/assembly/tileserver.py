"""
Serve heads and tiles over HTTP: `/<cluster>/checkpoint`, `/<cluster>/tile/...`, for whoever verifies.

What is served is public by design: leaves tell nothing about Events. A path is read as the name of a cluster and of a
tile, never as a path of the disk.

Follows C2SP tlog-tiles.
"""

import urllib.parse
from collections.abc import Mapping

from kubewitness._kit.files import Directory, DiskDirectory, read_whole
from kubewitness.assembly.plainhttp import Answer
from kubewitness.keep.seal.errors import TileError
from kubewitness.keep.seal.tiles import parse_path
from kubewitness.keep.store.layout import DataDir
from kubewitness.keep.store.tree import CHECKPOINT, TILES

_BINARY = "application/octet-stream"
_FOREVER = (("Cache-Control", "public, max-age=604800, immutable"),)
_NEVER = (("Cache-Control", "no-store"),)
_NOT_HERE = Answer(404, b"not here\n")


def answer(data: DataDir, clusters: Mapping[str, str], target: str) -> Answer:
    """Give what is asked for; `clusters` maps the names that may stand in the path to clusters."""
    path = target.partition("?")[0]
    name, slash, rest = path.removeprefix("/").partition("/")
    cluster = clusters.get(urllib.parse.unquote(name))
    if cluster is None or not slash:
        return _NOT_HERE
    try:
        if rest == CHECKPOINT:
            return Answer(200, _read(data, cluster, [CHECKPOINT]), "text/plain; charset=utf-8", _NEVER)
        tile = parse_path(rest)
        return Answer(200, _read(data, cluster, tile.path().split("/")), _BINARY, _FOREVER)
    except (FileNotFoundError, NotADirectoryError, TileError):
        return _NOT_HERE


def _read(data: DataDir, cluster: str, names: list[str]) -> bytes:
    folder: Directory = DiskDirectory.at(data.log_path(cluster))
    try:
        for name in [TILES, *names[:-1]]:
            inner = folder.look(name)
            folder.close()
            folder = inner
        return read_whole(folder, names[-1])
    finally:
        folder.close()
