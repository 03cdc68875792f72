"""Where a log is incomplete: each kind of gap is found, and a whole log has none."""

import csv
import io
import json
from pathlib import Path

import pytest

from kubewitness.assembly.operatorlog import entry
from kubewitness.cli.main import main
from tests.assembly.serving import recorded_items
from tests.look.query.stored import fill, index
from tools.run_docs import workplace


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recorded logs."""
    directory = tmp_path_factory.mktemp("gaps")
    workplace(directory)
    return directory


def _event(number: int, second: float, stage: str = "ResponseComplete", **members: object) -> bytes:
    time = f"2026-01-01T{int(second) // 3600:02}:{int(second) // 60 % 60:02}:{second % 60:09.6f}Z"
    event = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": f"id-{number}",
        "stage": stage,
        "requestURI": "/api",
        "verb": "get",
        "user": {"username": "eve"},
        "requestReceivedTimestamp": time,
        "stageTimestamp": time,
    }
    return json.dumps({**event, **members}).encode()


def _gaps(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, str]]:
    code = main(["gaps", "-o", "csv", *words])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert code == (4 if rows else 0)
    return rows


def _log(path: Path, *events: bytes) -> str:
    path.write_bytes(b"\n".join((*events, b"")))
    return str(path)


def test_a_whole_log_has_no_gaps(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The recorded log is complete, and that is said with the number of Events."""
    assert main(["gaps", str(place / "full.log")]) == 0
    told = capsys.readouterr()
    assert told.out.strip() in ("", "(none)") or "KIND" not in told.out
    assert "no gap found in 4,842 events" in told.err


def test_the_webhook_lost_the_ends_of_watches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the store alone, which holds what the webhook sent: 27 answers have no end."""
    fill(tmp_path, "prod", recorded_items(), source="webhook:x")
    rows = _gaps(capsys, "--data", str(tmp_path))
    assert [(row["kind"], row["count"]) for row in rows if row["kind"] == "unfinished"] == [("unfinished", "27")]


def test_silence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A source that says nothing for longer than the threshold is named, with from and to; also one that stopped."""
    one = _log(tmp_path / "one.log", *(_event(n, second) for n, second in enumerate((0, 60, 1000, 1060))))
    two = _log(tmp_path / "two.log", *(_event(100 + n, n * 30) for n in range(10)))
    rows = _gaps(capsys, one, two)
    assert [(row["kind"], row["first"][11:19], row["last"][11:19], row["source"]) for row in rows] == [
        ("silence", "00:01:00", "00:16:40", one),
        ("silence", "00:04:30", "00:17:40", two),
    ]
    assert _gaps(capsys, one, two, "--silence", "1h") == []


