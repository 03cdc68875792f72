"""A process that stores and signs a few Events and then ends; strace makes its system calls fail, or ends it there."""

import os
import sys
from pathlib import Path

from kubewitness.keep.store.append import SEGMENT_BYTES
from kubewitness.keep.store.errors import StoreError, UnavailableError
from kubewitness.keep.store.layout import DataDir, KeyDir, default_keys
from kubewitness.keep.store.log import Batch, ClusterLog
from kubewitness.keep.store.tree import Tree

CLUSTER = "prod"
BATCHES = 8
PER_BATCH = 3
ATTEMPTS = 4
SMALL = 2500


def event(number: int) -> bytes:
    return b'{"auditID":"%d","stage":"Panic","requestObject":"%s"}' % (number, b"x" * 300)


def again(what):
    """Try as a server does that goes on after a failure: a few times, with everything opened anew."""
    for attempt in range(ATTEMPTS):
        try:
            return what()
        except (StoreError, OSError):
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError


def say(text: str) -> None:
    """Acknowledge, in one write."""
    os.write(1, text.encode())


def main(path: Path, say=say) -> None:
    data, keys = DataDir(path), KeyDir(default_keys(path))

    def opened() -> tuple[ClusterLog, Tree]:
        root, meta = data.enter(CLUSTER)
        with root:
            log = ClusterLog(root, keys.identity(), segment_bytes=min(SMALL, SEGMENT_BYTES))
            try:
                return log, Tree(root, meta.origin, keys.signers(meta))
            except BaseException:
                log.close()
                raise

    log, tree = again(opened)
    for number in range(BATCHES):
        events = [event(n) for n in range(number * PER_BATCH, (number + 1) * PER_BATCH)]

        def commit(events=events, log=log):
            (receipt,) = log.commit([Batch(1, "webhook:a", [log.arrive(raw) for raw in events])])
            return receipt

        try:
            receipt = again(commit)
        except UnavailableError:
            continue  # not acknowledged; the sender will come again
        names = range(number * PER_BATCH, (number + 1) * PER_BATCH)
        lines = "".join(f"{name} {index}\n" for name, index in zip(names, receipt.indexes, strict=True))
        say(lines)
        if number % 3 == 2:
            try:
                tree.grow(log.end)
            except (StoreError, OSError):
                log.close()
                log, tree = again(opened)  # as said: with everything opened anew
    try:
        tree.grow(log.end)
        tree.close()
    finally:
        log.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
