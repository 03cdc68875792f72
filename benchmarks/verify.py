"""
How long `verify` takes, against loops that do nothing but read, split and hash: `python -m benchmarks.verify`.

    python -m benchmarks.verify [--events 200000] [--rounds 5]

The store is made of generated Events, 400 to a batch, a head every 20,000. The floors are whole Python processes too:
one unpacks the segments, splits them into lines and hashes each line once; the other cuts each line into the groups
of its leaf and hashes those, as any verifier of this format must. Each round runs all of them. Exit code 1 when
`verify` is less than half as fast as the second.
"""

import argparse
import hashlib
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import zstandard

from benchmarks.data import OUT
from benchmarks.generate import generate
from benchmarks.measure import Command, interleave, ratio
from kubewitness.keep.seal.leaf_cut import cut
from kubewitness.keep.store.layout import DataDir, KeyDir, default_keys
from kubewitness.keep.store.log import Batch, ClusterLog
from kubewitness.keep.store.tree import Tree

BATCH = 400
HEAD_EVERY = 20_000
TARGET = 0.5
CLUSTER = "bench"


def make(path: Path, events: int) -> None:
    """Make the store, unless it is there."""
    if path.exists():
        return
    part = path.with_name(f"{path.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    data, keys = DataDir(part), KeyDir(default_keys(path))
    root, meta = data.enter(CLUSTER)
    log = ClusterLog(root, keys.identity())
    tree = Tree(root, meta.origin, keys.signers(meta))
    lines = b"".join(generate(events)).split(b"\n")[:-1]
    for first in range(0, events, BATCH):
        arrivals = [log.arrive(raw) for raw in lines[first : first + BATCH]]
        log.commit([Batch(time.time_ns(), "webhook:bench", arrivals)])
        if log.end % HEAD_EVERY == 0:
            tree.grow(log.end)
    tree.grow(log.end)
    tree.close()
    log.close()
    part.rename(path)


def lines_of(path: Path) -> Iterator[bytes]:
    """Unpack the segments and split them."""
    for file in sorted((DataDir(path).log_path(CLUSTER) / "segments").iterdir()):
        with file.open("rb") as source:
            reader = zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True)
            rest = b""
            while data := reader.read(1 << 20):
                *lines, rest = (rest + data).split(b"\n")
                yield from lines


def floor(path: Path, *, is_cut: bool) -> None:
    """Split and hash."""
    sha256 = hashlib.sha256
    count = 0
    for line in lines_of(path):
        count += 1
        if is_cut:
            inner = [sha256(content).digest() for _, content in cut(line)]
            sha256(b"".join(inner)).digest()
        else:
            sha256(line).digest()
    print(count)


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verify", description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--floor", choices=("lines", "groups"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    path = OUT / f"verify-{args.events}"
    if args.floor:
        floor(path, is_cut=args.floor == "groups")
        return 0
    OUT.mkdir(exist_ok=True)
    make(path, args.events)
    again = f"{sys.executable} -m benchmarks.verify --events {args.events} --floor"
    ours = Path(sys.executable).with_name("kubewitness")
    commands = [
        Command("split into lines, hash each", f"{again} lines"),
        Command("split into groups, hash each", f"{again} groups"),
        Command("kubewitness verify", f"{ours} verify --data {path} 2>/dev/null"),
    ]
    measured = interleave(commands, args.rounds, OUT, lambda text: print(text, file=sys.stderr))
    verified = measured[-1]
    print(f"{args.events} events\n\n| | wall s | CPU s | events/s | times verify |\n|---|---|---|---|---|")
    for entry in measured:
        row = (entry.command.name, f"{entry.wall_s:.2f}", f"{entry.cpu_s:.2f}", f"{args.events / entry.wall_s:,.0f}")
        print(f"| {' | '.join(row)} | {ratio(entry, verified):.2f} |")
    return 0 if ratio(measured[1], verified) >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
