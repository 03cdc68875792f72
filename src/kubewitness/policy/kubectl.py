"""
kubectl command lines to the requests they send, so that a policy can be asked about `exec -it web -- sh`.

    for request in requests_of("exec -n prod -it web -- sh"):
        request.method, request.url, request.note

What kubectl sends was observed with kubectl 1.32; discovery (/api, /apis) is left out. A file cannot be looked into:
`apply deployment/web` stands for `apply -f` of a file that holds this object.
"""

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from kubewitness.policy import builtin
from kubewitness.policy.kubectl_flags import LONG_NAMES, OWN_FLAGS, SHELL, SWITCHES, VALUE_FLAGS
from kubewitness.policy.request import RequestError, request_info

# the built-in resources of the category `all`, in kubectl's order
_ALL = (
    "pods replicationcontrollers services daemonsets.apps deployments.apps replicasets.apps statefulsets.apps "
    "horizontalpodautoscalers.autoscaling cronjobs.batch jobs.batch"
)
_RAW = {"get": "GET", "create": "POST", "replace": "PUT", "delete": "DELETE"}
_VERSIONS = {"autoscaling": "v2", "metrics.k8s.io": "v1beta1"}


class KubectlError(ValueError):
    """A command line that is not understood; the message says which part."""


@dataclass(frozen=True, slots=True)
class KubectlRequest:
    """One request kubectl sends, and what is worth knowing of it."""

    method: str
    url: str
    note: str = ""


@dataclass(slots=True)
class _Command:
    """A command line taken apart."""

    words: list[str]
    flags: dict[str, str] = field(default_factory=dict)
    after_dashes: list[str] = field(default_factory=list)

    @property
    def namespace(self) -> str:
        return self.flags.get("--namespace", "default")

    @property
    def is_interactive(self) -> bool:
        return not {"-i", "-it", "-ti", "--stdin", "--attach"}.isdisjoint(self.flags)

    def word(self, index: int, what: str) -> str:
        if index >= len(self.words):
            raise KubectlError(f"kubectl {' '.join(self.words[:2])}: {what} is missing")
        return self.words[index]

    def objects(self, start: int = 1) -> list[tuple[builtin.Resource, str]]:
        """Read `pods web db`, `pod/web`, `pods,services`, as resource and name; no name is the whole list."""
        words = self.words[start:]
        if not words:
            if "--filename" in self.flags:
                raise KubectlError(
                    f"what {self.flags['--filename']} holds is not known here; name the object instead: "
                    f"{self.words[0]} deployment/web"
                )
            raise KubectlError(f"kubectl {self.words[0]}: a resource is missing")
        if "/" in words[0]:
            return [(resource_of(kind), name) for kind, _, name in (word.partition("/") for word in words)]
        named = [kind for word in words[0].split(",") for kind in (_ALL.split() if word == "all" else [word])]
        kinds = [resource_of(kind) for kind in named]
        return [(kind, name) for kind in kinds for name in (words[1:] or [""])]


def requests_of(command_line: str) -> tuple[KubectlRequest, ...]:
    """Give the requests of a kubectl command line, without the word kubectl. Raises KubectlError."""
    command = _parse(command_line)
    if "--raw" in command.flags and command.words[0] in _RAW:
        return (_raw(_RAW[command.words[0]], command.flags["--raw"]),)
    handler = _COMMANDS.get(" ".join(command.words[:2])) or _COMMANDS.get(command.words[0])
    if handler is None:
        raise KubectlError(
            f"kubectl {command.words[0]} is not understood here; understood are {', '.join(sorted(_COMMANDS))}"
        )
    requests = handler(command)
    if command.flags.get("--dry-run") == "client":
        requests = [request for request in requests if request.method == "GET"]
        if not requests:
            raise KubectlError(f"kubectl {command.words[0]} --dry-run=client sends nothing; --dry-run=server does")
    return tuple(requests)


def impersonates(command_line: str) -> bool:
    """Say whether the command line acts as somebody else."""
    return bool({"--as", "--as-group", "--as-uid"} & set(_parse(command_line).flags))


