"""Opening packed files: recognised by content, and torn ones give what stands before the cut."""

import collections
import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from kubewitness._kit.opening import Compression, TornCheck, TornError, compression_of, read_chunks, torn_zstd

TEXT = b"".join(b"line %d of a text that packs but not too well %d\n" % (i, i * 7919 % 1009) for i in range(100_000))


def plain(data: bytes) -> bytes:
    return data


@pytest.mark.parametrize("pack", [plain, gzip.compress, zstandard.compress])
def test_content_is_the_same_however_packed(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """Plain, gzip and zstd files, of one member or of several, give the same bytes."""
    path = tmp_path / "any name"
    path.write_bytes(pack(TEXT) + pack(TEXT))
    assert b"".join(read_chunks(path)) == TEXT * 2


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_cut_file_gives_what_stands_before_the_cut(
    tmp_path: Path, pack: Callable[[bytes], bytes], kept: float
) -> None:
    """Everything readable comes first, then the error says how much that was."""
    packed = pack(TEXT)
    path = tmp_path / "torn"
    path.write_bytes(packed[: int(len(packed) * kept)])
    chunks: list[bytes] = []
    with pytest.raises(TornError) as torn:
        collections.deque(map(chunks.append, read_chunks(path)), maxlen=0)
    found = b"".join(chunks)
    assert TEXT.startswith(found)
    assert torn.value.decompressed_bytes == len(found) > len(TEXT) * kept / 3


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_what_stands_before_garbage_is_given(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """A read that meets the damage would take up to a chunk with it: of a small file all. gzip keeps the last byte."""
    path = tmp_path / "with a tail"
    path.write_bytes(pack(TEXT[:300_001]) + b"garbage")
    chunks: list[bytes] = []
    with pytest.raises(TornError) as torn:
        collections.deque(map(chunks.append, read_chunks(path)), maxlen=0)
    found = b"".join(chunks)
    assert TEXT[:300_001].startswith(found)
    assert torn.value.decompressed_bytes == len(found) >= 300_000


def test_every_cut_of_zstd_frames_is_seen(tmp_path: Path) -> None:
    """The walk over block headers sees a cut at any byte, and none where the file is whole."""
    skippable = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"12345"
    checked = zstandard.ZstdCompressor(write_checksum=True).compress(b"a" * 300_000)
    streamed = zstandard.ZstdCompressor().compressobj()
    whole = checked + skippable + streamed.compress(TEXT[:5000]) + streamed.flush()
    path = tmp_path / "x.zst"
    path.write_bytes(whole)
    assert torn_zstd(path) is None
    ends = {len(checked), len(checked) + len(skippable)}
    for cut in range(1, len(whole)):
        path.write_bytes(whole[:cut])
        assert (torn_zstd(path) is None) == (cut in ends)
        assert TornCheck(path).result() == torn_zstd(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        TornCheck(path).result()


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"", Compression.NONE),
        (b"{", Compression.NONE),
        (b"\x1f\x8b\x08", Compression.GZIP),
        (b"\x28\xb5\x2f\xfd", Compression.ZSTD),
        (b"\x5f\x2a\x4d\x18", Compression.ZSTD),
    ],
)
def test_packing_is_told_by_the_first_bytes(head: bytes, expected: Compression) -> None:
    """Names lie; the first bytes do not."""
    assert compression_of(head) is expected
