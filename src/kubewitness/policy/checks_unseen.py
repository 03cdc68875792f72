"""
KW306 to KW317 without the bodies: what leaves no trace, or less of one than the policy seems to say.

The actions asked about are those of attacks (the table of techniques in the documentation of `coverage`): reading
secrets, issuing tokens, running commands, changing roles, workloads, webhooks and nodes.
"""

from collections.abc import Iterator

from kubewitness.event.types import Level, Stage
from kubewitness.policy.findings import Context, Do, Edit, Finding, Fix, Mode, Path, check
from kubewitness.policy.prove.describe import request_text
from kubewitness.policy.prove.topics import Decided
from kubewitness.policy.subjects import (
    EXEC_LIKE,
    READS,
    REMOVALS,
    WRITES,
    asked,
    compiled,
    guard,
    kept_verbs,
    rule_content,
    topic,
    who_text,
)
from kubewitness.policy.types import Attributes, Decision, GroupResources, PolicyRule

_CHANGES = (*WRITES, *REMOVALS)
_RBAC = " ".join(
    f"{kind}.rbac.authorization.k8s.io" for kind in ("clusterrolebindings", "clusterroles", "rolebindings", "roles")
)
_HOOKS = " ".join(
    f"{kind}.admissionregistration.k8s.io"
    for kind in (
        "mutatingwebhookconfigurations",
        "validatingwebhookconfigurations",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
    )
)
_CSR = "certificatesigningrequests.certificates.k8s.io"
# what it is called, resources, verbs
_ACTIONS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("reads of secrets", "secrets", READS),
    ("changes of secrets", "secrets", _CHANGES),
    ("new tokens", "serviceaccounts/token", ("create",)),
    ("commands in containers", " ".join(EXEC_LIKE), ()),
    ("debug containers", "pods/ephemeralcontainers", ("update", "patch")),
    ("requests through proxies", "pods/proxy services/proxy nodes/proxy", ()),
    ("changes of roles", _RBAC, _CHANGES),
    ("certificates", f"{_CSR} {_CSR}/approval", WRITES),
    ("changes of admission", _HOOKS, _CHANGES),
    ("changes of pods", "pods", _CHANGES),
    (
        "changes of workloads",
        "deployments.apps daemonsets.apps statefulsets.apps replicasets.apps jobs.batch cronjobs.batch",
        _CHANGES,
    ),
    ("changes of configmaps", "configmaps", _CHANGES),
    ("changes of nodes", "nodes", _CHANGES),
    ("new service accounts", "serviceaccounts", _CHANGES),
    ("removal of namespaces", "namespaces", REMOVALS),
    ("custom resource definitions", "customresourcedefinitions.apiextensions.k8s.io", _CHANGES),
)
_EVENTS = "events events.events.k8s.io"
# how many actions are named in one message
_MOST = 5


def is_recorded(decision: Decision) -> bool:
    """Say whether anything is written of a request."""
    return decision.level is not Level.NONE and len(decision.omit_stages) < len(Stage)


@check(KW306="failed authentication leaves no trace")
def failed_authentication(context: Context) -> Iterator[Finding]:
    """Find policies that leave 401s out."""
    found = compiled(context)
    if found is None or context.policy is None:
        return
    nobody = Attributes("list", None, None, "default", "", "v1", "pods", resource_request=True)
    decision = found.decide(nobody)
    # a 401 has one event, at ResponseStarted
    if decision.level is Level.NONE:
        message = "requests with a wrong or expired token are not recorded at all: level None"
        help_ = "keep ResponseStarted, and a last rule `- level: Metadata` without users or userGroups"
        yield context.finding("KW306", rule_path(decision.rule_index), message, help_)
    elif Stage.RESPONSE_STARTED in decision.omit_stages:
        message = (
            "requests with a wrong or expired token are not recorded at all: ResponseStarted is omitted, the one stage "
            "that a 401 has"
        )
        fix = _restore(context, Stage.RESPONSE_STARTED, decision.rule_index)
        path = _stage_path(context, Stage.RESPONSE_STARTED, decision.rule_index)
        yield context.finding("KW306", path, message, "keep ResponseStarted", fix)


def rule_path(index: int | None) -> Path:
    """Give the place that decides: the level of a rule, or the rules."""
    return ("rules",) if index is None else ("rules", index, "level")


def _stage_path(context: Context, stage: Stage, index: int | None) -> Path:
    """Give the place where a stage is omitted, for the policy or for one rule."""
    raw = context.raw
    if stage.value in raw.omit_stages or index is None:
        return ("omitStages",)
    return ("rules", index, "omitStages")


