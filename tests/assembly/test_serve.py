"""A real server, with the bodies that a real kube-apiserver posted: what is acknowledged is stored, once, exactly."""

import json
import random
import shutil
import socket
from collections import Counter
from pathlib import Path

import pytest

from kubewitness.keep.seal.ed25519 import Ed25519Verifier
from kubewitness.keep.seal.note import parse_note
from kubewitness.keep.store.layout import DataDir, KeyDir, cluster_dir, default_keys
from tests.assembly.serving import PROGRAM, Server, Site, event, event_list, recorded, recorded_items, serving


def test_the_recording_is_what_the_tests_say() -> None:
    """126 bodies with 4,815 items."""
    assert len(recorded()) == 126
    assert len(recorded_items()) == 4815


def test_bodies_in_order_are_stored_exactly(tmp_path: Path) -> None:
    """The store holds the 4,815 items, byte for byte, in order; each is in the log's metrics and under a head."""
    site = Site(tmp_path)
    with serving(site) as server:
        with server.client() as client:
            answers = [client.post(body) for body in recorded()]
        assert all(status == 200 for status, _ in answers)
        assert sum(int(str(said["stored"])) for _, said in answers) == 4815
        assert server.metric('kubewitness_receiver_events_stored_total{cluster="a"}') == 4815
        server.until(lambda: server.metric('kubewitness_seal_events{cluster="a"}') == 4815)
        status, head = server.get("/a/checkpoint", "tiles")
        assert status == 200
        assert head.splitlines()[1] == b"4815"
        status, tile = server.get("/a/tile/0/000", "tiles")
        assert (status, len(tile)) == (200, 8192)
        assert server.get("/livez")[0] == server.get("/readyz")[0] == 200
    assert site.lines() == list(recorded_items())
    assert {record.source for record in site.stored()} == {"webhook:apiserver a@127.0.0.1"}
    (key,) = KeyDir(tmp_path / "data.keys").verifiers("a")
    note = parse_note(head)
    assert Ed25519Verifier.of(key).verify(note.text.encode(), note.signatures[0].signature)


def test_bodies_shuffled_and_sent_twice_are_stored_once(tmp_path: Path) -> None:
    """T10: over several connections, out of order, each body twice: every item once, the rest counted."""
    site = Site(tmp_path)
    bodies = [*recorded(), *recorded()]
    random.Random(7).shuffle(bodies)
    with serving(site) as server:
        clients = [server.client() for _ in range(4)]
        stored = duplicates = 0
        for number, body in enumerate(bodies):
            status, said = clients[number % 4].post(body)
            assert status == 200
            stored, duplicates = stored + int(str(said["stored"])), duplicates + int(str(said["duplicates"]))
        for client in clients:
            client.close()
        assert (stored, duplicates) == (4815, 4815)
    assert Counter(site.lines()) == Counter(recorded_items())


def test_bodies_cut_by_resets_are_stored_once(tmp_path: Path) -> None:
    """T10: a client whose connection breaks in the middle, or who drops the answer, sends again: nothing is doubled."""
    site = Site(tmp_path)
    rng = random.Random(11)
    with serving(site) as server:
        for body in recorded():
            cut = rng.choice(["whole", "middle", "answer"])
            if cut != "whole":
                broken = server.raw_client()
                head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
                end = rng.randrange(len(body)) if cut == "middle" else len(body)
                broken.sendall(head + body[:end])
                # an RST, as when a process dies
                broken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
                broken.close()
            with server.client() as client:
                assert client.post(body)[0] == 200
    assert Counter(site.lines()) == Counter(recorded_items())


def test_a_stop_answers_what_was_asked_and_seals_it(tmp_path: Path) -> None:
    """SIGTERM while a body is on its way: it is stored and answered, and the last head covers it."""
    site = Site(tmp_path)
    server = Server(site)
    server.wait_open()
    with server.client() as idle, server.client() as busy:
        assert idle.post(event_list(event(1)))[0] == 200
        busy.send(recorded()[0])
        assert server.stop() == 0
    heads = [int(path.name) for path in site.data.glob("logs/*/heads/*")]
    assert len(site.lines()) in {1, 1 + len(json.loads(recorded()[0])["items"])}
    assert len(site.lines()) in heads
    assert [said["event"] for said in server.said][-2:] == ["stopping", "stopped"]
    assert "unsealed" not in {said["event"] for said in server.said}


