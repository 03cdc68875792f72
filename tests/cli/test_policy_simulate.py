"""`policy simulate` on recorded logs: one log under the policy of another gives what that one recorded."""

import json
from collections import Counter
from html.parser import HTMLParser

import msgspec
import pytest
import zstandard

from kubewitness.event.types import Event
from tests.cli.conftest import DATA

PEOPLE = ("developer", "auditor", "ci-bot", "attacker")
FULL = str(DATA / "audit-full.log.zst")


def policy(name: str) -> str:
    """Give the path of a recorded policy."""
    return str(DATA / "policies" / f"{name}.yaml")


def recorded(name: str) -> tuple[Counter[str], Counter[str], int]:
    """Count a recorded log: events and requests a user, and bytes in all."""
    data = zstandard.ZstdDecompressor().decompressobj().decompress((DATA / f"audit-{name}.log.zst").read_bytes())
    events = [msgspec.json.decode(line, type=Event) for line in data.split(b"\n") if line]
    users = [event.user.username if event.user else None for event in events]
    requests = {(event.audit_id, user) for event, user in zip(events, users, strict=True)}
    return Counter(map(str, users)), Counter(str(user) for _, user in requests), len(data)


@pytest.mark.parametrize("name", ["metadata", "security"])
def test_simulated_is_recorded(run, name):
    """
    Events and requests of each person exactly; events and bytes of the whole within a tenth, as the runs differ.

    The log of everything ran two minutes, the others some eighty seconds: what controllers do meanwhile differs.
    """
    result = run("policy", "simulate", policy(name), FULL, "-o", "json")
    assert result.code == 0
    found = json.loads(result.out)
    events, requests, size = recorded(name)
    simulated = {entry["user"]: entry["after"] for entry in found["users"]}
    for person in PEOPLE:
        assert (simulated[person]["events"], simulated[person]["requests"]) == (events[person], requests[person])
    assert found["after"]["events"] == pytest.approx(sum(events.values()), rel=0.1)
    assert found["after"]["bytes"] == pytest.approx(size, rel=0.1)
    assert found["after"]["bytes"] == found["after"]["bytesLow"] == found["after"]["bytesHigh"]


@pytest.mark.parametrize("name", ["full", "metadata", "security"])
def test_its_own_policy_changes_nothing(run, name):
    """A log under the policy that recorded it stays as it is, to the byte."""
    log = str(DATA / f"audit-{name}.log.zst")
    found = json.loads(run("policy", "simulate", policy(name), "--baseline", policy(name), log, "-o", "json").out)
    recorded_bytes = found["log"]["bytes"]
    assert found["before"]["bytes"] == found["after"]["bytes"] == recorded_bytes
    assert found["effects"] == {"kept": found["log"]["events"], "raised": 0, "lowered": 0, "dropped": 0, "added": 0}
    assert found["notInLog"] == []


def test_a_higher_level_is_estimated_or_unknown(run):
    """What the log cannot tell ends with 4 and is named; a policy that recorded less names what was never written."""
    log = str(DATA / "audit-security.log.zst")
    result = run("policy", "simulate", policy("full"), "--baseline", policy("security"), log, "--limit", "3")
    assert result.code == 4
    assert "bytes" in result.out
    assert "at least" in result.out
    assert "> unknown: 1,229 events recorded at Metadata, bodies wanted by rules[0]" in result.out
    assert "does not record these" in result.out
    assert "any non-resource URL" in result.out
    assert max(map(len, result.lines[:25])) <= 80


def test_estimates_hold(run, tmp_path):
    """Every event twice, once without its bodies: what they weighed lies within the interval, nothing is unknown."""
    data = zstandard.ZstdDecompressor().decompressobj().decompress((DATA / "audit-full.log.zst").read_bytes())
    stripped = []
    for line in data.split(b"\n")[:-1]:
        event = msgspec.json.decode(line)
        event.pop("requestObject", None)
        event.pop("responseObject", None)
        stripped.append(msgspec.json.encode({**event, "level": "Metadata"}) + b"\n")
    (tmp_path / "audit.log").write_bytes(data + b"".join(stripped))
    result = run("policy", "simulate", policy("full"), str(tmp_path / "audit.log"), "-o", "json", "--limit", "0")
    assert result.code == 0
    after = json.loads(result.out)["after"]
    assert after["unknownEvents"] == 0
    assert after["bytesLow"] < 2 * len(data) < after["bytesHigh"]
    assert after["bytes"] == pytest.approx(2 * len(data), rel=0.01)
    assert after["bytesHigh"] - after["bytesLow"] < 2 * len(data)


