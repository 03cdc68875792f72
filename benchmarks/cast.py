"""
Who and what appears in the generated log: nodes, namespaces, service accounts, people, resources, names.

Drawn once from fixed seeds, so that every chunk in every process sees the same cluster.
"""

import random


def _words(text: str) -> list[str]:
    return text.split()


WORDS = _words(
    "api web worker cache queue auth gateway search index ledger billing notify mailer proxy agent operator batch "
    "stream sync report"
)
NAMESPACES = _words(
    "kube-system production staging default payments checkout search ml-platform observability argocd istio-system "
    "cert-manager ingress-nginx team-a team-b team-c data-eng kafka vault ci-runners"
)
CONTROLLERS = [
    ("kube-system", name)
    for name in _words(
        "generic-garbage-collector replicaset-controller deployment-controller endpointslice-controller "
        "endpoint-controller namespace-controller resourcequota-controller horizontal-pod-autoscaler coredns "
        "kube-proxy cronjob-controller job-controller statefulset-controller daemon-set-controller "
        "root-ca-cert-publisher node-controller pod-garbage-collector metrics-server cluster-autoscaler aws-node"
    )
] + [
    ("argocd", "argocd-application-controller"),
    ("argocd", "argocd-server"),
    ("cert-manager", "cert-manager"),
    ("cert-manager", "cert-manager-cainjector"),
    ("istio-system", "istiod"),
    ("ingress-nginx", "ingress-nginx"),
    ("observability", "prometheus-k8s"),
    ("observability", "kube-state-metrics"),
    ("observability", "grafana-agent"),
    ("vault", "vault"),
    ("vault", "external-secrets"),
    ("kafka", "strimzi-cluster-operator"),
    ("ml-platform", "kubeflow-pipelines"),
    ("ci-runners", "gitlab-runner"),
    ("ci-runners", "tekton-pipelines-controller"),
    ("payments", "payments-api"),
    ("checkout", "checkout-api"),
    ("search", "search-indexer"),
    ("data-eng", "spark-operator"),
]
HUMANS = [f"user-{number:02}@example.com" for number in range(1, 26)] + ["kubernetes-admin"]
CONTROLLER_AGENT = "kube-controller-manager/v1.33.4 (linux/amd64) kubernetes/74cdb2d/system:serviceaccount:kube-system:"
AGENTS = [
    "argocd-application-controller/v0.0.0 (linux/amd64) kubernetes/$Format",
    "Prometheus/3.1.0",
    "cert-manager-certificates-issuing/v1.16.2 (linux/amd64) cert-manager/1c5eb9c",
    "strimzi-cluster-operator/0.45.0",
    "Go-http-client/2.0",
    "pilot-discovery/1.24.2",
    "vault-secrets-operator/0.9.1 (linux/amd64)",
    "manager/v0.0.0 (linux/amd64) kubernetes/$Format/leader-election",
]
HUMAN_AGENTS = [
    "kubectl/v1.33.1 (darwin/arm64) kubernetes/8adc0f0",
    "kubectl/v1.32.2 (linux/amd64) kubernetes/67a30c0",
    "k9s/v0.40.5 (darwin/arm64) kubernetes/$Format",
    "Helm/3.17.1",
    "kubectl/v1.31.0 (windows/amd64) kubernetes/9edcffc",
    "Lens/2025.3.210 Electron/34",
    "Terraform/1.10.5 (+https://www.terraform.io) Terraform-Plugin-SDK/2.35.0",
]
_WEIGHTED = {
    ("", "v1"): "pods 22, endpoints 6, configmaps 12, services 6, serviceaccounts 4, namespaces 5, nodes 4",
    ("discovery.k8s.io", "v1"): "endpointslices 8",
    ("apps", "v1"): "deployments 7, replicasets 6, statefulsets 3, daemonsets 3",
    ("batch", "v1"): "jobs 3, cronjobs 1",
    ("autoscaling", "v2"): "horizontalpodautoscalers 2",
    ("policy", "v1"): "poddisruptionbudgets 2",
    ("networking.k8s.io", "v1"): "ingresses 2",
    ("cert-manager.io", "v1"): "certificates 2",
    ("argoproj.io", "v1alpha1"): "applications 3",
    ("kafka.strimzi.io", "v1beta2"): "kafkatopics 1",
    ("networking.istio.io", "v1"): "virtualservices 2",
    ("external-secrets.io", "v1"): "externalsecrets 2",
    ("apiextensions.k8s.io", "v1"): "customresourcedefinitions 1",
    ("rbac.authorization.k8s.io", "v1"): "clusterroles 1",
    ("events.k8s.io", "v1"): "events 3",
}
RESOURCES = [
    (group, version, entry.split()[0])
    for (group, version), entries in _WEIGHTED.items()
    for entry in entries.split(", ")
    for _ in range(int(entry.split()[1]))
]

_rand = random.Random(20260301)
_NODE_PARTS = [(_rand.randrange(4), _rand.randrange(256), _rand.randrange(256)) for _ in range(150)]
NODES = [f"ip-10-{a}-{b}-{c}.eu-central-1.compute.internal" for a, b, c in _NODE_PARTS]
NODE_ADDRESSES = [f"10.{a}.{b}.{c}" for a, b, c in _NODE_PARTS]
NAMES = [
    f"{_rand.choice(WORDS)}-{_rand.choice(WORDS)}-{_rand.randrange(16**8):08x}-{_rand.randrange(16**5):05x}"
    for _ in range(6000)
]
SECRETS = [
    f"{_rand.choice(WORDS)}-{_rand.choice(['tls', 'token', 'credentials', 'db-password', 'registry', 'apikey'])}"
    for _ in range(400)
]
