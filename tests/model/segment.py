"""A reader of stores written from docs/reference/formats.md alone, with nothing but a zstd decompressor."""

import hashlib
import json
import re
import zlib
from io import BytesIO
from pathlib import Path

import zstandard

from tests.model import leaf

STATES = {1: "dropped", 2: "sealed", 3: "redacted", 4: "expired"}
NAMES = {
    2: "requestURI.query",
    3: "user",
    4: "client",
    5: "requestObject",
    6: "responseObject",
    7: "responseStatus",
    8: "annotations",
}


class Bytes(BytesIO):
    def number(self, size: int, order="big") -> int:
        data = self.read(size)
        assert len(data) == size
        return int.from_bytes(data, order)


def salts(data: Bytes, count: int) -> dict[int, bytes]:
    def expand(seed: bytes, group: int) -> bytes:
        return hashlib.shake_256(b"kubewitness leaf 1 salts" + seed).digest(16 * (count if group else 1))

    if data.number(1) == 1:
        seed = data.read(32)
        groups = [hashlib.shake_256(b"kubewitness leaf 1 group" + bytes([g]) + seed).digest(32) for g in range(9)]
        return {g: expand(groups[g], g) for g in range(9)}
    found = {}
    for g in range(9):
        way = data.number(1)
        if way == 1:
            found[g] = expand(data.read(32), g)
        elif way == 2:
            found[g] = data.read(16 * (count if g else 1))
    return found


def left_of(line: bytes, removed: dict[int, tuple[str, bytes, bytes]]) -> dict[int, bytes]:
    """Cut a line from which groups were removed."""
    told = {NAMES[g]: removed[g][0] for g in sorted(removed)}
    ending = b',"kubewitness.io/removed":' + json.dumps(told, separators=(",", ":")).encode() + b"}"
    assert line.endswith(ending)
    contents = leaf.contents(line.removesuffix(ending) + b"}")
    for group in set(removed) - {2}:
        members = json.loads(b"{" + contents[group] + b"}")
        assert set(members.values()) == {None}
    assert not (2 in removed and 2 in contents)
    return {g: content for g, content in contents.items() if g not in removed}


def block(data: bytes) -> tuple[int, int, list[tuple[bytes, int, str, bytes]]]:
    """Read the block that `data` begins with: its length, first index, and Events as (line, time, source, leaf)."""
    head = Bytes(data)
    assert head.read(4) == bytes.fromhex("572A4D18")
    enclosed = head.number(4, "little")
    assert head.read(8) == b"KUBEWIT\x01"
    crc, kind, first, count = head.number(4), head.number(1), head.number(8), head.number(4)
    frame_bytes, line_bytes, commits = head.number(4), head.number(4), head.number(2)
    length = 8 + enclosed + frame_bytes
    assert len(data) >= length
    assert zlib.crc32(data[20:length]) == crc
    if kind == 2:
        assert (length, count, commits) == (43, 0, 0)
        return length, first, []
    text = zstandard.ZstdDecompressor().decompress(data[8 + enclosed : length])
    assert len(text) == line_bytes
    lines = text.split(b"\n")[:-1]
    assert len(lines) == count
    events = []
    for _ in range(commits):
        events += commit(head, lines)
    assert not lines
    assert head.tell() == 8 + enclosed
    return length, first, events


def commit(data: Bytes, lines: list[bytes]) -> list[tuple[bytes, int, str, bytes]]:
    count, received_ns = data.number(4), data.number(8)
    source = data.read(data.number(2)).decode()
    salt = salts(data, count)
    mine, lines[:count] = lines[:count], []
    removed, dead = [{} for _ in mine], {}
    for _ in range(data.number(4)):
        kind, number = data.number(1), data.number(4)
        value = data.read(data.number(4))
        if kind == 1:
            line = bytearray(mine[number])
            for at in range(0, len(value), 4):
                line[int.from_bytes(value[at : at + 4], "big")] = 10
            mine[number] = bytes(line)
        elif kind == 2:
            removed[number][value[0]] = (STATES[value[1]], value[2:34], value[34:])
        elif kind == 3:
            dead[number] = value[1:]
        else:
            assert kind in (4, 5)
    out = []
    for number, line in enumerate(mine):
        if number in dead:
            out.append((line, received_ns, source, b"\x01" + dead[number]))
            continue
        contents = {0: received_ns.to_bytes(8, "big") + source.encode()}
        contents |= left_of(line, removed[number]) if removed[number] else leaf.contents(line)
        inner = {g: gone[1] for g, gone in removed[number].items()}
        for g, content in contents.items():
            at = 16 * number if g else 0
            inner[g] = hashlib.sha256(b"\x02" + bytes([g]) + salt[g][at : at + 16] + content).digest()
        bitmap = sum(1 << g - 2 for g in inner if g >= 2)
        joined = b"".join(inner[g] for g in sorted(inner))
        out.append((line, received_ns, source, b"\x01" + hashlib.sha256(b"\x03" + bytes([bitmap]) + joined).digest()))
    return out


def store(path: Path) -> list[tuple[bytes, int, str, bytes]]:
    """Read all Events of a whole store, whose segments may be unfinished or torn at the end."""
    names = sorted(p.name for p in path.iterdir() if re.fullmatch(r"[0-9]{20}\.zst", p.name))
    found = []
    for name, following in zip(names, [*names[1:], None], strict=True):
        assert int(name[:20]) == len(found)
        data = (path / name).read_bytes()
        while data:
            try:
                length, first, events = block(data)
            except (AssertionError, zstandard.ZstdError):
                assert following is None, "damaged"
                break
            if following is not None and first + len(events) > int(following[:20]):
                break
            assert first == len(found)
            found += events
            data = data[length:]
    return found
