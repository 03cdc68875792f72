"""`apiserver watch` as a person types it, and as cron runs it."""

import http.server
import json
import threading
import time

import pytest

from kubewitness.apiserver.distros import DISTROS
from kubewitness.cli import apiserver_watch
from kubewitness.cli.main import main
from tests.apiserver.trees import enabled

from .conftest import Result

MANIFEST = DISTROS["kubeadm"].config
LOG = "/var/log/kubernetes/audit/audit.log"


@pytest.fixture
def tree(tmp_path):
    """A control plane node with a log."""
    root = enabled(tmp_path)
    root.at(LOG).write_text("one\n")
    return root


@pytest.fixture
def watch(capsys, tree):
    """Run the command on the tree."""

    def run(*words, config=MANIFEST):
        code = main(["apiserver", "watch", config, "--root", str(tree.root), *map(str, words)])
        said = capsys.readouterr()
        return Result(code, said.out, said.err)

    return run


def test_without_a_root_paths_are_those_of_this_machine(capsys, monkeypatch, tree):
    """A manifest, a log and a file in the directory one stands in are found, as by every other command."""
    monkeypatch.chdir(tree.at(MANIFEST).parent)
    name = tree.at(MANIFEST).name
    assert main(["apiserver", "watch", name, "--log", "a.log", "--file", "b", "--once", "--state", "state"]) == 0
    watched = [line.split()[1] for line in capsys.readouterr().err.splitlines()]
    assert {str(tree.at(MANIFEST).parent / one) for one in (name, "a.log", "b")} <= set(watched)