def test_a_second_start_goes_on_where_the_first_ended(tmp_path: Path) -> None:
    """T10: what was stored before a restart is known after it; starts and stops are entries of the operator log."""
    site = Site(tmp_path)
    for stored in (2, 0):
        with serving(site) as server, server.client() as client:
            assert client.post(event_list(event(1), event(2)))[1]["stored"] == stored
    entries = site.operator()
    assert [entry["verb"] for entry in entries] == ["start", "stop", "start", "stop"]
    annotations = entries[0]["annotations"]
    assert isinstance(annotations, dict)
    assert annotations["kubewitness.io/clusters"] == "a b"
    assert annotations["kubewitness.io/keys"].count("kubewitness.io/log/") == 3


def test_a_used_audit_id_hides_nothing(tmp_path: Path) -> None:
    """T7: another Event under the same auditID and stage is stored too, counted, and named by its index."""
    site = Site(tmp_path)
    first, second = event(1, "same"), event(2, "same")
    with serving(site) as server:
        with server.client() as client:
            assert client.post(event_list(first, event(3)))[1]["stored"] == 2
            assert client.post(event_list(first))[1] == {"stored": 0, "duplicates": 1, "quarantined": 0}
            assert client.post(event_list(second))[1]["stored"] == 1
        said = server.wait_for("audit_id_reused")
        assert (said["cluster"], said["index"]) == ("a", 2)
        assert server.metric('kubewitness_receiver_audit_ids_reused_total{cluster="a"}') == 1
    assert site.lines() == [first, event(3), second]


@pytest.mark.parametrize("signal_name", ["SIGTERM", "SIGINT"])
def test_both_signals_end_it_well(tmp_path: Path, signal_name: str) -> None:
    """SIGTERM and Ctrl-C end with 0, and with no process left."""
    import os
    import signal

    server = Server(Site(tmp_path))
    server.wait_open()
    os.kill(server.pid, getattr(signal, signal_name))
    assert server.process.wait(20) == 0
    server.kill()


def sealer_of(server: Server) -> int:
    """The second process of a server."""
    return int(Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()[0])


def test_a_dead_sealer_is_started_again(tmp_path: Path) -> None:
    """kill -9 of the second process: Events are taken meanwhile, and sealed by the next one."""
    import os
    import signal

    site = Site(tmp_path)
    with serving(site) as server, server.client() as client:
        assert client.post(event_list(event(1)))[0] == 200
        server.until(lambda: server.metric('kubewitness_seal_events{cluster="a"}') == 1)
        os.kill(sealer_of(server), signal.SIGKILL)
        assert client.post(event_list(event(2)))[0] == 200
        server.until(lambda: server.metric('kubewitness_seal_events{cluster="a"}') == 2)
        assert server.metric("kubewitness_sealer_restarts_total") == 1


def test_without_its_keys_a_log_is_kept_and_not_signed(tmp_path: Path) -> None:
    """A key that nobody knows would make it look forged: what comes waits for a head until the right one is there."""
    site = Site(tmp_path)
    keys, moved = default_keys(site.data), tmp_path / "moved"
    with serving(site) as server, server.client() as client:
        assert client.post(event_list(event(1)))[0] == 200
        server.until(lambda: server.metric('kubewitness_seal_events{cluster="a"}') == 1)
    keys.rename(moved)
    with serving(site) as server, server.client() as client:
        assert client.post(event_list(event(2)))[0] == 200
        told = server.wait_for("seal_failed", cluster="a")
        assert told["error"] == f"NoKeyError: heads of a were signed, and {keys} has no key of it"
    assert not (keys / f"{cluster_dir('a')}.sign").exists()
    shutil.rmtree(keys)
    moved.rename(keys)
    with serving(site) as server:
        server.until(lambda: server.metric('kubewitness_seal_events{cluster="a"}') == 2)


def test_what_is_acknowledged_is_found_at_once(tmp_path: Path) -> None:
    """A question to the store, asked when the answer has come, finds the Event, without waiting for head or index."""
    import subprocess

    site = Site(tmp_path, ["a"])
    with serving(site) as server:
        with server.client() as client:
            for body in recorded()[:30]:
                client.post(body)
            assert client.post(event_list(event(1, "needle", user={"username": "zoe"})))[0] == 200
        command = [*PROGRAM, "search", "--data", str(site.data), "--user", "zoe", "-o", "jsonl"]
        done = subprocess.run(command, capture_output=True, check=True)
        assert done.stdout.rstrip(b"\n") == event(1, "needle", user={"username": "zoe"})


