"""What the dialects of the log leave out of an Event."""

_NOT_GIVEN: dict[str, frozenset[str]] = {
    "gke": frozenset(
        {
            "requestURI",
            "user.uid",
            "user.groups",
            "user.extra",
            "impersonatedUser.username",
            "impersonatedUser.uid",
            "impersonatedUser.groups",
            "impersonatedUser.extra",
            "authenticationMetadata.impersonationConstraint",
            "objectRef.uid",
            "objectRef.resourceVersion",
            "stageTimestamp",
        }
    ),
    "legacy": frozenset(
        {
            "level",
            "user.uid",
            "user.extra",
            "impersonatedUser.uid",
            "impersonatedUser.extra",
            "authenticationMetadata.impersonationConstraint",
            "objectRef.resource",
            "objectRef.name",
            "objectRef.uid",
            "objectRef.apiGroup",
            "objectRef.apiVersion",
            "objectRef.resourceVersion",
            "objectRef.subresource",
            "responseStatus.status",
            "responseStatus.reason",
            "responseStatus.message",
            "responseStatus.details",
            "requestObject",
            "responseObject",
            "stageTimestamp",
            "annotations",
        }
    ),
    "v1alpha1": frozenset({"authenticationMetadata.impersonationConstraint"}),
    "v1beta1": frozenset({"authenticationMetadata.impersonationConstraint"}),
}


def not_given(dialect: str) -> frozenset[str]:
    """Give the wire paths that this dialect never holds: absent there means unknown, not empty."""
    return _NOT_GIVEN.get(dialect, frozenset())
