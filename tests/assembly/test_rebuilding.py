"""Making index, tiles and segments again: the same as before, or nothing touched."""

import shutil
from pathlib import Path

import pytest

from kubewitness.assembly import rebuilding
from kubewitness.assembly.rebuilding import Rebuilding
from kubewitness.assembly.reindexing import catch_up
from kubewitness.cli.main import main
from kubewitness.keep.store.errors import DamagedError, LockedError
from kubewitness.keep.store.layout import DataDir
from kubewitness.keep.store.reader import Lost, read_blocks, records
from tests.keep.store.build import data_dir, recorded


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    """A sealed and indexed log of 1,000 recorded Events in several segments."""
    directory = data_dir(tmp_path / "data", recorded()[:1000], segment_bytes=30_000)
    with directory.look("prod") as root:
        catch_up(root, "prod")
    return directory


def _open(data: DataDir) -> Rebuilding:
    meta = data.clusters()["prod"]
    return Rebuilding(data.log_path("prod"), "prod", meta.origin)


def _files(data: DataDir, folder: str) -> dict[str, bytes]:
    place = data.log_path("prod") / folder
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def _stored(data: DataDir) -> list[tuple[int, bytes, int, str]]:
    out = []
    with data.look("prod") as root, root.look("segments") as segments:
        for part in read_blocks(segments):
            assert not isinstance(part, Lost)
            out += [(one.index, one.kept.line, one.received_ns, one.source) for one in records(part)]
    return out


def _verified(data: DataDir) -> int:
    return main(["verify", "--data", str(data.path)])


def test_tiles_come_out_the_same(data: DataDir) -> None:
    """Byte for byte, the checkpoint included, but for partial tiles of smaller heads; also when they were deleted."""
    original = _files(data, "tiles")
    with _open(data) as work:
        assert work.tiles() == 1000
    before = _files(data, "tiles")
    assert before.items() <= original.items()
    assert {name for name in original if ".p/" not in name} <= before.keys()
    for path in (data.log_path("prod") / "tiles/tile").rglob("*"):
        if path.is_file():
            path.unlink()
    assert main(["rebuild", "--data", str(data.path), "--tiles"]) == 0
    assert _files(data, "tiles") == before
    assert _verified(data) == 0


def test_the_index_answers_as_before(data: DataDir, capsys: pytest.CaptureFixture[str]) -> None:
    """A damaged index is made again; nothing of the old one is left."""
    question = ["sql", "SELECT verb, count(*) FROM events GROUP BY ALL ORDER BY ALL", "--data", str(data.path)]
    assert main(question) == 0
    answer = capsys.readouterr().out
    for path in (data.log_path("prod") / "index").rglob("*.parquet"):
        path.write_bytes(b"damaged")
    assert main(question) != 0
    capsys.readouterr()
    assert main(["rebuild", "--data", str(data.path), "--index"]) == 0
    assert "prod: index of 1,000 events made again" in capsys.readouterr().out
    assert main(question) == 0
    assert capsys.readouterr().out == answer
    assert {path.name for path in data.log_path("prod").iterdir() if path.is_dir()} >= {"index", "tiles"}
    assert not [path for path in data.log_path("prod").iterdir() if path.suffix in (".old", ".new")]


def test_tiles_stay_where_segments_are_damaged(data: DataDir, capsys: pytest.CaptureFixture[str]) -> None:
    """They may be the only copy of some leaves: exit code 3, and not a byte of them changed."""
    before = _files(data, "tiles")
    segment = sorted((data.log_path("prod") / "segments").glob("*.zst"))[1]
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    assert main(["rebuild", "--data", str(data.path), "--tiles"]) == 3
    assert "what was there stays" in capsys.readouterr().out
    assert _files(data, "tiles") == before
    segment.unlink()
    assert main(["rebuild", "--data", str(data.path), "--tiles"]) == 3
    assert _files(data, "tiles") == before


@pytest.mark.parametrize("name", ["tiles", "index"])
def test_what_a_crash_left_is_put_back(data: DataDir, name: str) -> None:
    """A rebuild that was killed after the old one was moved away loses nothing."""
    before = _files(data, name)
    log = data.log_path("prod")
    (log / name).rename(log / f"{name}.old")
    (log / f"{name}.new").mkdir(mode=0o700)
    with _open(data):
        assert _files(data, name) == before
        assert not (log / f"{name}.old").exists()
    assert _verified(data) == 0


