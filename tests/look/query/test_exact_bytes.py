"""Exact bytes belong to the row they are asked for, whatever the condition, the stages and the packing."""

import gzip
import json
import os
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kubewitness.look.query import scan, scan_blocks, scan_bytes
from kubewitness.look.query.run import open_events
from kubewitness.look.query.scan_lines import lines_named

DATA = Path(__file__).parents[2] / "data"
EARLY_ONLY = "name IS NULL AND resource = 'configmaps' AND verb = 'create'"
"""True of early stages of requests whose latest stage has a name: the row that is shown is then another one."""
EVENT = (
    b'{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"%d","stage":"ResponseComplete",'
    b'"requestURI":"/","verb":"get","user":{"username":"a"},"requestReceivedTimestamp":"2026-01-01T00:00:00.000000Z"}\n'
)
CONDITIONS = (
    "TRUE",
    "resource = 'configmaps'",
    EARLY_ONLY,
    f"({EARLY_ONLY}) OR verb = 'deletecollection'",
    "code >= 400",
)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """One log three times: plain, .gz and .zst; the full one has a line of 2 MB and all stages."""
    place = tmp_path_factory.mktemp("packed")
    data = zstandard.ZstdDecompressor().stream_reader((DATA / "audit-full.log.zst").read_bytes()).read()
    (place / "audit.log").write_bytes(data)
    (place / "audit.log.gz").write_bytes(gzip.compress(data, 1))
    (place / "audit.log.zst").write_bytes(zstandard.compress(data, 1))
    return place


@pytest.mark.parametrize("stages", ["latest", "all"])
@pytest.mark.parametrize(
    ("name", "where"),
    [
        *(("audit.log", where) for where in CONDITIONS),
        *(("audit.log.zst", where) for where in CONDITIONS),
        ("audit.log.gz", EARLY_ONLY),  # read in blocks, as .zst is
    ],
)
def test_the_bytes_are_those_of_the_row(packed, name, where, stages):
    """auditID, stage and URI in the bytes are those that the columns say."""
    with open_events([str(packed / name)]) as events:
        answer = events.query(
            "SELECT _row, audit_id, stage, request_uri FROM events ORDER BY received DESC, _row",
            where=where,
            stages=stages,
            keeps_bytes=True,
        )
        rows = list(answer)
        raw = [json.loads(line) for line in answer.exact_bytes([row[0] for row in rows])]
    assert [(e["auditID"], e["stage"], e["requestURI"]) for e in raw] == [row[1:] for row in rows]
    if where == "TRUE":
        assert len(rows) == {"latest": 2343, "all": 4842}[stages]


def bytes_of(path, where, stages="all"):
    """Give the bytes of what matches, and the auditIDs that their columns say."""
    with open_events([str(path)]) as events:
        answer = events.query("SELECT _row, audit_id FROM events", where=where, stages=stages, keeps_bytes=True)
        rows = list(answer)
        return list(answer.exact_bytes([row for row, _ in rows])), [audit_id for _, audit_id in rows]


@pytest.mark.parametrize("name", ["audit.log", "audit.log.gz", "audit.log.zst"])
@pytest.mark.parametrize("where", CONDITIONS[1:])
def test_few_rows_are_found_without_numbering_all(packed, name, where, monkeypatch):
    """A log is not parsed twice for them: their lines are known by their auditIDs."""
    monkeypatch.setattr(scan_bytes._Finder, "_find_by_numbers", None)
    raw, audit_ids = bytes_of(packed / name, where)
    assert raw
    assert [json.loads(line)["auditID"] for line in raw] == audit_ids


@pytest.mark.parametrize("name", ["audit.log.gz", "audit.log.zst"])
@pytest.mark.parametrize("where", CONDITIONS[1:])
@pytest.mark.parametrize("stages", ["latest", "all"])
def test_what_is_packed_is_unpacked_once_for_few_rows(packed, name, where, stages, monkeypatch):
    """The lines were put aside while they were at hand; where there is no room for them, they are found again."""
    monkeypatch.setattr(scan, "_MOST_ASIDE_BYTES", 0)
    found = bytes_of(packed / name, where, stages)
    monkeypatch.undo()
    monkeypatch.setattr(scan_blocks, "_FIRST_BLOCK_BYTES", 1 << 20)
    monkeypatch.setattr(scan_bytes, "lines_named", None)
    monkeypatch.setattr(scan_bytes._Finder, "_find_by_numbers", None)
    assert bytes_of(packed / name, where, stages) == found
    assert found[0]


def test_lines_of_a_plain_file_need_no_temporary_file(packed, monkeypatch):
    """They are read where they stand, so that a read-only root will do."""
    monkeypatch.setattr(scan_bytes.tempfile, "TemporaryFile", None)
    assert bytes_of(packed / "audit.log", "code >= 400")[0]


def test_without_proc_it_is_said_what_is_missing(packed, monkeypatch):
    """The engine opens memory files by a path there; plain files it opens as they are."""
    monkeypatch.setattr(scan_blocks, "path_of", lambda fd: f"/no/proc/{fd}")
    with open_events([str(packed / "audit.log")]) as events:
        assert list(events.query("SELECT count(*) FROM events", stages="all")) == [(4842,)]
    with pytest.raises(FileNotFoundError, match="memory files"):
        bytes_of(packed / "audit.log.gz", "TRUE")


def test_of_many_lines_none_are_put_aside(packed, monkeypatch):
    """More than there is room for are not looked for while the log is read."""
    monkeypatch.setattr(scan, "_MOST_ASIDE_BYTES", 1 << 20)
    monkeypatch.setattr(scan, "lines_named", None)
    assert len(bytes_of(packed / "audit.log.gz", "TRUE")[0]) == 4842


