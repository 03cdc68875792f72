"""
Some processes that work for one: tasks go out through one pipe, from which each takes the next when it is free.

Processes are forked, so they have at once all that was loaded; a task is a few numbers, a result some bytes. When a
process dies, every task that is not done yet gives None, and who asked does the work alone.
"""

import gc
import os
import selectors
import signal
import struct
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from kubewitness._kit.descriptors import read_exactly, write_all

_RESULT = struct.Struct("<QQ?")
_NONE = b""

Work = Callable[[Sequence[int]], bytes | None]


class Crew:
    """Processes at work; `begin` a task, `take` its result."""

    def __init__(self, work: Work, size: int, numbers: int) -> None:
        """Start `size` processes that do `work` on tasks of `numbers` numbers."""
        self._task = struct.Struct(f"<{numbers + 1}Q")
        self._begun = 0
        self._done: dict[int, bytes | None] = {}
        self._is_whole = True
        self._ready = selectors.DefaultSelector()
        self._pids: list[int] = []
        tasks, self._tasks = os.pipe()
        results: list[int] = []
        for _ in range(size):
            result, out = os.pipe()
            pid = os.fork()
            if pid == 0:
                for descriptor in (self._tasks, result, *results):
                    os.close(descriptor)
                _serve(work, self._task, tasks, out)
            os.close(out)
            results.append(result)
            self._ready.register(result, selectors.EVENT_READ)
            self._pids.append(pid)
        os.close(tasks)

    def begin(self, task: Sequence[int]) -> int:
        """Hand out a task; give the number under which its result is taken. Only so many that a pipe holds them."""
        number, self._begun = self._begun, self._begun + 1
        try:
            os.write(self._tasks, self._task.pack(number, *task))  # so short a record is written as a whole
        except BrokenPipeError:
            self._is_whole = False
        return number

    def take(self, number: int) -> bytes | None:
        """Wait for a result; None when the work gave None or cannot be done here."""
        while self._is_whole and number not in self._done:
            for key, _ in self._ready.select():
                head = read_exactly(key.fd, _RESULT.size)
                of, length, is_some = _RESULT.unpack(head) if head is not None else (0, 0, False)
                data = read_exactly(key.fd, length) if head is not None else None
                if data is None:
                    self._is_whole = False
                    break
                self._done[of] = data if is_some else None
        return self._done.pop(number, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        """End the processes, at work or not."""
        os.close(self._tasks)
        for key in list(self._ready.get_map().values()):
            os.close(key.fd)
        self._ready.close()
        for pid in self._pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _serve(work: Work, task: struct.Struct, tasks: int, out: int) -> None:
    """Be one of the processes; this never returns."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        gc.disable()  # the work makes no circles, and is over soon
        while record := os.read(tasks, task.size):
            number, *numbers = task.unpack(record)
            data = work(numbers)
            write_all(out, _RESULT.pack(number, len(data or _NONE), data is not None) + (data or _NONE))
        code = 0
    finally:
        os._exit(code)  # what the parent opened and buffered is not ours to close