def _restore(context: Context, stage: Stage, index: int | None) -> Fix | None:
    """No longer omit a stage."""
    path = _stage_path(context, stage, index)
    raw = context.raw
    stages = raw.omit_stages if len(path) == 1 else raw.rules[index or 0].omit_stages
    if stage.value not in stages:
        return None
    where = "the policy" if len(path) == 1 else f"rules[{index}]"
    says = f"took {stage.value} out of omitStages of {where}"
    scope = (PolicyRule(Level.NONE),)
    # an empty list would be odd: the last one goes with its list
    place = (*path, stages.index(stage.value)) if len(stages) > 1 else path
    return Fix(says, (Edit(Do.REMOVE, place),), scope)


@check(
    KW307="running commands in containers leaves no trace",
    KW311="a rule with level None hides what someone does whose credentials are worth stealing",
    KW312="a rule with level None hides what attackers do",
)
def hidden_actions(context: Context) -> Iterator[Finding]:
    """Find actions of attackers of which nothing would be written, by the rule that hides them."""
    found = compiled(context)
    if found is None or context.policy is None:
        return
    topics = [(topic(names, verbs),) for _, names, verbs in _ACTIONS]
    by_rule: dict[int | None, list[tuple[int, Attributes]]] = {}
    for decided in asked(context, topics):
        index = decided.rule_index
        decision = found.no_match if index is None else found.rules[index][1]
        if not is_recorded(decision):
            by_rule.setdefault(index, []).append((decided.topic, decided.example))
    for index, hidden in by_rule.items():
        if index is None:
            yield from _unmatched_commands(context, hidden)
            continue
        rule = context.policy.rules[index]
        names = [_ACTIONS[number][0] for number, _ in hidden]
        shown = ", ".join(names[:_MOST]) + (f" and {len(names) - _MOST} more" if len(names) > _MOST else "")
        example = request_text(hidden[0][1])
        who = who_text(rule)
        fix = _uncover(context, index, [number for number, _ in hidden])
        named = sorted({name for one in rule.resources for name in one.resource_names})
        if named and all(one.resource_names for one in rule.resources):
            shown += f" named {', '.join(named[:_MOST])}"
        if who:
            message = (
                f"level None hides {shown} by {who} (for example {example}): whoever steals that identity is unseen"
            )
            help_ = (
                "name the noisy resources in this rule, or put a rule with level: Metadata for these actions above it"
            )
            yield context.finding("KW311", rule_path(index), message, help_, fix)
            continue
        message = f"level None hides {shown} by everyone (for example {example})"
        help_ = "put a rule with level: Metadata for these actions above it"
        yield context.finding("KW312", rule_path(index), message, help_, fix)
        yield from _commands(context, index, hidden)


def _unmatched_commands(context: Context, hidden: list[tuple[int, Attributes]]) -> Iterator[Finding]:
    """Give commands only: that no rule matches the rest is told by KW308."""
    yield from _commands(context, None, hidden)


def _commands(context: Context, index: int | None, hidden: list[tuple[int, Attributes]]) -> Iterator[Finding]:
    example = next((request for number, request in hidden if _ACTIONS[number][1] == " ".join(EXEC_LIKE)), None)
    if example is None:
        return
    message = (
        f"{example.verb} pods/{example.subresource} is not recorded: what was run in which container leaves no trace "
        f"(for example {request_text(example)})"
    )
    help_ = (
        "record pods/exec, pods/attach and pods/portforward at level: Metadata, without verbs; `pods` does not stand "
        "for its subresources"
    )
    yield context.finding("KW307", rule_path(index), message, help_)


def _uncover(context: Context, index: int, numbers: list[int]) -> Fix | None:
    """Record at Metadata what a rule with level None hides: one rule before it for each set of verbs."""
    if context.policy is None:
        return None
    by_verbs: dict[tuple[str, ...], list[str]] = {}
    rule = context.policy.rules[index]
    for number in numbers:
        _, names, verbs = _ACTIONS[number]
        by_verbs.setdefault(kept_verbs(rule, names, verbs), []).append(names)
    fixes = [guard(context.policy, index, " ".join(names), verbs) for verbs, names in by_verbs.items()]
    made = [fix for fix in fixes if fix is not None]
    if not made:
        return None
    count = "a rule" if len(made) == 1 else f"{len(made)} rules"
    says = f"put {count} with level Metadata above rules[{index}] for what it hides"
    edits = tuple(edit for fix in made for edit in fix.edits)
    scope = tuple(rule for fix in made for rule in fix.scope or ())
    return Fix(says, edits, scope, Level.METADATA, Level.METADATA)


