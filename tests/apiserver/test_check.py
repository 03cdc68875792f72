"""What is enabled is clean; each way to lose the log is found, at its line, with what to paste."""

import base64
import datetime as dt
import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubewitness.apiserver.apply import apply
from kubewitness.apiserver.check import Question, check
from kubewitness.apiserver.context import Rate, Unknown
from kubewitness.apiserver.distros import DISTROS
from kubewitness.apiserver.enable import plan
from kubewitness.apiserver.findings import CODES
from kubewitness.apiserver.hostfiles import RootFiles
from kubewitness.apiserver.yamltext import EditError
from kubewitness.emit.backends.options import FLAGS
from tests.toyapi.process import certificate

from .trees import DATA, FIXTURES, NAMES, POLICY, WANTED, enabled, machine

MANIFEST = DISTROS["kubeadm"].config
NOW = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def on(tmp_path_factory):
    """A control plane node on which auditing was turned on."""
    return enabled(tmp_path_factory.mktemp("on"))


@pytest.fixture(scope="module")
def manifest(on):
    """Its manifest."""
    return on.at(MANIFEST).read_text()


def _codes(report):
    return [finding.code for finding in report.findings]


def _check(text, **question):
    question = Question(**{"files": Unknown(), "now": NOW, **question})
    return check(text.encode(), "kube-apiserver.yaml", question)


def _command(*flags):
    return "kube-apiserver " + " ".join(f"--{flag}" for flag in flags)


# minikube writes no log file that could be rotated, which CIS asks for
@pytest.mark.parametrize(
    ("name", "profile"),
    [(name, profile) for name in NAMES for profile in ("default", "cis") if (name, profile) != ("minikube", "cis")],
)
def test_what_was_enabled_is_clean(name, profile, tmp_path):
    """For each distribution: nothing is found after enable, the policy and the disk included; CIS is met too."""
    root = machine(name, tmp_path)
    planned = plan(name, WANTED, root)
    apply(planned, root)
    data = root.read(planned.config) if planned.config else planned.advice[0].encode()
    question = Question(RootFiles(tmp_path), POLICY if not planned.config else None, profile=profile, now=NOW)
    report = check(data, str(root.at(planned.config or "minikube.txt")), question)
    assert report.findings == ()
    assert report.setup.flag("audit-policy-file") is not None


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("minikube", "talos")])
def test_what_was_not_enabled_says_so(name):
    """Before enable each fixture records nothing, and the line to paste is in its own form."""
    path = next(path for path in FIXTURES.iterdir() if path.stem == name)
    report = check(path.read_bytes(), str(path), Question(Unknown(), now=NOW))
    assert "KW620" in _codes(report)
    assert all(finding.paste for finding in report.findings)


