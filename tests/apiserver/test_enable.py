"""Auditing is turned on in each distribution's own form, once; what would hide the log is refused."""

import dataclasses
import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kubewitness.apiserver import podedit
from kubewitness.apiserver.apply import apply, undo
from kubewitness.apiserver.distros import DISTROS
from kubewitness.apiserver.enable import plan
from kubewitness.apiserver.plan import PlanError, difference
from kubewitness.apiserver.readers import read_setup

from .trees import FIXTURES, NAMES, POLICY, WANTED, contents, machine

MANIFEST = DISTROS["kubeadm"].config
KUBEADM = (FIXTURES / "kubeadm.yaml").read_text("utf-8")


def _kubeadm(tmp_path, text, **wanted):
    root = machine("kubeadm", tmp_path)
    root.at(MANIFEST).write_text(text)
    return plan("kubeadm", dataclasses.replace(WANTED, **wanted), root)


def _pod(planned):
    return yaml.safe_load(planned.files[-1].after)["spec"]


# Talos takes no webhook file
@pytest.mark.parametrize(
    ("name", "with_webhook"),
    [(name, webhook) for name in NAMES for webhook in (False, True) if (name, webhook) != ("talos", True)],
)
def test_on_again_and_off(name, with_webhook, tmp_path):
    """The plan is carried out; a second one changes nothing; undo restores every byte and mode, and leaves no trace."""
    wanted = dataclasses.replace(WANTED, webhook=b"kind: Config\n" if with_webhook else None)
    root = machine(name, tmp_path)
    before = contents(tmp_path)
    planned = plan(name, wanted, root)
    assert planned.changed
    assert planned.advice
    apply(planned, root)
    assert contents(tmp_path) != before
    again = plan(name, wanted, root)
    assert (again.changed, again.directories) == ((), ())
    assert list(difference(again)) == []
    undo(name, root)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("minikube", "talos")])
def test_old_lines_stay(name, tmp_path):
    """A configuration that was there keeps each of its lines, in order; only an empty `{}` goes."""
    planned = plan(name, WANTED, machine(name, tmp_path))
    config = planned.files[-1]
    rest = iter(config.after.decode().splitlines())
    old = [line.replace("extraArgs: {}", "extraArgs:") for line in config.before.decode().splitlines()]
    assert all(line in rest for line in old)


def test_the_static_pod_gets_what_the_documentation_shows(tmp_path):
    """Flags, a policy mounted as a file to read, the log's directory mounted to write; the directory made 0700."""
    planned = _kubeadm(tmp_path, KUBEADM)
    pod = _pod(planned)
    assert pod["containers"][0]["command"][-5:] == [
        "--audit-policy-file=/etc/kubernetes/audit-policy.yaml",
        "--audit-log-path=/var/log/kubernetes/audit/audit.log",
        "--audit-log-maxage=30",
        "--audit-log-maxbackup=10",
        "--audit-log-maxsize=100",
    ]
    assert pod["containers"][0]["volumeMounts"][-2:] == [
        {"mountPath": "/etc/kubernetes/audit-policy.yaml", "name": "audit-policy", "readOnly": True},
        {"mountPath": "/var/log/kubernetes/audit", "name": "audit-log"},
    ]
    assert pod["volumes"][-2:] == [
        {"hostPath": {"path": "/etc/kubernetes/audit-policy.yaml", "type": "File"}, "name": "audit-policy"},
        {"hostPath": {"path": "/var/log/kubernetes/audit", "type": "DirectoryOrCreate"}, "name": "audit-log"},
    ]
    assert [(one.path, one.mode) for one in planned.directories] == [("/var/log/kubernetes/audit", 0o700)]
    assert planned.files[-1].path == MANIFEST, "the manifest is written last: the server restarts on it"


