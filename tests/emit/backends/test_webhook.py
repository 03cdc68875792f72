"""The webhook backend against a receiver that answers, refuses, redirects, breaks off and is slow."""

import io
import json
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import zstandard

from kubewitness.emit.backends import kubeconfig
from kubewitness.emit.backends.build import webhook_backend
from kubewitness.emit.backends.options import parse
from kubewitness.emit.backends.post import Answer, Poster, PostError
from kubewitness.emit.backends.webhook import Sender, WebhookBackend
from kubewitness.emit.metrics import Metrics
from kubewitness.event.types import Event
from tests.emit.backends.receiver import EOF, GARBAGE, HALF, RESET, Receiver, receiving
from tests.emit.samples import event

DATA = Path(__file__).parents[2] / "data"


class Clock:
    """Sleeps by moving on."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.now_s += seconds


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    with receiving(tmp_path_factory.mktemp("receiver")) as found:
        yield found


@pytest.fixture(autouse=True)
def _forgetful(receiver: Receiver) -> None:
    receiver.acts.clear()
    receiver.seen.clear()
    receiver.slow_s = 0


class Hook:
    """A webhook backend whose clock is ours."""

    def __init__(self, config: Path, backoff_s: float = 10, jitter: float = 0.5, timeout_s: float = 30) -> None:
        self.clock, self.reports = Clock(), []
        self.metrics = Metrics(self.reports.append)
        poster = Poster(kubeconfig.read(config), timeout_s)
        sender = Sender(poster, int(backoff_s * 1e9), self.clock.sleep, lambda: jitter, lambda: self.clock.now_s)
        self.backend = WebhookBackend(sender, self.metrics)

    def send(self, *events: Event) -> bool:
        return self.backend.process_events(events or (event(),))

    @property
    def reason(self) -> str:
        return self.reports[0].split("events: ", 1)[1].split("\nImpacted", 1)[0]


@pytest.fixture
def hook(receiver: Receiver) -> Iterator[Hook]:
    found = Hook(receiver.kubeconfig(user="{token: dummy-webhook-token}"))
    yield found
    found.backend.shutdown()


def recorded() -> Iterator[tuple[bytes, bytes]]:
    """The bodies and headers that a real kube-apiserver sent."""
    packed = (DATA / "webhook-full.tar.zst").read_bytes()
    with tarfile.open(fileobj=io.BytesIO(zstandard.ZstdDecompressor().stream_reader(packed).read())) as tar:
        files = {member.name: member for member in tar.getmembers()}
        for name in sorted(files):
            if name.endswith(".json"):
                body, head = tar.extractfile(files[name]), tar.extractfile(files[name[:-5] + ".headers"])
                assert body is not None
                assert head is not None
                yield body.read(), head.read()


class Items(msgspec.Struct):
    items: list[Event]


def test_every_recorded_body_is_posted_again_byte_for_byte() -> None:
    """The 4,815 items of 126 recorded POSTs, read as Events, make the same 126 bodies."""
    posted: list[bytes] = []

    class Kept:
        url = "https://kept"

        def post(self, body: bytes) -> Answer:
            posted.append(body)
            return Answer(200, b"")

        def close(self) -> None: ...

    backend = WebhookBackend(Sender(Kept(), 1), Metrics())
    count = 0
    for body, _ in recorded():
        events = msgspec.json.decode(body, type=Items).items
        count += len(events)
        assert backend.process_events(events)
        assert posted.pop() == body
    assert count == 4815


def test_the_request_is_the_recorded_one(receiver: Receiver, hook: Hook) -> None:
    """Request line and headers are those of the recording, in their order; only Host and User-Agent differ."""
    body, head = next(recorded())
    assert hook.send(*msgspec.json.decode(body, type=Items).items)
    lines = head.decode().split("\r\n" if b"\r\n" in head else "\n")
    headers = [tuple(line.split(": ", 1)) for line in lines[1:] if line]
    ours = {"Host": f"127.0.0.1:{receiver.port}", "User-Agent": "kubewitness/0.1.0"}
    (seen,) = receiver.seen
    assert seen.line == lines[0]
    assert seen.body == body
    assert seen.headers == [(name, ours.get(name, value)) for name, value in headers]


@pytest.mark.parametrize("code", [200, 201, 202, 204])
def test_any_2xx_is_success_whatever_it_says(receiver: Receiver, hook: Hook, code: int) -> None:
    """The body is ignored, even a Status that speaks of failure."""
    failure = b'{"kind":"Status","status":"Failure","message":"no"}'
    receiver.acts += [(code, {"Content-Type": "application/json"}, b"" if code == 204 else failure)]
    assert hook.send()
    assert (hook.clock.slept, hook.reports) == ([], [])


TEXT = {"Content-Type": "text/plain"}
STATUS = b'{"kind":"Status","apiVersion":"v1","status":"Failure","message":"quota is used up","code":403}'


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (400, "the server rejected our request for an unknown reason"),
        (401, "the server has asked for the client to provide credentials"),
        ((403, TEXT, b"go away\n"), "go away"),
        (403, "unknown"),
        ((403, {"Content-Type": "application/json"}, STATUS), "quota is used up"),
        (404, "the server could not find the requested resource"),
        (418, "the server responded with the status code 418 but did not return more information"),
        (422, "the server rejected our request due to an error in our request"),
        (429, "the server has received too many requests and has asked us to try again later"),
        ((500, TEXT, b"boom"), 'an error on the server ("boom") has prevented the request from succeeding'),
        (502, 'an error on the server ("unknown") has prevented the request from succeeding'),
        (503, "the server is currently unable to handle the request"),
        (301, "the server responded with the status code 301 but did not return more information"),
        (EOF, "EOF"),
        (HALF, "unexpected error when reading response body. Please retry. Original error: unexpected EOF"),
        (GARBAGE, 'net/http: HTTP/1.x transport connection broken: malformed HTTP response "SSH-2.0-OpenSSH"'),
        (RESET, "connection reset by peer"),
    ],
)
def test_everything_else_is_tried_five_times_and_then_lost(receiver: Receiver, hook: Hook, act, reason: str) -> None:
    """Pauses grow by half, each with its jitter; the loss is counted and told with kube-apiserver's reason."""
    receiver.acts += [act] * 5
    assert not hook.send(event(audit_id="a"), event(audit_id="b"))
    assert len(receiver.seen) == 5
    assert len({seen.body for seen in receiver.seen}) == 1
    assert hook.clock.slept == [11.0, 16.5, 24.75, 37.125]
    assert hook.metrics.errors == {"webhook": 2}
    expected = reason if not isinstance(act, str) else f'Post "{receiver.url}/k8s-audit?timeout=30s": {reason}'
    if act == RESET:
        # where the kernel notices first decides which of both it is
        assert hook.reason in (expected, expected.replace("connection reset by peer", "EOF"))
    else:
        assert hook.reason == expected.rstrip()
    assert hook.reports[0].startswith("Error in audit plugin 'webhook' affecting 2 audit events: ")
    assert hook.reports[0].count(" AUDIT: id=") == 2