_MOUNT = "    - mountPath: /var/log/kubernetes/audit\n      name: audit-log\n"
_POLICY_MOUNT = "    - mountPath: /etc/kubernetes/audit-policy.yaml\n      name: audit-policy\n      readOnly: true\n"
_POLICY_VOLUME = "      path: /etc/kubernetes/audit-policy.yaml\n      type: File\n"
_LOG_VOLUME = (
    "  - hostPath:\n      path: /var/log/kubernetes/audit\n      type: DirectoryOrCreate\n    name: audit-log\n"
)


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (_MOUNT, "", "KW623"),
        (_MOUNT, _MOUNT + "      readOnly: true\n", "KW622"),
        (_MOUNT, _MOUNT.replace("audit\n", "audit/audit.log\n", 1), "KW624"),
        (_LOG_VOLUME, "  - name: audit-log\n    emptyDir: {}\n", "KW623"),
        (_LOG_VOLUME, _LOG_VOLUME.replace("DirectoryOrCreate", "FileOrCreate"), "KW606"),
        (_POLICY_MOUNT, "", "KW605"),
        (_POLICY_MOUNT, _POLICY_MOUNT.replace("      readOnly: true\n", ""), "KW666"),
        (_POLICY_VOLUME, _POLICY_VOLUME.replace("File", "DirectoryOrCreate"), "KW606"),
        (_POLICY_VOLUME, _POLICY_VOLUME.replace("File", "FileOrCreate"), "KW625"),
        (_POLICY_VOLUME, _POLICY_VOLUME.replace("      type: File\n", ""), "KW625"),
        ("    name: audit-policy\n  - ", "    name: other\n  - ", "KW606"),
        ("--audit-policy-file=/etc/kubernetes/audit-policy.yaml", "--v=2", "KW620"),
        ("--audit-log-path=/var/log/kubernetes/audit/audit.log", "--audit-log-path=/tmp/a.log", "KW623"),
        ("--audit-log-maxage=30", "--audit-log-maxag=30", "KW601"),
        ("--audit-log-maxage=30", "--audit-log-maxage=thirty", "KW602"),
        ("--audit-log-maxage=30", "--audit-log-maxage=-1", "KW603"),
        ("--audit-log-maxage=30", "--audit-log-mode=async", "KW603"),
        ("--audit-log-maxage=30", "--audit-log-maxage=30\n    - --audit-log-maxage=3", "KW637"),
        ("--audit-log-maxage=30", "--audit-log-batch-max-size=30", "KW636"),
        ("--audit-log-maxage=30", "--audit-log-truncate-max-event-size=30", "KW636"),
        ("--audit-log-maxage=30", "--audit-log-truncate-enabled", "KW650"),
        ("--audit-log-maxage=30", "--audit-log-mode=blocking-strict", "KW657"),
        ("--audit-log-maxage=30", "--audit-log-format=legacy", "KW659"),
        ("--audit-log-maxage=30", "--audit-webhook-mode=batch", "KW636"),
        ("--audit-log-maxsize=100", "--audit-log-maxsize=1", "KW651"),
        ("--audit-log-maxsize=100", "--audit-log-maxsize=0", "KW634"),
    ],
)
def test_each_way_to_lose_the_log_is_found(manifest, old, new, code):
    """One change to a good manifest gives its code, at the line of what is wrong, with something to do."""
    assert _codes(_check(manifest, policy=POLICY)) == []
    assert manifest.count(old) == 1, old
    text = manifest.replace(old, new)
    report = _check(text, policy=POLICY)
    found = next(finding for finding in report.findings if finding.code == code)
    assert found.paste or found.help
    assert report.starts == (code not in ("KW601", "KW602", "KW603", "KW605", "KW606"))
    if "--audit" in new and code != "KW623":
        assert new.rpartition("- ")[2].partition("=")[0].strip() in text.splitlines()[found.line - 1]


@pytest.mark.parametrize(
    ("flags", "version", "code", "words"),
    [
        (["audit-log-path=/var/log/a/a.log"], "1.35", "KW634", "kept for ever"),
        (
            ["audit-log-path=/var/log/a/a.log", "audit-log-maxbackup=0", "audit-log-maxage=0"],
            "1.36",
            "KW634",
            "for ever",
        ),
        (
            ["audit-log-path=/var/log/a/a.log", "audit-log-maxsize=0", "audit-log-maxage=3"],
            "1.36",
            "KW636",
            "turns rotation off",
        ),
        (["audit-log-path=/run/a.log"], "1.36", "KW626", "does not last"),
        (["audit-webhook-config-file=/w", "audit-webhook-mode=blocking"], "1.36", "KW656", "waits for the receiver"),
        (["audit-webhook-config-file=/w", "audit-webhook-initial-backoff=5s"], "1.36", "KW658", "for 41 s"),
        (["audit-webhook-config-file=/w", "audit-webhook-batch-initial-backoff=1s"], "1.36", "KW658", "for 8 s"),
        (["audit-log-path=-", "audit-log-maxage=3"], "1.36", "KW636", "standard output"),
        (["audit-log-mode"], "1.36", "KW602", "flag needs an argument: --audit-log-mode"),
    ],
)
def test_flags_alone(flags, version, code, words):
    """From a process list: what the flags say by themselves, for this version of the server."""
    report = _check(_command("audit-policy-file=/p", *flags), server_version=version)
    assert words in next(finding.message for finding in report.findings if finding.code == code)


