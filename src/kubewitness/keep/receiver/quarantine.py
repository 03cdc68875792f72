"""
Keep what is no Event: its bytes, where they stood and why they are none, as secret as the segments.

A file for each POST that had any, named by a keyed hash of what is in it, so that the same bytes sent again are kept
once. It lasts before the POST is acknowledged. The format is docs/reference/formats.md, "Quarantine".
"""

import threading
from collections.abc import Callable, Sequence

import msgspec

from kubewitness._kit.files import Directory, write_whole
from kubewitness.keep.receiver.body import Odd
from kubewitness.keep.store.errors import UnavailableError

QUARANTINE = "quarantine"
VERSION = 1
SUFFIX = ".kept"


class Quarantine:
    """The quarantine of one cluster."""

    def __init__(self, root: Directory, identity: Callable[[bytes], bytes], limit: int) -> None:
        """Use `quarantine/` of a log's directory, up to `limit` bytes. Raises OSError."""
        self._directory = root.enter(QUARANTINE)
        root.sync()
        self._identity = identity
        self._limit = limit
        self._lock = threading.Lock()
        self._names = {name for name in self._directory.names() if name.endswith(SUFFIX)}
        self.bytes = 0
        for name in self._names:
            file = self._directory.open(name)
            self.bytes += file.size()
            file.close()

    def keep(self, odd: Sequence[Odd], received_ns: int, source: str) -> None:
        """Keep these pieces of one body; they last when this returns. Raises UnavailableError."""
        pieces = [{"at": piece.at, "bytes": len(piece.raw), "why": piece.why[:1000]} for piece in odd]
        head = {"version": VERSION, "receivedNs": received_ns, "source": source, "pieces": pieces}
        content = b"".join(piece.raw for piece in odd)
        name = self._identity(content).hex() + SUFFIX
        data = msgspec.json.encode(head) + b"\n" + content
        with self._lock:
            if name in self._names:
                return
            if self.bytes + len(data) > self._limit:
                raise UnavailableError(f"the quarantine holds {self.bytes} bytes, and its limit is {self._limit}")
            try:
                write_whole(self._directory, name, data)
            except OSError as exc:
                raise UnavailableError(f"cannot write to the quarantine: {exc}") from exc
            self._names.add(name)
            self.bytes += len(data)

    def close(self) -> None:
        """Let go of the directory."""
        self._directory.close()


def read_quarantined(data: bytes) -> list[Odd]:
    """Read a file of a quarantine. Raises ValueError."""
    line, _, content = data.partition(b"\n")
    try:
        head = msgspec.json.decode(line, type=_Head)
    except msgspec.MsgspecError as exc:
        raise ValueError(str(exc)) from exc
    out = []
    at = 0
    for piece in head.pieces:
        out.append(Odd(piece.at, piece.why, content[at : at + piece.bytes]))
        at += piece.bytes
    if head.version != VERSION or at != len(content):
        raise ValueError(f"version {head.version} with {len(content)} bytes, of which {at} are accounted for")
    return out


class _Piece(msgspec.Struct):
    at: int
    bytes: int
    why: str


class _Head(msgspec.Struct):
    version: int
    pieces: list[_Piece]
