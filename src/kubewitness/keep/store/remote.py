"""
Verify a log through the tiles that its server shows to everybody: that they lead to a head that a known key signed.

With a head that is remembered only what was added since is fetched, and the old head must be its beginning.
The Events themselves are not seen, so nothing is said of them.
"""

import http.client
import ssl
from collections.abc import Sequence
from typing import Self
from urllib.parse import urlsplit

from kubewitness.keep.seal import merkle, tiles
from kubewitness.keep.seal.checkpoint import Checkpoint, parse_checkpoint
from kubewitness.keep.seal.errors import NoteError, TileError
from kubewitness.keep.seal.leaf import LEAF_BYTES
from kubewitness.keep.seal.note import Verifier, parse_note, verified_by
from kubewitness.keep.store.tree import CHECKPOINT
from kubewitness.keep.store.verify import Finding, Kind, Progress, Verdict, unheard
from kubewitness.keep.store.verify_read import ENTRY_BYTES, Leaves
from kubewitness.keep.store.verify_tree import HASH, WIDTH, Walk

MAX_BYTES = 1 << 20
TIMEOUT_S = 30.0
_LEAD = LEAF_BYTES.to_bytes(2)


class RemoteTiles:
    """The files of tlog-tiles at a URL, over one connection."""

    def __init__(self, url: str, context: ssl.SSLContext | None = None, timeout_s: float = TIMEOUT_S) -> None:
        """Make ready to fetch. Raises ValueError for a URL that is not one of http or https."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"not the http(s) address of a log: {url!r}")
        self._path = parts.path.rstrip("/")
        if parts.scheme == "https":
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=timeout_s, context=context or ssl.create_default_context()
            )
        else:
            self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)

    def fetch(self, name: str) -> bytes | None:
        """Give a file; None if it is not there. Raises OSError for every other answer than 200 and 404."""
        for is_last in (False, True):
            try:
                self._connection.request("GET", f"{self._path}/{name}")
                with self._connection.getresponse() as response:
                    data = response.read(MAX_BYTES + 1)
                    if response.status not in (200, 404):
                        raise OSError(f"{name}: the server answers {response.status} {response.reason}")
                    if len(data) > MAX_BYTES:
                        raise OSError(f"{name}: more than {MAX_BYTES} bytes")
                    return data if response.status == 200 else None
            except (http.client.HTTPException, ConnectionError) as exc:
                self._connection.close()  # a server may close an idle connection; once more, then it is an error
                if is_last:
                    raise OSError(f"{name}: {type(exc).__name__} {exc}") from exc
        raise AssertionError(name)

    def read(self, tile: tiles.Tile) -> bytes:
        """Give a tile's bytes, or those of the full one that it has become. Raises TileError, OSError."""
        for path in dict.fromkeys((tile.path(), tiles.Tile(tile.level, tile.number).path())):
            if (data := self.fetch(path)) is not None:
                return data
        raise TileError(f"{tile.path()} is not there")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def verify_remote(
    remote: RemoteTiles,
    verifiers: Sequence[Verifier],
    remembered: Checkpoint | None = None,
    progress: Progress = unheard,
) -> tuple[Verdict, bytes]:
    """Verify the log at a URL; give the verdict, and its head as it was shown. Raises OSError."""
    check = _Check()
    note = remote.fetch(CHECKPOINT)
    if note is None:
        check.find(CHECKPOINT, "no head is there: nothing was checked against anything", Kind.EMPTY)
        return check.verdict, b""
    head = check.head(note, verifiers)
    if head is not None:
        check.follow(remote, head, remembered, progress)
    return check.verdict, note


