"""Commands over stores: what only a store adds to what they do over files."""

import csv
import io
import itertools
import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kubewitness.cli.main import main
from tests.look.query.stored import fill, index, items_of
from tools.run_docs import workplace

PROGRAM = [sys.executable, "-c", "import sys; from kubewitness.cli.main import main; sys.exit(main())"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recorded log, and a store of it, half of it in the index."""
    directory = tmp_path_factory.mktemp("stored")
    workplace(directory)
    end = fill(directory / "data", "prod", items_of(directory / "metadata.log"))
    index(directory / "data", "prod", end // 2)
    return directory


@pytest.mark.parametrize(
    "words",
    [
        ["top", "--by", "user"],
        ["top", "--by", "objectRef.resource", "--stages", "all"],
        ["stats"],
        ["timeline", "--user", "attacker"],
        ["who", "deleted", "secrets/important", "-n", "production"],
        ["search", "--code", "403", "--columns", "time,user,object", "--limit", "5"],
        ["search", "--user", "attacker", "-o", "jsonl"],
        ["search", "--user", "attacker", "-o", "json", "--limit", "2"],
        ["search", "--user", "nobody-at-all"],
        ["search", "--where", "requestObject IS NOT NULL"],
        ["search", "--where", "requestObject ->> '$.kind' = 'Pod'", "--count"],
        ["sql", "SELECT verb, count(*) AS n FROM requests GROUP BY ALL ORDER BY n DESC, verb"],
        ["sql", "DESCRIBE events"],
    ],
)
def test_every_command_answers_as_over_the_file(
    place: Path, words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Standard output and exit code are those of the file."""
    monkeypatch.chdir(place)
    answers = []
    for source in (["metadata.log"], ["--data", "data"]):
        answers.append((main([*words, *source]), capsys.readouterr().out))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("output", ["json", "csv"])
def test_who_tells_the_place_in_the_log(
    place: Path, output: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row of a store carries the index by which it is proved: that of the Event with its auditID."""
    monkeypatch.chdir(place)
    question = ["who", "touched", "secrets/important", "-n", "production", "-o", output]
    assert main([*question, "--data", "data"]) == 0
    out = capsys.readouterr().out
    found = json.loads(out) if output == "json" else list(csv.DictReader(io.StringIO(out)))
    assert found
    for row in found:
        index = row["log.index"]
        assert (
            main(["sql", f"SELECT audit_id FROM events WHERE log_index = {index}", "-o", "csv", "--data", "data"]) == 0
        )
        assert capsys.readouterr().out.split()[1] == row["auditID"]
    assert main([*question, "metadata.log"]) == 0
    assert "log.index" not in capsys.readouterr().out


def test_the_variable_names_a_store(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """KUBEWITNESS_DATA is asked where nothing else is named."""
    monkeypatch.setenv("KUBEWITNESS_DATA", str(place / "data"))
    assert main(["search", "--count"]) == 0
    assert capsys.readouterr().out == "2222\n"


def test_rows_carry_their_index(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The wide and the data formats have cluster and log index; files have neither."""
    source = ["--data", str(place / "data")]
    assert main(["search", "--user", "attacker", "--action", "exec", "-o", "csv", *source]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    stored = items_of(place / "metadata.log")
    assert rows
    assert all(json.loads(stored[int(row["log.index"])])["auditID"] == row["auditID"] for row in rows)
    assert {row["cluster"] for row in rows} == {"prod"}
    assert main(["search", "--user", "attacker", "-o", "wide", *source]) == 0
    assert capsys.readouterr().out.split("\n")[0].endswith("CLUSTER  INDEX")
    assert main(["search", "--user", "attacker", "-o", "wide", str(place / "metadata.log")]) == 0
    assert "INDEX" not in capsys.readouterr().out


def test_what_is_no_store_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A directory without a log, and a cluster that is not there, are usage errors."""
    assert main(["search", "--data", str(tmp_path)]) == 2
    assert "no store is there" in capsys.readouterr().err
    fill(tmp_path, "prod", [b'{"stage":"Panic"}'])
    assert main(["search", "--data", str(tmp_path), "--cluster", "dev"]) == 2
    assert "has no log of cluster 'dev'; it has 'prod'" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("jq") is None, reason="there is no jq")
def test_an_indexed_event_whose_segment_is_damaged(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where its bytes are wanted it is no fault of ours, and no answer either: the evidence does not verify."""
    shutil.copytree(place / "data", tmp_path / "data")
    [segment] = (tmp_path / "data").glob("logs/*/segments/*.zst")
    segment.write_bytes(bytes(segment.stat().st_size))
    for words in (["-o", "jsonl"], ["-o", "yaml"]):
        assert main(["search", "--data", str(tmp_path / "data"), *words]) == 3
        said = capsys.readouterr().err
        assert "cannot be read; `verify` says what is damaged" in said
        assert "fault" not in said


def test_an_index_that_is_not_whole(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its file is named, and what makes it again."""
    shutil.copytree(place / "data", tmp_path / "data")
    files = list((tmp_path / "data").rglob("*.parquet"))
    for file in files:
        file.write_bytes(b"")
    assert main(["search", "--count", "--data", str(tmp_path / "data")]) == 2
    assert "`rebuild --index` makes" in capsys.readouterr().err
    for file in files:
        file.unlink()
    assert main(["search", "--count", "--data", str(tmp_path / "data")]) == 2
    assert ".parquet is not there; `rebuild --index` makes" in capsys.readouterr().err


def test_jq_reads_a_store(place: Path) -> None:
    """What jq prints of the file it prints of the store."""
    program = 'select(.objectRef.subresource == "exec") | .auditID'
    outputs = [
        subprocess.run([*PROGRAM, "jq", *words], capture_output=True, check=True).stdout
        for words in (["-r", program, str(place / "metadata.log")], ["--data", str(place / "data"), "-r", program])
    ]
    assert outputs[0] == outputs[1] != b""


def test_following_a_store(tmp_path: Path) -> None:
    """What is stored from now on is shown, each once and with its index; what was there is not."""
    line = b'{"stage":"%s","level":"Metadata","auditID":"%d","verb":"get","user":{"username":"eve"}}'
    fill(tmp_path, "prod", [line % (b"ResponseComplete", 0)])
    words = ["search", "--data", str(tmp_path), "--user", "eve", "--follow", "--columns", "auditID,index,cluster"]
    with subprocess.Popen([*PROGRAM, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        shown: list[list[str]] = []
        reader = threading.Thread(target=lambda: shown.extend(text.split() for text in process.stdout or ()))
        reader.start()
        end = time.monotonic() + 60
        try:
            for number in itertools.count(1):  # when it begins to look nobody tells
                fill(tmp_path, "prod", [line % (b"RequestReceived", number), line % (b"ResponseComplete", number)])
                if len(shown) > 3:
                    break
                assert time.monotonic() < end, shown
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            reader.join()
        finally:
            process.kill()
    head, *rows = shown
    first = int(rows[0][0])
    assert head == ["auditID", "INDEX", "cluster"]
    assert first > 0
    assert rows == [[str(n), str(2 * n), "prod"] for n in range(first, first + len(rows))]
