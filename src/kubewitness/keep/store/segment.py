"""
The segment format: blocks, each a zstd skippable frame with the evidence and a zstd frame with plain lines.

Any reader of zstd sees audit lines; ours sees also when, from where, under which index and with which salts they
came. Values in, values out: which file, and when to sync it, is left to `append`, `recover` and `reader`.

The format is docs/reference/formats.md, "Segment".
"""

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kubewitness.keep.seal.leaf import HASH_BYTES, LEAF_BYTES, SALT_BYTES, SEED_BYTES, Kept, Removed, Tombstone
from kubewitness.keep.seal.leaf_cut import Group, State
from kubewitness.keep.seal.leaf_secret import Secret
from kubewitness.keep.store.errors import DamagedError

SKIPPABLE = (0x184D2A57).to_bytes(4, "little")
MAGIC = b"KUBEWIT\x01"  # the last byte is the version
EVENTS = 1
END = 2
IDENTITY_BYTES = 16
HOT_LEVEL = 1  # docs/adr/0003-segments-and-leaves.md has the figures
MAX_SOURCE_BYTES = 0xFFFF
MAX_BLOCK_BYTES = 1 << 30  # what a reader is willing to unpack at once

_HEADER = struct.Struct(">8sIBQIIIH")
_CHECKED_FROM = 12
_COMMIT = struct.Struct(">IQH")
_NOTE = struct.Struct(">BII")
_FRAME = 8
START_BYTES = _FRAME + _HEADER.size
"""How much of a block tells where it ends."""

_NEWLINES, _REMOVED, _TOMBSTONE, _IDENTITY, _SEEN = range(1, 6)
_WHOLE_SEED, _BY_GROUP = 1, 2


@dataclass(frozen=True, slots=True)
class Commit:
    """Events that came together: from one source, at one time, with salts of one secret."""

    received_ns: int
    source: str
    secret: Secret
    events: Sequence[Kept]
    identities: Mapping[int, bytes] = field(default_factory=dict)
    """The keyed identity of each Event of which something was never written."""
    seen: Sequence[int] = ()
    """Indexes of Events that came again, now from this source."""


@dataclass(frozen=True, slots=True)
class Block:
    """What is written and synced at once."""

    first: int
    commits: Sequence[Commit]

    @property
    def end(self) -> int:
        """The index after the last Event."""
        return self.first + sum(len(commit.events) for commit in self.commits)


@dataclass(frozen=True, slots=True)
class Start:
    """The head of a block: what it is, which indexes, how many bytes."""

    kind: int
    first: int
    count: int
    length: int
    frame_bytes: int
    line_bytes: int
    commits: int
    crc: int

    @property
    def end(self) -> int:
        """The index after the last Event."""
        return self.first + self.count


def encode_block(block: Block, level: int = HOT_LEVEL) -> bytes:
    """Write a block."""
    lines: list[bytes] = []
    evidence = [_encode_commit(commit, lines) for commit in block.commits]
    lines.append(b"")
    text = b"\n".join(lines)
    import zstandard

    frame = zstandard.ZstdCompressor(level=level, write_checksum=True, write_content_size=True).compress(text)
    return _enclose(EVENTS, block.first, len(lines) - 1, b"".join(evidence), frame, len(text), len(block.commits))


def encode_end(index: int) -> bytes:
    """Write what stands at the end of a finished segment: the index after its last Event."""
    return _enclose(END, index, 0, b"", b"", 0, 0)


END_BYTES = START_BYTES


def _enclose(kind: int, first: int, count: int, evidence: bytes, frame: bytes, line_bytes: int, commits: int) -> bytes:
    def header(crc: int) -> bytes:
        return _HEADER.pack(MAGIC, crc, kind, first, count, len(frame), line_bytes, commits)

    crc = zlib.crc32(frame, zlib.crc32(evidence, zlib.crc32(header(0)[_CHECKED_FROM:])))
    length = _HEADER.size + len(evidence)
    return b"".join((SKIPPABLE, length.to_bytes(4, "little"), header(crc), evidence, frame))


