"""
The inputs of `kubewitness jq`: plain files, `.gz` and `.zst`, directories of rotated logs, standard input.

In: the names on the command line. Out: which file each stands for, and the bytes of the compressed ones. Names of
directories are resolved as for every command (`look.query.source`); compression is seen by content, not by name.
A name that cannot be opened is not an error here: jq is given it, and says so in its own words.
"""

import os
import queue
import stat
import threading
from collections.abc import Generator
from pathlib import Path

from kubewitness._kit.opening import Compression, TornError, compression_of, read_chunks
from kubewitness.look.query.source import STDIN, find_inputs

# How many chunks the unpacking thread may be ahead.
_AHEAD = 4


def expand(name: str) -> list[str]:
    """Give the logs of a directory, oldest first; of anything else its name. Raises SourceError for an empty one."""
    if name == STDIN or not os.path.isdir(name):  # noqa: PTH112 -- the name may be no path at all
        return [name]
    return [found.path for found in find_inputs([name])]


def is_compressed(name: str) -> bool:
    """Whether this is a regular file that must be unpacked."""
    try:
        if name == STDIN or not stat.S_ISREG(Path(name).stat().st_mode):
            return False
        with Path(name).open("rb") as file:
            return compression_of(file.read(4)) is not Compression.NONE
    except OSError:
        return False


def is_readable(name: str) -> bool:
    """Whether jq could open this file."""
    try:
        with Path(name).open("rb"):
            return not Path(name).is_dir()
    except OSError:
        return False


def unpacked(name: str) -> Generator[bytes]:
    """Give the bytes of a compressed file, unpacked by a thread. Raises TornError after all that is whole."""
    chunks: queue.Queue[bytes | TornError | OSError | None] = queue.Queue(_AHEAD)
    is_over = threading.Event()

    def work() -> None:
        end: TornError | OSError | None = None
        try:
            for chunk in read_chunks(name):
                chunks.put(chunk)
                if is_over.is_set():
                    return
        except (TornError, OSError) as error:
            end = error
        chunks.put(end)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    try:
        while (chunk := chunks.get()) is not None:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk
    finally:
        is_over.set()
        while worker.is_alive():  # it may wait for room in the queue
            try:
                chunks.get(timeout=0.05)
            except queue.Empty:
                worker.join(timeout=0.05)
