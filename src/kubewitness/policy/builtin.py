"""
The resources that every Kubernetes API server knows: what a policy may name, and what people write instead.

A table of group, resource, singular, short names, scope and subresources, as of Kubernetes 1.36. Custom resources
are not here: a name in a group that is not in `GROUPS` is nobody's mistake.
"""

from dataclasses import dataclass

# plural  singular  scope (n: namespaced, c: cluster)  subresources  short names
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
        pods pod n attach,binding,ephemeralcontainers,eviction,exec,log,portforward,proxy,resize,status po
        podtemplates podtemplate n - -
        replicationcontrollers replicationcontroller n scale,status rc
        resourcequotas resourcequota n status quota
        secrets secret n - -
        serviceaccounts serviceaccount n token sa
        services service n proxy,status svc
    """,
    "admissionregistration.k8s.io": """
        mutatingadmissionpolicies mutatingadmissionpolicy c - -
        mutatingadmissionpolicybindings mutatingadmissionpolicybinding c - -
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
        podcertificaterequests podcertificaterequest n status -
    """,
    "coordination.k8s.io": """
        leasecandidates leasecandidate n - -
        leases lease n - -
    """,
    "discovery.k8s.io": "endpointslices endpointslice n - -",
    "events.k8s.io": "events event n - ev",
    "flowcontrol.apiserver.k8s.io": """
        flowschemas flowschema c status -
        prioritylevelconfigurations prioritylevelconfiguration c status -
    """,
    "networking.k8s.io": """
        ingressclasses ingressclass c - -
        ingresses ingress n status ing
        ipaddresses ipaddress c - ip
        networkpolicies networkpolicy n - netpol
        servicecidrs servicecidr c status -
    """,
    "node.k8s.io": "runtimeclasses runtimeclass c - -",
    "policy": "poddisruptionbudgets poddisruptionbudget n status pdb",
    "rbac.authorization.k8s.io": """
        clusterrolebindings clusterrolebinding c - -
        clusterroles clusterrole c - -
        rolebindings rolebinding n - -
        roles role n - -
    """,
    "resource.k8s.io": """
        deviceclasses deviceclass c - -
        resourceclaims resourceclaim n status -
        resourceclaimtemplates resourceclaimtemplate n - -
        resourceslices resourceslice c - -
    """,
    "scheduling.k8s.io": "priorityclasses priorityclass c - pc",
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


@dataclass(frozen=True, slots=True)
class Resource:
    """One built-in resource."""

    group: str
    name: str
    singular: str
    is_namespaced: bool
    subresources: tuple[str, ...]
    short_names: tuple[str, ...]


def _read() -> tuple[Resource, ...]:
    resources = []
    for group, lines in _TABLE.items():
        for line in lines.strip().splitlines():
            name, singular, scope, subresources, short = line.split()
            resources.append(
                Resource(group, name, singular, scope == "n", _listed(subresources), _listed(short)),
            )
    return tuple(resources)


def _listed(text: str) -> tuple[str, ...]:
    return () if text == "-" else tuple(text.split(","))


RESOURCES = _read()
GROUPS = frozenset(_TABLE)


def find(group: str, name: str) -> Resource | None:
    """Give the built-in resource of this plural name in this group."""
    return next((r for r in RESOURCES if (r.group, r.name) == (group, name)), None)


def by_any_name(word: str) -> tuple[Resource, ...]:
    """Give the resources that people mean by a word: plural, singular, kind or short name, whatever its case."""
    wanted = word.lower()
    return tuple(r for r in RESOURCES if wanted in (r.name, r.singular, *r.short_names))


def names(group: str) -> list[str]:
    """Give the plural names of a group."""
    return [r.name for r in RESOURCES if r.group == group]
