"""Objects as kubectl wants them printed: meta.k8s.io/v1 Tables."""

from datetime import UTC, datetime

from tests.toyapi.kinds import Kind

_COLUMNS = {
    "Pod": (("Ready", lambda o: "1/1"), ("Status", lambda o: o.get("status", {}).get("phase", "Pending"))),
    "Secret": (("Type", lambda o: o.get("type", "Opaque")), ("Data", lambda o: str(len(o.get("data") or {})))),
    "ConfigMap": (("Data", lambda o: str(len(o.get("data") or {}))),),
    "Namespace": (("Status", lambda o: "Active"),),
    "Deployment": (("Ready", lambda o: f"0/{o.get('spec', {}).get('replicas', 1)}"),),
    "ClusterRoleBinding": (("Role", lambda o: f"{o['roleRef']['kind']}/{o['roleRef']['name']}"),),
    "RoleBinding": (("Role", lambda o: f"{o['roleRef']['kind']}/{o['roleRef']['name']}"),),
}


def table(kind: Kind, objects: list[dict], version: int) -> dict:
    extra = _COLUMNS.get(kind.kind, ())
    names = ["Name", *(name for name, _ in extra), "Age"]
    formats = {"Name": "name"}
    columns = [
        {"name": n, "type": "string", "format": formats.get(n, ""), "description": n, "priority": 0} for n in names
    ]
    rows = [
        {
            "cells": [body["metadata"]["name"], *(read(body) for _, read in extra), _age(body)],
            "object": {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": body["metadata"],
            },
        }
        for body in objects
    ]
    meta = {"resourceVersion": str(version)}
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": meta,
        "columnDefinitions": columns,
        "rows": rows,
    }


def _age(body: dict) -> str:
    created = body["metadata"].get("creationTimestamp")
    if not created:
        return "<unknown>"
    then = datetime.strptime(created, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    return f"{int((datetime.now(UTC) - then).total_seconds())}s"
