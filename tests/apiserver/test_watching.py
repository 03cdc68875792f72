"""What a healthy server does to its files is no alarm; what an attacker does is, and is told in words."""

import gzip
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubewitness.apiserver import integrity
from kubewitness.apiserver.distros import DISTROS
from kubewitness.apiserver.integrity import BLOCK_BYTES, Role, Watched, look
from kubewitness.apiserver.watching import Guard, StateError, dump, load, watched_of
from kubewitness.emit.backends import options
from kubewitness.emit.backends.rotate import RotatingFile

from .trees import enabled

MANIFEST = DISTROS["kubeadm"].config
LOG = "/var/log/kubernetes/audit/audit.log"
POLICY = "/etc/kubernetes/audit-policy.yaml"


@pytest.fixture
def tree(tmp_path):
    """A control plane node with a log that has two lines."""
    root = enabled(tmp_path)
    root.at(LOG).write_text("one\ntwo\n")
    return root


@pytest.fixture
def guard(tree, tmp_path):
    """A guard that has begun."""
    rescue = tmp_path / "rescue"
    rescue.mkdir()
    watched = watched_of(tree.at(MANIFEST).read_bytes(), MANIFEST)
    guard = Guard(watched, tree.at, lambda: "2026-11-23T03:05:00.000000Z", rescue)
    guard.begin()
    yield guard
    guard.close()


def _round(guard):
    return [(change.kind, change.path.rpartition("/")[2], change.alarm) for change in guard.round()]


def test_what_is_watched_is_what_the_manifest_names(tree):
    """Manifest, the directory of static pods, policy, log with what is kept of it."""
    assert watched_of(tree.at(MANIFEST).read_bytes(), MANIFEST) == [
        Watched(MANIFEST, Role.CONFIG),
        Watched("/etc/kubernetes/manifests", Role.DIRECTORY),
        Watched(POLICY, Role.POLICY),
        Watched(LOG, Role.LOG, options.Rotation(100 << 20, 10, 30)),
    ]


def test_nothing_happened(guard):
    """No change, no word."""
    assert _round(guard) == []


def test_auditing_is_switched_off(guard, tree):
    """The flags that went are named."""
    manifest = tree.at(MANIFEST)
    text = manifest.read_text().replace(f"    - --audit-log-path={LOG}\n", "")
    manifest.write_text(text)
    [change] = guard.round()
    assert (change.kind, change.role, change.alarm) == ("changed", Role.CONFIG, True)
    assert change.message == f"the content changed: now without --audit-log-path={LOG}"
    manifest.write_text(text + "# a comment\n")
    assert [change.message for change in guard.round()] == ["the content changed, the audit flags did not"]
    manifest.write_text("broken: [")
    assert [change.message for change in guard.round()] == [
        "the content changed, and what it says of auditing cannot be read"
    ]


def test_the_log_grows_and_is_rotated(guard, tree):
    """Growth is nothing to tell; rotation by the real backend, with pruning, is told without alarm."""
    values = options.parse([f"--audit-log-path={tree.at(LOG)}", "--audit-log-maxsize=1", "--audit-log-maxbackup=10"])
    clock = iter(range(1_800_000_000_000_000, 1_800_000_900_000_000, 1_000_000))
    writer = RotatingFile(tree.at(LOG), options.rotation(values), lambda: next(clock), lambda work: work())
    writer.write(b"three\n")
    assert _round(guard) == []
    for _ in range(14):
        writer.write(b"x" * (1 << 20))
        assert [(kind, alarm) for kind, _, alarm in _round(guard) if kind != "rotated"] in ([], [("removed", False)])
    writer.close()
    assert len(list(tree.at(LOG).parent.iterdir())) <= 12


def test_a_rotated_file_is_compressed(guard, tree):
    """The plain file goes, its .gz stays: no alarm, even when both happened between two looks."""
    log = tree.at(LOG)
    rotated = log.with_name("audit-2026-11-23T03-05-00.000.log")
    log.rename(rotated)
    log.write_text("new\n")
    with gzip.open(f"{rotated}.gz", "wb") as file:
        file.write(rotated.read_bytes())
    rotated.unlink()
    assert _round(guard) == [("rotated", "audit.log", False)]


