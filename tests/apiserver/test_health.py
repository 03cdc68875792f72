"""A server is well when its log has grown and it says so twice; a kubelet of our own restarts it on a new manifest."""

import http.server
import threading
from http import HTTPStatus

import pytest

from kubewitness.apiserver.health import LogState, kubectl_probe, url_probe, wait


class Clock:
    """A clock that only pauses move."""

    def __init__(self):
        self.time = 0.0
        self.at = {}

    def now(self):
        """Tell the time."""
        return self.time

    def pause(self, seconds):
        """Let it pass; do what is due."""
        self.time += seconds
        for due in [due for due in self.at if due <= self.time]:
            self.at.pop(due)()


@pytest.fixture
def log(tmp_path):
    """A log that was there before."""
    path = tmp_path / "audit.log"
    path.write_text("old\n")
    return path


def test_an_answer_of_the_old_server_is_not_enough(log):
    """The probe is well from the start; only when the log grows is the server believed."""
    clock, before = Clock(), LogState.of(log.with_name("none"))
    log.unlink()
    assert wait(lambda: "", log, before, 10, clock.now, clock.pause, lambda: False) == f"nothing was written to {log}"
    clock = Clock()
    clock.at[3.0] = lambda: log.write_text("new\n")
    assert wait(lambda: "", log, before, 10, clock.now, clock.pause, lambda: False) == ""
    assert 3.0 <= clock.time < 5.0


def test_the_old_server_writes_on(log):
    """Where there was a log, growth is no proof: the old server must have been away, or the process be another."""
    before = LogState.of(log)
    log.write_text("old\nold too\n")
    clock = Clock()
    said = wait(lambda: "", log, before, 5, clock.now, clock.pause, lambda: False)
    assert said == "the server that ran before is still running"
    clock = Clock()
    assert (
        wait(lambda: "refused" if 2 < clock.time < 4 else "", log, before, 9, clock.now, clock.pause, lambda: False)
        == ""
    )
    assert clock.time >= 4
    clock = Clock()
    assert wait(lambda: "", log, before, 9, clock.now, clock.pause, lambda: clock.time > 3) == ""
    assert clock.time > 3
    clock = Clock()
    assert (
        wait(lambda: "refused" if 2.1 < clock.time < 2.4 else "", log, before, 9, clock.now, clock.pause, lambda: False)
        == ""
    ), "a server that was away for a moment was not seen to be away"


def test_ready_once_is_not_ready(log):
    """A server that answers and falls over again is not well; the last reason is given."""
    clock, before = Clock(), LogState(0, 0)
    answers = iter(["", "refused"] * 100)
    assert wait(lambda: next(answers), log, before, 5, clock.now, clock.pause, lambda: False) in ("refused", "")
    assert clock.time >= 5


def test_a_new_file_counts_as_growth(log):
    """After a rotation the file is another one, and shorter."""
    before = LogState.of(log)
    log.rename(log.with_suffix(".1"))
    log.write_text("x")
    assert LogState.of(log).has_grown_since(before)
    assert not LogState.of(log.with_name("none")).has_grown_since(before)


@pytest.fixture
def server():
    """A server whose answers a test sets."""

    answers = {"/livez": HTTPStatus.OK, "/readyz": HTTPStatus.OK}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(answers[self.path])
            self.end_headers()

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running, answers
        running.shutdown()
        thread.join()


def test_the_url_is_asked(server):
    """Both paths must say 200; a closed port is a reason, not an exception."""
    running, answers = server
    url = f"http://127.0.0.1:{running.server_port}"
    probe = url_probe(url, None, is_verified=True)
    assert probe() == ""
    answers["/readyz"] = HTTPStatus.INTERNAL_SERVER_ERROR
    assert probe() == f"{url}/readyz: status 500"
    assert "refused" in url_probe("http://127.0.0.1:1", None, is_verified=True)()
    assert "127.0.0.1:1/livez" in url_probe("https://127.0.0.1:1", None, is_verified=False)()


def test_kubectl_is_asked(tmp_path):
    """What kubectl says on standard error is the reason; a kubectl that is not there is one too."""
    fake = tmp_path / "kubectl"
    fake.write_text('#!/bin/sh\n[ "$3" = /livez ] && exit 0\necho "Error: not $3" >&2\nexit 1\n')
    fake.chmod(0o755)
    assert kubectl_probe([str(fake)])() == "kubectl get --raw /readyz: Error: not /readyz"
    assert "No such file" in kubectl_probe([str(tmp_path / "none")])()
