"""Derived fields: what was done, by whom, with what result."""

import collections

import msgspec
import pytest

from kubewitness.event.derive import DERIVED, expand
from kubewitness.event.expr import Ref
from kubewitness.event.expr_evaluate import evaluate
from kubewitness.event.expr_values import Value
from kubewitness.event.types import Event
from tests.model.filter_events import DECODE, recorded


def event(**members: object) -> Event:
    """Make an Event of wire members; a complete one unless said otherwise."""
    return DECODE(msgspec.json.encode({"stage": "ResponseComplete", **members}))


def derived(path: str, made: Event) -> Value:
    """Give a derived field of an Event."""
    return evaluate(expand(Ref(path)), made)


def request(verb: str, resource: str, subresource: str | None = None, **members: object) -> Event:
    """Make the Event of a resource request."""
    reference = {"resource": resource} | ({"subresource": subresource} if subresource else {})
    return event(verb=verb, objectRef=reference, **members)


@pytest.mark.parametrize(
    ("made", "action"),
    [
        (request("get", "pods", "exec"), "exec"),
        (request("create", "pods", "exec"), "exec"),
        (request("get", "pods", "attach"), "attach"),
        (request("create", "pods", "portforward"), "portforward"),
        (request("get", "pods", "log"), "log"),
        (request("get", "services", "proxy"), "proxy"),
        (request("proxy", "nodes"), "proxy"),
        (request("create", "nodes", "proxy", requestURI="/api/v1/nodes/n/proxy/run/p/w/c?cmd=id"), "exec"),
        (request("get", "nodes", "proxy", requestURI="/api/v1/nodes/n/proxy/metrics?x=/proxy/run/"), "proxy"),
        (request("create", "serviceaccounts", "token"), "token"),
        (request("create", "serviceaccounts"), "create"),
        (request("create", "pods", "eviction"), "evict"),
        (request("create", "pods", "binding"), "schedule"),
        (request("patch", "pods", "ephemeralcontainers"), "debug"),
        (request("get", "pods", "ephemeralcontainers"), "get"),
        (request("update", "deployments", "scale"), "scale"),
        (request("update", "certificatesigningrequests", "approval"), "approve"),
        (request("create", "selfsubjectrulesreviews"), "review"),
        (request("patch", "pods", "status"), "patch"),
        (event(verb="create", objectRef={"resource": "rolebindings", "apiGroup": "rbac.authorization.k8s.io"}), "bind"),
        (
            event(verb="delete", objectRef={"resource": "rolebindings", "apiGroup": "rbac.authorization.k8s.io"}),
            "delete",
        ),
        (event(verb="create", objectRef={"resource": "rolebindings", "apiGroup": "example.com"}), "create"),
        (
            request(
                "list",
                "pods",
                responseStatus={"code": 403, "message": 'pods is forbidden: User "a" cannot impersonate-on:x'},
            ),
            "impersonate",
        ),
        (request("list", "pods", responseStatus={"code": 403, "message": "pods is forbidden"}), "list"),
        (request("list", "pods", impersonatedUser={"username": "b"}), "list"),
        (event(verb="get", requestURI="/healthz"), "get"),
        (event(verb="exec", requestURI="/x"), "other"),
        (event(verb="", requestURI="/x"), ""),
        (event(), None),
    ],
)
def test_action(made: Event, action: str | None) -> None:
    """The action is what was done, whatever the HTTP verb; a made-up method cannot pass for one."""
    assert derived("action", made) == action


@pytest.mark.parametrize(
    ("username", "kind"),
    [
        ("alice", "human"),
        ("system:admin", "human"),
        ("system:masters", "human"),
        (None, "unauthenticated"),
        ("", "unauthenticated"),
        ("system:anonymous", "anonymous"),
        ("system:apiserver", "apiserver"),
        ("system:kube-scheduler", "controller"),
        ("system:serviceaccount:kube-system:deployment-controller", "controller"),
        ("system:serviceaccount:kube-system:backdoor", "serviceaccount"),
        ("system:serviceaccount:kube-system:evil-controller", "serviceaccount"),
        ("system:serviceaccount:default:deployment-controller", "serviceaccount"),
        ("system:node:node-1", "node"),
        ("system:kube-proxy", "node"),
    ],
)
def test_actor_kind(username: str | None, kind: str) -> None:
    """The kind of an actor goes by the user name; only the control plane's own accounts are controllers."""
    assert derived("actor.kind", event(user={"username": username} if username is not None else {})) == kind


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (101, "allowed"),
        (200, "allowed"),
        (304, "allowed"),
        (401, "denied"),
        (403, "denied"),
        (404, "failed"),
        (500, "failed"),
    ],
)
def test_outcome(code: int, outcome: str) -> None:
    """401 and 403 are denied, other errors failed, the rest allowed."""
    assert derived("outcome", event(responseStatus={"code": code})) == outcome