def test_every_refusal_of_the_server_is_at_its_flag():
    """Whatever flag the server refuses a value of, the finding stands at it, in the server's words."""
    checked = 0
    for flag in FLAGS:
        if flag.check is None:
            continue
        bad = {"string": "nonsense", "int": "-1", "float32": "-1"}[flag.kind]
        plugin = flag.name.split("-")[1]
        on = ["audit-log-path=-", f"audit-{plugin}-mode=batch", f"audit-{plugin}-batch-throttle-enable"]
        on += ["audit-webhook-config-file=/w", *(f"audit-{plugin}-batch-throttle-{one}=1" for one in ("qps", "burst"))]
        words = [word for word in on if not word.startswith(f"{flag.name}=")]
        report = _check("kube-apiserver\0" + "\0".join(f"--{word}" for word in [*words, f"{flag.name}={bad}"]) + "\0")
        found = [finding for finding in report.findings if finding.code == "KW603"]
        assert len(found) == 1, flag.name
        assert flag.default in found[0].paste
        checked += 1
    assert checked == 20


def test_blocking_strict_that_never_blocks(manifest):
    """A policy that omits RequestReceived takes the teeth out of the mode: the policy check is told the mode."""
    text = manifest.replace("--audit-log-maxage=30", "--audit-log-mode=blocking-strict")
    policy = POLICY.replace(b"rules:", b"omitStages: [RequestReceived]\nrules:")
    assert [one.message for one in _check(text, policy=policy).findings if "RequestReceived" in one.message]
    assert _codes(_check(manifest, policy=policy)) == []


def _rate(events, peak=None, size=1000.0):
    return Rate(events, size, peak or events, is_measured=False)


