"""
How long after its acknowledgement an Event is found: `python -m benchmarks.found [--seconds 30] [--rate 15000]`.

The real server receives Metadata Events over mutual TLS, 400 to a body, over 8 connections, at a rate; beside that
one body at a time is posted whose Events nobody knows, and from its acknowledgement until `search` of a fresh process
has printed one of them by its auditID is what counts. The same question is put by this process, which has all modules
loaded. First with nothing else to do, then under load. Exit code: 0 the target is met, 1 it is missed.
"""

import argparse
import datetime as dt
import json
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.keep import BATCH, CONNECTIONS, ROOT, Client, Pace, bodies
from kubewitness.assembly.certificates import make_ca, make_client, make_server
from kubewitness.look.query import sql
from kubewitness.look.query.store import open_store
from kubewitness.look.query.syntax import filter_of

TARGET_S = 1.0
_PROGRAM = str(Path(sys.executable).with_name("kubewitness"))
Times = tuple[list[float], list[float], list[float]]
"""Seconds of a fresh process, of this one, and processor seconds of the fresh one; each ascending."""
_FIRST = 50_000_000
"""Bodies of a number beyond those of the load."""
_CONFIG = """\
data: data
listen: {events: '127.0.0.1:0', operate: '127.0.0.1:0', tiles: '127.0.0.1:0'}
tls: {certificate: s.crt, key: s.key, clientCA: ca.crt}
clusters:
- {name: bench, certificates: [{commonName: bench}]}
limits:
  reserveBytes: 1
"""


def site(place: Path) -> None:
    """Write certificates and the configuration of a server of one cluster."""
    now = dt.datetime.now(dt.UTC)
    ca = make_ca("bench CA", now)
    (place / "ca.crt").write_bytes(ca.certificate)
    for name, pair in (("s", make_server(ca, ["127.0.0.1"], now)), ("c", make_client(ca, "bench", now))):
        (place / f"{name}.crt").write_bytes(pair.certificate)
        (place / f"{name}.key").write_bytes(pair.key)
    (place / "kubewitness.yaml").write_text(_CONFIG)


def start(place: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start the server; give it and its port."""
    command = [_PROGRAM, "serve", "--config", str(place / "kubewitness.yaml")]
    server = subprocess.Popen(command, stderr=subprocess.PIPE)
    assert server.stderr is not None
    port, is_open = 0, False
    for line in server.stderr:  # these two come in any order
        said = json.loads(line)
        if said["event"] == "started":
            port = said["addresses"]["events"][0][1]
        is_open |= said["event"] == "store_open" and said["cluster"] == "bench"
        if port and is_open:
            break
    threading.Thread(target=server.stderr.read, daemon=True).start()
    return server, port


def search(data: Path, audit_id: str) -> int:
    """Ask in a fresh process; give how many were found."""
    command = [_PROGRAM, "search", "--data", str(data), "--cluster", "bench", "--audit-id", audit_id]
    found = subprocess.run([*command, "-o", "jsonl"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return found.stdout.count(audit_id.encode())


def ask(data: Path, audit_id: str) -> int:
    """Ask in this process."""
    wanted = filter_of({"audit-id": [audit_id]})
    with open_store(str(data), "bench") as events:
        answer = events.query("SELECT audit_id FROM events", where=sql.where(wanted), filter_=wanted)
        return len(list(answer))


def audit_id_of(body: bytes) -> str:
    """Give the auditID of the last Event of a body."""
    return body.rpartition(b'"auditID":"')[2].partition(b'"')[0].decode()


def look(place: Path, port: int, tls: ssl.SSLContext, number: int, count: int) -> Times:
    """Post a body and look for its last Event, so often."""
    fresh, here, used = [], [], []
    for body in bodies(count, _FIRST + number):
        Client(tls, port, [body], Pace(0)).run()
        begun, before = time.monotonic(), os.times()
        if search(place / "data", audit_id_of(body)) != 1:
            raise SystemExit("an acknowledged Event was not found")
        fresh.append(time.monotonic() - begun)
        after = os.times()
        used.append(after.children_user + after.children_system - before.children_user - before.children_system)
        begun = time.monotonic()
        if ask(place / "data", audit_id_of(body)) != 1:
            raise SystemExit("an acknowledged Event was not found")
        here.append(time.monotonic() - begun)
    return sorted(fresh), sorted(here), sorted(used)


def measure(place: Path, port: int, load: list[bytes], args: argparse.Namespace) -> tuple[dict[str, Times], float, int]:
    """Look while nothing else is done, then under load; say also which rate the load had, and what was left of it."""
    tls = ssl.create_default_context(cafile=str(place / "ca.crt"))
    tls.load_cert_chain(place / "c.crt", place / "c.key")
    rows = {"idle": look(place, port, tls, 0, args.looks)}
    begun, size, pace = time.monotonic(), len(load), Pace(BATCH / args.rate)
    clients = [Client(tls, port, load, pace) for _ in range(CONNECTIONS)]
    for client in clients:
        client.start()
    time.sleep(2)
    rows[f"under {args.rate:,.0f} Events/s"] = look(place, port, tls, args.looks, args.looks)
    left, took = len(load), time.monotonic() - begun
    load.clear()
    for client in clients:
        client.join()
    return rows, (size - left) * BATCH / took, left


def main() -> int:
    """Measure; print a table; say whether the target is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0, help="of load")
    parser.add_argument("--rate", type=float, default=15_000, help="Events a second of load")
    parser.add_argument("--looks", type=int, default=30, help="how often is looked, idle and under load each")
    args = parser.parse_args()
    (ROOT / "benchmarks" / "out").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "benchmarks" / "out") as name:
        place = Path(name)
        site(place)
        load = bodies(int(args.seconds * args.rate / BATCH), 0)
        server, port = start(place)
        try:
            rows, reached, left = measure(place, port, load, args)
            server.send_signal(signal.SIGTERM)
            server.wait(300)
        finally:
            server.kill()
            server.wait()
    print(f"load reached {reached:,.0f} Events/s, {left} bodies were left\n")
    print("| from acknowledgement to answer | median s | p99 s | worst s | CPU s | target |\n|---|---|---|---|---|---|")
    for text, (fresh, here, used) in rows.items():
        cpu = f"{used[len(used) // 2]:.2f}"
        for who, times, spent in (
            ("`search` in a fresh process", fresh, cpu),
            ("the same question in a running process", here, ""),
        ):
            middle, p99 = times[len(times) // 2], times[min(int(len(times) * 0.99), len(times) - 1)]
            print(f"| {text}: {who} | {middle:.2f} | {p99:.2f} | {times[-1]:.2f} | {spent} | at most {TARGET_S:g} |")
    return 0 if all(fresh[-1] <= TARGET_S for fresh, _, _ in rows.values()) and left else 1


if __name__ == "__main__":
    sys.exit(main())
