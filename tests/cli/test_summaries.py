"""`sql`, `top`, `stats` and `timeline` over the recorded logs."""

import collections
import gzip
import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from kubewitness.cli.request import Request
from kubewitness.cli.stats import _length
from kubewitness.cli.timeline import merged


def test_sql_answers_over_events(run, security_log):
    """Flat columns and wire paths name the same; all stages are there."""
    where = "username = 'attacker' AND objectRef.resource = 'events'"
    statement = f"SELECT objectRef.resource AS r, count(*) AS n FROM events WHERE {where} GROUP BY 1"
    result = run("sql", statement, "-o", "json", security_log)
    assert json.loads(result.out) == [{"r": "events", "n": 106}]
    assert run("sql", "SELECT count(*) AS n FROM events", "-o", "csv", security_log).out == "n\n2161\n"


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT nonsense FROM events",
        "SELEC 1",
        "SELECT * FROM read_csv('/etc/passwd')",
        "COPY (SELECT 1) TO '/tmp/kubewitness-should-not-exist'",
        "SET enable_external_access = true",
        "INSTALL httpfs",
        "ATTACH '/tmp/kubewitness-should-not-exist.db'",
    ],
)
def test_sql_is_locked_down(run, security_log, statement):
    """What is wrong, and what would leave the sources, is refused as a usage error."""
    result = run("sql", statement, security_log)
    assert result.code == 2
    assert result.out == ""
    assert "fault of kubewitness" not in result.err


def test_sql_comes_first_and_is_one_argument(run, security_log):
    """The file first, or the quotes forgotten."""
    for words in ((security_log, "SELECT 1"), ("SELECT", "*", "FROM", "events", security_log)):
        result = run("sql", *words)
        assert result.code == 2
        assert "SQL comes first, between quotes, then the files" in result.err
    assert run("sql", "SELECT(1)", security_log).code == 0


def test_top_counts_requests(run, security_log):
    """The most frequent come first, with their share; what is not shown is counted."""
    result = run("top", "--by", "user", "--limit", "2", security_log)
    assert [line.split() for line in result.lines] == [
        ["REQUESTS", "SHARE", "USER"],
        ["484", "26.2%", "system:apiserver"],
        ["352", "19.1%", "admin"],
    ]
    assert "34 more groups" in result.err


def test_top_says_what_it_counts(run, security_log):
    """A row a request, or one for each of its stages: the heading tells which."""
    assert run("top", "--by", "verb", security_log).lines[0].split() == ["REQUESTS", "SHARE", "VERB"]
    assert run("top", "--by", "verb", "--stages", "all", security_log).lines[0].split() == ["EVENTS", "SHARE", "VERB"]


def test_top_weighs_bytes(run, security_log):
    """By bytes, the groups add up to the size of the file without its line ends: every stage takes its place."""
    result = run("top", "--by", "bytes,user", "--limit", "0", "-o", "json", security_log)
    rows = json.loads(result.out)
    assert sum(row["bytes"] for row in rows) == 2_559_953 - 2_161
    assert sum(row["events"] for row in rows) == 2_161
    assert rows == sorted(rows, key=lambda row: -row["bytes"])


@pytest.mark.parametrize("stages", ["latest", "all"])
@pytest.mark.parametrize("flags", [[], ["--code", ">=400"], ["--user", "attacker"], ["--verb", "!get"]])
def test_bytes_are_those_of_the_lines(run, security_log, stages, flags, tmp_path):
    """Added up as each event is looked at, whatever is asked for and however the log is packed."""
    found = run("search", *flags, "--stages", stages, "-o", "jsonl", security_log).out
    sizes = collections.defaultdict(int)
    for line in found.encode().splitlines():
        sizes[json.loads(line)["user"].get("username")] += len(line)
    packed = tmp_path / "audit.log.gz"
    packed.write_bytes(gzip.compress(Path(security_log).read_bytes()))
    for log in (security_log, str(packed)):
        args = ("top", "--by", "bytes,user", *flags, "--stages", stages, "--limit", "0", "-o", "json", log)
        assert {row["user.username"]: row["bytes"] for row in json.loads(run(*args).out)} == sizes


def test_bytes_of_events_that_are_not_lines(run, security_log, tmp_path):
    """An event in an envelope weighs what it does without."""
    events = Path(security_log).read_bytes().splitlines()[:50]
    wrapped = tmp_path / "wrapped.log"
    wrapped.write_bytes(b"".join(b'{"kind":"EventList","items":[%s]}\n' % event for event in events))
    [row] = json.loads(run("top", "--by", "bytes,kind", "--stages", "all", "-o", "json", str(wrapped)).out)
    assert row["bytes"] == sum(map(len, events))


def test_top_knows_its_fields(run, security_log):
    """A misspelt field gets a hint."""
    result = run("top", "--by", "usr", security_log)
    assert result.code == 2
    assert "did you mean user?" in result.err


