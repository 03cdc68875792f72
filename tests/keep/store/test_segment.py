"""The segment format: what goes in comes out, any zstd reader sees plain lines, and nothing changed is accepted."""

import json
import subprocess
from io import BytesIO
from pathlib import Path

import duckdb
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from kubewitness.keep.seal import leaf
from kubewitness.keep.seal.leaf import Kept, Removed, Salts, Tombstone
from kubewitness.keep.seal.leaf_cut import Group, State
from kubewitness.keep.seal.leaf_secret import Secret
from kubewitness.keep.store import segment
from kubewitness.keep.store.errors import DamagedError
from kubewitness.keep.store.segment import Block, Commit

SEED = b"s" * 32

lines = st.binary(min_size=1, max_size=30)
removed = st.builds(Removed, st.sampled_from(State), st.binary(min_size=32, max_size=32), st.binary(max_size=9))
events = st.one_of(
    lines.map(Kept),
    st.builds(Kept, lines, st.dictionaries(st.sampled_from(Group), removed, min_size=1)),
    st.builds(lambda line, state: Kept(line, tombstone=Tombstone(state, b"c" * 32)), lines, st.sampled_from(State)),
)


@st.composite
def commits(draw):
    kept = draw(st.lists(events, max_size=4))
    by_group = Secret(
        b"",
        {g: b"%032d" % g for g in Group if g % 3 == 0},
        {g: bytes([g]) * (16 * len(kept)) for g in Group if g % 3 == 1},
    )
    return Commit(
        draw(st.integers(0, 2**64 - 1)),
        draw(st.text(max_size=5)),
        draw(st.sampled_from([Secret(SEED), by_group])),
        kept,
        draw(st.dictionaries(st.sampled_from(range(len(kept))), st.just(b"i" * 16))) if kept else {},
        tuple(draw(st.lists(st.integers(0, 2**64 - 1), max_size=3))),
    )


blocks = st.builds(Block, st.integers(0, 2**40), st.lists(commits(), max_size=3))


@given(blocks)
def test_what_goes_in_comes_out(block):
    """A block of any commits is read as it was written, and its head says where it ends."""
    data = segment.encode_block(block)
    start = segment.read_start(data)
    assert start is not None
    assert (start.kind, start.first, start.end, start.length) == (segment.EVENTS, block.first, block.end, len(data))
    assert segment.decode_block(data) == block


@given(blocks, st.data())
def test_no_changed_byte_is_accepted(block, data):
    """Any one byte of a block changed, or its end cut off, is damage, and nothing else is raised."""
    good = segment.encode_block(block)
    at = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[at] ^= data.draw(st.integers(1, 255))
    for changed in (bytes(bad), good[:at]):
        with pytest.raises(DamagedError):
            segment.decode_block(changed)


@given(st.binary(max_size=200), st.binary(max_size=60))
def test_malformed_evidence_under_a_good_checksum_is_damage(evidence, text):
    """Who can compute a checksum cannot make a reader fall over."""
    frame = zstandard.ZstdCompressor(write_content_size=True).compress(text)
    data = segment._enclose(segment.EVENTS, 0, text.count(b"\n"), evidence, frame, len(text), 1)
    try:
        block = segment.decode_block(data)
    except DamagedError:
        return
    assert block.end == text.count(b"\n")


def test_a_frame_that_unpacks_to_more_than_it_says_is_damage():
    """A bomb is not unpacked."""
    frame = zstandard.ZstdCompressor(write_content_size=True).compress(bytes(1 << 20))
    with pytest.raises(DamagedError, match="not 5 bytes"):
        segment.decode_block(segment._enclose(segment.EVENTS, 0, 0, b"", frame, 5, 0))
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(b"aaaa\n")
    with pytest.raises(DamagedError, match="not 5 bytes"):
        segment.decode_block(segment._enclose(segment.EVENTS, 0, 1, b"", unsized, 5, 0))