def test_a_baseline_of_another_log_is_told(run):
    """Both policies are simulated, and it is said that neither recorded the log."""
    result = run("policy", "simulate", policy("metadata"), "--baseline", policy("security"), FULL)
    assert result.code == 0
    assert "security.yaml did not record this log: " in result.err
    assert "rules[0] line 5 Metadata" in result.out


def test_costs(run, tmp_path):
    """Files, POSTs and prices follow the flags; a price is what the bytes of a month cost."""
    (tmp_path / "prices.yaml").write_text("currency: EUR\nprices:\n- {name: logs, ingest_per_gb: 0.5}\n")
    result = run(
        "policy", "simulate", "--prices", str(tmp_path / "prices.yaml"), "--audit-log-maxbackup", "9", policy("full"),
        FULL, "-o", "json",
    )  # fmt: skip
    after = json.loads(result.out)["after"]
    assert after["pricePerMonth"]["logs"] == pytest.approx(after["bytesPerDay"] / 1e9 * 30 * 0.5)
    assert after["diskBytes"] == 1000 << 20
    assert after["diskDays"] == pytest.approx((1000 << 20) / after["bytesPerDay"])
    shown = run("policy", "simulate", policy("full"), FULL, "--prices", str(tmp_path / "prices.yaml"))
    assert "logs, a month" in shown.out
    assert " EUR" in shown.out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prices: [", "prices.yaml:2:1: this is no YAML"),
        ("a: 1", "has a list `prices`"),
        ("[" * 5000, "prices.yaml"),
        ("at: 2026-02-30", "day is out of range"),
    ],
)
def test_wrong_price_files(run, tmp_path, text, words):
    """One line, exit code 2."""
    path = tmp_path / "prices.yaml"
    path.write_text(text + "\n")
    result = run("policy", "simulate", policy("full"), FULL, "--prices", str(path))
    assert result.code == 2
    assert words in result.err
    assert len(result.err.splitlines()) == 1


def test_wrong_arguments(run, tmp_path):
    """No log, no policy, both from standard input, a policy that the server refuses, a flag below zero."""
    assert run("policy", "simulate", policy("full"), str(tmp_path / "none.log")).code == 2
    assert run("policy", "simulate", str(tmp_path / "none.yaml"), FULL).code == 2
    both = run("policy", "simulate", "-", "-")
    assert (both.code, "cannot both come from standard input" in both.err) == (2, True)
    (tmp_path / "empty.yaml").write_text("")
    assert run("policy", "simulate", str(tmp_path / "empty.yaml"), FULL).code == 1
    (tmp_path / "empty.log").write_text("")
    empty = run("policy", "simulate", policy("full"), str(tmp_path / "empty.log"))
    assert (empty.code, "no events were read" in empty.err) == (0, True)
    assert empty.out.count("\n\n") == 1


class _Page(HTMLParser):
    """Collects what a page holds, and what it would load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.active: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.active += [name for name, _ in attrs if name in ("src", "href", "onload") or name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_page_is_one_file_and_harmless(run, tmp_path):
    """Hostile names stay text: nothing is loaded, no script, no unknown elements."""
    lines = zstandard.ZstdDecompressor().decompressobj().decompress((DATA / "audit-metadata.log.zst").read_bytes())
    evil = "</title><script>alert(1)</script><img src=x onerror=alert(1)>\\u001b[2J\\u202e\"'&"
    log = tmp_path / "audit.log"
    log.write_bytes(
        lines.replace(b'"username":"developer"', b'"username":"' + evil.replace('"', '\\"').encode() + b'"')
    )
    result = run("policy", "simulate", policy("security"), str(log), "-o", "html")
    page = _Page()
    page.feed(result.out)
    assert page.active == []
    assert set(page.tags) <= {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "table", "thead", "tbody", "tr", "th", "td",
        "span", "svg", "g", "rect", "text", "line", "details", "summary", "ul", "li",
    }  # fmt: skip
    assert page.tags["svg"] == 3
    assert page.tags["rect"] > 20
    assert "\x1b" not in result.out
    assert "\u202e" not in result.out
    assert any("<script>alert(1)</script>" in text for text in page.texts)
    assert "default-src 'none'" in result.out