class _Check:
    """One verification on its way."""

    def __init__(self) -> None:
        self.verdict = Verdict()

    def find(self, where: str, what: str, kind: Kind, first: int = 0, end: int = 0) -> None:
        self.verdict.findings.append(Finding(where, what, kind, first, end))

    def head(self, data: bytes, verifiers: Sequence[Verifier]) -> Checkpoint | None:
        """Read the head that is shown; its origin must be the name of a key that signed it."""
        try:
            note = parse_note(data)
            head = parse_checkpoint(note.text)
        except NoteError as exc:
            self.find(CHECKPOINT, str(exc), Kind.BAD_HEAD)
            return None
        if not verifiers:
            self.find(CHECKPOINT, "no key was given: the signature of the head is not checked", Kind.NO_KEY)
            return head
        known = {(verifier.name, verifier.key_id) for verifier in verifiers}
        is_known = known & {(signature.name, signature.key_id) for signature in note.signatures}
        try:
            names = verified_by(note, verifiers)
        except NoteError as exc:
            self.find(CHECKPOINT, str(exc), Kind.BAD_HEAD if is_known else Kind.UNKNOWN_KEY)
            return None
        if head.origin not in names:
            self.find(CHECKPOINT, f"is a head of {head.origin!r}, signed by {', '.join(names)}", Kind.BAD_HEAD)
            return None
        return head

    def follow(
        self,
        remote: RemoteTiles,
        head: Checkpoint,
        remembered: Checkpoint | None,
        progress: Progress,
    ) -> None:
        """Take the leaves out of the bundles, from the remembered head on, and compare tiles and roots."""
        if not head.size:
            self.find(CHECKPOINT, "is a head of no Events: there is nothing to check", Kind.EMPTY)
        heads = {head.size: head}
        if remembered:
            if remembered.origin != head.origin or (remembered.size == head.size and remembered.root != head.root):
                self.find(CHECKPOINT, "is not of the log that is remembered", Kind.FORK, 0, head.size)
                return
            if remembered.size > head.size:
                what = f"is a head of {head.size} Events, and one of {remembered.size} is remembered"
                self.find(CHECKPOINT, what, Kind.SHRUNK, head.size, remembered.size)
                return
            heads.setdefault(remembered.size, remembered)
        try:
            walk = self._taken_up(remote, heads, head.size, remembered.size if remembered else 0)
            for number in range(walk.size // WIDTH, -(-head.size // WIDTH)):
                tile = tiles.Tile(tiles.ENTRIES, number, min(WIDTH, head.size - number * WIDTH))
                walk.take(self._bundle(remote, tile))
                progress(walk.size, head.size)
            walk.finish()
        except TileError as exc:
            self.find(CHECKPOINT, str(exc), Kind.NO_TILE, 0, head.size)
        self.verdict.events = head.size if self.verdict.head else 0

    def _taken_up(self, remote: RemoteTiles, heads: dict[int, Checkpoint], size: int, known: int) -> Walk:
        """Begin where the tile of the last known leaf begins. Raises TileError."""
        whole = max(known - 1, 0) // WIDTH

        def fetch(tile: tiles.Tile) -> bytes:
            return remote.read(tile)[: tile.width * HASH]

        reader = tiles.TileReader(size, fetch)
        walk = Walk(self, remote, heads, merkle.Frontier(whole, merkle.peaks(whole * WIDTH, reader.node)))
        count, level = whole, 1
        while count:
            number, width = divmod(count, WIDTH)
            if width:
                total = size >> level * tiles.TILE_HEIGHT
                tile = tiles.Tile(level, number, min(WIDTH, total - number * WIDTH))
                walk.rows_from(level, fetch(tile)[: width * HASH])
            count, level = count // WIDTH, level + 1
        return walk

    def met(self, head: Checkpoint) -> None:
        self.verdict.heads += 1
        self.verdict.head = head

    def missed(self, head: Checkpoint, root: bytes) -> None:
        what = f"the leaves lead to the root {root.hex()}, the head of {head.size} Events has {head.root.hex()}"
        self.find(CHECKPOINT, what, Kind.CHANGED, 0, head.size)

    def tile_is_missing(self, tile: tiles.Tile, why: str, first: int, end: int) -> None:
        self.find(tile.path(), why, Kind.NO_TILE, first, end)

    def tile_is_wrong(self, tile: tiles.Tile, first: int, end: int) -> None:
        self.find(tile.path(), "holds other hashes than the leaves lead to", Kind.WRONG_TILE, first, end)

    def _bundle(self, remote: RemoteTiles, tile: tiles.Tile) -> Leaves:
        """Fetch a bundle. Raises TileError when it is not there, or cut."""
        bundle = remote.read(tile)[: tile.width * ENTRY_BYTES]
        if len(bundle) != tile.width * ENTRY_BYTES:
            raise TileError(f"{tile.path()} holds {len(bundle)} bytes, not {tile.width} leaves")
        first = tile.number * WIDTH
        cut = [bundle[at : at + ENTRY_BYTES] for at in range(0, len(bundle), ENTRY_BYTES)]
        if any(entry[:2] != _LEAD for entry in cut):
            self.find(tile.path(), "holds entries that are no leaves", Kind.WRONG_TILE, first, first + tile.width)
        return Leaves(first, bundle, b"".join(merkle.leaf_hash(entry[2:]) for entry in cut))
