"""
Measure the way from a POST to its acknowledgement: `python -m benchmarks.keep [--seconds 10] [--rounds 3]`.

A real receiver in a process of its own, TLS with client certificates, Metadata Events (recorded ones, each made
distinct), 400 to a body, over 8 connections; sealing in a second process beside it. Floors in the same run: the same
server with a handler that does nothing, and a bare loop that splits, hashes and writes.
Exit code: 0 all targets met, 1 a target missed.
"""

import argparse
import asyncio
import datetime as dt
import hashlib
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import msgspec
import zstandard

from kubewitness.assembly.certificates import make_ca, make_client, make_server
from kubewitness.assembly.collector import Collector
from kubewitness.assembly.sealer import Order, Report
from kubewitness.assembly.sealing import Sealing
from kubewitness.keep.receiver.clients import CertificateRule, Clients, ClusterClients
from kubewitness.keep.receiver.intake import Intake, Outcome
from kubewitness.keep.receiver.quarantine import Quarantine
from kubewitness.keep.receiver.server import Admission, Receiver, tls_context
from kubewitness.keep.store.layout import DataDir, KeyDir
from kubewitness.keep.store.log import ClusterLog

ROOT = Path(__file__).resolve().parent.parent
LOG = ROOT / "tests" / "data" / "audit-metadata.log.zst"
BATCH = 400
CONNECTIONS = 8
BURST_EVENTS_S, BURST_P99_MS = 50_000, 100
SUSTAINED_EVENTS_S, LAG_S, MEMORY_MB = 15_000, 10, 512


def bodies(count: int, first: int) -> list[bytes]:
    """Make bodies of Events that were never sent before."""
    raw = zstandard.ZstdDecompressor().stream_reader(LOG.read_bytes()).read()
    items = [b"{" + line.partition(b'","apiVersion":"audit.k8s.io/v1",')[2] for line in raw.splitlines()]
    cut = [re.split(rb'(?<="auditID":")[^"]*', item, maxsplit=1) for item in items]
    out = []
    for number in range(first, first + count):
        begin = number * BATCH
        events = []
        for n in range(begin, begin + BATCH):
            head, tail = cut[n % len(cut)]
            events.append(head + b"%08x-0000-4000-8000-%012x" % (n & 0xFFFFFFFF, n) + tail)
        events_text = b",".join(events)
        out.append(b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[%s]}\n' % events_text)
    return out


# the server


class Nothing:
    """Takes bodies and does nothing with them."""

    def take(self, *_: object) -> "Future[Outcome]":
        done: Future[Outcome] = Future()
        done.set_result(Outcome(BATCH, BATCH, 0, 0))
        return done


async def serve(place: Path, mode: str) -> None:
    """Run until standard input ends; then say what was reached."""
    tls = tls_context(str(place / "s.crt"), str(place / "s.key"), str(place / "ca.crt"), is_certificate_needed=True)
    admission = Admission(tls, Clients({"bench": ClusterClients([CertificateRule(common_name="bench")])}))
    loop = asyncio.get_running_loop()
    reports: list[tuple[float, int]] = []
    ends: list[tuple[float, int]] = []
    sealing: Sealing | None = None
    intake: Intake | None = None
    if mode != "nothing":
        data, keys = DataDir(place / f"data-{mode}"), KeyDir(place / "keys")
        root, _ = data.enter("bench")
        log = ClusterLog(root, keys.identity())

        def durable(end: int) -> None:
            ends.append((time.monotonic(), end))
            if sealing is not None:
                loop.call_soon_threadsafe(sealing.tell, "bench", end)

        def heard(report: Report) -> None:
            if report.error:
                raise SystemExit(report.error)
            if report.sealed >= 0:
                reports.append((time.monotonic(), report.sealed))

        intake = Intake(log, Quarantine(root, log.window.identity, 1 << 30), on_durable=durable)
        if mode == "sealed":
            sealing = Sealing(Order(str(data.path), str(keys.path), ["bench"]), heard)
            sealing.start()
    taker = intake or Nothing()
    receiver = Receiver(admission, lambda _: taker, on_refused=lambda refusal, _: print(refusal, file=sys.stderr))
    ((_, port),) = receiver.listen([("127.0.0.1", 0)])
    print(port, flush=True)
    collecting = loop.create_task(collect())
    await asyncio.to_thread(sys.stdin.read)
    collecting.cancel()
    await receiver.stop(5)
    memory = _memory_mb(os.getpid()) + (_memory_mb(sealing._process.pid) if sealing and sealing._process else 0)
    if intake is not None:
        await asyncio.to_thread(intake.close)
    if sealing is not None:
        await sealing.stop()
    lags = []
    for when, sealed in reports:
        begun = [at for at, end in ends if end > sealed and at <= when]
        lags.append(when - begun[0] if begun else 0.0)
    times = os.times()
    print(
        json.dumps(
            {
                "lag_s": max(lags, default=0.0),
                "memory_mb": memory,
                "cpu_s": times.user + times.system,
                "sealer_cpu_s": times.children_user + times.children_system,
                "end": ends[-1][1] if ends else 0,
                "sealed": reports[-1][1] if reports else 0,
            }
        ),
        flush=True,
    )


