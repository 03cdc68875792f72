"""
Say whether two copies of an Event are one: the same Event from a log file and from a webhook body.

A line of the log begins with `kind` and `apiVersion`, an item of a webhook body does not; otherwise the bytes are
equal (4,815 of 4,815 in a recording of kube-apiserver 1.36.2; other versions untested). So the canonical bytes are the
Event's bytes without these two leading members, and the caller chooses the hash. auditID is no identity:
clients choose it, and the stages of a request share it.
"""

import re

# as Go writes the TypeMeta; any version of the group, so that v1beta1 copies meet too
_TYPE_META = re.compile(rb'\{"kind":"Event","apiVersion":"audit\.k8s\.io/[a-z0-9]{1,16}",')

USUAL_TYPE_META = b'{"kind":"Event","apiVersion":"audit.k8s.io/v1",'
"""How a line of a log begins; the canonical bytes are then `{` and what follows."""


def canonical_bytes(raw: bytes) -> bytes:
    """Give the bytes by which an Event is known, to be hashed. `raw` is the exact bytes of one Event."""
    match = _TYPE_META.match(raw)
    return raw if match is None else b"{" + raw[match.end() :]
