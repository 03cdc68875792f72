"""
Watch over the files of an API server: which, from its configuration; round after round; and save what is deleted.

A Guard holds the snapshots of the last round and each log open, so that a log that is deleted while the server writes
on can still be copied out. `load` and `dump` keep snapshots between runs of `--once`.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from kubewitness.apiserver.integrity import Change, Role, Snapshot, Watched, compare, look
from kubewitness.apiserver.readers import read_setup
from kubewitness.apiserver.setup import Form, directory_of
from kubewitness.emit.backends import options
from kubewitness.emit.backends.flagvalues import FlagError

_COPY_BYTES = 1 << 20
_VERSION = 1


class StateError(Exception):
    """Snapshots that cannot be read."""


class _State(msgspec.Struct, frozen=True):
    version: int
    snapshots: list[Snapshot]


def watched_of(data: bytes, path: str) -> list[Watched]:
    """Give what belongs to a configuration: itself, the policy, the kubeconfig, the log. Raises EditError."""
    setup = read_setup(data, path)
    found = [Watched(path, Role.CONFIG)]
    if setup.form is Form.POD:
        found.append(Watched(directory_of(path), Role.DIRECTORY))
    try:
        values = options.parse(setup.arguments(), setup.version or "1.36")
    except FlagError:
        return found
    for name, role in (("audit-policy-file", Role.POLICY), ("audit-webhook-config-file", Role.CREDENTIALS)):
        host = setup.host_path(values.text(name)) if values.text(name) else None
        if host and not setup.inline_policy:
            found.append(Watched(host, role))
    log = values.text("audit-log-path")
    host = setup.host_path(log) if log not in ("", "-") else None
    if host:
        found.append(Watched(host, Role.LOG, options.rotation(values)))
    return found


def dump(snapshots: Sequence[Snapshot]) -> bytes:
    """Write snapshots to keep."""
    return msgspec.json.format(msgspec.json.encode(_State(_VERSION, list(snapshots))), indent=1) + b"\n"


def load(data: bytes) -> list[Snapshot]:
    """Read snapshots that were kept. Raises StateError."""
    try:
        state = msgspec.json.decode(data, type=_State)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise StateError(str(exc)) from exc
    if state.version != _VERSION:
        raise StateError(f"written in form {state.version}, not {_VERSION}")
    return state.snapshots


@dataclass(slots=True)
class Guard:
    """Looks again and again. `at`: where a path lies; `now`: the time as text."""

    watched: Sequence[Watched]
    at: Callable[[str], Path]
    now: Callable[[], str]
    rescue: Path | None = None
    last: dict[str, Snapshot] = field(default_factory=dict)
    _open: dict[str, int] = field(default_factory=dict)

    def begin(self, kept: Sequence[Snapshot] = ()) -> None:
        """Take the first snapshots; those that were kept are compared against instead."""
        known = {snapshot.path: snapshot for snapshot in kept}
        for one in self.watched:
            self.last[one.path] = known.get(one.path) or look(one, self.at(one.path))
            self._hold(one)

    def follow(self, watched: Sequence[Watched]) -> list[Watched]:
        """Watch these too, from what is there now; give those that are new."""
        before = {one.path: one for one in self.watched}
        new = [one for one in watched if one.path not in before]
        self.watched = list((before | {one.path: one for one in watched}).values())
        for one in new:
            self.last[one.path] = look(one, self.at(one.path))
            self._hold(one)
        return new

    def round(self) -> Iterator[Change]:
        """Look at everything and give what happened since the last round."""
        for one in self.watched:
            place = self.at(one.path)
            after = look(one, place)
            before = self.last[one.path]
            changes = list(compare(before, after, place, self.now(), one))
            yield from changes
            # a rotated file that is compressed at once loses its last name in a healthy cluster too
            if one.role is Role.LOG and not any(change.kind == "rotated" for change in changes):
                yield from self._deleted(one, before, after)
            self.last[one.path] = after
            self._hold(one)

    def _deleted(self, one: Watched, before: Snapshot, after: Snapshot) -> Iterator[Change]:
        """Notice a log whose last name is gone while somebody may still write to it."""
        fd = self._open.get(one.path)
        if fd is None or os.fstat(fd).st_nlink or after.inode == os.fstat(fd).st_ino:
            return
        size = os.fstat(fd).st_size
        message = f"the log was deleted with {size:,} bytes, and a server may go on writing to it unseen"
        try:
            saved = self._save(one, fd)
        except OSError as exc:
            message += f"; it could not be saved to {self.rescue}: {exc.strerror}"
        else:
            message += f"; saved to {saved}" if saved else ""
        yield Change(time=self.now(), kind="deleted", path=one.path, role=one.role, alarm=True, message=message,
                     before={"inode": before.inode, "links": before.links}, after={"links": 0})  # fmt: skip

    def _save(self, one: Watched, fd: int) -> Path | None:
        if self.rescue is None:
            return None
        stamp = self.now().replace(":", "-")
        target = self.rescue / f"{Path(one.path).name}-{stamp}"
        out = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(out, "wb") as file:
            offset = 0
            while data := os.pread(fd, _COPY_BYTES, offset):
                file.write(data)
                offset += len(data)
            file.flush()
            os.fsync(file.fileno())
        return target

    def _hold(self, one: Watched) -> None:
        """Keep the present log open; let an older one go."""
        if one.role is not Role.LOG:
            return
        fd = self._open.get(one.path)
        if fd is not None and os.fstat(fd).st_ino == self.last[one.path].inode:
            return
        self._let_go(one.path)
        if self.last[one.path].state == "file":
            try:
                self._open[one.path] = os.open(
                    self.at(one.path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                )
            except OSError:
                return

    def _let_go(self, path: str) -> None:
        fd = self._open.pop(path, None)
        if fd is not None:
            os.close(fd)

    def close(self) -> None:
        """Let go of all logs."""
        for path in list(self._open):
            self._let_go(path)
