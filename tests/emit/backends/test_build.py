"""Flags become backends, named as kube-apiserver prints them, or a refusal in its words."""

import io
import sys
import threading
from pathlib import Path

import pytest

from kubewitness.emit import wire
from kubewitness.emit.backends.build import StartError, Tidier, join, load_policy, log_backend
from kubewitness.emit.backends.options import parse
from kubewitness.emit.metrics import Metrics
from kubewitness.event.flow import Backend
from tests.emit.samples import event


def built(path: Path | str, *flags: str, metrics: Metrics | None = None) -> Backend:
    backend = log_backend(parse([f"--audit-log-path={path}", *flags]), metrics or Metrics(), print)
    assert backend is not None
    return backend


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ([], "ignoreErrors<log>"),
        (["--audit-log-mode=blocking-strict"], "log"),
        (["--audit-log-mode=batch"], "buffered<log>"),
        (["--audit-log-truncate-enabled"], "truncate<ignoreErrors<log>>"),
        (["--audit-log-truncate-enabled", "--audit-log-mode=batch"], "truncate<buffered<log>>"),
    ],
)
def test_names_and_a_line_through_each(tmp_path: Path, flags: list[str], name: str) -> None:
    """Each way of wrapping prints as in kube-apiserver, and a line gets through it."""
    backend = built(tmp_path / "d" / "audit.log", *flags)
    assert backend.name == name
    backend.run()
    assert backend.process_events([event()])
    backend.shutdown()
    assert (tmp_path / "d" / "audit.log").read_bytes() == wire.line(event())


@pytest.mark.parametrize(("mode", "is_taken"), [("blocking", True), ("blocking-strict", False), ("batch", True)])
def test_a_full_disk_by_mode(mode: str, is_taken: bool) -> None:
    """Only blocking-strict lets a request notice; all count the loss."""
    metrics = Metrics()
    backend = built("/dev/full", f"--audit-log-mode={mode}", metrics=metrics)
    backend.run()
    assert backend.process_events([event()]) is is_taken
    backend.shutdown()
    assert metrics.errors == {"log": 1}


def test_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` writes lines to standard output."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw))
    backend = built("-", "--audit-log-format=legacy")
    assert backend.process_events([event()])
    assert raw.getvalue().startswith(b'2026-11-23T03:05:09.000001Z AUDIT: id="a"')
    backend.shutdown()


def test_off_and_joined(tmp_path: Path) -> None:
    """Without a path there is no log backend; one alone is not wrapped; two are a union."""
    assert log_backend(parse([]), Metrics(), print) is None
    assert join(None, None) is None
    one = built(tmp_path / "a.log")
    assert join(None, one) is one
    both = join(one, built(tmp_path / "b.log"))
    assert both is not None
    assert both.name == "union[ignoreErrors<log>,ignoreErrors<log>]"
    both.shutdown()


def test_refusals(tmp_path: Path) -> None:
    """One refusal stands bare, several in brackets; a path that cannot be is refused, too."""
    log = f"--audit-log-path={tmp_path}/a.log"
    with pytest.raises(StartError, match=r"^--audit-log-maxage -1 can't be a negative number$"):
        log_backend(parse([log, "--audit-log-maxage=-1"]), Metrics(), print)
    with pytest.raises(StartError, match=r"^\[invalid audit log format x, .*, --audit-log-maxage -1 can't be .*\]$"):
        log_backend(parse([log, "--audit-log-maxage=-1", "--audit-log-format=x"]), Metrics(), print)
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match=r"^ensureLogFile: open /.*/file/a\.log: not a directory$"):
        built(tmp_path / "file" / "a.log")


def test_the_policy_file(tmp_path: Path) -> None:
    """Read when there is one; a missing or broken one stops the server with its own sentence."""
    path = tmp_path / "policy.yaml"
    assert load_policy(parse([])) is None
    values = parse([f"--audit-policy-file={path}"])
    with pytest.raises(StartError) as refused:
        load_policy(values)
    assert str(refused.value) == (
        f'loading audit policy file: failed to read file path "{path}": open {path}: no such file or directory'
    )
    path.write_text("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: []\n")
    with pytest.raises(StartError) as refused:
        load_policy(values)
    assert str(refused.value) == f"loading audit policy file: loaded illegal policy with 0 rules: from file {path}"
    path.write_text("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n")
    policy = load_policy(values)
    assert policy is not None
    assert len(policy.rules) == 1


def test_the_version_of_the_server_reads_the_policy(tmp_path: Path) -> None:
    """A group `*` is refused before 1.36."""
    path = tmp_path / "policy.yaml"
    path.write_text('apiVersion: audit.k8s.io/v1\nrules: [{level: Metadata, resources: [{group: "*"}]}]\n')
    flags = [f"--audit-policy-file={path}"]
    assert load_policy(parse(flags, "1.36")) is not None
    with pytest.raises(StartError, match="a lowercase RFC 1123 subdomain"):
        load_policy(parse(flags, "1.35"))


def test_files_are_tidied_in_the_background(tmp_path: Path) -> None:
    """Rotated files are compressed and pruned while the log goes on."""
    old = tmp_path / "audit-2001-01-01T00-00-00.000.log"
    old.write_bytes(b"old\n")
    backend = built(tmp_path / "audit.log", "--audit-log-compress", "--audit-log-maxage=0", "--audit-log-maxbackup=5")
    assert backend.process_events([event()])
    for thread in threading.enumerate():
        if thread.name == "audit-log-tidy":
            thread.join()
    assert sorted(path.name for path in tmp_path.iterdir()) == [old.name + ".gz", "audit.log"]
    backend.shutdown()


def test_tidying_that_fails_is_told() -> None:
    """What goes wrong in the background is told, and tidying is tried again when asked again."""
    told: list[str] = []
    tidier = Tidier(told.append)

    def fail() -> None:
        raise OSError(13, "Permission denied", "/logs/a.log")

    for _ in range(2):
        tidier(fail)
        tidier.wait()
    assert set(told) == {"pruning and compressing the audit log: /logs/a.log: permission denied"}
    assert len(told) == 2
