"""Questions over raw files: every Event is found, everything else is accounted for, stages join, bytes are exact."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubewitness.event.items import DamageKind
from kubewitness.look.query.lockdown import QueryError
from kubewitness.look.query.run import Answer, open_events
from kubewitness.look.query.store import open_store
from tests.event.damage import CASES, event, lines
from tests.look.query.stored import fill
from tests.model.latest_stage import latest

DATA = Path(__file__).parents[2] / "data"
EVERYTHING = """SELECT kind, level, audit_id, stage, request_uri, verb, username, user_uid, groups, user_extra,
 source_ips, user_agent, resource, namespace, name, code, received, stage_time, annotations, request_object,
 _row FROM events"""


Rows = list[tuple[Any, ...]]


def ask(path: Path, sql: str = "SELECT audit_id, _row FROM events", **options: Any) -> tuple[Rows, Answer]:
    """Ask one question of one file."""
    options.setdefault("stages", "all")
    with open_events([str(path)]) as events:
        answer = events.query(sql, **options)
        return list(answer), answer


def write(path: Path, data: bytes | list[bytes]) -> Path:
    """Write a file, of lines or of bytes."""
    path.write_bytes(data if isinstance(data, bytes) else b"".join(line + b"\n" for line in data))
    return path


@pytest.mark.parametrize("name", CASES)
def test_damage_cases(tmp_path: Path, name: str) -> None:
    """Each damaged file, packed or not, gives its good Events, and every other line is counted with its place."""
    data, good = CASES[name]
    rows, answer = ask(write(tmp_path / "audit.log", data), EVERYTHING)
    account = answer.account
    assert len(rows) == account.events == good
    assert account.damaged == len(account.damage) == (10 - good if good < 10 else 0)
    assert account.is_complete == (good >= 10)
    for damage in account.damage:
        assert data[damage.offset : damage.offset + len(damage.excerpt)] == damage.excerpt
        assert data[: damage.offset].count(b"\n") == damage.line - 1
    for suffix, packed in (("gz", gzip.compress(data, 1)), ("zst", zstandard.compress(data))):
        rows, answer = ask(write(tmp_path / f"audit.log.{suffix}", packed), EVERYTHING)
        assert len(rows) == good
        assert [(d.offset, d.line, d.reason) for d in answer.account.damage] == [
            (d.offset, d.line, d.reason) for d in account.damage
        ]


@pytest.mark.parametrize(
    ("members", "column", "is_good"),
    [
        ({"responseStatus": {"code": 403.5}}, "code", False),
        ({"responseStatus": "failed"}, "code", False),
        ({"verb": 5}, "verb", False),
        ({"verb": ["get"]}, "verb", False),
        ({"verb": True}, "verb", False),
        ({"level": "Meta"}, "level", False),
        ({"stage": "Done"}, "verb", False),
        ({"user": "root"}, "username", False),
        ({"user": {"username": 7}}, "username", False),
        ({"objectRef": ["pods"]}, "name", False),
        ({"objectRef": {"resource": {}}}, "resource", False),
        ({"requestReceivedTimestamp": "yesterday"}, "received", True),
        ({"user": {}}, "username", True),
        ({"objectRef": None}, "name", True),
        ({"kind": None, "apiVersion": None}, "verb", True),
        ({"objectRef": {"resource": "pods", "name": "123"}}, "name", True),
        ({"user": {"username": "true"}}, "username", True),
    ],
)
def test_a_wrong_type_in_a_column_that_is_read(
    tmp_path: Path, members: dict[str, Any], column: str, is_good: bool
) -> None:
    """A wrong type in a member that the question reads is damage, never rounded and never read as text."""
    members = {"kind": "Event", "apiVersion": "audit.k8s.io/v1"} | members
    odd = json.loads(event(5, **members))
    raw = json.dumps({key: value for key, value in odd.items() if value is not None}, separators=(",", ":"))
    path = write(tmp_path / "audit.log", "\n".join(lines(l5=raw)).encode())
    rows, answer = ask(path, f"SELECT {column} FROM events")
    assert (len(rows), answer.account.damaged) == ((10, 0) if is_good else (9, 1))


def test_text_that_looks_like_a_number_stays_text(tmp_path: Path) -> None:
    """A name of digits is text on the wire and stays what it is."""
    path = write(tmp_path / "audit.log", event(1, objectRef={"resource": "leases", "name": "007"}).encode())
    assert ask(path, "SELECT name FROM events")[0] == [("007",)]


@pytest.mark.parametrize("name", ["full", "metadata", "security"])
@pytest.mark.parametrize("packing", ["", ".zst", ".gz"])
def test_recorded_logs_agree_with_the_model(tmp_path: Path, name: str, packing: str) -> None:
    """On logs of a real kube-apiserver, requests and Events are those that a plain reading finds."""
    data = zstandard.decompress((DATA / f"audit-{name}.log.zst").read_bytes(), max_output_size=1 << 26)
    packed = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}[packing](data)
    path = write(tmp_path / f"audit.log{packing}", packed)
    rows, answer = ask(path, EVERYTHING)
    assert len(rows) == data.count(b"\n") == answer.account.lines
    assert answer.account.damaged == 0

    def refused(found: dict[str, Any]) -> bool:
        return bool(found.get("responseStatus", {}).get("code", 0) >= 400)

    expected = latest(data.splitlines(), refused)
    rows, _ = ask(path, "SELECT audit_id, stage FROM events", where="code >= 400", stages="latest")
    assert sorted(rows) == sorted((found["auditID"], found["stage"]) for found in expected)


def test_exact_bytes(tmp_path: Path) -> None:
    """The bytes of any row are those of its line, in any order asked, from any packing."""
    data = zstandard.decompress((DATA / "audit-security.log.zst").read_bytes(), max_output_size=1 << 26)
    data = b"\n" + data.replace(b"\n", b"\r\n \n", 5)
    wanted = [line.strip() for line in data.split(b"\n") if b'"verb":"delete"' in line]
    for name, packed in (("a.log", data), ("a.log.gz", gzip.compress(data)), ("a.log.zst", zstandard.compress(data))):
        with open_events([str(write(tmp_path / name, packed))]) as events:
            answer = events.query(
                "SELECT _row FROM events WHERE verb = 'delete'", where="verb LIKE 'd%'", stages="all", keeps_bytes=True
            )
            rows = [row for (row,) in answer]
            assert list(answer.exact_bytes(reversed(rows))) == wanted[::-1]
            assert list(answer.exact_bytes([])) == []


def test_exact_bytes_of_rescued_rows(tmp_path: Path) -> None:
    """An Event that needed help gives the bytes it had, not the mended ones."""
    for name in ("invalid_utf8", "bom", "eventlist_line", "sourceIPs_is_string"):
        data, _ = CASES[name]
        with open_events([str(write(tmp_path / "audit.log", data))]) as events:
            answer = events.query("SELECT _row FROM events ORDER BY _row", stages="all", keeps_bytes=True)
            found = list(answer.exact_bytes([row for (row,) in answer]))
        assert all(raw.startswith(b"{") and raw in data for raw in found)
        assert name != "bom" or answer.account.files[0].mended == 1
        assert len(set(found)) == len(found)


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01T01:00:00+01:00",
        "2026-02-28T19:00:00.0-05:00",
        "2026-03-01t00:00:00Z",
        "2026-03-01T00:00:00z",
        "2026-02-28T23:59:60Z",
        "2026-03-01T00:00:00.000000999Z",
    ],
)
def test_a_time_is_an_instant_however_it_is_written(tmp_path: Path, text: str, indent: int | None) -> None:
    """Offsets, fractions, small letters, a leap second: docs/reference/input-formats.md."""
    written = json.dumps(json.loads(event(1, requestReceivedTimestamp=text)), indent=indent)
    path = write(tmp_path / "audit.log", f"{event(0)}\n{written}\n".encode())
    rows, answer = ask(path, "SELECT audit_id FROM events WHERE received = TIMESTAMP '2026-03-01'")
    assert rows == [("id-0",), ("id-1",)]
    assert answer.account.damaged == 0


def test_a_value_spread_over_lines_in_the_middle(tmp_path: Path) -> None:
    """A pretty-printed Event among others is one Event, not lines of damage."""
    pretty = json.dumps(json.loads(event(77)), indent=1)
    path = write(tmp_path / "audit.log", "\n".join([*lines(), pretty, *lines()]).encode())
    rows, answer = ask(path)
    assert len(rows) == 21
    assert answer.account.damaged == 0


def test_damage_is_counted_once_in_blocks_and_in_place(tmp_path: Path) -> None:
    """Many bad lines among many good ones: both ways of reading count the same."""
    texts = [event(i) if i % 7 else f"{i} klog line" for i in range(30_000)]
    data = "\n".join(texts).encode()
    for name, packed in (("a.log", data), ("a.log.gz", gzip.compress(data, 1))):
        rows, answer = ask(write(tmp_path / name, packed), "SELECT count(*) FROM events")
        assert rows == [(30_000 - answer.account.damaged,)]
        assert answer.account.damaged == len(range(0, 30_000, 7))
        assert len(answer.account.damage) == 100


@pytest.mark.parametrize("packing", [gzip.compress, zstandard.compress])
def test_torn_packing(tmp_path: Path, packing: Callable[[bytes], bytes]) -> None:
    """A packed file that was cut gives what stands before the cut, and says that it is cut."""
    data = "\n".join(event(i, userAgent=f"agent {i * 7919 % 10007}") for i in range(20_000)).encode()
    packed = packing(data)
    rows, answer = ask(write(tmp_path / "audit.log.x", packed[: len(packed) * 2 // 3]), "SELECT audit_id FROM events")
    assert 1000 < len(rows) < 20_000
    assert rows == [(f"id-{i}",) for i in range(len(rows))]
    assert any(damage.kind is DamageKind.TORN for damage in answer.account.damage)
    assert not answer.account.is_complete
    for where in ("TRUE", "audit_id = 'id-7'"):
        with open_events([str(tmp_path / "audit.log.x")]) as events:
            answer = events.query("SELECT _row, audit_id FROM events", where=where, stages="all", keeps_bytes=True)
            found = list(answer)
            raw = list(answer.exact_bytes([row for row, _ in found]))
        assert [json.loads(line)["auditID"] for line in raw] == [audit_id for _, audit_id in found]
        assert len(raw) == (len(rows) if where == "TRUE" else 1)


def long_line(size: int) -> list[bytes]:
    return [
        event(1).encode(),
        event(2, requestObject={"kind": "Secret", "data": "x" * size}).encode(),
        event(3).encode(),
        b"torn {",
        event(4).encode(),
    ]


@pytest.mark.parametrize("reads_body", [False, True])
def test_a_line_of_40_mb(tmp_path: Path, reads_body: bool) -> None:
    """There is no line limit: what the engine's buffer cannot hold is read another way."""
    sql = (
        "SELECT audit_id, length(request_object::VARCHAR) FROM events" if reads_body else "SELECT audit_id FROM events"
    )
    rows, answer = ask(write(tmp_path / "audit.log", long_line(40_000_000)), sql)
    assert sorted(row[0] for row in rows) == ["id-1", "id-2", "id-3", "id-4"]
    assert answer.account.damaged == 1
    assert answer.account.damage[0].line == 4
    if reads_body:
        assert max(row[1] or 0 for row in rows) > 40_000_000


