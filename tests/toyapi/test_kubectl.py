"""Real kubectl against the toy API server: it works, and the audit log it leaves answers who did what."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubewitness.cli.main import main
from tests.toyapi import Running, running

FULL = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: RequestResponse\n"
SECRET = "apiVersion: v1\nkind: Secret\nmetadata: {{name: db}}\nstringData: {{password: {}}}\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("toy"), FULL) as started:
        yield started


@pytest.fixture(scope="module")
def told(server: Running) -> Running:
    """A day in the life of the cluster."""
    kubectl = server.kubectl
    kubectl("create", "namespace", "shop")
    kubectl("apply", "-n", "shop", "-f", "-", stdin=SECRET.format("one"))
    assert "configured" in kubectl("apply", "-n", "shop", "-f", "-", stdin=SECRET.format("two")).stdout
    assert "Forbidden" in kubectl("get", "secrets", "-n", "shop", user="mallory", check=False).stderr
    kubectl("create", "clusterrole", "reader", "--verb=get,list", "--resource=secrets")
    kubectl("create", "clusterrolebinding", "readers", "--clusterrole=reader", "--user=alice")
    kubectl("get", "secret", "db", "-n", "shop", "-o", "yaml", user="alice")
    assert kubectl("auth", "can-i", "delete", "secrets", user="alice", check=False).stdout == "no\n"
    assert kubectl("auth", "can-i", "list", "secrets", user="alice").stdout == "yes\n"
    token = kubectl("create", "token", "default", "-n", "shop").stdout
    whoami = kubectl("auth", "whoami", "-o", "json", kubeconfig=server.kubeconfig("sa", token.strip()))
    assert json.loads(whoami.stdout)["status"]["userInfo"]["username"] == "system:serviceaccount:shop:default"
    kubectl("run", "web", "-n", "shop", "--image=nginx")
    assert "hello" in kubectl("logs", "web", "-n", "shop").stdout
    kubectl("delete", "secret", "db", "-n", "shop")
    kubectl("delete", "pods", "--all", "-n", "shop")
    return server


@pytest.mark.parametrize(
    ("question", "user"),
    [
        (("deleted", "secrets/db"), "admin"),
        (("created", "clusterrolebindings/readers"), "admin"),
        (("read", "secrets/db", "-n", "shop"), "alice"),
    ],
)
def test_the_log_says_who(told: Running, capsys: pytest.CaptureFixture[str], question, user: str) -> None:
    """The questions of the source module have their answers in the log of the toy server."""
    code = main(["who", *question, str(told.audit_log)])
    out = capsys.readouterr().out
    assert code == 0
    assert user in out, out


def test_the_log_says_what_was_refused(told: Running, capsys: pytest.CaptureFixture[str]) -> None:
    """A search for failures finds the one attempt, with the reason that the caller was given."""
    code = main(["search", "--user", "mallory", "--code", "403", "-o", "json", str(told.audit_log)])
    out = capsys.readouterr().out
    assert code == 0
    assert 'User \\"mallory\\" cannot list resource \\"secrets\\"' in out, out


def test_every_event_is_one_that_an_api_server_writes(told: Running) -> None:
    """Each request has its stages, what RBAC said, and the bodies of its level."""
    events = told.events()
    by_id: dict[str, list[dict]] = {}
    for event in events:
        by_id.setdefault(event["auditID"], []).append(event)
    for stages in by_id.values():
        status = stages[-1]["responseStatus"]
        # who is not known, or may not impersonate, is never authorized
        if status["code"] == 401 or "cannot impersonate" in status.get("message", ""):
            assert "annotations" not in stages[-1]
            continue
        names = [event["stage"] for event in stages]
        assert names in (
            ["RequestReceived", "ResponseComplete"],
            ["RequestReceived", "ResponseStarted", "ResponseComplete"],
            ["RequestReceived", "ResponseStarted"],
        )
        assert stages[-1]["annotations"]["authorization.k8s.io/decision"] in ("allow", "forbid")
    done = [event for event in events if event["stage"] == "ResponseComplete"]
    made = next(event for event in done if event["verb"] == "create" and event["objectRef"]["resource"] == "secrets")
    assert made["requestObject"]["data"] == {"password": "b25l"}
    assert made["responseObject"]["metadata"]["uid"]
    token = next(event for event in done if event.get("objectRef", {}).get("subresource") == "token")
    assert token["annotations"]["authentication.kubernetes.io/issued-credential-id"].startswith("JTI=")
    allowed = next(
        event
        for event in done
        if event["user"]["username"] == "alice" and event["verb"] == "get" and "objectRef" in event
    )
    assert allowed["annotations"]["authorization.k8s.io/reason"] == (
        'RBAC: allowed by ClusterRoleBinding "readers" of ClusterRole "reader" to User "alice"'
    )
    patch = next(event for event in done if event["verb"] == "patch")
    assert "stringData" in patch["requestObject"]


def test_a_wrong_token_leaves_one_event(server: Running) -> None:
    """kubectl is told to log in; the log holds ResponseStarted with an empty user."""
    before = len(server.events())
    done = server.kubectl("get", "pods", kubeconfig=server.kubeconfig("nobody"), check=False)
    assert "must be logged in" in done.stderr
    news = server.events()[before:]
    assert {(event["stage"], event["responseStatus"]["code"]) for event in news} == {("ResponseStarted", 401)}
    assert all(event["user"] == {} for event in news)


def test_conflicts_and_missing_objects_are_told_apart(server: Running) -> None:
    """AlreadyExists, NotFound and a missing namespace come with the sentences kubectl users know."""
    server.kubectl("create", "configmap", "once", "--from-literal=a=b")
    again = server.kubectl("create", "configmap", "once", check=False)
    assert 'configmaps "once" already exists' in again.stderr
    assert 'pods "nope" not found' in server.kubectl("get", "pod", "nope", check=False).stderr
    assert 'namespaces "nope" not found' in server.kubectl("run", "x", "--image=x", "-n", "nope", check=False).stderr


def test_a_certificate_names_its_bearer(server: Running) -> None:
    """Over TLS a client certificate is an identity, with the id of the credential in the log."""
    config = server.certificate_kubeconfig("carol", "system:masters")
    server.kubectl("get", "namespaces", kubeconfig=config)
    event = server.events()[-1]
    assert (event["user"]["username"], event["user"]["groups"]) == ("carol", ["system:masters", "system:authenticated"])
    assert event["user"]["extra"]["authentication.kubernetes.io/credential-id"][0].startswith("X509SHA256=")


def test_impersonation_is_recorded_and_refused(server: Running) -> None:
    """kubectl --as leaves both names; who may not impersonate leaves none of the other's."""
    server.kubectl("get", "namespaces", "--as=system:serviceaccount:default:default", check=False)
    event = server.events()[-1]
    assert event["impersonatedUser"]["username"] == "system:serviceaccount:default:default"
    refused = server.kubectl("get", "namespaces", "--as=admin", user="mallory", check=False)
    assert 'cannot impersonate resource "users"' in refused.stderr
    assert "impersonatedUser" not in server.events()[-1]


