"""A real server whose disk and clock fail it, by strace and faketime: nothing that was acknowledged is lost."""

import contextlib
import http.client
import itertools
import json
import os
import random
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from kubewitness.keep.store.layout import DataDir
from tests.assembly.serving import Server, Site, event, event_list, serving


def tool(name: str) -> str:
    """A program of the system; without it the test is skipped by name, or fails where nothing may be skipped."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def injected(fault: str, call: str, *paths: Path) -> list[str]:
    """The strace command that makes a system call, on these files, fail as told."""
    only = [part for path in paths for part in ("-P", str(path))]
    return [
        tool("strace"),
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        f"trace={call}",
        *only,
        "-e",
        f"inject={call}:{fault}",
    ]


def first_segment(site: Site, cluster: str) -> Path:
    return DataDir(site.data).log_path(cluster) / "segments" / f"{0:020}.zst"


def batches(count: int) -> list[bytes]:
    return [event_list(*(event(n, f"{batch}-{n}") for n in range(5))) for batch in range(count)]


def all_items(count: int) -> Counter[bytes]:
    return Counter(event(n, f"{batch}-{n}") for batch in range(count) for n in range(5))


def post_all(server: Server, bodies: Sequence[bytes]) -> tuple[list[bytes], list[int]]:
    """Post bodies as far as the server lives; give those that were not acknowledged, and the statuses."""
    left, statuses = [], []
    for body in bodies:
        try:
            with server.client(timeout=10) as client:
                status, _ = client.post(body)
        except (OSError, http.client.HTTPException):
            left.append(body)
            continue
        statuses.append(status)
        if status != 200:
            assert (status, client.headers["Retry-After"]) == (503, "3")
            left.append(body)
    return left, statuses


@pytest.mark.parametrize("when", [1, 2, 5])
def test_a_kill_between_sync_and_answer_loses_and_doubles_nothing(tmp_path: Path, when: int) -> None:
    """T11: killed at the Nth sync of a segment: what was acknowledged is there, what comes again is not doubled."""
    site = Site(tmp_path)
    with serving(site):
        pass  # keys and directories are there
    kill = injected(f"signal=SIGKILL:when={when}", "fdatasync", first_segment(site, "a"))
    server = Server(site, before=kill)
    server.wait_open("a")
    left, statuses = post_all(server, batches(8))
    server.kill()
    assert left
    assert len(statuses) == when - 1
    acknowledged = all_items(when - 1)
    with serving(site) as again:
        assert post_all(again, left) == ([], [200] * len(left))
    stored = Counter(site.lines())
    assert stored == all_items(8)
    assert acknowledged <= stored


@pytest.mark.parametrize(
    ("call", "error"),
    [("fdatasync", "EIO"), ("write", "ENOSPC"), ("write", "EDQUOT"), ("write", "EROFS")],
)
def test_a_disk_that_refuses_costs_an_answer_and_nothing_else(tmp_path: Path, call: str, error: str) -> None:
    """T12, T15: an error of write or sync is answered with 503; the next try is stored in a new segment, once."""
    site = Site(tmp_path)
    with serving(site):
        pass
    fault = injected(f"error={error}:when=2", call, first_segment(site, "a"))
    with serving(site, before=fault) as server:
        left, statuses = post_all(server, batches(4))
        assert statuses == [200, 503, 200, 200]
        assert post_all(server, left) == ([], [200])
        server.wait_for("refused", reason="unavailable")
    assert Counter(site.lines()) == all_items(4)
    entries = site.operator()
    assert [entry["verb"] for entry in entries] == ["start", "stop", "start", "refuse", "resume", "stop"]
    assert '"kubewitness.io/refused": "1"' in json.dumps(entries[4])


def test_a_disk_that_hangs_holds_up_its_cluster_alone(tmp_path: Path) -> None:
    """T32: while a sync of a does not return, b is served, and a's client hears 503 before it gives up."""
    site = Site(tmp_path, store="1s")
    with serving(site):
        pass
    hang = injected("delay_enter=6000000:when=1", "fdatasync", first_segment(site, "a"))
    with serving(site, before=hang) as server:
        with server.client("a") as stuck, server.client("b") as other:
            begun = time.monotonic()
            stuck.send(batches(1)[0])
            slowest = 0.0
            for number in range(10):
                before = time.monotonic()
                assert other.post(event_list(event(number)))[0] == 200
                slowest = max(slowest, time.monotonic() - before)
            answer = stuck._http.getresponse()
            assert (answer.status, answer.headers["Retry-After"]) == (503, "3")
            assert time.monotonic() - begun < 5.5
            assert slowest < 5.5
            answer.read()
        server.wait_for("refused", reason="slow")
        server.until(lambda: server.metric('kubewitness_store_events{cluster="a"}') == 5)
        assert post_all(server, batches(1)) == ([], [200])
    assert Counter(site.lines()) == all_items(1)


def test_a_nearly_full_disk_is_left_alone(tmp_path: Path) -> None:
    """T15: below the reserve nothing is taken; readiness and the operator log say so."""
    site = Site(tmp_path)
    text = site.config.read_text()
    found = os.statvfs(tmp_path)
    reserve = found.f_bavail * found.f_frsize * 2
    site.config.write_text(text.replace("reserveBytes: 1", f"reserveBytes: {reserve}"))
    with serving(site) as server:
        assert post_all(server, batches(1))[1] == [503]
        server.until(lambda: server.get("/readyz")[0] == 503)
        server.wait_for("disk_room", refusing=True)
        assert server.get("/livez")[0] == 200
    assert sorted(str(entry["verb"]) for entry in site.operator()) == ["alarm", "refuse", "start", "stop"]
    site.config.write_text(text)
    with serving(site) as server:
        assert post_all(server, batches(1)) == ([], [200])


