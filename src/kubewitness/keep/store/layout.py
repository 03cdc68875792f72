"""
Where a data directory keeps what: one log for each cluster, and the keys beside it, never in it.

    <data>/logs/<cluster-dir>/cluster.json     version, cluster, origin
                              segments/ tiles/ heads/ index/ quarantine/
    <keys>/identity.key                        keyed identities of all clusters, 32 bytes in hexadecimal
           <cluster-dir>.sign                  the private keys that sign its heads, a line each
           <cluster-dir>.vkey                  the public ones, a line each: give them to whoever verifies
           lock                                empty; held by who rotates a key

A cluster's directory is named by a hash: a name that somebody sent never becomes a path.
Follows docs/reference/formats.md, "Data directory".
"""

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from kubewitness._kit.files import DiskDirectory, read_whole, write_whole
from kubewitness.keep.store.errors import DamagedError, LockedError, NoKeyError

if TYPE_CHECKING:
    from kubewitness.keep.seal.ed25519 import Ed25519Signer
    from kubewitness.keep.seal.note import VerifierKey

LOGS = "logs"
CLUSTER_FILE = "cluster.json"
IDENTITY_FILE = "identity.key"
LOCK_FILE = "lock"
SIGN_SUFFIX = ".sign"
VERIFY_SUFFIX = ".vkey"
IDENTITY_KEY_BYTES = 32
VERSION = 1
ORIGIN_PREFIX = "kubewitness.io/log/"
OWN_PREFIX = "_"
OPERATOR = "_operator"
"""The log of what is done to the server itself; names that begin with `OWN_PREFIX` are of no cluster."""


