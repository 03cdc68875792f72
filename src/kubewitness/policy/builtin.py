"""
The resources that every Kubernetes API server knows: what a policy may name, and what people write instead.

A table of group, resource, singular, short names, scope and subresources for Kubernetes 1.30 to 1.36, alpha and beta
kinds included, because they can be switched on. `name@1.32` came with that version, `name@-1.31` was last in it.
Custom resources are not here (`catalogue` adds those of the user): a name in a group that is not in `GROUPS` is
nobody's mistake.
"""

from dataclasses import dataclass

# plural[@versions]  singular  scope (n: namespaced, c: cluster)  subresources  short names
_TABLE = {
    "": """
        bindings binding n - -
        componentstatuses componentstatus c - cs
        configmaps configmap n - cm
        endpoints endpoint n - ep
        events event n - ev
        limitranges limitrange n - limits
        namespaces namespace c finalize,status ns
        nodes node c proxy,status no
        persistentvolumeclaims persistentvolumeclaim n status pvc
        persistentvolumes persistentvolume c status pv
        pods pod n attach,binding,ephemeralcontainers,eviction,exec,log,portforward,proxy,resize@1.32,status po
        podtemplates podtemplate n - -
        replicationcontrollers replicationcontroller n scale,status rc
        resourcequotas resourcequota n status quota
        secrets secret n - -
        serviceaccounts serviceaccount n token sa
        services service n proxy,status svc
    """,
    "admissionregistration.k8s.io": """
        mutatingadmissionpolicies@1.32 mutatingadmissionpolicy c - -
        mutatingadmissionpolicybindings@1.32 mutatingadmissionpolicybinding c - -
        mutatingwebhookconfigurations mutatingwebhookconfiguration c - -
        validatingadmissionpolicies validatingadmissionpolicy c status -
        validatingadmissionpolicybindings validatingadmissionpolicybinding c - -
        validatingwebhookconfigurations validatingwebhookconfiguration c - -
    """,
    "apiextensions.k8s.io": "customresourcedefinitions customresourcedefinition c status crd,crds",
    "apiregistration.k8s.io": "apiservices apiservice c status -",
    "apps": """
        controllerrevisions controllerrevision n - -
        daemonsets daemonset n status ds
        deployments deployment n scale,status deploy
        replicasets replicaset n scale,status rs
        statefulsets statefulset n scale,status sts
    """,
    "authentication.k8s.io": """
        selfsubjectreviews selfsubjectreview c - -
        tokenreviews tokenreview c - -
    """,
    "authorization.k8s.io": """
        localsubjectaccessreviews localsubjectaccessreview n - -
        selfsubjectaccessreviews selfsubjectaccessreview c - -
        selfsubjectrulesreviews selfsubjectrulesreview c - -
        subjectaccessreviews subjectaccessreview c - -
    """,
    "autoscaling": "horizontalpodautoscalers horizontalpodautoscaler n status hpa",
    "batch": """
        cronjobs cronjob n status cj
        jobs job n status -
    """,
    "certificates.k8s.io": """
        certificatesigningrequests certificatesigningrequest c approval,status csr
        clustertrustbundles clustertrustbundle c - -
        podcertificaterequests@1.34 podcertificaterequest n status -
    """,
    "coordination.k8s.io": """
        leasecandidates@1.31 leasecandidate n - -
        leases lease n - -
    """,
    "discovery.k8s.io": "endpointslices endpointslice n - -",
    "events.k8s.io": "events event n - ev",
    "flowcontrol.apiserver.k8s.io": """
        flowschemas flowschema c status -
        prioritylevelconfigurations prioritylevelconfiguration c status -
    """,
    "internal.apiserver.k8s.io": "storageversions storageversion c status -",
    "networking.k8s.io": """
        ingressclasses ingressclass c - -
        ingresses ingress n status ing
        ipaddresses ipaddress c - ip
        networkpolicies networkpolicy n - netpol
        servicecidrs servicecidr c status -
    """,
    "node.k8s.io": "runtimeclasses runtimeclass c - -",
    "policy": """
        poddisruptionbudgets poddisruptionbudget n status pdb
        podsecuritypolicies@-1.24 podsecuritypolicy c - psp
    """,
    "rbac.authorization.k8s.io": """
        clusterrolebindings clusterrolebinding c - -
        clusterroles clusterrole c - -
        rolebindings rolebinding n - -
        roles role n - -
    """,
    "resource.k8s.io": """
        deviceclasses@1.31 deviceclass c - -
        devicetaintrules@1.33 devicetaintrule c status -
        podschedulingcontexts@-1.31 podschedulingcontext n status -
        resourceclaimparameters@-1.30 resourceclaimparameters n - -
        resourceclaims resourceclaim n binding,driver,status -
        resourceclaimtemplates resourceclaimtemplate n - -
        resourceclasses@-1.30 resourceclass c - -
        resourceclassparameters@-1.30 resourceclassparameters n - -
        resourcepoolstatusrequests@1.36 resourcepoolstatusrequest c status -
        resourceslices resourceslice c - -
    """,
    "scheduling.k8s.io": """
        podgroups@1.36 podgroup n status -
        priorityclasses priorityclass c - pc
        workloads@1.35 workload n - -
    """,
    "storage.k8s.io": """
        csidrivers csidriver c - -
        csinodes csinode c - -
        csistoragecapacities csistoragecapacity n - -
        storageclasses storageclass c - sc
        volumeattachments volumeattachment c status -
        volumeattributesclasses volumeattributesclass c - vac
    """,
    "storagemigration.k8s.io": "storageversionmigrations storageversionmigration c status -",
}


