"""`apiserver enable` as a person types it."""

import contextlib
import http.server
import os
import re
import textwrap
import threading
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from kubewitness.apiserver.check import Question, check
from kubewitness.apiserver.context import Unknown
from kubewitness.cli import policy_presets
from kubewitness.cli.main import main
from kubewitness.emit.backends import options
from kubewitness.policy import workshop
from kubewitness.policy.load import read
from tests.apiserver.trees import DATA, POLICY, contents, machine
from tests.assembly.serving import Server
from tests.toyapi import running
from tests.toyapi.process import METADATA

from .conftest import Result

PRESETS = Path(workshop.__file__).parent / "presets"
MANIFEST = "etc/kubernetes/manifests/kube-apiserver.yaml"


@pytest.fixture
def enable(capsys, tmp_path):
    """Run the command on a tree of its own."""

    def run(*words, distro="kubeadm"):
        code = main(["apiserver", "enable", "--distro", distro, "--root", str(tmp_path), *words])
        said = capsys.readouterr()
        return Result(code, said.out, said.err)

    machine("kubeadm", tmp_path)
    return run


@contextmanager
def stopping(server):
    """Stop a server at the end, whatever happens."""
    try:
        yield server
        assert server.stop() == 0
    finally:
        server.kill()


def command_of(root):
    """The command line that the manifest starts."""
    return yaml.safe_load((root / MANIFEST).read_text())["spec"]["containers"][0]["command"]


def test_first_the_difference_then_the_deed(enable, tmp_path):
    """--dry-run shows a unified diff and changes nothing; then files are named; then there is nothing to do."""
    before = contents(tmp_path)
    shown = enable("--dry-run")
    assert shown.code == 0
    assert "+    - --audit-log-path=/var/log/kubernetes/audit/audit.log\n" in shown.out
    assert "directory /var/log/kubernetes/audit (mode 0700)\n" in shown.out
    assert shown.lines[-1] == "nothing was changed"
    assert contents(tmp_path) == before
    done = enable()
    assert done.lines[:3] == [
        "wrote /etc/kubernetes/audit-policy.yaml",
        "changed /etc/kubernetes/manifests/kube-apiserver.yaml",
        "directory /var/log/kubernetes/audit (mode 0700)",
    ]
    assert "kubeadm upgrade writes the manifest anew" in done.out
    assert "needs no change" in enable().out
    assert enable("--undo").lines[0].startswith("restored /etc/kubernetes/audit-policy.yaml")
    assert contents(tmp_path) == before
    again = enable("--undo")
    assert (again.code, "nothing to undo" in again.err) == (2, True)


def test_presets_are_policies_that_the_server_takes(enable, tmp_path):
    """Each preset is accepted; the one taken by itself is `recommended`, without findings."""
    for preset in policy_presets.PRESETS:
        assert enable("--preset", preset).code == 0
        written = (tmp_path / "etc/kubernetes/audit-policy.yaml").read_bytes()
        assert read(written).policy is not None
    enable("--undo")
    enable()
    assert main(["policy", "check", "--fail-on", "risky", str(tmp_path / "etc/kubernetes/audit-policy.yaml")]) == 0


@pytest.mark.parametrize("claim", ["cis-3.2.2", "no-secret-bodies", "exec-visible", "rbac-changes-with-bodies"])
def test_what_the_recommended_policy_promises(claim, capsys):
    """Each claim is proved for all possible requests."""
    assert main(["policy", "prove", str(PRESETS / "recommended.yaml"), claim]) == 0, capsys.readouterr().out


def test_the_recommended_policy_is_blind_to_no_attack(capsys):
    """Every technique that an audit log can show leaves a trace under it."""
    main(["policy", "coverage", str(PRESETS / "recommended.yaml")])
    assert " 0 blind" in capsys.readouterr().out