def resource_of(word: str) -> builtin.Resource:
    """Read pods, po, deployments.apps, deployments.v1.apps or a custom widgets.example.com."""
    name, _, group = word.partition(".")
    version, _, rest = group.partition(".")
    if rest and version[:1] == "v" and version[1:2].isdigit():
        group = rest
    candidates = [r for r in builtin.by_any_name(name) if not group or r.group == group]
    if candidates:
        return candidates[0]
    if not group:
        raise KubectlError(f"{word} is no built-in resource; write a custom one with its group, {word}.example.com")
    return builtin.Resource(group, name.lower(), name.lower(), is_namespaced=True, subresources=(), short_names=())


def url_of(resource: builtin.Resource, namespace: str, name: str = "", subresource: str = "", **query: str) -> str:
    """Write the URL of a resource."""
    group = resource.group
    root = f"/apis/{group}/{_VERSIONS.get(group, 'v1')}" if group else "/api/v1"
    scope = f"/namespaces/{quote(namespace, safe='')}" if resource.is_namespaced and namespace else ""
    tail = "".join(f"/{quote(part, safe='')}" for part in (resource.name, name, subresource) if part)
    return root + scope + tail + (f"?{urlencode(query)}" if query else "")


def _parse(command_line: str) -> _Command:
    try:
        tokens = shlex.split(command_line)
    except ValueError as error:
        raise KubectlError(f"the command line cannot be split into words: {error}") from None
    if tokens[:1] == ["kubectl"]:
        tokens = tokens[1:]
    command = _Command([])
    pending = iter(tokens)
    for word in pending:
        if word == "--":
            command.after_dashes = list(pending)
        elif word in SHELL:
            raise KubectlError(f"{word} is for the shell: give one kubectl command, without what follows it")
        elif not word.startswith("-") or word == "-":
            command.words.append(word)
        else:
            _flag(command, word, pending)
    if not command.words:
        raise KubectlError("a kubectl command is missing, such as `get pods`")
    return command


def _flag(command: _Command, flag: str, pending: Iterator[str]) -> None:
    name, equals, value = flag.partition("=")
    own = (command.words[0] if command.words else "", name)
    takes_value = OWN_FLAGS.get(own, name in VALUE_FLAGS)
    if not flag.startswith("--") and not equals and len(flag) > 2 and flag[:2] in VALUE_FLAGS:
        # -nprod
        name, equals, value, takes_value = flag[:2], "=", flag[2:], True
    if takes_value:
        value = value if equals else next(pending, "")
    elif own not in OWN_FLAGS and name not in SWITCHES:
        raise KubectlError(f"the flag {name} is not understood")
    command.flags[LONG_NAMES.get(name, name)] = value


def _raw(method: str, url: str) -> KubectlRequest:
    if not url.startswith("/"):
        raise KubectlError("kubectl --raw: a URL path is missing, such as --raw /healthz")
    try:
        request_info(method, url)
    except RequestError as error:
        raise KubectlError(f"kubectl --raw: {error}") from None
    return KubectlRequest(method, url)


_Requests = list[KubectlRequest]
_SECOND_GET = "kubectl reads the object first"
_WEBSOCKET = "WebSocket: a get since kubectl 1.30, whatever courses say of create"
_SPDY = "SPDY instead: older clients, or KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false; audited as create"


def _core(name: str) -> builtin.Resource:
    return _builtin("", name)


def _builtin(group: str, name: str) -> builtin.Resource:
    found = builtin.find(group, name)
    assert found is not None  # noqa: S101  only names of the table are asked for
    return found


def _get(command: _Command) -> _Requests:
    namespace = "" if "--all-namespaces" in command.flags else command.namespace
    query = {
        parameter: command.flags[flag]
        for flag, parameter in (("--selector", "labelSelector"), ("--field-selector", "fieldSelector"))
        if flag in command.flags
    }
    requests = []
    for resource, name in command.objects():
        if name and query:
            raise KubectlError("kubectl get: a selector is for objects without a name, and kubectl refuses both")
        is_watch = "--watch" in command.flags or "--watch-only" in command.flags
        if "--watch-only" not in command.flags:
            limit = {} if name else {"limit": "500"}
            requests.append(KubectlRequest("GET", url_of(resource, namespace, name, **query, **limit)))
        if is_watch:
            one = {"fieldSelector": f"metadata.name={name}"} if name else {}
            requests.append(KubectlRequest("GET", url_of(resource, namespace, **query, **one, watch="true")))
    return requests


