"""
The derived fields, each defined once, as an expression over what the Event holds.

`action`, `actor.kind`, `outcome` and the others are the same on raw scans, in the store, in filters and in streams,
because each engine is given these trees (`expand`) and no engine has its own idea of them.

Verbs mislead: `kubectl exec` is a get or a create, minting a token is a create, so is asking what one may do.
Follows the audit behaviour of kube-apiserver 1.36 as measured; names are by identity, not by trust: whoever holds the
token of a controller is called a controller.
"""

from functools import cache

from kubewitness.event.expr import (
    EACH,
    FALSE,
    NULL,
    TRUE,
    And,
    Any,
    At,
    Case,
    Coalesce,
    Compare,
    Element,
    Entry,
    Expr,
    In,
    IsNull,
    Json,
    Literal,
    Not,
    Or,
    Query,
    Ref,
    Text,
    UrlPath,
    equals,
    rebuild,
)

VERBS = (
    "",
    "connect",
    "create",
    "delete",
    "deletecollection",
    "get",
    "head",
    "list",
    "options",
    "patch",
    "post",
    "put",
    "trace",
    "update",
    "watch",
)
"""The verbs that are actions too. Any HTTP method may be sent: `EXEC /x` has the verb exec and the action other."""

_VERB = Ref("verb")
_RESOURCE = Ref("objectRef.resource")
_GROUP = Ref("objectRef.apiGroup")
_SUBRESOURCE = Ref("objectRef.subresource")
_USER = Ref("user.username")
_CODE = Ref("responseStatus.code")
_URI = Ref("requestURI")
_WRITES = In(_VERB, ("create", "update", "patch"))

UNNAMED = (
    "localsubjectaccessreviews",
    "selfsubjectaccessreviews",
    "selfsubjectreviews",
    "selfsubjectrulesreviews",
    "subjectaccessreviews",
    "tokenreviews",
)
"""Resources that are questions: a create stores nothing, and there is no object to name."""

COMPONENTS = ("system:kube-controller-manager", "system:kube-scheduler", "system:cloud-controller-manager")
"""The control plane's own users, besides the controllers."""

CONTROLLERS = tuple(
    f"system:serviceaccount:kube-system:{name}"
    for name in (
        "attachdetach-controller",
        "bootstrap-signer",
        "certificate-controller",
        "clusterrole-aggregation-controller",
        "cronjob-controller",
        "daemon-set-controller",
        "deployment-controller",
        "device-taint-eviction-controller",
        "disruption-controller",
        "endpoint-controller",
        "endpointslice-controller",
        "endpointslicemirroring-controller",
        "ephemeral-volume-controller",
        "expand-controller",
        "generic-garbage-collector",
        "horizontal-pod-autoscaler",
        "job-controller",
        "legacy-service-account-token-cleaner",
        "namespace-controller",
        "node-controller",
        "persistent-volume-binder",
        "pod-garbage-collector",
        "pv-protection-controller",
        "pvc-protection-controller",
        "replicaset-controller",
        "replication-controller",
        "resource-claim-controller",
        "resourcequota-controller",
        "root-ca-cert-publisher",
        "route-controller",
        "selinux-warning-controller",
        "service-account-controller",
        "service-ca-cert-publisher",
        "service-cidrs-controller",
        "service-controller",
        "statefulset-controller",
        "storage-version-migrator-controller",
        "taint-eviction-controller",
        "token-cleaner",
        "ttl-after-finished-controller",
        "ttl-controller",
        "validatingadmissionpolicy-status-controller",
        "volumeattributesclass-protection-controller",
    )
)
"""The service accounts of kube-controller-manager's controllers; a closed list, as anyone may add another account."""


def _asks(resource: str, *subresources: str) -> And:
    return And((equals(_RESOURCE, resource), equals(_SUBRESOURCE, *subresources)))


KUBELET_EXEC = And(
    (
        _asks("nodes", "proxy"),
        Or((Text("contains", UrlPath(_URI), "/proxy/run/"), Text("contains", UrlPath(_URI), "/proxy/exec/"))),
    )
)
"""A command run in a container through the kubelet's own API, around the pods/exec subresource."""

REFUSED_IMPERSONATION = And(
    (Compare("=", _CODE, Literal(403)), Text("contains", Ref("responseStatus.message"), "cannot impersonate"))
)
"""Nothing but this sentence tells that somebody tried to act as another."""

