"""kubectl command lines: the requests they send, and a clear word where they are not understood."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubewitness.policy.kubectl import KubectlError, impersonates, requests_of
from kubewitness.policy.request import request_info


def sent(line: str) -> list[str]:
    """Give each request as the audit log would name it."""
    found = []
    for request in requests_of(line):
        info = request_info(request.method, request.url)
        if not info.is_resource_request:
            found.append(f"{info.verb} {info.path}")
            continue
        resource = "/".join(part for part in (info.resource, info.subresource) if part)
        group = f".{info.api_group}" if info.api_group else ""
        found.append(" ".join(part for part in (info.verb, resource + group, info.namespace, info.name) if part))
    return found


EXEC = ["get pods prod web", "get pods/exec prod web", "create pods/exec prod web"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("exec -n prod -it web -- sh", EXEC),
        ("kubectl exec web -nprod -- sh -c 'cat /etc/passwd'", EXEC),
        ("exec --namespace=prod pod/web -c app -- sh", EXEC),
        ("cp prod/web:/etc/passwd .", EXEC),
        ("cp ./x web:/x -n prod", EXEC),
        ("attach -it web", ["get pods default web", "get pods/attach default web", "create pods/attach default web"]),
        (
            "port-forward pod/web 8080:80",
            [
                "get pods default web",
                "get pods/portforward default web",
                "create pods/portforward default web",
            ],
        ),
        ("logs -f web -c app", ["get pods default web", "get pods/log default web"]),
        ("logs deploy/web -n a", ["get deployments.apps a web", "list pods a", "get pods/log a one"]),
        ("logs -l app=web", ["list pods default", "get pods/log default each"]),
        (
            "exec deploy/web -- ls",
            [
                "get deployments.apps default web",
                "list pods default",
                "get pods/exec default one",
                "create pods/exec default one",
            ],
        ),
        (
            "port-forward svc/web 8080:80",
            [
                "get services default web",
                "list pods default",
                "get pods default one",
                "get pods/portforward default one",
                "create pods/portforward default one",
            ],
        ),
        (
            "debug po/web --image=x",
            ["get pods default web", "patch pods/ephemeralcontainers default web"],
        ),
        (
            "debug web --image=x --copy-to=w2 -it",
            [
                "get pods default web",
                "create pods default",
                "get pods/attach default w2",
                "create pods/attach default w2",
            ],
        ),
        (
            "debug node/n1 -it --image=x",
            [
                "get nodes n1",
                "create pods default",
                "get pods/attach default node-debugger-n1-...",
                "create pods/attach default node-debugger-n1-...",
            ],
        ),
        ("run web --image=x --command -- sh", ["create pods default"]),
        (
            "run web --image=x -it --rm -- sh",
            [
                "create pods default",
                "get pods/attach default web",
                "create pods/attach default web",
                "delete pods default web",
            ],
        ),
        ("create job j --from=cronjob/c -n a", ["create jobs.batch a"]),
        (
            "create role r --verb=get --resource=pods --resource-name=x",
            ["create roles.rbac.authorization.k8s.io default"],
        ),
        ("label pod web a=b --dry-run=client", ["get pods default web"]),
        ("get --raw /healthz?verbose", ["get /healthz"]),
        ("delete --raw /api/v1/namespaces/a/pods/web", ["delete pods a web"]),
        ("rollout history deploy/web --revision=2", ["get deployments.apps default web"] * 2),
        (
            "get all -n a",
            [
                "list pods a",
                "list replicationcontrollers a",
                "list services a",
                "list daemonsets.apps a",
                "list deployments.apps a",
                "list replicasets.apps a",
                "list statefulsets.apps a",
                "list horizontalpodautoscalers.autoscaling a",
                "list cronjobs.batch a",
                "list jobs.batch a",
            ],
        ),
        ("get pods", ["list pods default"]),
        ("get po -A -o wide", ["list pods"]),
        ("get deploy,svc -n a", ["list deployments.apps a", "list services a"]),
        ("get pod/web svc/db", ["get pods default web", "get services default db"]),
        ("get pods web db", ["get pods default web", "get pods default db"]),
        ("get nodes", ["list nodes"]),
        ("get ns prod", ["get namespaces prod prod"]),
        ("get pods web -w", ["get pods default web", "watch pods default web"]),
        ("get pods --watch-only", ["watch pods default"]),
        ("get pods --field-selector metadata.name=web", ["list pods default web"]),
        ("get widgets.example.com w", ["get widgets.example.com default w"]),
        ("get deployments.v1.apps w", ["get deployments.apps default w"]),
        ("describe pod web", ["get pods default web", "list events default"]),
        ("delete pod web --force --grace-period 0", ["delete pods default web"]),
        ("delete secrets --all -n a", ["list secrets a", "delete secrets a each"]),
        ("create secret generic s --from-literal=a=b", ["create secrets default"]),
        ("create ns x", ["create namespaces"]),
        (
            "create clusterrolebinding x --clusterrole=admin --user=eve",
            ["create clusterrolebindings.rbac.authorization.k8s.io"],
        ),
        ("create token sa", ["create serviceaccounts/token default sa"]),
        (
            "apply deployment/web",
            [
                "get deployments.apps default web",
                "create deployments.apps default",
                "patch deployments.apps default web",
            ],
        ),
        ("apply --server-side cm/x", ["patch configmaps default x"]),
        (
            "run x --image busybox --rm -it",
            [
                "create pods default",
                "get pods/attach default x",
                "create pods/attach default x",
                "delete pods default x",
            ],
        ),
        ("edit cm x", ["get configmaps default x", "patch configmaps default x"]),
        ("patch cm x -p '{}'", ["get configmaps default x", "patch configmaps default x"]),
        ("replace cm/x", ["get configmaps default x", "update configmaps default x"]),
        (
            "scale deploy web --replicas 3",
            ["get deployments.apps default web", "patch deployments/scale.apps default web"],
        ),
        ("label pods web a=b", ["get pods default web", "patch pods default web"]),
        ("annotate node n1 a-", ["get nodes n1", "patch nodes n1"]),
        ("taint nodes n1 a=b:NoSchedule", ["get nodes n1", "patch nodes n1"]),
        ("set image deploy/web a=b:2", ["get deployments.apps default web", "patch deployments.apps default web"]),
        ("rollout restart deployment web", ["get deployments.apps default web", "patch deployments.apps default web"]),
        ("rollout status ds/x", ["list daemonsets.apps default x", "watch daemonsets.apps default x"]),
        ("wait pod web --for=condition=Ready", ["list pods default web", "watch pods default web"]),
        ("expose deploy web --port 80", ["get deployments.apps default web", "create services default"]),
        (
            "autoscale deploy web --max 3",
            ["get deployments.apps default web", "create horizontalpodautoscalers.autoscaling default"],
        ),
        ("auth can-i delete pods", ["create selfsubjectaccessreviews.authorization.k8s.io"]),
        ("auth can-i --list", ["create selfsubjectrulesreviews.authorization.k8s.io"]),
        ("auth whoami", ["create selfsubjectreviews.authentication.k8s.io"]),
        (
            "certificate approve x",
            [
                "get certificatesigningrequests.certificates.k8s.io x",
                "update certificatesigningrequests/approval.certificates.k8s.io x",
            ],
        ),
        ("cordon n1", ["get nodes n1", "patch nodes n1"]),
        (
            "drain n1 --ignore-daemonsets",
            ["get nodes n1", "patch nodes n1", "list pods", "create pods/eviction default each"],
        ),
        (
            "debug -it web --image=busybox",
            [
                "get pods default web",
                "patch pods/ephemeralcontainers default web",
                "get pods/attach default web",
                "create pods/attach default web",
            ],
        ),
        ("debug node/n1 --image=busybox", ["get nodes n1", "create pods default"]),
        ("top pods -A", ["list pods.metrics.k8s.io"]),
        ("top node n1", ["get nodes.metrics.k8s.io n1"]),
        ("version", ["get /version"]),
        ("api-resources", ["get /api", "get /apis"]),
        ("cluster-info", ["list services kube-system"]),
        ("explain pods", ["get /openapi/v3"]),
        ("events -n a", ["list events a"]),
    ],
)
def test_requests(line, expected):
    """Each command line sends these requests."""
    assert sent(line) == expected


def test_the_command_is_in_the_url():
    """exec carries its words in the query, as it stands in requestURI."""
    assert requests_of("exec web -- sh -c 'a b'")[1].url.endswith("/exec?command=sh&command=-c&command=a+b")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "a kubectl command is missing"),
        ("'", "cannot be split into words"),
        ("frob x", "kubectl frob is not understood here; understood are annotate, api-resources"),
        ("get", "a resource is missing"),
        ("get foo", "foo is no built-in resource; write a custom one with its group, foo.example.com"),
        ("get pods --frob", "the flag --frob is not understood"),
        ("apply -f web.yaml", "what web.yaml holds is not known here; name the object instead: apply deployment/web"),
        ("create -f web.yaml", "what web.yaml holds is not known"),
        ("create", "a resource is missing"),
        ("exec web", "the command is missing"),
        ("exec svc/ -- ls", "svc/ must have a resource and a name"),
        ("exec /web -- ls", "/web must have a resource and a name"),
        ("debug deploy/web", "debug is for pods and nodes"),
        ("get --raw nodes", "a URL path is missing"),
        ("get --raw /%zz", "invalid URL escape"),
        ("run web --image=x --dry-run=client -o yaml", "sends nothing"),
        ("delete pod web --dry-run=client", "sends nothing"),
        ("get pods | grep x", "is for the shell"),
        ("apply -k .", "what . holds is not known here"),
        ("exec", "a pod is missing"),
        ("cp a b", "neither side is a pod"),
        ("delete pods", "a name, --all or -l is missing"),
        ("label pods a=b", "a name is missing"),
        ("get pods web -w --field-selector spec.nodeName=n1", "a selector is for objects without a name"),
        ("proxy", "kubectl proxy sends nothing by itself"),
        ("create token", "a service account is missing"),
    ],
)
def test_what_is_not_understood(line, message):
    """A clear word instead of a guess."""
    with pytest.raises(KubectlError) as caught:
        requests_of(line)
    assert message in str(caught.value)


def test_impersonation_is_noticed():
    """--as changes who acts, not what the policy sees."""
    assert impersonates("get pods --as eve")
    assert not impersonates("get pods")


WORDS = ("exec", "get", "pods", "create", "-n", "x", "--", "-f", "a=b", "deploy/web", "auth", "'")


@given(st.lists(st.sampled_from(WORDS)))
def test_no_line_breaks_it(words):
    """Any words give requests or KubectlError."""
    with contextlib.suppress(KubectlError):
        assert requests_of(" ".join(words)) is not None
