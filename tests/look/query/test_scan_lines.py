"""Lines by their number, and streams cut into blocks: nothing is lost at any cut."""

from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from kubewitness.look.query.scan_blocks import BlockFiles, blocks
from kubewitness.look.query.scan_lines import count_lines, pick, regions

LINES = st.lists(st.sampled_from([b"{}", b"", b" \t", b"x" * 40, b"\r", "\u0085".encode()]), max_size=30)


def chunked(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a < b]


@given(LINES, st.lists(st.integers(0, 2000), max_size=6), st.booleans())
def test_picked_lines_are_those_of_a_plain_reading(lines: list[bytes], cuts: list[int], ends: bool) -> None:
    """Ordinals count lines that are not blank, wherever chunks are cut; offsets and line numbers are true."""
    data = b"\n".join(lines) + (b"\n" if ends else b"")
    full = [(i, line) for i, line in enumerate(data.split(b"\n")) if line.strip(b" \t\r\v\f")]
    found = list(pick(chunked(data, cuts), range(len(full)), has_blank_lines=True))
    assert [line.raw.strip(b" \t\r\v\f\n") for line in found] == [line.strip(b" \t\r\v\f") for _, line in full]
    for line in found:
        assert data[line.offset : line.offset + len(line.raw)] == line.raw
        assert line.line == data[: line.offset].count(b"\n") + 1


@given(st.sets(st.integers(0, 99)), st.lists(st.integers(0, 2000), max_size=6))
def test_only_the_wanted_lines(wanted: set[int], cuts: list[int]) -> None:
    """Without blank lines whole chunks are passed over, and the same lines are found."""
    data = b"".join(b"%d\n" % i for i in range(100))
    found = list(pick(chunked(data, cuts), sorted(wanted), has_blank_lines=False))
    assert [int(line.raw) for line in found] == sorted(wanted)
    assert [[int(line.raw) for line in region] for region in regions(found)] == [
        group for group in _runs(sorted(wanted)) if group
    ]


def _runs(numbers: list[int]) -> list[list[int]]:
    runs: list[list[int]] = [[]]
    for number in numbers:
        if runs[-1] and number != runs[-1][-1] + 1:
            runs.append([])
        runs[-1].append(number)
    return runs


@given(LINES, st.booleans())
def test_count_lines(lines: list[bytes], ends: bool) -> None:
    """A last line counts with and without its end."""
    data = b"\n".join(lines) + (b"\n" if ends and lines else b"")
    texts = data.split(b"\n")
    assert count_lines([data[:3], data[3:]]) == len(texts) - (texts[-1] == b"")


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 60_000), max_size=40), st.integers(1, 50_000))
@example([55_000, 55_000], 1)
def test_blocks_are_the_stream(sizes: list[int], chunk_bytes: int) -> None:
    """Blocks put together are the stream, each of whole lines, long lines by themselves."""
    from kubewitness.look.query import scan_blocks

    data = b"".join(b"y" * size + b"\n" for size in sizes) + b"last"
    files = BlockFiles()
    names = ("_FIRST_BLOCK_BYTES", "_MOST_BLOCK_BYTES", "LONG_LINE_BYTES", "SHORT_LINE_BYTES")
    old = [getattr(scan_blocks, name) for name in names]
    for name, size in zip(names, (20_000, 50_000, 55_000, 40_000), strict=True):
        setattr(scan_blocks, name, size)
    try:
        found = b""
        for block in blocks((data[i : i + chunk_bytes] for i in range(0, len(data), chunk_bytes)), files):
            assert block.offset == len(found)
            assert block.line == found.count(b"\n") + 1
            content = block.long_line or b"".join(files.read(block.fd))
            if content.endswith(b"last\n"):
                content = content[:-1]  # the end that the last line lacks is added for the engine
            assert block.lines == content.count(b"\n")
            assert bool(block.long_line) == (len(content) > 55_000 and content.count(b"\n") <= 1)
            if block.has_short_lines:
                assert max(map(len, content.split(b"\n"))) <= 40_000
            found += content
        assert found == data
    finally:
        for name, size in zip(names, old, strict=True):
            setattr(scan_blocks, name, size)
        files.close()
