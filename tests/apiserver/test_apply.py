"""On the disk: modes, places of copies, refusal of what changed meanwhile, and undo."""

import contextlib
import dataclasses
import fcntl
import os

import pytest

from kubewitness.apiserver import apply as applying
from kubewitness.apiserver.apply import apply, roll_back, undo
from kubewitness.apiserver.distros import DISTROS
from kubewitness.apiserver.enable import plan
from kubewitness.apiserver.plan import PlanError

from .trees import NAMES, WANTED, contents, machine

MANIFEST = DISTROS["kubeadm"].config


@pytest.fixture
def root(tmp_path):
    """A control plane node of kubeadm."""
    return machine("kubeadm", tmp_path)


def _on(root, **wanted):
    planned = plan("kubeadm", dataclasses.replace(WANTED, **wanted), root)
    apply(planned, root)
    return planned


def test_only_the_manifest_is_ever_seen_among_the_static_pods(root, monkeypatch):
    """At each rename the directory that the kubelet watches holds the manifest alone; copies lie elsewhere, 0700."""
    seen = []
    real = os.fsync

    def look(fd):
        seen.append(sorted(path.name for path in root.at("/etc/kubernetes/manifests").iterdir()))
        real(fd)

    monkeypatch.setattr(applying.os, "fsync", look)
    _on(root)
    assert len(seen) > 4
    assert {tuple(names) for names in seen} == {("kube-apiserver.yaml",)}
    state = root.at("/var/lib/kubewitness-apiserver/kubeadm")
    assert state.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in state.iterdir()} == {"1-kube-apiserver.yaml", "state.json"}


def test_modes(root):
    """The log directory is for its owner alone; the manifest keeps its mode; a new policy is for its owner alone."""
    root.at(MANIFEST).chmod(0o640)
    _on(root)
    assert root.at("/var/log/kubernetes/audit").stat().st_mode & 0o777 == 0o700
    assert root.at(MANIFEST).stat().st_mode & 0o777 == 0o640
    assert root.at("/etc/kubernetes/audit-policy.yaml").stat().st_mode & 0o777 == 0o600


def test_a_file_that_changed_meanwhile_is_not_overwritten(root):
    """Between plan and deed somebody edits: nothing is changed."""
    planned = plan("kubeadm", WANTED, root)
    root.at(MANIFEST).write_text("kind: Pod\n")
    before = contents(root.root)
    with pytest.raises(PlanError, match="changed while this ran"):
        apply(planned, root)
    assert contents(root.root) == before


def test_undo_after_two_runs_goes_back_to_the_first(root):
    """What was there before the first run is what undo restores; a log that was written stays."""
    before = contents(root.root)
    _on(root)
    _on(root, flags={"audit-log-maxage": "90"})
    log = root.at("/var/log/kubernetes/audit/audit.log")
    log.write_text("evidence\n")
    undo("kubeadm", root)
    assert log.read_text() == "evidence\n"
    log.unlink()
    assert contents(root.root) == before
    with pytest.raises(PlanError, match="nothing to undo"):
        undo("kubeadm", root)


def test_one_run_is_rolled_back(root):
    """The last run is taken back and the one before stays, which undo can still take back."""
    first = contents(root.root)
    _on(root)
    second = contents(root.root)
    other = plan("kubeadm", dataclasses.replace(WANTED, policy=b"other", flags={"audit-log-maxage": "90"}), root)
    roll_back(apply(other, root), root)
    assert contents(root.root) == second
    applied = apply(other, root)
    root.at(MANIFEST).write_text("mine")
    with pytest.raises(PlanError, match="meanwhile"):
        roll_back(applied, root)
    root.at(MANIFEST).write_bytes(other.files[-1].after)
    roll_back(applied, root)
    undo("kubeadm", root)
    assert contents(root.root) == first
    planned = plan("kubeadm", WANTED, root)
    roll_back(apply(planned, root), root)
    assert contents(root.root) == first
    assert not root.at("/var/log/kubernetes/audit").exists()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("how", ["undo", "roll back", "refuse"])
def test_no_directory_is_left_behind(how, name, tmp_path):
    """Directories that were made for the files, or to keep copies, go with them; also when nothing was done."""
    root = machine(name, tmp_path)
    (tmp_path / "var" / "lib").mkdir(parents=True, exist_ok=True)
    before = sorted(tmp_path.rglob("*"))
    planned = plan(name, WANTED, root)
    if how == "refuse":
        odd = [dataclasses.replace(file, before=b"otherwise") for file in planned.files]
        with pytest.raises(PlanError, match="changed while this ran"):
            apply(dataclasses.replace(planned, files=tuple(odd)), root)
    else:
        applied = apply(planned, root)
        undo(name, root) if how == "undo" else roll_back(applied, root)
    assert sorted(tmp_path.rglob("*")) == before


def test_undo_after_a_crash_in_the_second_run(root, monkeypatch):
    """The second run had noted what it was about to write: undo still knows the files of the first."""
    first = contents(root.root)
    _on(root)
    real, count = applying._replace, iter(range(10))

    def fail(*args):
        if next(count) == 1:
            raise OSError(5, "Input/output error")
        real(*args)

    monkeypatch.setattr(applying, "_replace", fail)
    with pytest.raises(OSError, match="Input"):
        _on(root, policy=b"other", flags={"audit-log-maxage": "90"})
    monkeypatch.setattr(applying, "_replace", real)
    undo("kubeadm", root)
    assert contents(root.root) == first


def test_undo_refuses_what_somebody_changed_since(root):
    """A later edit is not thrown away; where the copy lies is said."""
    _on(root)
    root.at(MANIFEST).write_bytes(root.at(MANIFEST).read_bytes() + b"# mine\n")
    before = contents(root.root)
    with pytest.raises(PlanError, match="somebody has changed this since") as refused:
        undo("kubeadm", root)
    assert "0700" not in refused.value.help
    assert contents(root.root) == before


@pytest.mark.parametrize("step", range(12))
def test_a_crash_at_any_write_can_be_undone(root, monkeypatch, step):
    """The disk fails at the n-th sync: undo, where anything was done, restores every byte."""
    before = contents(root.root)
    count = iter(range(100))
    real = os.fsync

    def fail(fd):
        if next(count) == step:
            raise OSError(5, "Input/output error")
        real(fd)

    monkeypatch.setattr(applying.os, "fsync", fail)
    with contextlib.suppress(OSError):
        _on(root)
    monkeypatch.setattr(applying.os, "fsync", real)
    with contextlib.suppress(PlanError):  # nothing was done yet
        undo("kubeadm", root)
    left = {name: one for name, one in contents(root.root).items() if "var/lib/kubewitness-apiserver" not in name}
    assert left == before
    assert not list(root.root.rglob(".*kubewitness*"))


def test_links_and_pipes_are_refused(root):
    """A manifest that is a link or a pipe is not followed or read."""
    place = root.at(MANIFEST)
    place.rename(root.at("/elsewhere.yaml"))
    place.symlink_to(root.at("/elsewhere.yaml"))
    with pytest.raises(PlanError, match="this is a link"):
        plan("kubeadm", WANTED, root)
    place.unlink()
    os.mkfifo(place)
    with pytest.raises(PlanError, match="no plain file"):
        plan("kubeadm", WANTED, root)


def test_two_at_once(root):
    """Who comes second is told."""
    planned = plan("kubeadm", WANTED, root)
    state = root.at("/var/lib/kubewitness-apiserver/kubeadm")
    state.mkdir(parents=True)
    fd = os.open(state, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        with pytest.raises(PlanError, match="another"):
            apply(planned, root)
    finally:
        os.close(fd)
