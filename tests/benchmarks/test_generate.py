"""The generated log is the same for everyone, and is what the benchmarks take it for."""

import hashlib
import json
from collections import Counter
from datetime import datetime

import msgspec
import pytest

from benchmarks import generate
from benchmarks.generate import CHUNK, NEEDLE, RARE_ADDRESS, Profile
from kubewitness.event.types import Event, Level


def _log(events: int, profile: Profile = "meta", workers: int = 1, seed: int = 7) -> bytes:
    return b"".join(generate.generate(events, profile=profile, workers=workers, seed=seed))


def test_the_number_of_workers_changes_nothing() -> None:
    """One process and two give the same bytes, over a boundary of chunks."""
    assert _log(CHUNK + 50) == _log(CHUNK + 50, workers=2)


@pytest.mark.parametrize(
    ("profile", "digest"),
    [
        ("meta", "3b0615a349e2b787a1be93c3587d24caa8d4e558bab4c05c986008fb761cbee4"),
        ("body", "6c33e12bd201fae882b8c0227de3197e56bd4c87d6e7a8ef4182953496d0cc33"),
    ],
)
def test_same_seed_same_bytes(profile: Profile, digest: str) -> None:
    """The bytes are pinned: a changed log would make old tables incomparable."""
    assert hashlib.sha256(_log(300, profile)).hexdigest() == digest


def test_another_seed_gives_another_log() -> None:
    """The seed matters."""
    assert _log(50) != _log(50, seed=8)


@pytest.mark.parametrize("profile", ["meta", "body"])
def test_every_line_is_an_event(profile: Profile) -> None:
    """Each line decodes strictly, received in order, with as many lines as asked for."""
    lines = _log(1500, profile).split(b"\n")
    assert lines.pop() == b""
    events = [msgspec.json.decode(line, type=Event, strict=True) for line in lines]
    assert len(events) == 1500
    times = [datetime.fromisoformat(event.request_received_timestamp or "") for event in events]
    assert times == sorted(times)
    assert len({event.audit_id for event in events}) == 1500


def test_there_is_one_needle_among_near_misses() -> None:
    """Exactly one delete of secrets/important in production; the rare address has company."""
    found = []
    for line in _log(2000).splitlines():
        event = json.loads(line)
        reference = event.get("objectRef", {})
        if (event["verb"], reference.get("name"), reference.get("namespace")) == ("delete", "important", "production"):
            found.append((event["user"]["username"], reference["resource"], event["sourceIPs"][0]))
    assert found == [(NEEDLE, "secrets", RARE_ADDRESS)]
    assert _log(2000).count(b'"important"') == 3


def test_the_mix_is_that_of_a_busy_cluster() -> None:
    """Mostly Metadata under the sensible policy, mostly bodies under the careless one; secrets never have one."""
    for profile, low, high in (("meta", 0.05, 0.15), ("body", 0.3, 0.7)):
        events = [json.loads(line) for line in _log(2000, profile).splitlines()]
        levels = Counter(event["level"] for event in events)
        assert low < 1 - levels[Level.METADATA.value] / 2000 < high
        for event in events:
            if event.get("objectRef", {}).get("resource") == "secrets":
                assert "requestObject" not in event
                assert "responseObject" not in event
