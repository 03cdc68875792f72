"""
What changed in the files that decide about the log, and in the log itself, between two looks at them.

`look` takes a Snapshot of a path; `compare` gives the Changes from one to the next, in words, with what they mean.
A log may grow and be rotated, nothing else: what was read of it before must still stand there. The clock is the
caller's, so is the place where snapshots are kept: who can change that place can hide a change.

A rewrite of a log's middle between the blocks that are compared (its first and last 64 KiB) is not seen; what the store
of `kubewitness serve` holds is safe from that.
"""

import enum
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import msgspec

from kubewitness.apiserver.readers import read_setup
from kubewitness.apiserver.yamltext import EditError
from kubewitness.emit.backends import rotate
from kubewitness.emit.backends.options import Rotation
from kubewitness.event import logfiles, microtime

BLOCK_BYTES = 65_536
_MOST_BYTES = 8 << 20


class Role(enum.StrEnum):
    """What a path is to the log."""

    CONFIG = "config"
    POLICY = "policy"
    CREDENTIALS = "credentials"
    LOG = "log"
    DIRECTORY = "directory"
    FILE = "file"


class Watched(msgspec.Struct, frozen=True):
    """A path to look at. Of a log: which rotated files the server keeps, None where not known."""

    path: str
    role: Role
    rotation: Rotation | None = None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A path at one moment. `state`: file, missing, directory, or why it cannot be looked at."""

    path: str
    role: Role
    state: str
    device: int = 0
    inode: int = 0
    size: int = 0
    mode: int = 0
    uid: int = 0
    gid: int = 0
    links: int = 0
    digest: str = ""
    head: str = ""
    tail: str = ""
    names: dict[str, int] = {}
    flags: list[str] | None = None

    @property
    def is_there(self) -> bool:
        """Whether there is something that could be looked at."""
        return self.state in ("file", "directory")


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened. `alarm` false: it happens in a healthy cluster too."""

    time: str
    kind: str
    path: str
    role: Role
    alarm: bool
    message: str
    before: dict[str, object] = {}
    after: dict[str, object] = {}


class _Maker(Protocol):
    """Makes a Change of the path at hand; facts are pairs of before and after."""

    def __call__(self, kind: str, message: str, *, alarm: bool = True, **facts: tuple[object, object]) -> Change:
        """Make it."""
        ...


def look(watched: Watched, place: Path) -> Snapshot:
    """Take a snapshot. Whatever is there, nothing is raised and nothing is waited for."""
    path, role = watched.path, watched.role
    try:
        found = place.lstat()
        if stat.S_ISLNK(found.st_mode):
            return Snapshot(path=path, role=role, state=f"a link to {place.readlink()}", inode=found.st_ino)
        if role is Role.DIRECTORY and stat.S_ISDIR(found.st_mode):
            names = {entry.name: entry.inode() for entry in os.scandir(place)}
            return _filled(watched, found, state="directory", names=names)
        if not stat.S_ISREG(found.st_mode):
            return Snapshot(path=path, role=role, state="no plain file", inode=found.st_ino)
        fd = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return Snapshot(path=path, role=role, state="missing")
    except OSError as exc:
        return Snapshot(path=path, role=role, state=f"not readable: {exc.strerror}")
    try:
        found = os.fstat(fd)
        if role is Role.LOG:
            names = _rotated(place)
            head, tail = _block(fd, 0, found.st_size), _block(fd, max(0, found.st_size - BLOCK_BYTES), found.st_size)
            return _filled(watched, found, head=head, tail=tail, names=names)
        data = os.pread(fd, _MOST_BYTES, 0)
        flags = _flags(data, path) if role is Role.CONFIG else None
        return _filled(watched, found, digest=hashlib.sha256(data).hexdigest(), flags=flags)
    except OSError as exc:
        return Snapshot(path=path, role=role, state=f"not readable: {exc.strerror}")
    finally:
        os.close(fd)


def _filled(watched: Watched, found: os.stat_result, *, state: str = "file", digest: str = "", head: str = "",
            tail: str = "", names: dict[str, int] | None = None,
            flags: list[str] | None = None) -> Snapshot:  # fmt: skip
    return Snapshot(
        path=watched.path, role=watched.role, state=state, device=found.st_dev, inode=found.st_ino,
        size=0 if state == "directory" else found.st_size, mode=stat.S_IMODE(found.st_mode), uid=found.st_uid,
        gid=found.st_gid, links=0 if state == "directory" else found.st_nlink, digest=digest, head=head, tail=tail,
        names=names or {}, flags=flags,
    )  # fmt: skip


def _block(fd: int, start: int, size: int) -> str:
    return hashlib.sha256(os.pread(fd, min(BLOCK_BYTES, size - start), start)).hexdigest()


def _rotated(log: Path) -> dict[str, int]:
    """Give the rotated files beside a log, with their inodes."""
    try:
        return {
            entry.name: entry.inode()
            for entry in os.scandir(log.parent)
            if logfiles.parse(entry.name, log.name) is not None
        }
    except OSError:
        return {}


def _flags(data: bytes, file: str) -> list[str] | None:
    try:
        return sorted(read_setup(data, file).arguments())
    except EditError:
        return None