def test_the_span_of_the_log(manifest):
    """11 files of 100 MiB at 200 events of 1 kB a second are 96 minutes, not 30 days."""
    report = _check(manifest, policy=POLICY, rate=_rate(200.0))
    found = next(finding for finding in report.findings if finding.code == "KW660")
    assert "hold 96 minutes at 200 events/s of 1,000 bytes (given), not the 30 days" in found.message
    needed = int(re.search(r"maxbackup=(\d+)", found.paste)[1])
    assert needed == -(-30 * 86400 * 200 * 1000 // (100 << 20))
    enough = manifest.replace("--audit-log-maxbackup=10", f"--audit-log-maxbackup={needed}")
    assert "KW660" not in _codes(_check(enough, policy=POLICY, rate=_rate(200.0)))


@pytest.mark.parametrize(
    ("rate", "peak", "is_lost"), [(3999.0, 3999.0, False), (4001.0, 4001.0, True), (10.0, 5000.0, True)]
)
def test_the_throttle_against_the_rate(rate, peak, is_lost):
    """The default throttle of the webhook is 10 x 400 events a second; the busiest time decides."""
    command = _command("audit-policy-file=/p", "audit-webhook-config-file=/w")
    report = _check(command, rate=_rate(rate, peak))
    assert ("KW635" in _codes(report)) == is_lost
    if is_lost:
        paste = next(finding.paste for finding in report.findings if finding.code == "KW635")
        qps = int(paste.rpartition("=")[2])
        wider = _check(
            _command("audit-policy-file=/p", "audit-webhook-config-file=/w", paste.lstrip("-")), rate=_rate(rate, peak)
        )
        assert "KW635" not in _codes(wider)
        assert qps * 400 >= peak


def test_lists_with_bodies(manifest):
    """RequestResponse for everything makes the server hold each list twice; the finding stands in the policy's file."""
    policy = POLICY.replace(b"Metadata", b"RequestResponse")
    report = _check(manifest, policy=policy, policy_file="p.yaml")
    found = next(finding for finding in report.findings if finding.code == "KW662")
    assert found.file == "p.yaml"
    assert "KW301" in _codes(report), "the policy's own findings are there too"


def test_profiles_and_their_conflict(manifest):
    """CIS is met by Metadata and broken by full bodies, the STIG the other way round; the conflict is named."""
    full = POLICY.replace(b"Metadata", b"RequestResponse")
    for profile, good, bad, code in (("cis", POLICY, full, "KW501"), ("stig", full, POLICY, "KW511")):
        assert code not in _codes(_check(manifest, policy=good, profile=profile))
        report = _check(manifest, policy=bad, profile=profile)
        assert code in _codes(report)
        assert any("contradict each other" in note for note in report.notes)
    bare = _check(_command("v=2"), profile="cis")
    assert {"KW680", "KW681", "KW682", "KW683", "KW684"} <= set(_codes(bare))
    low = (
        manifest.replace("maxage=30", "maxage=29")
        .replace("maxbackup=10", "maxbackup=9")
        .replace("maxsize=100", "maxsize=99")
    )
    assert [code for code in _codes(_check(low, policy=POLICY, profile="stig")) if code >= "KW680"] == [
        "KW681",
        "KW682",
        "KW683",
    ]


@pytest.fixture
def tree(tmp_path):
    """A machine of one's own on which auditing is on."""
    return enabled(tmp_path, _kubeconfig())


def _kubeconfig(server="https://192.0.2.20:9443/audit", cluster="certificate-authority: ca.crt", user="token: t"):
    return (
        "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n"
        f"clusters:\n- name: a\n  cluster:\n    server: {server}\n    {cluster}\n"
        f"users:\n- name: a\n  user: {{{user}}}\n"
    ).encode()


def _asked(root, path=MANIFEST):
    return Question(RootFiles(root), now=NOW, host_file=path)


def _look(tree):
    return check(tree.at(MANIFEST).read_bytes(), str(tree.at(MANIFEST)), _asked(tree.root))


def _embedded(tmp_path, days=365):
    path, _ = certificate(tmp_path, "some-ca", "authority")
    return "certificate-authority-data: " + base64.b64encode(path.read_bytes()).decode()


@pytest.mark.parametrize(
    ("kubeconfig", "codes"),
    [
        ({}, []),
        ({"server": "https://audit.kube-system.svc:9443/"}, ["KW630"]),
        ({"server": "https://audit/"}, ["KW630"]),
        ({"server": "https://audit.example.com/receive?cluster=a"}, ["KW631"]),
        ({"server": "http://192.0.2.20/"}, ["KW652"]),
        ({"server": "ftp://192.0.2.20/"}, ["KW614"]),
        ({"server": "https://[::1"}, ["KW614"]),
        ({"cluster": "insecure-skip-tls-verify: true"}, ["KW653"]),
        ({"cluster": "certificate-authority: /etc/kubernetes/pki/nope.crt"}, ["KW615"]),
        ({"cluster": "proxy-url: x"}, ["KW632"]),
        ({"cluster": "certificate-authority-data: bm90IGEgY2VydA=="}, ["KW616"]),
        ({"cluster": "certificate-authority-data: '%'"}, ["KW616"]),
        ({"user": ""}, ["KW655"]),
        ({"user": "tokenFile: /etc/kubernetes/pki/none"}, ["KW615"]),
    ],
)
def test_the_webhook_kubeconfig(tree, tmp_path, kubeconfig, codes):
    """Each trap of the kubeconfig is found in its own file, at its line."""
    parts = {"cluster": _embedded(tmp_path), **kubeconfig}
    place = tree.at("/etc/kubernetes/audit-webhook.yaml")
    place.write_bytes(_kubeconfig(**parts))
    found = [finding for finding in _look(tree).findings if finding.code != "KW654"]
    assert [finding.code for finding in found] == codes
    for finding in found:
        assert finding.file == "/etc/kubernetes/audit-webhook.yaml"
        assert 1 < finding.line <= place.read_text().count("\n")


def test_an_authority_that_expires(tree, tmp_path):
    """Soon is a risk, past is a loss; a bundle is as good as its last certificate."""
    place = tree.at("/etc/kubernetes/audit-webhook.yaml")
    place.write_bytes(_kubeconfig(cluster=_embedded(tmp_path)))
    ends = dt.datetime.now(dt.UTC) + dt.timedelta(days=2)  # as the helper makes them
    for now, codes in (
        (ends - dt.timedelta(days=60), []),
        (ends - dt.timedelta(days=3), ["KW654"]),
        (ends + dt.timedelta(days=1), ["KW633"]),
    ):
        report = check(tree.at(MANIFEST).read_bytes(), MANIFEST, Question(RootFiles(tree.root), now=now))
        assert _codes(report) == codes


def test_a_client_certificate_that_expires(tree, tmp_path):
    """The receiver refuses a client whose certificate has ended: soon is a risk, past is a loss."""
    path, _ = certificate(tmp_path, "client", "apiserver")
    ends = dt.datetime.now(dt.UTC) + dt.timedelta(days=2)
    user = f"client-certificate-data: {base64.b64encode(path.read_bytes()).decode()}"
    tree.at("/etc/kubernetes/audit-webhook.yaml").write_bytes(
        _kubeconfig(cluster="insecure-skip-tls-verify: true", user=user)
    )
    for days, codes in ((-60, []), (-3, ["KW667"]), (1, ["KW642"])):
        question = Question(RootFiles(tree.root), now=ends + dt.timedelta(days=days))
        report = check(tree.at(MANIFEST).read_bytes(), MANIFEST, question)
        assert [code for code in _codes(report) if code != "KW653"] == codes


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"a: [", b"current-context: b\ncontexts: []\n", b"apiVersion: v1\n", b"\xff"]
)
def test_a_kubeconfig_that_cannot_be_used(tree, text):
    """The server says invalid configuration and does not start."""
    tree.at("/etc/kubernetes/audit-webhook.yaml").write_bytes(text)
    assert "KW617" in _codes(_look(tree))