def test_an_exec_is_a_get_that_switches_protocols(server: Running, capsys: pytest.CaptureFixture[str]) -> None:
    """kubectl exec speaks WebSocket: verb get, code 101, three stages, the command in the URL; who finds it."""
    server.kubectl("run", "shell", "--image=x")
    assert server.kubectl("exec", "shell", "--", "cat", "/etc/shadow").stdout == "shell was told: cat /etc/shadow\n"
    shown = [event for event in server.events() if event.get("objectRef", {}).get("name") == "shell"]
    execs = [event for event in shown if event["objectRef"].get("subresource") == "exec"]
    assert [(event["stage"], event["verb"], event.get("responseStatus", {}).get("code")) for event in execs] == [
        ("RequestReceived", "get", None),
        ("ResponseStarted", "get", 101),
        ("ResponseComplete", "get", 101),
    ]
    assert main(["who", "exec", "pods/shell", "-n", "default", str(server.audit_log)]) == 0
    out = capsys.readouterr().out
    assert "admin" in out
    assert "cat /etc/shadow" in out


def test_a_refused_exec_says_why(server: Running) -> None:
    """Who may not exec is answered 403 with a Status, on both ways kubectl tries."""
    server.kubectl("run", "closed", "--image=x")
    server.kubectl("create", "clusterrole", "looker", "--verb=get", "--resource=pods")
    server.kubectl("create", "clusterrolebinding", "lookers", "--clusterrole=looker", "--user=mallory")
    done = server.kubectl("exec", "closed", "--", "id", user="mallory", check=False)
    assert "cannot" in done.stderr
    assert "pods/exec" in done.stderr
    refused = [event for event in server.events() if event.get("objectRef", {}).get("name") == "closed"]
    refused = [
        event for event in refused if event["objectRef"].get("subresource") == "exec" and "responseStatus" in event
    ]
    assert {event["responseStatus"]["code"] for event in refused} == {403}
    assert {event["annotations"]["authorization.k8s.io/decision"] for event in refused} == {"forbid"}


def test_a_watch_is_open_until_the_server_stops(tmp_path: Path) -> None:
    """kubectl get --watch leaves ResponseStarted at once and ResponseComplete in the end."""
    import subprocess

    from tests.toyapi.process import KUBECTL

    with running(tmp_path) as server:
        command = [KUBECTL, f"--kubeconfig={server.kubeconfig()}", "get", "pods", "--watch"]
        watching = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            for _ in range(200):
                if any(event["verb"] == "watch" for event in server.events()):
                    break
                subprocess.run(["sleep", "0.05"], check=True)
            server.kubectl("run", "seen", "--image=x")
            assert watching.stdout is not None
            assert watching.stdout.readline().startswith("NAME")
            assert watching.stdout.readline().startswith("seen")
            stages = [event["stage"] for event in server.events() if event["verb"] == "watch"]
            assert stages == ["RequestReceived", "ResponseStarted"]
            server.stop()
            assert watching.wait(10) == 0
        finally:
            watching.terminate()
            watching.communicate()
        stages = [event["stage"] for event in server.events() if event["verb"] == "watch"]
        assert stages[-1] == "ResponseComplete"
