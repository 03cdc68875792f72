"""Needles answered without the engine: the very rows, order, bytes and account that the engine gives."""

import random
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kubewitness.cli.columns import DATA, TABLE, WIDE, reads_of
from kubewitness.cli.event_rows import are_plain, row_maker
from kubewitness.cli.render.values import plain
from kubewitness.event.filter import PLAIN
from kubewitness.look.query import linetexts, prefilter
from kubewitness.look.query.find import Found
from kubewitness.look.query.relation_names import identifier
from kubewitness.look.query.run import Events, open_events
from kubewitness.look.query.sql import unknown, where
from kubewitness.look.query.syntax import filter_of
from tests.event.damage import event
from tests.look.query.test_prefilter import QUESTIONS, line

COLUMNS = reads_of((*TABLE, *WIDE, *DATA))


@pytest.fixture(autouse=True)
def _selective(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every text be rare enough."""
    monkeypatch.setattr(linetexts, "_SELECTIVE", 1.0)


def ask(path: Path, question: dict[str, list[str]], stages: Literal["latest", "all"]) -> tuple[Found | None, object]:
    """Give what is found without the engine, and what it gives, in the same form."""
    wanted = filter_of(question, since=None, until=None, now=0)
    with open_events([str(path)], cluster="c1") as events:
        found = events.find(wanted, stages=stages)
        return found, _by_engine(events, question, stages)


def _by_engine(events: Events, question: dict[str, list[str]], stages: Literal["latest", "all"]) -> object:
    wanted = filter_of(question, since=None, until=None, now=0)
    names = ", ".join(map(identifier, COLUMNS))
    answer = events.query(
        f"SELECT _row, {names} FROM events ORDER BY received, stage_time, _row",
        where=where(wanted, PLAIN),
        unknown=unknown(wanted, PLAIN),
        stages=stages,
        keeps_bytes=True,
        filter_=wanted,
    )
    rows = list(answer)
    raw = list(answer.exact_bytes([row[0] for row in rows]))
    return [plain(row[1:]) for row in rows], raw, answer.account


def _by_find(found: Found) -> object:
    make = row_maker(COLUMNS)
    rows = [plain(make(hit.event, hit.context)) for hit in found.hits]
    return rows, [hit.raw for hit in found.hits], found.account


def _log(path: Path, seed: int, odd: float) -> None:
    chooser = random.Random(seed)
    lines = [line(chooser, number, escapes=odd) for number in range(200)]
    path.write_text("\n".join(lines) + "\n")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1 << 30), question=st.sampled_from(QUESTIONS), stages=st.sampled_from(["latest", "all"]))
@example(seed=35, question={"resource": ["secrets"], "namespace": ["production"], "name": ["!x"]}, stages="latest")
def test_the_answer_is_the_engines(
    tmp_path: Path, seed: int, question: dict[str, list[str]], stages: Literal["latest", "all"]
) -> None:
    """Rows, their order, exact bytes, unknowns and what was read: all the same."""
    path = tmp_path / "audit.log"
    _log(path, seed, odd=0)
    found, expected = ask(path, question, stages)
    wanted = filter_of(question, since=None, until=None, now=0)
    has_needles = bool(prefilter.shared_needles(wanted, joins_stages=stages == "latest"))
    assert (found is not None) is has_needles
    assert found is None or _by_find(found) == expected


ODD = {
    "no JSON": '{"kind":"Event","user":{"username":"mallory"',
    "a member twice": event(1, user={"username": "mallory"})[:-1] + ',"verb":"list"}',
    "a member of a member twice": event(1).replace('{"username":"u1"', '{"username":"x","username":"mallory"'),
    "a name that may be a number": event(1, user={"username": "mallory"}, objectRef={"resource": "pods", "name": "17"}),
    "a code as text": event(1, user={"username": "mallory"}, responseStatus={"code": "200"}),
    "no code": event(1, user={"username": "mallory"}, responseStatus={"metadata": {}}),
    "a user without a name": event(1, user={"groups": ["mallory"]}),
    "another kind": event(1, user={"username": "mallory"}, kind="EventList"),
    "an old version": event(1, user={"username": "mallory"}, apiVersion="audit.k8s.io/v1beta1"),
    "a time in seconds": event(1, user={"username": "mallory"}, requestReceivedTimestamp="2026-03-01T00:00:00Z"),
    "no such time": event(1, user={"username": "mallory"}, requestReceivedTimestamp="2026-13-01T00:00:00.000000Z"),
    "half a surrogate": event(1, user={"username": "mallory"}, userAgent="SIGN").replace("SIGN", "\\ud800"),
    "a level unheard of": event(1, user={"username": "mallory"}, level="Everything"),
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_odd_lines_are_left_to_the_engine(tmp_path: Path, odd: str) -> None:
    """Whatever kube-apiserver does not write, nothing is found here: the engine is asked."""
    path = tmp_path / "audit.log"
    mallory = event(7, user={"username": "mallory"})
    path.write_text("\n".join([*(event(i) for i in range(50)), mallory, odd]) + "\n")
    if "mallory" in odd:
        found, _ = ask(path, {"user": ["mallory"]}, "latest")
        assert found is None
    path.write_text("\n".join([*(event(i) for i in range(50)), mallory]) + "\n")
    found, expected = ask(path, {"user": ["mallory"]}, "latest")
    assert found is not None
    assert _by_find(found) == expected


def test_times_order_as_the_engine_orders_them(tmp_path: Path) -> None:
    """Without a time comes last; of one time the order of the log is kept."""
    path = tmp_path / "audit.log"
    times = ["2026-03-01T00:00:02.000000Z", None, "2026-03-01T00:00:01.000000Z", "2026-03-01T00:00:02.000000Z"]
    lines = [
        event(i, user={"username": "mallory"}, requestReceivedTimestamp=time, stageTimestamp=times[-1 - i])
        for i, time in enumerate(times)
    ]
    path.write_text("\n".join([*lines, *(event(i) for i in range(10, 60))]) + "\n")
    found, expected = ask(path, {"user": ["mallory"]}, "latest")
    assert found is not None
    assert _by_find(found) == expected
    assert [hit.event.audit_id for hit in found.hits] == ["id-2", "id-0", "id-3", "id-1"]


def test_bodies_are_written_by_the_engine() -> None:
    """Members that the engine writes anew are not to be had of an Event's own bytes."""
    assert are_plain(["username", "code", "received", "source_ips", "truncated"])
    assert not are_plain(["username", "request_object"])
