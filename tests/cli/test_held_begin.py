"""Ctrl-C is held before anything is begun: a thread that could take it would interrupt the loading all the same."""

import signal

import pytest

from kubewitness.cli import ahead, held, start


def test_ctrl_c_is_held_before_the_engine_has_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C is blocked when the first thread is made, so that the thread has it blocked too."""
    blocked: list[set[int]] = []

    def begin(_: list[str]) -> None:
        blocked.append(set(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
        raise KeyboardInterrupt

    monkeypatch.setattr(ahead, "begin", begin)
    try:
        assert start.main() == 130
    finally:
        held.release()
    assert [signal.SIGINT in mask for mask in blocked] == [True]
