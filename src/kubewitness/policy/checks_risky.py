"""
KW30x: secrets on the disk.

Exact: a body is called recorded when there is a possible request whose body this rule records.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from kubewitness.event.types import Level, Stage
from kubewitness.policy import builtin
from kubewitness.policy.findings import Context, Do, Edit, Finding, Fix, check
from kubewitness.policy.prove.describe import request_text
from kubewitness.policy.subjects import (
    READS,
    REMOVALS,
    SECRET_NAME,
    WRITES,
    asked,
    compiled,
    entry,
    guard,
    names_only,
    topic,
)
from kubewitness.policy.types import Attributes, Policy, PolicyRule

_TOKENS = "serviceaccounts/token"
_REVIEWS = "tokenreviews.authentication.k8s.io"


@dataclass(frozen=True, slots=True)
class _Body:
    """A body that holds something secret: `sent` is recorded from Request on, `returned` from RequestResponse on."""

    code: str
    name: str
    sent: tuple[str, ...]
    returned: tuple[str, ...]
    message: str
    help: str


_COPY = (
    "; omitManagedFields leaves the copy in the last-applied-configuration annotation, which tables of `kubectl get` "
    "hold too"
)
_BODIES = (
    _Body(
        "KW301",
        "secrets",
        WRITES,
        (*READS, *WRITES, *REMOVALS),
        "bodies of secrets are written to the log, keys and passwords in base64",
        "put a rule with level: Metadata for secrets above this one" + _COPY,
    ),
    _Body(
        "KW302",
        _REVIEWS,
        ("create",),
        ("create",),
        "bodies of tokenreviews are written to the log, and each holds the bearer token that is reviewed",
        "record tokenreviews at level: Metadata",
    ),
    _Body(
        "KW303",
        _TOKENS,
        (),
        ("create",),
        "responses of serviceaccounts/token are written to the log, and each holds a new token",
        "put a rule with level: Metadata for serviceaccounts/token above this one",
    ),
    _Body(
        "KW304",
        "configmaps",
        WRITES,
        (*READS, *WRITES),
        "bodies of configmaps are written to the log; people keep passwords in them, and they are large",
        "put a rule with level: Metadata for configmaps above this one",
    ),
)
_GUARDED = frozenset((one.group, one.resources[0]) for one in (entry(body.name) for body in _BODIES))
# the verbs of a watch never have a body
_BODILESS = frozenset(("watch",))
# they hold references or ciphertext
_HARMLESS = frozenset(
    (
        "sealedsecrets",
        "externalsecrets",
        "clusterexternalsecrets",
        "secretstores",
        "clustersecretstores",
        "pushsecrets",
        "clusterpushsecrets",
        "secretproviderclasses",
        "secretproviderclasspodstatuses",
        "vaultstaticsecrets",
        "vaultdynamicsecrets",
        "vaultpkisecrets",
    )
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
    for body, index, example in _recorded(context, context.policy, _BODIES):
        shown = f"{body.message} (for example {request_text(example)})"
        fix = _shield(context.policy, index, body)
        yield context.finding(body.code, ("rules", index, "level"), shown, body.help, fix)


def _recorded(context: Context, policy: Policy, wanted: tuple[_Body, ...]) -> Iterator[tuple[_Body, int, Attributes]]:
    """Give for each body the rules that record it, each with the smallest request."""
    # what is sent first: a create tells more than the get after it
    topics = [(topic(body.name, verbs),) for body in wanted for verbs in (body.sent, body.returned) if verbs]
    labels = [(body, level) for body in wanted for verbs, level in _levels(body) if verbs]
    seen: set[tuple[str, int]] = set()
    for decided in asked(context, topics):
        body, level = labels[decided.topic]
        index = decided.rule_index
        if index is None or decided.example.verb in _BODILESS or (body.name, index) in seen:
            continue
        entries = policy.rules[index].resources
        if body.name == "configmaps" and entries and all(one.resource_names for one in entries):
            continue  # somebody wants to see these very ones, as aws-auth
        if policy.rules[index].level >= level and not _is_silent(context, index):
            seen.add((body.name, index))
            yield body, index, decided.example


def _levels(body: _Body) -> tuple[tuple[tuple[str, ...], Level], ...]:
    return (body.sent, Level.REQUEST), (body.returned, Level.REQUEST_RESPONSE)


def _is_silent(context: Context, index: int) -> bool:
    """Whether the rule omits every stage that has a body."""
    found = compiled(context)
    omitted = found.rules[index][1].omit_stages if found is not None else frozenset[Stage]()
    return {Stage.RESPONSE_COMPLETE, Stage.PANIC} <= omitted


def _shield(policy: Policy, index: int, body: _Body) -> Fix | None:
    """Keep these bodies out: with the level of a rule that is about nothing else, or with a rule before it."""
    rule = policy.rules[index]
    named = {(one.group, name) for one in rule.resources for name in one.resources}
    if body.name == "configmaps" and ("", "configmaps") in named and ("", "secrets") not in named:
        return None  # it may be meant: what was written into the one of coredns is seen nowhere else
    if names_only(rule, _GUARDED):
        return _lowered(policy, index)
    # one rule for all that this rule records and should not
    names = dict.fromkeys((body.name, "secrets", _TOKENS, _REVIEWS, "configmaps"))
    return guard(policy, index, " ".join(name for name in names if _is_recorded(rule, name)))


def _lowered(policy: Policy, index: int) -> Fix:
    says = f"lowered rules[{index}] to level Metadata"
    edits = (Edit(Do.REPLACE, ("rules", index, "level"), "Metadata"),)
    return Fix(says, edits, (policy.rules[index],), Level.METADATA, Level.METADATA)


def _is_recorded(rule: PolicyRule, name: str) -> bool:
    body = next(body for body in _BODIES if body.name == name)
    verbs = body.sent if rule.level is Level.REQUEST else body.returned
    return bool(verbs) and (not rule.verbs or not set(rule.verbs).isdisjoint(set(verbs) - _BODILESS))


@check(KW309="bodies of custom resources are recorded that by their names hold secrets")
def custom_bodies(context: Context) -> Iterator[Finding]:
    """Find custom resources with telling names, of the policy or defined by the user, whose bodies are recorded."""
    policy = context.policy
    if policy is None:
        return
    named = {(r.group, r.name): None for r in context.catalogue.custom}
    for rule in policy.rules:
        for one in rule.resources:
            if one.group not in builtin.GROUPS and one.group != "*" and context.catalogue.can_exist(one.group):
                named |= dict.fromkeys((one.group, pattern.partition("/")[0]) for pattern in one.resources)
    telling = [f"{name}.{group}" for group, name in sorted(named) if SECRET_NAME.search(name) and name not in _HARMLESS]
    wanted = tuple(_Body("KW309", name, WRITES, (*READS, *WRITES, *REMOVALS), "", "") for name in telling)
    for body, index, example in _recorded(context, policy, wanted):
        message = f"bodies of {body.name} are written to the log, and by their name they hold secrets"
        message += f" (for example {request_text(example)})"
        help_ = f"record {body.name} at level: Metadata"
        guarded = frozenset((one.group, one.resources[0]) for one in topic(" ".join(telling)).resources)
        fix = _lowered(policy, index) if names_only(policy.rules[index], guarded) else guard(policy, index, body.name)
        yield context.finding("KW309", ("rules", index, "level"), message, help_, fix)


@check(KW305="secrets are guarded by a rule of their own, serviceaccounts/token is not")
def unguarded_tokens(context: Context) -> Iterator[Finding]:
    """Find policies that think of secrets and forget the requests that issue tokens."""
    policy = context.policy
    if policy is None:
        return
    for index, rule in enumerate(policy.rules):
        entries = [one for one in rule.resources if one.group in ("", "*")]
        if rule.level is not Level.METADATA or not any("secrets" in one.resources for one in entries):
            continue
        if any(
            pattern in (_TOKENS, "serviceaccounts/*", "*/token", "*")
            for other in policy.rules
            for one in other.resources
            if one.group in ("", "*")
            for pattern in one.resources
        ):
            return
        issued = Attributes(
            "create", "someone", ("system:authenticated",), "default", "", "v1", "serviceaccounts", "token", "x", True
        )
        found = compiled(context)
        decision = found.decide(issued) if found is not None else None
        level = decision.level if decision is not None else Level.NONE
        by = "no rule" if decision is None or decision.rule_index is None else f"rules[{decision.rule_index}]"
        message = (
            "secrets have a rule of their own, serviceaccounts/token has none: issuing a token is decided by "
            f"{by}, level {level.value}"
        )
        help_ = "name serviceaccounts/token beside secrets; its response holds a token that opens the cluster"
        yield context.finding("KW305", ("rules", index, "resources"), message, help_, _beside(policy, index))
        return


def _beside(policy: Policy, index: int) -> Fix | None:
    """Name serviceaccounts/token where secrets are named."""
    rule = policy.rules[index]
    at = next(i for i, one in enumerate(rule.resources) if one.group in ("", "*") and "secrets" in one.resources)
    if rule.resources[at].resource_names or (rule.verbs and "create" not in rule.verbs):
        return None
    says = f"added serviceaccounts/token to rules[{index}]"
    edit = Edit(Do.APPEND, ("rules", index, "resources", at, "resources"), _TOKENS)
    return Fix(says, (edit,), (topic(_TOKENS),), Level.METADATA, Level.METADATA)
