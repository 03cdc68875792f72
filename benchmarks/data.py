"""
Make the files that the tables are measured on, in benchmarks/out: `python -m benchmarks.data SIZE`.

A program of its own, because a child's peak of memory, as the kernel tells it, includes its parent's at the fork:
the process that measures has to stay small.
"""

import gzip
import os
import shutil
import sys
from pathlib import Path

import zstandard

from benchmarks.generate import Profile, generate
from kubewitness._kit.descriptors import write_all

OUT = Path(__file__).resolve().parent / "out"
EVENTS = {"1GB": 525_000, "100MB": 52_500, "10MB": 5_250}
BODY_SHARE = 5
"""The log full of bodies has this many times fewer Events: they are as many times larger."""


def log_of(size: str) -> Path:
    """The plain log; .gz and .zst stand beside it."""
    return OUT / f"meta-{size}.log"


def bodies_of(size: str) -> Path:
    """The log full of bodies."""
    return OUT / f"body-{size}.log"


def in_large_pieces(log: Path) -> Path:
    """The log once more, held by the kernel in large pieces, as after reading it from a disk."""
    return log.with_suffix(".copy")


def packed(log: Path, suffix: str) -> Path:
    """The compressed form of a log."""
    return log.with_name(log.name + suffix)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _log(events: int, profile: Profile, path: Path) -> None:
    """Write a log as kube-apiserver does, one write(2) an Event: how it was written decides how the kernel holds it."""
    if not path.exists():
        _say(f"generating {path.name}")
        part = path.with_suffix(".part")
        file = os.open(part, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC, 0o600)
        for block in generate(events, profile=profile, workers=2):
            for line in block.splitlines(keepends=True):
                write_all(file, line)
        os.close(file)
        part.rename(path)


def _copy(log: Path) -> None:
    path = in_large_pieces(log)
    if not path.exists():
        _say(f"copying {path.name}")
        part = path.with_suffix(".part")
        with log.open("rb") as source, part.open("wb", buffering=0) as sink:
            shutil.copyfileobj(source, sink, 8 << 20)
        part.rename(path)


def _gz(log: Path) -> None:
    path = packed(log, ".gz")
    if not path.exists():
        _say(f"packing {path.name}")
        part = path.with_suffix(".part")
        with log.open("rb") as source, gzip.open(part, "wb", compresslevel=6) as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
        part.rename(path)


def _zst(log: Path) -> None:
    path = packed(log, ".zst")
    if not path.exists():
        _say(f"packing {path.name}")
        part = path.with_suffix(".part")
        with log.open("rb") as source, part.open("wb") as sink:
            zstandard.ZstdCompressor(level=3).copy_stream(source, sink)
        part.rename(path)


def main() -> None:
    """Make what is not there yet."""
    (size,) = sys.argv[1:]
    OUT.mkdir(exist_ok=True)
    log = log_of(size)
    _log(EVENTS[size], "meta", log)
    _copy(log)
    _gz(log)
    _zst(log)
    _log(EVENTS[size] // BODY_SHARE, "body", bodies_of(size))


if __name__ == "__main__":
    main()