def test_what_only_the_disk_can_tell(tree):
    """Missing files, wrong types, modes and backups among the static pods are found where the host can be looked at."""
    place = tree.at("/etc/kubernetes/audit-webhook.yaml")
    place.write_bytes(_kubeconfig(cluster="insecure-skip-tls-verify: true"))
    assert _codes(_look(tree)) == ["KW653"]
    place.chmod(0o644)
    (tree.at("/var/log/kubernetes/audit")).chmod(0o755)
    log = tree.at("/var/log/kubernetes/audit/audit.log")
    log.write_text("{}\n")
    log.chmod(0o644)
    tree.at("/var/log/kubernetes/audit/other.txt").write_text("")
    tree.at("/etc/kubernetes/audit-policy.yaml").chmod(0o666)
    tree.at("/etc/kubernetes/manifests/kube-apiserver.yaml.bak").write_text("")
    tree.at("/etc/kubernetes/manifests/etcd.yaml").write_text("")
    report = _look(tree)
    assert sorted(_codes(report)) == ["KW639", "KW653", "KW663", "KW664", "KW665"]
    assert "everyone on this host" in next(one.message for one in report.findings if one.code == "KW663")
    tree.at("/etc/kubernetes/audit-policy.yaml").unlink()
    assert {"KW604", "KW606"} <= set(_codes(_look(tree)))
    tree.at("/etc/kubernetes/audit-policy.yaml").mkdir()
    assert {"KW604", "KW606"} <= set(_codes(_look(tree)))
    tree.at("/var/log/kubernetes/audit").chmod(0o777)
    assert "KW664" in _codes(_look(tree))


def test_a_server_that_is_not_root(tree):
    """runAsUser must be able to read the policy and write the log."""
    manifest = tree.at(MANIFEST)
    manifest.write_text(
        manifest.read_text().replace("  securityContext:\n", "  securityContext:\n    runAsUser: 987\n")
    )
    found = [finding for finding in _look(tree).findings if finding.code == "KW628"]
    assert [finding.paste.split()[-1] for finding in found] == [
        "/etc/kubernetes/audit-policy.yaml", "/var/log/kubernetes/audit", "/etc/kubernetes/audit-webhook.yaml"
    ]  # fmt: skip


def test_the_user_of_k0s(tmp_path):
    """k0s runs the server as a user of its own, whom the log's directory is given to, and who is looked for."""
    root = machine("k0s", tmp_path)
    passwd = root.at("/etc/passwd")
    passwd.write_text("root:x:0:0::/root:/bin/sh\nkube-apiserver:x:987:987::/:/bin/false\n")
    planned = plan("k0s", WANTED, root)
    apply(planned, root)
    directory = root.at("/var/log/kubernetes/audit")

    def codes():
        data = root.at(planned.config).read_bytes()
        return _codes(check(data, str(root.at(planned.config)), Question(RootFiles(tmp_path), now=NOW)))

    if os.geteuid() == 0:
        assert directory.stat().st_uid == 987
        assert codes() == []
        os.chown(directory, 0, 0)
    assert codes() == ["KW628"]


def test_a_policy_that_the_server_refuses(tree):
    """The server's sentence stands at the flag, and the policy's own finding in the policy."""
    tree.at("/etc/kubernetes/audit-policy.yaml").write_bytes(POLICY.replace(b"Metadata", b"Meta"))
    report = _look(tree)
    assert not report.starts
    assert {"KW604", "KW105"} <= set(_codes(report))