@pytest.mark.parametrize("packing", [bytes, gzip.compress, zstandard.compress])
def test_a_line_longer_than_the_small_buffers(tmp_path: Path, packing: Callable[[bytes], bytes]) -> None:
    """What the first, small buffers cannot hold is read with the usual ones, and nothing counts twice."""
    texts = [line for line in long_line(9_000_000) if line.startswith(b"{")]
    rows, answer = ask(write(tmp_path / "audit.log", packing(b"\n".join((*texts, b"")))))
    assert [row[0] for row in rows] == ["id-1", "id-2", "id-3", "id-4"]
    assert (answer.account.lines, answer.account.events, answer.account.damaged) == (4, 4, 0)


@pytest.mark.soak
def test_a_line_of_300_mb(tmp_path: Path) -> None:
    """The same with the longest line anyone has seen, plain and packed, bytes included."""
    texts = long_line(300_000_000)
    for name, packed in (("a.log", b"\n".join(texts)), ("a.log.zst", zstandard.compress(b"\n".join(texts)))):
        with open_events([str(write(tmp_path / name, packed))]) as events:
            answer = events.query("SELECT _row FROM events WHERE audit_id = 'id-2'", stages="all", keeps_bytes=True)
            rows = [row for (row,) in answer]
            assert list(answer.exact_bytes(rows)) == [texts[1]]