def test_outcome_is_open_at_request_received() -> None:
    """Before there is an answer there is no outcome."""
    assert derived("outcome", event(stage="RequestReceived")) is None


@pytest.mark.parametrize(
    ("query", "command"),
    [
        ("command=sh&command=-c&command=id+-u&stdin=true", ("sh", "-c", "id -u")),
        ("command=a%2Bb%26c&command=", ("a+b&c", "")),
        ("%63ommand=id&xcommand=no&command", ("id", "")),
        ("command=%zz&command=ok&command=a;b", ("ok",)),
        ("command=%ff", ("%ff",)),
        ("stdin=true", ()),
    ],
)
def test_exec_command(query: str, command: tuple[str, ...]) -> None:
    """The command is what Go reads out of the URL: escaped names count, pairs that Go refuses do not."""
    assert derived("exec.command", request("get", "pods", "exec", requestURI=f"/x/exec?{query}")) == command


def test_exec_command_of_a_kubelet_run() -> None:
    """A command run through nodes/proxy is a command too; other proxied requests have none."""
    run = request("create", "nodes", "proxy", requestURI="/api/v1/nodes/n/proxy/run/p/w/c?cmd=cat%20/etc/shadow")
    other = request("get", "nodes", "proxy", requestURI="/api/v1/nodes/n/proxy/metrics?cmd=x")
    assert derived("exec.command", run) == ("cat /etc/shadow",)
    assert derived("exec.command", other) is None


@pytest.mark.parametrize(
    ("made", "dryrun"),
    [
        (event(verb="create", requestURI="/x?dryRun=All"), True),
        (event(verb="create", requestURI="/x?fieldManager=a"), False),
        (event(verb="get", requestURI="/x?dryRun=All"), False),
        (event(verb="delete", level="Metadata", requestURI="/x?dryRun=All"), None),
        (event(verb="delete", level="Request", requestURI="/x?dryRun=All"), True),
        (
            event(verb="delete", level="Request", requestURI="/x?dryRun=All", requestObject={"kind": "DeleteOptions"}),
            False,
        ),
        (event(verb="delete", level="Request", requestURI="/x", requestObject={"dryRun": ["All"]}), True),
        (request("create", "pods", "eviction", level="Metadata", requestURI="/x"), None),
        (
            request(
                "create", "pods", "eviction", requestURI="/x", requestObject={"deleteOptions": {"dryRun": ["All"]}}
            ),
            True,
        ),
    ],
)
def test_dryrun(made: Event, dryrun: bool | None) -> None:
    """A delete takes dryRun from its body, and from the query only without one: a decoy in the query hides nothing."""
    assert derived("dryrun", made) is dryrun


def test_the_small_ones() -> None:
    """The peer is the last hop, credentials are noted in extra and annotations, truncation in an annotation."""
    made = event(
        sourceIPs=["1.2.3.4", "10.0.0.1"],
        user={"extra": {"authentication.kubernetes.io/credential-id": ["JTI=a"]}},
        annotations={"authentication.kubernetes.io/issued-credential-id": "JTI=b", "audit.k8s.io/truncated": "true"},
    )
    assert derived("source.peer", made) == "10.0.0.1"
    assert derived("credential.id", made) == "JTI=a"
    assert derived("credential.issued", made) == "JTI=b"
    assert derived("truncated", made) is True
    assert derived("truncated", event()) is False
    assert derived("source.peer", event(sourceIPs=[])) is None


def test_object_name_of_a_generated_name() -> None:
    """The name that the server gave is read from the response of a create, and of a create only."""
    answered = {"metadata": {"name": "web-x7k2p"}}
    assert derived("object.name", request("create", "pods", responseObject=answered)) == "web-x7k2p"
    assert derived("object.name", request("list", "pods", responseObject=answered)) is None
    named = event(verb="create", objectRef={"resource": "pods", "name": "web"}, responseObject=answered)
    assert derived("object.name", named) == "web"


def test_the_recorded_attack_reads_as_it_happened() -> None:
    """Over a whole recorded log every action that is no verb is the one that its subresource tells."""
    actions = collections.Counter(
        derived("action", made) for made in recorded("full") if made.stage.value != "RequestReceived"
    )
    assert {name: count for name, count in actions.items() if name in {"exec", "token", "debug", "approve", "log"}} == {
        "exec": 20,
        "token": 23,
        "debug": 2,
        "approve": 1,
        "log": 4,
    }
    assert "other" not in actions


def test_every_derived_field_stands_in_the_table() -> None:
    """No derived field without its row in the table of fields, where its column and help are."""
    from kubewitness.event.fields import by_path

    assert all(by_path(path).is_derived for path in DERIVED)
