"""`policy diff` with recorded logs: each change weighed by the requests it is about."""

import json

import pytest
import zstandard

from tests.cli.conftest import DATA


def policy(name: str) -> str:
    """Give the path of a recorded policy."""
    return str(DATA / "policies" / f"{name}.yaml")


def log(name: str) -> str:
    """Give the path of a recorded log."""
    return str(DATA / f"audit-{name}.log.zst")


def test_changes_are_weighed(run):
    """The heaviest first, with the kinds; every request of the log is in one class."""
    result = run("policy", "diff", policy("full"), policy("security"), log("full"), "-o", "json")
    assert result.code == 1
    found = json.loads(result.out)
    traffic = [entry["traffic"] for entry in found]
    assert [one["requests"] for one in traffic] == sorted((one["requests"] for one in traffic), reverse=True)
    secrets = next(entry for entry in found if entry["after"]["rule"] == 3)["traffic"]
    assert secrets["effect"] == "you will lose bodies of"
    assert secrets["requests"] == 40
    assert secrets["kinds"]["get secrets"] == 15
    assert secrets["bytes"] < 0
    unseen = next(entry for entry in found if entry["after"]["rule"] == 0)["traffic"]
    assert (unseen["effect"], unseen["requests"]) == ("you will stop seeing", 226)
    # what is decided alike under both is no change: tokens and sessions at RequestResponse, and nothing else
    assert sum(one["requests"] for one in traffic) == 2343 - 168 - 2 - 12 - 17


def test_in_words(run):
    """A sentence a change; a short log is not scaled."""
    result = run("policy", "diff", policy("full"), policy("security"), log("full"))
    assert (
        "  you will lose bodies of 40 requests of this log (-66.9 kB): 15 get secrets, 10 list secrets, " in result.out
    )
    assert result.err == ""


def test_a_day(run, tmp_path):
    """A longer log is scaled to a day."""
    lines = zstandard.ZstdDecompressor().decompressobj().decompress((DATA / "audit-full.log.zst").read_bytes())
    later = lines.replace(b"2026-11-23T03:", b"2026-11-24T15:")
    (tmp_path / "audit.log").write_bytes(lines + later)
    result = run("policy", "diff", policy("full"), policy("security"), str(tmp_path / "audit.log"))
    assert "you will lose bodies of 53 requests a day (-134 kB): 30 get secrets" in result.out


def test_requests_without_an_end_count(run, tmp_path):
    """A log that holds only how requests begin has as many requests."""
    lines = zstandard.ZstdDecompressor().decompressobj().decompress((DATA / "audit-full.log.zst").read_bytes())
    kept = [line for line in lines.splitlines(keepends=True) if b'"stage":"RequestReceived"' in line]
    (tmp_path / "audit.log").write_bytes(b"".join(kept))
    (tmp_path / "none.yaml").write_text("apiVersion: audit.k8s.io/v1\nrules:\n- level: None\n")
    result = run("policy", "diff", policy("full"), str(tmp_path / "none.yaml"), str(tmp_path / "audit.log"))
    assert f"you will stop seeing {len(kept):,} requests of this log" in result.out


def test_what_the_log_cannot_say(run):
    """Requests that the old policy left out are not in its log."""
    result = run("policy", "diff", policy("security"), policy("metadata"), log("security"))
    assert "you will see for the first time these; how many, a log without them cannot say" in result.out


def test_a_log_of_another_policy(run):
    """It is said that the old policy did not record it."""
    result = run("policy", "diff", policy("security"), policy("metadata"), log("full"))
    assert "security.yaml did not record this log (" in result.err


@pytest.mark.parametrize("arguments", [("none.yaml", "none.yaml"), ("-", "-")])
def test_errors(run, arguments):
    """A file that is not there; standard input twice."""
    assert run("policy", "diff", *arguments).code == 2


def test_same_policy(run):
    """No difference, 0, whatever log is given."""
    assert run("policy", "diff", policy("full"), policy("full"), log("full")).code == 0