def test_what_keeps_it_from_starting_is_said(tmp_path: Path) -> None:
    """A second server on the same data, or on a port that is taken, ends with 5 and one line that names it."""
    import subprocess

    site = Site(tmp_path / "one")
    with serving(site) as server:
        for config, message in (
            (site.config, "another process writes to this store"),
            (Site(tmp_path / "two").config, f"127.0.0.1:{server.port}: Address already in use"),
        ):
            text = config.read_text().replace("events: '127.0.0.1:0'", f"events: '127.0.0.1:{server.port}'")
            (config.parent / "other.yaml").write_text(text)
            command = [*PROGRAM, "serve", "--config", str(config.parent / "other.yaml")]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
            assert done.returncode == 5, done.stderr
            last = [line for line in done.stderr.splitlines() if not line.startswith("{")]
            assert len(last) == 1, done.stderr
            assert message in last[0]


def test_the_page_of_metrics_is_complete(tmp_path: Path) -> None:
    """Every metric of a running server stands in docs/reference/metrics.md, and every one there is real."""
    import re

    page = (Path(__file__).resolve().parent.parent.parent / "docs" / "reference" / "metrics.md").read_text("utf-8")
    with serving(Site(tmp_path)) as server:
        text = server.get("/metrics")[1].decode()
    real = {
        name for name in re.findall(r"^# TYPE (kubewitness_\w+)", text, re.MULTILINE) if not name.endswith("_created")
    }
    assert set(re.findall(r"`(kubewitness_\w+)`", page)) == real


def test_sighup_reads_who_may_come_in(tmp_path: Path) -> None:
    """A client that is taken out of the configuration is refused after SIGHUP, also on an open connection."""
    import os
    import signal

    site = Site(tmp_path)
    with serving(site) as server, server.client("a") as client:
        os.kill(server.pid, signal.SIGHUP)
        server.wait_for("reloaded", files="")  # nothing had changed: it was the signal
        assert client.post(event_list(event(1)))[0] == 200
        site.config.write_text(site.config.read_text().replace("commonName: apiserver a", "commonName: another"))
        os.kill(server.pid, signal.SIGHUP)
        server.wait_for("reloaded", files="kubewitness.yaml")
        assert client.post(event_list(event(2)))[0] == 403
        site.config.write_text(site.config.read_text().replace("operate: '127.0.0.1:0'", "operate: off"))
        os.kill(server.pid, signal.SIGHUP)
        assert server.wait_for("restart_needed")["changed"] == ["operate"]
    assert site.lines() == [event(1)]
    reloads = [entry for entry in site.operator() if entry["verb"] == "reload"]
    assert len(reloads) >= 3
    assert '"kubewitness.io/files": "kubewitness.yaml"' in json.dumps(reloads[1])


def test_a_damaged_log_is_one_logs_trouble(tmp_path: Path) -> None:
    """With the operator log or one cluster's log damaged the others are served, and it is said which file."""
    site = Site(tmp_path)
    with serving(site) as server:
        for cluster in "ab":
            with server.client(cluster) as client:
                assert client.post(event_list(event(1)))[0] == 200
        server.until(lambda: server.metric('kubewitness_seal_events{cluster="a"}') == 1)
    for cluster in ("a", "_operator"):
        (segment,) = (DataDir(site.data).log_path(cluster) / "segments").iterdir()
        segment.unlink()
    server = Server(site)
    try:
        for cluster in ("a", "_operator"):
            said = server.wait_for("store_closed", cluster=cluster)
            assert said["damaged"] is True
            assert "head" in str(said["error"])
        with server.client("a") as client:
            assert client.post(event_list(event(2)))[0] == 503
        with server.client("b") as client:
            assert client.post(event_list(event(2)))[0] == 200
        status, body = server.get("/readyz")
        assert status == 200
        assert b"[-]store a failed" in body
        assert server.metric('kubewitness_store_open{cluster="a"}') == 0
        assert server.stop() == 0
    finally:
        server.kill()
    assert site.lines("b") == [event(1), event(2)]


def test_a_sealer_that_stands_still_holds_up_nobody(tmp_path: Path) -> None:
    """T32: with the second process stopped, Events are acknowledged; when it goes on, all of them are sealed."""
    import os
    import signal

    site = Site(tmp_path)
    with serving(site) as server, server.client() as client:
        assert client.post(event_list(event(0)))[0] == 200
        server.until(lambda: server.metric('kubewitness_seal_events{cluster="a"}') == 1)
        os.kill(sealer_of(server), signal.SIGSTOP)
        try:
            for number in range(1, 50):
                assert client.post(event_list(event(number)))[0] == 200
            assert server.metric('kubewitness_seal_unsealed_events{cluster="a"}') == 49
        finally:
            os.kill(sealer_of(server), signal.SIGCONT)
        server.until(lambda: server.metric('kubewitness_seal_events{cluster="a"}') == 50)
