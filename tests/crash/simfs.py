"""
A disk in memory that forgets: what was not synced is gone after a power cut, sector by sector, name by name.

`SimDisk` counts its operations. At a chosen one it fails with an errno, or the process ends there (`ProcessEnd`).
Then `power_cut` keeps what was synced and a random part of the rest; without it the cache survives, as after kill -9.
An error of a sync does as ext4 does: what was to be written is forgotten as clean, and still seen in the cache.
"""

import errno
import random
from collections.abc import Callable, Sequence

SECTOR = 512

ERRORS = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""What a disk answers that is broken, full, over its quota, or gone read-only."""


class ProcessEnd(BaseException):
    """The process is no more; nothing of it may run on."""


class SimFile:
    """An inode: what is seen, what is on the disk, and which sectors of the two may differ and will be written."""

    def __init__(self) -> None:
        self.cache = bytearray()
        self.disk = bytearray()
        self.dirty: set[int] = set()
        self.size_is_dirty = False

    def touch(self, begin: int, end: int) -> None:
        self.dirty.update(range(begin // SECTOR, -(-end // SECTOR)))
        self.size_is_dirty = True

    def write_out(self, sectors: set[int]) -> None:
        for sector in sorted(sectors):
            at = sector * SECTOR
            data = self.cache[at : at + SECTOR]
            if len(self.disk) < at + len(data):
                self.disk.extend(bytes(at + len(data) - len(self.disk)))
            self.disk[at : at + len(data)] = data

    def sync(self) -> None:
        self.write_out(self.dirty)
        if self.size_is_dirty:
            self._set_size(len(self.cache))
        self.dirty, self.size_is_dirty = set(), False

    def _set_size(self, size: int) -> None:
        self.disk = self.disk[:size] + bytes(max(size - len(self.disk), 0))

    def lose(self, rng: random.Random) -> None:
        """Lose the power: some sectors were on their way, perhaps the size too."""
        self.write_out({sector for sector in self.dirty if rng.random() < 0.5})
        if self.size_is_dirty and rng.random() < 0.5:
            self._set_size(len(self.cache))
        self.evict()

    def evict(self) -> None:
        """Drop the cache of what is believed to be clean."""
        self.cache = bytearray(self.disk)
        self.dirty, self.size_is_dirty = set(), False


class SimDisk:
    """Operations in order, faults among them."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.operations = 0
        self.end_at: int | None = None
        self.fail_at: dict[int, int] = {}
        self.locks: set[tuple[int, str]] = set()
        self.root = SimDirectory(self)

    def step(self, half: Callable[[], None] = lambda: None) -> None:
        """Count an operation; at a fault, half of it may have happened."""
        self.operations += 1
        if self.operations == self.end_at:
            half()
            raise ProcessEnd
        if (number := self.fail_at.get(self.operations)) is not None:
            half()
            raise OSError(number, errno.errorcode[number])

    def calm(self) -> None:
        """Have no more faults."""
        self.end_at, self.fail_at = None, {}

    def trouble(self, within: int, failures: Sequence[int] = (0, 0, 1, 2)) -> None:
        """Draw when the process ends, if anything ends it, and how many operations fail; all within so many."""
        self.calm()
        if self.rng.random() < 0.8:
            self.end_at = self.operations + self.rng.randrange(1, within)
        for _ in range(self.rng.choice(failures)):
            self.fail_at[self.operations + self.rng.randrange(1, within)] = self.rng.choice(ERRORS)

    def fall(self) -> None:
        """Lose the process, or the power."""
        self.calm()
        if self.rng.random() < 0.5:
            self.power_cut()
        else:
            self.restart()

    def restart(self) -> None:
        """Begin another process on the same machine: locks are gone, the cache is not, or not all of it."""
        self.locks.clear()
        for file in self.root.files():
            if not file.dirty and self.rng.random() < 0.5:
                file.evict()

    def power_cut(self) -> None:
        """Begin after the machine lost its power."""
        self.locks.clear()
        for file in self.root.files():
            file.lose(self.rng)
        self.root.lose(self.rng)


