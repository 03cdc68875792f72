"""Recovery leaves out torn bytes at the very end, and refuses everything else that is missing."""

from pathlib import Path

import pytest

from kubewitness._kit.files import DiskDirectory
from kubewitness.keep.store.errors import DamagedError
from kubewitness.keep.store.recover import recover
from kubewitness.keep.store.scan import name_of
from kubewitness.keep.store.segment import END_BYTES
from tests.keep.store.build import made, opened, raws, read, segment, store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Events 0..50 in segments 0 and 30, of three blocks and two."""
    found = made(tmp_path, 50, segment_bytes=600)
    assert sorted(p.name for p in found.iterdir()) == [name_of(0), name_of(30)]
    return found


def unfinished(path: Path, first: int, less: int = 0) -> bytes:
    """Take the end off a segment, and some more bytes."""
    file = segment(path, first)
    data = file.read_bytes()[: -END_BYTES - less]
    file.write_bytes(data)
    return data


def recovered(path: Path, **options):
    return recover(DiskDirectory.at(path), **options)


def test_a_finished_store_is_left_as_it_is(path):
    """Nothing is written where nothing is to do."""
    before = {p.name: p.stat().st_ino for p in path.iterdir()}
    found = recovered(path, signed_size=50)
    assert (list(found.segments), found.end, list(found.notes)) == ([0, 30], 50, [])
    assert {p.name: p.stat().st_ino for p in path.iterdir()} == before


def test_an_unfinished_segment_is_finished_in_a_new_file(path):
    """What was sound is copied, so that nothing rests on a cache that may lie."""
    unfinished(path, 30)
    inode = segment(path, 30).stat().st_ino
    found = recovered(path, signed_size=50)
    assert found.end == 50
    assert "with Events 30..50" in found.notes[-1]
    assert segment(path, 30).stat().st_ino != inode
    assert recovered(path).notes == []
    assert read(path) == (raws(0, 50), [])


@pytest.mark.parametrize("less", [1, 60, 183])
def test_a_torn_tail_is_left_out(path, less):
    """Cut anywhere in the last block: the blocks before it stay, and people are told how much went."""
    unfinished(path, 30, less)
    found = recovered(path, signed_size=40)
    assert found.end == 40
    assert "torn bytes after Event 40, from byte" in found.notes[0]
    assert read(path) == (raws(0, 40), [])


def test_zeros_after_the_last_block_are_a_torn_tail(path):
    """A size that reached the disk before its bytes."""
    segment(path, 30).write_bytes(unfinished(path, 30) + bytes(5000))
    assert recovered(path, signed_size=50).end == 50


def test_a_segment_that_was_only_begun_is_removed(path):
    """Its name is free for the next one."""
    segment(path, 50).write_bytes(b"")
    found = recovered(path, signed_size=50)
    assert (list(found.segments), found.end) == ([0, 30], 50)
    assert "no Event" in found.notes[0]


def test_a_copy_left_by_a_crash_is_removed(path):
    """And nothing else that is not ours."""
    (path / (name_of(30) + ".new")).write_bytes(b"x")
    (path / "README").write_bytes(b"x")
    assert "removed" in recovered(path).notes[0]
    assert sorted(p.name for p in path.iterdir()) == [name_of(0), name_of(30), "README"]


def test_what_lies_beyond_the_next_segments_name_does_not_count(path, tmp_path):
    """A block whose sync failed, and which was then written to the next segment, is not there twice."""
    other = tmp_path / "other"
    other.mkdir()
    block = segment(made(other, 40, per_block=40), 0).read_bytes()[:-END_BYTES]
    segment(path, 0).write_bytes(unfinished(path, 0) + segment(path, 30).read_bytes()[:-END_BYTES] + block)
    assert recovered(path, signed_size=50).end == 50
    assert read(path) == (raws(0, 50), [])


def damage(path: Path, first: int, at: int) -> None:
    file = segment(path, first)
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)


def is_unchanged(path: Path, before: dict[str, bytes]) -> bool:
    return {p.name: p.read_bytes() for p in path.iterdir()} == before


CASES = {
    "blocks after an end": (
        lambda p: (
            segment(p, 0).write_bytes(segment(p, 0).read_bytes() + unfinished(p, 30)),
            segment(p, 30).unlink(),
        ),
        0,
        "a block of Event 30 follows 30",
    ),
    "the first segment is gone": (lambda p: segment(p, 0).unlink(), 0, r"Events 0\.\.30 are missing"),
    "the last segment is gone": (lambda p: segment(p, 30).unlink(), 50, "ends at 30, and a head of 50"),
    "signed Events are torn": (lambda p: unfinished(p, 30, 1), 50, "a head of 50 Events was signed"),
    "signed Events are cut at a block": (lambda p: unfinished(p, 30, 184), 50, "ends at 40, and a head of 50"),
    "nothing of a signed segment is left": (
        lambda p: segment(p, 30).write_bytes(b""),
        31,
        "ends at 30, and a head of 31",
    ),
    "a middle block is damaged": (
        lambda p: (unfinished(p, 30), damage(p, 30, 60), unfinished(p, 0)),
        0,
        r"Events from 30 are lost, up to 40",
    ),
    "an earlier segment is cut": (lambda p: unfinished(p, 0, 60), 0, r"Events 20\.\.30 are lost"),
    "an earlier segment lost its last block": (lambda p: unfinished(p, 0, 184), 0, "ends at 20, and the next"),
    "segments of two stores": (
        lambda p: segment(p, 0).rename(segment(p, 5)),
        0,
        r"Events 0\.\.5 are missing",
    ),
    "a segment under another name": (
        lambda p: (segment(p, 30).unlink(), unfinished(p, 0), segment(p, 0).rename(segment(p, 30)), made_other(p)),
        0,
        "a block of Event 0 follows 30",
    ),
}


def made_other(path: Path) -> None:
    other = path.parent / "other"
    other.mkdir()
    segment(made(other, 30), 0).rename(segment(path, 0))


@pytest.mark.parametrize("case", CASES)
def test_what_no_crash_explains_is_refused(path, case):
    """Nothing is appended over it, nothing is changed, and the error says which Events and which file."""
    change, signed_size, message = CASES[case]
    change(path)
    before = {p.name: p.read_bytes() for p in path.iterdir()}
    with pytest.raises(DamagedError, match=message):
        recovered(path, signed_size=signed_size)
    assert is_unchanged(path, before)


def test_a_store_goes_on_where_it_was_left(tmp_path):
    """Opened again, it numbers on, in a new segment."""
    made(tmp_path, 20)
    log = opened(tmp_path)
    assert list(store(log, raws(20, 5)).indexes) == [20, 21, 22, 23, 24]
    log.close()
    assert read(tmp_path / "segments") == (raws(0, 25), [])
    assert segment(tmp_path / "segments", 20).exists()


def test_a_store_whose_beginning_was_deleted_on_purpose(path):
    """Retention says where it begins now; any other beginning is refused."""
    segment(path, 0).unlink()
    assert recovered(path, begin=30).end == 50
    with pytest.raises(DamagedError, match="missing"):
        recovered(path, begin=29)
