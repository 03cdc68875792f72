"""`apiserver canary` against the toy API server: its log, and the store of a real `kubewitness serve`."""

import json
import re
import time

import pytest
import yaml

from kubewitness.apiserver.distros import DISTROS
from kubewitness.cli import apiserver_canary as module
from kubewitness.cli.main import main
from tests.apiserver.trees import enabled
from tests.assembly.serving import Site, serving
from tests.toyapi import running
from tests.toyapi.process import KUBECTL, METADATA

from .conftest import Result


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    """An API server that records metadata in a log and sends it to a log server."""
    place = tmp_path_factory.mktemp("canary")
    site = Site(place / "serve", clusters=("a",))
    with serving(site) as server:
        kubeconfig = place / "webhook.yaml"
        kubeconfig.write_text(
            "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n"
            f"clusters: [{{name: a, cluster: {{server: 'https://127.0.0.1:{server.port}/',"
            f" certificate-authority: {site.place}/ca.crt}}}}]\n"
            f"users: [{{name: a, user: {{client-certificate: {site.place}/a.crt, client-key: {site.place}/a.key}}}}]\n"
        )
        flags = [f"--audit-webhook-config-file={kubeconfig}", "--audit-webhook-batch-max-wait=300ms"]
        with running(place / "api", METADATA, *flags) as started:
            yield started, site.data


@pytest.fixture
def canary(capsys, api):
    """Run the command as a user of the toy API server."""

    def run(*words, user="admin", token=None):
        config = api[0].kubeconfig(user, token)
        code = main(["apiserver", "canary", "--kubeconfig", str(config), *map(str, words)])
        said = capsys.readouterr()
        return Result(code, said.out, said.err)

    return run


def test_seen_in_the_log_and_in_the_store(canary, api):
    """Both requests arrive at both places, to their last stage, under the Audit-ID that was sent."""
    report = canary("--log", api[0].audit_log, "--data", api[1], "-o", "json", "--timeout", 20)
    assert report.code == 0, report.out
    found = json.loads(report.out)
    assert found["complete"]
    for request in found["requests"]:
        ends = [one for one in request["seen"] if one["stage"] == "ResponseComplete"]
        assert {one["place"] for one in ends} == {str(api[0].audit_log), str(api[1])}
        assert {one["auditID"] for one in ends} == {request["auditID"]}
        assert all(-1 < one["lagSeconds"] < 20 for one in ends)
    assert [one["status"] for one in found["requests"]] == [404, 201]
    assert api[0].kubectl("get", "configmaps", "-o", "name").stdout == "", "nothing was created"


def test_text(canary, api):
    """One block a request, one line a stage and place, and the sum."""
    report = canary("--log", api[0].audit_log)
    assert report.code == 0
    assert "ResponseComplete at level Metadata by admin" in report.out
    assert report.lines[-1] == f"all 2 requests were seen to the end in {api[0].audit_log}"


@pytest.mark.parametrize(("user", "token", "status"), [("mallory", None, 403), ("nobody", "wrong", 401)])
def test_refused_requests_are_recorded_too(canary, api, user, token, status):
    """Who may do nothing is audited all the same, and so is who is not known."""
    report = canary("--log", api[0].audit_log, user=user, token=token)
    assert report.code == 0
    assert f"answered {status}" in report.out


def test_through_kubectl(canary, api):
    """Real kubectl sends the requests; they are known by their mark."""
    report = canary("--log", api[0].audit_log, "--kubectl", KUBECTL)
    assert report.code == 0
    assert report.out.count("ResponseComplete") == 2


def test_not_seen(canary, tmp_path):
    """Nothing in the log within the time: exit code 4 and what may be the reason, never a `no`."""
    report = canary("--log", tmp_path / "another.log", "--timeout", 0.3)
    assert report.code == 4
    assert "not seen in 0.3 s" in report.out
    assert "2 of 2 not seen to the end" in report.out


def test_of_several_logs_one_is_enough(canary, api, tmp_path):
    """One of several API servers answers; the logs of the others have nothing of it."""
    other = tmp_path / "other.log"
    other.touch()
    report = canary("--log", other, "--log", api[0].audit_log, "--timeout", 10)
    assert report.code == 0
    assert report.lines[-1] == f"all 2 requests were seen to the end in {other} or {api[0].audit_log}"
    report = canary("--log", other, "--log", tmp_path / "none.log", "--data", api[1], "--timeout", 5, "-o", "json")
    assert report.code == 4
    assert {one["place"] for one in json.loads(report.out)["missing"]} == {f"{other} or {tmp_path / 'none.log'}"}


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        (METADATA.replace("Metadata", "None"), "records nothing of it, unless a rule names who asked"),
        (METADATA + "omitStages: [ResponseComplete]\n", "leaves out ResponseComplete, unless a rule names who asked"),
    ],
)
def test_a_policy_that_leaves_the_requests_out(canary, tmp_path, policy, says):
    """Where the policy is given, what it leaves out is no riddle."""
    path = tmp_path / "p.yaml"
    path.write_text(policy)
    report = canary("--log", tmp_path / "another.log", "--timeout", 0.2, "--policy", path)
    assert report.code == 4
    assert report.out.count(f"    {path} {says}") == 2


