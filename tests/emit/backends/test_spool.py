"""Events wait on disk until the receiver has them: through outages, restarts and kills, in order, within a size."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from kubewitness._kit.files import DiskDirectory
from kubewitness.emit.backends.batcher import BatchOptions
from kubewitness.emit.backends.build import StartError, webhook_backend
from kubewitness.emit.backends.options import parse
from kubewitness.emit.backends.spool import Courier, Spooled
from kubewitness.emit.backends.spoolfiles import Spool, SpoolFullError
from kubewitness.emit.backends.webhook import Failure
from kubewitness.emit.metrics import Metrics
from tests.emit.backends.receiver import receiving
from tests.emit.samples import event

SECOND = 1_000_000_000
MEBIBYTE = 1 << 20


def opened(path: Path, max_bytes: int = MEBIBYTE, segment_bytes: int = 200) -> Spool:
    path.mkdir(exist_ok=True)
    return Spool(DiskDirectory.at(path), max_bytes, segment_bytes)


def rest(spool: Spool, at_a_time: int = 3) -> list[bytes]:
    """Read and let go of everything."""
    found = []
    while True:
        items, position = spool.read(at_a_time, MEBIBYTE)
        if not items:
            return found
        found += items
        spool.release(position, len(items))


def test_items_come_back_in_their_order_after_a_restart(tmp_path: Path) -> None:
    """What was not let go of is there again, the rest is not."""
    items = [b"%04d" % number * 9 for number in range(40)]
    spool = opened(tmp_path)
    for item in items:
        spool.append([item])
    first, position = spool.read(7, MEBIBYTE)
    spool.release(position, 7)
    assert (first, spool.waiting) == (items[:7], 33)
    spool.close()
    spool = opened(tmp_path)
    assert spool.waiting == 33
    spool.append([b"new"])
    assert rest(spool) == [*items[7:], b"new"]
    assert (spool.waiting, spool.used_bytes) == (0, 0)
    spool.close()
    # what was delivered is gone from the disk; the last segment goes when there is another
    assert len(list(tmp_path.glob("*.spool"))) == 1


def test_a_batch_has_a_size_but_never_none(tmp_path: Path) -> None:
    """An item above the size goes alone."""
    spool = opened(tmp_path)
    spool.append([b"a" * 50, b"b" * 10, b"c" * 10, b"d" * 10])
    assert [len(items) for items in (spool.read(9, 20)[0], spool.read(9, 55)[0], spool.read(9, 65)[0])] == [1, 2, 3]
    spool.close()


def test_what_does_not_fit_is_refused_whole(tmp_path: Path) -> None:
    """The bound holds to the byte, and room that is made is used again."""
    spool = opened(tmp_path, max_bytes=100)
    spool.append([b"x" * 42, b"y" * 42])
    with pytest.raises(SpoolFullError, match="the spool is full: 100 of 100 bytes wait"):
        spool.append([b"z"])
    _, position = spool.read(1, MEBIBYTE)
    spool.release(position, 1)
    with pytest.raises(SpoolFullError):
        spool.append([b"z" * 20, b"z" * 20])
    spool.append([b"z" * 42])
    assert rest(spool) == [b"y" * 42, b"z" * 42]
    spool.close()


@pytest.mark.parametrize("tail", [b"\x05", b"\x00" * 300, b"\xff" * 20, b"\x03\x00\x00\x00\x00\x00\x00\x00abc"])
def test_a_torn_end_is_passed_over_and_said(tmp_path: Path, tail: bytes) -> None:
    """A crash leaves half a frame, zeros or noise; whole items before it are there."""
    spool = opened(tmp_path)
    spool.append([b"one", b"two"])
    spool.close()
    with next(tmp_path.glob("*.spool")).open("ab") as file:
        file.write(tail)
    spool = opened(tmp_path)
    assert (spool.waiting, spool.lost_bytes) == (2, len(tail))
    spool.append([b"three"])
    assert rest(spool) == [b"one", b"two", b"three"]
    spool.close()


@pytest.mark.parametrize("cursor", [b"", b"{", b"[]", b'{"segment":1}', b'{"segment":1,"offset":99999}', None])
def test_a_cursor_that_is_lost_costs_no_item(tmp_path: Path, cursor: bytes | None) -> None:
    """Items are delivered again rather than not at all; a cursor beyond the end is the end."""
    spool = opened(tmp_path)
    spool.append([b"one", b"two"])
    _, position = spool.read(1, MEBIBYTE)
    spool.release(position, 1)
    spool.close()
    if cursor is None:
        (tmp_path / "cursor").unlink()
    else:
        (tmp_path / "cursor").write_bytes(cursor)
    spool = opened(tmp_path)
    assert rest(spool) == ([] if cursor and b"99999" in cursor else [b"one", b"two"])
    spool.append([b"three"])
    assert rest(spool) == [b"three"]
    spool.close()


@pytest.mark.parametrize("is_failed", [False, True])
def test_a_file_may_be_synced_while_it_grows_and_rotates(tmp_path: Path, is_failed: bool) -> None:
    """Whoever syncs holds the file open, however often others have gone on to the next one."""
    spool = opened(tmp_path)
    assert spool.begin_sync() is None
    spool.append([b"a" * 150])
    file = spool.begin_sync()
    assert file is not None
    assert spool.begin_sync() is None
    spool.append([b"b" * 150])
    spool.append([b"c" * 150])
    file.sync()
    spool.end_sync(is_failed=is_failed)
    with pytest.raises(ValueError, match="negative integer"):
        file.sync()
    spool.append([b"d"])
    file = spool.begin_sync()
    assert file is not None
    spool.end_sync(is_failed=is_failed)
    spool.append([b"e"])
    assert len(list(tmp_path.glob("*.spool"))) == (3 if is_failed else 2)
    assert rest(spool) == [b"a" * 150, b"b" * 150, b"c" * 150, b"d", b"e"]
    spool.close()


def test_two_processes_do_not_share_a_spool(tmp_path: Path) -> None:
    """The second is refused when it starts."""
    (tmp_path / "w.yaml").write_text(
        "current-context: c\ncontexts: [{name: c, context: {cluster: a}}]\n"
        "clusters: [{name: a, cluster: {server: h}}]\n"
    )
    spool = opened(tmp_path / "spool")
    flags = [f"--audit-webhook-config-file={tmp_path / 'w.yaml'}", f"--audit-webhook-spool-dir={tmp_path / 'spool'}"]
    with pytest.raises(
        StartError, match=r"^initializing audit webhook: the spool .*/spool is in use by another process$"
    ):
        webhook_backend(parse(flags), Metrics(), print)
    spool.close()
    with pytest.raises(StartError, match="must be a positive number"):
        webhook_backend(parse([*flags, "--audit-webhook-spool-max-size=0"]), Metrics(), print)


class Body(msgspec.Struct):
    items: list[msgspec.Raw]


class World:
    """A receiver and a clock that a Courier believes in."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.got: list[bytes] = []
        self.posts = 0
        self.is_down = False
        self.takes_ns = 0
        self.failure = Failure("connection refused")
        self.is_refused = lambda _item: False
        self.lost: list[bytes] = []

    def post(self, body: bytes) -> Failure | None:
        self.posts += 1
        self.now_ns += self.takes_ns
        if self.is_down:
            return self.failure
        items = [bytes(raw) for raw in msgspec.json.decode(body, type=Body).items]
        if any(map(self.is_refused, items)):
            return Failure("the server rejected our request for an unknown reason", 400)
        self.got += items
        return None

    def close(self) -> None: ...

    def courier(self, spool: Spool, options: BatchOptions) -> Courier:
        return Courier(
            spool, self, options, 10 * SECOND, lambda item, _: self.lost.append(item), lambda: self.now_ns, lambda: 0.5
        )

    def run(self, courier: Courier, until_ns: int) -> None:
        """Let time pass, calling when the courier wants to be called."""
        while (due_ns := courier.due_at(self.now_ns)) is not None and due_ns <= until_ns:
            self.now_ns = max(due_ns, self.now_ns)
            courier.step(self.now_ns)
        self.now_ns = until_ns


