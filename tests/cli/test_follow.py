"""`search --follow`: what is shown as a log grows."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kubewitness.cli.errors import UserError
from kubewitness.cli.event_rows import row_maker
from kubewitness.cli.follow import Following, appended, read_chunks
from kubewitness.event.expr import TRUE
from kubewitness.event.expr_values import Context
from kubewitness.event.fields import FIELDS
from kubewitness.look.query.syntax import filter_of


def event(number: int, stage: str = "ResponseComplete", **changes: object) -> bytes:
    """One line of a log."""
    fields: dict[str, object] = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": f"id-{number}",
        "stage": stage,
        "requestURI": f"/api/v1/pods/{number}",
        "verb": "get",
        "user": {"username": f"u{number}"},
        "objectRef": {"resource": "pods", "name": f"n{number}"},
        "requestReceivedTimestamp": f"2026-03-01T00:00:{number:02d}.000000Z",
        "stageTimestamp": f"2026-03-01T00:00:{number:02d}.000000Z",
    }
    if stage != "RequestReceived":
        fields["responseStatus"] = {"metadata": {}, "code": 200}
    return json.dumps({**fields, **changes}).encode() + b"\n"


def followed(lines: list[bytes], condition=TRUE, **settings: bool) -> tuple[list[str], Following]:
    """The ids of what is shown of these lines, and the one who followed."""
    following = Following(condition, **settings)
    records = [
        record for record, _ in following.records(read_chunks(iter(lines), "audit.log", Context()), lambda damage: None)
    ]
    return [record.event.audit_id or "" for record in records], following


def test_one_row_a_request():
    """RequestReceived is waited out; of a long request only the first answer is shown."""
    stages = ("RequestReceived", "ResponseStarted", "ResponseComplete")
    lines = [event(1, stage) for stage in stages] + [event(2)]
    assert followed(lines)[0] == ["id-1", "id-2"]
    assert len(followed(lines, all_stages=True)[0]) == 4


def test_a_reused_id_hides_nothing():
    """A client chooses the auditID: another request with the same id is another row."""
    assert followed([event(1, "ResponseStarted"), event(2, "ResponseComplete", auditID="id-1")])[0] == ["id-1", "id-1"]


def test_the_filter_and_its_unknowns():
    """What matches is shown; what could match and cannot be told is counted."""
    lines = [event(1), event(2, user={"username": "eve"}), event(3, "RequestReceived")]
    assert followed(lines, filter_of({"user": ["eve"]}))[0] == ["id-2"]
    shown, following = followed(lines, filter_of({"code": ["500"]}), all_stages=True)
    assert shown == []
    assert following.unknown == 1


def test_damage_is_told_at_once():
    """A torn line is told and counted; the next is shown."""
    told = []
    following = Following(TRUE)
    chunks = iter([event(1), b'{"kind":"Event",,\n', event(2)])
    list(following.records(read_chunks(chunks, "audit.log", Context()), told.append))
    assert following.damaged == 1
    assert told[0].line == 2


def append(path: Path, data: bytes) -> None:
    """Write to the end of a file."""
    with path.open("ab") as file:
        file.write(data)


def test_rotation_and_truncation(tmp_path):
    """Nothing is lost or doubled when the file is renamed and made anew, or cut to nothing."""
    path = tmp_path / "audit.log"
    path.write_bytes(b"one\n")

    old = tmp_path / "audit-1.log"
    steps = iter(
        [
            lambda: append(path, b"two\n"),
            lambda: append(path, b"thr"),
            lambda: path.rename(old),
            lambda: append(old, b"ee\n"),
            lambda: path.write_bytes(b"four\n"),
            lambda: None,
            lambda: os.truncate(path, 0),
            lambda: append(path, b"5\n"),
            lambda: None,
        ]
    )
    read: list[bytes] = []

    def wait(_: float) -> None:
        next(steps, stop)()

    def stop() -> None:
        raise KeyboardInterrupt

    def follow() -> None:
        for chunk in appended(path, wait):
            read.append(chunk)

    with pytest.raises(KeyboardInterrupt):
        follow()
    lines = [line for line in b"".join(read).split(b"\n") if line]
    assert lines == [b"one", b"two", b"three", b"four", b"5"]


def test_packed_files_do_not_grow(tmp_path):
    """A .gz cannot be followed, and that is said."""
    path = tmp_path / "audit.log.gz"
    path.write_bytes(b"\x1f\x8b\x08\x00")
    with pytest.raises(UserError, match="without --follow"):
        next(appended(path))


def test_every_column_can_be_followed():
    """A row can be made of every field there is."""
    raw = event(1, requestObject={"a": 1}, annotations={"k": "v"}, sourceIPs=["192.0.2.1"])
    [(record, context)] = Following(TRUE).records(
        read_chunks(iter([raw]), "s", Context(source="s")), lambda damage: None
    )
    columns = [field.column for field in FIELDS]
    row = dict(zip(columns, row_maker(columns)(record.event, context), strict=True))
    assert row["request_object"] == '{"a": 1}'
    assert row["annotations"] == {"k": "v"}
    assert row["source_peer"] == "192.0.2.1"
    assert row["received"].isoformat() == "2026-03-01T00:00:01+00:00"
    assert row["response_object"] is None


def test_rows_come_as_they_are_written(tmp_path):
    """A running --follow shows a line within a moment of its being written, and Ctrl-C ends it cleanly."""
    path = tmp_path / "audit.log"
    path.write_bytes(event(1))
    code = "import sys; from kubewitness.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "search", "--follow", "--columns", "auditID", "--no-headers", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout
        assert child.stderr
        assert child.stdout.readline() == "id-1\n"
        with path.open("ab") as log:
            log.write(event(2)[:50])
            log.flush()
            time.sleep(0.3)
            log.write(event(2)[50:])
        assert child.stdout.readline() == "id-2\n"
        child.send_signal(2)
        assert child.wait(20) == 130
        assert child.stderr.read() == ""


def test_a_pipe_ends(security_log):
    """Standard input is followed to its end; the rows are those of a search but for what is still open."""
    code = "import sys; from kubewitness.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "search", "--user", "attacker", "-w", "-o", "csv", "--no-headers"]
    with open(security_log, "rb") as log:  # noqa: PTH123
        done = subprocess.run(command, stdin=log, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.count("\n") == 156


@pytest.mark.parametrize("flags", [["--where", "TRUE"], ["--count"], ["--show-sql"]])
def test_what_does_not_go_with_follow(run, security_log, flags):
    """What needs the whole log is refused."""
    assert run("search", "-w", *flags, security_log).code == 2


def test_one_source_only(run, security_log):
    """Several files cannot be followed at once."""
    assert run("search", "-w", security_log, security_log).code == 2