@pytest.mark.parametrize(
    ("deed", "expected"),
    [
        (lambda log: log.write_text("one\n"), [("truncated", "audit.log", True)]),
        (lambda log: log.write_text("ONE\ntwo\nthree\n"), [("rewritten", "audit.log", True)]),
        (
            lambda log: (log.unlink(), log.write_text(""), log.chmod(0o600)),
            [("removed", "audit.log", True), ("deleted", "audit.log", True)],
        ),
        (lambda log: log.unlink(), [("removed", "audit.log", True), ("deleted", "audit.log", True)]),
        (lambda log: log.chmod(0o644), [("mode", "audit.log", True)]),
        (lambda log: log.chmod(0o400), [("mode", "audit.log", False)]),
        (
            lambda log: (log.unlink(), log.symlink_to("/dev/null")),
            [("changed", "audit.log", True), ("deleted", "audit.log", True)],
        ),
        (lambda log: (log.unlink(), os.mkfifo(log)), [("changed", "audit.log", True), ("deleted", "audit.log", True)]),
    ],
)
def test_deeds_against_the_log(guard, tree, deed, expected):
    """Each is told once, as what it is."""
    tree.at(LOG).chmod(0o600)
    guard.begin()
    deed(tree.at(LOG))
    assert _round(guard) == expected
    assert _round(guard) == []


def test_a_deleted_log_is_saved(guard, tree, tmp_path):
    """What was deleted, and what the server wrote afterwards, is copied out of the file that is still open."""
    with tree.at(LOG).open("a") as server:
        tree.at(LOG).unlink()
        server.write("three, into nowhere\n")
        server.flush()
        deleted = next(change for change in guard.round() if change.kind == "deleted")
    [saved] = (tmp_path / "rescue").iterdir()
    assert saved.read_text() == "one\ntwo\nthree, into nowhere\n"
    assert saved.stat().st_mode & 0o777 == 0o600
    assert str(saved) in deleted.message


def test_deeds_against_rotated_files(guard, tree):
    """A rotated file that goes before its time is an alarm; one that was changed while it was rotated too."""
    log = tree.at(LOG)
    log.rename(log.with_name("audit-2026-11-23T03-05-00.000.log"))
    log.write_text("new\n")
    assert _round(guard) == [("rotated", "audit.log", False)]
    log.with_name("audit-2026-11-23T03-05-00.000.log").unlink()
    assert _round(guard) == [("removed", "audit.log", True)]
    log.rename(log.with_name("audit-2026-11-23T03-06-00.000.log"))
    log.with_name("audit-2026-11-23T03-06-00.000.log").write_text("NEW\n")
    log.write_text("newer\n")
    assert _round(guard) == [("rewritten", "audit.log", True)]


def test_what_the_server_prunes_is_no_alarm(guard, tree):
    """Files beyond their number or age go by themselves; one that would stay is missed, however many there are."""
    log = tree.at(LOG)
    names = [f"audit-2026-11-{day}T03-00-00.000.log" for day in range(10, 20)]
    old = "audit-2026-10-02T03-00-00.000.log"
    for name in [old, *names]:
        log.with_name(name).write_text("x\n")
    guard.begin()
    log.with_name(old).unlink()
    assert _round(guard) == [("removed", "audit.log", False)]
    log.with_name(names[3]).unlink()
    [lost] = guard.round()
    assert (lost.kind, lost.alarm) == ("removed", True)
    assert lost.message == f"rotated file {names[3]} is gone before the server would remove it"
    log.rename(log.with_name("audit-2026-11-21T03-00-00.000.log"))
    log.write_text("new\n")
    log.with_name(names[0]).unlink()
    assert _round(guard) == [("rotated", "audit.log", False), ("removed", "audit.log", True)]


