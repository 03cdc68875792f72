"""
What it costs to leave Events, against loops that only encode them: `python -m benchmarks.emit [--rounds 30]`.

Three comparisons, each of CPU time in this process, interleaved round by round; a row is the median of the rounds'
ratios. The Events are those that a kube-apiserver recorded at level Metadata, the policy is that server's.

- log: the log backend with rotation, against msgspec's encoder and a write(2) for each Event. Rate at least 0.5x.
- asgi: a request through the middleware less the same request without it, against the encoding of one Event as it
  stands in a log. At most 5x. Shown as well: the same when RequestReceived is not omitted, which is two Events.
- batch: the time that a request takes (median of a hundred) with a webhook in mode batch, against one whose Events go
  nowhere, while batches are posted by threads. At most 5 % more for a request of a millisecond, which is a fast one.

Exit code 1 when a target is missed.
"""

import argparse
import asyncio
import gc
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from kubewitness.emit import wire
from kubewitness.emit.backends.batcher import BatchOptions
from kubewitness.emit.backends.buffered import Buffered
from kubewitness.emit.backends.log import LogBackend
from kubewitness.emit.backends.options import MEBIBYTE, Rotation
from kubewitness.emit.backends.rotate import RotatingFile
from kubewitness.emit.doors.asgi import AuditMiddleware, Message, Receive, Scope, Send
from kubewitness.emit.doors.identity import Identity, known
from kubewitness.emit.metrics import Metrics
from kubewitness.emit.stages.handler import Auditor
from kubewitness.event.types import Event, Level, Stage
from kubewitness.policy.types import Policy, PolicyRule

DATA = Path(__file__).resolve().parent.parent / "tests" / "data"
COUNT = 2000
LOG_TARGET, ASGI_TARGET, BATCH_TARGET = 0.5, 5.0, 1.05
# the request whose latency is looked at spends a millisecond of its own
REQUEST_S = 0.001


def recorded() -> list[Event]:
    """The Events of the log at level Metadata."""
    packed = (DATA / "audit-metadata.log.zst").read_bytes()
    lines = zstandard.ZstdDecompressor().stream_reader(packed).read().split(b"\n")[:COUNT]
    return [msgspec.json.decode(line, type=Event) for line in lines]


def cpu_s(work: Callable[[], object]) -> float:
    """Give the CPU time of this process that the work takes."""
    gc.collect()
    gc.disable()
    begun = time.process_time()
    work()
    spent = time.process_time() - begun
    gc.enable()
    return spent


class Nowhere:
    """A backend that takes everything."""

    name = "nowhere"

    def process_events(self, _events: Sequence[Event]) -> bool:
        return True

    def run(self) -> None: ...

    def shutdown(self) -> None: ...


