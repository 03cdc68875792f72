"""
Request and response bodies of the generated log: pods of 2 to 20 kB in 120 shapes, with slots to be filled.

A shape is JSON text cut at its slots, so that filling one costs a join. Slots: n name, s namespace, u uid,
r resourceVersion, t time, h hash.
"""

import json
import random

from benchmarks.cast import NAMES, NODES, SECRETS, WORDS

Template = list[str]
"""A pod as JSON text, cut where something is to be filled in; the first letter of a piece says what."""


def _container(rand: random.Random, number: int) -> dict[str, object]:
    env: list[dict[str, object]] = []
    for _ in range(rand.randrange(2, 30)):
        if rand.random() < 0.6:
            name = f"{rand.choice(WORDS).upper()}_{rand.choice(WORDS).upper()}"
            env.append({"name": name, "value": f"{rand.getrandbits(64):x}"})
        else:
            source = {"secretKeyRef": {"name": rand.choice(SECRETS), "key": "value"}}
            env.append({"name": f"{rand.choice(WORDS).upper()}_KEY", "valueFrom": source})
    tag = f"v{rand.randrange(9)}.{rand.randrange(30)}.{rand.randrange(30)}@sha256:{rand.getrandbits(256):064x}"
    settings = ["true", "false", "15s", "0.0.0.0:8080", "info"]
    return {
        "name": f"{rand.choice(WORDS)}{number}",
        "image": f"registry.example.com/{rand.choice(WORDS)}/{rand.choice(WORDS)}:{tag}",
        "args": [
            f"--{rand.choice(WORDS)}-{rand.choice(WORDS)}={rand.choice(settings)}" for _ in range(rand.randrange(2, 14))
        ],
        "env": env,
        "resources": {
            "limits": {"cpu": f"{rand.randrange(1, 8)}", "memory": f"{rand.randrange(1, 16)}Gi"},
            "requests": {"cpu": f"{rand.randrange(10, 900)}m", "memory": f"{rand.randrange(64, 900)}Mi"},
        },
        "volumeMounts": [
            {
                "name": f"kube-api-access-{rand.randrange(16**5):05x}",
                "readOnly": True,
                "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
            }
        ],
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"},
            "timeoutSeconds": 1,
            "periodSeconds": 10,
            "successThreshold": 1,
            "failureThreshold": 3,
        },
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {"privileged": rand.random() < 0.03, "runAsNonRoot": rand.random() < 0.6},
    }


def _managed_fields(rand: random.Random) -> list[dict[str, object]]:
    out: list[dict[str, object]] = []
    managers = ["kube-controller-manager", "kubelet", "argocd", "kubectl-client-side-apply"]
    for manager in rand.sample(managers, rand.randrange(1, 4)):
        labels: dict[str, object] = {".": {}, "f:app": {}, **{f"f:{word}": {} for word in rand.sample(WORDS, 8)}}
        spec: dict[str, object] = {
            f"f:{word}": {
                f'k:{{"name":"{item}"}}': {".": {}, "f:name": {}} for item in rand.sample(WORDS, rand.randrange(1, 9))
            }
            for word in rand.sample(WORDS, rand.randrange(1, 8))
        }
        fields = {"f:metadata": {"f:labels": labels}, "f:spec": spec}
        out.append(
            {
                "manager": manager,
                "operation": "Update",
                "apiVersion": "v1",
                "time": "\x00t",
                "fieldsType": "FieldsV1",
                "fieldsV1": fields,
            }
        )
    return out


def _pod(rand: random.Random) -> dict[str, object]:
    containers = [_container(rand, number) for number in range(rand.choice([1, 1, 1, 2, 2, 3]))]
    labels = {
        "app.kubernetes.io/name": rand.choice(WORDS),
        "app.kubernetes.io/instance": "\x00n",
        "pod-template-hash": f"{rand.randrange(16**9):09x}",
        "team": rand.choice(WORDS),
    }
    owner = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "name": "\x00n",
        "uid": "\x00u",
        "controller": True,
        "blockOwnerDeletion": True,
    }
    metadata: dict[str, object] = {
        "name": "\x00n",
        "generateName": "app-",
        "namespace": "\x00s",
        "uid": "\x00u",
        "resourceVersion": "\x00r",
        "creationTimestamp": "\x00t",
        "labels": labels,
        "annotations": {
            "kubectl.kubernetes.io/restartedAt": "\x00t",
            "checksum/config": "\x00h",
            "note": 'quotes " and \\ back\\slash, unicode é世界 \n newline',
        },
        "ownerReferences": [owner],
    }
    if rand.random() < 0.8:
        metadata["managedFields"] = _managed_fields(rand)
    volumes = [
        {"name": f"v{number}", "configMap": {"name": rand.choice(NAMES), "defaultMode": 420}}
        for number in range(rand.randrange(1, 6))
    ]
    toleration = {
        "key": "node.kubernetes.io/not-ready",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": 300,
    }
    spec = {
        "volumes": volumes,
        "containers": containers,
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "serviceAccountName": rand.choice(WORDS),
        "nodeName": rand.choice(NODES),
        "hostNetwork": rand.random() < 0.04,
        "hostPID": rand.random() < 0.01,
        "schedulerName": "default-scheduler",
        "tolerations": [toleration],
        "priority": 0,
        "enableServiceLinks": True,
    }
    conditions = [
        {"type": kind, "status": "True", "lastProbeTime": None, "lastTransitionTime": "\x00t"}
        for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
    ]
    status = {"phase": "Running", "conditions": conditions, "hostIP": "10.0.1.2", "qosClass": "Burstable"}
    return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": spec, "status": status}


def _templates() -> list[Template]:
    rand = random.Random(99)
    texts = [json.dumps(_pod(rand), separators=(",", ":"), ensure_ascii=False) for _ in range(120)]
    return [text.split("\\u0000") for text in sorted(texts, key=len)]


TEMPLATES = _templates()


def filled(template: Template, **slots: str) -> str:
    """The body of this shape with its slots filled."""
    return template[0] + "".join(slots[piece[0]] + piece[1:] for piece in template[1:])
