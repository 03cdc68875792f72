"""Importing: every Event once, in its exact bytes, whatever was stored before and however often it is run."""

import gzip
import json
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from kubewitness.assembly import ingest as ingest_module
from kubewitness.assembly.importing import Import, Imported, SealerProcess
from kubewitness.assembly.ingest import Ingest, cut_out
from kubewitness.cli.main import main
from kubewitness.event.decode import Record, read_all
from kubewitness.keep.receiver.quarantine import read_quarantined
from kubewitness.keep.store.dedupe import Window
from kubewitness.keep.store.layout import DataDir, KeyDir, default_keys
from kubewitness.keep.store.reader import Lost, read_blocks, records
from kubewitness.look.query.source import find_inputs
from tests.look.query.stored import items_of
from tools.run_docs import workplace


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recorded logs as plain files, and the webhook's bodies."""
    place = tmp_path_factory.mktemp("recorded")
    workplace(place)
    return place


def _run(data: Path, *sources: Path | str, cluster: str = "prod") -> Imported:
    return Import(DataDir(data), KeyDir(default_keys(data)), cluster, find_inputs([str(one) for one in sources])).run()


def _stored(data: Path, cluster: str = "prod") -> list[tuple[bytes, str]]:
    out = []
    with DataDir(data).look(cluster) as root, root.look("segments") as segments:
        for part in read_blocks(segments):
            assert not isinstance(part, Lost)
            out += [(record.kept.line, record.source) for record in records(part)]
    return out


def test_a_log_is_stored_sealed_and_indexed(recorded: Path, tmp_path: Path) -> None:
    """All of it, byte for byte, in order; a second time changes nothing."""
    done = _run(tmp_path / "data", recorded / "metadata.log")
    assert (done.counts.events, done.counts.stored, done.end, done.sealed, done.indexed) == (2380,) * 5
    assert [raw for raw, _ in _stored(tmp_path / "data")] == items_of(recorded / "metadata.log")
    again = _run(tmp_path / "data", recorded / "metadata.log")
    assert (again.counts.events, again.counts.stored, again.end) == (2380, 0, 2380)
    assert main(["verify", "--data", str(tmp_path / "data")]) == 0


def test_what_came_through_the_webhook_is_not_stored_again(recorded: Path, tmp_path: Path) -> None:
    """The log file brings only the 27 Events that the webhook never sent; both sources are known of the others."""
    from tests.assembly.serving import recorded as bodies

    for number, body in enumerate(bodies()):
        (tmp_path / f"{number:05}.json").write_bytes(body)
    data = tmp_path / "data"
    assert _run(data, *sorted(tmp_path.glob("*.json"))).counts.stored == 4815
    done = _run(data, recorded / "full.log")
    assert (done.counts.stored, done.counts.duplicates, done.end, done.sealed) == (27, 4815, 4842, 4842)
    assert done.trouble == ""


