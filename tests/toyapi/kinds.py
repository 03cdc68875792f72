"""What the toy API server serves: one row a resource, and the discovery documents drawn from the rows."""

from dataclasses import dataclass

_ALL = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True)
class Kind:
    group: str
    version: str
    resource: str
    kind: str
    namespaced: bool = True
    short: tuple[str, ...] = ()
    verbs: tuple[str, ...] = _ALL
    subresources: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        return self.kind.lower()

    @property
    def qualified(self) -> str:
        return f"{self.resource}.{self.group}" if self.group else self.resource


_REVIEW = {"namespaced": False, "verbs": ("create",)}
KINDS = (
    Kind("", "v1", "namespaces", "Namespace", False, ("ns",)),
    Kind("", "v1", "nodes", "Node", False, ("no",)),
    Kind("", "v1", "pods", "Pod", True, ("po",), subresources=("log", "exec", "status", "eviction")),
    Kind("", "v1", "configmaps", "ConfigMap", True, ("cm",)),
    Kind("", "v1", "secrets", "Secret"),
    Kind("", "v1", "services", "Service", True, ("svc",)),
    Kind("", "v1", "serviceaccounts", "ServiceAccount", True, ("sa",), subresources=("token",)),
    Kind("", "v1", "events", "Event", True, ("ev",)),
    Kind("apps", "v1", "deployments", "Deployment", True, ("deploy",), subresources=("scale", "status")),
    Kind("batch", "v1", "cronjobs", "CronJob", True, ("cj",)),
    Kind("batch", "v1", "jobs", "Job"),
    Kind("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", False),
    Kind("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", False),
    Kind("rbac.authorization.k8s.io", "v1", "roles", "Role"),
    Kind("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding"),
    Kind("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", **_REVIEW),
    Kind("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", **_REVIEW),
    Kind("authorization.k8s.io", "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview", **_REVIEW),
    Kind("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", **_REVIEW),
    Kind("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", **_REVIEW),
)
BY_PATH = {(kind.group, kind.version, kind.resource): kind for kind in KINDS}
GROUPS = tuple(dict.fromkeys(kind.group for kind in KINDS if kind.group))
_SUBRESOURCE_KINDS = {
    "token": ("authentication.k8s.io", "v1", "TokenRequest"),
    "scale": ("autoscaling", "v1", "Scale"),
    "eviction": ("policy", "v1", "Eviction"),
}


def find(group: str, version: str, resource: str) -> Kind | None:
    return BY_PATH.get((group, version, resource))


def resource_list(group: str, version: str) -> dict:
    resources = []
    for kind in KINDS:
        if (kind.group, kind.version) != (group, version):
            continue
        row = {
            "name": kind.resource,
            "singularName": kind.singular,
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": list(kind.verbs),
        }
        if kind.short:
            row["shortNames"] = list(kind.short)
        resources.append(row)
        resources += [
            {
                "name": f"{kind.resource}/{sub}",
                "singularName": "",
                "namespaced": kind.namespaced,
                "kind": _SUBRESOURCE_KINDS.get(sub, ("", "", kind.kind))[2],
                "verbs": ["create", "get", "patch", "update"],
            }
            for sub in kind.subresources
        ]
    api_version = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": resources}


def group_list() -> dict:
    groups = []
    for name in GROUPS:
        version = {"groupVersion": f"{name}/v1", "version": "v1"}
        groups.append({"name": name, "versions": [version], "preferredVersion": version})
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def aggregated(groups: tuple[str, ...]) -> dict:
    """Everything about these groups in one document (apidiscovery.k8s.io/v2)."""
    items = []
    for name in groups:
        resources = []
        for kind in KINDS:
            if kind.group != name:
                continue
            row = {
                "resource": kind.resource,
                "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
                "scope": "Namespaced" if kind.namespaced else "Cluster",
                "singularResource": kind.singular,
                "verbs": list(kind.verbs),
            }
            if kind.short:
                row["shortNames"] = list(kind.short)
            if kind.subresources:
                row["subresources"] = [_subresource(kind, sub) for sub in kind.subresources]
            resources.append(row)
        meta = {"name": name} if name else {}
        items.append(
            {"metadata": meta, "versions": [{"version": "v1", "resources": resources, "freshness": "Current"}]}
        )
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _subresource(kind: Kind, sub: str) -> dict:
    group, version, name = _SUBRESOURCE_KINDS.get(sub, (kind.group, kind.version, kind.kind))
    response = {"group": group, "version": version, "kind": name}
    return {"subresource": sub, "responseKind": response, "verbs": ["create", "get", "patch", "update"]}


def openapi_index() -> dict:
    paths = {"api/v1": {"serverRelativeURL": "/openapi/v3/api/v1?hash=1"}}
    for group in GROUPS:
        paths[f"apis/{group}/v1"] = {"serverRelativeURL": f"/openapi/v3/apis/{group}/v1?hash=1"}
    return {"paths": paths}


def openapi(group: str) -> dict:
    """As much as kubectl looks at: that the server validates fields itself."""
    paths = {}
    parameter = {"name": "fieldValidation", "in": "query", "schema": {"type": "string", "uniqueItems": True}}
    for kind in KINDS:
        if kind.group != group:
            continue
        root = f"/apis/{group}/v1" if group else "/api/v1"
        scope = "/namespaces/{namespace}" if kind.namespaced else ""
        gvk = {"group": group, "version": kind.version, "kind": kind.kind}
        operation = {
            "operationId": f"patch{kind.kind}",
            "parameters": [parameter],
            "responses": {"200": {"description": "OK"}},
            "x-kubernetes-action": "patch",
            "x-kubernetes-group-version-kind": gvk,
        }
        paths[f"{root}{scope}/{kind.resource}/{{name}}"] = {"patch": operation}
    return {"openapi": "3.0.0", "info": {"title": "toy", "version": "v1"}, "paths": paths, "components": {}}