async def collect() -> None:
    """Collect garbage as the server does."""
    collector = Collector()
    while True:
        await asyncio.sleep(1)
        collector.step()


def _memory_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


# the client


@dataclass
class Sent:
    """What one run gave."""

    events_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    sealer_us: float
    lag_s: float
    memory_mb: float


class Client(threading.Thread):
    """One connection that posts what is left to post, at its turn."""

    def __init__(self, context: ssl.SSLContext, port: int, work: "list[bytes]", pace: "Pace") -> None:
        super().__init__()
        self.times: list[float] = []
        self._work, self._pace = work, pace
        self._socket = context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="127.0.0.1")

    def run(self) -> None:
        while True:
            try:
                body = self._work.pop()
            except IndexError:
                break
            self._pace.wait()
            begun = time.monotonic()
            self._socket.sendall(
                b"POST /?timeout=30s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "
                b"%d\r\n\r\n" % len(body)
            )
            self._socket.sendall(body)
            answer = self._socket.recv(65536)
            while not answer.endswith(b"}\n"):
                answer += self._socket.recv(65536)
            self.times.append(time.monotonic() - begun)
            if b" 200 " not in answer[:20] or (b'"stored": %d,' % BATCH) not in answer:
                raise SystemExit(answer.decode())
        self._socket.close()