def _note(kind: int, number: int, value: bytes) -> bytes:
    return _NOTE.pack(kind, number, len(value)) + value


def _encode_commit(commit: Commit, lines: list[bytes]) -> bytes:
    """Write the evidence of a commit, and add its lines to those of the block."""
    source = commit.source.encode()
    if len(source) > MAX_SOURCE_BYTES:
        raise ValueError(f"the name of a source has {len(source)} bytes, more than {MAX_SOURCE_BYTES}")
    notes: list[bytes] = []
    for number, kept in enumerate(commit.events):
        line = kept.line
        if b"\n" in line:
            places = [at for at, byte in enumerate(line) if byte == 0x0A]
            notes.append(_note(_NEWLINES, number, struct.pack(f">{len(places)}I", *places)))
            line = line.replace(b"\n", b" ")
        if not line:
            raise ValueError(f"Event {number} of a commit from {commit.source!r} has no bytes")
        lines.append(line)
        if not kept.removed and kept.tombstone is None:
            continue  # as most are
        for group, removed in kept.removed.items():
            head = bytes((group, removed.state))
            notes.append(_note(_REMOVED, number, head + removed.inner + removed.instead))
        if kept.tombstone is not None:
            notes.append(_note(_TOMBSTONE, number, bytes((kept.tombstone.state,)) + kept.tombstone.commitment))
    notes += [_note(_IDENTITY, number, identity) for number, identity in commit.identities.items()]
    if commit.seen:
        notes.append(_note(_SEEN, 0, struct.pack(f">{len(commit.seen)}Q", *commit.seen)))
    return b"".join(
        (
            _COMMIT.pack(len(commit.events), commit.received_ns, len(source)),
            source,
            _encode_secret(commit.secret),
            len(notes).to_bytes(4),
            *notes,
        )
    )


def _encode_secret(secret: Secret) -> bytes:
    if secret.seed:
        return bytes((_WHOLE_SEED,)) + secret.seed
    parts = [bytes((_BY_GROUP,))]
    for group in Group:
        if group in secret.seeds:
            parts += (b"\x01", secret.seeds[group])
        elif group in secret.salts:
            parts += (b"\x02", secret.salts[group])
        else:
            parts.append(b"\x00")
    return b"".join(parts)


def read_start(data: bytes) -> Start | None:
    """Read the head of a block from its first `START_BYTES`; None if none begins here."""
    if len(data) < START_BYTES or data[:4] != SKIPPABLE:
        return None
    magic, crc, kind, first, count, frame_bytes, line_bytes, commits = _HEADER.unpack_from(data, _FRAME)
    enclosed = int.from_bytes(data[4:8], "little")
    if magic != MAGIC or kind not in (EVENTS, END) or enclosed < _HEADER.size or line_bytes > MAX_BLOCK_BYTES:
        return None
    return Start(kind, first, count, _FRAME + enclosed + frame_bytes, frame_bytes, line_bytes, commits, crc)


def is_sound(data: bytes, start: Start) -> bool:
    """Tell whether a whole block has the checksum that it says."""
    return len(data) == start.length and zlib.crc32(memoryview(data)[_FRAME + _CHECKED_FROM :]) == start.crc


def decode_block(data: bytes) -> Block:
    """Read a whole block of Events. Raises DamagedError."""
    import zstandard

    start = read_start(data)
    if start is None or start.kind != EVENTS:
        raise DamagedError("no block of Events begins here")
    if not is_sound(data, start):
        raise DamagedError(f"the block of Events {start.first}..{start.end} has another checksum than it says")
    try:
        return _decode(data, start)
    except (struct.error, zstandard.ZstdError, ValueError) as exc:
        raise DamagedError(f"the block of Events {start.first}..{start.end} is malformed: {exc}") from exc