def test_cold_segments_take_less_space(data: DataDir) -> None:
    """The same Events under the same indexes, receipts and salts; the log verifies as before; a second time nothing."""
    before, size = _stored(data), sum(map(len, _files(data, "segments").values()))
    with _open(data) as work:
        done = work.recompress()
    assert done
    assert sum(map(len, _files(data, "segments").values())) < size
    assert _stored(data) == before
    assert _verified(data) == 0
    with _open(data) as work:
        assert work.recompress() == []
        assert work.tiles() == 1000


def test_a_segment_that_would_not_read_back_stays(data: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written is compared before it replaces anything."""
    from kubewitness.keep.store import recompress as module

    before = _files(data, "segments")
    original = module.encode_block

    def wrong(block: module.Block, level: int) -> bytes:
        return original(module.Block(block.first, block.commits[::-1]), level)

    monkeypatch.setattr(module, "encode_block", wrong)
    with _open(data) as work, pytest.raises(DamagedError, match="does not read as"):
        work.recompress()
    after = _files(data, "segments")
    assert {name: after[name] for name in before} == before


def test_not_while_somebody_writes(data: DataDir, capsys: pytest.CaptureFixture[str]) -> None:
    """The store is locked: a second one is refused, by the command with exit code 5."""
    with _open(data):
        with pytest.raises(LockedError):
            _open(data)
        assert main(["rebuild", "--data", str(data.path)]) == 5
    assert "stop `serve` first" in capsys.readouterr().err


def test_an_interrupted_rebuild_of_tiles_puts_them_back(data: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong on the way, the old tiles come back."""
    before = _files(data, "tiles")

    class Interrupted(rebuilding.Tree):
        def grow(self, until: int) -> bytes | None:
            raise KeyboardInterrupt

    monkeypatch.setattr(rebuilding, "Tree", Interrupted)
    with _open(data) as work, pytest.raises(KeyboardInterrupt):
        work.tiles()
    assert _files(data, "tiles") == before


def test_a_directory_that_is_no_store_is_told(tmp_path, capsys):
    """A slip in --data does not end as if all had been made again."""
    assert main(["rebuild", "--data", str(tmp_path)]) == 2
    assert "holds no log of a cluster" in capsys.readouterr().err


def test_a_head_that_was_taken_away_is_not_forgotten(data: DataDir, capsys: pytest.CaptureFixture[str]) -> None:
    """The head that is shown may be the last copy of it: nothing makes it again, and nothing is signed after it."""
    path = data.log_path("prod")
    shown = (path / "tiles/checkpoint").read_bytes()
    largest = max((path / "heads").iterdir(), key=lambda file: int(file.name))
    largest.unlink()
    what = f"tiles/checkpoint is a head of {largest.name} Events, and heads/{largest.name} is not there"
    assert main(["rebuild", "--data", str(data.path), "--tiles"]) == 3
    assert what in "".join(capsys.readouterr())
    log = data.path.parent / "more.log"
    log.write_bytes(b'{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"a-1"}')
    assert main(["import", "--data", str(data.path), "--cluster", "prod", str(log)]) == 3
    assert what in capsys.readouterr().err
    assert (path / "tiles/checkpoint").read_bytes() == shown


def test_nothing_is_signed_without_a_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a log without a head, as a first import that was killed leaves it, no head is made; the next import signs."""
    log = tmp_path / "audit.log"
    log.write_bytes(b"\n".join(recorded()[:100]) + b"\n")
    words = ["--data", str(tmp_path / "data"), "--cluster", "prod"]
    assert main(["import", *words, str(log)]) == 0
    path = DataDir(tmp_path / "data").log_path("prod")
    for name in ("heads", "tiles"):
        shutil.rmtree(path / name)
    assert main(["rebuild", "--data", str(tmp_path / "data")]) == 0
    assert "prod: no head was signed yet, so there are no tiles\n" in capsys.readouterr().out
    assert list((path / "heads").iterdir()) == []
    assert main(["import", *words, str(log)]) == 0
    assert _verified(DataDir(tmp_path / "data")) == 0
