"""What the Events of one request share, by which its stages are known to be its."""

SAME_IN_EVERY_STAGE = frozenset({
    "kind", "level", "auditID", "requestURI", "verb", "sourceIPs", "userAgent", "requestReceivedTimestamp",
    "user.username", "user.uid", "user.groups", "user.extra",
    "objectRef.resource", "objectRef.subresource", "objectRef.apiGroup", "objectRef.apiVersion",
})  # fmt: skip
"""Set when the request comes in (k8s.io/apiserver/pkg/audit/request.go)."""

FILLED_LATER = frozenset({
    "objectRef.namespace", "objectRef.name", "objectRef.uid", "objectRef.resourceVersion",
})  # fmt: skip
"""Set when the request comes in, or, where absent then, from its body (LogRequestObject); never changed."""

REQUEST_KEY = ("auditID", "user.username", "requestURI", "requestReceivedTimestamp", "verb")
"""Wire paths that tell one request from another, whatever is asked."""
