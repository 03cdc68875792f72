"""
The first process's end of the sealer: start it, tell it what is durable, hear how far it is, start it again.

A sealer that dies loses nothing: tree and index are made again from the segments. It ends when its input does, so it
never outlives us.
"""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Callable

import msgspec

from kubewitness.assembly.sealer import Durable, Order, Report

RESTART_SECONDS = 2.0
STOP_SECONDS = 75.0
MAX_LINE = 1 << 20
MAX_UNHEARD = 64 << 10


class Sealing:
    """A sealer process, kept alive."""

    def __init__(
        self, order: Order, on_report: Callable[[Report], None], on_death: Callable[[int], None] = lambda _: None
    ) -> None:
        """Be ready to start one."""
        self._order = order
        self._on_report = on_report
        self._on_death = on_death
        self._ends: dict[str, int] = {}
        self._untold: set[str] = set()
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_stopping = False

    def start(self) -> None:
        """Start it, in the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._keep())

    def tell(self, cluster: str, end: int) -> None:
        """Say how far a log is durable; from the event loop."""
        if end > self._ends.get(cluster, -1):
            self._ends[cluster] = end
            self._untold.add(cluster)
            self.remind()

    def remind(self) -> None:
        """Say what was not said yet, as it did not listen; to be called now and then."""
        process = self._process
        if process is None or process.stdin is None:
            return
        for cluster in list(self._untold):
            if process.stdin.transport.get_write_buffer_size() > MAX_UNHEARD:
                return
            self._untold.discard(cluster)
            self._say(Durable(cluster, self._ends[cluster]))

    async def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Let it seal what is durable, and wait for its end."""
        self._is_stopping = True
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        if self._task is not None:
            done, _ = await asyncio.wait([self._task], timeout=seconds)
            if not done:
                self._task.cancel()
                if self._process is not None:
                    with contextlib.suppress(ProcessLookupError):
                        self._process.kill()
                    await self._process.wait()

    def _say(self, message: msgspec.Struct) -> None:
        process = self._process
        if process is None or process.stdin is None or process.stdin.is_closing():
            return
        with contextlib.suppress(OSError):
            process.stdin.write(msgspec.json.encode(message) + b"\n")

    def _close_if_stopping(self, stdin: asyncio.StreamWriter) -> None:
        if self._is_stopping:  # told while the process was being started
            stdin.close()

    async def _keep(self) -> None:
        while not self._is_stopping:
            try:
                code = await self._run()
            except Exception as exc:  # noqa: BLE001 - sealing goes on, whatever it was; often no memory or descriptors
                code = getattr(exc, "errno", None) or -1
            self._process = None
            if not self._is_stopping:
                self._on_death(code)
                await asyncio.sleep(RESTART_SECONDS)

    async def _run(self) -> int:
        """Start one, hear it out; give its exit code. Raises OSError."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "kubewitness.assembly.sealer",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C of a terminal is for us alone
            limit=MAX_LINE,
        )
        self._process = process
        try:
            return await self._hear(process)
        finally:
            if process.returncode is None:  # a fault of ours, or we are told to stop: never two of them
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    async def _hear(self, process: asyncio.subprocess.Process) -> int:
        self._say(self._order)
        for cluster, end in self._ends.items():
            self._say(Durable(cluster, end))
        if process.stdin is None or process.stdout is None:
            raise AssertionError("its streams were asked for")
        self._close_if_stopping(process.stdin)
        async for line in process.stdout:
            with contextlib.suppress(msgspec.MsgspecError):  # its last line, when it was killed
                self._on_report(msgspec.json.decode(line, type=Report))
        return await process.wait()