def test_a_policy_that_the_server_would_refuse_is_not_written(enable, tmp_path):
    """Exit code 1 with the server's sentence; nothing is changed."""
    policy = tmp_path / "policy.yaml"
    policy.write_text("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Meta}]\n")
    before = contents(tmp_path)
    refused = enable("--policy", str(policy))
    assert refused.code == 1
    assert 'Unsupported value: "Meta"' in refused.err
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("audit-log-maxage", "expected FLAG=VALUE"),
        ("maxage=3", "expected FLAG=VALUE"),
        ("audit-log-max-age=3", "with an --audit-* flag; did you mean audit-log-maxage?"),
        ("audit-log-maxage=-1", "can't be a negative number"),
        ("audit-log-maxage=x", "invalid argument"),
        ("audit-log-mode=async", "invalid audit log mode async"),
    ],
)
def test_flags_that_the_server_would_refuse_are_not_set(enable, flag, words):
    """kube-apiserver's own words."""
    refused = enable("--set", flag)
    assert refused.code == 2
    assert words in refused.err


def test_what_would_not_start_is_not_written(enable, tmp_path):
    """Flags that are wrong beside those that are there, a policy that is there and broken: both refused."""
    manifest = tmp_path / MANIFEST
    text = manifest.read_text()
    manifest.write_text(text.replace("- --secure-port=6443", "- --audit-log-truncate-max-batch-size=5000"))
    before = contents(tmp_path)
    refused = enable("--set", "audit-log-truncate-max-event-size=9000")
    assert refused.code == 1
    assert "nothing was changed" in refused.err
    assert "must be greater than max event size (9000)" in refused.err
    manifest.write_text(text)
    both = (
        "--set",
        "audit-log-truncate-max-event-size=20000000",
        "--set",
        "audit-log-truncate-max-batch-size=30000000",
    )
    assert enable("--dry-run", *both).code == 0
    (tmp_path / "etc/kubernetes/audit-policy.yaml").write_bytes(b"broken: [\n")
    refused = enable()
    assert refused.code == 1
    assert "loading audit policy file: failed decoding" in refused.err
    (tmp_path / "etc/kubernetes/audit-policy.yaml").unlink()
    assert set(contents(tmp_path)) == set(before)


def test_other_flags_can_be_set(enable, tmp_path):
    """--set writes what was asked, also over what is there."""
    enable("--set", "audit-log-maxage=90", "--set", "audit-log-compress=true")
    values = options.parse(command_of(tmp_path))
    assert values.number("audit-log-maxage") == 90
    assert values.is_on("audit-log-compress")


def test_a_refusal_names_the_line(enable, tmp_path):
    """file:line, what is wrong, what would be right; exit code 2."""
    manifest = tmp_path / MANIFEST
    manifest.write_text(
        manifest.read_text().replace("    - kube-apiserver\n", "    - sh\n    - -c\n    - kube-apiserver\n")
    )
    refused = enable()
    assert refused.code == 2
    assert "/etc/kubernetes/manifests/kube-apiserver.yaml:" in refused.err
    assert "line for a shell" in refused.err