def test_values_that_are_there_stay_unless_asked_for(tmp_path):
    """A flag with another value is kept; one that was asked for is changed in place."""
    text = KUBEADM.replace(
        "    - --secure-port=6443\n", "    - --secure-port=6443\n    - --audit-log-maxage=7 # week\n"
    )
    assert b"    - --audit-log-maxage=7 # week\n" in _kubeadm(tmp_path / "a", text).files[-1].after
    asked = _kubeadm(tmp_path / "b", text, flags={"audit-log-maxage": "90"})
    assert b"    - --audit-log-maxage=90 # week\n" in asked.files[-1].after
    assert asked.files[-1].after.count(b"maxage") == 1


@pytest.mark.parametrize("metadata", ["keep", "annotations: {}", "annotations:", "none"])
def test_another_policy_makes_the_kubelet_restart_the_server(metadata, tmp_path):
    """The server reads its policy only at start, the kubelet looks only at the manifest: so the manifest notes it."""
    root = machine("kubeadm", tmp_path)
    manifest = root.at(MANIFEST)
    if metadata != "keep":
        start, end = KUBEADM.index("  annotations:"), KUBEADM.index("  labels:")
        middle = "" if metadata == "none" else f"  {metadata}\n"
        manifest.write_text(KUBEADM[:start] + middle + KUBEADM[end:])
    apply(plan("kubeadm", WANTED, root), root)
    assert podedit.ANNOTATION not in manifest.read_text(), "the first time the flags change"
    other = dataclasses.replace(WANTED, policy=POLICY + b"# other\n")
    notes = set()
    for wanted in (other, WANTED):
        changed = plan("kubeadm", wanted, root)
        assert [file.path for file in changed.changed] == ["/etc/kubernetes/audit-policy.yaml", MANIFEST]
        apply(changed, root)
        assert plan("kubeadm", wanted, root).changed == ()
        notes.add(yaml.safe_load(manifest.read_text())["metadata"]["annotations"][podedit.ANNOTATION])
    assert len(notes) == 2


def test_mounts_that_lead_there_are_used(tmp_path):
    """Policy and log under directories that are mounted need no mount; they go where these lie on the host."""
    text = KUBEADM.replace("    volumeMounts:\n", "    volumeMounts:\n    - {mountPath: /audit, name: mine}\n").replace(
        "  volumes:\n", "  volumes:\n  - {name: mine, hostPath: {path: /srv/audit, type: Directory}}\n"
    )
    planned = _kubeadm(tmp_path, text, policy_path="/audit/policy.yaml", log_path="/audit/log/audit.log")
    assert (planned.policy, planned.log) == ("/srv/audit/policy.yaml", "/srv/audit/log/audit.log")
    assert len(_pod(planned)["volumes"]) == KUBEADM.count("type: DirectoryOrCreate") + 1


def test_names_of_volumes_that_are_taken_are_left_alone(tmp_path):
    """Another volume called audit-log stays what it is."""
    text = KUBEADM.replace("  volumes:\n", "  volumes:\n  - {name: audit-log, emptyDir: {}}\n")
    pod = _pod(_kubeadm(tmp_path, text))
    assert pod["volumes"][0] == {"name": "audit-log", "emptyDir": {}}
    assert pod["containers"][0]["volumeMounts"][-1]["name"] == "audit-log-2"


def test_flags_in_args_go_to_args(tmp_path):
    """Where the flags stand in args they are added there."""
    text = KUBEADM.replace("    - kube-apiserver\n", "    - kube-apiserver\n    args:\n", 1)
    container = _pod(_kubeadm(tmp_path, text))["containers"][0]
    assert container["command"] == ["kube-apiserver"]
    assert "--audit-log-maxage=30" in container["args"]


def test_a_manifest_in_json(tmp_path):
    """The kubelet takes JSON too: it becomes what the same manifest in YAML becomes, and stays JSON."""
    in_json = _kubeadm(tmp_path / "a", json.dumps(yaml.safe_load(KUBEADM), indent=2)).files[-1].after
    assert json.loads(in_json) == yaml.safe_load(_kubeadm(tmp_path / "b", KUBEADM).files[-1].after)


