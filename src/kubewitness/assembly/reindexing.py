"""
Make all of the index of a log at once, for imports and rebuilding: in files as large as they get.

`indexing` keeps up with a server instead, in little memory.
"""

from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

from kubewitness.keep.index.maker import IndexMaker
from kubewitness.keep.index.manifest import INDEX
from kubewitness.look.query.tabulate import DuckTabulator

if TYPE_CHECKING:
    from kubewitness._kit.files import DiskDirectory
    from kubewitness.keep.index.manifest import Manifest

_BATCH, _FILE, _MEMORY = 192 << 20, 256 << 20, 1024 << 20


def catch_up(
    root: "DiskDirectory", cluster: str, told: Callable[[int], None] = lambda _: None, *, name: str = INDEX
) -> "Manifest":
    """Index all that a log holds, in files as large as they get. Raises BlockingIOError, OSError."""
    with (
        closing(DuckTabulator(cluster, memory_bytes=_MEMORY)) as tabulator,
        closing(IndexMaker(root, tabulator, batch_bytes=_BATCH, file_bytes=_FILE, name=name)) as maker,
    ):
        maker.advance(is_final=True, told=told)
        maker.settle()
        return maker.manifest