def _decode(data: bytes, start: Start) -> Block:
    import zstandard

    frame_at = start.length - start.frame_bytes
    frame = memoryview(data)[frame_at:]
    # a frame that claims more than the block says is not unpacked at all
    if start.frame_bytes == 0 or zstandard.frame_content_size(frame) != start.line_bytes:
        raise ValueError(f"its lines are not {start.line_bytes} bytes")
    lines = zstandard.ZstdDecompressor().decompress(frame).split(b"\n")
    if lines.pop() or len(lines) != start.count:
        raise ValueError(f"it has {len(lines)} lines, not {start.count}")
    cursor = _Cursor(data[_FRAME + _HEADER.size : frame_at])
    commits = []
    at = 0
    for _ in range(start.commits):
        commit = _decode_commit(cursor, lines, at)
        at += len(commit.events)
        commits.append(commit)
    if at != start.count or cursor.at != len(cursor.data):
        raise ValueError(f"its evidence is of {at} Events, and {len(cursor.data) - cursor.at} bytes are left over")
    return Block(start.first, commits)


class _Cursor:
    """Bytes, and how far they are read."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        taken = self.data[self.at : self.at + count]
        if len(taken) != count:
            raise ValueError("its evidence ends too early")
        self.at += count
        return taken


def _decode_commit(cursor: _Cursor, lines: list[bytes], at: int) -> Commit:
    count, received_ns, source_bytes = _COMMIT.unpack(cursor.take(_COMMIT.size))
    source = cursor.take(source_bytes).decode()
    secret = _decode_secret(cursor, count)
    kept_lines = lines[at : at + count]
    if len(kept_lines) != count:
        raise ValueError(f"its evidence is of more Events than its {len(lines)} lines")
    removed: dict[int, dict[int, Removed]] = {}
    tombstones: dict[int, Tombstone] = {}
    identities: dict[int, bytes] = {}
    seen: tuple[int, ...] = ()
    for _ in range(int.from_bytes(cursor.take(4))):
        kind, number, length = _NOTE.unpack(cursor.take(_NOTE.size))
        value = cursor.take(length)
        if kind == _SEEN:
            seen = struct.unpack(f">{length // 8}Q", value)
            continue
        if number >= count:
            raise ValueError(f"its evidence speaks of Event {number} of a commit of {count}")
        if kind == _NEWLINES:
            line = bytearray(kept_lines[number])
            for (place,) in struct.iter_unpack(">I", value):
                if place >= len(line) or line[place] != 0x20:
                    raise ValueError(f"Event {number} of a commit has no place {place} for a newline")
                line[place] = 0x0A
            kept_lines[number] = bytes(line)
        elif kind == _REMOVED and length >= 2 + HASH_BYTES:
            group = Removed(State(value[1]), value[2 : 2 + HASH_BYTES], value[2 + HASH_BYTES :])
            removed.setdefault(number, {})[Group(value[0])] = group
        elif kind == _TOMBSTONE and length == LEAF_BYTES:
            tombstones[number] = Tombstone(State(value[0]), value[1:])
        elif kind == _IDENTITY and length == IDENTITY_BYTES:
            identities[number] = value
        else:
            raise ValueError(f"its evidence has a note of kind {kind} and {length} bytes, which is unknown")
    events = [
        Kept(line, removed.get(number, {}), tombstones.get(number))
        if number in removed or number in tombstones
        # most Events are whole
        else Kept(line)
        for number, line in enumerate(kept_lines)
    ]
    return Commit(received_ns, source, secret, events, identities, seen)


def _decode_secret(cursor: _Cursor, count: int) -> Secret:
    (kind,) = cursor.take(1)
    if kind == _WHOLE_SEED:
        return Secret(cursor.take(SEED_BYTES))
    if kind != _BY_GROUP:
        raise ValueError(f"its salts are kept in a way {kind} that is unknown")
    seeds: dict[int, bytes] = {}
    salts: dict[int, bytes] = {}
    for group in Group:
        (way,) = cursor.take(1)
        if way == 1:
            seeds[group] = cursor.take(SEED_BYTES)
        elif way == 2:
            salts[group] = cursor.take(SALT_BYTES * (count if group else 1))
        elif way:
            raise ValueError(f"the salts of a group are kept in a way {way} that is unknown")
    return Secret(b"", seeds, salts)