class Clock:
    """The time module of the command: a pause takes no time, and does what is due at that second."""

    time_ns = staticmethod(time.time_ns)

    def __init__(self):
        self.now, self.deeds = 0.0, {}

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        for due in [due for due in self.deeds if due <= self.now]:
            self.deeds.pop(due)()


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves on."""
    clock = Clock()
    monkeypatch.setattr(apiserver_watch, "time", clock)
    return clock


@pytest.fixture
def receiver():
    """A receiver of alarms whose answers a test sets."""
    got, answers = [], [200]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if answers[0] == 200:
                got.append(json.loads(body))
            self.send_response(answers[0])
            self.end_headers()

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook?a=b", got, answers
        server.shutdown()
        thread.join()


def test_from_cron(watch, tree, tmp_path):
    """The first run begins, a quiet one ends with 0, one with an alarm with 1 and tells it once."""
    state = tmp_path / "watch.json"
    first = watch("--once", "--state", state)
    assert (first.code, first.out) == (0, "")
    assert f"watching {LOG} [log]" in first.err
    assert state.stat().st_mode & 0o777 == 0o600
    assert (watch("--once", "--state", state).code, watch("--once", "--state", state).err) == (0, "")
    tree.at(LOG).write_text("")
    found = watch("--once", "--state", state)
    assert found.code == 1
    [change] = map(json.loads, found.lines)
    assert (change["kind"], change["path"], change["alarm"]) == ("truncated", LOG, True)
    assert watch("--once", "--state", state).code == 0
    tree.at("/etc/kubernetes/audit-policy.yaml").chmod(0o400)
    assert watch("--once", "--state", state, "--alarms").out == ""


def test_what_was_not_delivered_is_told_again(watch, tree, tmp_path, receiver):
    """A receiver that is away: exit code 5, the state stays, and the next run delivers."""
    url, got, answers = receiver
    state = tmp_path / "watch.json"
    watch("--once", "--state", state)
    tree.at(LOG).write_text("")
    answers[0] = 503
    refused = watch("--once", "--state", state, "--post", url)
    assert refused.code == 5
    assert "not delivered, so not forgotten" in refused.err
    assert "status 503" in refused.err
    answers[0] = 200
    assert watch("--once", "--state", state, "--post", url).code == 1
    assert [change["kind"] for change in got] == ["truncated"]


def test_a_command_gets_each_change(watch, tree, tmp_path):
    """The change is on its standard input; one that fails keeps the change waiting."""
    state, out = tmp_path / "watch.json", tmp_path / "out"
    watch("--once", "--state", state)
    tree.at(LOG).write_text("")
    assert watch("--once", "--state", state, "--exec", "false").code == 5
    assert watch("--once", "--state", state, "--exec", "/nowhere/program").code == 5
    assert watch("--once", "--state", state, "--exec", f"tee {out}").code == 1
    assert json.loads(out.read_text())["kind"] == "truncated"


def test_going_on(watch, tree, tmp_path, receiver, clock):
    """It goes on looking, and tells what happens meanwhile; a receiver that comes back gets what waited."""
    url, got, answers = receiver
    answers[0] = 500
    rescue = tmp_path / "rescue"
    rescue.mkdir()
    clock.deeds = {3: tree.at(LOG).unlink, 6: lambda: answers.__setitem__(0, 200)}
    report = watch("--for", "20", "--post", url, "--rescue", rescue)
    assert report.code == 0, report.err
    assert [json.loads(line)["kind"] for line in report.lines] == ["removed", "deleted"]
    assert [change["kind"] for change in got] == ["removed", "deleted"]
    assert report.err.count("was not delivered yet") == 1
    assert next(rescue.iterdir()).read_text() == "one\n"


def test_each_way_gets_a_change_once(watch, tree, tmp_path, receiver, clock):
    """A command that goes on failing does not make the webhook hear of it again and again."""
    url, got, _ = receiver
    clock.deeds = {3: tree.at(LOG).unlink}
    report = watch("--for", "20", "--post", url, "--exec", "false")
    assert [change["kind"] for change in got] == ["removed", "deleted"]
    assert (report.code, "2 changes were not delivered: false: ended with 1" in report.err) == (5, True)


def test_who_does_not_answer_is_asked_once_a_round(watch, tree, tmp_path, clock):
    """A receiver that lets us wait does not keep us from looking, however much happens."""
    asked = tmp_path / "asked"
    pods = tree.at(MANIFEST).parent
    clock.deeds = {3: lambda: [(pods / f"{n}.yaml").write_text("") for n in range(9)]}
    command = f"sh -c 'echo >> {asked}; exit 1'"
    assert "9 changes were not delivered" in watch("--for", "6", "--exec", command).err
    assert asked.read_text().count("\n") <= 4


def test_a_state_that_cannot_be_kept_ends_no_watch(watch, tree, tmp_path, clock, monkeypatch):
    """The disk is full: told once, and changes are told on; exit code 5 in the end."""

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(apiserver_watch, "_keep", full)
    clock.deeds = {3: tree.at(LOG).unlink}
    report = watch("--for", "10", "--state", tmp_path / "state")
    assert report.code == 5
    assert [json.loads(line)["kind"] for line in report.lines] == ["removed", "deleted"]
    assert report.err.count("what was seen could not be kept: No space left on device") == 2


def test_a_log_that_moves_is_followed(watch, tree, clock):
    """A manifest that names another log: it is watched from then on, and the old one too."""
    manifest = tree.at(MANIFEST)
    other = tree.at("/var/log/kubernetes/audit/other.log")
    other.write_text("one\n")
    moved = manifest.read_text().replace(LOG, LOG.replace("audit.log", "other.log"))
    clock.deeds = {2: lambda: manifest.write_text(moved), 6: lambda: other.write_text("")}
    report = watch("--for", "20")
    found = [(change["kind"], change["path"].rpartition("/")[2]) for change in map(json.loads, report.lines)]
    assert found == [("changed", "kube-apiserver.yaml"), ("truncated", "other.log")]
    assert "other.log [log]" in report.err


def test_a_receiver_that_stays_away(watch, tree, clock):
    """What could not be delivered until the end is said; exit code 5."""
    clock.deeds = {3: tree.at(LOG).unlink}
    report = watch("--for", "10", "--post", "http://127.0.0.1:1/")
    assert report.code == 5
    assert "2 changes were not delivered" in report.err


def test_ctrl_c_says_what_was_not_delivered(watch, tree, clock):
    """Whoever stops it knows that somebody else was not told."""

    def stop():
        raise KeyboardInterrupt

    clock.deeds = {3: tree.at(LOG).unlink, 6: stop}
    report = watch("--exec", "false")
    assert report.code == 130
    assert "2 changes were not delivered: false: ended with 1" in report.err


def test_a_damaged_state_is_not_taken_for_a_first_run(watch, tmp_path):
    """Who could write it could hide a change: exit code 3."""
    state = tmp_path / "watch.json"
    state.write_text("{}")
    assert watch("--once", "--state", state).code == 3


def test_logs_and_files_by_name(watch, tree, capsys):
    """Other files and logs can be named, with a manifest or alone."""
    code = main(["apiserver", "watch", "--root", str(tree.root), "--log", LOG, "--file", "/etc/hosts", "--for", "0"])
    assert code == 0
    assert "/etc/hosts [file] (missing)" in capsys.readouterr().err
    assert watch("--file", "/etc/x", "--for", "0").err.count("watching") == 5


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--once"], "name --state FILE"),
        (["--interval", "0"], "positive"),
        (["--rescue", "/nowhere"], "no such directory"),
        (["--post", "gopher://x"], "expected https://HOST/PATH"),
        (["--post", "http://[::1"], "expected https://HOST/PATH"),
        (["--post", "http://h:99999/"], "expected https://HOST/PATH"),
        (["--post", "http://h/ü"], "expected https://HOST/PATH"),
        (["--post", "http:///x"], "expected https://HOST/PATH"),
        (["--exec", "echo 'x"], "--exec echo 'x: No closing quotation"),
        (["--exec", ""], "--exec names no command"),
        (["--interval", "inf"], "'inf' is no number of seconds"),
        (["--state", "/dev/null"], "/dev/null: this is no plain file"),
    ],
)
def test_usage(watch, words, says):
    """Wrong usage is one sentence."""
    refused = watch(*words, "--for", "0")
    assert refused.code == 2
    assert says in refused.err


def test_a_manifest_that_cannot_be_read(watch, tree):
    """Not there, or not understood: with the place."""
    assert watch(config="/nowhere.yaml").code == 2
    tree.at(MANIFEST).write_text("kind: Pod\n")
    assert f"{MANIFEST}:1: spec.containers" in watch().err