# --- stages of a request ----------------------------------------------------------------------------------------

STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")


@st.composite
def requests(draw: st.DrawFn) -> list[bytes]:
    """Draw the lines of some requests, with any of their stages, some twice, in any order."""
    found = []
    for number in range(draw(st.integers(0, 8))):
        same: dict[str, Any] = {
            "auditID": draw(st.sampled_from(["a", "b", f"id-{number}"])),
            "requestURI": draw(st.sampled_from(["/x", "/y"])),
            "verb": draw(st.sampled_from(["get", "watch"])),
            "requestReceivedTimestamp": f"2026-03-01T00:00:0{number}.000000Z",
        }
        for stage in draw(st.lists(st.sampled_from(STAGES), min_size=1, max_size=4)):
            code = draw(st.sampled_from([200, 404, 500]))
            found.append(json.loads(event(0)) | same | {"stage": stage, "responseStatus": {"code": code}})
    return [json.dumps(x).encode() for x in draw(st.permutations(found))]


CONDITIONS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "TRUE": lambda _: True,
    "verb = 'get'": lambda x: x["verb"] == "get",
    "code >= 400": lambda x: x["responseStatus"]["code"] >= 400,
    "stage = 'RequestReceived'": lambda x: x["stage"] == "RequestReceived",
    "stage = 'ResponseComplete' AND code = 200": lambda x: (
        x["stage"] == "ResponseComplete" and x["responseStatus"]["code"] == 200
    ),
}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=requests(), padding=st.booleans(), condition=st.sampled_from(sorted(CONDITIONS)))
def test_latest_stage_agrees_with_the_model(tmp_path: Path, texts: list[bytes], padding: bool, condition: str) -> None:
    """The condition is about the latest stage of a request, whichever way the keys were found out to be shared."""
    # the head of a file tells whether auditIDs are shared; with padding it cannot know
    distinct = [event(i, requestURI=f"/{i}").encode() for i in range(1000, 2000)] if padding else []
    path = write(tmp_path / "audit.log", [*distinct, *texts])
    rows, _ = ask(path, "SELECT audit_id, request_uri, received::VARCHAR FROM events", where=condition, stages="latest")
    expected = latest([*distinct, *texts], CONDITIONS[condition])
    assert sorted(rows) == sorted(
        (x["auditID"], x["requestURI"], x["requestReceivedTimestamp"][:19].replace("T", " ")) for x in expected
    )


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=requests())
def test_requests_is_the_latest_of_events(tmp_path: Path, texts: list[bytes]) -> None:
    """SQL over all stages finds one row for each request in `requests`, and every Event in `events`."""
    path = write(tmp_path / "audit.log", texts)
    expected = latest(texts, lambda _: True)
    assert ask(path, "SELECT count(*) FROM requests")[0] == [(len(expected),)]
    assert ask(path, "SELECT (SELECT count(*) FROM events), count(*) FROM requests")[0] == [(len(texts), len(expected))]


