"""
Carry a Plan out on the disk, and take it back: files are replaced as a whole, and what they were is kept.

A copy of each file, with its mode and owner, lies under `<root>/var/lib/kubewitness-apiserver/<distro>/` (0700; for
kind, Talos and minikube under `.kubewitness` instead), never beside the original: the kubelet takes every file of its
static pod directory for a pod, also a backup. For the same reason a new manifest is written in the directory above and
renamed into place. Undo restores bytes, mode and owner, and refuses when somebody has changed a file since.

The disk is reached through `Root`, so that a whole tree under another root can be set up. POSIX.
"""

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import msgspec

from kubewitness.apiserver.plan import NewDirectory, NewFile, Plan, PlanError
from kubewitness.apiserver.setup import uid_of

_STATE_FILE = "state.json"
_STATE = "kubewitness-apiserver"
_HOLDER = "var/lib"
# where the root is a person's own directory: beside the files that are handed to a tool
_OWN_STATE = ".kubewitness/enable"
_OWN = ("kind", "talos", "minikube")


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A file as it was before, and the hash of what it was changed to (`was`: by the run before the last)."""

    path: str
    copy: str | None
    mode: int
    uid: int
    gid: int
    after: str
    was: str = ""


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What was done on one machine for one distribution."""

    version: int
    files: list[Kept]
    directories: list[str]


@dataclass(frozen=True, slots=True)
class Root:
    """The file system that is set up: `/`, or a tree that stands for one. Implements `Host`."""

    root: Path

    def at(self, path: str) -> Path:
        """Give where a path of that system lies on ours."""
        return self.root / path.lstrip("/")

    def read(self, path: str) -> bytes | None:
        """Give a file's bytes, None when there is none. Raises PlanError for a link, a pipe or a device."""
        place = self.at(path)
        try:
            found = place.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if stat.S_ISLNK(found.st_mode):
            raise PlanError(f"this is a link to {place.readlink()}: name the file itself", path)
        if not stat.S_ISREG(found.st_mode):
            raise PlanError("this is no plain file", path)
        return place.read_bytes()

    def names(self, directory: str) -> list[str]:
        """List a directory; empty when there is none."""
        place = self.at(directory)
        return sorted(entry.name for entry in place.iterdir() if entry.is_file()) if place.is_dir() else []

    def is_directory(self, path: str) -> bool:
        """Say whether this is a directory."""
        return self.at(path).is_dir()


@dataclass(frozen=True, slots=True)
class Applied:
    """A plan that was carried out: what `roll_back` needs to take this run back, and no earlier one."""

    plan: Plan
    state: bytes | None
    made: tuple[str, ...]


def apply(plan: Plan, root: Root) -> Applied:
    """Do what is planned. Raises PlanError when a file is no longer as it was planned for, and OSError."""
    if not plan.changed and not plan.directories:
        return Applied(plan, None, ())
    with _state(root, plan.distro) as place:
        earlier = (place / _STATE_FILE).read_bytes() if (place / _STATE_FILE).is_file() else None
        state = _load(place)
        for file in plan.changed:
            if root.read(file.path) != file.before:
                raise PlanError("changed while this ran: run it again", file.path)
        above = [NewDirectory(str(Path(file.path).parent), 0o755) for file in plan.changed]
        made = [path for directory in (*plan.directories, *above) for path in _make(root, directory)]
        state = msgspec.structs.replace(state, directories=[*state.directories, *made])
        for file in plan.changed:
            state = _keep(place, state, file, root)
        _save(place, state)  # before anything is changed: undo after a crash finds every copy
        for file in plan.changed:
            _replace(root, file.path, file.after, _attributes(root.at(file.path), file.mode))
    return Applied(plan, earlier, tuple(made))


def roll_back(applied: Applied, root: Root) -> list[str]:
    """Take one run back, as if it had not been; earlier runs stay. Raises PlanError when somebody changed a file."""
    changed = applied.plan.changed
    with _state(root, applied.plan.distro) as place:
        for file in changed:
            if root.read(file.path) != file.after:
                raise PlanError("somebody has changed this meanwhile; nothing was put back", file.path)
        for file in reversed(changed):
            if file.before is None:
                root.at(file.path).unlink()
            else:
                _replace(root, file.path, file.before, _attributes(root.at(file.path), file.mode))
        for directory in reversed(applied.made):
            with suppress(OSError):  # a log that was written stays
                root.at(directory).rmdir()
        copies = {kept.copy for kept in _load(place).files if kept.copy}
        if applied.state is None:
            (place / _STATE_FILE).unlink()
        else:
            _write(place, _STATE_FILE, applied.state, (0o600, -1, -1))
            copies -= {kept.copy for kept in _load(place).files if kept.copy}
        for copy in copies:
            (place / copy).unlink()
    return [file.path for file in changed]