def test_the_attempt_that_gets_through_ends_it(receiver: Receiver, hook: Hook) -> None:
    """Two refusals cost two pauses, and nothing is lost."""
    receiver.acts += [503, EOF]
    assert hook.send()
    assert (len(receiver.seen), len(hook.clock.slept), hook.reports) == (3, 2, [])


@pytest.mark.parametrize(("jitter", "pauses"), [(0.0, [0.5, 0.75, 1.125, 1.6875]), (0.999999, [0.6, 0.9, 1.35, 2.025])])
def test_the_flag_sets_the_first_pause(receiver: Receiver, jitter: float, pauses: list[float]) -> None:
    """With half a second the measured pauses 0.6, 0.9, 1.25 and 1.8 lie between these."""
    hook = Hook(receiver.kubeconfig(), backoff_s=0.5, jitter=jitter)
    receiver.acts += [500] * 5
    hook.send()
    hook.backend.shutdown()
    assert hook.clock.slept == pytest.approx(pauses, rel=1e-4)
    for low, measured, high in zip(
        [0.5, 0.75, 1.125, 1.6875], [0.6, 0.9, 1.25, 1.8], [0.6, 0.9, 1.35, 2.025], strict=True
    ):
        assert low <= measured <= high


@pytest.mark.parametrize("code", [429, 500, 503])
def test_retry_after_is_obeyed_within_an_attempt(receiver: Receiver, hook: Hook, code: int) -> None:
    """A 429 or 5xx may ask for a pause of its own, and no attempt is used up."""
    receiver.acts += [(code, {"Retry-After": "2"}, b"")] * 3
    assert hook.send()
    assert (len(receiver.seen), hook.clock.slept) == (4, [2, 2, 2])


