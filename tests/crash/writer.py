"""A process that stores Events until it is killed; each line it prints is an Event that was acknowledged."""

import os
import sys
import threading

from kubewitness._kit.files import DiskDirectory
from kubewitness.keep.store.dedupe import Window
from kubewitness.keep.store.group import GroupCommit
from kubewitness.keep.store.log import Batch, ClusterLog

KEY = b"k" * 32


def send(log: ClusterLog, group: GroupCommit, sender: int) -> None:
    """Store batches; after a restart the first of them are known already."""
    for first in range(0, 1 << 30, 3):
        names = [f"{sender}-{n}" for n in range(first, first + 3)]
        arrivals = [log.arrive(b'{"auditID":"%s","body":"%s"}' % (n.encode(), b"x" * 300)) for n in names]
        indexes = group.submit(Batch(1, f"sender {sender}", arrivals)).result().indexes
        text = "".join(f"{name} {index}\n" for name, index in zip(names, indexes, strict=True))
        os.write(1, text.encode())  # one write, so that no line is half there


def main(path: str) -> None:
    log = ClusterLog(DiskDirectory.at(path), KEY, segment_bytes=20_000, window=Window(KEY, 50_000))
    group = GroupCommit(log.commit)
    for sender in range(3):
        threading.Thread(target=send, args=(log, group, sender)).start()


if __name__ == "__main__":
    main(sys.argv[1])