@pytest.mark.parametrize("rotated", ["audit-2026-01-01T00-05-00.000.log", "audit.log.1", "audit.log-20260101"])
def test_rotated_files_are_one_source(tmp_path: Path, rotated: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A rotated file that ends is no silence; what lies between it and the next file is."""
    _log(tmp_path / rotated, *(_event(n, n * 60) for n in range(5)))
    _log(tmp_path / "audit.log", *(_event(10 + n, 300 + n * 60) for n in range(20)))
    assert _gaps(capsys, str(tmp_path)) == []
    _log(tmp_path / "audit.log", *(_event(10 + n, 900 + n * 60) for n in range(20)))
    [row] = _gaps(capsys, str(tmp_path))
    assert (row["kind"], row["first"][11:19], row["last"][11:19]) == ("silence", "00:04:00", "00:15:00")


def test_missing_stages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Requests without an answer, and answers without a request among kinds that have one."""
    both = [_event(n, n, stage) for n in range(100) for stage in ("RequestReceived", "ResponseComplete")]
    log = _log(tmp_path / "audit.log", *both, _event(200, 5, "RequestReceived"), _event(201, 6))
    rows = _gaps(capsys, log, "--silence", "1h")
    assert [(row["kind"], row["count"], row["first"][11:19]) for row in rows] == [
        ("unfinished", "1", "00:00:05"),
        ("unannounced", "1", "00:00:06"),
    ]


def test_an_audit_id_that_stands_for_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same auditID and stage with other content is shown; escape sequences in it do no harm."""
    log = _log(
        tmp_path / "audit.log",
        _event(1, 1, auditID="\x1b[31mx"),
        _event(1, 2, auditID="\x1b[31mx", requestURI="/other"),
    )
    [row] = _gaps(capsys, log)
    assert row["kind"] == "auditID"
    assert row["count"] == "2"
    assert main(["gaps", log]) == 4
    assert "\x1b" not in capsys.readouterr().out


def test_a_copy_is_no_second_content(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same Event from a log and from a webhook's body stands for one thing; where a third differs, for two."""
    item = json.loads(_event(1, 1, requestObject={"a": 1}))
    log = _log(tmp_path / "audit.log", json.dumps(item).encode())
    body = tmp_path / "body.json"
    del item["kind"], item["apiVersion"]
    body.write_text(json.dumps({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": [item]}))
    assert _gaps(capsys, log, log, str(body)) == []
    altered = _log(tmp_path / "altered.log", _event(1, 1, requestObject={"a": 2}))
    [row] = _gaps(capsys, log, str(body), altered)
    assert (row["count"], row["what"]) == ("3", "auditID id-1 at ResponseComplete has 2 different contents")


def test_clocks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A clock that was set back, stages before their request, and Events from the future of the store."""
    before, after = [_event(n, 5000 + n) for n in range(300)], [_event(1000 + n, 1000 + n) for n in range(300)]
    rows = _gaps(capsys, _log(tmp_path / "back.log", *before, *after), "--silence", "2h")
    assert [row["kind"] for row in rows] == ["clock"]
    assert "set back" in rows[0]["what"]
    odd = _event(1, 100, stageTimestamp="2026-01-01T00:01:30.000000Z")
    [row] = _gaps(capsys, _log(tmp_path / "odd.log", odd), "--silence", "2h")
    assert "before their request, by up to 10000 ms" in row["what"]
    fill(tmp_path / "data", "prod", [_event(1, 1, stageTimestamp="2999-01-01T00:00:00.000000Z")])
    assert any("after they were received" in row["what"] for row in _gaps(capsys, "--data", str(tmp_path / "data")))


def test_when_the_receiver_was_down(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The operator log tells of stops, of a death without a word, and of times when nothing could be stored."""
    fill(tmp_path, "prod", [_event(1, 1)])
    second = 1_000_000_000
    verbs = [
        ("start", 0),
        ("stop", 100),
        ("start", 160),
        ("refuse", 200),
        ("resume", 230),
        ("start", 900),
        ("stop", 950),
    ]
    entries = [entry(verb, {}, 1_767_225_600 * second + at * second, f"op-{at}") for verb, at in verbs]
    fill(tmp_path, "_operator", entries, source="operator")
    index(tmp_path, "_operator")
    rows = [row for row in _gaps(capsys, "--data", str(tmp_path)) if row["kind"] == "receiver"]
    assert [(row["first"][14:19], row["last"][14:19] if row["last"] else "", row["what"][:26]) for row in rows] == [
        ("01:40", "02:40", "the receiver was stopped"),
        ("02:40", "15:00", "the receiver ended without"),
        ("03:20", "03:50", "the receiver could store n"),
        ("15:50", "", "the receiver was stopped"),
    ]


def test_quarantine_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bytes that were sent and are no Events are a gap too."""
    log = _log(tmp_path / "audit.log", _event(1, 1), b"alien")
    assert main(["import", "--data", str(tmp_path / "data"), "--cluster", "prod", log]) == 4
    capsys.readouterr()
    [row] = _gaps(capsys, "--data", str(tmp_path / "data"))
    assert (row["kind"], row["source"], row["count"]) == ("quarantine", "prod", "1")


@pytest.mark.parametrize("words", [["--silence", "soon"], ["--clock", ""]])
def test_lengths_of_time(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is no length of time is a usage error."""
    assert main(["gaps", _log(tmp_path / "audit.log", _event(1, 1)), *words]) == 2
    assert "not a length of time" in capsys.readouterr().err
