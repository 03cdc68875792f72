"""
Where each distribution keeps what matters for auditing, and what a person has to do there after a change.

From the documentation of each: kubeadm, kind, k3s, rke2, k0s, minikube, Talos, microk8s. Managed clouds have no
kube-apiserver that one could set up; `CLOUDS` says how their log is turned on and fetched.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Distro:
    """One distribution: usual paths on the host, how the change takes effect, what to know."""

    name: str
    config: str
    policy: str
    log: str
    webhook: str
    restart: str
    advice: tuple[str, ...] = ()
    policy_mode: int = 0o600


_RANCHER = "/var/lib/rancher"
_MICROK8S = "/var/snap/microk8s"

DISTROS = {
    distro.name: distro
    for distro in (
        Distro(
            "kubeadm",
            "/etc/kubernetes/manifests/kube-apiserver.yaml",
            "/etc/kubernetes/audit-policy.yaml",
            "/var/log/kubernetes/audit/audit.log",
            "/etc/kubernetes/audit-webhook.yaml",
            "the kubelet restarts kube-apiserver by itself, within a minute",
            ("with several control plane nodes, do it on one after the other",),
        ),
        Distro(
            "kind",
            "kind-config.yaml",
            "audit/policy.yaml",
            "audit/log/audit.log",
            "audit/webhook.yaml",
            "kind create cluster --config kind-config.yaml",
            ("kind sets auditing up only when a cluster is made: delete the old one first",),
            0o644,
        ),
        Distro(
            "k3s",
            "/etc/rancher/k3s/config.yaml",
            f"{_RANCHER}/k3s/server/audit.yaml",
            f"{_RANCHER}/k3s/server/logs/audit.log",
            f"{_RANCHER}/k3s/server/audit-webhook.yaml",
            "systemctl restart k3s",
            ("do the same on every server node, not on agents",),
        ),
        Distro(
            "rke2",
            "/etc/rancher/rke2/config.yaml",
            "/etc/rancher/rke2/audit-policy.yaml",
            f"{_RANCHER}/rke2/server/logs/audit.log",
            "/etc/rancher/rke2/audit-webhook.yaml",
            "systemctl restart rke2-server",
            ("do the same on every server node, not on agents",),
        ),
        Distro(
            "k0s",
            "/etc/k0s/k0s.yaml",
            "/etc/k0s/audit-policy.yaml",
            "/var/log/kubernetes/audit/audit.log",
            "/etc/k0s/audit-webhook.yaml",
            "systemctl restart k0scontroller",
            (
                "k0s runs kube-apiserver as the user of that name: chown kube-apiserver /var/log/kubernetes/audit",
                "that user must be able to read the policy too",
            ),
            0o644,
        ),
        Distro(
            "minikube",
            "",
            ".minikube/files/etc/ssl/certs/audit-policy.yaml",
            "",
            ".minikube/files/etc/ssl/certs/audit-webhook.yaml",
            "",
            (
                "there is no writable mount for a log file: it goes to standard output",
                "kubectl logs -n kube-system kube-apiserver-minikube shows it",
            ),
            0o644,
        ),
        Distro(
            "talos",
            "audit-patch.yaml",
            "",
            "",
            "",
            "talosctl patch machineconfig --nodes NODE --patch @audit-patch.yaml",
            (
                "Talos writes the log by itself, 30 days or 10 files of 100 MiB",
                "talosctl read /var/log/audit/kube/kube-apiserver.log shows it",
                "repeat it for every control plane node",
            ),
        ),
        Distro(
            "microk8s",
            f"{_MICROK8S}/current/args/kube-apiserver",
            f"{_MICROK8S}/current/args/audit-policy.yaml",
            f"{_MICROK8S}/common/var/log/audit/audit.log",
            f"{_MICROK8S}/current/args/audit-webhook.yaml",
            "snap restart microk8s.daemon-kubelite",
        ),
    )
}

CLOUDS = {
    "eks": """\
EKS runs kube-apiserver for you: neither policy nor flags can be set. Turn the log on, then fetch it:

  aws eks update-cluster-config --name CLUSTER \\
      --logging '{"clusterLogging":[{"types":["audit","authenticator"],"enabled":true}]}'
  aws logs filter-log-events --log-group-name /aws/eks/CLUSTER/cluster \\
      --log-stream-name-prefix kube-apiserver-audit --output json > eks.json
  kubewitness stats eks.json

What its policy records is fixed: Secrets and ConfigMaps at Metadata. CloudWatch cuts events above its size limit, and
delivery is best effort. `kubewitness` says "not given by EKS" where a field is missing.""",
    "gke": """\
GKE runs kube-apiserver for you: the policy is fixed. Admin Activity logs are always on; reads are in the Data Access
logs, off unless enabled for k8s.io in the project's IAM audit configuration. Fetch them:

  gcloud logging read 'logName:"cloudaudit.googleapis.com" AND protoPayload.serviceName="k8s.io"' \\
      --freshness 1d --format json > gke.json
  kubewitness stats gke.json

GKE exports no stages and no groups; `kubewitness` says "not given by GKE" where a field is missing.""",
    "aks": """\
AKS runs kube-apiserver for you: neither policy nor flags can be set. Turn the log on, then fetch it:

  az monitor diagnostic-settings create --name audit --resource CLUSTER_ID --workspace WORKSPACE_ID \\
      --logs '[{"category":"kube-audit","enabled":true}]'
  az monitor log-analytics query --workspace WORKSPACE_GUID -o json \\
      --analytics-query 'AzureDiagnostics | where Category == "kube-audit"' > aks.json
  kubewitness stats aks.json

The category kube-audit-admin leaves out get and list: with it "nobody read the secret" cannot be said.""",
}
