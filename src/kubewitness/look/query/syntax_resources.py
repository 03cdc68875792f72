"""
The names people use for resources: short names, singulars and kinds, and the plural that an Event has.

Follows the built-in resources of `kubectl api-resources` (1.36). Custom resources are not here; their plural is typed.
"""

from kubewitness._kit import lazy

_VERSION = lazy.pattern(r"\Av[0-9]+(?:(?:alpha|beta)[0-9]+)?\.")

_TABLE = """
apiservices APIService
bindings Binding
certificatesigningrequests CertificateSigningRequest csr
clusterrolebindings ClusterRoleBinding crb
clusterroles ClusterRole cr
clustertrustbundles ClusterTrustBundle
componentstatuses ComponentStatus cs
configmaps ConfigMap cm
controllerrevisions ControllerRevision
cronjobs CronJob cj
csidrivers CSIDriver
csinodes CSINode
csistoragecapacities CSIStorageCapacity
customresourcedefinitions CustomResourceDefinition crd crds
daemonsets DaemonSet ds
deployments Deployment deploy
deviceclasses DeviceClass
devicetaintrules DeviceTaintRule
endpoints Endpoints ep endpoint
endpointslices EndpointSlice
events Event ev
flowschemas FlowSchema
horizontalpodautoscalers HorizontalPodAutoscaler hpa
ingressclasses IngressClass
ingresses Ingress ing
ipaddresses IPAddress ip
jobs Job
leases Lease
limitranges LimitRange limits
localsubjectaccessreviews LocalSubjectAccessReview
mutatingadmissionpolicies MutatingAdmissionPolicy
mutatingadmissionpolicybindings MutatingAdmissionPolicyBinding
mutatingwebhookconfigurations MutatingWebhookConfiguration
namespaces Namespace ns
networkpolicies NetworkPolicy netpol
nodes Node no
persistentvolumeclaims PersistentVolumeClaim pvc
persistentvolumes PersistentVolume pv
poddisruptionbudgets PodDisruptionBudget pdb
pods Pod po
podtemplates PodTemplate
priorityclasses PriorityClass pc
prioritylevelconfigurations PriorityLevelConfiguration
replicasets ReplicaSet rs
replicationcontrollers ReplicationController rc
resourceclaims ResourceClaim
resourceclaimtemplates ResourceClaimTemplate
resourceslices ResourceSlice
resourcequotas ResourceQuota quota
rolebindings RoleBinding rb
roles Role
runtimeclasses RuntimeClass
secrets Secret
selfsubjectaccessreviews SelfSubjectAccessReview
selfsubjectreviews SelfSubjectReview
selfsubjectrulesreviews SelfSubjectRulesReview
serviceaccounts ServiceAccount sa
servicecidrs ServiceCIDR
services Service svc
statefulsets StatefulSet sts
storageclasses StorageClass sc
storageversionmigrations StorageVersionMigration
subjectaccessreviews SubjectAccessReview
tokenreviews TokenReview
validatingadmissionpolicies ValidatingAdmissionPolicy
validatingadmissionpolicybindings ValidatingAdmissionPolicyBinding
validatingwebhookconfigurations ValidatingWebhookConfiguration
volumeattachments VolumeAttachment
volumeattributesclasses VolumeAttributesClass vac
"""

PLURALS: dict[str, str] = {}
"""Lower-case name in use -> plural."""

for _line in _TABLE.split("\n"):
    for _name in _line.split():
        PLURALS[_name.lower()] = _line.split()[0]


def group_of(text: str) -> str:
    """Give the API group of what follows the first dot of NAME.GROUP or NAME.VERSION.GROUP; empty for the core."""
    group = _VERSION().sub("", text, count=1)
    return "" if group in {"core", "v1"} else group


def plural(name: str) -> str:
    """Give the plural of a resource named in any usual way; a name that is not built in is given back.

    A kind that is not built in (it begins with a capital) is given the plural that most custom resources have.
    """
    known = PLURALS.get(name.lower())
    if known is not None:
        return known
    if not name[:1].isupper():
        return name
    word = name.lower()
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "x", "z", "ch", "sh")) else "s")