@pytest.mark.parametrize("window", [600, 100_000])
def test_what_was_stored_long_ago_is_known(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    """Also what the log's window has forgotten; an Event that differs by a byte is another."""
    log = recorded / "security.log"
    _run(tmp_path / "data", log)
    original = ingest_module.open_log

    def forgetful(root: object, keys: KeyDir) -> object:
        opened = original(root, keys)  # type: ignore[arg-type]
        opened.window = Window(keys.identity(), window)
        return opened

    monkeypatch.setattr(ingest_module, "open_log", forgetful)
    monkeypatch.setattr(ingest_module, "BATCH_EVENTS", 100)
    assert _run(tmp_path / "data", log).counts.stored == 0
    (tmp_path / "changed.log").write_bytes(log.read_bytes().replace(b'"code":200', b'"code":299', 1))
    assert _run(tmp_path / "data", tmp_path / "changed.log").counts.stored == 1


def test_damage_is_kept_with_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is no Event goes to the quarantine, byte for byte, and the exit code says so."""
    good = b'{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"%d","stage":"Panic","level":"Metadata"}'
    torn = b'{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"to'
    wrong = good.replace(b'"Metadata"', b"7") % 9
    (tmp_path / "audit.log").write_bytes(b"\n".join([good % 1, b"alien", good % 2, wrong, torn]))
    data = tmp_path / "data"
    second, fourth = len(good % 1) + 1, 2 * len(good % 1) + 8
    code = main(["import", "--data", str(data), "--cluster", "prod", "--show-damage", str(tmp_path / "audit.log")])
    told = capsys.readouterr()
    assert code == 4
    assert told.out.startswith("2 events read, 2 stored\n")
    assert "3 places are no events" in told.err
    assert f"line 2, byte {second}" in told.err
    kept = [odd for path in data.rglob("*.kept") for odd in read_quarantined(path.read_bytes())]
    assert sorted((odd.at, odd.raw) for odd in kept) == [
        (second, b"alien"),
        (fourth, wrong),
        (fourth + len(wrong) + 1, torn),
    ]


def test_a_torn_file_is_told_apart_from_what_is_kept(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """There are no bytes to keep of what could not be unpacked; what stands before it is stored."""
    first = b"\n".join(items_of(recorded / "metadata.log")[:10])
    (tmp_path / "audit.log.gz").write_bytes(gzip.compress(first + b"\nno event\n") + b"garbage")
    assert main(["import", "--data", str(tmp_path / "d"), "--cluster", "prod", str(tmp_path / "audit.log.gz")]) == 4
    told = capsys.readouterr()
    assert "10 events read, 10 stored" in told.out
    assert "1 place is no event; the bytes are kept" in told.err
    assert "1 file could not be unpacked to the end" in told.err


def test_every_shape_is_taken(tmp_path: Path) -> None:
    """Envelopes are opened, and the dialect stays with the Event."""
    envelopes = Path(__file__).parents[1] / "data" / "envelopes"
    done = _run(tmp_path / "data", envelopes / "gke-lines.ndjson", envelopes / "events.ndjson")
    assert done.counts.damaged == 1, "one line of the GKE file is of another log"
    stored = _stored(tmp_path / "data")
    assert {source.partition(":")[0] for _, source in stored} == {"import", "import+gke"}
    from kubewitness.look.query.run import open_events
    from kubewitness.look.query.store import open_store

    sql = "SELECT dialect, verb, username, resource, code FROM events ORDER BY ALL"
    files = [str(envelopes / "gke-lines.ndjson"), str(envelopes / "events.ndjson")]
    with (
        open_store(str(tmp_path / "data")) as ours,
        open_events(files) as theirs,
        closing(ours.query(sql)) as a,
        closing(theirs.query(sql)) as b,
    ):
        assert list(a) == list(b)


def test_a_name_obeyed_by_a_terminal_is_not_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The cluster's name is shown harmless, as every command shows it."""
    log = tmp_path / "audit.log"
    log.write_bytes(
        b'{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"1","stage":"Panic","level":"Metadata"}\n'
    )
    assert main(["import", "--data", str(tmp_path / "data"), "--cluster", "a\x1b[31mb", str(log)]) == 0
    assert "the log of a\\x1b[31mb has 1 event," in capsys.readouterr().out


def test_killed_and_run_again(recorded: Path, tmp_path: Path) -> None:
    """An import that was killed in the middle is run again: all is there, nothing twice."""
    log = tmp_path / "long.log"
    line = (
        b'{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"%d","stage":"Panic","level":"Metadata","x":"%s"}\n'
    )
    log.write_bytes(b"".join(line % (n, b"x" * 500) for n in range(60_000)))
    command = [sys.executable, "-c", "import sys; from kubewitness.cli.main import main; sys.exit(main())"]
    words = ["import", "--data", str(tmp_path / "data"), "--cluster", "prod", "-o", "json", str(log)]
    with subprocess.Popen([*command, *words], stdout=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.rglob("segments/*.zst")) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.15)
        process.kill()
    done = subprocess.run([*command, *words], stdout=subprocess.PIPE, check=True)
    facts = json.loads(done.stdout)
    assert (facts["events"], facts["end"], facts["sealed"], facts["indexed"]) == (60_000,) * 4
    assert len({raw for raw, _ in _stored(tmp_path / "data")}) == 60_000


