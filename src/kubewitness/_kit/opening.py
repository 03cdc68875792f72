"""
Open a file or a descriptor and give its bytes, decompressed by what the content says it is.

`compression_of` looks at the first bytes, never at the name. `read_chunks` gives chunks and raises `TornError` where
compressed data breaks off or is damaged, after having given everything that could be read before that point.
"""

import enum
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from io import BufferedReader
    from pathlib import Path

CHUNK_BYTES = 1 << 20  # large enough that decompression, not Python, takes the time

_ZSTD_FRAME = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = range(0x184D2A50, 0x184D2A60)


class Compression(enum.Enum):
    """How the bytes of a file are packed."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


class TornError(Exception):
    """Compressed data breaks off or is damaged; what stood before it has been given."""

    def __init__(self, reason: str, decompressed_bytes: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.decompressed_bytes = decompressed_bytes


def compression_of(head: bytes) -> Compression:
    """Tell the packing from the first bytes of a file."""
    if head[:2] == b"\x1f\x8b":
        return Compression.GZIP
    if head[:4] == _ZSTD_FRAME or (len(head) >= 4 and int.from_bytes(head[:4], "little") in _ZSTD_SKIPPABLE):
        return Compression.ZSTD
    return Compression.NONE


def read_chunks(path: "str | Path", chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
    """Give the decompressed bytes of this file in chunks. Raises OSError, and TornError at the damage."""
    with open(path, "rb") as raw:  # noqa: PTH123 - pathlib costs start-up
        head = raw.read(4)
        raw.seek(0)
        given = 0
        reader = _reader(raw, compression_of(head))
        try:
            while chunk := reader.read(chunk_bytes):
                given += len(chunk)
                yield chunk
        except _damage(compression_of(head)) as exc:
            for rest in _before_damage(raw, compression_of(head), given):
                given += len(rest)
                yield rest
            raise TornError(str(exc) or type(exc).__name__, given) from exc
        if compression_of(head) is Compression.ZSTD and (cut := torn_zstd(path)) is not None:
            raise TornError(f"the zstd data ends within a frame, at byte {cut} of the file", given)


def _before_damage(raw: "BufferedReader", compression: Compression, given: int) -> Iterator[bytes]:
    """Give what stands between the last chunk and the damage: of a read that fails nothing comes, so in small ones."""
    for step in (4096, 1):
        raw.seek(0)
        reader = _reader(raw, compression)
        skip = given
        while skip:
            skip -= len(reader.read1(min(skip, 4096)))
        rest = bytearray()
        with suppress(*_damage(compression)):
            while piece := reader.read1(step):
                rest += piece
        if rest:
            given += len(rest)
            yield bytes(rest)


class _Reader(Protocol):
    def read(self, size: int, /) -> bytes: ...

    def read1(self, size: int, /) -> bytes: ...


def _reader(raw: "BufferedReader", compression: Compression) -> _Reader:
    match compression:
        case Compression.NONE:
            return raw
        case Compression.GZIP:
            from isal import igzip

            packed: _Reader = igzip.IGzipFile(fileobj=raw, mode="rb")  # type: ignore[no-untyped-call]
            return packed
        case Compression.ZSTD:
            import zstandard

            decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 31)
            return decompressor.stream_reader(raw, read_size=CHUNK_BYTES, read_across_frames=True)


def _damage(compression: Compression) -> tuple[type[Exception], ...]:
    """Give what the library for this packing raises; each is imported only where it is used."""
    match compression:
        case Compression.NONE:
            return ()
        case Compression.GZIP:
            import gzip
            import zlib

            from isal import isal_zlib

            # the stub of isal says that its error is an instance
            return (EOFError, zlib.error, gzip.BadGzipFile, cast("type[Exception]", isal_zlib.error))
        case Compression.ZSTD:
            import zstandard

            return (zstandard.ZstdError,)


def torn_zstd(path: "str | Path") -> int | None:
    """Give the offset of the frame of a .zst file that is not complete, None when all are.

    zstd readers stop at a cut without an error, so the chain of block headers is walked (RFC 8878, 3.1.1);
    nothing is decompressed, one header per 128 KiB of content is read.
    """
    size = os.stat(path).st_size  # noqa: PTH116
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123
        start = 0
        while start < size:
            end = _frame_end(file.fileno(), start, size)
            if end is None:
                return start
            start = end
    return None


class TornCheck:
    """Walks a .zst file (`torn_zstd`) in the background, while somebody else unpacks it."""

    def __init__(self, path: "str | Path") -> None:
        import _thread  # `threading` costs start-up

        self._path = path
        self._found: list[int | None] = []
        self._is_done = _thread.allocate_lock()
        self._is_done.acquire()
        _thread.start_new_thread(self._walk, ())

    def _walk(self) -> None:
        try:
            with suppress(OSError):  # met again by `result`
                self._found.append(torn_zstd(self._path))
        finally:
            self._is_done.release()

    def result(self) -> int | None:
        """Wait for it; give what `torn_zstd` gives. Raises OSError."""
        with self._is_done:
            return self._found[0] if self._found else torn_zstd(self._path)


def _frame_end(fd: int, start: int, size: int) -> int | None:
    head = os.pread(fd, 18, start)
    if len(head) < 8:
        return None
    magic = int.from_bytes(head[:4], "little")
    if magic in _ZSTD_SKIPPABLE:
        end = start + 8 + int.from_bytes(head[4:8], "little")
        return end if end <= size else None
    if head[:4] != _ZSTD_FRAME:
        return None
    descriptor = head[4]
    single_segment = bool(descriptor & 0x20)
    content_size_bytes = (1 if single_segment else 0, 2, 4, 8)[descriptor >> 6]
    dictionary_id_bytes = (0, 1, 2, 4)[descriptor & 3]
    checksum_bytes = 4 if descriptor & 4 else 0
    at = start + 5 + (0 if single_segment else 1) + dictionary_id_bytes + content_size_bytes
    while True:
        header = os.pread(fd, 3, at)
        if len(header) < 3:
            return None
        block = int.from_bytes(header, "little")
        is_run_length = (block >> 1) & 3 == 1
        at += 3 + (1 if is_run_length else block >> 3)
        if block & 1:  # the last block of the frame
            end = at + checksum_bytes
            return end if end <= size else None
        if at > size:
            return None
