"""A reader of whole data directories, written from docs/reference/formats.md and the C2SP pages that it names."""

import base64
import hashlib
import json
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.model import merkle, segment


class Log(NamedTuple):
    """The log of a cluster: its Events, and how many of them its shown head covers."""

    origin: str
    events: list[tuple[bytes, int, str, bytes]]
    signed: int


def verifier_keys(text: str) -> dict[tuple[str, bytes], Ed25519PublicKey]:
    found = {}
    for line in text.splitlines():
        name, digest, encoded = line.split("+", 2)
        raw = base64.b64decode(encoded)
        assert raw[0] == 1
        assert hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4].hex() == digest
        found[name, bytes.fromhex(digest)] = Ed25519PublicKey.from_public_bytes(raw[1:])
    return found


def checkpoint(note: bytes, keys: dict[tuple[str, bytes], Ed25519PublicKey]) -> tuple[str, int, bytes]:
    """Give origin, size and root; one signature at least must be of a key that is known, and none of them wrong."""
    text, signatures = note.rsplit(b"\n\n", 1)
    text += b"\n"
    known = 0
    for line in signatures.decode().splitlines():
        dash, name, encoded = line.split(" ")
        assert dash == "\u2014"
        raw = base64.b64decode(encoded)
        if (name, raw[:4]) in keys:
            keys[name, raw[:4]].verify(raw[4:], text)
            known += 1
    assert known
    origin, size, root, nothing = text.decode().split("\n")
    assert nothing == ""
    return origin, int(size), base64.b64decode(root)


def tile(tiles: Path, level: str, number: int, width: int) -> bytes:
    assert number < 1000
    name = f"{number:03}" if width == 256 else f"{number:03}.p/{width}"
    return (tiles / "tile" / level / name).read_bytes()


def read(data: Path, keys: Path) -> dict[str, Log]:
    """Read all logs there are; fails for anything that does not lead to the heads that were signed."""
    found = {}
    for folder in sorted((data / "logs").iterdir()):
        meta = json.loads((folder / "cluster.json").read_text())
        assert meta["version"] == 1
        assert folder.name == hashlib.sha256(meta["cluster"].encode()).hexdigest()[:16]
        known = verifier_keys((keys / f"{folder.name}.vkey").read_text())
        events = segment.store(folder / "segments")
        leaves = [entry for *_, entry in events]
        heads = [checkpoint(head.read_bytes(), known) for head in (folder / "heads").iterdir() if head.name.isdigit()]
        shown = checkpoint((folder / "tiles" / "checkpoint").read_bytes(), known)
        assert shown in heads
        for origin, size, root in heads:
            assert (origin, root) == (meta["origin"], merkle.mth(leaves[:size]))
        _, signed, _ = shown
        for first in range(0, signed, 256):
            mine = leaves[first : min(first + 256, signed)]
            bundle = b"".join(b"\x00\x21" + entry for entry in mine)
            assert tile(folder / "tiles", "entries", first // 256, len(mine)) == bundle
            hashes = b"".join(hashlib.sha256(b"\x00" + entry).digest() for entry in mine)
            assert tile(folder / "tiles", "0", first // 256, len(mine)) == hashes
        found[meta["cluster"]] = Log(meta["origin"], events, signed)
    return found