@check(KW310="commands in containers are told only for some clients: kubectl exec is a get, older ones a create")
def half_of_exec(context: Context) -> Iterator[Finding]:
    """Find rules for exec that know only one of its verbs, where the other is recorded with less."""
    found = compiled(context)
    if found is None or context.policy is None:
        return
    for index, rule in enumerate(context.policy.rules):
        missing = [verb for verb in ("get", "create") if verb not in rule.verbs]
        named = [name for name in EXEC_LIKE if any(name in one.resources for one in rule.resources if one.group == "")]
        if not rule.verbs or len(missing) != 1 or not named or rule.level is Level.NONE:
            continue
        verb = missing[0]
        less = [
            decided
            for decided in asked(context, [(_narrow(rule, (verb,), named),)])
            if _is_later(decided, index) and _level(context, decided.rule_index) < rule.level
        ]
        if not less:
            continue
        kind = "kubectl since 1.30 opens a WebSocket, which is a get" if verb == "get" else "older clients send a POST"
        message = (
            f"{named[0]} with verbs {', '.join(rule.verbs)} misses the verb {verb} ({kind}); "
            f"{_by(context, less[0].rule_index)} has it (for example {request_text(less[0].example)})"
        )
        fix = None
        if all(pattern in EXEC_LIKE for one in rule.resources for pattern in one.resources or ("",)):
            says = f"added {verb} to the verbs of rules[{index}]"
            edit = Edit(Do.APPEND, ("rules", index, "verbs"), verb)
            fix = Fix(says, (edit,), (_narrow(rule, (verb,), named),), rule.level, rule.level)
        yield context.finding(
            "KW310", ("rules", index, "verbs"), message, "leave verbs out, or name get and create", fix
        )


def _narrow(rule: PolicyRule, verbs: tuple[str, ...], names: list[str]) -> PolicyRule:
    """Give who and where of a rule, with these verbs and resources."""
    entry = GroupResources("", tuple(names))
    return PolicyRule(Level.NONE, rule.users, rule.user_groups, verbs, (entry,), rule.namespaces)


def _level(context: Context, index: int | None) -> Level:
    if context.policy is None or index is None:
        return Level.NONE
    return context.policy.rules[index].level


def _is_later(decided: Decided, index: int) -> bool:
    """Whether a request comes past this rule: what an earlier one decides is meant to be an exception."""
    return decided.rule_index is None or decided.rule_index > index


def _by(context: Context, index: int | None) -> str:
    """Say which rule decides, and its level."""
    if index is None:
        return "no rule"
    return f"rules[{index}] (level {_level(context, index).value})"


@check(
    KW313="pods are changed through subresources that are recorded with less than pods are",
    KW406="some of pods/exec, pods/attach and pods/portforward are named, the others are decided elsewhere",
)
def pod_subresources(context: Context) -> Iterator[Finding]:
    """Find rules for pods or exec that forget the subresources that belong to them."""
    if context.policy is None:
        return
    for index, rule in enumerate(context.policy.rules):
        for at, one in enumerate(rule.resources):
            if one.group != "" or one.resource_names or rule.level is Level.NONE:
                continue
            if "pods" in one.resources and rule.level >= Level.REQUEST and set(_CHANGES) & set(rule.verbs or _CHANGES):
                yield from _changed_otherwise(context, index, rule)
            named = [name for name in EXEC_LIKE if name in one.resources]
            if named and len(named) < len(EXEC_LIKE):
                yield from _siblings(context, index, at, named)


def _changed_otherwise(context: Context, index: int, rule: PolicyRule) -> Iterator[Finding]:
    names = ["pods/ephemeralcontainers", "pods/resize"]
    verbs = ("update", "patch")
    scope = _narrow(rule, verbs, names)
    found = asked(context, [(scope,)])
    less = [d for d in found if _is_later(d, index) and _level(context, d.rule_index) < Level.REQUEST]
    if not less:
        return
    index_less = less[0].rule_index
    taken = "no rule records them" if index_less is None else f"{_by(context, index_less)} has them without bodies"
    message = (
        "the rule is for pods, which leaves their subresources out: pods/ephemeralcontainers (kubectl debug) and "
        f"pods/resize change a pod too, and {taken} (for example "
        f"{request_text(less[0].example)}); pods/exec, pods/eviction and pods/binding are not pods either"
    )
    made = PolicyRule(
        rule.level,
        scope.users,
        scope.user_groups,
        resources=scope.resources,
        namespaces=scope.namespaces,
        omit_stages=rule.omit_stages,
    )
    says = f"put a rule with level {rule.level.value} for {' and '.join(names)} above rules[{index}]"
    edit = Edit(Do.INSERT, ("rules", index), rule_content(made))
    fix = Fix(says, (edit,), (made,), rule.level, rule.level)
    help_ = "name pods/ephemeralcontainers and pods/resize beside pods, with the verbs update and patch"
    yield context.finding("KW313", ("rules", index, "resources"), message, help_, fix)


