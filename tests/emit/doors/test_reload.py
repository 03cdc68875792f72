"""A changed policy file is in force within its interval, and each change is on record."""

import json
import time
from pathlib import Path

import pytest

from kubewitness.emit.doors.auditing import Auditing
from kubewitness.emit.doors.reload import PolicyWatcher
from kubewitness.emit.metrics import Metrics
from kubewitness.emit.stages.handler import Auditor
from kubewitness.emit.stages.request import Request
from kubewitness.policy.load import load
from tests.emit.samples import ALICE, NOW_US, PODS, Kept


def policy(level: str, rules: int = 1) -> str:
    return "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n" + f"- level: {level}\n" * rules


class Watched:
    """A policy file, and the server that goes by it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_text(policy("Metadata"))
        self.sink, self.metrics, self.told = Kept(), Metrics(), []
        self.auditor = Auditor(load(path.read_bytes()), self.sink, self.metrics)
        self.watcher = PolicyWatcher(path, "1.36", self.auditor, self.sink, self.metrics, self.told.append)

    def level(self) -> str:
        """The level that a request has now."""
        audited = self.auditor.receive(Request("GET", PODS), ALICE, NOW_US, "id")
        return "None" if audited is None else audited.record.subject.decision.level.value


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path / "policy.yaml")


def test_a_changed_policy_is_in_force_and_on_record(watched: Watched) -> None:
    """The next request goes by it; the Event names file, rules and both digests."""
    assert (watched.watcher.look(NOW_US), watched.level()) == (False, "Metadata")
    watched.sink.clear()
    watched.path.write_text(policy("RequestResponse", 2))
    assert watched.watcher.look(NOW_US)
    (event,) = watched.sink
    assert watched.level() == "RequestResponse"
    assert (event.request_uri, event.verb, event.response_status.code) == (
        "/kubewitness/policy-reload",
        "policy-reload",
        200,
    )
    assert event.annotations["kubewitness.io/policy-file"] == str(watched.path)
    assert event.annotations["kubewitness.io/policy-rules"] == "2"
    before, now = (event.annotations[f"kubewitness.io/policy-{name}"] for name in ("previous-sha256", "sha256"))
    assert len({before, now}) == 2
    assert not watched.watcher.look(NOW_US)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: []\n", "loaded illegal policy with 0 rules"),
        ("{", "json parse error: unexpected end of JSON input"),
        (None, "no such file or directory"),
    ],
)
def test_a_policy_that_cannot_be_used_changes_nothing(watched: Watched, text: str | None, message: str) -> None:
    """The one in force stays; the attempt is on record once, and mending the file is another change."""
    if text is None:
        watched.path.unlink()
    else:
        watched.path.write_text(text)
    assert not watched.watcher.look(NOW_US)
    assert not watched.watcher.look(NOW_US)
    (event,) = watched.sink
    assert (event.response_status.code, event.response_status.status) == (422, "Failure")
    assert message in event.response_status.message
    assert message in watched.told[0]
    assert watched.level() == "Metadata"
    watched.path.write_text(policy("Request"))
    assert watched.watcher.look(NOW_US)
    assert watched.level() == "Request"


def test_requests_under_way_end_as_they_began(watched: Watched) -> None:
    """The level of a request is decided once."""
    audited = watched.auditor.receive(Request("GET", PODS), ALICE, NOW_US, "id")
    assert audited is not None
    watched.path.write_text(policy("None"))
    assert watched.watcher.look(NOW_US)
    audited.respond(200, NOW_US)
    audited.finish(NOW_US)
    assert [event.level.value for event in watched.sink if event.audit_id == "id"] == ["Metadata", "Metadata"]
    assert watched.level() == "None"


def test_a_flag_switches_it_on(tmp_path: Path) -> None:
    """A mounted ConfigMap changes by a link that is moved; the server notices within the interval."""
    for number, level in enumerate(("Metadata", "Request")):
        (tmp_path / f"{number}.yaml").write_text(policy(level))
    link, log = tmp_path / "policy.yaml", tmp_path / "audit.log"
    link.symlink_to("0.yaml")
    flags = [f"--audit-policy-file={link}", f"--audit-log-path={log}", "--audit-policy-reload-interval=10ms"]
    with Auditing(flags):
        (tmp_path / "new").symlink_to("1.yaml")
        (tmp_path / "new").replace(link)
        deadline = time.monotonic() + 10
        while not log.read_bytes() and time.monotonic() < deadline:
            time.sleep(0.005)
    (event,) = map(json.loads, log.read_bytes().splitlines())
    assert event["verb"] == "policy-reload"
