"""Driven again from what their last Event tells, the recorded requests leave the recorded Events."""

import dataclasses
import json
from collections import defaultdict
from collections.abc import Sequence

import pytest

from kubewitness.emit import wire
from kubewitness.emit.metrics import Metrics
from kubewitness.emit.stages.handler import Auditor, drive
from kubewitness.event.types import Event, Stage
from kubewitness.policy.load import load
from tests.emit.stages.recorded import DATA, exchange_of, lines, requests

# What the last Event of a request does not tell, and is therefore handed in:
EXCEPTIONS = {
    "stageTimestamp of ResponseStarted": "the moment is recorded nowhere else; it is taken from that Event",
    "apiserver.latency.k8s.io/total": "recorded in nanoseconds, finer than any time of an Event",
    "which annotations came early or late": "startup comes before, k8s.io/deprecated and latencies after the"
    " answer began; the last Event holds them all alike",
    "responseStatus of the Panic's ResponseStarted": "the code that was written is overwritten by the 500 of the panic",
}


class Kept(list[Event]):
    """A Sink that keeps what it is given."""

    def process_events(self, events: Sequence[Event]) -> bool:
        self.extend(events)
        return True


def auditor(policy: str) -> tuple[Auditor, Kept, Metrics]:
    sink, metrics = Kept(), Metrics()
    return Auditor(load((DATA / "policies" / f"{policy}.yaml").read_text()), sink, metrics), sink, metrics


def last_event(stages: dict[Stage, tuple[Event, bytes]]) -> Event | None:
    """The Event a request is rebuilt from: ResponseComplete, or what a refused authentication left."""
    if Stage.RESPONSE_COMPLETE in stages:
        return stages[Stage.RESPONSE_COMPLETE][0]
    return stages[Stage.RESPONSE_STARTED][0] if len(stages) == 1 else None


def replay(driven: Auditor, stages: dict[Stage, tuple[Event, bytes]]) -> None:
    last = last_event(stages)
    if last is not None:
        started = stages.get(Stage.RESPONSE_STARTED)
        drive(driven, exchange_of(last, started[0].stage_timestamp if started else None))


def test_the_full_log_is_written_again_byte_for_byte() -> None:
    """All 4,839 Events of the 2,342 requests that ended without a panic come out as recorded, in their order."""
    driven, sink, metrics = auditor("full")
    recorded = 0
    for audit_id, stages in requests("full").items():
        if Stage.PANIC in stages:
            continue
        sink.clear()
        replay(driven, stages)
        recorded += len(stages)
        assert [wire.line(event) for event in sink] == [raw + b"\n" for _, raw in stages.values()], audit_id
    assert recorded == 4839
    assert metrics.events == 4839
    assert metrics.levels == {"RequestResponse": 2342}


def test_the_recorded_panic_is_written_again() -> None:
    """The one Panic comes out as recorded, given the status code that its proxy had already sent."""
    driven, sink, _ = auditor("full")
    stages = next(stages for stages in requests("full").values() if Stage.PANIC in stages)
    told = exchange_of(stages[Stage.PANIC][0], stages[Stage.RESPONSE_STARTED][0].stage_timestamp)
    drive(driven, dataclasses.replace(told, code=200, panic="net/http: abort Handler"))
    assert [wire.line(event) for event in sink] == [raw + b"\n" for _, raw in stages.values()]


def shape(raw: bytes) -> tuple[tuple[object, ...], frozenset[str]]:
    """The kind of a request, and the members its Event has."""
    event = json.loads(raw)
    members = set(event)
    for name in ("user", "impersonatedUser", "objectRef", "responseStatus", "annotations"):
        members |= {f"{name}.{member}" for member in event.get(name, {})}
    reference = event.get("objectRef", {})
    kind = (
        event["level"],
        event["stage"],
        event["verb"],
        *(reference.get(name) for name in ("apiGroup", "resource", "subresource")),
        event["user"].get("username"),
        event.get("userAgent", "")[:12],
        event.get("responseStatus", {}).get("code"),
        "" if reference else event["requestURI"].partition("?")[0],
    )
    return kind, frozenset(members)


@pytest.mark.parametrize(("policy", "compared"), [("security", 2214), ("metadata", 2497)])
def test_other_policies_give_the_members_that_servers_recorded_under_them(policy: str, compared: int) -> None:
    """The requests of the full log, under another policy, have the members its own log shows for such requests."""
    driven, sink, _ = auditor(policy)
    for stages in requests("full").values():
        replay(driven, stages)
    theirs = defaultdict(set)
    for raw in lines(policy):
        kind, members = shape(raw)
        theirs[kind].add(members)
    found = 0
    for event in sink:
        kind, members = shape(wire.line(event)[:-1])
        if kind in theirs:
            found += 1
            assert members in theirs[kind], kind
    # the rest are requests of which the other run happened to have none of the same kind
    assert found == compared
    assert len(sink) - found <= 5


def test_the_exceptions_stand_in_the_documentation() -> None:
    """Whatever is handed in beside the last Event is named, with the reason, on the page about stages."""
    page = (DATA.parents[1] / "docs" / "explanation" / "stages.md").read_text("utf-8")
    assert [row for row in EXCEPTIONS if f"| {row} |" not in page] == []