def test_stats_tell_what_a_log_holds(run, security_log):
    """The numbers are those that the recording is described with."""
    found = json.loads(run("stats", "-o", "json", security_log).out)[0]
    assert (found["events"], found["requests"], found["damaged"]) == (2161, 1847, 0)
    assert found["levels"] == {"Metadata": 1747, "RequestResponse": 414}
    assert found["stages"] == {"ResponseComplete": 1843, "RequestReceived": 240, "ResponseStarted": 77, "Panic": 1}
    assert len(found["users"]) == 36
    assert sum(found["outcomes"].values()) == 1847
    assert found["first"] == "2026-11-23T03:08:48.675609Z"


def test_stats_fit_a_screen(run, security_log):
    """The screen is at most 24 lines of kinds by 80 columns, the most frequent first."""
    result = run("stats", security_log)
    assert result.lines[0] == "events    2,161 in 1 file"
    assert max(map(len, result.lines)) <= 80
    assert "users (36)" in result.lines


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(seconds=82), "1 min 22 s"),
        (timedelta(days=3, hours=4, minutes=5), "3 d 4 h"),
        (timedelta(0), "0 s"),
        (timedelta(hours=2), "2 h"),
    ],
)
def test_lengths_of_time(span, text):
    """Two units are enough."""
    assert _length(span) == text


def test_the_timeline_tells_the_attack(run, security_log):
    """Histogram, then sentences in order; a sweep over many names is one sentence."""
    result = run("timeline", "--user", "attacker", "--limit", "0", security_log)
    assert result.code == 0
    assert "█" in result.lines[0]
    story = result.out[result.out.index("WHAT HAPPENED") :]
    steps = (
        "attacker listed secrets\n",
        "attacker was not allowed to list nodes: 403 Forbidden",
        "attacker ran `chroot /host cat /etc/shadow` in pods production/node-shell",
        "attacker granted roles: created clusterrolebindings pwn",
        "attacker (as system:admin) listed pods kube-system/*",
        "attacker deleted 52 x events team-a/*",
        "attacker deleted secrets production/important",
    )
    places = [story.index(step) for step in steps]
    assert places == sorted(places)


def test_the_timeline_counts_what_it_does_not_tell(run, security_log):
    """With a limit the histogram is of all, and the rest is counted."""
    result = run("timeline", "--user", "attacker", "--limit", "5", security_log)
    assert "151 more requests" in result.err or "150 more requests" in result.err


@pytest.mark.parametrize("bucket", ["60", "60s", "1m"])
def test_a_bar_of_the_timeline_is_as_long_as_asked(run, security_log, bucket):
    """In seconds, or as any length of time is written."""
    bars = [line for line in run("timeline", "--bucket", bucket, "--limit", "1", security_log).lines if "█" in line]
    assert [bar.split()[0] for bar in bars] == ["2026-11-23T03:08:00Z", "2026-11-23T03:09:00Z", "2026-11-23T03:10:00Z"]
    wrong = run("timeline", "--bucket", "0", security_log)
    assert (wrong.code, "'0' is neither a number of seconds nor a length" in wrong.err) == (2, True)


def test_data_of_the_timeline_are_whole_unless_limited(run, security_log):
    """A table has 50 rows by itself; a limit that is given holds in every format."""
    flags = ("timeline", "--user", "attacker", "-o", "jsonl", security_log)
    assert len(run(*flags).lines) > 50
    result = run(*flags, "--limit", "2")
    assert len(result.lines) == 2
    assert "154 more requests" in result.err


def test_the_timeline_as_data(run, security_log):
    """As data there is no histogram, and the entries hold all requests."""
    rows = [json.loads(line) for line in run("timeline", "--user", "attacker", "-o", "jsonl", security_log).lines]
    assert sum(row["requests"] for row in rows) == 156
    assert all(row["sentence"].startswith("attacker") for row in rows)


START = datetime(2026, 11, 23)  # noqa: DTZ001 - as a database gives it


def deleted(*names: str) -> list[Request]:
    """Deletions of these names, one a second."""
    return [
        Request(received=START + timedelta(seconds=at), username="u", verb="delete", action="delete", outcome="allowed",
                resource="pods", namespace="n", name=name)
        for at, name in enumerate(names)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ("abcde", [("*", 5)]),
        ("abcd", [("a", 1), ("b", 1), ("c", 1), ("d", 1)]),
        ("aaab", [("a", 3), ("b", 1)]),
    ],
)
def test_what_is_told_as_one(names, told):
    """A sweep over many names is one entry; a few are told by name; repeats are counted."""
    assert [(entry.request.name, entry.count) for entry in merged(deleted(*names))] == told


def test_an_entry_knows_its_end():
    """An entry lasts from its first request to its last."""
    [entry] = merged(deleted(*"abcdefg"))
    assert entry.last == START + timedelta(seconds=6)


def test_an_error_after_the_first_rows_is_that_of_the_question(run, security_log):
    """A value that comes late and cannot be worked out is told as one that comes first is."""
    result = run("sql", "SELECT CASE WHEN _row > 2100 THEN error('odd: ' || verb) END FROM events", security_log)
    assert result.code == 2
    assert result.err.startswith("kubewitness: error: odd: ")
    assert len(result.err.splitlines()) == 1