class ClusterMeta(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a log says of itself: the cluster's name, and the origin line of its heads."""

    version: int
    cluster: str
    origin: str


def cluster_dir(cluster: str) -> str:
    """Name the directory of a cluster: 16 hexadecimal digits of SHA-256 of its name."""
    return hashlib.sha256(cluster.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def origin_of(cluster: str) -> str:
    """Name a new log: after the cluster where that can be a key's name, else after its directory."""
    from kubewitness.keep.seal.note import is_key_name

    can_be_shown = cluster.isascii() and cluster.isprintable() and is_key_name(cluster) and "/" not in cluster
    return ORIGIN_PREFIX + (cluster if can_be_shown and len(cluster) <= 100 else cluster_dir(cluster))


def default_keys(data: Path) -> Path:
    """Give the place of the keys where nobody names one: beside the data directory, not in it."""
    return data.parent / f"{data.name}.keys"


@dataclass(frozen=True, slots=True)
class DataDir:
    """A data directory, by its path."""

    path: Path

    def clusters(self) -> dict[str, ClusterMeta]:
        """List the logs there, by cluster. Raises DamagedError for a log that does not say what it is."""
        found: dict[str, ClusterMeta] = {}
        logs = self.path / LOGS
        names = sorted(entry.name for entry in os.scandir(logs)) if logs.is_dir() else []
        for name in names:
            with suppress(FileNotFoundError, NotADirectoryError):
                meta = _read_meta(logs / name)
                if cluster_dir(meta.cluster) != name:
                    raise DamagedError(f"{logs / name / CLUSTER_FILE}: cluster {meta.cluster!r} does not belong there")
                found[meta.cluster] = meta
        return found

    def log_path(self, cluster: str) -> Path:
        """Give the directory of a cluster's log, whether it is there or not."""
        return self.path / LOGS / cluster_dir(cluster)

    def look(self, cluster: str) -> DiskDirectory:
        """Open a cluster's log to read. Raises FileNotFoundError."""
        return DiskDirectory.at(self.log_path(cluster))

    def enter(self, cluster: str) -> tuple[DiskDirectory, ClusterMeta]:
        """Open a cluster's log to write, made if it is not there. Raises DamagedError, OSError."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with DiskDirectory.at(self.path) as top:
            logs = top.enter(LOGS)
            top.sync()
        with logs:
            root = logs.enter(cluster_dir(cluster))
            logs.sync()
        if CLUSTER_FILE not in root.names():
            meta = ClusterMeta(VERSION, cluster, origin_of(cluster))
            write_whole(root, CLUSTER_FILE, msgspec.json.encode(meta) + b"\n")
        meta = _read_meta(self.log_path(cluster))
        if meta.cluster != cluster:
            raise DamagedError(f"{self.log_path(cluster)}: it is the log of {meta.cluster!r}, not of {cluster!r}")
        return root, meta


def _read_meta(log: Path) -> ClusterMeta:
    try:
        with DiskDirectory.at(log) as directory:
            data = read_whole(directory, CLUSTER_FILE)
    except OSError as exc:
        if exc.errno not in (errno.ELOOP, errno.EINVAL):
            raise
        raise DamagedError(f"{log / CLUSTER_FILE}: not a plain file") from exc
    try:
        meta = msgspec.json.decode(data, type=ClusterMeta)
    except msgspec.MsgspecError as exc:
        raise DamagedError(f"{log / CLUSTER_FILE}: {exc}") from exc
    if meta.version != VERSION:
        raise DamagedError(f"{log / CLUSTER_FILE}: version {meta.version} is not known here")
    return meta


@dataclass(frozen=True, slots=True)
class KeyDir:
    """The directory of the keys, by its path; 0700, each file 0600, none ever printed."""

    path: Path

    def identity(self) -> bytes:
        """Give the key of identities, made if there is none. Raises DamagedError, OSError."""
        with self._enter() as keys:
            if IDENTITY_FILE not in keys.names():
                write_whole(keys, IDENTITY_FILE, os.urandom(IDENTITY_KEY_BYTES).hex().encode() + b"\n")
            text = read_whole(keys, IDENTITY_FILE).decode("ascii", "replace").strip()
        try:
            key = bytes.fromhex(text)
        except ValueError:
            key = b""
        if len(key) < IDENTITY_KEY_BYTES:
            raise DamagedError(f"{self.path / IDENTITY_FILE}: not {IDENTITY_KEY_BYTES} bytes in hexadecimal")
        return key

    def lacks(self, cluster: str) -> bool:
        """Tell whether there is no key that signs the heads of a log. Raises OSError."""
        try:
            with DiskDirectory.at(self.path) as keys:
                return cluster_dir(cluster) + SIGN_SUFFIX not in keys.names()
        except FileNotFoundError:
            return True

    def signers(self, meta: ClusterMeta, *, is_signed: bool = False) -> "list[Ed25519Signer]":
        """Give the keys that sign a log's heads, one made if there is none. Raises NoteError, OSError.

        Of a log that is signed none is made, for nobody knows it: what it signed would look forged. Raises NoKeyError.
        """
        from kubewitness.keep.seal.ed25519 import Ed25519Signer  # takes 40 ms, and few need it

        if is_signed and self.lacks(meta.cluster):
            raise NoKeyError(f"heads of {meta.cluster} were signed, and {self.path} has no key of it")
        name = cluster_dir(meta.cluster)
        with self._enter() as keys:
            if name + SIGN_SUFFIX not in keys.names():
                self._write(keys, name, [Ed25519Signer.make(meta.origin, os.urandom(32))])
            text = read_whole(keys, name + SIGN_SUFFIX).decode("utf-8", "replace")
            signers = [Ed25519Signer.parse(line) for line in text.splitlines() if line.strip()]
            self._publish(keys, name, signers)
            return signers

    def rotate(self, meta: ClusterMeta, keep: int = 1) -> "Ed25519Signer":
        """Add a new key before the others, of which the newest `keep` go on signing. Raises NoteError, OSError.

        The public keys of those that no longer sign stay: old heads are checked by them. Where there is none to go on
        with one is made only if none should. Raises NoKeyError, and LockedError while another process rotates.
        """
        from kubewitness.keep.seal.ed25519 import Ed25519Signer  # takes 40 ms, and few need it

        is_lost = not keep and self.lacks(meta.cluster)
        if not is_lost:
            self.signers(meta, is_signed=True)  # refused before a directory is made
        with self._enter() as keys, _locked(keys):
            old = [] if is_lost else self.signers(meta, is_signed=True)
            new = Ed25519Signer.make(meta.origin, os.urandom(32))
            self._write(keys, cluster_dir(meta.cluster), [new, *old[:keep]])
        return new

    def verifiers(self, cluster: str) -> "list[VerifierKey]":
        """Give the public keys of a log, newest first. Raises NoteError, FileNotFoundError."""
        with DiskDirectory.at(self.path) as keys:
            return _read_published(keys, cluster_dir(cluster))

    def _enter(self) -> DiskDirectory:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with DiskDirectory.at(self.path.parent) as parent:
            return parent.enter(self.path.name)

    def _write(self, keys: DiskDirectory, name: str, signers: "list[Ed25519Signer]") -> None:
        # private first: a public key is only shown once the private one lasts
        write_whole(keys, name + SIGN_SUFFIX, "".join(f"{s.private_text()}\n" for s in signers).encode())
        self._publish(keys, name, signers)

    @staticmethod
    def _publish(keys: DiskDirectory, name: str, signers: "list[Ed25519Signer]") -> None:
        """See that the public keys of these stand first, and after them all that ever signed."""
        known = _read_published(keys, name) if name + VERIFY_SUFFIX in keys.names() else []
        wanted = list(dict.fromkeys([*(signer.key for signer in signers), *known]))
        if wanted != known:
            write_whole(keys, name + VERIFY_SUFFIX, "".join(f"{key}\n" for key in wanted).encode())


@contextmanager
def _locked(keys: DiskDirectory) -> Iterator[None]:
    try:
        lock = keys.lock(LOCK_FILE)
    except BlockingIOError as exc:
        raise LockedError("another process changes these keys") from exc
    with lock:
        yield


def _read_published(keys: DiskDirectory, name: str) -> "list[VerifierKey]":
    text = read_whole(keys, name + VERIFY_SUFFIX).decode("utf-8", "replace")
    from kubewitness.keep.seal.note import parse_verifier_key

    return [parse_verifier_key(line) for line in text.splitlines() if line.strip()]
