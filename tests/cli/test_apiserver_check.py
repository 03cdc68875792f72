"""`apiserver check` as a person types it."""

import json
import subprocess
import sys
import time

import jsonschema
import pytest

from kubewitness.apiserver.distros import DISTROS
from kubewitness.cli.main import main
from tests.apiserver.trees import DATA, FIXTURES, POLICY, enabled

from .conftest import Result

SARIF = {
    "type": "object",
    "required": ["version", "runs"],
    "properties": {
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "items": {
                "required": ["tool", "results"],
                "properties": {
                    "results": {
                        "items": {
                            "required": ["ruleId", "level", "message", "locations"],
                            "properties": {"level": {"enum": ["error", "warning", "note"]}},
                        }
                    }
                },
            },
        },
    },
}


@pytest.fixture
def check(capsys, monkeypatch):
    """Run the command."""

    def run(*words, stdin=b""):
        class Input:
            class buffer:  # noqa: N801 - the name of sys.stdin's
                @staticmethod
                def read():
                    return stdin

        monkeypatch.setattr("sys.stdin", Input)
        code = main(["apiserver", "check", *map(str, words)])
        said = capsys.readouterr()
        return Result(code, said.out, said.err)

    return run


@pytest.fixture
def manifest(tmp_path):
    """The manifest of a machine on which auditing is on."""
    return enabled(tmp_path).at(DISTROS["kubeadm"].config)


def test_the_root_is_known_from_where_the_manifest_lies(check, manifest):
    """What stands before /etc/kubernetes/manifests is the host's root: policy and modes are looked at."""
    report = check(manifest)
    assert (report.code, report.err) == (0, "")
    assert report.lines[0].endswith("kube-apiserver 1.36 starts; nothing found")
    assert "not looked at" not in report.out
    manifest.parents[1].joinpath("audit-policy.yaml").chmod(0o666)
    assert check("--fail-on", "risky", manifest).code == 1


@pytest.mark.parametrize("directory", ["", "etc", "etc/kubernetes/manifests"])
def test_from_wherever_one_stands(check, manifest, tmp_path, monkeypatch, directory):
    """A relative path is understood as well: policy, modes and what lies among the static pods are looked at."""
    manifest.with_name("kube-apiserver.yaml.bak").write_text("")
    monkeypatch.chdir(tmp_path / directory)
    report = check(manifest.relative_to(tmp_path / directory))
    assert "KW639" in report.out
    assert "not looked at" not in report.out


def test_text_says_what_to_paste(check):
    """file:line:column, severity, code, what; then the line to paste; then the verdict and notes."""
    report = check(FIXTURES / "kubeadm.yaml")
    assert report.code == 1
    assert report.lines[0].startswith(f"{FIXTURES / 'kubeadm.yaml'}:14:1: wrong KW620: --audit-policy-file is not set")
    assert report.lines[1] == "    paste: - --audit-policy-file=/etc/kubernetes/audit-policy.yaml"
    assert "kube-apiserver 1.36 starts; 2 wrong" in report.out


def test_json_and_sarif(check, manifest):
    """Both hold every finding with its place; SARIF has what code hosts need."""
    text = manifest.read_text().replace("--audit-log-maxage=30", "--audit-log-maxage=-1")
    manifest.write_text(text)
    line = text.split("maxage")[0].count("\n") + 1
    [found] = json.loads(check(manifest, "-o", "json").out)
    assert (found["starts"], found["serverVersion"], found["form"]) == (False, "1.36", "static pod manifest")
    assert [(one["code"], one["line"], one["paste"]) for one in found["findings"]] == [
        ("KW603", line, "- --audit-log-maxage=366")
    ]
    sarif = json.loads(check(manifest, "-o", "sarif").out)
    jsonschema.validate(sarif, SARIF)
    [result] = sarif["runs"][0]["results"]
    assert (result["ruleId"], result["level"]) == ("KW603", "error")
    assert result["locations"][0]["physicalLocation"]["region"]["startLine"] == line
    rules = {rule["id"] for rule in sarif["runs"][0]["tool"]["driver"]["rules"]}
    assert {"KW603", "KW207"} <= rules


