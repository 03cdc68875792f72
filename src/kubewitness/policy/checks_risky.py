"""
KW3xx: what works as written and is a risk: secrets on the disk, traces that are lost.

A body is called recorded only when a request is found, built from the rule's own values, that the policy evaluates to
this rule and this level. Finding all risks over all requests is `prove`'s work.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from kubewitness.event.types import Level, Stage
from kubewitness.policy.evaluate import CompiledPolicy, compile_policy
from kubewitness.policy.findings import Context, Finding, check
from kubewitness.policy.types import Attributes, Policy, PolicyRule

_SOMEONE, _SOMEWHERE, _SOMETHING = "someone", "somewhere", "something"
# how many combinations of a rule's own values are tried
_MAX_TRIES = 5_000


@dataclass(frozen=True, slots=True)
class _Body:
    """A body that holds something secret: which request, recorded from which level on."""

    code: str
    group: str
    resource: str
    subresource: str
    verbs_by_level: tuple[tuple[Level, tuple[str, ...]], ...]
    is_namespaced: bool
    message: str
    help: str


_WRITES = ("create", "update", "patch")
_READS = ("get", "list")
_BODIES = (
    _Body(
        "KW301",
        "",
        "secrets",
        "",
        ((Level.REQUEST, _WRITES), (Level.REQUEST_RESPONSE, (*_READS, *_WRITES, "delete", "deletecollection"))),
        True,
        "bodies of secrets are written to the log, keys and passwords in base64",
        "put a rule with level: Metadata for secrets above this one",
    ),
    _Body(
        "KW302",
        "authentication.k8s.io",
        "tokenreviews",
        "",
        ((Level.REQUEST, ("create",)), (Level.REQUEST_RESPONSE, ("create",))),
        False,
        "bodies of tokenreviews are written to the log, and each holds the bearer token that is reviewed",
        "record tokenreviews at level: Metadata",
    ),
    _Body(
        "KW303",
        "",
        "serviceaccounts",
        "token",
        ((Level.REQUEST_RESPONSE, ("create",)),),
        True,
        "responses of serviceaccounts/token are written to the log, and each holds a new token",
        "put a rule with level: Metadata for serviceaccounts/token above this one",
    ),
    _Body(
        "KW304",
        "",
        "configmaps",
        "",
        ((Level.REQUEST, _WRITES), (Level.REQUEST_RESPONSE, (*_READS, *_WRITES))),
        True,
        "bodies of configmaps are written to the log; people keep passwords in them, and they are large",
        "put a rule with level: Metadata for configmaps above this one",
    ),
)


@check(
    KW301="bodies of secrets are recorded",
    KW302="bodies of tokenreviews are recorded, which hold bearer tokens",
    KW303="responses of serviceaccounts/token are recorded, which hold new tokens",
    KW304="bodies of configmaps are recorded",
)
def bodies(context: Context) -> Iterator[Finding]:
    """Find rules that write secrets to the log."""
    if context.policy is None:
        return
    compiled = compile_policy(context.policy)
    for index, rule in enumerate(context.policy.rules):
        if rule.level < Level.REQUEST:
            continue
        for body in _BODIES:
            witness = _witness(context.policy, compiled, index, body)
            if witness is not None:
                shown = f"{body.message} (for example {_shown(witness)})"
                yield context.finding(body.code, ("rules", index, "level"), shown, body.help)


def _witness(policy: Policy, compiled: CompiledPolicy, index: int, body: _Body) -> Attributes | None:
    """Give a request that this rule decides and whose body it records."""
    rule = policy.rules[index]
    matcher = compiled.rules[index][0]
    verbs = next((verbs for level, verbs in reversed(body.verbs_by_level) if rule.level >= level), ())
    for request in itertools.islice(_requests(rule, body, verbs), _MAX_TRIES):
        if matcher.matches(request) and compiled.decide(request).rule_index == index:
            return request
    return None


def _requests(rule: PolicyRule, body: _Body, verbs: tuple[str, ...]) -> Iterator[Attributes]:
    wanted_names = [name for entry in rule.resources for name in entry.resource_names]
    for verb, user, group, namespace, name in itertools.product(
        [verb for verb in verbs if not rule.verbs or verb in rule.verbs],
        rule.users or (_SOMEONE,),
        rule.user_groups or ("system:authenticated",),
        (rule.namespaces or (_SOMEWHERE,)) if body.is_namespaced else ("",),
        wanted_names or (_SOMETHING,),
    ):
        is_named = verb in ("get", "update", "patch", "delete") or body.subresource != ""
        yield Attributes(
            verb,
            user,
            tuple(dict.fromkeys((group, "system:authenticated"))),
            namespace,
            body.group,
            "v1",
            body.resource,
            body.subresource,
            name if is_named else "",
            resource_request=True,
        )


def _shown(request: Attributes) -> str:
    resource = f"{request.resource}/{request.subresource}" if request.subresource else request.resource
    where = f" in namespace {request.namespace}" if request.namespace else ""
    return f"{request.verb} {resource}{where} by {request.user}"


@check(KW305="secrets are guarded by a rule of their own, serviceaccounts/token is not")
def unguarded_tokens(context: Context) -> Iterator[Finding]:
    """Find policies that think of secrets and forget the requests that issue tokens."""
    policy = context.policy
    if policy is None:
        return
    for index, rule in enumerate(policy.rules):
        entries = [entry for entry in rule.resources if entry.group in ("", "*")]
        if rule.level is not Level.METADATA or not any("secrets" in entry.resources for entry in entries):
            continue
        if any(
            pattern in ("serviceaccounts/token", "serviceaccounts/*", "*/token", "*")
            for other in policy.rules
            for entry in other.resources
            for pattern in entry.resources
        ):
            return
        issued = Attributes("create", _SOMEONE, ("system:authenticated",), _SOMEWHERE, "", "v1", "serviceaccounts")
        decision = compile_policy(policy).decide(_with_token(issued))
        by = "no rule" if decision.rule_index is None else f"rules[{decision.rule_index}]"
        message = (
            "secrets have a rule of their own, serviceaccounts/token has none: issuing a token is decided by "
            f"{by}, level {decision.level.value}"
        )
        help_ = "name serviceaccounts/token beside secrets; its response holds a token that opens the cluster"
        yield context.finding("KW305", ("rules", index, "resources"), message, help_)
        return


def _with_token(request: Attributes) -> Attributes:
    return Attributes(
        request.verb,
        request.user,
        request.groups,
        request.namespace,
        request.api_group,
        request.api_version,
        request.resource,
        "token",
        _SOMETHING,
        resource_request=True,
    )


@check(
    KW306="failed authentication leaves no trace",
    KW307="running commands in containers leaves no trace",
)
def blind_spots(context: Context) -> Iterator[Finding]:
    """Find requests that matter and of which nothing would be written."""
    if context.policy is None:
        return
    compiled = compile_policy(context.policy)
    nobody = Attributes("list", None, None, _SOMEWHERE, "", "v1", "pods", resource_request=True)
    decision = compiled.decide(nobody)
    # a 401 has one event, at ResponseStarted
    if decision.level is Level.NONE or Stage.RESPONSE_STARTED in decision.omit_stages:
        why = (
            "level None" if decision.level is Level.NONE else "ResponseStarted is omitted, the one stage that a 401 has"
        )
        path = ("omitStages",) if Stage.RESPONSE_STARTED in context.policy.omit_stages else _rule(decision.rule_index)
        message = f"requests with a wrong or expired token are not recorded at all: {why}"
        help_ = "keep ResponseStarted, and a last rule `- level: Metadata` without users or userGroups"
        yield context.finding("KW306", path, message, help_)
    for verb in ("get", "create"):
        request = Attributes(
            verb, _SOMEONE, ("system:authenticated",), _SOMEWHERE, "", "v1", "pods", "exec", _SOMETHING, True
        )
        decision = compiled.decide(request)
        if decision.level is Level.NONE:
            message = f"{verb} pods/exec is not recorded: what was run in which container leaves no trace"
            help_ = "record pods/exec, pods/attach and pods/portforward at level: Metadata, without verbs"
            yield context.finding("KW307", _rule(decision.rule_index), message, help_)
            return


def _rule(index: int | None) -> tuple[str | int, ...]:
    return ("rules",) if index is None else ("rules", index, "level")