def test_a_small_disk_fills_and_empties(tmp_path: Path) -> None:
    """T15: on a file system of 12 MB Events are taken until it is full, then 503; with room again, all."""
    if os.geteuid() or os.system(f"mount -t tmpfs -o size=12m tmpfs {tmp_path} 2>/dev/null"):
        tmp_path.joinpath("ballast").write_bytes(b"")
        return  # no right to mount: the tests with strace stand for it
    try:
        site = Site(tmp_path)
        ballast = tmp_path / "ballast"
        bodies = [
            event_list(*(event(n, f"{batch}-{n}", pad=os.urandom(600).hex()) for n in range(50))) for batch in range(30)
        ]
        with serving(site) as server:
            _, statuses = post_all(server, bodies[:5])
            assert statuses == [200] * 5
            with contextlib.suppress(OSError):
                ballast.write_bytes(bytes(16 << 20))
            left, statuses = post_all(server, bodies[5:])
            assert 503 in statuses
            ballast.unlink()
            time.sleep(1.1)  # for so long it is not asked again whether there is room
            assert post_all(server, left)[0] == []
        assert len(site.lines()) == len(set(site.lines())) == 30 * 50
    finally:
        os.system(f"umount -l {tmp_path}")


def test_a_clock_that_jumps_changes_no_order_and_no_proof(tmp_path: Path) -> None:
    """T31: after 100 days ahead and 30 days back, order is that of arrival, heads agree, and the store verifies."""
    fake = tool("faketime")
    site = Site(tmp_path)
    for number, shift in enumerate(("+0d", "+100d", "-30d")):
        with serving(site, before=[fake, "-f", shift], env={"FAKETIME_DONT_FAKE_MONOTONIC": "1"}) as server:
            with server.client() as client:
                assert client.post(event_list(event(number)))[0] == 200
            server.until(lambda: server.metric('kubewitness_seal_events{cluster="a"}') == number + 1)  # noqa: B023
    records = site.stored()
    assert [record.kept.line for record in records] == [event(number) for number in range(3)]
    times = [record.received_ns for record in records]
    assert times[1] - times[0] > 99 * 86400e9
    assert times[0] - times[2] > 29 * 86400e9
    sizes = {int(path.name) for path in (DataDir(site.data).log_path("a") / "heads").iterdir()}
    assert sizes == {1, 2, 3}


CALLS = ("openat", "write", "fdatasync", "fsync", "renameat", "ftruncate", "unlinkat", "mkdirat", "close", "newfstatat")


def _survives(site: Site, call: str, fault: str, number: int) -> None:
    """Let a call of a running server fail once while it stores; in the end everything is there once."""
    before = len(site.lines()) if first_segment(site, "a").parent.is_dir() else 0
    bodies = [event_list(*(event(n, f"{call}-{number}-{batch}-{n}") for n in range(5))) for batch in range(6)]
    server = Server(site)
    try:
        server.wait_open()
        attached = subprocess.Popen([*injected(f"{fault}:when={number}", call), "-p", str(server.pid)])
        time.sleep(0.3)
        left, _ = post_all(server, bodies)
        attached.terminate()
        attached.wait(10)
        if server.process.poll() is None and "signal" not in fault:
            for _ in range(50):
                left, _ = post_all(server, left)
                if not left:
                    break
                time.sleep(0.2)
            assert not left
            server.stop(60)
    finally:
        server.kill()
    with serving(site) as again:
        assert post_all(again, bodies)[0] == []
    lines = site.lines()
    assert len(lines) == len(set(lines)) == before + 30


@pytest.mark.parametrize(("call", "fault", "number"), [("openat", "error=EMFILE", 1), ("write", "error=EIO", 4)])
def test_a_failing_call_of_a_running_server(tmp_path: Path, call: str, fault: str, number: int) -> None:
    """T12: whichever call fails, also one for a log line or a pipe: all is stored in the end, once."""
    _survives(Site(tmp_path), call, fault, number)


@pytest.mark.soak
@pytest.mark.parametrize("fault", ["error=EIO", "error=ENOSPC", "signal=SIGKILL"])
@pytest.mark.parametrize("call", CALLS)
def test_every_call_of_a_running_server_may_fail(tmp_path: Path, call: str, fault: str) -> None:
    """T11, T12: each of the first twelve calls of each kind fails, or is the last one before a kill -9."""
    site = Site(tmp_path)
    for number in range(1, 13):
        _survives(site, call, fault, number)


@pytest.mark.soak
def test_two_hundred_kills_of_a_server_under_load(tmp_path: Path) -> None:
    """T11: kill -9 at random times while four clients post: what was acknowledged is there, nothing twice."""
    site = Site(tmp_path)
    rng = random.Random(5)
    acknowledged: set[bytes] = set()
    for turn in range(200):
        server = Server(site)
        server.wait_open()
        stop = threading.Event()

        def keep_posting(name: int, turn: int = turn, server: Server = server, stop: threading.Event = stop) -> None:
            with contextlib.suppress(OSError, http.client.HTTPException), server.client() as client:
                for batch in itertools.count():
                    items = [event(n, f"{turn}-{name}-{batch}-{n}") for n in range(20)]
                    if stop.is_set() or client.post(event_list(*items))[0] != 200:
                        return
                    acknowledged.update(items)

        threads = [threading.Thread(target=keep_posting, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(rng.uniform(0.0, 0.8))
        server.kill()
        stop.set()
        for thread in threads:
            thread.join()
    with serving(site):
        pass
    lines = site.lines()
    assert acknowledged <= set(lines)
    assert len(lines) == len(set(lines))