@pytest.mark.parametrize(("hours", "side"), [(2, "ahead of"), (-2, "behind")])
def test_clocks_that_differ(api, canary, monkeypatch, hours, side):
    """An Event is not late or early by what two clocks differ: it is said, and counted from when it was sent."""
    monkeypatch.setattr(module, "_now_us", lambda: time.time_ns() // 1000 - hours * 3_600_000_000)
    report = canary("--log", api[0].audit_log)
    assert report.code == 0
    assert re.search(rf"note: the server's clock is at least (7199\.\d|7200\.0) s {side} the one here", report.out)
    lags = re.findall(r"by admin, (\S+) s after it was sent", report.out)
    assert len(lags) == 4
    assert all(0 <= float(lag) < 10 for lag in lags)


def test_a_server_that_runs_another_policy(canary, api, tmp_path):
    """The file was edited and the server not restarted: exit code 1, and it says so."""
    policy = tmp_path / "p.yaml"
    policy.write_text(METADATA.replace("Metadata", "Request"))
    report = canary("--log", api[0].audit_log, "--policy", policy)
    assert report.code == 1
    assert "the policy says Request: the server runs another one" in report.out
    policy.write_text(METADATA)
    assert canary("--log", api[0].audit_log, "--policy", policy).code == 0


def test_by_address(api, capsys, tmp_path):
    """URL, token and authority instead of a kubeconfig; an unknown authority is a plain sentence, exit code 5."""
    token = tmp_path / "token"
    token.write_text("admin-token")
    command = ["apiserver", "canary", "--url", api[0].url, "--token-file", str(token), "--log", str(api[0].audit_log)]
    assert main([*command, "--ca", str(api[0].ca)]) == 0
    assert main([*command, "--insecure-skip-tls-verify", "--only", "get"]) == 0
    capsys.readouterr()
    assert main(command) == 5
    said = capsys.readouterr().err
    assert "certificate verify failed" in said
    assert f"{api[0].url}: " in said, "what is asked has no timeout in its address"
    for text in ("", "-----BEGIN CERTIFICATE-----\nx\n"):
        token.with_name("odd.crt").write_text(text)
        assert main([*command, "--ca", str(token.with_name("odd.crt"))]) in (2, 5)
        assert "no certificate in PEM" in capsys.readouterr().err


def test_kubectl_reads_the_manifest_as_we_do(api, tmp_path):
    """Kubernetes's own YAML reader finds in the changed manifest what ours finds, to the last value."""
    manifest = enabled(tmp_path).at(DISTROS["kubeadm"].config)
    done = api[0].kubectl("create", "--dry-run=client", "--validate=false", "-o", "json", "-f", str(manifest))
    theirs, ours = json.loads(done.stdout), yaml.safe_load(manifest.read_text())
    assert theirs["spec"] == ours["spec"]
    assert theirs["metadata"] == ours["metadata"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([], 2, "say where to look"),
        (["--log", "x", "--kubeconfig", "/nowhere"], 2, "/nowhere"),
        (["--log", "x", "--url", "gopher://x"], 2, "expected https://HOST:PORT"),
        (["--log", "x", "--url", "http://127.0.0.1:1"], 5, "cannot be asked"),
        (["--log", "x", "-n", "größe"], 2, "--namespace größe: no namespace has such a name"),
        (["--log", "x", "-n", ""], 2, "no namespace has such a name"),
        (["--log", "/", "--url", "http://127.0.0.1:1"], 2, "/: cannot be read: this is no plain file"),
        (["--log", "/dev/null/x", "--url", "http://127.0.0.1:1"], 2, "/dev/null/x: cannot be read: Not a directory"),
        (["--log", "x", "--kubectl", "/nowhere/kubectl"], 5, "No such file"),
        (["--data", "/nowhere", "--url", "http://127.0.0.1:1"], 5, "cannot be asked"),
    ],
)
def test_what_cannot_be_done(words, code, says, capsys):
    """Usage ends with 2, a server that cannot be asked with 5; both in one sentence."""
    assert main(["apiserver", "canary", *words]) == code
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "1m"])
def test_a_time_that_is_none(text, capsys):
    """It would wait for ever, or not at all."""
    assert main(["apiserver", "canary", "--log", "x", f"--timeout={text}"]) == 2
    assert f"{text!r} is no number of seconds" in capsys.readouterr().err