def _describe(command: _Command) -> _Requests:
    requests = [KubectlRequest("GET", url_of(r, command.namespace, name)) for r, name in command.objects()]
    selector = {"fieldSelector": "involvedObject.name=..."}
    events = KubectlRequest("GET", url_of(_core("events"), command.namespace, **selector), "the events of the object")
    return [*requests, events]


def _find_pod(command: _Command) -> tuple[_Requests, str]:
    """Give what kubectl reads to find the pod, and its name; of deploy/web it takes one whose name nobody knows yet."""
    kind, slash, name = command.word(1, "a pod").rpartition("/")
    if slash and not (kind and name):
        raise KubectlError(
            f"kubectl {command.words[0]}: {kind}/{name} must have a resource and a name, as in deploy/web"
        )
    resource = resource_of(kind) if slash else _core("pods")
    url = url_of(resource, command.namespace, name)
    if resource == _core("pods"):
        return [KubectlRequest("GET", url, _SECOND_GET)], name
    pods = url_of(_core("pods"), command.namespace, labelSelector="...")
    return [
        KubectlRequest("GET", url, _SECOND_GET),
        KubectlRequest("GET", pods, f"the pods of {kind}/{name}: one is taken"),
    ], "one"


def _logs(command: _Command) -> _Requests:
    if len(command.words) == 1 and "--selector" in command.flags:
        url = url_of(_core("pods"), command.namespace, labelSelector=command.flags["--selector"])
        before, pod, note = [KubectlRequest("GET", url, "kubectl lists first")], "each", "for each pod: "
    else:
        (before, pod), note = _find_pod(command), ""
    url = url_of(_core("pods"), command.namespace, pod, "log")
    return [*before, KubectlRequest("GET", url, f"{note}three stages, even without -f")]


def _stream(subresource: str) -> Callable[[_Command], _Requests]:
    def handler(command: _Command) -> _Requests:
        before, pod = _find_pod(command)
        query: list[tuple[str, str]] = []
        if subresource == "exec":
            if not command.after_dashes and len(command.words) < 3:
                raise KubectlError("kubectl exec: the command is missing, as in `exec web -- sh`")
            query = [("command", word) for word in command.after_dashes or command.words[2:]]
        if subresource == "portforward" and len(before) > 1:
            before.append(KubectlRequest("GET", url_of(_core("pods"), command.namespace, pod), "and its pod"))
        url = url_of(_core("pods"), command.namespace, pod, subresource)
        url += f"?{urlencode(query)}" if query else ""
        return [*before, KubectlRequest("GET", url, _WEBSOCKET), KubectlRequest("POST", url, _SPDY)]

    return handler


def _cp(command: _Command) -> _Requests:
    remote = next((word for word in command.words[1:] if ":" in word), None)
    if remote is None:
        raise KubectlError("kubectl cp: neither side is a pod, as in `cp web:/etc/passwd .`")
    pod = remote.partition(":")[0]
    namespace, slash, name = pod.partition("/")
    inner = _Command(["exec", name if slash else pod, "tar"], dict(command.flags))
    if slash:
        inner.flags["--namespace"] = namespace
    return _stream("exec")(inner)


def _delete(command: _Command) -> _Requests:
    requests = []
    for resource, name in command.objects():
        if name:
            url = url_of(resource, command.namespace, name)
            requests.append(KubectlRequest("DELETE", url, "with DeleteOptions as body"))
            continue
        if "--all" not in command.flags and "--selector" not in command.flags:
            raise KubectlError("kubectl delete: a name, --all or -l is missing")
        selector = {"labelSelector": command.flags["--selector"]} if "--selector" in command.flags else {}
        requests.append(KubectlRequest("GET", url_of(resource, command.namespace, **selector), "kubectl lists first"))
        url = url_of(resource, command.namespace, "each")
        requests.append(KubectlRequest("DELETE", url, "one request for each object found, no deletecollection"))
    return requests


def _create(command: _Command) -> _Requests:
    if len(command.words) == 1:
        command.objects()
    if command.words[1] == "token":
        account = command.word(2, "a service account")
        url = url_of(_core("serviceaccounts"), command.namespace, account, "token")
        return [KubectlRequest("POST", url, "the response holds the token")]
    resource = resource_of(command.words[1].partition("/")[0])
    query = {"dryRun": "All"} if command.flags.get("--dry-run") == "server" else {}
    return [KubectlRequest("POST", url_of(resource, command.namespace, **query), "the name is only in the body")]


