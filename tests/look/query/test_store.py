"""Questions of stores: what the file answers the store answers, wherever its Events lie."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kubewitness.keep.seal.leaf import Kept
from kubewitness.keep.seal.leaf_cut import Group, State
from kubewitness.keep.store.layout import DataDir
from kubewitness.keep.store.log import Arrival, Batch, ClusterLog
from kubewitness.look.query.lockdown import QueryError
from kubewitness.look.query.relation_names import COLUMNS
from kubewitness.look.query.run import open_events
from kubewitness.look.query.source import SourceError
from kubewitness.look.query.store import open_store
from tests.look.query.stored import KEY, fill, index, items_of
from tools.run_docs import workplace

if TYPE_CHECKING:
    from collections.abc import Iterator

ENVELOPE = {"cluster", "source", "log_index", "log_time"}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recorded log, and stores of it: in no index, in half of one, in a whole one."""
    place = tmp_path_factory.mktemp("recorded")
    workplace(place)
    events = items_of(place / "full.log")
    for name, share in (("tail", 0), ("half", 2), ("whole", 1)):
        end = fill(place / name, "prod", events)
        if share:
            index(place / name, "prod", end // share)
    return place


def _ask(place: Path, source: str, sql: str, **how: object) -> tuple[list[tuple[object, ...]], object]:
    opened = open_events([str(place / source)]) if source.endswith(".log") else open_store(str(place / source))
    with opened as events, closing(events.query(sql, **how)) as answer:  # type: ignore[arg-type]
        return list(answer), (answer.account.events, answer.account.unknown, answer.account.damaged)


_OF_FILE: dict[str, object] = {}
"""What the file answers, which is asked once."""
_LATER = "received >= TIMESTAMP '2026-11-23 03:06:00'"
QUESTIONS = (
    ("SELECT verb, count(*) FROM events GROUP BY ALL ORDER BY ALL", {"stages": "all"}),
    ("SELECT verb, count(*) FROM events GROUP BY ALL ORDER BY ALL", {}),
    ("SELECT audit_id, stage, code FROM events ORDER BY received, stage_time, _row", {"where": "code >= 400"}),
    ("SELECT audit_id, stage FROM events ORDER BY ALL", {"where": "stage <> 'ResponseComplete'"}),
    ("SELECT audit_id, name FROM events ORDER BY ALL", {"where": "name IS NULL AND verb = 'create'"}),
    ("SELECT count(*) FROM requests", {"stages": "all"}),
    ("SELECT count(*) FROM requests", {"stages": "all", "where": "verb = 'watch'"}),
    ("SELECT objectRef.name FROM events ORDER BY ALL", {"where": "objectRef.resource = 'secrets'"}),
    ("SELECT count(*) FROM events", {"where": "code = 200", "unknown": "code IS NULL"}),
    ("SELECT count(*) FROM events", {"where": "code = 200", "unknown": "code IS NULL", "stages": "all"}),
    ("SELECT 1 FROM events WHERE FALSE", {"stages": "all"}),
    ("SELECT verb, stage, count(*) FROM events GROUP BY ALL ORDER BY ALL", {"where": _LATER}),
    ("SELECT verb, stage, count(*) FROM requests GROUP BY ALL ORDER BY ALL", {"where": _LATER, "stages": "all"}),
    ("SELECT count(*), (SELECT count(*) FROM requests) FROM events", {"stages": "all"}),
    ("SELECT audit_id, stage FROM events ORDER BY received, stage_time, _row", {}),
    ("SELECT audit_id FROM events LIMIT 7", {}),
)


@pytest.mark.parametrize("store", ["tail", "half", "whole"])
@pytest.mark.parametrize(("sql", "how"), QUESTIONS)
def test_the_store_answers_as_the_file(recorded: Path, store: str, sql: str, how: dict[str, object]) -> None:
    """Rows, how many were read and how many are unknown are the same."""
    question = repr((sql, how))
    if question not in _OF_FILE:
        _OF_FILE[question] = _ask(recorded, "full.log", sql, **how)
    assert _ask(recorded, store, sql, **how) == _OF_FILE[question]


@pytest.mark.parametrize("store", ["tail", "half", "whole"])
def test_every_column_is_that_of_the_file(recorded: Path, store: str) -> None:
    """All columns of all Events, derived ones and bodies included; the envelope tells of the store."""
    names = ", ".join(f'"{name}"' for name in COLUMNS if name not in ENVELOPE)
    sql = f"SELECT {names} FROM events ORDER BY received, stage_time, _row"
    ours, theirs = (_ask(recorded, source, sql, stages="all")[0] for source in (store, "full.log"))
    assert len(ours) == 4842
    assert ours == theirs
    [row] = _ask(
        recorded,
        store,
        "SELECT count(DISTINCT log_index), min(log.index), max(log_index), any_value(cluster), any_value(source), "
        "min(log_time)::VARCHAR FROM events",
        stages="all",
    )[0]
    assert row == (4842, 0, 4841, "prod", "import:audit.log", "2026-11-23 03:05:09")


@pytest.mark.parametrize("store", ["tail", "half", "whole"])
def test_exact_bytes(recorded: Path, store: str) -> None:
    """The bytes of a row are those that were stored, in the order of the rows."""
    expected = items_of(recorded / "full.log")
    with open_store(str(recorded / store)) as events:
        sql = "SELECT _row, log_index FROM events ORDER BY request_uri, log_index"
        with closing(events.query(sql, where="verb = 'create'", keeps_bytes=True)) as answer:
            rows = list(answer)
            assert len(rows) > 400
            raw = list(answer.exact_bytes([row for row, _ in rows]))
    assert raw == [expected[at] for _, at in rows]


def test_what_is_acknowledged_is_found_at_once(tmp_path: Path) -> None:
    """A question sees Events that were stored after the store was opened for asking."""
    line = b'{"stage":"ResponseComplete","level":"Metadata","auditID":"%d","verb":"get"}'
    fill(tmp_path, "prod", [line % 1])
    index(tmp_path, "prod")
    with open_store(str(tmp_path)) as events:
        assert list(events.query("SELECT count(*) FROM events")) == [(1,)]
        fill(tmp_path, "prod", [line % 2])
        assert list(events.query("SELECT audit_id, log_index FROM events ORDER BY ALL")) == [("1", 0), ("2", 1)]
        index(tmp_path, "prod")
        assert list(events.query("SELECT audit_id, log_index FROM events ORDER BY ALL")) == [("1", 0), ("2", 1)]


def test_clusters_are_told_apart(tmp_path: Path) -> None:
    """Requests of two clusters are two, whatever they have in common; one cluster may be asked alone."""
    line = b'{"stage":"ResponseComplete","auditID":"a","verb":"get"}'
    for cluster in ("one", "two"):
        fill(tmp_path, cluster, [line])
    index(tmp_path, "two")
    with open_store(str(tmp_path)) as events:
        answer = events.query("SELECT cluster, log_index, _row FROM events ORDER BY cluster", keeps_bytes=True)
        rows = list(answer)
        assert [row[:2] for row in rows] == [("one", 0), ("two", 0)]
        assert list(answer.exact_bytes([row for *_, row in rows])) == [line, line]
        answer.close()
    with open_store(str(tmp_path), "two") as events:
        assert list(events.query("SELECT cluster FROM events")) == [("two",)]
    with pytest.raises(SourceError, match="no log of cluster 'three'; it has 'one', 'two'"):
        open_store(str(tmp_path), "three")
    with pytest.raises(SourceError, match="no store is there"):
        open_store(str(tmp_path / "logs"))


def test_late_events_and_times_that_nobody_can_know(tmp_path: Path) -> None:
    """An Event of an hour long gone, of no hour, and of too many hours, each is found."""
    line = '{"stage":"ResponseComplete","auditID":"%s","verb":"get"%s}'
    times = ["", *(f',"requestReceivedTimestamp":"{year}-01-01T00:00:00.000000Z"' for year in range(1900, 2000))]
    fill(tmp_path, "prod", [(line % (n, time)).encode() for n, time in enumerate(times)])
    maker = index(tmp_path, "prod")
    assert len(maker.manifest.files) <= 65
    with open_store(str(tmp_path)) as events:
        sql = "SELECT count(*), count(received), min(received)::VARCHAR FROM events"
        assert list(events.query(sql)) == [(101, 100, "1900-01-01 00:00:00")]


def _stage(stage: str, code: int | None, audit_id: str = "a") -> bytes:
    status = f',"responseStatus":{{"code":{code}}}' if code else ""
    return f'{{"stage":"{stage}","auditID":"{audit_id}","verb":"get","requestURI":"/x"{status}}}'.encode()


@pytest.mark.parametrize("indexed", [0, 1, 2])
def test_stages_are_joined_over_files(tmp_path: Path, indexed: int) -> None:
    """The latest stage counts, also where the earlier one is in another file of the index, or newer than it."""
    fill(tmp_path, "prod", [_stage("RequestReceived", None), _stage("ResponseStarted", 200)])
    if indexed:
        index(tmp_path, "prod")
    fill(tmp_path, "prod", [_stage("ResponseComplete", 500)])
    if indexed == 2:
        index(tmp_path, "prod")
    with open_store(str(tmp_path)) as events:
        assert list(events.query("SELECT stage FROM events")) == [("ResponseComplete",)]
        assert list(events.query("SELECT stage FROM events", where="code = 200")) == []
        assert list(events.query("SELECT stage FROM events", where="code = 500")) == [("ResponseComplete",)]
        assert list(events.query("SELECT count(*) FROM events", stages="all")) == [(3,)]


def _blanked(groups: dict[Group, State]) -> Arrival:
    from kubewitness.keep.seal.leaf import Removed
    from kubewitness.keep.seal.leaf_cut import blank

    raw = (
        b'{"stage":"ResponseComplete","level":"Request","auditID":"b","verb":"create","requestURI":"/x?secret=1",'
        b'"user":{"username":"eve"},"objectRef":{"resource":"pods"},"requestObject":{"a":1},"responseStatus":{"code":201}}'
    )
    line = blank(raw, groups)
    return Arrival(Kept(line, {group: Removed(state, bytes(32)) for group, state in groups.items()}), bytes(16))


@pytest.mark.parametrize("is_indexed", [False, True])
def test_what_was_removed_is_unknown(tmp_path: Path, is_indexed: bool) -> None:
    """A member that was blanked is not absent: a question about it is unknown, any other is answered."""
    root, _ = DataDir(tmp_path).enter("prod")
    with root, closing(ClusterLog(root, KEY)) as log:
        kept = _blanked({Group.USER: State.REDACTED, Group.QUERY: State.DROPPED})
        log.commit([Batch(1, "webhook:x", [kept])])
    if is_indexed:
        index(tmp_path, "prod")
    with open_store(str(tmp_path)) as events:
        sql = "SELECT redacted, username, request_uri, code, resource FROM events"
        [row] = list(events.query(sql))
        assert row == (["impersonatedUser", "requestURI", "user"], None, None, 201, "pods")
        account = events.query("SELECT 1 FROM events").account
        assert account.files[0].dialects["with members removed"] == 1


def test_odd_events_have_a_row_or_a_reason(tmp_path: Path) -> None:
    """What the engine cannot read goes the tolerant way; what is no Event at all is damage with its index."""
    odd = [
        b'{"stage":"ResponseComplete","auditID":"1","responseStatus":{"code":"403"}}',
        b'{"stage":"ResponseComplete","auditID":"2","user":"nobody"}',
        b'{"stage":\n"ResponseComplete",\n"auditID":"3"}',
        b'{"stage":"ResponseComplete","auditID":"4","requestObject":' + b"[" * 3000 + b"]" * 3000 + b"}",
        b'{"stage":"ResponseComplete","auditID":"\xff"}',
    ]
    fill(tmp_path, "prod", odd)
    for _ in range(2):
        with open_store(str(tmp_path)) as events:
            answer = events.query("SELECT audit_id, code, log_index FROM events ORDER BY log_index")
            assert list(answer) == [("1", 403, 0), ("3", None, 2), ("4", None, 3), ("�", None, 4)]
            assert answer.account.damaged == 1
            assert "Event 1" in answer.account.damage[0].source
            answer.close()
        index(tmp_path, "prod")


def test_time_passes_over_files(tmp_path: Path) -> None:
    """Files of other hours are not opened, and the answer is the same."""
    from kubewitness.look.query.syntax import filter_of

    line = '{"stage":"ResponseComplete","auditID":"%d","requestReceivedTimestamp":"2026-01-01T%02d:00:00.000000Z"}'
    fill(tmp_path, "prod", [(line % (hour, hour)).encode() for hour in range(10)])
    maker = index(tmp_path, "prod")
    for entry in maker.manifest.files:
        if "hour=05" not in entry.path:
            next(tmp_path.rglob(f"index/{entry.path}")).write_bytes(b"no parquet at all")
    wanted = filter_of({}, since="2026-01-01T05:00:00Z", until="2026-01-01T05:30:00Z")
    from kubewitness.look.query import sql

    with open_store(str(tmp_path)) as events:
        answer = events.query("SELECT audit_id FROM events", where=sql.where(wanted), filter_=wanted)
        assert list(answer) == [("5",)]
        answer.close()
        with pytest.raises(QueryError):
            events.query("SELECT audit_id FROM events")


def test_a_file_that_was_merged_away_is_looked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question that met a file going asks again, with the manifest as it is by then."""
    line = b'{"stage":"ResponseComplete","auditID":"%d"}'
    fill(tmp_path, "prod", [line % 1])
    old = index(tmp_path, "prod").manifest
    fill(tmp_path, "prod", [line % 2])
    new = index(tmp_path, "prod").manifest
    next(tmp_path.rglob(f"index/{new.files[1].path}")).rename(tmp_path / "kept.parquet")
    answers: Iterator[object] = iter([new, old])
    monkeypatch.setattr("kubewitness.look.query.store.read_manifest", lambda *_: next(answers))
    shelf_input = "kubewitness.look.query.store._input"
    from kubewitness._kit.opening import Compression
    from kubewitness.look.query.source import Input

    monkeypatch.setattr(
        shelf_input, lambda shelf: Input("s", "/", Compression.NONE, 0, True, True, True, is_store=True)
    )
    with open_store(str(tmp_path)) as events:
        assert list(events.query("SELECT count(*) FROM events")) == [(2,)]


def test_users_sql_reads_nothing_else(recorded: Path) -> None:
    """SQL of a user cannot open the files of the store, or any other."""
    with open_store(str(recorded / "whole")) as events:
        for sql in ("SELECT * FROM read_csv('/etc/passwd')", "COPY events TO '/tmp/x.csv'", "SET threads = 1"):
            with pytest.raises(QueryError):
                events.query(sql)


def test_a_stranger_reads_the_index(recorded: Path) -> None:
    """With the page on formats at hand and any reader of Parquet: the manifest, its files, and plain SQL."""
    import json

    import duckdb

    [log] = (recorded / "whole" / "logs").iterdir()
    manifest = json.loads((log / "index/manifest.json").read_text())
    assert (manifest["version"], manifest["end"]) == (1, 4842)
    files = [str(log / "index" / file["path"]) for file in manifest["files"]]
    with duckdb.connect() as engine:
        engine.execute(f"CREATE VIEW index AS FROM read_parquet({files}, hive_partitioning = false)")
        [row] = engine.execute("SELECT count(*), count(DISTINCT log_index), max(log_index) FROM index").fetchall()
        assert row == (4842, 4842, 4841)
        lines = items_of(recorded / "full.log")
        found = engine.execute(
            "SELECT log_index, audit_id, request_object::VARCHAR FROM index WHERE request_object IS NOT NULL"
        ).fetchall()
    assert len(found) > 100
    for log_index, audit_id, body in found:
        event = json.loads(lines[log_index])
        assert (event["auditID"], event["requestObject"]) == (audit_id, json.loads(body))


def test_reasons_for_what_was_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where a member was blanked, an unknown answer says so."""
    from kubewitness.cli.main import main

    root, _ = DataDir(tmp_path).enter("prod")
    with root, closing(ClusterLog(root, KEY)) as log:
        log.commit([Batch(1, "webhook:x", [_blanked({Group.USER: State.REDACTED})])])
    assert main(["search", "--data", str(tmp_path), "--user", "eve"]) == 4
    err = capsys.readouterr().err
    assert "1 request could match, but the log cannot tell" in err
    assert "user.username: redacted" in err