def test_retry_after_is_obeyed_ten_times_at_most(receiver: Receiver, hook: Hook) -> None:
    """Then the attempt has failed, and the pauses between attempts apply."""
    receiver.acts += [(429, {"Retry-After": "0"}, b"")] * 11
    assert hook.send()
    assert (len(receiver.seen), hook.clock.slept) == (12, [0] * 10 + [11.0])


def test_an_attempt_waits_no_longer_than_its_time(receiver: Receiver, hook: Hook) -> None:
    """A receiver cannot put us off for an hour, nor by halves for more than the attempt's 30 seconds."""
    receiver.acts += [(503, {"Retry-After": "3600"}, b"")]
    assert hook.send()
    assert hook.clock.slept == [11.0]
    receiver.acts += [(503, {"Retry-After": "14"}, b"")] * 3
    hook.clock.slept.clear()
    assert hook.send()
    assert hook.clock.slept == [14, 14, 11.0]


@pytest.mark.parametrize(
    "act",
    [
        (404, {"Retry-After": "2"}, b""),
        (503, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, b""),
        (503, {"Retry-After": "-1"}, b""),
    ],
)
def test_retry_after_that_is_not_obeyed(receiver: Receiver, hook: Hook, act) -> None:
    """Only whole seconds of a 429 or 5xx count."""
    receiver.acts += [act]
    assert hook.send()
    assert hook.clock.slept == [11.0]


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_are_refused_not_followed(receiver: Receiver, hook: Hook, code: int) -> None:
    """Followed as a GET the Events would be lost without a trace; here they are tried again, then counted."""
    receiver.acts += [(code, {"Location": "/elsewhere"}, b"")] * 5
    assert not hook.send()
    assert {seen.line for seen in receiver.seen} == {"POST /k8s-audit?timeout=30s HTTP/1.1"}
    assert hook.reason == (
        f'Post "{receiver.url}/k8s-audit?timeout=30s": refused to follow the redirect {code} to "/elsewhere"'
    )


def test_a_slow_receiver_is_given_up_in_time(receiver: Receiver) -> None:
    """An answer that does not come, or comes letter by letter, ends with the time of the request."""
    hook = Hook(receiver.kubeconfig(), timeout_s=0.15)
    receiver.slow_s = 0.4
    began = time.monotonic()
    assert not hook.send()
    assert time.monotonic() - began < 1.5
    assert "context deadline exceeded" in hook.reason
    receiver.slow_s = 0
    receiver.acts += ["trickle"] * 5
    hook.reports.clear()
    assert not hook.send()
    assert "context deadline exceeded" in hook.reason
    hook.backend.shutdown()


def test_connections_are_used_again_and_dead_ones_are_not(receiver: Receiver, hook: Hook) -> None:
    """One connection serves many batches; one that the receiver closed meanwhile costs no attempt."""
    for _ in range(3):
        assert hook.send()
    assert len({seen.port for seen in receiver.seen}) == 1
    receiver.acts += [(200, {"Connection": "close"}, b"")]
    assert hook.send()
    assert hook.send()
    assert len({seen.port for seen in receiver.seen}) == 2
    assert hook.clock.slept == []