def test_a_webhook_is_one_file_with_all_that_it_names(enable, tmp_path):
    """Certificates and tokens of other files are put into the kubeconfig that is written, 0600."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "ca.crt").write_bytes(b"CA")
    (folder / "token").write_text("t0ken\n")
    (folder / "webhook.yaml").write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: a\n"
        "contexts: [{name: a, context: {cluster: a, user: a}}]\n"
        "clusters: [{name: a, cluster: {server: 'https://192.0.2.1/', certificate-authority: ca.crt}}]\n"
        "users: [{name: a, user: {tokenFile: token}}]\n"
    )
    assert enable("--webhook", str(folder / "webhook.yaml")).code == 0
    place = tmp_path / "etc/kubernetes/audit-webhook.yaml"
    written = yaml.safe_load(place.read_text())
    assert written["clusters"][0]["cluster"] == {"server": "https://192.0.2.1/", "certificate-authority-data": "Q0E="}
    assert written["users"][0]["user"] == {"token": "t0ken"}
    assert place.stat().st_mode & 0o777 == 0o600
    (folder / "ca.crt").unlink()
    refused = enable("--webhook", str(folder / "webhook.yaml"))
    assert refused.code == 2
    assert "certificate-authority: ca.crt cannot be read" in refused.err


def test_events_go_to_our_own_server(enable, tmp_path, capsys):
    """--serve takes the kubeconfig of init-server; what is sent with it arrives in the store."""
    place = tmp_path / "server"
    absent = enable("--serve", str(place))
    assert (absent.code, "kubewitness init-server" in absent.err) == (2, True)
    assert main(["init-server", str(place), "--cluster", "prod"]) == 0
    config = place / "kubewitness.yaml"
    config.write_text(re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:0", config.read_text()))
    with stopping(Server(SimpleNamespace(config=config))) as server:
        server.wait_for("store_open", cluster="prod")
        assert enable("--serve", str(place)).code == 0
        kubeconfig = tmp_path / "etc/kubernetes/audit-webhook.yaml"
        kubeconfig.write_text(kubeconfig.read_text().replace(":9443", f":{server.port}"))
        flags = [word for word in command_of(tmp_path) if word.startswith("--audit-webhook")]
        assert "--audit-webhook-initial-backoff=30s" in flags
        requests = tmp_path / "requests.jsonl"
        requests.write_text('{"requestURI": "/api/v1/namespaces/default/secrets/db", "user": "alice"}\n')
        sent = [f"--audit-webhook-config-file={kubeconfig}", f"--audit-policy-file={DATA}/policies/metadata.yaml"]
        assert main(["emit", *sent, str(requests)]) == 0
    capsys.readouterr()
    assert main(["search", "--data", str(place / "data"), "-o", "jsonl"]) == 0
    assert "alice" in capsys.readouterr().out
    manifest = str(tmp_path / MANIFEST)
    assert main(["apiserver", "check", "--fail-on", "risky", manifest]) == 0, capsys.readouterr().out
    main(["init-server", str(place), "--cluster", "prod", "--cluster", "test"])
    assert enable("--serve", str(place)).code == 2
    assert enable("--serve", str(place), "--cluster", "test").code == 0
    assert enable("--serve", str(place), "--cluster", "other").code == 2


@pytest.mark.parametrize("cloud", ["eks", "gke", "aks"])
def test_clouds_get_instructions(enable, cloud):
    """Where nothing can be set, what to do is printed, and how to read the export."""
    said = enable(distro=cloud)
    assert said.code == 0
    assert f"kubewitness stats {cloud}.json" in said.out


class Kubelet(threading.Thread):
    """A kubelet for one static pod: starts the toy API server with the manifest's flags, probes it, forwards to it."""

    def __init__(self, root):
        super().__init__()
        self.root, self.stop, self.pod = root, threading.Event(), contextlib.ExitStack()
        self.seen = (root / MANIFEST).read_bytes()
        self.starts, self.url_of_pod, self.ready = 0, "", threading.Event()
        self.can_start = True

        class Handler(http.server.BaseHTTPRequestHandler):
            kubelet = self

            def do_GET(self):
                self.send_response(self.kubelet.ask(self.path))
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def ask(self, path):
        """The status that the pod answers; 503 when there is none."""
        try:
            with urllib.request.urlopen(self.url_of_pod + path, timeout=5) as answer:
                return answer.status
        except (OSError, ValueError):
            return 503

    def run(self):
        serving = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        serving.start()
        with self.pod:
            self.url_of_pod = self.start_pod(yaml.safe_load(self.seen)["spec"])
            self.ready.set()
            while not self.stop.wait(0.05):
                found = (self.root / MANIFEST).read_bytes()
                if found != self.seen:
                    self.seen, self.url_of_pod = found, ""
                    self.pod.close()
                    self.stop.wait(0.3)  # no kubelet is quicker, and who waits has to see the server away
                    with contextlib.suppress(RuntimeError, AssertionError):
                        self.url_of_pod = self.start_pod(yaml.safe_load(found)["spec"])
                self.ask("/readyz")
                self.ask("/api/v1/namespaces/kube-system/pods")
        self.server.shutdown()
        serving.join()
        self.server.server_close()

    def start_pod(self, pod):
        """Mount, then start the server: its paths are the host's, under the root of this tree."""
        assert self.can_start
        for volume in pod["volumes"]:
            path = self.root / volume["hostPath"]["path"].lstrip("/")
            assert volume["hostPath"]["type"] != "File" or path.is_file()
        flags = [word for word in pod["containers"][0]["command"] if word.startswith("--audit")]
        flags = [flag.replace("=/", f"={self.root}/") for flag in flags]
        self.starts += 1
        api = running(self.root / f"pod-{self.starts}", METADATA, *flags, tls=False)
        return self.pod.enter_context(api).url


