"""The named claims: what one wants to be true of most policies, in the form that `claims` reads."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Named:
    """The claims that a name stands for, and what they say together."""

    claims: tuple[str, ...]
    meaning: str


_RBAC = ",".join(
    f"{kind}.rbac.authorization.k8s.io" for kind in ("roles", "rolebindings", "clusterroles", "clusterrolebindings")
)
_HOOKS = ",".join(
    f"{kind}.admissionregistration.k8s.io"
    for kind in (
        "mutatingwebhookconfigurations",
        "validatingwebhookconfigurations",
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicybindings",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
    )
)
_WORKLOADS = "pods,deployments.apps,daemonsets.apps,statefulsets.apps,replicasets.apps,jobs.batch,cronjobs.batch"
_REVIEWS = "tokenreviews.authentication.k8s.io"
_CSR = "certificatesigningrequests.certificates.k8s.io"
_CHANGES = "create,update,patch,delete,deletecollection"

CIS_SECRETS = (
    f"secrets,configmaps,{_REVIEWS} never above Metadata",
    f"secrets,configmaps,{_REVIEWS} always at least Metadata",
)
CIS_CHANGES = (f"pods,deployments.apps always at least Metadata when verb in {_CHANGES}",)
CIS_COMMANDS = ("pods/exec,pods/portforward,pods/proxy,services/proxy always at least Metadata",)
STIG_EVERYTHING = ("* always RequestResponse",)
PCI_ACCESS = (
    "* always at least Metadata when group in system:masters",
    "secrets always at least Metadata",
)
PCI_OUTCOME = ("* always at least Metadata at ResponseComplete unless verb in watch",)
PCI_ACCOUNTS = (
    f"{_RBAC} always at least Request when verb in create,update,patch",
    f"{_RBAC} always at least Metadata when verb in delete,deletecollection",
    "serviceaccounts,serviceaccounts/token always at least Metadata when verb in create,update,patch,delete",
    f"{_CSR},{_CSR}/approval always at least Metadata when verb in create,update,patch",
)

NAMED: dict[str, Named] = {
    "cis-3.2.2": Named(
        (*CIS_SECRETS, *CIS_CHANGES, *CIS_COMMANDS),
        "Secrets, ConfigMaps and TokenReviews at Metadata exactly; changes of Pods and Deployments recorded; "
        "`pods/exec`, `pods/portforward`, `pods/proxy`, `services/proxy` recorded",
    ),
    "stig-v-242403": Named(STIG_EVERYTHING, "everything at RequestResponse, which contradicts `cis-3.2.2`"),
    "pci-10.2": Named(
        (*PCI_ACCESS, *PCI_OUTCOME, *PCI_ACCOUNTS),
        "what the group system:masters does and every request for Secrets recorded; the outcome of everything but "
        "watches; changes of roles and bindings with bodies, of service accounts, tokens and certificates recorded",
    ),
    "no-secret-bodies": Named(
        (
            "secrets never above Metadata",
            f"{_REVIEWS} never above Metadata when verb in create",
            "serviceaccounts/token never above Request when verb in create",
        ),
        "Secrets never above Metadata; created TokenReviews (the token is in the request) never above Metadata; "
        "created `serviceaccounts/token` (the token is in the response) never above Request",
    ),
    "exec-visible": Named(
        ("pods/exec,pods/attach,pods/portforward always at least Metadata at ResponseStarted",),
        "`pods/exec`, `pods/attach`, `pods/portforward` recorded at ResponseStarted, whatever the verb: WebSocket "
        "clients use GET",
    ),
    "proxies-visible": Named(
        ("pods/proxy,services/proxy,nodes/proxy always at least Metadata",),
        "requests through the proxies of pods, services and nodes (the kubelet's own API) recorded",
    ),
    "rbac-changes-with-bodies": Named(
        (
            f"{_RBAC} always at least Request at ResponseComplete when verb in create,update,patch",
            f"{_RBAC} always at least Metadata at ResponseComplete when verb in delete,deletecollection",
        ),
        "create, update, patch of Roles, ClusterRoles and their bindings with the request body at ResponseComplete; "
        "their deletion recorded",
    ),
    "workload-changes-with-bodies": Named(
        (
            f"{_WORKLOADS} always at least Request at ResponseComplete when verb in create,update,patch",
            "pods/ephemeralcontainers always at least Request at ResponseComplete when verb in update,patch",
        ),
        "create, update, patch of pods and of what makes pods, debug containers included, with the request body",
    ),
    "admission-changes-with-bodies": Named(
        (
            f"{_HOOKS} always at least Request at ResponseComplete when verb in create,update,patch",
            f"{_HOOKS} always at least Metadata at ResponseComplete when verb in delete,deletecollection",
        ),
        "webhooks and admission policies: changes with the request body, deletion recorded",
    ),
    "secret-reads-visible": Named(
        ("secrets always at least Metadata at ResponseComplete when verb in get,list",),
        "every get and list of Secrets recorded, by whomever",
    ),
    "tokens-visible": Named(
        (
            "serviceaccounts/token always at least Metadata at ResponseComplete when verb in create",
            f"{_CSR},{_CSR}/approval always at least Metadata at ResponseComplete when verb in create,update,patch",
        ),
        "every token and client certificate that is asked for or approved recorded",
    ),
    "deletions-visible": Named(
        ("* always at least Metadata at ResponseComplete when verb in delete,deletecollection",),
        "every deletion recorded, of events too",
    ),
    "failed-logins-visible": Named(
        ("* always at least Metadata at ResponseStarted unless group in system:authenticated,system:unauthenticated",),
        "requests whose authentication failed (401, which belong to no group) recorded at their only stage",
    ),
    "anonymous-visible": Named(
        ("* always at least Metadata when user in system:anonymous",),
        "what strangers ask recorded, probes of /healthz, /livez and /readyz included",
    ),
    "admins-visible": Named(
        ("* always at least Metadata at ResponseComplete when group in system:masters unless verb in watch",),
        "whatever a member of system:masters does recorded",
    ),
    "outcomes-visible": Named(
        PCI_OUTCOME,
        "whether a request succeeded recorded, for all but watches",
    ),
}
