"""
A slow evaluator of audit policies, written straight from the prose of kube-apiserver's rules, one question at a time.

Nothing is compiled or shared with src: the fast evaluator and the SQL form are tested against this.
"""

from kubewitness.event.types import Level
from kubewitness.policy.types import Attributes, Decision, GroupResources, Policy, PolicyRule


def evaluate(policy: Policy, request: Attributes) -> Decision:
    """Take the first rule that matches."""
    for index, rule in enumerate(policy.rules):
        if rule_matches(rule, request):
            stages = frozenset([*policy.omit_stages, *rule.omit_stages])
            managed = rule.omit_managed_fields
            if managed is None:
                managed = policy.omit_managed_fields
            return Decision(rule.level, stages, managed, index)
    return Decision(Level.NONE, frozenset(policy.omit_stages), policy.omit_managed_fields, None)


def rule_matches(rule: PolicyRule, request: Attributes) -> bool:
    """Look at one field after the other, as the server does."""
    if len(rule.users) > 0:
        if request.user is None:
            return False
        if request.user not in list(rule.users):
            return False
    if len(rule.user_groups) > 0:
        if request.user is None or request.groups is None:
            return False
        found = False
        for group in request.groups:
            if group in list(rule.user_groups):
                found = True
        if not found:
            return False
    if len(rule.verbs) > 0 and request.verb not in list(rule.verbs):
        return False
    if len(rule.namespaces) > 0 or len(rule.resources) > 0:
        return _resource_matches(rule, request)
    if len(rule.non_resource_urls) > 0:
        return _url_matches(rule, request)
    return True


def _resource_matches(rule: PolicyRule, request: Attributes) -> bool:
    if not request.resource_request:
        return False
    if len(rule.namespaces) > 0 and request.namespace not in list(rule.namespaces):
        return False
    if len(rule.resources) == 0:
        return True
    return any(_entry_matches(entry, request) for entry in rule.resources)


def _entry_matches(entry: GroupResources, request: Attributes) -> bool:
    if entry.group not in (request.api_group, "*"):
        return False
    if len(entry.resources) == 0:
        return True
    combined = request.resource
    if request.subresource != "":
        combined = request.resource + "/" + request.subresource
    for pattern in entry.resources:
        if len(entry.resource_names) > 0 and request.name not in list(entry.resource_names):
            continue
        if pattern in (combined, "*"):
            return True
        if request.subresource != "" and pattern.startswith("*/") and pattern[2:] == request.subresource:
            return True
        if pattern.endswith("/*") and pattern[: len(pattern) - 2] == request.resource:
            return True
    return False


def _url_matches(rule: PolicyRule, request: Attributes) -> bool:
    if request.resource_request:
        return False
    for url in rule.non_resource_urls:
        if url in ("*", request.path):
            return True
        if url.endswith("*") and request.path.startswith(url[:-1]):
            return True
    return False