def _apply(command: _Command) -> _Requests:
    requests = []
    for resource, name in command.objects():
        url = url_of(resource, command.namespace, name)
        if "--server-side" in command.flags:
            requests.append(KubectlRequest("PATCH", url, "server-side apply; creates the object when it is new"))
            continue
        requests.append(KubectlRequest("GET", url, _SECOND_GET))
        requests.append(KubectlRequest("POST", url_of(resource, command.namespace), "when the object is new"))
        requests.append(KubectlRequest("PATCH", url, "when the object is there and differs"))
    return requests


def _change(method: str, note: str, subresource: str = "", start: int = 1) -> Callable[[_Command], _Requests]:
    def handler(command: _Command) -> _Requests:
        requests = []
        for resource, name in _named(command, start):
            requests.append(KubectlRequest("GET", url_of(resource, command.namespace, name), _SECOND_GET))
            below = command.flags.get("--subresource", subresource)
            requests.append(KubectlRequest(method, url_of(resource, command.namespace, name, below), note))
        return requests

    return handler


def _named(command: _Command, start: int) -> list[tuple[builtin.Resource, str]]:
    """Read the objects that are changed; a=b, a- and key=value:Effect are what is done to them."""
    kept = [word for word in command.words[start:] if "=" not in word and not word.endswith("-")]
    objects = _Command([*command.words[:start], *kept], command.flags).objects(start)
    if any(not name for _, name in objects):
        raise KubectlError(f"kubectl {command.words[0]}: a name is missing")
    return objects


def _node(command: _Command, index: int = 1) -> str:
    return command.word(index, "a node").removeprefix("node/").removeprefix("nodes/")


def _cordon(command: _Command) -> _Requests:
    url = url_of(_core("nodes"), "", _node(command))
    return [KubectlRequest("GET", url, _SECOND_GET), KubectlRequest("PATCH", url, "spec.unschedulable")]


def _drain(command: _Command) -> _Requests:
    node = _node(command)
    pods = url_of(_core("pods"), "", fieldSelector=f"spec.nodeName={node}")
    return [
        *_cordon(command),
        KubectlRequest("GET", pods, "the pods of the node"),
        KubectlRequest("POST", url_of(_core("pods"), "default", "each", "eviction"), "for each pod"),
    ]


def _debug(command: _Command) -> _Requests:
    target = command.word(1, "a pod or node")
    pods = _core("pods")
    if target.startswith(("node/", "nodes/")):
        node = _node(command)
        made = KubectlRequest("POST", url_of(pods, command.namespace), "a pod on the node, with its root mounted")
        before = [KubectlRequest("GET", url_of(_core("nodes"), "", node), _SECOND_GET), made]
        return [*before, *_attach_to(command, f"node-debugger-{node}-...")]
    before, pod = _find_pod(command)
    if len(before) > 1:
        raise KubectlError(f"kubectl debug is for pods and nodes, not for {target}")
    if "--copy-to" in command.flags:
        before.append(KubectlRequest("POST", url_of(pods, command.namespace), "a copy of the pod"))
        return [*before, *_attach_to(command, command.flags["--copy-to"])]
    url = url_of(pods, command.namespace, pod, "ephemeralcontainers")
    return [*before, KubectlRequest("PATCH", url, "the new container"), *_attach_to(command, pod)]


def _attach_to(command: _Command, pod: str) -> _Requests:
    """Give what -i sends to a pod that was just made."""
    if not command.is_interactive:
        return []
    url = url_of(_core("pods"), command.namespace, pod, "attach")
    return [KubectlRequest("GET", url, _WEBSOCKET), KubectlRequest("POST", url, _SPDY)]


def _run(command: _Command) -> _Requests:
    pods, name = _core("pods"), command.word(1, "a name")
    made = KubectlRequest("POST", url_of(pods, command.namespace), "the name is only in the body")
    gone = KubectlRequest("DELETE", url_of(pods, command.namespace, name), "at the end")
    return [made, *_attach_to(command, name), *([gone] if "--rm" in command.flags else [])]


def _expose(command: _Command) -> _Requests:
    gets = [KubectlRequest("GET", url_of(r, command.namespace, n), _SECOND_GET) for r, n in _named(command, 1)]
    return [*gets, KubectlRequest("POST", url_of(_core("services"), command.namespace))]


