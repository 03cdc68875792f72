"""Ctrl-C while an engine is busy in C."""

import signal
import threading

import pytest

from kubewitness.cli.interrupt import interruptible


def test_the_engine_is_told_at_once():
    """The engine is stopped from another thread, and KeyboardInterrupt follows."""
    stopped = threading.Event()

    def work() -> None:
        with interruptible(stopped.set):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert stopped.wait(5)


def test_nothing_is_left_behind():
    """Afterwards there is no watcher, and the descriptor is what it was."""
    before = threading.active_count()
    with interruptible(lambda: None):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
    assert signal.set_wakeup_fd(-1) == -1


def test_off_the_main_thread_it_is_harmless():
    """Only the main thread can have signals; elsewhere the work goes on unwatched."""
    done = threading.Event()

    def work() -> None:
        with interruptible(lambda: None):
            done.set()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done.is_set()
