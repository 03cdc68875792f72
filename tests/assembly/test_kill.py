"""A real server, killed at any moment under load, loses no acknowledged Event, stores none twice, and signs no fork."""

import json
import random
import ssl
import threading
import time
from http.client import HTTPException
from pathlib import Path

import pytest

from kubewitness.cli.main import main
from kubewitness.keep.store.layout import DataDir
from tests.assembly.serving import Server, Site, event, event_list

PER_BODY = 20


class Sender:
    """Posts bodies until it is told to stop or the server is gone; sends again what was not acknowledged."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.acknowledged: set[str] = set()
        self.made = 0
        self.waiting: list[bytes] = []
        self.names: list[str] = []

    def run(self, server: Server) -> None:
        try:
            with server.client() as client:
                while True:
                    if not self.waiting:
                        self.names = [f"{self.number}-{self.made + n}" for n in range(PER_BODY)]
                        self.waiting = [event(self.made + n, name) for n, name in enumerate(self.names)]
                        self.made += PER_BODY
                    status, _ = client.post(event_list(*self.waiting))
                    if status == 200:
                        self.acknowledged.update(self.names)
                        self.waiting = []
        except (OSError, HTTPException, ssl.SSLError, json.JSONDecodeError):
            return


def heads(site: Site) -> dict[str, bytes]:
    """Every head that is there, of both logs."""
    found = {}
    for cluster in ("a", "_operator"):
        folder = DataDir(site.data).log_path(cluster) / "heads"
        if folder.is_dir():
            for file in folder.iterdir():
                if file.name.isdecimal():
                    found[f"{cluster}/{file.name}"] = file.read_bytes()
    return found


def kills(place: Path, count: int, seed: int) -> int:
    """Kill and start again so many times; give how many Events were acknowledged."""
    rng = random.Random(seed)
    site = Site(place, ["a"])
    senders = [Sender(number) for number in range(3)]
    seen: dict[str, bytes] = {}
    for _ in range(count):
        server = Server(site)
        threads = [threading.Thread(target=sender.run, args=(server,)) for sender in senders]
        try:
            server.wait_open()
            for thread in threads:
                thread.start()
            time.sleep(rng.uniform(0.05, 0.6))
        finally:
            server.kill()
            for thread in threads:
                if thread.ident is not None:
                    thread.join(30)
        time.sleep(rng.choice((0, 0.2)))  # the sealer may still be at work, or be gone
        for name, note in heads(site).items():
            assert seen.setdefault(name, note).split(b"\n\n")[0] == note.split(b"\n\n")[0], f"two heads {name}"
    server = Server(site)
    try:
        server.wait_open()
    finally:
        assert server.stop() == 0
    names = [json.loads(line)["auditID"] for line in site.lines()]
    assert len(set(names)) == len(names), "stored twice"
    acknowledged = set().union(*(sender.acknowledged for sender in senders))
    assert acknowledged <= set(names), "lost what was acknowledged"
    assert seen.keys() <= heads(site).keys(), "a head was taken back"
    assert main(["verify", "--data", str(site.data), "--max-unsigned", "0"]) == 0
    return len(acknowledged)


def test_a_few_kills_of_the_server(tmp_path, capsys):
    """Each start needs nobody's help."""
    assert kills(tmp_path, 3, 1) >= 3 * PER_BODY


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10))
def test_hundreds_of_kills_of_the_server(tmp_path, capsys, seed):
    """The same for long."""
    kills(tmp_path, 25, 100 + seed)
