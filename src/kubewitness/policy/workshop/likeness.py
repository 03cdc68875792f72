"""
What a body would have weighed that was not recorded: from like events of the same log, with an interval.

Like events have the same verb, group, resource and subresource and the same outcome (failed or not), and were recorded
at a level that keeps the body. A failed request's response is a Status, so any failed request is like it. Where there
is no like event nothing is guessed: the answer is None, "unknown".
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kubewitness.event.types import Level, Stage
from kubewitness.policy.request import is_long_running
from kubewitness.policy.shapes import Shape
from kubewitness.policy.types import Attributes

RECEIVED_SHARE = 0.72
"""What RequestReceived takes of a ResponseComplete without bodies, measured on kube-apiserver 1.36; where the log has
both, its own share is used."""
RECEIVED_SPREAD = 0.15
WITH_REQUEST = (Level.REQUEST, Level.REQUEST_RESPONSE)
"""Levels at which request bodies are recorded; membership is quicker than comparison."""
_WITH_RESPONSE = (Level.REQUEST_RESPONSE,)
# Student's t for 95 %, by degrees of freedom: few like events tell little about how much bodies differ
_QUANTILES = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)
_BODY_VERBS = frozenset(("create", "update", "patch", "delete", "deletecollection"))

_Key = tuple[str, str, str, str, bool]


@dataclass(frozen=True, slots=True)
class Guess:
    """A number of bytes that was estimated, give or take `spread`."""

    size: float
    spread: float


@dataclass(slots=True)
class _Sample:
    events: int = 0
    total: float = 0
    squares: float = 0

    def add(self, events: int, total: float, squares: float) -> None:
        self.events += events
        self.total += total
        self.squares += squares

    def guess(self, events: int) -> Guess:
        """Estimate the sum over so many more events, 95 in 100 times within the spread."""
        mean = self.total / self.events
        if self.events == 1:
            return Guess(events * mean, events * mean)
        variance = max(0.0, self.squares / self.events - mean * mean) * self.events / (self.events - 1)
        spread = _quantile(self.events - 1) * events * math.sqrt(variance * (1 / self.events + 1 / events))
        return Guess(events * mean, spread)


class Likeness:
    """The bodies of a log, by what they are like."""

    def __init__(self, requests: Mapping[Attributes, Sequence[Shape]]) -> None:
        self._requests: dict[_Key | bool, _Sample] = {}
        self._responses: dict[_Key | bool, _Sample] = {}
        parts = whole = 0.0
        for shapes in requests.values():
            received = [shape for shape in shapes if shape.stage is Stage.REQUEST_RECEIVED]
            complete = [shape for shape in shapes if shape.stage is Stage.RESPONSE_COMPLETE]
            for shape in complete:
                if shape.level is not Level.METADATA:
                    self._learn(shape)
            if received and complete:
                parts += _mean(received)
                whole += _mean(complete)
        self.received_share = parts / whole if whole else RECEIVED_SHARE
        """What a RequestReceived takes of its ResponseComplete without bodies."""

    def _learn(self, shape: Shape) -> None:
        key = likeness_key(shape)
        for samples, levels, total, squares in (
            (self._requests, WITH_REQUEST, shape.request_body, shape.request_squares),
            (self._responses, _WITH_RESPONSE, shape.response_body, shape.response_squares),
        ):
            if shape.level in levels:
                for one in (key, True) if shape.is_failed else (key,):
                    samples.setdefault(one, _Sample()).add(shape.events, total, squares)

    def request(self, shape: Shape) -> Guess | None:
        """Estimate the request bodies of a shape that was recorded without."""
        if not can_have_request(shape):
            return Guess(0, 0)
        sample = self._requests.get(likeness_key(shape))
        return sample.guess(shape.events) if sample else None

    def response(self, shape: Shape) -> Guess | None:
        """Estimate the response bodies of a shape that was recorded without."""
        if not can_have_response(shape):
            return Guess(0, 0)
        sample = self._responses.get(likeness_key(shape)) or (self._responses.get(True) if shape.is_failed else None)
        return sample.guess(shape.events) if sample else None


def can_have_request(shape: Shape) -> bool:
    """Say whether kube-apiserver records a request body at this stage, given the level."""
    request = shape.request
    is_object = request.resource_request and request.verb in _BODY_VERBS and not is_long_running(request)
    return shape.stage is Stage.RESPONSE_COMPLETE and request.user is not None and is_object


def can_have_response(shape: Shape) -> bool:
    """Say whether kube-apiserver records a response body at this stage, given the level."""
    request = shape.request
    if shape.stage is not Stage.RESPONSE_COMPLETE or request.user is None or is_long_running(request):
        return False
    return request.resource_request or request.path.startswith("/api")


def _quantile(freedom: int) -> float:
    return _QUANTILES[freedom - 1] if freedom <= len(_QUANTILES) else 1.96 + 2.5 / freedom


def likeness_key(shape: Shape) -> _Key:
    """Give what like events have in common."""
    request = shape.request
    what = request.resource if request.resource_request else request.path
    return request.verb, request.api_group, what, request.subresource, shape.is_failed


def _mean(shapes: Sequence[Shape]) -> float:
    return sum(shape.plain for shape in shapes) / sum(shape.events for shape in shapes)