PS = """\
USER         PID %CPU %MEM    VSZ   RSS TTY      STAT START   TIME COMMAND
root           1  0.0  0.1 167744 11536 ?        Ss   03:00   0:01 /sbin/init
root 1234 4.0 4.0 999999 99999 ? Ssl 03:01 1:02 kube-apiserver --audit-log-path /a.log --audit-log-maxag=3
root        2222  0.0  0.0   6000   700 pts/0    S+   03:02   0:00 grep kube-apiserver
"""


def test_a_process_list():
    """The one line that starts a server is found among others; a value may stand behind a space."""
    report = _check(PS)
    assert [(finding.code, finding.line) for finding in report.findings] == [("KW601", 3)]
    assert report.findings[0].help == "did you mean --audit-log-maxage?"
    assert report.setup.flag("audit-log-path").value == "/a.log"
    with pytest.raises(EditError, match="no line"):
        _check(PS.replace("kube-apiserver --audit", "kube-scheduler --audit"))


@pytest.mark.parametrize(
    "word", ['--audit-log-path="/a b.log"', "--audit-log-path='/a b.log'", '"--audit-log-path=/a b.log"']
)
def test_a_blank_in_quotes_ends_no_word(word):
    """A unit of systemd quotes so; a quote that stands alone takes nothing with it."""
    report = _check(f"ExecStart=/usr/bin/kube-apiserver --x=it's {word} \\\n  --audit-log-maxage=3\n")
    assert report.setup.flag("audit-log-path").value == "/a b.log"
    assert (report.setup.flag("audit-log-maxage").line, report.setup.flag("audit-log-maxage").column) == (2, 3)


def test_a_line_for_a_shell():
    """Flags inside `sh -c` are read, with the line they stand in."""
    text = (
        "kind: Pod\nspec:\n  containers:\n  - name: kube-apiserver\n    command:\n    - sh\n    - -c\n"
        "    - exec kube-apiserver --audit-log-maxage=-1 --audit-log-path=-\n"
    )
    assert [one.line for one in _check(text).findings if one.code == "KW603"] == [8]


def test_flags_that_talos_drops():
    """An audit flag in extraArgs is not what the server gets."""
    text = "cluster:\n  apiServer:\n    extraArgs:\n      audit-log-maxage: '90'\n    auditPolicy: {kind: Policy}\n"
    assert ("KW636", 4) in [(one.code, one.line) for one in _check(text).findings]


def test_a_unit_of_systemd():
    """ExecStart over several lines: each flag has the line that it stands in."""
    unit = (
        "[Unit]\nDescription=API server\n[Service]\nExecStart=/usr/local/bin/kube-apiserver \\\n  --v=2 \\\n"
        "  --audit-log-maxage=-1 \\\n  --audit-log-path='/var/log/audit.log'\nRestart=on-failure\n"
    )
    report = _check(unit)
    assert [one.line for one in report.findings if one.code == "KW603"] == [6]
    assert report.setup.flag("audit-log-path").value == "/var/log/audit.log"


def test_several_documents():
    """The one about the server is read, with the lines of the whole file."""
    text = (
        "kind: InitConfiguration\napiVersion: kubeadm.k8s.io/v1beta4\n---\nkind: ClusterConfiguration\n"
        "apiVersion: kubeadm.k8s.io/v1beta4\napiServer:\n  extraArgs:\n  - {name: audit-log-maxage, value: '-1'}\n"
        "  - {name: audit-log-path, value: '-'}\n"
    )
    assert [(one.code, one.line) for one in _check(text).findings if one.code == "KW603"] == [("KW603", 8)]


def test_what_one_may_not_look_at_is_not_missing(tree):
    """Without permission nothing is said of what lies there, and it is said that it was not looked at."""

    class Hidden(RootFiles):
        def read(self, path):
            return None

        def facts(self, path):
            return None

        def is_hidden(self, path):
            return True

    report = check(tree.at(MANIFEST).read_bytes(), str(tree.at(MANIFEST)), Question(Hidden(tree.root), now=NOW))
    assert report.findings == ()
    assert any("could not be read" in note for note in report.notes)