def test_a_pod_without_mounts(tmp_path):
    """volumeMounts and volumes are made where there are none."""
    text = "kind: Pod\nspec:\n  containers:\n  - name: kube-apiserver\n    command: [kube-apiserver]\n"
    pod = _pod(_kubeadm(tmp_path, text))
    assert len(pod["volumes"]) == len(pod["containers"][0]["volumeMounts"]) == 2


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("  containers:\n", "  containers: nothing\n  others:\n", "spec.containers must be a list"),
        ("kind: Pod\n", "kind: Deployment\n", "kind: Pod"),
        ("kind: Pod\n", "", "kind: Pod"),
        ("    - kube-apiserver\n", "    - kube-scheduler\n", "no container of this pod runs kube-apiserver"),
        ("  - command:\n", "  - command: &c\n", "anchors"),
        ("    - kube-apiserver\n", "    - sh\n    - -c\n    - kube-apiserver --x\n", "line for a shell"),
        ("- --secure-port=6443", "- --audit-log-path=", "has no value"),
        ("- --secure-port=6443", "- --audit-policy-file=policy.yaml", "=policy.yaml must begin with /"),
        ("- --secure-port=6443", "- --audit-log-path=audit.log", "=audit.log must begin with /"),
        ("- --secure-port=6443", "- {a: b}", "must be text"),
        ("status: {}", "status: {}\n---\nkind: Pod", "second document"),
        ("status: {}", "status: [", "no YAML"),
    ],
)
def test_a_manifest_that_is_not_understood_is_refused(old, new, words, tmp_path):
    """The refusal names file and line; nothing is planned."""
    text = KUBEADM.replace("    name: kube-apiserver\n    ports", "    ports", 1).replace(old, new, 1)
    with pytest.raises(PlanError, match=words) as refused:
        _kubeadm(tmp_path, text)
    assert refused.value.file == MANIFEST
    assert refused.value.line > 0


@pytest.mark.parametrize(
    ("mount", "volume", "words"),
    [
        (
            "{mountPath: /var/log, name: v, readOnly: true}",
            "{name: v, hostPath: {path: /var/log}}",
            "mounted read-only",
        ),
        ("{mountPath: /var/log, name: v}", "{name: v, emptyDir: {}}", "the log goes with the pod"),
        (
            "{mountPath: /var/log/kubernetes/audit/audit.log, name: audit-log}",
            "{name: audit-log, hostPath: {path: /var/log/kubernetes/audit/audit.log, type: FileOrCreate}}",
            "rotation cannot rename it",
        ),
        ("{mountPath: /etc/kubernetes, name: v}", "{name: v, configMap: {name: c}}", "no path of the host"),
    ],
)
def test_a_mount_that_hides_policy_or_log_is_refused(mount, volume, words, tmp_path):
    """The line of the mount is named, and what to do."""
    text = KUBEADM.replace("    volumeMounts:\n", f"    volumeMounts:\n    - {mount}\n")
    text = text.replace("  volumes:\n", f"  volumes:\n  - {volume}\n")
    with pytest.raises(PlanError, match=words) as refused:
        _kubeadm(tmp_path, text)
    assert refused.value.line == text[: text.index(mount)].count("\n") + 1
    assert refused.value.help


@pytest.mark.parametrize(
    "wanted", [{"policy_path": "/etc/kubernetes/manifests/p.yaml"}, {"log_path": "/etc/kubernetes/manifests/a.log"}]
)
def test_nothing_is_put_among_the_static_pods(wanted, tmp_path):
    """The kubelet takes every file there for a pod."""
    with pytest.raises(PlanError, match="would take every file there for a pod"):
        _kubeadm(tmp_path, KUBEADM, **wanted)


def test_a_policy_is_needed(tmp_path):
    """No policy asked for, none there, none to fall back on; a policy that is there stays."""
    with pytest.raises(PlanError, match="there is no policy"):
        _kubeadm(tmp_path, KUBEADM, policy=None)
    place = tmp_path / "etc/kubernetes/audit-policy.yaml"
    place.write_bytes(b"mine")
    root = machine("k3s", tmp_path)
    kept = plan("kubeadm", dataclasses.replace(WANTED, policy=None, fallback=POLICY), root)
    assert kept.files[0].after == b"mine"