def test_a_rotated_file_that_goes_while_it_is_listed(guard, tree, monkeypatch):
    """The server compresses while we look: the other files are not missed."""
    log = tree.at(LOG)
    going = log.with_name("audit-2026-11-22T03-00-00.000.log")
    log.with_name("audit-2026-11-21T03-00-00.000.log").write_text("x\n")
    going.write_text("x\n")
    guard.begin()
    real = os.scandir

    def listed(place):
        entries = list(real(place))
        if going.exists() and place == log.parent:
            going.rename(f"{going}.gz")
        return entries

    monkeypatch.setattr(integrity.os, "scandir", listed)
    assert [*_round(guard), *_round(guard)] == []


def test_a_rescue_that_fails_hides_no_alarm(guard, tree, tmp_path):
    """The place to save to is gone: the deletion is told all the same."""
    (tmp_path / "rescue").rmdir()
    tree.at(LOG).unlink()
    removed, deleted = guard.round()
    assert (removed.kind, deleted.kind) == ("removed", "deleted")
    assert deleted.message.endswith(f"it could not be saved to {tmp_path / 'rescue'}: No such file or directory")


def test_files_among_the_static_pods(guard, tree):
    """A pod that appears is an alarm; a name with a dot before it is not, the kubelet passes it over."""
    pods = tree.at("/etc/kubernetes/manifests")
    (pods / "evil.yaml").write_text("kind: Pod\n")
    (pods / ".tmp").write_text("")
    assert _round(guard) == [("appeared", "manifests", False), ("appeared", "manifests", True)]
    (pods / "evil.yaml").unlink()
    assert _round(guard) == [("removed", "manifests", True)]


def test_policy_changes(guard, tree):
    """Content, replacement without change of content, removal and return."""
    policy = tree.at(POLICY)
    policy.write_text("rules: []\n")
    assert _round(guard) == [("changed", "audit-policy.yaml", True)]
    policy.with_suffix(".new").write_text("rules: []\n")
    policy.with_suffix(".new").chmod(policy.stat().st_mode)
    policy.with_suffix(".new").replace(policy)
    assert _round(guard) == [("replaced", "audit-policy.yaml", False)]
    policy.unlink()
    assert _round(guard) == [("removed", "audit-policy.yaml", True)]
    policy.write_text("rules: []\n")
    assert _round(guard) == [("appeared", "audit-policy.yaml", True)]


def test_snapshots_survive(guard, tree):
    """Kept and read again they are the same; damaged ones are refused, not taken for nothing."""
    kept = list(guard.last.values())
    assert load(dump(kept)) == kept
    for data in (b"", b"{}", b"[]", dump(kept)[:-5], dump(kept).replace(b'"version": 1', b'"version": 2')):
        with pytest.raises(StateError):
            load(data)
    again = Guard(guard.watched, tree.at, guard.now)
    tree.at(LOG).write_text("one\n")
    again.begin(load(dump(kept)))
    assert _round(again) == [("truncated", "audit.log", True)]
    again.close()


@given(st.binary(min_size=1, max_size=400), st.binary(max_size=200), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_growing_is_never_an_alarm_and_losing_always_is(tmp_path_factory, old, new, factor):
    """Whatever was there, appending is silent; cutting or changing a byte of the first or last block is told."""
    place = tmp_path_factory.mktemp("log") / "audit.log"
    old = old * (1 + factor * BLOCK_BYTES // len(old))
    place.write_bytes(old)
    guard = Guard([Watched("audit.log", Role.LOG)], lambda path: place, lambda: "t")
    guard.begin()
    place.write_bytes(old + new)
    assert list(guard.round()) == []
    whole = old + new
    place.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    assert [change.kind for change in guard.round()] == ["rewritten"]
    place.write_bytes(whole[:-1])
    assert [change.kind for change in guard.round()] == ["truncated"]
    guard.close()


def test_whatever_is_there_is_looked_at(tmp_path):
    """A directory, a pipe, a loop of links, no permission: a state in words, never an exception or a wait."""
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("x")
    states = {
        name: look(Watched(name, Role.FILE), tmp_path / name).state
        for name in ("directory", "pipe", "loop", "none", "file/under")
    }
    assert states == {
        "directory": "no plain file", "pipe": "no plain file", "loop": "a link to loop", "none": "missing",
        "file/under": "missing",
    }  # fmt: skip