def test_a_drop_in_that_hides(tmp_path):
    """A file of config.yaml.d that sets the same list is found, at its line."""
    root = machine("k3s", tmp_path)
    apply(plan("k3s", WANTED, root), root)
    drop_in = tmp_path / "etc/rancher/k3s/config.yaml.d/10.yaml"
    drop_in.parent.mkdir()
    drop_in.write_text("# x\nkube-apiserver-arg: [a=b]\n")
    config = root.at("/etc/rancher/k3s/config.yaml")
    report = check(config.read_bytes(), str(config), _asked(tmp_path, "/etc/rancher/k3s/config.yaml"))
    assert [(one.code, one.file, one.line) for one in report.findings] == [
        ("KW641", "/etc/rancher/k3s/config.yaml.d/10.yaml", 2)
    ]


def test_lines_of_a_kind_patch(tmp_path):
    """A finding inside the embedded patch has the line of the file around it."""
    root = machine("kind", tmp_path)
    apply(plan("kind", WANTED, root), root)
    text = root.at("kind-config.yaml").read_text().replace("audit-log-maxage: '30'", "audit-log-maxage: '-1'")
    found = next(one for one in _check(text).findings if one.code == "KW603")
    assert "audit-log-maxage" in text.splitlines()[found.line - 1]


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_checked_or_refused(data):
    """No input raises anything but EditError."""
    try:
        report = check(data, "x", Question(Unknown(), now=NOW))
    except EditError:
        return
    assert all(finding.line >= 1 for finding in report.findings)


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_odd_manifests_are_checked_or_refused(manifest, data):
    """A manifest with a hole gets a report whose lines are in the file, or a refusal."""
    at = data.draw(st.integers(0, len(manifest) - 1))
    text = (
        manifest[:at]
        + data.draw(st.sampled_from(["", "\n", "[", "- ", ": ", "'"]))
        + manifest[at + data.draw(st.integers(0, 30)) :]
    )
    try:
        report = _check(text, policy=POLICY)
    except EditError:
        return
    assert all(1 <= finding.line <= text.count("\n") + 1 for finding in report.findings)


def test_no_backend():
    """A policy alone records nothing anywhere."""
    assert _codes(_check(_command("audit-policy-file=/p"))) == ["KW621"]


def test_a_directory_that_nothing_makes(tree):
    """Without a type the runtime makes no directory of the right owner, and it is not there."""
    manifest = tree.at(MANIFEST)
    text = manifest.read_text().replace(_LOG_VOLUME, _LOG_VOLUME.replace("      type: DirectoryOrCreate\n", ""))
    manifest.write_text(text)
    tree.at("/var/log/kubernetes/audit").rmdir()
    found = [one for one in _look(tree).findings if one.code == "KW627"]
    assert [text.splitlines()[one.line - 1].strip() for one in found] == ["- hostPath:"]


def test_a_log_among_the_static_pods(tree):
    """The kubelet takes a log there for a pod."""
    text = tree.at(MANIFEST).read_text().replace("/var/log/kubernetes/audit", "/etc/kubernetes/manifests")
    report = check(text.encode(), MANIFEST, _asked(tree.root))
    assert "KW626" in _codes(report)


def test_a_disk_that_is_too_small(tree):
    """The files that the flags allow do not fit on the disk: how many do is in the line to paste."""

    class Small(RootFiles):
        def free_bytes(self, path):
            return 500 << 20

    report = check(tree.at(MANIFEST).read_bytes(), MANIFEST, Question(Small(tree.root), now=NOW, host_file=MANIFEST))
    [found] = [one for one in report.findings if one.code == "KW634"]
    assert found.message == "the log may take 1.1 GiB, and 500 MiB are free"
    assert found.paste == "- --audit-log-maxbackup=3"


def test_every_code_is_given_by_some_check():
    """No code of the table is an empty promise: each stands in a check, and in a test that sees it given."""
    source = DATA.parents[1] / "src/kubewitness/apiserver"
    checks = "".join(path.read_text() for path in source.glob("*.py") if path.name != "findings.py")
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    cli = (DATA.parent / "cli" / "test_apiserver_check.py").read_text()
    assert [code for code in CODES if f'"{code}"' not in checks] == []
    assert [code for code in CODES if f'"{code}"' not in tests + cli] == []