OPTIONS = BatchOptions(10_000, 400, 30 * SECOND, 10.0, 15)


def test_an_hour_without_a_receiver_and_a_restart_lose_nothing(tmp_path: Path) -> None:
    """Every Event of the hour arrives, once and in its order; attempts are few and never stop."""
    world, sent = World(), []
    spool = opened(tmp_path, 64 * MEBIBYTE, 50_000)
    courier = world.courier(spool, OPTIONS)
    world.is_down = True
    for second in range(3600):
        for number in range(2):
            item = b'{"auditID":"%d-%d"}' % (second, number)
            sent.append(item)
            spool.append([item])
            courier.arrived(world.now_ns)
        world.run(courier, world.now_ns + SECOND)
        if second == 1800:
            spool.close()
            spool = opened(tmp_path, 64 * MEBIBYTE, 50_000)
            assert spool.waiting == len(sent)
            courier = world.courier(spool, OPTIONS)
    # 10 s, 15 s, 22.5 s and so on up to a minute, twice
    assert 55 <= world.posts <= 75
    assert courier.is_failing
    world.is_down = False
    world.run(courier, world.now_ns + 120 * SECOND)
    assert world.got == sent
    assert (spool.waiting, spool.used_bytes, world.lost) == (0, 0, [])
    spool.close()


