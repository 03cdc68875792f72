"""
A cluster's store in a server: opened, kept open, closed, each in a thread of its own.

A store that cannot be opened now is tried again and again, while the others are served.
"""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from kubewitness._kit.files import DiskDirectory
from kubewitness.keep.receiver.intake import Intake
from kubewitness.keep.receiver.limits import Limits
from kubewitness.keep.receiver.quarantine import Quarantine
from kubewitness.keep.store.errors import DamagedError, StoreError
from kubewitness.keep.store.layout import DataDir, KeyDir
from kubewitness.keep.store.log import ClusterLog
from kubewitness.keep.store.tree import head_sizes

RETRY_SECONDS = 5.0
FULL_CHECK_SECONDS = 1.0
RESERVE_FILES = 1024
"""Files (inodes) that a disk must still have room for: each signed head is one."""


def open_log(root: DiskDirectory, keys: KeyDir) -> ClusterLog:
    """Open a log for writing, above all that was signed of it. Raises StoreError, OSError."""
    return ClusterLog(root, keys.identity(), signed_size=max(head_sizes(root), default=0))


class DiskGuard:
    """Knows how much room a data directory has, in bytes and in files, without asking more often than need be."""

    def __init__(self, data: DataDir, reserve: int) -> None:
        """Watch the disk of `data`; `reserve` bytes of it are not to be used, nor RESERVE_FILES files."""
        self._data = data
        self._reserve = reserve
        self._asked = 0.0
        self.free = -1
        self.total = -1
        self.free_files = -1
        self.total_files = -1

    @property
    def is_low(self) -> bool:
        """Whether nothing more may be written, as far as was known when the disk was asked last."""
        return 0 <= self.free < self._reserve or (self.total_files > 0 and self.free_files < RESERVE_FILES)

    @property
    def used(self) -> float:
        """The part of the disk that is in use, 0 to 1: of its bytes or of its files, whichever is more."""
        pairs = ((self.free, self.total), (self.free_files, self.total_files))
        return max((1 - free / total for free, total in pairs if total > 0), default=0.0)

    def is_full(self) -> bool:
        """Tell whether nothing more may be written; asks the disk."""
        now = time.monotonic()
        if now - self._asked >= FULL_CHECK_SECONDS or self.free < 0:
            self._asked = now
            with suppress(OSError):
                found = os.statvfs(self._data.path)
                self.free, self.total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
                # file systems that make them as needed tell of none
                self.free_files, self.total_files = found.f_favail, found.f_files
        return self.is_low


class Desk:
    """The store of one cluster, as far as it can be opened."""

    def __init__(
        self,
        cluster: str,
        data: DataDir,
        keys: KeyDir,
        limits: Limits,
        guard: DiskGuard,
        *,
        on_open: Callable[["Desk"], None],
        on_trouble: Callable[["Desk", str], None],
        on_durable: Callable[[str, int], None],
        on_reused: Callable[[str, int], None],
    ) -> None:
        """Begin to open it. What is told is told in threads of ours."""
        self.cluster = cluster
        self.intake: Intake | None = None
        self.log: ClusterLog | None = None
        self.quarantine: Quarantine | None = None
        self.trouble = ""
        """Why it is not open; empty when it is, or is being opened for the first time."""
        self.is_damaged = False
        self._data, self._keys, self._limits, self._guard = data, keys, limits, guard
        self._on_open, self._on_trouble = on_open, on_trouble
        self._on_durable, self._on_reused = on_durable, on_reused
        self._closing = threading.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="open")
        self._opened = self._thread.submit(self._keep_opening)

    def _keep_opening(self) -> None:
        while not self._closing.is_set():
            try:
                self._open()
            except (StoreError, OSError, ValueError) as exc:
                if str(exc) != self.trouble:
                    self.trouble, self.is_damaged = str(exc), isinstance(exc, DamagedError)
                    self._on_trouble(self, self.trouble)
            else:
                self.trouble, self.is_damaged = "", False
                self._on_open(self)
                return
            self._closing.wait(RETRY_SECONDS)

    def _open(self) -> None:
        root, _ = self._data.enter(self.cluster)
        try:
            log = open_log(root, self._keys)
            try:
                self.quarantine = Quarantine(root, log.window.identity, self._limits.quarantine_bytes)
            except OSError:
                log.close()
                raise
        finally:
            root.close()
        self.log = log
        self.intake = Intake(
            log,
            self.quarantine,
            limits=self._limits,
            is_full=self._guard.is_full,
            on_reused=lambda index: self._on_reused(self.cluster, index),
            on_durable=lambda end: self._on_durable(self.cluster, end),
        )

    def close(self) -> None:
        """Store what was handed in, finish the segment, let go. Takes as long as the disk does."""
        self._closing.set()
        self._thread.shutdown(wait=True)
        intake, self.intake = self.intake, None
        if intake is not None:
            intake.close()