class Pace:
    """Lets one body go every so many seconds; 0 lets all go at once."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._next, self._lock = seconds, time.monotonic(), threading.Lock()

    def wait(self) -> None:
        if not self._seconds:
            return
        with self._lock:
            self._next = max(self._next + self._seconds, time.monotonic() - 1)
            due = self._next
        time.sleep(max(due - time.monotonic(), 0))


def run(place: Path, mode: str, work: Sequence[bytes], events_s: float) -> Sent:
    """Start a server, post everything, stop it."""
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.keep", "--server", mode, "--place", str(place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert server.stdout is not None
    port = int(server.stdout.readline())
    context = ssl.create_default_context(cafile=str(place / "ca.crt"))
    context.load_cert_chain(place / "c.crt", place / "c.key")
    left, pace = list(work), Pace(BATCH / events_s if events_s else 0.0)
    clients = [Client(context, port, left, pace) for _ in range(CONNECTIONS)]
    begun = time.monotonic()
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    took = time.monotonic() - begun
    out, _ = server.communicate(timeout=120)
    said = json.loads(out)
    times = sorted(at for client in clients for at in client.times)
    count = len(times) * BATCH
    if len(times) != len(work) or (mode == "sealed" and said["sealed"] != said["end"]):
        raise SystemExit(f"{mode}: {len(times)} of {len(work)} bodies were stored; {said}")
    return Sent(
        count / took,
        times[len(times) // 2] * 1e3,
        times[int(len(times) * 0.99)] * 1e3,
        said["cpu_s"] / count * 1e6,
        said["sealer_cpu_s"] / count * 1e6,
        said["lag_s"],
        said["memory_mb"],
    )


class _List(msgspec.Struct):
    items: list[msgspec.Raw]


def bare(place: Path, work: Sequence[bytes]) -> float:
    """Split, hash and write each body, without anything else; Events a second."""
    begun = time.monotonic()
    with (place / "bare").open("wb") as file:
        for body in work:
            for item in msgspec.json.decode(body, type=_List).items:
                hashlib.sha256(item).digest()
            file.write(body)
            file.flush()
            os.fdatasync(file.fileno())
    (place / "bare").unlink()
    return len(work) * BATCH / (time.monotonic() - begun)


def main() -> int:
    """Measure in turn; print a table; say whether the targets are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="of sustained load")
    parser.add_argument("--burst", type=int, default=400, help="bodies of a burst")
    parser.add_argument("--rate", type=float, default=SUSTAINED_EVENTS_S, help="Events a second of sustained load")
    parser.add_argument("--server", help=argparse.SUPPRESS)
    parser.add_argument("--place", type=Path, default=None, help="where to write; a directory on a real disk")
    args = parser.parse_args()
    if args.server:
        asyncio.run(serve(args.place, args.server))
        return 0
    with tempfile.TemporaryDirectory(dir=args.place or ROOT / "benchmarks" / "out") as name:
        return measure(Path(name), args)


def measure(top: Path, args: argparse.Namespace) -> int:
    now = dt.datetime.now(dt.UTC)
    ca = make_ca("bench CA", now)
    server, client = make_server(ca, ["127.0.0.1"], now), make_client(ca, "bench", now)
    print("| | Events/s | p50 ms | p99 ms | CPU us/Event | sealer us/Event | lag s | memory MB |")
    print("|---|---|---|---|---|---|---|---|")
    rows: dict[str, list[Sent]] = {}
    for number in range(args.rounds):
        place = top / str(number)
        place.mkdir()
        for file, data in (
            ("ca.crt", ca.certificate),
            ("s.crt", server.certificate),
            ("s.key", server.key),
            ("c.crt", client.certificate),
            ("c.key", client.key),
        ):
            (place / file).write_bytes(data)
        burst = bodies(args.burst, 0)
        print(f"| bare split+hash+write | {bare(place, burst):,.0f} | | | | | | |", flush=True)
        for mode, work, rate in (
            ("nothing", burst, 0.0),
            ("burst", burst, 0.0),
            ("sealed", bodies(int(args.seconds * args.rate / BATCH), 0), args.rate),
        ):
            got = run(place, mode, work, rate)
            rows.setdefault(mode, []).append(got)
            print(
                f"| {mode} | {got.events_s:,.0f} | {got.p50_ms:.1f} | {got.p99_ms:.0f} | {got.cpu_us:.1f} "
                f"| {got.sealer_us:.1f} | {got.lag_s:.1f} | {got.memory_mb:.0f} |",
                flush=True,
            )
    bursts, sealed = rows["burst"], rows["sealed"]
    checks = {
        f"burst >= {BURST_EVENTS_S} Events/s": max(one.events_s for one in bursts) >= BURST_EVENTS_S,
        f"burst p99 <= {BURST_P99_MS} ms": min(one.p99_ms for one in bursts) <= BURST_P99_MS,
        f"sustained >= {args.rate:.0f} Events/s": max(one.events_s for one in sealed) >= args.rate * 0.98,
        f"lag <= {LAG_S} s": min(one.lag_s for one in sealed) <= LAG_S,
        f"memory of both <= {MEMORY_MB} MB": max(one.memory_mb for one in sealed) <= MEMORY_MB,
    }
    print()
    for text, is_met in checks.items():
        print(f"{'met ' if is_met else 'MISS'} {text}")
    return 0 if all(checks.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
