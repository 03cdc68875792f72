"""Forked processes do tasks in any order and give each its result; what they cannot do comes back as None."""

import os
import signal
from pathlib import Path

from kubewitness.keep.store.crew import Crew


def test_each_task_has_its_result():
    """However results come in, and however long they are, each is given to whom it belongs."""
    with Crew(lambda task: bytes(task[0] * 10_000) + bytes(task), 3, 2) as crew:
        numbers = [crew.begin((n, n + 1)) for n in range(40)]
        for n, number in reversed(list(enumerate(numbers))):
            assert crew.take(number) == bytes(n * 10_000) + bytes((n, n + 1))


def test_an_empty_result_is_not_none():
    """Nothing found and not done are two things."""
    with Crew(lambda task: None if task[0] else b"", 1, 1) as crew:
        assert [crew.take(crew.begin((n,))) for n in (0, 1)] == [b"", None]


def test_the_death_of_a_process_is_no_result():
    """Whoever waits goes on alone, for this task and all that follow."""

    def die(task: object) -> bytes:
        os.kill(os.getpid(), signal.SIGKILL)
        return b""

    with Crew(die, 2, 1) as crew:
        assert [crew.take(crew.begin((n,))) for n in range(5)] == [None] * 5


def test_an_error_in_the_work_is_no_result(capfd):
    """A process that fails ends, and says nothing of its own."""

    def fail(task: object) -> bytes:
        raise OSError("the disk")

    with Crew(fail, 1, 1) as crew:
        assert crew.take(crew.begin((1,))) is None
    assert capfd.readouterr() == ("", "")


def test_nobody_is_left_behind():
    """After the context there is no process, no descriptor, whatever was still being done."""
    before = {path.name for path in Path("/proc/self/fd").iterdir()}
    with Crew(lambda task: bytes(1_000_000), 2, 1) as crew:
        pids = list(crew._pids)
        for n in range(10):
            crew.begin((n,))
    assert {path.name for path in Path("/proc/self/fd").iterdir()} == before
    for pid in pids:
        assert not Path(f"/proc/{pid}").exists()
