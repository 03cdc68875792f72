"""
The webhook backend: each batch of Events is posted as one EventList, tried again a few times, then given up.

`process_events` blocks until the batch is delivered or lost; `buffered` takes that off the requests. What is lost is
counted and reported as kube-apiserver does. Success is any 2xx, everything else is tried again alike: five attempts,
pauses that grow by half, each longer by up to a fifth. Within an attempt a Retry-After of a 429 or 5xx is obeyed, as
long as the attempt's 30 seconds last.

Follows k8s.io/apiserver/plugin/pkg/audit/webhook and pkg/util/webhook, and the reasons of k8s.io/apimachinery's
NewGenericServerResponse. Differs: redirects are refused, where kube-apiserver follows them and may lose the Events.
"""

import random
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import NamedTuple, Protocol

import msgspec

from kubewitness.emit import wire
from kubewitness.emit.backends.post import TIMEOUT_SECONDS, Answer, PostError
from kubewitness.emit.metrics import Metrics
from kubewitness.event.types import Event
from kubewitness.policy.gotext import quote

NAME = "webhook"
ATTEMPTS = 5
BACKOFF_FACTOR = 1.5
BACKOFF_JITTER = 0.2
RETRY_AFTER_MAX = 10
_SECOND_NS = 1_000_000_000
_random = random.Random()  # noqa: S311 - spreads retries, hides nothing
_FIXED_REASONS = {
    400: "the server rejected our request for an unknown reason",
    401: "the server has asked for the client to provide credentials",
    404: "the server could not find the requested resource",
    405: "the server does not allow this method on the requested resource",
    409: "the server reported a conflict",
    410: "the server has expired",
    422: "the server rejected our request due to an error in our request",
    429: "the server has received too many requests and has asked us to try again later",
    503: "the server is currently unable to handle the request",
    504: "the server was unable to return a response in the time allotted, but may still be processing the request",
}


class _Status(msgspec.Struct, frozen=True):
    kind: str = ""
    status: str = ""
    message: str = ""


class Failure(NamedTuple):
    """Why a POST failed, the status code if there was one, and the seconds to wait if the receiver named them."""

    reason: str
    code: int = 0
    wait_s: int | None = None


class Posts(Protocol):
    """Posts a body once."""

    url: str

    def post(self, body: bytes) -> Answer:
        """Post the body. Raises PostError."""

    def close(self) -> None:
        """Let go of connections."""


class Sender:
    """Delivers bodies by attempts and pauses. Thread-safe. `sleep` and `now_s` are the clock."""

    def __init__(
        self,
        posts: Posts,
        initial_backoff_ns: int,
        sleep: Callable[[float], object] = time.sleep,
        jitter: Callable[[], float] = _random.random,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._posts = posts
        self._initial_s = initial_backoff_ns / _SECOND_NS
        self._sleep = sleep
        self._jitter = jitter
        self._now_s = now_s

    def send(self, body: bytes) -> str | None:
        """Deliver; the reason when it is given up."""
        pause_s = self._initial_s
        for left in range(ATTEMPTS - 1, -1, -1):
            failure = self.attempt(body)
            if failure is None:
                return None
            if not left:
                return failure.reason
            self._sleep(pause_s * (1 + BACKOFF_JITTER * self._jitter()))
            pause_s *= BACKOFF_FACTOR
        raise AssertionError

    def attempt(self, body: bytes) -> Failure | None:
        """Try once, waiting where the receiver asks for it; what went wrong, if anything."""
        ends_s = self._now_s() + TIMEOUT_SECONDS
        for left in range(RETRY_AFTER_MAX, -1, -1):
            failure = self.post(body)
            if failure is None or failure.wait_s is None or not left or self._now_s() + failure.wait_s >= ends_s:
                return failure
            self._sleep(failure.wait_s)
        raise AssertionError

    def post(self, body: bytes) -> Failure | None:
        """Post once and wait for nothing; what went wrong, if anything."""
        try:
            answer = self._posts.post(body)
        except PostError as exc:
            return Failure(str(exc))
        reason = reason_of_answer(answer, self._posts.url)
        return None if reason is None else Failure(reason, answer.code, _retry_after(answer))

    def close(self) -> None:
        """Let go of connections."""
        self._posts.close()


class WebhookBackend:
    """Posts each batch that it is given."""

    name = NAME

    def __init__(self, sender: Sender, metrics: Metrics) -> None:
        self._sender = sender
        self._metrics = metrics

    def run(self) -> None:
        """Start: nothing to do, a connection is opened for the first batch."""

    def shutdown(self) -> None:
        """Let go of the connections."""
        self._sender.close()

    def process_events(self, events: Sequence[Event]) -> bool:
        """Deliver the Events, or count them as lost."""
        items, taken = [], []
        for event in events:
            try:
                items.append(wire.item(event))
                taken.append(event)
            except (UnicodeEncodeError, msgspec.MsgspecError) as exc:
                self._metrics.plugin_error(NAME, f"the Event cannot be written as text: {exc}", (event,))
        if not items:
            return not events
        reason = self._sender.send(wire.event_list(items))
        if reason is not None:
            self._metrics.plugin_error(NAME, reason, taken)
        return reason is None and len(taken) == len(events)


def reason_of_answer(answer: Answer, url: str) -> str | None:
    """Say why this answer is no success; None when it is one."""
    code = answer.code
    if HTTPStatus.OK <= code < HTTPStatus.MULTIPLE_CHOICES:
        return None
    if HTTPStatus.MULTIPLE_CHOICES <= code < HTTPStatus.BAD_REQUEST:
        if not answer.location:
            return f"the server responded with the status code {code} but did not return more information"
        return f'Post "{url}": refused to follow the redirect {code} to {quote(answer.location)}'
    message = _status_message(answer)
    if message:
        return message
    if code in _FIXED_REASONS:
        return _FIXED_REASONS[code]
    is_text = answer.media_type.startswith("text/")
    text = answer.body.decode("utf-8", "replace").strip() if is_text else "unknown"
    if code == HTTPStatus.FORBIDDEN:
        return text
    if code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return f"an error on the server ({quote(text)}) has prevented the request from succeeding"
    return f"the server responded with the status code {code} but did not return more information"


def _status_message(answer: Answer) -> str:
    """Give the message of a Status, if that is what came."""
    if answer.media_type != "application/json":
        return ""
    try:
        status = msgspec.json.decode(answer.body, type=_Status)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
    return status.message if status.kind == "Status" and status.status != "Success" else ""


def _retry_after(answer: Answer) -> int | None:
    """Give the seconds that the receiver asks us to wait, where it is to be heard."""
    is_heard = answer.code == HTTPStatus.TOO_MANY_REQUESTS or answer.code >= HTTPStatus.INTERNAL_SERVER_ERROR
    text = answer.retry_after.strip()
    return int(text) if is_heard and text.isascii() and text.isdigit() and len(text) < 10 else None
