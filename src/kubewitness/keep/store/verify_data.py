"""
Verify the logs of a data directory: each by its key, against what is remembered of it.

A log that is remembered and not there is a violation; a directory of logs that holds none is nothing to check.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import msgspec

from kubewitness._kit.descriptors import processors
from kubewitness._kit.files import DiskDirectory, read_whole
from kubewitness.keep.seal.checkpoint import Checkpoint
from kubewitness.keep.seal.ed25519 import Ed25519Verifier
from kubewitness.keep.seal.errors import NoteError
from kubewitness.keep.seal.note import VerifierKey, parse_note, verified_by
from kubewitness.keep.store.layout import CLUSTER_FILE, LOGS, ClusterMeta, DataDir, origin_of
from kubewitness.keep.store.log import SEGMENTS
from kubewitness.keep.store.memory import Remembered
from kubewitness.keep.store.tree import HEADS
from kubewitness.keep.store.verify import Finding, Kind, Progress, Verdict, unheard, verify_store
from kubewitness.keep.store.verify_read import Read, in_processes, read_leaves

PARALLEL_BYTES = 2 << 20
"""Segments of less are read before other processes could help."""


@dataclass(frozen=True, slots=True)
class LogVerdict:
    """What was found of one log; `keys` are those that were used."""

    cluster: str
    origin: str
    verdict: Verdict
    keys: tuple[VerifierKey, ...] = ()
    before: int | None = None
    """The size that was remembered."""
    note: bytes = b""
    """The largest head, as it was signed."""

    @property
    def may_be_remembered(self) -> bool:
        """Whether the head was signed by a known key and nothing contradicts it."""
        return bool(self.keys and self.note) and not self.verdict.is_violated


def verify_data(
    data: DataDir,
    clusters: Sequence[ClusterMeta],
    keys_of: Callable[[ClusterMeta], tuple[VerifierKey, ...]],
    memory: Mapping[str, Remembered],
    elsewhere: Sequence[tuple[bytes, Checkpoint]] = (),
    progress: Progress = unheard,
) -> Iterator[LogVerdict]:
    """Verify these logs, one after the other; `elsewhere` are heads that others kept. Raises OSError."""
    for meta in clusters:
        remembered = memory.get(meta.origin)
        keys = keys_of(meta)
        verifiers = [Ed25519Verifier.of(key) for key in keys]
        heads = [remembered.head] if remembered else []
        kept = [(note, head) for note, head in elsewhere if head.origin == meta.origin]
        findings = _check_signatures(kept, verifiers)
        heads += [head for _, head in kept]
        with ExitStack() as stack:
            root = stack.enter_context(data.look(meta.cluster))
            segments = data.log_path(meta.cluster) / SEGMENTS
            read: Read = read_leaves
            workers = processors()
            if workers > 1 and _bytes_in(str(segments)) > PARALLEL_BYTES:
                read = stack.enter_context(in_processes(str(segments), workers))
            verdict = verify_store(root, verifiers, meta.origin, heads, read=read, progress=progress)
            verdict.findings += findings
            note = b""
            if verdict.head is not None:
                with suppress(OSError), root.look(HEADS) as directory:
                    note = read_whole(directory, str(verdict.head.size))
        yield LogVerdict(meta.cluster, meta.origin, verdict, keys, remembered.head.size if remembered else None, note)


def _check_signatures(kept: Sequence[tuple[bytes, Checkpoint]], verifiers: Sequence[Ed25519Verifier]) -> list[Finding]:
    """Tell of heads from elsewhere that no known key signed: they bind nobody."""
    found: list[Finding] = []
    for note, head in kept:
        try:
            verified_by(parse_note(note), verifiers)
        except NoteError as exc:
            found.append(Finding("--head", f"head of {head.size} events: {exc}", Kind.UNKNOWN_KEY, 0, head.size))
    return found


def strangers(data: DataDir) -> list[Finding]:
    """Tell of directories among the logs that do not say whose log they are, in the way they should. Raises OSError."""
    logs = data.path / LOGS
    names = sorted(entry.name for entry in os.scandir(logs) if entry.is_dir()) if logs.is_dir() else []
    found: list[Finding] = []
    for name in names:
        where = f"{LOGS}/{name}/{CLUSTER_FILE}"
        try:
            with DiskDirectory.at(logs / name) as directory:
                text = read_whole(directory, CLUSTER_FILE)
        except FileNotFoundError:
            found.append(Finding(where, "is not there, so nobody knows whose log it is", Kind.REFUSED))
            continue
        meta = msgspec.json.decode(text, type=ClusterMeta)
        if msgspec.json.encode(meta) + b"\n" != text or meta.origin != origin_of(meta.cluster):
            found.append(Finding(where, "is not what is written for a log of this name", Kind.REFUSED))
    return found


def vanished(memory: Mapping[str, Remembered], clusters: Sequence[ClusterMeta]) -> list[Finding]:
    """Tell of logs that are remembered and are not among these."""
    there = {meta.origin for meta in clusters}
    return [
        Finding(LOGS, f"the log {origin} is remembered and not there", Kind.SHRUNK, 0, remembered.head.size)
        for origin, remembered in memory.items()
        if origin not in there
    ]


def _bytes_in(path: str) -> int:
    try:
        return sum(entry.stat(follow_symlinks=False).st_size for entry in os.scandir(path))
    except FileNotFoundError:
        return 0
