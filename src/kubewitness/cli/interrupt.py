"""
Let Ctrl-C reach an engine that is busy in C.

Python runs its signal handlers between byte codes, so a scan of seconds would go on to its end. The wake-up descriptor
is written by the C handler at once; a thread reads it and tells the engine to stop. KeyboardInterrupt follows as usual.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def interruptible(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` at once, from another thread, when Ctrl-C comes while inside; does nothing off the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    previous = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(reading, stop), name="interrupt", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous)
        os.close(writing)  # ends the watcher
        watcher.join()
        os.close(reading)


@contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` in place of an interruption when Ctrl-C or SIGTERM comes inside; a second one interrupts."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(number: int, _: object) -> None:
        signal.signal(number, previous[signal.Signals(number)])
        stop()

    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in previous:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _watch(reading: int, stop: Callable[[], None]) -> None:
    while numbers := os.read(reading, 16):
        if signal.SIGINT in numbers:
            stop()
