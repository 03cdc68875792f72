"""Flags become an Auditor with its backends, or a refusal in kube-apiserver's words."""

from pathlib import Path

import pytest

from kubewitness.emit.backends.build import StartError
from kubewitness.emit.backends.flagvalues import FlagError
from kubewitness.emit.doors.auditing import Auditing
from kubewitness.emit.stages.request import Request
from tests.emit.backends.receiver import receiving
from tests.emit.samples import ALICE, NOW_US, PODS

POLICY = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n"


@pytest.fixture
def policy(tmp_path: Path) -> str:
    (tmp_path / "policy.yaml").write_text(POLICY)
    return f"--audit-policy-file={tmp_path / 'policy.yaml'}"


def test_both_backends_get_every_event(tmp_path: Path, policy: str) -> None:
    """Log first, then the webhook, which delivers what it holds at the end."""
    told: list[str] = []
    with receiving(tmp_path) as receiver:
        flags = [policy, f"--audit-log-path={tmp_path / 'audit.log'}"]
        with Auditing([*flags, f"--audit-webhook-config-file={receiver.kubeconfig()}"], tell=told.append) as auditing:
            assert auditing.auditor is not None
            assert not auditing.is_slow
            audited = auditing.auditor.receive(Request("GET", PODS), ALICE, NOW_US, "id")
            assert audited is not None
            audited.respond(200, NOW_US + 1)
            audited.finish(NOW_US + 2)
        assert told == ["Using audit backend: union[ignoreErrors<log>,buffered<webhook>]"]
        assert (tmp_path / "audit.log").read_bytes().count(b"\n") == 2
        assert receiver.seen[0].body.count(b'"stage":') == 2


def test_without_a_policy_nothing_is_recorded_but_the_log_is_made(tmp_path: Path) -> None:
    """As in kube-apiserver, which does not even look for the webhook's config then."""
    told: list[str] = []
    log = tmp_path / "d" / "audit.log"
    with Auditing([f"--audit-log-path={log}", "--audit-webhook-config-file=/nope"], tell=told.append) as auditing:
        assert (auditing.auditor, auditing.backend) == (None, None)
    assert log.read_bytes() == b""
    assert told == [
        f"No audit policy file provided, no events will be recorded for {p} backend" for p in ("log", "webhook")
    ]


def test_a_policy_alone_is_checked(tmp_path: Path, policy: str) -> None:
    """Without a backend there is no Auditor; a broken policy stops the server all the same."""
    assert Auditing([policy]).auditor is None
    (tmp_path / "policy.yaml").write_text("")
    with pytest.raises(StartError, match=r"^loading audit policy file: unknown group version field"):
        Auditing([policy])


def test_flags_are_looked_at_before_files() -> None:
    """A mode that does not exist is named though the policy does not exist either."""
    with pytest.raises(StartError, match=r"^invalid audit log mode x"):
        Auditing(["--audit-policy-file=/nope", "--audit-log-path=-", "--audit-log-mode=x"])
    with pytest.raises(FlagError, match="unknown flag: --audit-nope"):
        Auditing(["--audit-nope=1"])


@pytest.mark.parametrize(("mode", "is_slow"), [("batch", False), ("blocking", True), ("blocking-strict", True)])
def test_a_door_is_told_whether_requests_wait(tmp_path: Path, policy: str, mode: str, is_slow: bool) -> None:
    """A blocking webhook must not run on an event loop."""
    with receiving(tmp_path, tls=False) as receiver:
        flags = [policy, f"--audit-webhook-config-file={receiver.kubeconfig()}", f"--audit-webhook-mode={mode}"]
        assert Auditing(flags).is_slow is is_slow
