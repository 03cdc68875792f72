"""
The driver: a request, who makes it, what is answered and a policy become Events, each sent as its stage is reached.

A server makes one `Auditor`, calls `receive` or `turn_away` for each request and tells the `AuditedRequest` it gets
what happens. None instead: the policy does not audit this request. `drive` does all of it for a request told whole.
No clock and no randomness here: the caller hands in times and ids.

Follows k8s.io/apiserver/pkg/endpoints/filters/audit.go and authn_audit.go. Not audited, hence not to be told:
CORS preflights, requests refused while shutting down, whatever is no HTTP. `RequestError` (policy.request) is such a
request, too.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from kubewitness.emit.stages import lifecycle
from kubewitness.emit.stages.lifecycle import Happening, State
from kubewitness.emit.stages.record import CLOSED_EARLY, Record, Subject, begin, subject_of
from kubewitness.emit.stages.request import Request
from kubewitness.event.flow import Sink
from kubewitness.event.types import Level, UserInfo
from kubewitness.policy.evaluate import CompiledPolicy, compile_policy
from kubewitness.policy.gotext import quote
from kubewitness.policy.request import request_info
from kubewitness.policy.types import Policy

LATENCY_PREFIX = "apiserver.latency.k8s.io/"
LATENCY_THRESHOLD_US = 500_000
SUBJECTS_MAX = 1024
SUBJECT_MAX_CHARACTERS = 1024


class Counters(Protocol):
    """What the driver counts, in the words of the apiserver_audit_* metrics."""

    def count_event(self) -> None:
        """Count an Event that goes to the backends."""

    def count_level(self, level: Level) -> None:
        """Count a request by the level its policy gave."""

    def count_rejected(self) -> None:
        """Count a request refused because its Event could not be stored."""


class NotStoredError(Exception):
    """The Event of RequestReceived could not be stored: answer 500 with this text, and do nothing else."""


class Auditor:
    """Audits the requests of one server under one policy."""

    def __init__(self, policy: Policy, sink: Sink, counters: Counters) -> None:
        self._sink = sink
        self._counters = counters
        self.use(policy)

    def use(self, policy: Policy) -> None:
        """Go by this policy from now on; requests under way end as they began. May be called from any thread."""
        find = functools.partial(_subject, compile_policy(policy))
        # clients ask the same over and over; long URLs, which differ, are not kept
        self._find = functools.lru_cache(SUBJECTS_MAX)(find), find

    def receive(
        self,
        request: Request,
        user: UserInfo,
        received_us: int,
        new_id: str,
        annotations: Mapping[str, str] | None = None,
    ) -> "AuditedRequest | None":
        """Take an authenticated request. `annotations`: those of its authentication. Raises NotStoredError."""
        audited = self._begin(request, user, received_us, new_id)
        if audited is None:
            return None
        if annotations:
            for key, value in annotations.items():
                audited.annotate(key, value)
        is_long = audited.record.subject.is_long_running
        audited._receive(Happening.RECEIVED_LONG_RUNNING if is_long else Happening.RECEIVED_SHORT)
        return audited

    def turn_away(self, request: Request, received_us: int, new_id: str) -> "AuditedRequest | None":
        """Take a request refused before or by authentication; tell its answer by `respond`, and that is all."""
        audited = self._begin(request, None, received_us, new_id)
        if audited is not None:
            audited._advance(Happening.TURNED_AWAY)
        return audited

    def _begin(self, request: Request, user: UserInfo | None, received_us: int, new_id: str) -> "AuditedRequest | None":
        name, groups = (None, None) if user is None else (user.username or "", user.groups or ())
        find = self._find[len(request.target) > SUBJECT_MAX_CHARACTERS]
        subject = find(request.method, request.target, name, groups)
        self._counters.count_level(subject.decision.level)
        if subject.decision.level is Level.NONE:
            return None
        record = begin(request, subject, user, received_us, new_id)
        return AuditedRequest(record, received_us, self._sink, self._counters)


def _subject(
    policy: CompiledPolicy, method: str, target: str, user: str | None, groups: tuple[str, ...] | None
) -> Subject:
    attributes = request_info(method, target).attributes(user, groups)
    return subject_of(attributes, policy.decide(attributes), target)


@dataclass(slots=True)
class AuditedRequest:
    """One request under audit: say what happens to it, in the order in which it happens."""

    record: Record
    _received_us: int
    _sink: Sink
    _counters: Counters
    _state: State = State.NEW

    def impersonate(self, user: UserInfo, constraint: str | None = None) -> None:
        """Note that the caller may act for this user; `constraint`: how constrained (1.36 on)."""
        self._advance(Happening.IMPERSONATED)
        self.record.impersonate(user, constraint)

    def annotate(self, key: str, value: str) -> bool:
        """Add an annotation; False when the key has another value already, which stays."""
        return self.record.annotate(key, value)

    def body_read(self, body: bytes) -> None:
        """Take the decoded body, as JSON of the request's version; a patch as it was sent."""
        self._advance(Happening.BODY_READ)
        self.record.keep_request(body)

    def respond(self, code: int, at_us: int, body: bytes = b"") -> None:
        """Note that the status code is written (101: connection taken over); `body`: the object that follows."""
        step = self._advance(Happening.STATUS_WRITTEN)
        if body:
            self.record.keep_response(code, body)
        self.record.set_code(code)
        self._emit(step, at_us)

    def finish(self, at_us: int, latencies: Mapping[str, str] | None = None) -> None:
        """End with the handler. `latencies` of its layers (`etcd`: `1.3ms`) are noted when it took over 500 ms."""
        step = self._advance(Happening.RETURNED)
        if self.record.response_status is None:
            self.record.response_status = CLOSED_EARLY
        duration_us = at_us - self._received_us
        if latencies and duration_us > LATENCY_THRESHOLD_US:
            for layer, text in latencies.items():
                self.annotate(LATENCY_PREFIX + layer, text)
            self.annotate(LATENCY_PREFIX + "total", go_duration(duration_us))
        self._emit(step, at_us)

    def panic(self, reason: str, at_us: int) -> None:
        """End with a handler that broke off."""
        step = self._advance(Happening.PANICKED)
        self.record.panic(reason)
        self._emit(step, at_us)

    def _advance(self, happening: Happening) -> lifecycle.Step:
        step = lifecycle.step(self._state, happening)
        self._state = step.to
        return step

    def _receive(self, happening: Happening) -> None:
        if not self._emit(self._advance(happening), self._received_us):
            self._advance(Happening.STORE_REFUSED)
            self._counters.count_rejected()
            uri = quote(self.record.subject.request_uri)
            raise NotStoredError(f"Internal Server Error: {uri}: failed to store audit event")

    def _emit(self, step: lifecycle.Step, at_us: int) -> bool:
        is_stored = True
        omitted = self.record.subject.decision.omit_stages
        for stage in step.stages:
            if not omitted or stage not in omitted:
                self._counters.count_event()
                is_stored = self._sink.process_events((self.record.event(stage, at_us),)) and is_stored
        return is_stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A request told as a whole. `user` None: turned away; `code` None: nothing answered; `completed_us` None: open."""

    request: Request
    user: UserInfo | None
    received_us: int
    new_id: str
    request_object: bytes = b""
    impersonated_user: UserInfo | None = None
    impersonation_constraint: str | None = None
    code: int | None = None
    response_object: bytes = b""
    started_us: int | None = None
    completed_us: int | None = None
    panic: str | None = None
    early_annotations: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    late_annotations: Mapping[str, str] = field(default_factory=dict)
    latencies: Mapping[str, str] = field(default_factory=dict)


def drive(auditor: Auditor, exchange: Exchange) -> None:
    """Take a request through its whole life. Raises NotStoredError."""
    started_us = exchange.received_us if exchange.started_us is None else exchange.started_us
    if exchange.user is None:
        audited = auditor.turn_away(exchange.request, exchange.received_us, exchange.new_id)
        if audited is not None and exchange.code is not None:
            audited.respond(exchange.code, started_us, exchange.response_object)
        return
    audited = auditor.receive(
        exchange.request, exchange.user, exchange.received_us, exchange.new_id, exchange.early_annotations
    )
    if audited is None:
        return
    if exchange.impersonated_user is not None:
        audited.impersonate(exchange.impersonated_user, exchange.impersonation_constraint)
    for key, value in exchange.annotations.items():
        audited.annotate(key, value)
    if exchange.request_object:
        audited.body_read(exchange.request_object)
    if exchange.code is not None:
        audited.respond(exchange.code, started_us, exchange.response_object)
    for key, value in exchange.late_annotations.items():
        audited.annotate(key, value)
    if exchange.completed_us is None:
        return
    if exchange.panic is not None:
        audited.panic(exchange.panic, exchange.completed_us)
    else:
        audited.finish(exchange.completed_us, exchange.latencies)


def go_duration(duration_us: int) -> str:
    """Write a duration as Go does: `3.945024s`, `1m0.5s`, `715.072ms`, `12µs`."""
    if duration_us < 1_000:
        return f"{duration_us}µs" if duration_us else "0s"
    if duration_us < 1_000_000:
        return f"{_decimal(duration_us, 1_000)}ms"
    minutes, rest_us = divmod(duration_us, 60_000_000)
    seconds = f"{_decimal(rest_us, 1_000_000)}s"
    if not minutes:
        return seconds
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{seconds}" if hours else f"{minutes}m{seconds}"


def _decimal(value: int, unit: int) -> str:
    whole, fraction = divmod(value, unit)
    digits = str(fraction).zfill(len(str(unit)) - 1).rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)
