"""Log files against a store: exactly what is on one side only."""

import csv
import gzip
import io
from contextlib import closing
from pathlib import Path

import pytest

from kubewitness.cli.main import main
from kubewitness.keep.seal.leaf import Kept, Removed
from kubewitness.keep.seal.leaf_cut import Group, State, blank
from kubewitness.keep.store.layout import DataDir, KeyDir, default_keys
from kubewitness.keep.store.log import Arrival, Batch, ClusterLog
from tests.assembly.serving import recorded_items
from tests.look.query.stored import fill, items_of
from tools.run_docs import workplace


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recorded log, and a store of what the webhook sent."""
    directory = tmp_path_factory.mktemp("reconcile")
    workplace(directory)
    fill(directory / "data", "prod", recorded_items(), source="webhook:x")
    return directory


def _differences(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, list[dict[str, str]], str]:
    code = main(["reconcile", "-o", "csv", *map(str, words)])
    told = capsys.readouterr()
    return code, list(csv.DictReader(io.StringIO(told.out))), told.err


def test_exactly_the_27_that_were_never_sent(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are the watches that ended when the server did, named by file and line."""
    code, rows, err = _differences(capsys, "--data", place / "data", place / "full.log")
    assert code == 1
    assert len(rows) == 27
    assert {(row["onlyIn"], row["verb"], row["stage"]) for row in rows} == {("files", "watch", "ResponseComplete")}
    log = str(place / "full.log")
    stored = set(recorded_items())
    prefix = b'{"kind":"Event","apiVersion":"audit.k8s.io/v1",'
    lines = Path(log).read_bytes().split(b"\n")[:-1]
    expected = {f"{log}:{n}" for n, line in enumerate(lines, 1) if line.replace(prefix, b"{", 1) not in stored}
    assert {row["place"] for row in rows} == expected
    assert "4,815 in both, 27 only in the files, 0 only in the store" in err


def test_what_was_taken_out_of_the_file(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines that are missing from the file are named by their index in the log; order and shape do not matter."""
    lines = items_of(place / "full.log")
    end = fill(tmp_path / "data", "prod", lines)
    gone = [n for n, line in enumerate(lines) if b'"username":"attacker"' in line]
    left = [line for n, line in enumerate(lines) if n not in set(gone)]
    (tmp_path / "audit.log").write_bytes(b"\n".join(reversed(left)))
    code, rows, _ = _differences(capsys, "--data", tmp_path / "data", tmp_path / "audit.log")
    assert code == 1
    assert sorted(row["place"] for row in rows) == sorted(f"index {n}" for n in gone)
    assert end == 4842
    code, rows, err = _differences(capsys, "--data", tmp_path / "data", place / "full.log", place / "full.log")
    assert (code, rows) == (0, [])
    assert "in the files more than once: 4,842 events" in err


def test_of_many_events_on_one_line_only_those_that_differ(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A webhook's body is one line; that one of its items is missing says nothing of the others."""
    items = recorded_items()[:100]
    fill(tmp_path / "data", "prod", items[:-1])
    body = tmp_path / "body.json"
    body.write_bytes(b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[%s]}' % b",".join(items))
    code, rows, err = _differences(capsys, "--data", tmp_path / "data", body)
    assert (code, [row["place"] for row in rows]) == (1, [f"{body}:1"])
    assert "99 in both, 1 only in the files, 0 only in the store" in err


def test_only_the_time_of_the_files_is_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Events of another time are counted, and are no difference."""
    line = b'{"stage":"Panic","auditID":"%d","requestReceivedTimestamp":"2026-01-01T00:00:%02d.000000Z"}'
    fill(tmp_path / "data", "prod", [line % (n, n) for n in range(20)])
    (tmp_path / "audit.log").write_bytes(b"\n".join(line % (n, n) for n in range(5, 10) if n != 7))
    code, rows, err = _differences(capsys, "--data", tmp_path / "data", tmp_path / "audit.log")
    assert (code, [row["place"] for row in rows]) == (1, ["index 7"])
    assert "of another time, and not compared: 15 events" in err


@pytest.mark.parametrize("has_keys", [True, False])
def test_members_that_were_never_written(tmp_path: Path, has_keys: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """By its keyed identity an Event is known without them; without the keys it is uncertain, and that is said."""
    raw = (
        b'{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Request","auditID":"1","stage":"Panic",'
        b'"requestReceivedTimestamp":"2026-01-01T00:00:00.000000Z","requestObject":{"a":1}}'
    )
    (tmp_path / "audit.log").write_bytes(raw)
    data = tmp_path / "data"
    keys = KeyDir(default_keys(data))
    root, _ = DataDir(data).enter("prod")
    with root, closing(ClusterLog(root, keys.identity())) as log:
        removed = {Group.REQUEST: Removed(State.DROPPED, bytes(32))}
        kept = Kept(blank(raw, {Group.REQUEST: State.DROPPED}), removed)
        log.commit([Batch(1, "webhook:x", [Arrival(kept, log.window.identity(raw))])])
    words = [] if has_keys else ["--keys", str(tmp_path / "elsewhere")]
    code, rows, err = _differences(capsys, "--data", data, *words, tmp_path / "audit.log")
    if has_keys:
        assert (code, rows) == (0, [])
    else:
        assert "without its keys they cannot be compared" in err
        assert [row["onlyIn"] for row in rows] == ["files"]
        assert not (tmp_path / "elsewhere").exists()


def test_a_damaged_key_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What identifies Events cannot be read: nothing is compared."""
    data = tmp_path / "data"
    fill(data, "prod", [b'{"auditID":"1","stage":"Panic"}'])
    (tmp_path / "audit.log").write_bytes(b'{"auditID":"1","stage":"Panic"}\n')
    default_keys(data).mkdir(exist_ok=True)
    (default_keys(data) / "identity.key").write_text("x")
    assert main(["reconcile", "--data", str(data), str(tmp_path / "audit.log")]) == 3
    assert "identity.key: not 32 bytes in hexadecimal" in capsys.readouterr().err


def test_damage_makes_it_incomplete(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines that cannot be read were not compared: no difference, but not the whole truth either."""
    lines = items_of(place / "full.log")[:10]
    fill(tmp_path / "data", "prod", lines)
    (tmp_path / "audit.log").write_bytes(b"\n".join([*lines, b'{"kind":"Event","torn']))
    code, rows, err = _differences(capsys, "--data", tmp_path / "data", tmp_path / "audit.log")
    assert (code, rows) == (4, [])
    assert "damaged, and not compared: 1 place of the files" in err


def test_a_torn_file_is_compared_up_to_the_tear(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last Event before the tear counts, and the line that breaks off is damage of its own."""
    lines = items_of(place / "full.log")[:10]
    fill(tmp_path / "data", "prod", lines)
    for end, damaged in ((b"", "1 place of"), (b'{"kind":"Event","torn', "2 places of")):
        (tmp_path / "audit.log.gz").write_bytes(gzip.compress(b"\n".join([*lines, end])) + b"garbage")
        code, rows, err = _differences(capsys, "--data", tmp_path / "data", tmp_path / "audit.log.gz")
        assert (code, rows) == (4, [])
        assert "10 in both" in err
        assert damaged in err


def test_what_must_be_named(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A store, files, and one cluster."""
    assert main(["reconcile", "audit.log"]) == 2
    assert main(["reconcile", "--data", str(place / "data")]) == 2
    assert "name the log files" in capsys.readouterr().err
