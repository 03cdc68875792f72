"""Small stores on a real disk, for tests."""

import time
from pathlib import Path

import zstandard

from kubewitness._kit.files import DiskDirectory
from kubewitness.keep.store.dedupe import Window
from kubewitness.keep.store.layout import DataDir, KeyDir, default_keys
from kubewitness.keep.store.log import Batch, ClusterLog, Receipt
from kubewitness.keep.store.reader import Lost, read_blocks, records
from kubewitness.keep.store.scan import name_of
from kubewitness.keep.store.tree import Tree

KEY = b"k" * 32


def opened(path: Path, **options) -> ClusterLog:
    return ClusterLog(DiskDirectory.at(path), KEY, window=options.pop("window", None) or Window(KEY, 1000), **options)


def raws(first: int, count: int) -> list[bytes]:
    return [b'{"auditID":"%d","stage":"Panic"}' % n for n in range(first, first + count)]


def store(log: ClusterLog, events: list[bytes], source: str = "webhook:a", received_ns: int = 7) -> Receipt:
    (receipt,) = log.commit([Batch(received_ns, source, [log.arrive(raw) for raw in events])])
    return receipt


def made(path: Path, count: int, per_block: int = 10, **options) -> Path:
    """A finished store of `count` Events; gives where its segments are."""
    log = opened(path, **options)
    for first in range(0, count, per_block):
        store(log, raws(first, min(per_block, count - first)))
    log.close()
    return path / "segments"


def segment(path: Path, first: int) -> Path:
    return path / name_of(first)


def read(path: Path, begin: int = 0, end: int | None = None) -> tuple[list[bytes], list[Lost]]:
    """The Events and the losses of the segments there."""
    lines, lost = [], []
    for part in read_blocks(DiskDirectory.at(path), begin, end):
        if isinstance(part, Lost):
            lost.append(part)
        else:
            lines += [record.kept.line for record in records(part)]
    return lines, lost


def data_dir(
    path: Path, events: list[bytes], *, cluster: str = "prod", per_head: int = 100, unsigned: int = 0, **options
) -> DataDir:
    """A data directory with one log, its keys beside it, a head after every `per_head` Events."""
    data, keys = DataDir(path), KeyDir(default_keys(path))
    root, meta = data.enter(cluster)
    log = ClusterLog(root, keys.identity(), segment_bytes=options.pop("segment_bytes", 2000))
    tree = Tree(root, meta.origin, keys.signers(meta))
    signed = len(events) - unsigned
    for n in range(0, len(events), 20):
        store(log, events[n : n + 20], options.get("source", "webhook:a"), time.time_ns())
        if log.end % per_head == 0 and log.end <= signed:
            tree.grow(log.end)
    tree.grow(signed)
    tree.close()
    log.close()
    root.close()
    return data


def recorded(name: str = "audit-full") -> list[bytes]:
    """The Events of a recorded log, byte for byte."""
    with (Path(__file__).parents[2] / "data" / f"{name}.log.zst").open("rb") as file:
        return zstandard.ZstdDecompressor().stream_reader(file).read().split(b"\n")[:-1]