def undo(distro: str, root: Root) -> list[str]:
    """Restore what was there; give the paths. Raises PlanError when there is nothing to undo or somebody changed it."""
    if not (_place(root, distro) / _STATE_FILE).is_file():
        raise PlanError(f"there is nothing to undo for {distro}")
    with _state(root, distro) as place:
        state = _load(place)
        for kept in state.files:
            now = root.read(kept.path)
            before = (place / kept.copy).read_bytes() if kept.copy else None
            if now != before and (now is None or _hash(now) not in (kept.after, kept.was)):
                raise PlanError(
                    "somebody has changed this since; nothing was undone",
                    kept.path,
                    0,
                    f"what it was before lies in {place / kept.copy}" if kept.copy else "take your change out first",
                )
        for kept in reversed(state.files):  # the manifest first: the server lets go of the rest
            if kept.copy is None:
                root.at(kept.path).unlink(missing_ok=True)
            else:
                attributes = (kept.mode, kept.uid, kept.gid)
                _replace(root, kept.path, (place / kept.copy).read_bytes(), attributes)
        for directory in reversed(state.directories):
            with suppress(OSError):  # a log that was written stays
                root.at(directory).rmdir()
        (place / _STATE_FILE).unlink()
        for kept in state.files:
            if kept.copy:
                (place / kept.copy).unlink()
    return [kept.path for kept in state.files]


def _place(root: Root, distro: str) -> Path:
    return _holder(root, distro) / (_OWN_STATE if distro in _OWN else _STATE) / distro


def _holder(root: Root, distro: str) -> Path:
    """Give the directory in which ours lies, which is not ours."""
    return root.root if distro in _OWN else root.root / _HOLDER


@contextmanager
def _state(root: Root, distro: str) -> Iterator[Path]:
    """Hold the directory of this distribution's state, locked; empty in the end, it goes with those above it."""
    place = _place(root, distro)
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    place.chmod(0o700)
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise PlanError("another `apiserver enable` is at work on this machine") from exc
        try:
            yield place
        finally:
            with suppress(OSError):  # something is kept there
                for directory in takewhile(_holder(root, distro).__ne__, (place, *place.parents)):
                    directory.rmdir()
    finally:
        os.close(fd)


def _load(place: Path) -> State:
    try:
        return msgspec.json.decode((place / _STATE_FILE).read_bytes(), type=State)
    except FileNotFoundError:
        return State(version=1, files=[], directories=[])
    except msgspec.DecodeError as exc:
        raise PlanError("this state of an earlier run cannot be read", str(place / _STATE_FILE)) from exc


def _save(place: Path, state: State) -> None:
    _write(place, _STATE_FILE, msgspec.json.format(msgspec.json.encode(state), indent=2) + b"\n", (0o600, -1, -1))


def _keep(place: Path, state: State, file: NewFile, root: Root) -> State:
    """Remember a file as it was; of several runs the first knows."""
    old = next((kept for kept in state.files if kept.path == file.path), None)
    if old is not None:
        files = [
            msgspec.structs.replace(kept, after=_hash(file.after), was=kept.after) if kept is old else kept
            for kept in state.files
        ]
        return msgspec.structs.replace(state, files=files)
    mode, uid, gid = _attributes(root.at(file.path), file.mode)
    copy = None
    if file.before is not None:
        copy = f"{len(state.files)}-{Path(file.path).name}"
        _write(place, copy, file.before, (0o600, -1, -1))
    kept = Kept(path=file.path, copy=copy, mode=mode, uid=uid, gid=gid, after=_hash(file.after))
    return msgspec.structs.replace(state, files=[*state.files, kept])


def _attributes(place: Path, mode: int) -> tuple[int, int, int]:
    try:
        found = place.stat()
    except FileNotFoundError:
        return mode, -1, -1
    return stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid


def _make(root: Root, directory: NewDirectory) -> list[str]:
    """Make a directory and what is missing above it; give those that were made, the uppermost first."""
    made: list[str] = []
    path = Path(directory.path)
    for one in [*reversed(path.parents), path]:
        place = root.at(str(one))
        if place.is_dir():
            continue
        place.mkdir(directory.mode if one == path else 0o755)
        place.chmod(directory.mode if one == path else 0o755)
        made.append(str(one))
    if made and directory.owner:
        with suppress(PermissionError, PlanError):  # said in the advice
            uid = uid_of(root.read("/etc/passwd"), directory.owner)
            os.chown(root.at(str(path)), -1 if uid is None else uid, -1)
    return made


def _replace(root: Root, path: str, data: bytes, attributes: tuple[int, int, int]) -> None:
    """Put a file in place whole, written outside its directory where the file system allows it."""
    target = root.at(path)
    above = target.parent.parent
    try:
        _write(above, target.name, data, attributes, into=target.parent)
    except OSError as exc:
        if exc.errno not in (errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        # the directory is a file system of its own: a name with a dot before it is passed over by the kubelet
        _write(target.parent, target.name, data, attributes)


def _write(directory: Path, name: str, data: bytes, attributes: tuple[int, int, int], into: Path | None = None) -> None:
    mode, uid, gid = attributes
    temporary = directory / f".{name}.kubewitness-{os.getpid()}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(fd, mode)
            if uid >= 0 and (uid, gid) != (os.geteuid(), os.getegid()):
                os.fchown(fd, uid, gid)
            os.fsync(fd)
        temporary.replace((into or directory) / name)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    for touched in {directory, into or directory}:
        holder = os.open(touched, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(holder)
        finally:
            os.close(holder)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
