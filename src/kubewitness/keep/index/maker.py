"""
Make the index of a store from its segments, and keep up with them.

`advance(until)` takes in the Events below `until`, in batches of bounded size, each into a file for every hour that it
touches; small files of an hour are merged, so that an Event is written some three times. How Events become columns is
handed in (`Tabulator`). One process makes an index; it may be killed at any time: what the manifest does not name is
removed at the next start, and files that were merged are kept for a while for those who are still reading.
"""

import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from kubewitness._kit.files import Directory, discard, read_whole
from kubewitness.keep.index.manifest import (
    INDEX,
    MANIFEST,
    VERSION,
    Entry,
    Manifest,
    Unread,
    parse_manifest,
    write_manifest,
)
from kubewitness.keep.index.table import Table, Tabulated
from kubewitness.keep.store.log import SEGMENTS
from kubewitness.keep.store.reader import Lost, Tail
from kubewitness.keep.store.segment import Block

LOCK = "lock"
NEW = ".new"
FORGET_AFTER_S = 60.0
"""How long a file that was merged is kept for those who read an older manifest."""
_FULL = 0.5
"""A file with this share of the largest size is left alone."""
_SMALL = 0.125
"""At the end only smaller ones are merged: to write an Event again takes as long as to index it did."""
_SMALL_FILES = 12
_RUNG = 16


class Tabulator(Protocol):
    """Makes columns of Events."""

    schema: str
    """Differs whenever columns or what they mean differ."""

    def tabulate(self, blocks: Sequence[Block], *, begin: int, is_final: bool) -> Tabulated:
        """Give the Events from `begin` on of these blocks as files; `is_final` ones are worth compressing well."""
        ...

    def merge(self, parts: Sequence[tuple[Entry, bytes]]) -> Table:
        """Give the rows of these files as one."""
        ...


@dataclass(slots=True)
class _Waiting:
    """What was read and not taken in yet."""

    blocks: list[Block] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    size_bytes: int = 0
    is_full: bool = False


