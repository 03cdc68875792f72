"""Bytes through descriptors: all of them, or the news that there are fewer."""

import os
import threading

from kubewitness._kit.descriptors import processors, read_exactly, write_all


def test_all_is_written_and_read_whatever_a_pipe_holds() -> None:
    """More than a pipe takes at once arrives whole; an end before the size asked for gives None."""
    data = os.urandom(300_000)
    reading, writing = os.pipe()
    writer = threading.Thread(target=lambda: (write_all(writing, data + b"rest"), os.close(writing)))
    writer.start()
    assert read_exactly(reading, len(data)) == data
    assert read_exactly(reading, 5) is None
    writer.join()
    os.close(reading)
    assert processors() == len(os.sched_getaffinity(0))