def compare(before: Snapshot, after: Snapshot, place: Path, time: str, watched: Watched) -> Iterator[Change]:
    """Give what happened from one snapshot to the next; `place` is where the path lies, to look at old bytes again."""

    def change(kind: str, message: str, *, alarm: bool = True, **facts: tuple[object, object]) -> Change:
        return Change(
            time=time, kind=kind, path=after.path, role=after.role, alarm=alarm, message=message,
            before={name: old for name, (old, _) in facts.items()},
            after={name: new for name, (_, new) in facts.items()},
        )  # fmt: skip

    if before.state != after.state:
        yield _state_change(before, after, change)
        return
    if not after.is_there:
        return
    if (before.mode, before.uid, before.gid) != (after.mode, after.uid, after.gid):
        message = (
            f"mode {before.mode:04o} owner {before.uid}:{before.gid} became {after.mode:04o} {after.uid}:{after.gid}"
        )
        wider = bool(after.mode & ~before.mode & 0o077) or before.uid != after.uid
        yield change("mode", message, alarm=wider, mode=(f"{before.mode:04o}", f"{after.mode:04o}"))
    if after.role is Role.LOG:
        due = _due(before, after, place, watched.rotation, time)
        yield from _log_changes(before, after, place, change, due)
    elif after.role is Role.DIRECTORY:
        yield from _name_changes(before, after, change)
    elif before.digest != after.digest:
        yield change("changed", _meaning(before, after), sha256=(before.digest, after.digest))
    elif before.inode != after.inode:
        yield change("replaced", "another file with the same content", alarm=False, inode=(before.inode, after.inode))


def _state_change(before: Snapshot, after: Snapshot, change: _Maker) -> Change:
    states = (before.state, after.state)
    if after.state == "missing":
        what = {
            Role.CONFIG: "the server stops, or starts without it",
            Role.POLICY: "the server does not start again without it",
            Role.LOG: "a server that has it open goes on writing to the deleted file",
        }.get(after.role, "it is gone")
        return change("removed", f"removed: {what}", state=states)
    if before.state == "missing":
        return change("appeared", "it is there now", alarm=after.role is not Role.LOG, state=states)
    return change("changed", f"it was {before.state}, now it is {after.state}", state=states)


def _meaning(before: Snapshot, after: Snapshot) -> str:
    if after.role is Role.CONFIG and before.flags is not None and after.flags is not None:
        gone = [flag for flag in before.flags if flag not in after.flags]
        new = [flag for flag in after.flags if flag not in before.flags]
        parts = [f"without {', '.join(gone)}"] * bool(gone) + [f"with {', '.join(new)}"] * bool(new)
        return (
            f"the content changed: now {' and '.join(parts)}"
            if parts
            else "the content changed, the audit flags did not"
        )
    if after.role is Role.CONFIG:
        return "the content changed, and what it says of auditing cannot be read"
    if after.role is Role.POLICY:
        return "the content changed: the server takes it when it starts again"
    return "the content changed"


def _name_changes(before: Snapshot, after: Snapshot, change: _Maker) -> Iterator[Change]:
    for name in sorted(set(after.names) - set(before.names)):
        hidden = name.startswith(".")  # the kubelet passes these over
        yield change("appeared", f"{name} appeared: the kubelet runs it as a pod", alarm=not hidden, name=(None, name))
    for name in sorted(set(before.names) - set(after.names)):
        yield change("removed", f"{name} is gone", alarm=not name.startswith("."), name=(name, None))


def _due(before: Snapshot, after: Snapshot, place: Path, rotation: Rotation | None, time: str) -> tuple[str, ...]:
    """Give the rotated files that the server removes by itself, by their number and age."""
    if rotation is None or rotation.max_bytes is None:
        return ()
    return rotate.plan({*before.names, *after.names}, place.name, rotation, microtime.parse(time)).remove


def _log_changes(
    before: Snapshot, after: Snapshot, place: Path, change: _Maker, due: tuple[str, ...]
) -> Iterator[Change]:
    gone = sorted(set(before.names) - set(after.names))
    if before.inode != after.inode:
        fresh = sorted(set(after.names) - set(before.names))
        kept = next((name for name, inode in after.names.items() if inode == before.inode), None)
        if kept is None and not fresh:
            message = "another file took its place, and the old one is nowhere: it was deleted"
            yield change("removed", message, inode=(before.inode, after.inode))
        elif kept is not None and not _still_stands(before, place.with_name(kept)):
            yield change(
                "rewritten",
                f"the part that was rotated to {kept} is not what it was",
                inode=(before.inode, after.inode),
            )
        else:
            message = f"rotated to {kept or fresh[-1]}"
            yield change("rotated", message, alarm=False, size=(before.size, after.size))
    elif after.size < before.size:
        message = f"truncated: {before.size - after.size:,} bytes are gone"
        yield change("truncated", message, size=(before.size, after.size))
    elif not _still_stands(before, place):
        yield change("rewritten", "what was written before is not what it was", size=(before.size, after.size))
    for name in gone:
        if any(other.removesuffix(".gz") == name for other in after.names):
            continue  # compressed
        why = "" if name in due else " before the server would remove it"
        yield change("removed", f"rotated file {name} is gone{why}", alarm=name not in due, name=(name, None))


def _still_stands(before: Snapshot, place: Path) -> bool:
    """Say whether the first and last blocks of what was there are there still."""
    try:
        fd = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        start = max(0, before.size - BLOCK_BYTES)
        return (before.head, before.tail) == (_block(fd, 0, before.size), _block(fd, start, before.size))
    except OSError:
        return False
    finally:
        os.close(fd)