def _siblings(context: Context, index: int, at: int, named: list[str]) -> Iterator[Finding]:
    if context.policy is None:
        return
    rule = context.policy.rules[index]
    others = [name for name in EXEC_LIKE if name not in named and not _names(rule, name)]
    if not others or (rule.verbs and not {"get", "create"} & set(rule.verbs)):
        return
    scope = _narrow(rule, rule.verbs, others)
    found = asked(context, [(scope,)])
    elsewhere = [d for d in found if _is_later(d, index) and _level(context, d.rule_index) is not rule.level]
    if not elsewhere:
        return
    message = (
        f"{' and '.join(named)} are named, {' and '.join(others)} {'is' if len(others) == 1 else 'are'} not: "
        f"{_by(context, elsewhere[0].rule_index)} decides (for example {request_text(elsewhere[0].example)})"
    )
    says = f"added {' and '.join(others)} to rules[{index}]"
    path: Path = ("rules", index, "resources", at, "resources")
    edits = tuple(Edit(Do.APPEND, path, name) for name in others)
    fix = Fix(says, edits, (scope,), rule.level, rule.level)
    yield context.finding("KW406", path, message, "name all three: each opens a way into the container", fix)


def _names(rule: PolicyRule, name: str) -> bool:
    """Whether a rule names a subresource of the core group, by itself or with a pattern."""
    patterns = {name, "pods/*", "*", f"*/{name.partition('/')[2]}"}
    return any(patterns & set(one.resources) or not one.resources for one in rule.resources if one.group in ("", "*"))


@check(
    KW314="commands in containers are recorded only when they have ended",
    KW317="the outcome of requests is not recorded",
    KW316="RequestReceived is omitted, so blocking-strict refuses nothing",
)
def stages(context: Context) -> Iterator[Finding]:
    """Find omitted stages that matter."""
    found = compiled(context)
    if found is None or context.policy is None:
        return
    seen: set[tuple[str, Path]] = set()
    wanted = [
        ("KW314", Stage.RESPONSE_STARTED, [(topic(" ".join(EXEC_LIKE)),)]),
        ("KW317", Stage.RESPONSE_COMPLETE, [(PolicyRule(Level.NONE),)]),
    ]
    if context.mode is Mode.BLOCKING_STRICT:
        wanted.append(("KW316", Stage.REQUEST_RECEIVED, [(PolicyRule(Level.NONE),)]))
    omitted = frozenset(stage for _, decision in found.rules for stage in decision.omit_stages)
    for code, stage, topics in wanted:
        for decided in asked(context, topics) if stage in omitted else ():
            index = decided.rule_index
            decision = found.no_match if index is None else found.rules[index][1]
            path = _stage_path(context, stage, index)
            if not is_recorded(decision) or stage not in decision.omit_stages or (code, path) in seen:
                continue
            seen.add((code, path))
            message, help_ = _STAGE_TEXTS[code]
            shown = f"{message} (for example {request_text(decided.example)})"
            yield context.finding(code, path, shown, help_, _restore(context, stage, index))


_STAGE_TEXTS = {
    "KW314": (
        "a shell that is open has no event yet: ResponseStarted is omitted, and ResponseComplete comes when it ends",
        "keep ResponseStarted",
    ),
    "KW317": (
        "whether requests succeeded is never written: ResponseComplete is omitted, which holds the status",
        "keep ResponseComplete",
    ),
    "KW316": (
        (
            "blocking-strict refuses requests whose RequestReceived event cannot be written; where that stage is "
            "omitted it refuses nothing"
        ),
        "keep RequestReceived, or run in mode blocking",
    ),
}


@check(KW315="deleting events leaves no trace")
def deleted_events(context: Context) -> Iterator[Finding]:
    """Find policies under which the traces that Kubernetes keeps can be wiped unseen."""
    found = compiled(context)
    if found is None or context.policy is None:
        return
    for decided in asked(context, [(topic(_EVENTS, REMOVALS),)]):
        index = decided.rule_index
        if index is None or is_recorded(found.rules[index][1]) or who_text(context.policy.rules[index]):
            continue
        message = f"level None hides that events are deleted (for example {request_text(decided.example)})"
        help_ = "put a rule with level: Metadata for delete and deletecollection of events above it"
        fix = guard(context.policy, index, _EVENTS, REMOVALS)
        yield context.finding("KW315", rule_path(index), message, help_, fix)