@pytest.fixture
def kubelet(tmp_path, enable):
    """A kubelet that watches the tree."""
    thread = Kubelet(tmp_path)
    thread.start()
    assert thread.ready.wait(30)
    yield thread
    thread.stop.set()
    thread.join()


def test_wait_proves_that_the_server_is_back(enable, kubelet):
    """The server that the kubelet starts reads the policy, writes the log and is ready."""
    done = enable("--preset", "metadata", "--wait", "30", "--url", kubelet.url)
    assert done.code == 0, done.err
    assert kubelet.starts == 2
    assert "the server is ready and writes its log" in done.out


def test_wait_for_another_policy(enable, kubelet):
    """A policy that changes later: the kubelet starts the server anew, and the old one's log is not taken for proof."""
    assert enable("--preset", "metadata", "--wait", "30", "--url", kubelet.url).code == 0
    done = enable("--preset", "recommended", "--wait", "30", "--url", kubelet.url)
    assert done.code == 0, done.err
    assert kubelet.starts == 3


def test_a_failed_second_run_leaves_the_first(enable, kubelet, tmp_path, monkeypatch):
    """Only the run that failed is taken back: auditing that was on stays on."""
    assert enable("--preset", "metadata", "--wait", "30", "--url", kubelet.url).code == 0
    manifest = (tmp_path / MANIFEST).read_bytes()
    kubelet.stop.set()
    kubelet.join()
    monkeypatch.setattr("kubewitness.apiserver.health.url_probe", lambda *_, **__: lambda: "")
    failed = enable("--preset", "recommended", "--wait", "1", "--url", kubelet.url)
    assert failed.code == 5, failed.out
    assert (tmp_path / MANIFEST).read_bytes() == manifest
    assert enable("--undo").code == 0


def test_a_server_that_cannot_be_asked_is_no_proof(enable, tmp_path, monkeypatch):
    """Before anything is changed the server is asked once; the administrator's kubeconfig of the node is used."""
    before = contents(tmp_path)
    refused = enable("--wait", "1", "--url", "http://127.0.0.1:1")
    assert (refused.code, "nothing was changed" in refused.err) == (5, True)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    fake = tmp_path / "kubectl"
    fake.write_text('#!/bin/sh\necho "asked with $1" >&2\nexit 1\n')
    fake.chmod(0o755)
    (tmp_path / "etc/kubernetes/admin.conf").write_text("")
    refused = enable("--wait", "1", "--kubectl", str(fake))
    assert f"asked with --kubeconfig={tmp_path}/etc/kubernetes/admin.conf" in refused.err
    fake.unlink()
    (tmp_path / "etc/kubernetes/admin.conf").unlink()
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--wait", "nan"], "'nan' is no number of seconds"),
        (["--wait=-5"], "'-5' is no number of seconds"),
        (["--wait", "1", "--url", "https://h:99999"], "--url https://h:99999: expected https://HOST:PORT"),
        (["--wait", "1", "--url", "https://[::1"], "expected https://HOST:PORT"),
        (["--wait", "1", "--url", "gopher://x"], "expected https://HOST:PORT"),
        (["--wait", "1", "--url", "https://x", "--ca", "/nowhere.crt"], "/nowhere.crt: cannot be read: No such file"),
        (["--wait", "1", "--url", "https://x", "--ca", "/dev/null"], "/dev/null: this is no certificate in PEM"),
    ],
)
def test_wait_for_what_cannot_be(enable, tmp_path, words, says):
    """It is refused by name before anything is changed."""
    before = contents(tmp_path)
    refused = enable(*words)
    assert (refused.code, says in refused.err) == (2, True), refused.err
    assert contents(tmp_path) == before