def _autoscale(command: _Command) -> _Requests:
    gets = [KubectlRequest("GET", url_of(r, command.namespace, n), _SECOND_GET) for r, n in _named(command, 1)]
    return [
        *gets,
        KubectlRequest("POST", url_of(_builtin("autoscaling", "horizontalpodautoscalers"), command.namespace)),
    ]


def _review(name: str, group: str = "authorization.k8s.io") -> Callable[[_Command], _Requests]:
    def handler(command: _Command) -> _Requests:
        kind = "selfsubjectrulesreviews" if "--list" in command.flags else name
        return [KubectlRequest("POST", url_of(_builtin(group, kind), ""), "audited as a create")]

    return handler


def _certificate(command: _Command) -> _Requests:
    name = command.word(2, "a certificate signing request")
    resource = _builtin("certificates.k8s.io", "certificatesigningrequests")
    return [
        KubectlRequest("GET", url_of(resource, "", name), _SECOND_GET),
        KubectlRequest("PUT", url_of(resource, "", name, "approval")),
    ]


def _top(command: _Command) -> _Requests:
    what = resource_of(command.word(1, "pods or nodes"))
    metrics = builtin.Resource("metrics.k8s.io", what.name, what.singular, what.is_namespaced, (), ())
    namespace = "" if "--all-namespaces" in command.flags else command.namespace
    name = command.words[2] if len(command.words) > 2 else ""
    return [KubectlRequest("GET", url_of(metrics, namespace, name))]


def _watch_one(start: int) -> Callable[[_Command], _Requests]:
    def handler(command: _Command) -> _Requests:
        requests = []
        for resource, name in _named(command, start):
            selector = {"fieldSelector": f"metadata.name={name}"}
            requests.append(KubectlRequest("GET", url_of(resource, command.namespace, **selector)))
            requests.append(KubectlRequest("GET", url_of(resource, command.namespace, **selector, watch="true")))
        return requests

    return handler


def _urls(*urls: str) -> Callable[[_Command], _Requests]:
    return lambda _command: [KubectlRequest("GET", url) for url in urls]


def _proxy(_command: _Command) -> _Requests:
    raise KubectlError(
        "kubectl proxy sends nothing by itself; ask about what goes through it with --method and --url, "
        "such as --url /api/v1/nodes/n1/proxy/pods"
    )


_COMMANDS: dict[str, Callable[[_Command], _Requests]] = {
    "annotate": _change("PATCH", ""),
    "api-resources": _urls("/api", "/apis"),
    "api-versions": _urls("/api", "/apis"),
    "apply": _apply,
    "attach": _stream("attach"),
    "auth can-i": _review("selfsubjectaccessreviews"),
    "auth whoami": _review("selfsubjectreviews", "authentication.k8s.io"),
    "autoscale": _autoscale,
    "certificate approve": _certificate,
    "certificate deny": _certificate,
    "cluster-info": _urls(
        "/api/v1/namespaces/kube-system/services?labelSelector=kubernetes.io%2Fcluster-service%3Dtrue"
    ),
    "cordon": _cordon,
    "cp": _cp,
    "create": _create,
    "debug": _debug,
    "delete": _delete,
    "describe": _describe,
    "drain": _drain,
    "edit": _change("PATCH", "when something was changed"),
    "events": lambda command: _get(_Command(["get", "events"], command.flags)),
    "exec": _stream("exec"),
    "explain": _urls("/openapi/v3"),
    "expose": _expose,
    "get": _get,
    "label": _change("PATCH", ""),
    "logs": _logs,
    "patch": _change("PATCH", ""),
    "port-forward": _stream("portforward"),
    "proxy": _proxy,
    "replace": _change("PUT", ""),
    "rollout history": _change("GET", "and the replicasets or controllerrevisions", start=2),
    "rollout pause": _change("PATCH", "", start=2),
    "rollout restart": _change("PATCH", "", start=2),
    "rollout resume": _change("PATCH", "", start=2),
    "rollout status": _watch_one(2),
    "rollout undo": _change("PATCH", "", start=2),
    "run": _run,
    "scale": _change("PATCH", "the scale subresource, not the object", "scale"),
    "set env": _change("PATCH", "", start=2),
    "set image": _change("PATCH", "", start=2),
    "set resources": _change("PATCH", "", start=2),
    "taint": _change("PATCH", "spec.taints"),
    "top": _top,
    "uncordon": _cordon,
    "version": _urls("/version"),
    "wait": _watch_one(1),
}