def test_batches_leave_when_they_are_full_or_old(tmp_path: Path) -> None:
    """As without a spool: 400 at once, fewer after 30 seconds; the throttle holds."""
    world = World()
    spool = opened(tmp_path, MEBIBYTE, MEBIBYTE)
    courier = world.courier(spool, OPTIONS)
    assert courier.due_at(0) is None
    spool.append([b"1"])
    courier.arrived(0)
    assert courier.due_at(SECOND) == 30 * SECOND
    assert courier.due_at(SECOND, is_closing=True) == SECOND
    spool.append([b"2"] * 399)
    assert courier.due_at(SECOND) == SECOND
    courier.step(SECOND)
    assert len(world.got) == 400
    spool.append([b"3"] * 8000)
    courier.arrived(SECOND)
    world.now_ns = SECOND
    world.run(courier, SECOND)
    assert world.posts == 15 + 0
    world.run(courier, 2 * SECOND)
    assert world.posts == 1 + 20
    spool.close()


@pytest.mark.parametrize(("wait_s", "resumes_s"), [(None, 11), (3, 11), (25, 25), (3600, 60)])
def test_the_receiver_may_ask_for_a_longer_pause(tmp_path: Path, wait_s: int | None, resumes_s: int) -> None:
    """Retry-After is heard, up to a minute, and shortens nothing."""
    world = World()
    spool = opened(tmp_path)
    courier = world.courier(spool, OPTIONS)
    spool.append([b"1"])
    courier.arrived(0)
    world.is_down, world.failure = True, Failure("busy", 503, wait_s)
    courier.step(0)
    assert courier.due_at(0, is_closing=True) == resumes_s * SECOND
    spool.close()


def test_a_pause_begins_when_the_attempt_has_failed(tmp_path: Path) -> None:
    """A receiver that hangs for its 30 seconds is not asked again at once."""
    world = World()
    spool = opened(tmp_path)
    courier = world.courier(spool, OPTIONS)
    spool.append([b"1"])
    courier.arrived(0)
    world.is_down, world.takes_ns = True, 30 * SECOND
    courier.step(0)
    assert courier.due_at(world.now_ns, is_closing=True) == 41 * SECOND
    spool.close()


def test_what_the_receiver_never_takes_does_not_hold_up_the_rest(tmp_path: Path) -> None:
    """The one item that is refused for what it is is found by halving, tried five times, and counted."""
    world = World()
    spool = opened(tmp_path)
    courier = world.courier(spool, BatchOptions(10_000, 8, SECOND))
    items = [b"%d" % number for number in range(20)]
    world.is_refused = lambda item: item == b"11"
    spool.append(items)
    courier.arrived(0)
    world.run(courier, 600 * SECOND)
    assert world.got == [item for item in items if item != b"11"]
    assert world.lost == [b"11"]
    spool.close()


