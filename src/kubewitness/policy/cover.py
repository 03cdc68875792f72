"""
Whether one rule leaves nothing for another: the plain reading, field by field.

Sound, not complete: a rule that it calls covered is covered, but several rules that cover another only together are
not seen here (`prove` sees them).
"""

from kubewitness.policy.match import ANY_GROUP
from kubewitness.policy.validate import RawGroupResources, RawRule


def covers(earlier: RawRule, later: RawRule) -> bool:
    """Say whether every request that the later rule matches is matched by the earlier one."""
    return (
        _within(later.users, earlier.users)
        and _within(later.user_groups, earlier.user_groups)
        and _within(later.verbs, earlier.verbs)
        and _covers_target(earlier, later)
    )


def is_catch_all(rule: RawRule) -> bool:
    """Say whether a rule matches every request."""
    return not (
        rule.users or rule.user_groups or rule.verbs or rule.resources or rule.namespaces or rule.non_resource_urls
    )


def _within(inner: tuple[str, ...], outer: tuple[str, ...]) -> bool:
    return not outer or (bool(inner) and set(inner) <= set(outer))


def _covers_target(earlier: RawRule, later: RawRule) -> bool:
    is_for_resources = bool(earlier.resources or earlier.namespaces)
    if not is_for_resources and not earlier.non_resource_urls:
        return True
    if is_for_resources:
        return (
            bool(later.resources or later.namespaces)
            and _within(later.namespaces, earlier.namespaces)
            and (
                not earlier.resources
                or (bool(later.resources) and all(_is_covered(entry, earlier.resources) for entry in later.resources))
            )
        )
    if later.resources or later.namespaces or not later.non_resource_urls:
        return False
    return all(any(_covers_url(outer, url) for outer in earlier.non_resource_urls) for url in later.non_resource_urls)


def _is_covered(entry: RawGroupResources, outer: tuple[RawGroupResources, ...]) -> bool:
    return any(
        other.group in (ANY_GROUP, entry.group)
        and (not other.resources or (bool(entry.resources) and all(_covers_all(other, r) for r in entry.resources)))
        and (not other.resources or _within(entry.resource_names, other.resource_names))
        for other in outer
    )


def _covers_all(outer: RawGroupResources, pattern: str) -> bool:
    return any(covers_pattern(other, pattern) for other in outer.resources)


def covers_pattern(outer: str, inner: str) -> bool:
    """Say whether one resource pattern covers another: `pods/*` covers pods and pods/exec."""
    if outer in ("*", inner):
        return True
    if outer.endswith("/*"):
        return inner.partition("/")[0] == outer[:-2]
    return outer.startswith("*/") and inner != "*" and inner.partition("/")[2] == outer[2:]


def _covers_url(outer: str, inner: str) -> bool:
    if outer in ("*", inner):
        return True
    return outer.endswith("*") and inner.startswith(outer[:-1])
