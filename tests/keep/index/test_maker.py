"""The index of a store: what the manifest says, how files are merged, and what a crash leaves."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from kubewitness._kit.files import DiskDirectory
from kubewitness.keep.index.maker import FORGET_AFTER_S, IndexMaker
from kubewitness.keep.index.manifest import Entry, Manifest, parse_manifest, read_manifest
from kubewitness.keep.index.table import Table, Tabulated
from kubewitness.keep.store.log import Batch, ClusterLog
from kubewitness.keep.store.segment import Block

KEY = bytes(range(32))


class Plain:
    """Columns without an engine: a file holds the lines of its Events, whose first letter is the hour."""

    schema = "plain"

    def tabulate(self, blocks: Sequence[Block], *, begin: int, is_final: bool) -> Tabulated:
        hours: dict[str, list[tuple[int, bytes]]] = {}
        for block in blocks:
            index = block.first
            for commit in block.commits:
                for kept in commit.events:
                    if index >= begin:
                        hours.setdefault(_hour(kept.line), []).append((index, kept.line))
                    index += 1
        return Tabulated([_table(f"date=d/hour={hour}", rows) for hour, rows in sorted(hours.items())], ())

    def merge(self, parts: Sequence[tuple[Entry, bytes]]) -> Table:
        rows = sorted(row for _, data in parts for row in _rows(data))
        return _table(parts[0][0].path.rpartition("/")[0], rows)


def _hour(line: bytes) -> str:
    """Lines of these tests begin with their hour; of others the length will do."""
    return chr(line[0]) if line[:1].isdigit() else str(len(line) % 3)


def _table(folder: str, rows: Sequence[tuple[int, bytes]]) -> Table:
    data = b"".join(b"%d %s\n" % (index, line.hex().encode()) for index, line in rows)
    size = sum(len(line) for _, line in rows)
    return Table(Entry(folder, rows[0][0], rows[-1][0] + 1, len(rows), len(data), size), data)


def _rows(data: bytes) -> Iterator[tuple[int, bytes]]:
    for line in data.splitlines():
        index, _, text = line.partition(b" ")
        yield int(index), bytes.fromhex(text.decode())


@pytest.fixture
def root(tmp_path: Path) -> Iterator[DiskDirectory]:
    """The directory of a store."""
    with DiskDirectory.at(tmp_path) as directory:
        yield directory


def _store(root: DiskDirectory, *batches: Sequence[bytes]) -> None:
    with closing(ClusterLog(root, KEY)) as log:
        for batch in batches:
            log.commit([Batch(1, "test", [log.arrive(line) for line in batch])])


def _indexed(root: DiskDirectory, manifest: Manifest) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for entry in manifest.files:
        data = Path(f"/proc/self/fd/{root._fd}/index/{entry.path}").read_bytes()
        rows = dict(_rows(data))
        assert not found.keys() & rows.keys()
        assert (entry.rows, entry.bytes) == (len(rows), len(data))
        assert entry.first == min(rows)
        assert entry.end == max(rows) + 1
        found |= rows
    return found


def _lines(count: int, begin: int = 0) -> list[bytes]:
    return [b"%d event %d" % (n % 3, n) for n in range(begin, begin + count)]


def test_every_event_is_in_one_file_of_its_hour(root: DiskDirectory) -> None:
    """What was stored is indexed once, up to where it was asked for, and the manifest says where the rest begins."""
    _store(root, _lines(10), _lines(10, 10), _lines(10, 20))
    with closing(IndexMaker(root, Plain())) as maker:
        assert maker.advance(20) == 20
        assert set(_indexed(root, maker.manifest)) == set(range(20))
        assert {entry.path[:13] for entry in maker.manifest.files} == {
            "date=d/hour=0",
            "date=d/hour=1",
            "date=d/hour=2",
        }
        assert maker.advance(25) == 20, "a block is taken whole"
        assert maker.advance(30, at_least=11) == 20, "too few to be worth a file"
    with closing(IndexMaker(root, Plain())) as maker:
        assert maker.advance() == 30
        assert _indexed(root, maker.manifest) == dict(enumerate(_lines(30)))
        assert read_manifest(root, "plain") == maker.manifest


def test_small_files_are_merged_and_kept_for_a_while(root: DiskDirectory, tmp_path: Path) -> None:
    """An hour does not gather files; those that were merged go when nobody can still be reading them."""
    now = [0.0]
    with closing(IndexMaker(root, Plain(), clock=lambda: now[0])) as maker:
        for begin in range(0, 400, 10):
            _store(root, _lines(10, begin))
            maker.advance()
        assert len(maker.manifest.files) < 3 * 14
        assert _indexed(root, maker.manifest) == dict(enumerate(_lines(400)))
        on_disk = len(list(tmp_path.rglob("*.parquet")))
        assert on_disk > len(maker.manifest.files)
        now[0] = FORGET_AFTER_S
        maker.advance()
        assert len(list(tmp_path.rglob("*.parquet"))) == len(maker.manifest.files)
        maker.settle()
        assert len(maker.manifest.files) == 3
        assert _indexed(root, maker.manifest) == dict(enumerate(_lines(400)))


def test_while_more_comes_only_full_batches_are_taken_in(root: DiskDirectory) -> None:
    """A rest is held and joined by what comes; nothing is merged before the end; then all is there once."""
    batch = 20 * len(b"0 event 00")
    with closing(IndexMaker(root, Plain(), batch_bytes=batch)) as maker:
        ends = []
        for begin in range(100, 200, 10):
            _store(root, _lines(10, begin))
            ends.append(maker.advance(begin - 90, is_ongoing=True))
        assert ends == [0, 20, 20, 40, 40, 60, 60, 80, 80, 100]
        assert len(maker.manifest.files) == 3 * 5, "a file for each hour of each batch"
        _store(root, _lines(5, 200))
        assert maker.advance(105, is_ongoing=True) == 100
        assert maker.advance(105) == 105
        maker.settle()
        assert len(maker.manifest.files) == 3
        assert _indexed(root, maker.manifest) == dict(enumerate(_lines(105, 100)))


def test_files_do_not_grow_beyond_their_size(root: DiskDirectory) -> None:
    """What is large enough is not merged again."""
    _store(root, *(_lines(10, begin) for begin in range(0, 300, 10)))
    with closing(IndexMaker(root, Plain(), batch_bytes=100, file_bytes=300)) as maker:
        maker.advance()
        maker.settle()
        assert max(entry.raw_bytes for entry in maker.manifest.files) <= 300
        assert _indexed(root, maker.manifest) == dict(enumerate(_lines(300)))


def test_what_no_manifest_names_is_removed(root: DiskDirectory, tmp_path: Path) -> None:
    """A file that a crash left is gone after the next start."""
    _store(root, _lines(9))
    with closing(IndexMaker(root, Plain())) as maker:
        maker.advance()
    stray = tmp_path / "index/date=d/hour=0/stray.parquet"
    stray.write_bytes(b"half")
    with closing(IndexMaker(root, Plain())) as maker:
        assert not stray.exists()
        assert len(_indexed(root, maker.manifest)) == 9


@pytest.mark.parametrize("manifest", [b"", b"{}", b'{"version":1,"schema":"older","end":3}', b"\xff"])
def test_a_manifest_of_others_counts_for_nothing(root: DiskDirectory, tmp_path: Path, manifest: bytes) -> None:
    """The index is made anew when its manifest is not ours; readers then read the segments."""
    _store(root, _lines(9))
    (tmp_path / "index").mkdir(mode=0o700)
    (tmp_path / "index/manifest.json").write_bytes(manifest)
    assert read_manifest(root, "plain").end == 0
    with closing(IndexMaker(root, Plain())) as maker:
        assert maker.advance() == 9
    assert parse_manifest(b"not json") is None


def test_only_one_makes_an_index(root: DiskDirectory) -> None:
    """A second maker is refused while the first is there."""
    with closing(IndexMaker(root, Plain())), pytest.raises(BlockingIOError):
        IndexMaker(root, Plain())


def test_after_an_error_the_same_events_are_taken_again(root: DiskDirectory) -> None:
    """What was read and not written is not lost to the index."""
    _store(root, _lines(9))
    plain = Plain()
    with closing(IndexMaker(root, plain)) as maker:
        plain.tabulate = lambda *_, **__: 1 / 0  # type: ignore[method-assign]
        with pytest.raises(ZeroDivisionError):
            maker.advance()
        del plain.tabulate
        assert maker.advance() == 9
        assert len(_indexed(root, maker.manifest)) == 9


def test_lost_events_are_named(root: DiskDirectory, tmp_path: Path) -> None:
    """Where a block of a segment is damaged, the manifest says which Events have no row."""
    _store(root, _lines(10), _lines(10, 10), _lines(10, 20))
    [segment] = (tmp_path / "segments").glob("*.zst")
    data = bytearray(segment.read_bytes())
    at = data.find(b"KUBEWIT", data.find(b"KUBEWIT") + 1)
    data[at + 60] ^= 1
    segment.write_bytes(data)
    for _ in range(2):  # and once only
        with closing(IndexMaker(root, Plain())) as maker:
            assert maker.advance() == 30
            assert [(one.first, one.end) for one in maker.manifest.unread] == [(10, 20)]
            assert set(_indexed(root, maker.manifest)) == {*range(10), *range(20, 30)}
