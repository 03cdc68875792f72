"""
Read a live log of kube-apiserver as it grows, over everything that happens to its file.

Rotation renames the file (`audit-<time>.log`), later packs it (`.gz`), and begins a new one; `copytruncate` empties it
under its name; somebody may put another file in its place, or delete it while the API server goes on writing to it.
What is read is whole: the unfinished end of a file is waited for. `state` says where to go on after a restart.

Whatever may have cost Events is told to `alert`, in words.
"""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from kubewitness._kit.opening import Compression, TornError, compression_of, read_chunks
from kubewitness.event import logfiles
from kubewitness.event.items import Damage, DamageKind, Item
from kubewitness.event.split import Splitter

HEAD_BYTES = 512
_CHUNK_BYTES = 1 << 20
# between the last byte of a file and the time in the name that rotation gives it: by two clocks, and by one
_SLACK_US, _TICK_US = 2_000_000, 20_000


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far a log was read: in which file, known by its inode and a keyed hash of its first bytes."""

    version: int
    device: int
    inode: int
    head: str
    head_bytes: int
    offset: int
    """Bytes of the file, unpacked, that were read and need not be read again."""
    line: int
    changed_us: int
    """When the file was last written to, as far as it was read."""


@dataclass(frozen=True, slots=True)
class Read:
    """What was read: an Item or Damage, and for Damage its bytes where they can still be had."""

    part: Item | Damage
    raw: bytes = b""


class LogTail:
    """Reads one log."""

    def __init__(
        self,
        path: Path,
        fingerprint: Callable[[bytes], str],
        state: State | None = None,
        alert: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Go on where `state` says, or begin with the oldest rotated file that is there."""
        self.path = path
        self._fingerprint = fingerprint
        self._alert = alert
        self._resume = state
        self._file: _Open | None = None
        self._is_deleted = False

    @property
    def state(self) -> State | None:
        """Where to go on; None before anything was read."""
        return self._resume if self._file is None else self._file.state()

    def poll(self) -> Iterator[Read]:
        """Give what has come since the last time."""
        if self._file is None:
            self._file = self._begin()
        while self._file is not None:
            yield from self._file.read(self._alert)
            following = self._successor(self._file)
            if following is None:
                return
            yield from self._file.read(self._alert)  # what was written before the new file was begun
            yield from self._file.finish()
            opened = self._open(following)
            if opened is None:
                return  # it was moved meanwhile; looked for again
            self._file.close()
            self._file, self._is_deleted = opened, False

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()

    # --- which file -----------------------------------------------------------------------------------------

    def _names(self) -> list[str]:
        try:
            return logfiles.in_order(os.listdir(self.path.parent), self.path.name)  # noqa: PTH208
        except FileNotFoundError:
            return []

    def _begin(self) -> "_Open | None":
        """Find the file to begin with."""
        names = self._names()
        state = self._resume
        if state is not None:
            opened = self._first(self._alike(names, state), state)
            if opened is not None:
                return opened
            if not names:
                return None
            self._alert(
                f"the file that was read up to byte {state.offset} is gone: what was written to it after that is lost"
            )
            names = self._later(names, state.changed_us)
        return self._first(names)

    def _first(self, names: list[str], state: State | None = None) -> "_Open | None":
        """Open the first of these files that can be, or that is the one that `state` is about."""
        for name in names:
            opened = self._open(name, state)
            if opened is not None:
                return opened
        return None

    def _alike(self, names: list[str], state: State) -> list[str]:
        """Give those names that a file may have that begins with the head of `state`.

        All logs begin with the same bytes, and a deleted file's inode is used again: a head too short to hold an
        auditID tells nothing, and the file is known by what it follows.
        """
        is_telling = state.offset or state.head_bytes == HEAD_BYTES
        return names if is_telling else self._later(names, state.changed_us, _TICK_US)

    def _later(self, names: list[str], changed_us: int, slack_us: int = _SLACK_US) -> list[str]:
        """Give those files that were begun after another was last written to."""
        base = self.path.name
        rotated = {name: logfiles.parse(name, base) for name in names}
        return [name for name, found in rotated.items() if found is None or found.rotated_us >= changed_us - slack_us]

    def _successor(self, current: "_Open") -> str | None:
        """Give the file that comes after this one; None while this one is being written to."""
        found = current.stat()
        try:
            live = self.path.stat()
        except FileNotFoundError:
            live = None
        if live is not None and (live.st_dev, live.st_ino) == current.ident:
            self._is_deleted = False
            return None
        names = self._names()
        name = None if self._is_deleted else self._name_of(names, current)
        if name is not None:
            return next(iter(names[names.index(name) + 1 :]), None)
        if found.st_nlink == 0 and live is None:
            if not self._is_deleted:
                self._is_deleted = True
                self._alert(f"{self.path} was deleted while it is being written to: it is read on while it is open")
            return None
        later = self._later(names, found.st_mtime_ns // 1000)
        if later and not self._is_deleted:
            self._alert(f"another file was put in the place of {self.path}: the old one was read to its end")
        return later[0] if later else None

    def _name_of(self, names: list[str], current: "_Open") -> str | None:
        """Give the name that the file that is open has now, perhaps as a packed copy; None if it has none."""
        for name in names:
            with suppress(OSError):
                found = (self.path.parent / name).stat()
                if (found.st_dev, found.st_ino) == current.ident:
                    return name
        for name in self._alike(names, current.state()):
            path = self.path.parent / name
            with suppress(OSError):
                if name != self.path.name and _compression(path) is not Compression.NONE:
                    head = _unpacked_head(path, current.head_bytes)
                    if head and self._fingerprint(head) == current.head:
                        return name
        return None

    def _open(self, name: str, state: State | None = None) -> "_Open | None":
        """Open a file, to go on in it if it is the one that `state` is about; else None."""
        path = self.path.parent / name
        try:
            compression = _compression(path)
            if compression is not Compression.NONE:
                return self._open_packed(path, state)
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or (state is not None and not self._fits(fd, found, state)):
            os.close(fd)
            return None
        return _Open(str(self.path), self._fingerprint, fd, None, state)

    def _fits(self, fd: int, found: os.stat_result, state: State) -> bool:
        if (found.st_dev, found.st_ino) != (state.device, state.inode):
            return False
        if found.st_size < state.offset:
            return True  # truncated; `read` says so
        return not state.head_bytes or self._fingerprint(os.pread(fd, state.head_bytes, 0)) == state.head

    def _open_packed(self, path: Path, state: State | None) -> "_Open | None":
        if state is not None:
            head = _unpacked_head(path, state.head_bytes)
            if not head or self._fingerprint(head) != state.head:
                return None
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        found = logfiles.parse(path.name, self.path.name)
        return _Open(str(self.path), self._fingerprint, fd, path, state, found.rotated_us if found else None)


class _Open:
    """One file of a log, open."""

    def __init__(
        self,
        name: str,
        fingerprint: Callable[[bytes], str],
        fd: int,
        packed: Path | None,
        state: State | None,
        rotated_us: int | None = None,
    ) -> None:
        self._name = name
        self._fingerprint = fingerprint
        self._fd = fd
        self._packed = packed
        self._read_bytes = state.offset if state else 0
        self._splitter = Splitter(name, offset=self._read_bytes, line=state.line if state else 1)
        self._line = state.line if state else 1
        self.head = state.head if state else ""
        self.head_bytes = state.head_bytes if state else 0
        found = os.fstat(fd)
        self.ident = (found.st_dev, found.st_ino)
        self._changed_us = found.st_mtime_ns // 1000 if rotated_us is None else rotated_us

    def stat(self) -> os.stat_result:
        return os.fstat(self._fd)

    def close(self) -> None:
        os.close(self._fd)

    def state(self) -> State:
        offset = self._read_bytes - self._splitter.pending_bytes
        return State(1, *self.ident, self.head, self.head_bytes, offset, self._line, self._changed_us)

    def read(self, alert: Callable[[str], None]) -> Iterator[Read]:
        """Give what is there now and was not given yet."""
        if self._packed is not None:
            yield from self._read_packed(self._packed, alert)
            return
        self._look_for_truncation(alert)
        while chunk := os.pread(self._fd, _CHUNK_BYTES, self._read_bytes):
            if self.head_bytes < HEAD_BYTES:
                head = os.pread(self._fd, HEAD_BYTES, 0)
                self.head, self.head_bytes = self._fingerprint(head), len(head)
            self._read_bytes += len(chunk)
            yield from self._give(self._splitter.feed(chunk))
        self._changed_us = os.fstat(self._fd).st_mtime_ns // 1000

    def finish(self) -> Iterator[Read]:
        """Give the unfinished end of a file to which nothing more comes."""
        yield from self._give(self._splitter.close())

    def _look_for_truncation(self, alert: Callable[[str], None]) -> None:
        size = os.fstat(self._fd).st_size
        is_other = self.head_bytes and self._fingerprint(os.pread(self._fd, self.head_bytes, 0)) != self.head
        if size >= self._read_bytes and not is_other:
            return
        alert(
            f"{self._name} was truncated after byte {self._read_bytes} was read: "
            "what was written between that and the truncation is lost"
        )
        self._read_bytes, self._line, self.head, self.head_bytes = 0, 1, "", 0
        self._splitter = Splitter(self._name)

    def _read_packed(self, path: Path, alert: Callable[[str], None]) -> Iterator[Read]:
        skip = self._read_bytes
        at = 0
        try:
            for chunk in read_chunks(path):
                if at == 0 and not self.head_bytes:
                    head = chunk[:HEAD_BYTES]
                    self.head, self.head_bytes = self._fingerprint(head), len(head)
                fresh = chunk[max(skip - at, 0) :]
                at += len(chunk)
                if fresh:
                    self._read_bytes += len(fresh)
                    yield from self._give(self._splitter.feed(fresh))
        except (TornError, OSError) as exc:
            alert(f"{path}: {exc}: the rest of it cannot be read")
            yield Read(Damage(self._name, at, 0, 0, str(exc), b"", DamageKind.TORN))

    def _give(self, parts: list[Item | Damage]) -> Iterator[Read]:
        for part in parts:
            self._line = part.line + 1
            raw = b""
            if isinstance(part, Damage) and self._packed is None:
                raw = os.pread(self._fd, part.length, part.offset)
            yield Read(part, raw)


def _compression(path: Path) -> Compression:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        return compression_of(os.pread(fd, 4, 0))
    finally:
        os.close(fd)


def _unpacked_head(path: Path, length: int) -> bytes:
    """Give the first bytes of what is packed in a file; nothing if it cannot be unpacked."""
    with suppress(TornError, OSError):
        for chunk in read_chunks(path, max(length, 1)):
            return chunk[:length]
    return b""