def test_from_a_pipe_with_a_policy(check, tmp_path):
    """`ps` output on standard input; the policy named beside it; the policy's findings under its name."""
    policy = tmp_path / "p.yaml"
    policy.write_bytes(POLICY + b"- level: None\n")
    ps = b"root 1 0 kube-apiserver --audit-policy-file=/p --audit-log-path=/var/log/a/a.log\n"
    report = check("-", "--policy", policy, stdin=ps)
    assert f"{policy}:5:3: wrong KW207" in report.out
    assert report.code == 1


def test_a_measured_rate(check, manifest):
    """Rate and size come from a log, also a packed one; a log that says nothing of time is refused."""
    manifest.write_text(manifest.read_text().replace("maxsize=100", "maxsize=8"))
    report = check(manifest, "--measure", DATA / "audit-full.log.zst")
    assert report.code == 0
    assert "(measured), not the 30 days" in report.out
    assert "40 events/s of 2," in report.out
    refused = check(manifest, "--measure", FIXTURES / "k3s.yaml")
    assert (refused.code, "no rate" in refused.err) == (2, True)
    assert check(manifest, "--rate", "nan").code == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"kind: Pod\nspec: {}\n", ":2: spec.containers must be a list"),
        (b"kind: Deployment\napiVersion: apps/v1\n", "apps/v1 Deployment says nothing of a kube-apiserver"),
        (b"\x1b[31m: [", "no YAML"),
        (b"", "empty"),
        (b"- a\n", "not recognised"),
    ],
)
def test_what_is_not_understood(check, text, words):
    """One line with the place; exit code 2; nothing of it acts on the terminal."""
    refused = check("-", stdin=text)
    assert refused.code == 2
    assert words in refused.err
    assert "\x1b" not in refused.err


def test_nothing_named(check):
    """Neither a file nor --live."""
    assert check().code == 2
    assert check("/nowhere/kube-apiserver.yaml").code == 2
    assert check("-", "--server-version", "x", stdin=b"kube-apiserver --v=2\n").code == 2


@pytest.fixture
def server(tmp_path):
    """A process that calls itself kube-apiserver and holds a log open, as one does."""
    log = tmp_path / "audit.log"
    policy = tmp_path / "policy.yaml"
    policy.write_bytes(POLICY)
    hold = "import sys, time; f = open(sys.argv[1].partition('=')[2], 'a'); print(1, flush=True); time.sleep(60)"
    flags = [f"--audit-log-path={log}", f"--audit-policy-file={policy}"]
    command = ["kube-apiserver", "-c", hold, *flags]
    process = subprocess.Popen(command, executable=sys.executable, stdout=subprocess.PIPE)
    process.stdout.readline()
    yield process, log
    process.kill()
    process.wait()
    process.stdout.close()


def _of(report, process):
    return next(one for one in json.loads(report.out) if f"/{process.pid}/" in one["file"])["findings"]


def test_the_running_server(check, server):
    """--live reads the command line and the files of the process; a log that was deleted under it is found."""
    process, log = server
    assert "KW640" not in [one["code"] for one in _of(check("--live", "-o", "json"), process)]
    log.unlink()
    time.sleep(0.05)
    found = next(one for one in _of(check("--live", "-o", "json"), process) if one["code"] == "KW640")
    assert f"process {process.pid} writes to {log}, which was deleted" in found["message"]


def test_the_running_server_against_the_manifest(check, server, manifest):
    """A manifest that the server was not started from is told from the flags that differ."""
    process, log = server
    report = check(manifest, "--live")
    assert report.code == 1
    assert f"process {process.pid} runs with --audit-log-path={log}, this says --audit-log-path=/var/log" in report.out


def test_no_server_here(check, monkeypatch):
    """Where none runs it is said, with what to do instead."""
    monkeypatch.setattr("kubewitness.apiserver.hostfiles.running", list)
    refused = check("--live")
    assert (refused.code, "k3s" in refused.err) == (5, True)