def test_a_receiver_that_goes_and_comes_back_costs_no_attempt(tmp_path: Path) -> None:
    """A kept connection that ended while idle is noticed before it is used."""
    with receiving(tmp_path) as first:
        hook = Hook(first.kubeconfig())
        first.acts += [(200, {}, b""), EOF]
        assert hook.send()
        # the second request ends its connection without an answer: that one is an attempt, as in Go
        assert hook.send()
        assert len(hook.clock.slept) == 1
    with pytest.raises(PostError, match="connection refused"):
        Poster(kubeconfig.read(first.kubeconfig())).post(b"")
    hook.backend.shutdown()


def test_an_event_that_is_no_text_does_not_take_the_others_along(receiver: Receiver, hook: Hook) -> None:
    """What cannot be encoded is counted alone."""
    torn = msgspec.structs.replace(event(), request_uri="/\ud800")
    assert not hook.send(torn, event(audit_id="good"))
    assert [item["auditID"] for item in json.loads(receiver.seen[0].body)["items"]] == ["good"]
    assert hook.metrics.errors == {"webhook": 1}


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ([], "buffered<webhook>"),
        (["--audit-webhook-mode=blocking"], "ignoreErrors<webhook>"),
        (["--audit-webhook-mode=blocking-strict"], "webhook"),
        (["--audit-webhook-truncate-enabled"], "truncate<buffered<webhook>>"),
    ],
)
def test_flags_make_the_backend_that_they_name(receiver: Receiver, flags: list[str], name: str) -> None:
    """Each mode prints as in kube-apiserver and delivers."""
    values = parse([f"--audit-webhook-config-file={receiver.kubeconfig()}", *flags])
    backend = webhook_backend(values, Metrics(), print)
    assert backend is not None
    assert backend.name == name
    backend.run()
    assert backend.process_events([event(), event()])
    backend.shutdown()
    assert sum(len(json.loads(seen.body)["items"]) for seen in receiver.seen) == 2


@pytest.mark.parametrize(("mode", "is_taken"), [("blocking", True), ("blocking-strict", False)])
def test_blocking_waits_for_the_receiver(receiver: Receiver, mode: str, is_taken: bool) -> None:
    """The request waits for the answer; only blocking-strict lets it notice that there was none."""
    flags = [f"--audit-webhook-mode={mode}", "--audit-webhook-initial-backoff=1ms"]
    metrics = Metrics()
    backend = webhook_backend(parse([f"--audit-webhook-config-file={receiver.kubeconfig()}", *flags]), metrics, print)
    assert backend is not None
    receiver.slow_s = 0.05
    began = time.monotonic()
    assert backend.process_events([event()])
    assert time.monotonic() - began >= 0.05
    receiver.slow_s = 0
    receiver.acts += [500] * 5
    assert backend.process_events([event()]) is is_taken
    backend.shutdown()
    assert metrics.errors == {"webhook": 1}


def test_batches_leave_together_and_a_slow_receiver_does_not_hold_up_the_next(receiver: Receiver) -> None:
    """Batch mode posts full batches at once, several at a time, and delivers the rest at the end."""
    flags = ["--audit-webhook-batch-max-size=2", "--audit-webhook-batch-throttle-enable=false"]
    backend = webhook_backend(parse([f"--audit-webhook-config-file={receiver.kubeconfig()}", *flags]), Metrics(), print)
    assert backend is not None
    receiver.slow_s = 0.3
    backend.run()
    began = time.monotonic()
    for number in range(7):
        assert backend.process_events([event(audit_id=str(number))])
    assert time.monotonic() - began < 0.25
    backend.shutdown()
    assert time.monotonic() - began < 1.0
    sizes = sorted(len(json.loads(seen.body)["items"]) for seen in receiver.seen)
    assert sizes == [1, 2, 2, 2]


def test_many_threads_share_a_poster(receiver: Receiver, hook: Hook) -> None:
    """Nothing is lost or mixed up when batches are posted at the same time."""
    threads = [
        threading.Thread(target=hook.send, args=[event(audit_id=f"{n}-{m}") for m in range(3)]) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    got = sorted(tuple(item["auditID"] for item in json.loads(seen.body)["items"]) for seen in receiver.seen)
    assert got == sorted(tuple(f"{n}-{m}" for m in range(3)) for n in range(8))