def test_rescued_stages_join_too(tmp_path: Path) -> None:
    """A stage that stands on a damaged-looking line supersedes an earlier one on a good line."""
    early = event(1, stage="ResponseStarted", requestURI="/w", responseStatus={"code": 200})
    late = event(1, requestURI="/w", responseStatus={"code": "500"}, sourceIPs="10.0.0.1")
    path = write(tmp_path / "audit.log", f"{early}\n{late}\n".encode())
    for where, expected in (("code = 200", []), ("code = 500", [("ResponseComplete", ["10.0.0.1"])])):
        assert ask(path, "SELECT stage, source_ips FROM events", where=where, stages="latest")[0] == expected


# --- names, sources, refusals -----------------------------------------------------------------------------------


def test_flat_and_wire_names_are_the_same_columns(tmp_path: Path) -> None:
    """A column may be called by its flat name and by its name in the log."""
    path = write(tmp_path / "audit.log", [event(1, requestURI="/a?b=c").encode()])
    sql = 'SELECT resource, objectRef.resource, requestURI, request_uri, "user".username, auditID, dialect FROM events'
    assert ask(path, sql)[0] == [("secrets", "secrets", "/a?b=c", "/a?b=c", "u1", "id-1", "kube-apiserver")]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM events WHERE TRUE OR verb = 'get'",
        "SELECT count(*) FROM requests WHERE TRUE OR \"OBJECTREF\".resource = 'x' OR requestURI = '/'",
        "SELECT count(*) FROM events WHERE TRUE OR objectRef IS NULL",
        "WITH t AS (SELECT audit_id, verb, annotations FROM events) SELECT count(audit_id) FROM t",
        "SELECT CASE WHEN TRUE THEN 1 ELSE length(verb) END FROM events",
    ],
)
def test_a_column_may_be_named_in_vain(tmp_path: Path, sql: str) -> None:
    """What the optimizer leaves out is there by its name, in a file and in a store."""
    assert ask(write(tmp_path / "audit.log", [event(1).encode()]), sql)[0] == [(1,)]
    fill(tmp_path / "data", "lab", [event(1).encode()])
    with open_store(str(tmp_path / "data")) as log:
        assert list(log.query(sql)) == [(1,)]
        assert list(log.query(sql, stages="all")) == [(1,)]


