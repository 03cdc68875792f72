"""Requests, users, policies and a Sink for the tests of `emit`."""

from collections.abc import Sequence

from kubewitness.emit.metrics import Metrics
from kubewitness.emit.stages.handler import AuditedRequest, Auditor
from kubewitness.emit.stages.request import Request
from kubewitness.event.microtime import parse
from kubewitness.event.types import Event, Level, Stage, UserInfo
from kubewitness.policy.types import Policy, PolicyRule

NOW_US = parse("2026-11-23T03:05:09.000001Z")
ALICE = UserInfo(username="alice", groups=("dev", "system:authenticated"))
PODS = "/api/v1/namespaces/shop/pods"


class Kept(list[Event]):
    """A Sink that keeps what it is given, and can be told to refuse."""

    name = "kept"
    is_full = False

    def process_events(self, events: Sequence[Event]) -> bool:
        self.extend(events)
        return not self.is_full

    def run(self) -> None: ...

    def shutdown(self) -> None: ...


class Server:
    """An API server under one policy of one rule."""

    def __init__(self, level: Level = Level.REQUEST_RESPONSE, *omit: Stage, omit_managed_fields: bool = False) -> None:
        self.sink = Kept()
        self.metrics = Metrics()
        policy = Policy((PolicyRule(level, omit_stages=omit, omit_managed_fields=omit_managed_fields),))
        self.auditor = Auditor(policy, self.sink, self.metrics)

    def receive(self, method: str = "GET", target: str = PODS, **headers: str) -> AuditedRequest:
        audited = self.auditor.receive(Request(method, target, **headers), ALICE, NOW_US, "fresh")
        assert audited is not None
        return audited

    def ask(
        self, method: str, target: str, body: bytes = b"", answer: bytes = b"", code: int = 200, **headers: str
    ) -> Event:
        """Take a request through; give its last Event."""
        audited = self.receive(method, target, **headers)
        if body:
            audited.body_read(body)
        audited.respond(code, NOW_US + 1, answer)
        audited.finish(NOW_US + 2)
        return self.sink[-1]

    @property
    def stages(self) -> list[str]:
        return [event.stage.value for event in self.sink]


def event(size: int = 0, level: Level = Level.METADATA, audit_id: str = "a") -> Event:
    """An Event; `size` pads its URI."""
    return Event(
        kind="Event",
        api_version="audit.k8s.io/v1",
        level=level,
        audit_id=audit_id,
        stage=Stage.RESPONSE_COMPLETE,
        request_uri="/" + "x" * size,
        verb="get",
        user=UserInfo(),
        request_received_timestamp="2026-11-23T03:05:09.000001Z",
        stage_timestamp="2026-11-23T03:05:09.000001Z",
    )