class SimDirectory:
    """`Directory` in memory."""

    def __init__(self, disk: SimDisk) -> None:
        self._disk = disk
        self.entries: dict[str, SimFile | SimDirectory] = {}
        self.durable: dict[str, SimFile | SimDirectory] = {}
        self.changes: list[Callable[[dict], None]] = []

    def files(self) -> list[SimFile]:
        found = {id(x): x for x in [*self.entries.values(), *self.durable.values()]}.values()
        return [f for x in found for f in (x.files() if isinstance(x, SimDirectory) else [x])]

    def lose(self, rng: random.Random) -> None:
        for change in self.changes:
            if rng.random() < 0.5:
                change(self.durable)
        self.entries, self.changes = dict(self.durable), []
        for entry in self.entries.values():
            if isinstance(entry, SimDirectory):
                entry.lose(rng)

    def _change(self, change: Callable[[dict], None]) -> None:
        change(self.entries)
        self.changes.append(change)

    def names(self) -> list[str]:
        self._disk.step()
        return sorted(self.entries)

    def enter(self, name: str) -> "SimDirectory":
        self._disk.step()
        if name not in self.entries:
            made = SimDirectory(self._disk)
            self._change(lambda entries: entries.update({name: made}))
        found = self.entries[name]
        assert isinstance(found, SimDirectory)
        return found

    def look(self, name: str) -> "SimDirectory":
        self._disk.step()
        found = self.entries.get(name)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "No such directory", name)
        assert isinstance(found, SimDirectory)
        return found

    def sync_files(self, names: Sequence[str]) -> None:
        for name in names:
            found = self.entries.get(name)
            assert isinstance(found, SimFile)
            SimAppender(self._disk, found).sync()

    def create(self, name: str) -> "SimAppender":
        self._disk.step()
        if name in self.entries:
            raise FileExistsError(errno.EEXIST, "File exists", name)
        file = SimFile()
        self._change(lambda entries: entries.update({name: file}))
        return SimAppender(self._disk, file)

    def open(self, name: str) -> "SimReader":
        self._disk.step()
        file = self.entries.get(name)
        if file is None:
            raise FileNotFoundError(errno.ENOENT, "No such file", name)
        assert isinstance(file, SimFile)
        return SimReader(self._disk, file)

    def replace(self, old: str, new: str) -> None:
        self._disk.step()
        file = self.entries[old]

        def rename(entries: dict) -> None:
            if entries.get(old) is file:
                del entries[old]
            entries[new] = file

        self._change(rename)

    def remove(self, name: str) -> None:
        self._disk.step()
        if name not in self.entries:
            raise FileNotFoundError(errno.ENOENT, "No such file", name)
        self._change(lambda entries: entries.pop(name, None))

    def remove_directory(self, name: str) -> None:
        self._disk.step()
        found = self.entries.get(name)
        assert isinstance(found, SimDirectory)
        if found.entries:
            raise OSError(errno.ENOTEMPTY, "Directory not empty", name)
        self._change(lambda entries: entries.pop(name, None))

    def sync(self) -> None:
        self._disk.step()
        self.durable, self.changes = dict(self.entries), []

    def lock(self, name: str) -> "SimLock":
        self._disk.step()
        place = (id(self), name)
        if place in self._disk.locks:
            raise BlockingIOError(errno.EAGAIN, "locked", name)
        self._disk.locks.add(place)
        return SimLock(self._disk, place)

    def close(self) -> None:
        pass


class SimLock:
    """`Lock` in memory."""

    def __init__(self, disk: SimDisk, place: tuple[int, str]) -> None:
        self._disk, self._place = disk, place

    def close(self) -> None:
        self._disk.locks.discard(self._place)


class SimAppender:
    """`Appender` in memory."""

    def __init__(self, disk: SimDisk, file: SimFile) -> None:
        self._disk, self._file = disk, file
        self._closed = False

    def append(self, data: bytes) -> None:
        assert not self._closed
        self._disk.step(lambda: self._write(data[: self._disk.rng.randrange(len(data) + 1)]))
        self._write(data)

    def _write(self, data: bytes) -> None:
        at = len(self._file.cache)
        self._file.cache += data
        self._file.touch(at, at + len(data))

    def sync(self) -> None:
        assert not self._closed
        self._disk.step(self._forget)
        self._file.sync()

    def _forget(self) -> None:
        """Write some of it and call all of it clean; a process that ends here has only begun."""
        file, rng = self._file, self._disk.rng
        file.write_out({sector for sector in file.dirty if rng.random() < 0.5})
        if self._disk.operations != self._disk.end_at:
            file.dirty, file.size_is_dirty = set(), False

    def cut(self, size: int) -> None:
        self._disk.step()
        del self._file.cache[size:]
        self._file.dirty = {sector for sector in self._file.dirty if sector * SECTOR < size}
        self._file.size_is_dirty = True

    def close(self) -> None:
        self._closed = True


class SimReader:
    """`Reader` in memory."""

    def __init__(self, disk: SimDisk, file: SimFile) -> None:
        self._disk, self._file = disk, file

    def size(self) -> int:
        self._disk.step()
        return len(self._file.cache)

    def read_at(self, offset: int, length: int) -> bytes:
        self._disk.step()
        return bytes(self._file.cache[offset : offset + length])

    def close(self) -> None:
        pass