class IndexMaker:
    """Makes the index of one store."""

    def __init__(
        self,
        root: Directory,
        tabulator: Tabulator,
        *,
        batch_bytes: int = 48 << 20,
        file_bytes: int = 256 << 20,
        name: str = INDEX,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take up the index where its manifest says it is. Raises BlockingIOError when another makes it, OSError.

        At most `batch_bytes` of Events are held at once, and at most `file_bytes` of them go into one file.
        """
        self._tabulator = tabulator
        self._batch_bytes = batch_bytes
        self._file_bytes = file_bytes
        self._clock = clock
        self._index = root.enter(name)
        root.sync()
        self._lock = self._index.lock(LOCK)
        self._segments = root.enter(SEGMENTS)
        self._merged: list[tuple[float, str]] = []
        self.manifest = self._take_up()
        self._tidy()
        self._tail = self._new_tail()
        self._waiting = _Waiting()

    @property
    def end(self) -> int:
        """The index after the last Event that was taken in."""
        return self.manifest.end

    def advance(
        self,
        until: int | None = None,
        *,
        at_least: int = 1,
        is_final: bool = False,
        is_ongoing: bool = False,
        told: Callable[[int], None] = lambda _: None,
    ) -> int:
        """Take in the Events below `until` if there are `at_least` so many; give the new end. Raises OSError.

        `told` hears after each batch how far the index is. With `is_ongoing` only full batches are taken in, the rest
        is held, and small files are left to `settle`: more comes soon, and in the end `advance` without it.

        Nothing is promised about Events that are not durable: say `until` where a writer is at work.
        """
        if until is not None and until - self.end < at_least:
            return self.end
        try:
            while (waiting := self._fill(until)) is not None and (waiting.is_full or not is_ongoing):
                self._take_in(waiting, is_final=is_final)
                self._waiting = _Waiting()
                if not is_ongoing:
                    self._merge()
                told(self.end)
        except BaseException:
            self._tail = self._new_tail()  # what was read and not written is read again
            self._waiting = _Waiting()
            raise
        self._forget()
        return self.end

    def settle(self) -> None:
        """Merge whatever is small, as nothing more will come to these hours soon."""
        self._merge(is_final=True)
        self._forget()

    def close(self) -> None:
        """Let go; merged files that somebody may still read are left to the next start."""
        self._lock.close()
        self._segments.close()
        self._index.close()

    # --- taking in ------------------------------------------------------------------------------------------

    def _fill(self, until: int | None) -> "_Waiting | None":
        """Read on until a batch is full or nothing more is there; None when there is nothing at all."""
        waiting = self._waiting
        for part in self._tail.poll(until):
            if isinstance(part, Lost):
                if part.end > self.end:  # else it was told before, and is met again on the way to where we were
                    reason = f"{part.segment}, byte {part.offset}: damaged"
                    waiting.unread.append(Unread(part.first, part.end, reason))
                continue
            waiting.blocks.append(part)
            waiting.size_bytes += sum(len(kept.line) for commit in part.commits for kept in commit.events)
            if waiting.size_bytes >= self._batch_bytes:
                waiting.is_full = True
                break
        return waiting if waiting.blocks or waiting.unread else None

    def _take_in(self, waiting: "_Waiting", *, is_final: bool) -> None:
        batch, lost = waiting.blocks, waiting.unread
        end = self._tail.index
        segment, offset = self._tail.position
        done = self._tabulator.tabulate(batch, begin=self.end, is_final=is_final)
        entries = [self._write(table) for table in done.tables]
        self._put(
            msgspec.structs.replace(
                self.manifest,
                end=end,
                segment=segment,
                offset=offset,
                files=[*self.manifest.files, *entries],
                unread=[*self.manifest.unread, *lost, *done.unread],
            )
        )

    def _write(self, table: Table) -> Entry:
        """Put a file in place; it lasts when this returns."""
        entry = table.entry
        *folders, _ = (*entry.path.split("/"), "")
        directories = [self._index]
        try:
            for folder in folders:
                directories.append(directories[-1].enter(folder))
                directories[-2].sync()
            name = self._free_name(directories[-1], entry)
            discard(directories[-1], name + NEW)
            file = directories[-1].create(name + NEW)
            try:
                file.append(table.data)
                file.sync()
            finally:
                file.close()
            directories[-1].replace(name + NEW, name)
            directories[-1].sync()
        finally:
            for directory in directories[1:]:
                directory.close()
        return msgspec.structs.replace(entry, path=f"{entry.path}/{name}", bytes=len(table.data))

    @staticmethod
    def _free_name(folder: Directory, entry: Entry) -> str:
        taken = set(folder.names())
        stem = f"{entry.first:020}-{entry.end:020}"
        names = (f"{stem}{f'-{n}' if n else ''}.parquet" for n in itertools.count())
        return next(name for name in names if name not in taken)

    def _put(self, manifest: Manifest) -> None:
        write_manifest(self._index, manifest)
        self.manifest = manifest

    # --- merging --------------------------------------------------------------------------------------------

    def _merge(self, *, is_final: bool = False) -> None:
        """Merge small files of an hour while there are enough of them."""
        while (group := self._mergeable(is_final=is_final)) is not None:
            parts = [(entry, self._read(entry)) for entry in group]
            merged = self._write(self._tabulator.merge(parts))
            gone = {entry.path for entry in group}
            kept = [entry for entry in self.manifest.files if entry.path not in gone]
            self._put(msgspec.structs.replace(self.manifest, files=[*kept, merged]))
            now = self._clock()
            self._merged += [(now, path) for path in gone]

    def _mergeable(self, *, is_final: bool) -> list[Entry] | None:
        """Find files of one hour to make one of: many of about a size, or all that fit when the hour is over."""
        hours: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.manifest.files:
            if entry.raw_bytes < self._file_bytes * (_SMALL if is_final else _FULL):
                hours[entry.path.rpartition("/")[0]].append(entry)
        latest = max((entry.path.rpartition("/")[0] for entry in self.manifest.files), default="")
        for hour, entries in hours.items():
            entries.sort(key=lambda entry: entry.first)
            is_over = is_final or hour < latest
            rungs: dict[int, list[Entry]] = defaultdict(list)
            for entry in entries:
                rungs[0 if is_final else self._rung(entry.raw_bytes)].append(entry)
            for group in rungs.values():
                chosen = self._fitting(group)
                if len(chosen) >= (2 if is_final else 4 if is_over else _SMALL_FILES) or (
                    len(chosen) > 1 and sum(entry.raw_bytes for entry in chosen) >= self._file_bytes * _FULL
                ):
                    return chosen
        return None

    def _rung(self, size: int) -> int:
        rung, limit = 0, self._file_bytes / _RUNG
        while size < limit:
            rung, limit = rung + 1, limit / _RUNG
        return rung

    def _fitting(self, entries: Sequence[Entry]) -> list[Entry]:
        chosen: list[Entry] = []
        size = 0
        for entry in entries:
            size += entry.raw_bytes
            if chosen and size > self._file_bytes:
                break
            chosen.append(entry)
        return chosen

    def _read(self, entry: Entry) -> bytes:
        *folders, name = entry.path.split("/")
        directories = [self._index]
        try:
            for folder in folders:
                directories.append(directories[-1].look(folder))
            return read_whole(directories[-1], name)
        finally:
            for directory in directories[1:]:
                directory.close()

    # --- starting and tidying -------------------------------------------------------------------------------

    def _take_up(self) -> Manifest:
        fresh = Manifest(VERSION, self._tabulator.schema)
        if MANIFEST not in self._index.names():
            return fresh
        found = parse_manifest(read_whole(self._index, MANIFEST))
        if found is None or (found.version, found.schema) != (VERSION, self._tabulator.schema):
            self._put(fresh)
            return fresh
        return found

    def _new_tail(self) -> Tail:
        at = (self.manifest.segment, self.manifest.offset) if self.manifest.segment >= 0 else None
        return Tail(self._segments, self.manifest.end, at)

    def _forget(self) -> None:
        """Remove files that were merged long enough ago."""
        now = self._clock()
        for _, path in (old := [one for one in self._merged if now - one[0] >= FORGET_AFTER_S]):
            self._remove(path)
        self._merged = [one for one in self._merged if one not in old]

    def _tidy(self) -> None:
        """Remove what no manifest names: left by a crash, or merged before the last stop."""
        named = {entry.path for entry in self.manifest.files}
        for day in self._index.names():
            if not day.startswith("date="):
                continue
            with _open(self._index, day) as hours:
                for hour in hours.names():
                    with _open(hours, hour) as files:
                        for name in files.names():
                            if f"{day}/{hour}/{name}" not in named:
                                files.remove(name)

    def _remove(self, path: str) -> None:
        day, hour, name = path.split("/")
        with suppress(FileNotFoundError), _open(self._index, day) as hours, _open(hours, hour) as files:
            files.remove(name)


class _open:  # noqa: N801 - used as a function
    """A directory for the length of a block."""

    def __init__(self, parent: Directory, name: str) -> None:
        self._directory = parent.look(name)

    def __enter__(self) -> Directory:
        return self._directory

    def __exit__(self, *_: object) -> None:
        self._directory.close()