def spooled(spool: Spool, world: World, metrics: Metrics, told: list[str], *, is_synced: bool = False) -> Spooled:
    options = BatchOptions(10_000, 3, SECOND // 50)
    return Spooled(spool, world, options, SECOND // 100, metrics, told.append, is_synced=is_synced)


@pytest.mark.parametrize("is_synced", [False, True])
def test_the_backend_keeps_delivers_and_says_so(tmp_path: Path, is_synced: bool) -> None:
    """Requests go on while the receiver is down; what it missed follows when it is back, or in the next run."""
    world, metrics, told = World(), Metrics(), []
    world.is_down = True
    backend = spooled(opened(tmp_path), world, metrics, told, is_synced=is_synced)
    assert backend.name == "spool<webhook>"
    backend.run()
    for number in range(5):
        assert backend.process_events([event(audit_id=str(number))])
    while not told:
        time.sleep(0.005)
    assert told[0].startswith("the audit webhook fails, ")
    assert "apiserver_audit_spool_events 5.0" in metrics.exposition()
    backend.shutdown()
    assert told[-1] == "the audit spool keeps 5 events for the next run"
    assert not backend.process_events([event()])
    assert metrics.errors == {"spool": 1}

    backend = spooled(opened(tmp_path), world, metrics, told, is_synced=is_synced)
    backend.run()
    world.is_down = False
    assert "the audit spool holds 5 events of an earlier run" in told
    while len(world.got) < 5:
        time.sleep(0.005)
    backend.process_events([event(audit_id="5")])
    backend.shutdown()
    assert [json.loads(item)["auditID"] for item in world.got] == ["0", "1", "2", "3", "4", "5"]


def test_a_full_spool_is_counted(tmp_path: Path) -> None:
    """Each Event that does not fit is an error of the spool; blocking-strict lets the request notice."""
    world, told, reports = World(), [], []
    world.is_down = True
    metrics = Metrics(reports.append)
    backend = spooled(opened(tmp_path, max_bytes=1000), world, metrics, told)
    taken = [backend.process_events([event(200)]) for _ in range(3)]
    assert taken == [True, True, False]
    assert metrics.errors == {"spool": 1}
    assert "Error in audit plugin 'spool' affecting 1 audit events: the spool is full: " in reports[0]
    backend.shutdown()


def test_flags_make_the_spool(tmp_path: Path) -> None:
    """Named in the chain, delivering to a real receiver in each mode."""
    with receiving(tmp_path) as receiver:
        for mode, name in (
            ("batch", "spool<webhook>"),
            ("blocking", "ignoreErrors<spool<webhook>>"),
            ("blocking-strict", "spool<webhook>"),
        ):
            flags = [
                f"--audit-webhook-config-file={receiver.kubeconfig()}",
                f"--audit-webhook-spool-dir={tmp_path / 'spool' / mode}",
                f"--audit-webhook-mode={mode}",
            ]
            backend = webhook_backend(parse(flags), Metrics(), print)
            assert backend is not None
            assert backend.name == name
            backend.run()
            assert backend.process_events([event(audit_id=mode)])
            backend.shutdown()
        got = [item["auditID"] for seen in receiver.seen for item in json.loads(seen.body)["items"]]
        assert got == ["batch", "blocking", "blocking-strict"]


def test_a_killed_server_loses_nothing(tmp_path: Path) -> None:
    """kill -9 with the receiver away: every Event whose writing was reported arrives after the next start."""
    policy = tmp_path / "policy.yaml"
    policy.write_text("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n")
    entry = "from kubewitness.cli.main import main; raise SystemExit(main())"
    with receiving(tmp_path) as receiver:
        config = receiver.kubeconfig()
    log = tmp_path / "audit.log"
    command = [
        sys.executable, "-c", entry, "emit", f"--audit-policy-file={policy}", f"--audit-log-path={log}",
        f"--audit-webhook-config-file={config}", f"--audit-webhook-spool-dir={tmp_path / 'spool'}",
    ]  # fmt: skip
    emitting = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert emitting.stdin is not None
    for number in range(300):
        emitting.stdin.write(b'{"requestURI":"/api/v1/pods?n=%d"}\n' % number)
    emitting.stdin.flush()
    # the union writes the log first, the spool next: all but the very last line is in both
    while not log.exists() or log.read_bytes().count(b"\n") < 600:
        time.sleep(0.02)
    emitting.send_signal(signal.SIGKILL)
    emitting.wait()
    emitting.stdin.close()
    logged = [json.loads(line) for line in log.read_bytes().splitlines()]
    with receiving(tmp_path) as receiver:
        command[-2] = f"--audit-webhook-config-file={receiver.kubeconfig()}"
        subprocess.run(command, stdin=subprocess.DEVNULL, check=True, stderr=subprocess.DEVNULL)
        got = [item for seen in receiver.seen for item in json.loads(seen.body)["items"]]
    head = {"kind": "Event", "apiVersion": "audit.k8s.io/v1"}
    assert [{**head, **item} for item in got][:599] == logged[:599]
    assert len(got) in (599, 600)