SPELLINGS = (
    '{{"kind":"Event","auditID":"{0}","stage":"{1}","verb":"{2}"}}',
    '{{"auditID" : "{0}","stage":"{1}","verb":"{2}"}}',  # no server writes this
    '{{"auditID":"\\u0061{0}","stage":"{1}","verb":"{2}"}}',
    '{{"auditID":"{0}","stage":"{1}","verb":"{2}","requestObject":{{"auditID":"a"}}}}',
    '{{"stage":"{1}","verb":"{2}","requestObject":{{"auditID":"{0}"}}}}',
    '{{"auditID":"{0}","auditID":"ab","stage":"{1}","verb":"{2}"}}',
    '{{"auditID":["{0}"],"stage":"{1}","verb":"{2}"}}',
    '{{"auditID":"{0}","stage":"{1}","verb":5}}',
    '{{"auditID":"{0}","stage":"{1}","verb":"{2}","user":{{}}}}',
    ' {{"auditID":"{0}","stage":"{1}","verb":"{2}"}} \r',
    '{{"auditID":"{0}","stage":"{1}","verb":"{2}"',
    "",
)
LINES = st.builds(
    str.format,
    st.sampled_from(SPELLINGS),
    st.sampled_from(["a", "ab", "b", 'c\\"d', ""]),
    st.sampled_from(["ResponseComplete", "ResponseStarted", "Panic"]),
    st.sampled_from(["get", "delete"]),
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LINES, max_size=12), st.sampled_from(["latest", "all"]), st.booleans(), st.booleans())
def test_both_ways_find_the_same_bytes(tmp_path, lines, stages, is_packed, has_end):
    """However an auditID is spelled, wherever it stands, however often it comes."""
    data = "\n".join([*lines, ""] if has_end else lines).encode()
    path = tmp_path / "audit.log"
    path.write_bytes(gzip.compress(data) if is_packed else data)
    for where in ("verb = 'get'", "TRUE"):
        found = []
        for most, room in ((-1, 0), (1, 0), (1, 200), (1, 1 << 20)):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(scan_bytes, "_MOST_SHOWN", most)
                patch.setattr(scan, "_MOST_ASIDE_BYTES", room)
                found.append(bytes_of(path, where, stages))
        assert found[1:] == found[:1] * 3


@example([b'"auditID":"', b"a", b"a"], 1)  # breaks off within the auditID
@given(
    st.lists(st.sampled_from([b'"auditID":"a"', b'"auditID":"bc"', b'"auditID":"', b"a", b"\n", b'"', b"x" * 20])),
    st.integers(1, 9),
)
def test_lines_with_an_audit_id(pieces, size):
    """Each once, with its offset, wherever chunks end."""
    data = b"".join(pieces)
    expected, at = [], 0
    for line in data.split(b"\n"):
        if b'"auditID":"a"' in line or b'"auditID":"bc"' in line:
            expected.append((at, line))
        at += len(line) + 1
    chunks = [data[at : at + size] for at in range(0, len(data), size)]
    found = [(at, line.removesuffix(b"\n")) for at, line in lines_named(chunks, {b"a", b"bc"})]
    assert found == expected


@pytest.mark.parametrize("shown", [10, 1])
def test_a_log_that_grew_since_gives_the_bytes_of_what_was_asked(tmp_path, shown):
    """What was appended, a half line too, is neither shown nor in the way."""
    lines = [EVENT % n for n in range(10)]
    log = tmp_path / "audit.log"
    log.write_bytes(b"".join(lines))
    with open_events([str(log)]) as events:
        answer = events.query("SELECT _row FROM events", stages="all", keeps_bytes=True)
        rows = [row for (row,) in answer][:shown]
        with log.open("ab") as file:
            file.write(EVENT % 3 + (EVENT % 11)[:40])
        assert list(answer.exact_bytes(rows)) == [line.strip() for line in lines[:shown]]


def test_a_log_that_was_cut_short_since_is_an_error_of_the_disk(tmp_path):
    """No half line is shown as evidence."""
    log = tmp_path / "audit.log"
    log.write_bytes(b"".join(EVENT % n for n in range(10)))
    with open_events([str(log)]) as events:
        answer = events.query("SELECT _row FROM events", stages="all", keeps_bytes=True)
        rows = [row for (row,) in answer]
        os.truncate(log, 5 * len(EVENT % 1))
        with pytest.raises(OSError, match="cut short"):
            list(answer.exact_bytes(rows))


@pytest.mark.parametrize(("spelled", "is_found"), [('"auditID":"{}"', True), ('"auditID" : "{}"', False)])
def test_a_log_that_grows_while_lines_are_numbered(tmp_path, spelled, is_found, monkeypatch):
    """The rows that were read keep their own lines; where an auditID cannot tell them, no other line is shown."""
    path = tmp_path / "audit.log"
    texts = [f'{{"kind":"Event","stage":"ResponseComplete",{spelled.format(n)},"verb":"get"}}' for n in range(8)]
    path.write_text("\n".join(texts) + "\n")
    find = scan_bytes._Finder._find_by_numbers

    def grown(finder, one, wanted):
        path.write_text("\n".join(["", texts[0].replace("get", "put"), *texts]) + "\n")
        find(finder, one, wanted)

    monkeypatch.setattr(scan_bytes._Finder, "_find_by_numbers", grown)
    if is_found:
        raw, audit_ids = bytes_of(path, "verb = 'get'")
        assert [json.loads(line)["auditID"] for line in raw] == audit_ids
    else:
        with pytest.raises(OSError, match="changed while it was read"):
            bytes_of(path, "verb = 'get'")