def test_wait_puts_everything_back_when_the_server_is_not(enable, kubelet, tmp_path):
    """The pod does not start for a reason that no check foresees: every byte comes back; exit code 5."""
    kubelet.can_start = False
    before = {name: one for name, one in contents(tmp_path).items() if not name.startswith("pod-")}
    failed = enable("--wait", "4", "--url", kubelet.url)
    assert failed.code == 5
    assert "the server did not come back: nothing was written" in failed.err
    assert "everything is as it was before" in failed.err
    assert {name: one for name, one in contents(tmp_path).items() if not name.startswith("pod-")} == before


def test_the_distribution_is_found(capsys, tmp_path):
    """The one whose configuration is there is taken; of two or none it is said to choose."""
    command = ["apiserver", "enable", "--dry-run", "--root", str(tmp_path)]
    assert main(command) == 2
    assert "no configuration of a known distribution" in capsys.readouterr().err
    machine("k3s", tmp_path)
    assert main(command) == 0
    assert capsys.readouterr().out.startswith("found k3s\n")
    machine("kubeadm", tmp_path)
    assert main(command) == 2
    assert "kubeadm and k3s are here: say --distro" in capsys.readouterr().err


def test_waiting_for_nothing(enable, kubelet):
    """Where nothing starts by itself --wait is refused; where a person restarts, it says so."""
    assert "nothing starts by itself" in enable("--wait", distro="kind").err
    waited = enable("--wait", "0.1", "--url", kubelet.url, distro="k3s")
    assert (waited.code, "restart it now" in waited.out) == (5, True)


def test_what_upgrades_need(enable):
    """The advice is ClusterConfiguration that says the same as the manifest, flag by flag and mount by mount."""
    lines = enable("--set", "audit-log-maxage=90", "--log-path", "/var/log/audit/kube.log").lines
    start = next(at for at, line in enumerate(lines) if line.strip() == "apiServer:")
    server = yaml.safe_load(textwrap.dedent("\n".join(lines[start:])))["apiServer"]
    assert {"name": "audit-log-maxage", "value": "90"} in server["extraArgs"]
    assert {"name": "audit-log-path", "value": "/var/log/audit/kube.log"} in server["extraArgs"]
    assert [volume["mountPath"] for volume in server["extraVolumes"]] == [
        "/etc/kubernetes/audit-policy.yaml", "/var/log/audit"
    ]  # fmt: skip
    config = yaml.safe_dump(
        {"apiVersion": "kubeadm.k8s.io/v1beta4", "kind": "ClusterConfiguration", "apiServer": server}
    )
    report = check(config.encode(), "x", Question(Unknown()))
    assert report.findings == ()


def test_the_tree_of_this_machine_is_the_default():
    """Without --root the machine itself is meant: here there is no manifest, which is said."""
    if os.path.exists("/" + MANIFEST):  # noqa: PTH110
        pytest.skip("this is a control plane node")
    assert main(["apiserver", "enable", "--distro", "kubeadm", "--dry-run"]) == 2


def test_policies_of_the_training_are_taken(enable):
    """The policies that are taught are accepted, whatever else may be said of them."""
    for name in ("scenario1", "scenario3", "handson", "security"):
        assert enable("--policy", str(DATA / "policies" / f"{name}.yaml")).code == 0
    assert POLICY