def test_star_gives_each_column_once(tmp_path: Path) -> None:
    """SELECT * gives the flat columns, not their second names."""
    rows, answer = ask(write(tmp_path / "audit.log", [event(1).encode()]), "SELECT * FROM events")
    assert answer.columns[:3] == ["kind", "level", "audit_id"]
    assert "objectRef" not in answer.columns
    assert len(rows[0]) == len(set(answer.columns))


def test_unknown_rows_are_counted(tmp_path: Path) -> None:
    """Rows whose answer is unknown are not in the relation, and are counted in the account."""
    path = write(tmp_path / "audit.log", "\n".join(lines(l5=event(5, level="Request"))).encode())
    rows, answer = ask(path, where="name = 'n1'", unknown="level = 'Request'")
    assert len(rows) == 1
    assert answer.account.unknown == 1
    assert not answer.account.is_complete


def test_several_inputs_are_one_relation(tmp_path: Path) -> None:
    """Files of different shapes and packings are read as one, each with its account."""
    names = {
        "a.log": CASES["clean"][0],
        "b.log.gz": gzip.compress(CASES["bom"][0]),
        "c.json": CASES["pretty_printed"][0],
    }
    paths = [str(write(tmp_path / name, data)) for name, data in names.items()]
    with open_events(paths) as events:
        answer = events.query("SELECT source, count(*) FROM events GROUP BY 1 ORDER BY 1", stages="all")
        assert list(answer) == [(path, 10) for path in paths]
        assert [file.events for file in answer.account.files] == [10, 10, 10]
        assert events.fraction == 1.0


def test_an_envelope_is_opened_and_named(tmp_path: Path) -> None:
    """An Event in a CloudWatch record is an Event, and its dialect says where it came from."""
    record = json.dumps({"logStreamName": "kube-apiserver-audit-1", "timestamp": 1, "message": event(3)})
    rows, answer = ask(write(tmp_path / "eks.json", record.encode()), "SELECT audit_id, dialect FROM events")
    assert rows == [("id-3", "eks")]
    assert answer.account.files[0].dialects == {"eks": 1}


@pytest.mark.parametrize(
    ("sql", "where"),
    [
        ("SELECT * FROM read_text('/etc/hostname')", "TRUE"),
        ("SELECT * FROM glob('/*')", "TRUE"),
        ("COPY (SELECT 1) TO '/tmp/kubewitness-escape'", "TRUE"),
        ("ATTACH '/tmp/kubewitness-escape'", "TRUE"),
        ("INSTALL httpfs", "TRUE"),
        ("SET enable_external_access = true", "TRUE"),
        ("CREATE TABLE x AS SELECT 1", "TRUE"),
        ("SELECT 1; SELECT 2", "TRUE"),
        ("SELECT count(*) FROM events", "verb IN (SELECT content FROM read_text('/etc/hostname'))"),
        ("SELECT count(*) FROM events", "TRUE); COPY (SELECT 1) TO '/tmp/kubewitness-escape'; SELECT (1"),
        ("SELECT nonsense FROM events", "TRUE"),
        ("SELECT", "TRUE"),
    ],
)
def test_sql_that_is_refused(tmp_path: Path, sql: str, where: str) -> None:
    """SQL reads `events` and nothing else, and writes nothing."""
    path = write(tmp_path / "audit.log", [event(1).encode()])
    with pytest.raises(QueryError):
        ask(path, sql, where=where)
    assert not Path("/tmp/kubewitness-escape").exists()


def test_a_log_cannot_name_its_own_dialect(tmp_path: Path) -> None:
    """The member by which rescued lines carry their dialect has a name that is drawn anew for each question."""
    path = write(tmp_path / "audit.log", [event(1, **{"kubewitness:": "gke", "dialect": "gke"}).encode()])
    assert ask(path, "SELECT dialect FROM events")[0] == [("kube-apiserver",)]