def test_a_drop_in_of_k3s_that_wins_is_refused(tmp_path):
    """A file of config.yaml.d that sets the same list would hide what is written."""
    root = machine("k3s", tmp_path)
    drop_in = tmp_path / "etc/rancher/k3s/config.yaml.d/10-audit.yaml"
    drop_in.parent.mkdir()
    drop_in.write_text("debug: true\nkube-apiserver-arg: [a=b]\n")
    with pytest.raises(PlanError, match="the last file wins") as refused:
        plan("k3s", WANTED, root)
    assert (refused.value.file, refused.value.line) == ("/etc/rancher/k3s/config.yaml.d/10-audit.yaml", 2)
    drop_in.write_text("kube-apiserver-arg+: [a=b]\n")
    assert plan("k3s", WANTED, root).changed


@pytest.mark.parametrize("name", ["kind", "k3s", "rke2", "talos"])
def test_a_configuration_that_is_not_there_is_written(name, tmp_path):
    """Where a file may be missing it is made, and read back as this distribution's."""
    machine("kubeadm", tmp_path)
    planned = plan(name, WANTED, machine("minikube", tmp_path))
    assert planned.files[-1].before is None
    assert read_setup(planned.files[-1].after, planned.config).flag("audit-policy-file") is not None


def test_kind_refuses_a_patch_that_it_would_contradict(tmp_path):
    """A patch for the API server that somebody wrote is not overwritten."""
    root = machine("kind", tmp_path)
    patch = "kubeadmConfigPatches:\n- |\n  kind: ClusterConfiguration\n  apiServer:\n    extraArgs: {v: '2'}\n"
    path = root.at("kind-config.yaml")
    path.write_text(path.read_text() + patch)
    with pytest.raises(PlanError, match="there already"):
        plan("kind", WANTED, root)


@pytest.mark.parametrize("wanted", [{"flags": {"audit-log-maxage": "90"}}, {"log_path": "/x/a.log"}])
def test_talos_takes_no_flags(wanted, tmp_path):
    """Talos drops audit flags silently, so they are not written."""
    with pytest.raises(PlanError, match="drops others without a word"):
        plan("talos", dataclasses.replace(WANTED, **wanted), machine("talos", tmp_path))


def test_talos_holds_the_policy_itself(tmp_path):
    """The patch has the policy as data, booleans as booleans."""
    policy = POLICY + b"  omitManagedFields: true\n"
    planned = plan("talos", dataclasses.replace(WANTED, policy=policy), machine("talos", tmp_path))
    inside = yaml.safe_load(planned.files[0].after)["cluster"]["apiServer"]["auditPolicy"]
    assert inside == yaml.safe_load(policy)


_LINES = KUBEADM.splitlines(keepends=True)


@settings(max_examples=12, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, len(_LINES) - 1), st.sampled_from(["cut", "twice", "deeper", "null", "list"])),
        max_size=4,
    )
)
def test_odd_manifests_end_in_a_plan_or_a_refusal(changes):
    """Lines cut, repeated, indented, emptied or turned into lists: never anything but PlanError; twice is once."""

    class Memory:
        def __init__(self):
            self.files = {MANIFEST: "".join(lines).encode()}

        def read(self, path):
            return self.files.get(path)

        def names(self, directory):
            return []

        def is_directory(self, path):
            return True

    lines = list(_LINES)
    for at, how in changes:
        name = lines[at].partition(":")[0]
        lines[at] = {
            "cut": "", "twice": lines[at] * 2, "deeper": "  " + lines[at],
            "null": f"{name}:\n", "list": f"{name}: [1, {{}}]\n",
        }[how]  # fmt: skip
    host = Memory()
    try:
        planned = plan("kubeadm", WANTED, host)
    except PlanError:
        return
    host.files |= {file.path: file.after for file in planned.files}
    assert plan("kubeadm", WANTED, host).changed == ()