_ACTION = Case(
    (
        (Or((equals(_SUBRESOURCE, "exec"), KUBELET_EXEC)), Literal("exec")),
        (equals(_SUBRESOURCE, "attach", "portforward", "proxy"), _SUBRESOURCE),
        (equals(_VERB, "proxy"), Literal("proxy")),
        (_asks("pods", "log"), Literal("log")),
        (And((equals(_VERB, "create"), _asks("serviceaccounts", "token"))), Literal("token")),
        (And((equals(_VERB, "create"), _asks("pods", "eviction"))), Literal("evict")),
        (And((equals(_VERB, "create"), _asks("pods", "binding"))), Literal("schedule")),
        (And((equals(_VERB, "update", "patch"), _asks("pods", "ephemeralcontainers"))), Literal("debug")),
        (And((equals(_VERB, "update", "patch"), equals(_SUBRESOURCE, "scale"))), Literal("scale")),
        (And((equals(_VERB, "update", "patch"), _asks("certificatesigningrequests", "approval"))), Literal("approve")),
        (
            And(
                (
                    _WRITES,
                    In(_RESOURCE, ("clusterrolebindings", "rolebindings")),
                    equals(_GROUP, "rbac.authorization.k8s.io"),
                )
            ),
            Literal("bind"),
        ),
        (And((equals(_VERB, "create"), In(_RESOURCE, UNNAMED))), Literal("review")),
        (REFUSED_IMPERSONATION, Literal("impersonate")),
        (In(_VERB, VERBS), _VERB),
        (IsNull(_VERB), NULL),
    ),
    Literal("other"),
)

_ACTOR_KIND = Case(
    (
        (Or((IsNull(_USER), equals(_USER, ""))), Literal("unauthenticated")),
        (equals(_USER, "system:anonymous"), Literal("anonymous")),
        (equals(_USER, "system:apiserver"), Literal("apiserver")),
        (In(_USER, COMPONENTS + CONTROLLERS), Literal("controller")),
        (Text("prefix", _USER, "system:serviceaccount:"), Literal("serviceaccount")),
        (
            Or(
                (
                    Text("prefix", _USER, "system:node:"),
                    Text("prefix", _USER, "system:bootstrap:"),
                    equals(_USER, "system:kube-proxy"),
                )
            ),
            Literal("node"),
        ),
    ),
    Literal("human"),
)

_OUTCOME = Case(
    (
        (IsNull(_CODE), NULL),
        (In(_CODE, (401, 403)), Literal("denied")),
        (Compare(">=", _CODE, Literal(400)), Literal("failed")),
    ),
    Literal("allowed"),
)

_BODY = Ref("requestObject")
_QUERY_DRY = Any(Query(_URI, ("dryRun",)), equals(Element(), "All"))


def _body_dry(*steps: str) -> Any:
    return Any(Json(_BODY, (*steps, "dryRun", EACH)), equals(Element(), "All"))


_BODY_IS_RECORDED = And(
    (equals(Ref("level"), "Request", "RequestResponse"), equals(Ref("stage"), "ResponseComplete", "Panic"))
)
# A delete takes its options from the body and, only if there is none, from the query; an eviction from either.
_DRYRUN = Case(
    (
        (
            In(_VERB, ("delete", "deletecollection")),
            Case(((Not(IsNull(_BODY)), _body_dry()), (_BODY_IS_RECORDED, _QUERY_DRY)), NULL),
        ),
        (And((_WRITES, _QUERY_DRY)), TRUE),
        (
            And((equals(_VERB, "create"), _asks("pods", "eviction"))),
            Case(((Not(IsNull(_BODY)), _body_dry("deleteOptions")),), NULL),
        ),
    ),
    FALSE,
)

DERIVED: dict[str, Expr] = {
    "action": _ACTION,
    "actor.kind": _ACTOR_KIND,
    "credential.id": At(Entry(Ref("user.extra"), "authentication.kubernetes.io/credential-id"), 0),
    "credential.issued": Entry(Ref("annotations"), "authentication.kubernetes.io/issued-credential-id"),
    "dryrun": _DRYRUN,
    "exec.command": Case(
        (
            (equals(_SUBRESOURCE, "exec"), Query(_URI, ("command",))),
            (KUBELET_EXEC, Query(_URI, ("command", "cmd"))),
        ),
        NULL,
    ),
    "object.name": Coalesce(
        (
            Ref("objectRef.name"),
            Case(((equals(_VERB, "create"), Json(Ref("responseObject"), ("metadata", "name"))),), NULL),
        )
    ),
    "outcome": _OUTCOME,
    "source.peer": At(Ref("sourceIPs"), -1),
    "truncated": Case(((equals(Entry(Ref("annotations"), "audit.k8s.io/truncated"), "true"), TRUE),), FALSE),
}
"""Wire path of each derived field, and what it is."""


@cache
def expand(expr: Expr) -> Expr:
    """Give the same expression with every derived field replaced by what it is."""
    if isinstance(expr, Ref) and expr.path in DERIVED:
        return DERIVED[expr.path]
    return rebuild(expr, expand)