def log_ratios(events: Sequence[Event], folder: Path, rounds: int) -> list[float]:
    """How the rate of the log backend stands to that of a bare loop."""
    bare_fd = os.open(folder / "bare.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    file = RotatingFile(folder / "audit.log", Rotation(100 * MEBIBYTE), time.time_ns, lambda _: None)
    backend = LogBackend(file, Metrics())
    encode = msgspec.json.Encoder().encode

    def bare() -> None:
        for event in events:
            os.write(bare_fd, encode(event) + b"\n")

    def ours() -> None:
        for event in events:
            backend.process_events((event,))

    ratios = [cpu_s(bare) / cpu_s(ours) for _ in range(rounds)]
    os.close(bare_fd)
    backend.shutdown()
    return ratios


async def _app(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": b"{}"})


async def _receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(_message: Message) -> None:
    pass


_HEADERS = [(b"host", b"h"), (b"user-agent", b"kubectl/v1.36"), (b"accept", b"application/json"), (b"x", b"y")]
_ALICE = known("alice", "dev")


def _identify(_scope: Any) -> Identity:
    return _ALICE


def requests(app: Callable[[Scope, Receive, Send], Awaitable[None]], count: int = COUNT) -> Callable[[], None]:
    """Call an application so many times, as a server would."""

    async def all_of_them() -> None:
        for _ in range(count):
            scope = {
                "type": "http",
                "method": "GET",
                "path": "/api/v1/namespaces/shop/pods",
                "raw_path": b"/api/v1/namespaces/shop/pods",
                "query_string": b"limit=500",
                "headers": _HEADERS,
                "client": ("10.0.0.7", 50000),
            }
            await app(scope, _receive, _send)

    return lambda: asyncio.run(all_of_them())


def asgi_ratios(events: Sequence[Event], rounds: int, *omit: Stage) -> list[float]:
    """How the cost of the middleware stands to that of encoding one Event."""
    policy = Policy((PolicyRule(Level.METADATA),), omit_stages=omit)
    audited = requests(AuditMiddleware(_app, Auditor(policy, Nowhere(), Metrics()), _identify))
    plain = requests(_app)

    def encoded() -> None:
        for event in events:
            wire.line(event)

    return [(cpu_s(audited) - cpu_s(plain)) / cpu_s(encoded) for _ in range(rounds)]


def batch_ratios(rounds: int) -> list[float]:
    """How the time of a request with a webhook in mode batch stands to that of one whose Events go nowhere."""

    class Receiver(Nowhere):
        """Takes its time for each batch, as a network does."""

        def process_events(self, events: Sequence[Event]) -> bool:
            wire.event_list([wire.item(event) for event in events])
            time.sleep(0.05)
            return True

    async def busy(_scope: Scope, _receive: Receive, send: Send) -> None:
        ends = time.perf_counter() + REQUEST_S
        while time.perf_counter() < ends:
            pass
        await _app(_scope, _receive, send)

    latencies: list[float] = []

    def timed(app: AuditMiddleware) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
        async def around(scope: Scope, receive: Receive, send: Send) -> None:
            begun = time.perf_counter()
            await app(scope, receive, send)
            latencies.append(time.perf_counter() - begun)

        return around

    policy = Policy((PolicyRule(Level.METADATA),))
    buffered = Buffered(Receiver(), BatchOptions(10_000, 400, 30_000_000_000, 10.0, 15), Metrics(), 16)
    buffered.run()
    batch = requests(timed(AuditMiddleware(busy, Auditor(policy, buffered, Metrics()), _identify)), 100)
    nowhere = requests(timed(AuditMiddleware(busy, Auditor(policy, Nowhere(), Metrics()), _identify)), 100)
    ratios = []
    for _ in range(rounds):
        medians = []
        for work in (batch, nowhere):
            latencies.clear()
            work()
            medians.append(statistics.median(latencies))
        ratios.append(medians[0] / medians[1])
    buffered.shutdown()
    return ratios


def row(name: str, ratios: Sequence[float], limit: str, *, is_met: bool) -> bool:
    """Print one line of the table."""
    spread = statistics.quantiles(ratios, n=10)
    verdict = "" if not limit else "met" if is_met else "MISSED"
    middle = statistics.median(ratios)
    text = f"{name:<34} {middle:6.3f}x  {spread[0]:6.3f} .. {spread[-1]:6.3f}  {limit:<8} {verdict}"
    print(text.rstrip())
    return is_met


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    events = recorded()
    print(f"{'comparison':<34} {'median':>7}  {'10 % .. 90 %':<16}  {'target':<8}")
    with tempfile.TemporaryDirectory() as folder:
        log = log_ratios(events, Path(folder), rounds)
    is_met = row("log: rate to bare encode and write", log, ">= 0.5x", is_met=statistics.median(log) >= LOG_TARGET)
    asgi = asgi_ratios(events, rounds, Stage.REQUEST_RECEIVED)
    is_met &= row("asgi: request to encoding an Event", asgi, "<= 5x", is_met=statistics.median(asgi) <= ASGI_TARGET)
    row("asgi: the same, two Events", asgi_ratios(events, rounds), "", is_met=True)
    batch = batch_ratios(rounds)
    is_met &= row("batch: request to one without", batch, "<= 1.05x", is_met=statistics.median(batch) <= BATCH_TARGET)
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