# groups that were, with the last version that served them
GONE_GROUPS = {"extensions": "1.21", "auditregistration.k8s.io": "1.18", "settings.k8s.io": "1.19"}

OBJECT_VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
_VERBS = {
    "componentstatuses": ("get", "list"),
    "namespaces": tuple(verb for verb in OBJECT_VERBS if verb != "deletecollection"),
}
_ONLY_CREATED = frozenset(("bindings", "selfsubjectreviews", "tokenreviews", "selfsubjectrulesreviews"))
_CHANGED = ("get", "update", "patch")
_SUBRESOURCE_VERBS = {
    "approval": _CHANGED,
    "attach": ("get", "create"),
    "binding": ("create",),
    "ephemeralcontainers": _CHANGED,
    "eviction": ("create",),
    "exec": ("get", "create"),
    "finalize": ("update",),
    "log": ("get",),
    "portforward": ("get", "create"),
    "proxy": ("get", "create", "update", "patch", "delete"),
    "resize": _CHANGED,
    "scale": _CHANGED,
    "status": _CHANGED,
    "token": ("create",),
}


@dataclass(frozen=True, slots=True)
class Versions:
    """The Kubernetes versions that serve something: from `since` to `until`, each "" when that is open."""

    since: str = ""
    until: str = ""

    def has(self, version: str) -> bool:
        """Say whether this version serves it."""
        return _number(self.since or version) <= _number(version) <= _number(self.until or version)


ALWAYS = Versions()


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource. `dated` holds the subresources that not every version has."""

    group: str
    name: str
    singular: str
    is_namespaced: bool
    subresources: tuple[str, ...]
    short_names: tuple[str, ...]
    versions: Versions = ALWAYS
    dated: tuple[tuple[str, Versions], ...] = ()

    @property
    def verbs(self) -> tuple[str, ...]:
        """The verbs that the resource serves."""
        if self.name in _ONLY_CREATED or self.name.endswith("accessreviews"):
            return ("create",)
        return _VERBS.get(self.name, OBJECT_VERBS)

    def verbs_of(self, subresource: str) -> tuple[str, ...]:
        """Give the verbs that a subresource serves, or for "" those of the resource; () when that is not known."""
        if subresource == "":
            return self.verbs
        return _SUBRESOURCE_VERBS.get(subresource, ())

    def versions_of(self, subresource: str) -> Versions:
        """Give the versions that serve the resource, or one subresource of it."""
        return dict(self.dated).get(subresource, self.versions)


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _read() -> tuple[Resource, ...]:
    resources = []
    for group, lines in _TABLE.items():
        for line in lines.strip().splitlines():
            dated_name, singular, scope, subresources, short = line.split()
            name, versions = _dated(dated_name)
            pairs = [_dated(text) for text in _listed(subresources)]
            resources.append(
                Resource(
                    group,
                    name,
                    singular,
                    scope == "n",
                    tuple(name for name, _ in pairs),
                    _listed(short),
                    versions,
                    tuple(pair for pair in pairs if pair[1] != ALWAYS),
                )
            )
    return tuple(resources)


def _listed(text: str) -> tuple[str, ...]:
    return () if text == "-" else tuple(text.split(","))


def _dated(text: str) -> tuple[str, Versions]:
    """Read name, name@since or name@-until."""
    name, _, versions = text.partition("@")
    since, _, until = versions.partition("-")
    return name, Versions(since, until) if versions else ALWAYS


RESOURCES = _read()
GROUPS = frozenset(_TABLE)
_BY_NAME = {(resource.group, resource.name): resource for resource in RESOURCES}


def find(group: str, name: str) -> Resource | None:
    """Give the built-in resource of this plural name in this group."""
    return _BY_NAME.get((group, name))


def by_any_name(word: str) -> tuple[Resource, ...]:
    """Give the resources that people mean by a word: plural, singular, kind or short name, whatever its case."""
    wanted = word.lower()
    return tuple(r for r in RESOURCES if wanted in (r.name, r.singular, *r.short_names))
