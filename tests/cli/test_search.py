"""`search` over the recorded logs."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kubewitness.cli import engine
from kubewitness.look.query.prefilter import Picker
from tests.event import damage


def test_one_row_a_request_on_80_columns(run, security_log):
    """The table fits the terminal, names the day once, and has one row a request."""
    result = run("search", "--user", "attacker", "--name", "important", security_log)
    assert result.code == 0
    assert result.err == ""
    assert result.lines[0].split() == ["2026-11-23", "USER", "ACTION", "RESOURCE", "CODE", "FROM"] or result.lines[
        0
    ].startswith("TIME")
    assert max(map(len, result.lines)) <= 80
    assert [line.split()[2] for line in result.lines[1:]] == ["get", "delete", "get", "get"]


def test_jsonl_is_the_bytes_of_the_log(run, security_log):
    """Each line of -o jsonl is a line of the log, byte for byte."""
    lines = set(Path(security_log).read_text("utf-8").split("\n"))
    result = run("search", "--user", "attacker", "-o", "jsonl", security_log)
    found = result.out.rstrip("\n").split("\n")
    assert len(found) == 156
    assert set(found) <= lines


@pytest.mark.parametrize(("stages", "expected"), [("latest", 1847), ("all", 2161)])
def test_everything_is_found(run, security_log, stages, expected):
    """Without a filter there is a row for every request, or every stage."""
    assert run("search", "--stages", stages, "--count", security_log).out == f"{expected}\n"


def test_rows_come_in_the_order_of_time(run, security_log):
    """csv has full times under the wire path, ordered."""
    rows = list(csv.DictReader(io.StringIO(run("search", "-n", "production", "-o", "csv", security_log).out)))
    times = [row["requestReceivedTimestamp"] for row in rows]
    assert len(times) > 20
    assert times == sorted(times)
    assert all(time.endswith("Z") and len(time) == 27 for time in times)


def test_limit_says_that_there_is_more(run, security_log):
    """--limit shows the first rows, and standard error says that they are not all."""
    result = run("search", "--limit", "3", security_log)
    assert len(result.lines) == 4
    assert "more" in result.err


def test_an_empty_answer_says_what_was_searched(run, security_log):
    """Nothing found is no error, and comes with the number of events and their span."""
    result = run("search", "--user", "nobody-of-that-name", security_log)
    assert result.code == 0
    assert result.out == ""
    assert "0 found in 2,161 events of 1 file, 2026-11-23T03:08:48Z to 2026-11-23T03:10:10Z" in result.err


def test_columns_can_be_chosen(run, security_log):
    """--columns takes wire paths and short names, in every format."""
    args = (
        "search",
        "--user",
        "attacker",
        "--verb",
        "delete",
        "--resource",
        "secrets",
        "--columns",
        "user,objectRef.name",
    )
    assert run(*args, security_log).lines == ["USER      objectRef.name", "attacker  important"]
    assert json.loads(run(*args, "-o", "json", security_log).out) == [
        {"user": "attacker", "objectRef.name": "important"}
    ]


def test_yaml_holds_whole_events(run, security_log):
    """-o yaml is one document an event."""
    result = run(
        "search", "--user", "attacker", "--verb", "delete", "--resource", "secrets", "-o", "yaml", security_log
    )
    [event] = yaml.safe_load_all(result.out)
    assert event["objectRef"]["name"] == "important"
    assert event["requestReceivedTimestamp"].endswith("Z")


def test_damage_is_told_and_ends_with_4(run, security_log, tmp_path):
    """A damaged line does not hide the others: they are answered, it is located, the code is 4."""
    lines = Path(security_log).read_bytes().split(b"\n")[:20]
    lines[7] = b'{"kind":"Event","verb":"get",,,}'
    path = tmp_path / "torn.log"
    path.write_bytes(b"\n".join(lines) + b"\n")
    offset = sum(len(line) + 1 for line in lines[:7])
    result = run("search", "--stages", "all", "--columns", "auditID", "--no-headers", str(path))
    assert result.code == 4
    assert len(result.lines) == 19
    assert "1 place damaged" in result.err
    assert f"byte {offset}" in result.err
    shown = run("search", "--count", "--show-damage", str(path)).err
    assert '{"kind":"Event","verb":"get",,,}' in shown


def test_both_namespace_flags_are_refused(run, security_log):
    """-n and -A contradict each other."""
    result = run("search", "-n", "a", "-A", security_log)
    assert result.code == 2
    assert "either -n or -A" in result.err


def test_a_misspelt_flag_gets_a_hint(run):
    """One line, the nearest flag, no list of thirty."""
    result = run("search", "--ressource", "pods")
    assert result.code == 2
    assert "did you mean --resource?" in result.err
    assert result.err.count("\n") == 2


def test_sql_can_be_shown(run, security_log, monkeypatch):
    """--show-sql prints the statement and asks nothing, nor does it look for lines."""
    monkeypatch.setattr(engine, "SMALL_BYTES", 0)
    monkeypatch.setattr(Picker, "begin", None)
    result = run("search", "--verb", "delete", "--show-sql", security_log)
    assert result.code == 0
    assert "delete" in result.out
    assert "SELECT" in result.out.upper()


def test_a_condition_in_sql(run, security_log):
    """--where takes wire paths and columns; what is wrong in it is a usage error with DuckDB's sentence."""
    args = ("search", "--user", "attacker", "--count", "--where")
    assert run(*args, "objectRef.resource = 'secrets' AND code < 300", security_log).out == "6\n"
    wrong = run(*args, "nonsense > 1", security_log)
    assert wrong.code == 2
    assert "nonsense" in wrong.err
    assert "fault of kubewitness" not in wrong.err


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ('objectRef.resource = "secrets"', "text stands between single quotes: 'secrets'"),
        ("user.serviceAccountName = 'x'", '--where: Could not find key "serviceAccountName" in struct\nCandidate'),
        ("code >= 400 AND", "--where: syntax error"),
        ("exec.command LIKE '%sh%'", "array_to_string(A, ' ') LIKE '%x%'"),
    ],
)
def test_a_condition_that_is_none_says_where_it_stands(run, security_log, condition, said):
    """The flag is named, and what is between double quotes is no text in SQL."""
    result = run("search", "--where", condition, security_log)
    assert result.code == 2
    assert said in result.err


