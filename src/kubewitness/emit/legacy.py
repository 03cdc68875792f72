"""
Write an Event as one line of text, kube-apiserver's `legacy` format; also how it reports Events that it lost.

Follows EventString of k8s.io/apiserver/pkg/audit/format.go. Differs: the time has microseconds, as Events do here,
where kube-apiserver still knows nanoseconds.
"""

import re

from kubewitness.event.types import Event
from kubewitness.policy.gotext import quote

_FRACTION = re.compile(r"(?:(\.\d*[1-9])0+|\.0+)Z$")


def text_line(event: Event) -> str:
    """Give the line, without its newline."""
    user = event.user
    name, groups = "<none>", "<none>"
    if user is not None and user.username:
        name = user.username
        groups = _quoted(user.groups) if user.groups else groups
    other = event.impersonated_user
    as_name, as_groups = "<self>", "<lookup>"
    if other is not None:
        as_name = other.username or ""
        as_groups = _quoted(other.groups) if other.groups is not None else as_groups
    reference, status = event.object_ref, event.response_status
    response = "<deferred>" if status is None else str(status.code or 0)
    # as Go's RFC3339Nano: no zeros at the end of the fraction
    received = _FRACTION.sub(r"\1Z", event.request_received_timestamp or "0001-01-01T00:00:00Z")
    members = {
        "id": event.audit_id or "",
        "stage": event.stage.value,
        "ip": event.source_ips[0] if event.source_ips else "<unknown>",
        "method": event.verb or "",
        "user": name,
        "groups": groups,
        "as": as_name,
        "asgroups": as_groups,
        "user-agent": event.user_agent or "",
        "namespace": (reference.namespace if reference is not None else None) or "<none>",
        "uri": event.request_uri or "",
    }
    text = " ".join(f"{member}={quote(value)}" for member, value in members.items())
    return f'{received} AUDIT: {text} response="{response}"'


def _quoted(names: tuple[str, ...]) -> str:
    return ",".join(map(quote, names))