def test_an_event_without_bytes_is_refused():
    """An empty line would be no Event to any reader; a source has a name that can be written."""
    with pytest.raises(ValueError, match="65536 bytes"):
        segment.encode_block(Block(0, [Commit(0, "a" * 65536, Secret(SEED), [])]))
    with pytest.raises(ValueError, match="no bytes"):
        segment.encode_block(Block(0, [Commit(0, "", Secret(SEED), [Kept(b"")])]))


def made(first: int, count: int) -> bytes:
    kept = [Kept(b'{"auditID":"%d","stage":"Panic"}' % n) for n in range(first, first + count)]
    return segment.encode_block(Block(first, [Commit(first, "webhook:a", Secret(SEED), kept)]))


def ids(text: bytes) -> list[int]:
    return [int(json.loads(line)["auditID"]) for line in text.split(b"\n")[:-1]]


def asked(path: Path) -> list[int]:
    with duckdb.connect() as connection:
        query = "select auditID::int from read_ndjson(?, columns={'auditID': 'varchar'})"
        return [row[0] for row in connection.execute(query, [str(path)]).fetchall()]


def test_every_zstd_reader_sees_plain_lines_while_it_grows(tmp_path: Path, zstd):
    """After each append, and with an end, DuckDB, zstd and python-zstandard read exactly what is there."""
    path = tmp_path / f"{0:020}.zst"
    with path.open("ab") as file:
        for round_ in range(3):
            file.write(made(10 * round_, 10) if round_ < 2 else segment.encode_end(20))
            file.flush()
            expected = list(range(min(20, 10 * (round_ + 1))))
            done = subprocess.run([zstd, "-dcq", path], capture_output=True, check=True)
            assert ids(done.stdout) == expected
            whole = zstandard.ZstdDecompressor().stream_reader(BytesIO(path.read_bytes()), read_across_frames=True)
            assert ids(whole.read()) == expected
            assert asked(path) == expected


def test_lines_with_newlines_are_one_line_to_others(tmp_path: Path):
    """An Event over many lines is one line to any reader, and its exact bytes to ours."""
    raw = b'{\n  "auditID": "1",\r\n  "stage": "Panic"\n}'
    data = segment.encode_block(Block(0, [Commit(0, "file:a", Secret(SEED), [Kept(raw), Kept(b'{"auditID":"2"}')])]))
    reader = zstandard.ZstdDecompressor().stream_reader(BytesIO(data), read_across_frames=True)
    assert ids(reader.read()) == [1, 2]
    (tmp_path / "a.zst").write_bytes(data)
    assert asked(tmp_path / "a.zst") == [1, 2]
    assert segment.decode_block(data).commits[0].events[0].line == raw


@given(st.lists(st.tuples(st.sampled_from(Group), st.integers(0, 2)), max_size=12))
def test_a_secret_forgets_what_it_is_told_to(forgotten):
    """After any removals, exactly the salts of what was removed are gone."""
    whole = Salts.from_seed(SEED, 3)
    secret = Secret(SEED)
    for group, number in forgotten:
        secret = secret.without(group, 3, number if group else 0)
    left = secret.expand(3)
    for group in Group:
        for number in range(3):
            at = 16 * number if group else 0
            is_gone = (group, number) in forgotten or (not group and any(not g for g, _ in forgotten))
            salt = left.groups[group][at : at + 16]
            assert salt == (leaf.DESTROYED if is_gone else whole.groups[group][at : at + 16])


def test_a_secret_forgets_a_group_for_good():
    """Of a group that expired for a whole commit nothing is left, however it was kept before."""
    for secret in (Secret(SEED), Secret(SEED).without(Group.USER, 3), Secret(SEED).without(Group.REQUEST, 3, 1)):
        left = secret.without(Group.REQUEST, 3)
        assert not left.seed
        assert Group.REQUEST not in left.expand(3).groups
        assert left.expand(3).groups[Group.CLIENT] == Salts.from_seed(SEED, 3).groups[Group.CLIENT]