def test_interrupted(tmp_path: Path) -> None:
    """Ctrl-C stores what was read, seals it, and says how to go on."""
    command = [sys.executable, "-c", "import sys; from kubewitness.cli.main import main; sys.exit(main())"]
    line = (
        b'{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"%d","stage":"Panic","level":"Metadata","x":"%s"}\n'
    )
    log = tmp_path / "long.log"
    log.write_bytes(b"".join(line % (n, b"x" * 500) for n in range(100_000)))
    with subprocess.Popen(
        [*command, "import", "--data", str(tmp_path / "data"), "--cluster", "prod", str(log)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.rglob("segments/*.zst")) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert process.returncode == 130, err
    assert b"stopped: run the same command again to go on" in err
    assert b"Traceback" not in err, err
    assert b" stored" in out


def test_a_second_process_that_dies_is_missed(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All is stored and indexed all the same, and the exit code says that not all is sealed; the next import seals."""

    def killed(sealer: SealerProcess) -> None:
        sealer._process.kill()
        sealer._process.wait()
        sealer._stdin.close()

    words = ["import", "--data", str(tmp_path / "data"), "--cluster", "prod", str(recorded / "security.log")]
    with monkeypatch.context() as patched:
        patched.setattr(SealerProcess, "finish", killed)
        assert main(words) == 5
    told = capsys.readouterr()
    assert "not all is sealed: the process that seals ended before its time" in told.err
    count = len(items_of(recorded / "security.log"))
    assert f"{count:,} events read, {count:,} stored\n" in told.out
    assert f" sealed, {count:,} indexed\n" in told.out
    assert main(words) == 0
    assert f"the log of prod has {count:,} events, {count:,} sealed, {count:,} indexed\n" in capsys.readouterr().out


def test_what_is_sealed_already_is_counted_when_nothing_more_can_be(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The process that seals could not begin, as on a full disk: the heads that are there are told all the same."""
    data = tmp_path / "data"
    words = ["import", "--data", str(data), "--cluster", "prod", str(recorded / "security.log")]
    assert main(words) == 0
    (DataDir(data).log_path("prod") / "tiles/settled").write_text("x")
    capsys.readouterr()
    assert main(words) == 3
    told = capsys.readouterr()
    count = len(items_of(recorded / "security.log"))
    assert f"the log of prod has {count:,} events, {count:,} sealed, " in told.out
    assert "not all is sealed: DamagedError: tiles/settled is not a size" in told.err


@pytest.mark.parametrize("damage", [lambda file: file.write_bytes(b"x" * 500), Path.unlink])
def test_a_damaged_index_is_told_with_the_way_out(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage
) -> None:
    """It is by the index that an import knows what is stored; made again, the import goes on."""
    data = tmp_path / "data"
    words = ["import", "--data", str(data), "--cluster", "prod", str(recorded / "security.log")]
    assert main(words) == 0
    for file in list(data.rglob("*.parquet")):
        damage(file)
    words[-1] = str(recorded / "metadata.log")
    assert main(words) == 5
    told = capsys.readouterr().err
    assert "the index of prod, by which it is known what is stored, cannot be read" in told
    assert "rebuild --index" in told
    assert main(["rebuild", "--index", "--data", str(data)]) == 0
    assert main(words) == 0
    assert " 0 stored, " in capsys.readouterr().out


def test_what_a_killed_import_left_at_work_is_waited_for(recorded: Path, tmp_path: Path) -> None:
    """Whoever still makes the index of a log that nobody writes to ends by itself; then the import goes on."""
    data = tmp_path / "data"
    _run(data, recorded / "security.log")
    with DataDir(data).look("prod") as root, root.look("index") as index:
        held = index.lock("lock")
        threading.Timer(0.5, held.close).start()
        begun = time.monotonic()
        assert _run(data, recorded / "security.log").counts.stored == 0
        assert time.monotonic() - begun >= 0.5


def test_a_second_writer_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """While another process has the log, nothing is stored and the reason is said."""
    data = tmp_path / "data"
    (tmp_path / "audit.log").write_bytes(
        b'{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"1","stage":"Panic"}\n'
    )
    with Ingest(DataDir(data), KeyDir(default_keys(data)), "prod", "tail"):
        assert main(["import", "--data", str(data), "--cluster", "prod", str(tmp_path / "audit.log")]) == 5
    told = capsys.readouterr().err
    assert "another process writes to the log of prod" in told
    assert "clusters[].logs" in told, "there is a way beside a running server"


@pytest.mark.parametrize("command", [["import"], ["tail", "--once"]])
def test_the_wrong_place_of_keys_is_refused(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    """Nothing is stored, nor signed by a key that none of those who verify the log knows."""
    data, keys = tmp_path / "data", tmp_path / "elsewhere" / "keys"
    words = ["--data", str(data), "--cluster", "prod"]
    assert main(["import", *words, "--keys", str(keys), str(recorded / "security.log")]) == 0
    heads = {one.name for one in (DataDir(data).log_path("prod") / "heads").iterdir()}
    capsys.readouterr()
    assert main([*command, *words, str(recorded / "metadata.log")]) == 2
    told = capsys.readouterr().err
    assert f"{default_keys(data)}: no key of prod is there, and heads of its log were signed; --keys DIR" in told
    assert not default_keys(data).exists()
    assert {one.name for one in (DataDir(data).log_path("prod") / "heads").iterdir()} == heads
    assert main(["verify", "--data", str(data), "--keys", str(keys)]) == 0


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--cluster", "prod"], "no data directory"),
        (["--data", "x"], "no cluster"),
        (["--data", "x", "--cluster", "_operator"], "names that begin with _"),
        (["--data", __file__, "--cluster", "prod"], "is not a directory"),
        (["--data", "x", "--keys", __file__, "--cluster", "prod"], "is not a directory"),
    ],
)
def test_what_must_be_named(
    words: list[str], why: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a place or a cluster nothing is begun."""
    monkeypatch.delenv("KUBEWITNESS_DATA", raising=False)
    monkeypatch.delenv("KUBEWITNESS_CLUSTER", raising=False)
    assert main(["import", *words, "audit.log"]) == 2
    assert why in capsys.readouterr().err


def test_places_are_cut_out_over_chunks() -> None:
    """Wherever the stream is cut, the bytes of each place are whole; one at the end may be short."""
    data = bytes(range(100))
    spans = [(0, 3, "a"), (10, 20, "b"), (30, 1, "c"), (95, 10, "d")]
    for size in (1, 7, 20, 100):
        chunks = (data[at : at + size] for at in range(0, 100, size))
        assert [odd.raw for odd in cut_out(chunks, spans)] == [data[:3], data[10:30], data[30:31], data[95:]]


def test_records_keep_their_order(tmp_path: Path) -> None:
    """Events of two dialects from one file are stored in the order of the file."""
    lines = [b'{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"%d","stage":"Panic"}\n' % n for n in range(5)]
    with Ingest(DataDir(tmp_path), KeyDir(default_keys(tmp_path)), "prod", "import") as ingest:
        for found in read_all(lines, "x"):
            assert isinstance(found, Record)
            ingest.add(found, "x")
        assert ingest.wait() == 5
    assert [raw for raw, _ in _stored(tmp_path)] == [line[:-1] for line in lines]
