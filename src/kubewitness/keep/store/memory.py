"""
What a verifier remembers between two runs: for each log the largest head it has seen, and the keys it trusts.

Without memory a log that was rolled back, or written anew by the holder of its key, looks as good as any other.
The file is JSON, belongs to whoever verifies, and should lie where the log's server cannot write.
"""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from kubewitness._kit.files import DiskDirectory, read_whole, write_whole
from kubewitness.keep.seal.checkpoint import Checkpoint, parse_checkpoint
from kubewitness.keep.seal.errors import NoteError
from kubewitness.keep.seal.note import VerifierKey, parse_note, parse_verifier_key
from kubewitness.keep.store.errors import DamagedError

VERSION = 1


class _Log(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is remembered of a log: the head as it was signed, and verifier keys."""

    checkpoint: str
    keys: list[str]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    logs: dict[str, _Log]


@dataclass(frozen=True, slots=True)
class Remembered:
    """A log as it was seen last."""

    note: bytes
    keys: tuple[VerifierKey, ...]

    @property
    def head(self) -> Checkpoint:
        """The head."""
        return parse_checkpoint(parse_note(self.note).text)


@dataclass(frozen=True, slots=True)
class Memory:
    """A state file, by its path."""

    path: Path

    def load(self) -> dict[str, Remembered]:
        """Give what is remembered, by origin; nothing when there is no file yet. Raises DamagedError, OSError."""
        try:
            with DiskDirectory.at(self.path.parent) as directory:
                data = read_whole(directory, self.path.name)
        except FileNotFoundError:
            return {}
        try:
            file = msgspec.json.decode(data, type=_File)
            if file.version != VERSION:
                raise DamagedError(f"{self.path}: version {file.version} is not known here")
            found = {
                origin: Remembered(log.checkpoint.encode(), tuple(parse_verifier_key(key) for key in log.keys))
                for origin, log in file.logs.items()
            }
            for origin, remembered in found.items():
                if remembered.head.origin != origin:
                    raise DamagedError(f"{self.path}: the head of {origin!r} is one of {remembered.head.origin!r}")
        except (msgspec.MsgspecError, NoteError) as exc:
            raise DamagedError(f"{self.path}: {exc}") from exc
        return found

    def save(self, logs: dict[str, Remembered]) -> None:
        """Remember this from now on. Raises OSError."""
        file = _File(
            VERSION,
            {
                origin: _Log(remembered.note.decode(), [str(key) for key in remembered.keys])
                for origin, remembered in sorted(logs.items())
            },
        )
        with DiskDirectory.at(self.path.parent) as directory:
            write_whole(directory, self.path.name, msgspec.json.format(msgspec.json.encode(file)) + b"\n")