@pytest.mark.parametrize("command", ["search", "top", "timeline"])
def test_a_word_to_look_for_is_said_with_a_flag(run, security_log, command):
    """As `grep WORD FILE` is typed: the word is no file, and the flags are named."""
    result = run(command, "attacker", security_log)
    assert result.code == 2
    assert "attacker: no such file or directory; what to look for is said with flags, such as --user" in result.err
    assert "flags" not in run(command, "no/such.log", security_log).err


def test_a_log_can_be_piped(security_log):
    """Without SRC, and as -, standard input is read."""
    code = "import sys; from kubewitness.cli.main import main; sys.exit(main(sys.argv[1:]))"
    for source in ([], ["-"]):
        with Path(security_log).open("rb") as log:
            command = [sys.executable, "-c", code, "search", "--user", "attacker", "--count", *source]
            done = subprocess.run(command, stdin=log, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "156\n")


def test_passed_over_lines_are_said_and_account_parses_them(run, security_log, monkeypatch):
    """In a large file lines that cannot match are not parsed; the answer is the same, and says so."""
    monkeypatch.setattr("kubewitness.cli.engine.SMALL_BYTES", 0)
    wanted = ("search", "--user", "auditor", "--verb", "delete", "--count", security_log)
    passed, parsed = run(*wanted), run(*wanted, "--account")
    assert passed.out == parsed.out == "1\n"
    assert "--account checks it" in passed.err
    assert parsed.err == ""
    nothing = run("search", "--user", "nobody-of-that-name", security_log)
    assert "0 found in 1 file\n" in nothing.err


DAMAGED = frozenset({
    "malformed_middle", "garbage_text_line", "truncated_last", "torn_merge", "nul_bytes_run", "nul_prefix_line",
    "objectRef_is_string",
})  # fmt: skip
"""The cases in which a line gives no event; in all others every line does, perhaps with help."""


@pytest.mark.parametrize("options", [("--count",), ("-o", "jsonl"), ("--columns", "auditID", "--no-headers")])
@pytest.mark.parametrize("name", sorted(damage.CASES))
def test_damage_is_counted_and_never_lost(run, tmp_path, name, options):
    """Each damage case gives its events whatever is asked for; a line that gives none is placed, and ends with 4."""
    data, good = damage.CASES[name]
    path = tmp_path / f"{name}.ndjson"
    path.write_bytes(data)
    result = run("search", str(path), *options)
    found = int(result.out) if options == ("--count",) else len(result.out.split("\n")) - 1
    assert found == good
    assert result.code == (4 if name in DAMAGED else 0)
    assert ("first at line" in result.err) == (name in DAMAGED)
