"""Marked requests are known again by their mark alone, through rotation, at every place and stage."""

import json
import os
import threading

import pytest

from kubewitness.apiserver.canary import Probe, Sent, Tail, Watch, probes
from kubewitness.event.types import Level, Stage
from kubewitness.policy.load import load

POLICY = load("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Request, users: [me]}, {level: Metadata}]\n")


def _event(probe, stage="ResponseComplete", **members):
    path = probe.path
    return json.dumps(
        {"kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": "x", "stage": stage,
         "requestURI": path, "verb": "get", "user": {"username": "me"},
         "stageTimestamp": "2026-11-23T03:05:00.000000Z", **members}
    ).encode()  # fmt: skip


@pytest.fixture
def sent():
    """Two requests that were answered."""
    return [Sent(probe, 0, 404, probe.audit_id) for probe in probes(("get", "create"), "default")]


def _watch(sent, policy=None):
    return Watch(sent, lambda: 1_795_403_101_500_000, policy)


def test_every_request_has_a_mark_of_its_own():
    """Marks and Audit-IDs differ, stand in the URL, and creating is a dry run of a ConfigMap with that name."""
    get, create = probes(("get", "create"), "shop")
    assert len({get.mark, create.mark, get.audit_id, create.audit_id}) == 4
    assert get.path == f"/api/v1/namespaces/shop/configmaps/{get.mark}"
    assert create.path == f"/api/v1/namespaces/shop/configmaps?dryRun=All&fieldManager={create.mark}"
    assert json.loads(create.body)["metadata"]["name"] == create.mark
    assert len(get.audit_id) <= 64


def test_what_is_seen_is_told_with_stage_level_and_lag(sent):
    """The lag is from the end of the stage; a stage counts once; events of others and torn ones do not."""
    watch = _watch(sent, POLICY)
    raw = _event(sent[0].probe)
    for line in (
        raw,
        raw,
        b"{}",
        raw[:-5],
        _event(Probe("get", "other", "", "GET", "/other")),
        sent[0].probe.mark.encode(),
    ):
        watch.take("log", line)
    [one] = watch.seen
    assert (one.stage, one.level, one.expected, one.user) == (
        Stage.RESPONSE_COMPLETE,
        Level.METADATA,
        Level.REQUEST,
        "me",
    )
    assert one.lag_us == 1_500_000
    assert [(missing.probe.kind, place) for missing, place in watch.missing([("log",)])] == [("create", ("log",))]


def test_a_mark_in_another_member_is_not_ours(sent):
    """A user agent that carries our mark does not pass for our request."""
    watch = _watch(sent)
    watch.take("log", _event(Probe("get", "o", "", "GET", "/other"), userAgent=sent[0].probe.mark))
    assert watch.seen == []


def test_the_last_stage_counts_at_each_place(sent):
    """RequestReceived is not enough; ResponseStarted is the end of a request that was refused with 401 alone."""
    watch = _watch(sent[:1])
    watch.take("log", _event(sent[0].probe, "RequestReceived"))
    watch.take("log", _event(sent[0].probe, "ResponseStarted"))
    assert not watch.is_complete([("log",)])
    watch.take("log", _event(sent[0].probe))
    assert watch.is_complete([("log",)])
    assert not watch.is_complete([("log",), ("store",)])
    refused = _watch([Sent(sent[0].probe, 0, 401, "")])
    refused.take("log", _event(sent[0].probe, "ResponseStarted"))
    assert refused.is_complete([("log",)])


def test_a_stamp_that_cannot_be_read_gives_no_lag(sent):
    """Hostile times are not computed with."""
    watch = _watch(sent)
    watch.take("log", _event(sent[0].probe, stageTimestamp="yesterday"))
    assert watch.seen[0].lag_us is None


def test_the_tail_goes_through_rotation(tmp_path):
    """Only what is written from now on; torn lines wait; after a rename the old file is read to its end."""
    path = tmp_path / "audit.log"
    path.write_text("before\n")
    tail = Tail(path)
    with path.open("a") as file:
        file.write("one\ntw")
    assert list(tail.lines()) == [b"one"]
    with path.open("a") as file:
        file.write("o\nthree\n")
    path.rename(tmp_path / "audit-1.log")
    path.write_text("four\n")
    assert list(tail.lines()) == [b"two", b"three", b"four"]
    path.unlink()
    assert list(tail.lines()) == []
    path.write_text("five\n")
    assert list(tail.lines()) == [b"five"]
    tail.close()
    later = Tail(tmp_path / "later.log")
    assert list(later.lines()) == []
    (tmp_path / "later.log").write_text("x\n")
    assert list(later.lines()) == [b"x"]
    later.close()


def test_the_tail_of_a_log_that_is_emptied_in_place(tmp_path):
    """As logrotate's copytruncate does: what is written from the start again is read."""
    path = tmp_path / "audit.log"
    path.write_text("before\n" * 9)
    tail = Tail(path)
    with path.open("a") as file:
        file.write("one\nto")
        file.flush()
        assert list(tail.lines()) == [b"one"]
        file.truncate(0)
        assert list(tail.lines()) == []
        file.write("two\n")
    assert list(tail.lines()) == [b"two"]
    tail.close()


def test_the_last_line_before_a_rotation_is_read(tmp_path, monkeypatch):
    """The server writes and renames between two of our steps."""
    path, real = tmp_path / "audit.log", os.read
    path.write_text("")
    tail, todo = Tail(path), ["once"]

    def read(fd, size):
        data = real(fd, size)
        if not data and todo:
            todo.clear()
            with path.open("a") as file:
                file.write("last\n")
            path.rename(tmp_path / "audit-1.log")
            path.write_text("first\n")
        return data

    monkeypatch.setattr(os, "read", read)
    assert [*tail.lines(), *tail.lines()] == [b"last", b"first"]
    tail.close()


def test_the_tail_of_a_pipe_does_not_wait(tmp_path):
    """A log that is a pipe without a writer is empty, not a place to hang."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    done = threading.Event()

    def look():
        try:
            tail = Tail(path)
            list(tail.lines())
            tail.close()
        except OSError:
            pass
        done.set()

    thread = threading.Thread(target=look)
    thread.start()
    assert done.wait(5)
    thread.join()
