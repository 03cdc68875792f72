"""
Names of sources: through which door an Event came, from where, and in which dialect it speaks.

    webhook:10.0.0.7    tail:/var/log/kubernetes/audit.log    import:audit.log    import+gke:entries.json

The dialect stands in the name, as it is part of the envelope and every leaf commits to it.
"""

import re

from kubewitness.event.items import KUBE_APISERVER

IMPORT, TAIL, WEBHOOK = "import", "tail", "webhook"
_DOOR = re.compile(r"([a-z]+)(?:\+([a-z0-9]+))?:")


def source_name(door: str, name: str, dialect: str = KUBE_APISERVER) -> str:
    """Name a source."""
    return f"{door}:{name}" if dialect == KUBE_APISERVER else f"{door}+{dialect}:{name}"


def dialect_of(source: str) -> str:
    """Give the dialect that a source speaks."""
    match = _DOOR.match(source)
    return match[2] if match and match[2] else KUBE_APISERVER
