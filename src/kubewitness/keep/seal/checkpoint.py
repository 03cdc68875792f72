"""
Checkpoints: the head of a log as three lines of text, made to be signed as a note.

Follows C2SP tlog-checkpoint 1.0. Extension lines of others are read and kept; we write none.
"""

import base64
import re
from dataclasses import dataclass

from kubewitness.keep.seal.errors import NoteError
from kubewitness.keep.seal.merkle import HASH_BYTES
from kubewitness.keep.seal.note import strict_base64

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's head: whose log, how many entries, which root."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """Give the text to be signed."""
        lines = (self.origin, str(self.size), base64.b64encode(self.root).decode(), *self.extensions)
        return "".join(line + "\n" for line in lines)


def parse_checkpoint(text: str) -> Checkpoint:
    """Read the text of a note as a checkpoint. Raises NoteError with the line that is wrong."""
    lines = text.split("\n")
    if lines.pop() != "" or len(lines) < 3:
        raise NoteError("a checkpoint has at least three lines: origin, size, root")
    origin, size, root, *extensions = lines
    if not origin:
        raise NoteError("checkpoint line 1: the origin is empty")
    if not _SIZE.fullmatch(size) or int(size) >= 1 << 63:
        raise NoteError(f"checkpoint line 2: not a tree size: {size!r}")
    raw = strict_base64(root, "checkpoint line 3: the root")
    if len(raw) != HASH_BYTES:
        raise NoteError(f"checkpoint line 3: the root has {len(raw)} bytes, not {HASH_BYTES}")
    if not all(extensions):
        raise NoteError("checkpoint: an extension line is empty")
    return Checkpoint(origin, int(size), raw, tuple(extensions))
