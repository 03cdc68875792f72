"""KW4xx: what a policy costs, or says for nothing. None of it is wrong; one may have a reason not to mind."""

from collections.abc import Iterator, Sequence

from kubewitness.event.types import Level, Stage
from kubewitness.policy import builtin, mends
from kubewitness.policy.checks_unseen import is_recorded, rule_path
from kubewitness.policy.findings import Context, Do, Edit, Finding, Fix, Path, check
from kubewitness.policy.prove.describe import request_text
from kubewitness.policy.subjects import READS, WRITES, asked, compiled, names_only, topic, who_text
from kubewitness.policy.types import GroupResources, PolicyRule

_BODILESS = frozenset(
    ("pods/exec", "pods/attach", "pods/portforward", "pods/log", "pods/proxy", "services/proxy", "nodes/proxy")
)
_CSR = "certificatesigningrequests.certificates.k8s.io"
_WORKLOADS = "pods deployments.apps daemonsets.apps statefulsets.apps jobs.batch cronjobs.batch"
# what is only ever created
_REVIEWS = (
    "tokenreviews.authentication.k8s.io selfsubjectreviews.authentication.k8s.io bindings "
    "subjectaccessreviews.authorization.k8s.io localsubjectaccessreviews.authorization.k8s.io "
    "selfsubjectaccessreviews.authorization.k8s.io selfsubjectrulesreviews.authorization.k8s.io"
)
_NEVER_LISTED = topic(_REVIEWS, ("list",))
_WITHOUT_FIELDS = frozenset(
    (one.group, one.resources[0]) for one in topic(_REVIEWS + " serviceaccounts/token").resources
)
_PROBES = ("/healthz", "/livez", "/readyz")
_DISCOVERY = ("/api", "/apis", "/openapi/v2", "/openapi/v3")


@check(
    KW403="a resource or group that the servers of this version do not have",
    KW404="a resource that has none of the verbs of its rule",
)
def served(context: Context) -> Iterator[Finding]:
    """Find what requests can name and servers never serve: such requests end with 404 or 405."""
    version = context.catalogue.server_version
    for index, rule in enumerate(context.raw.rules):
        for at, one in enumerate(rule.resources):
            path: Path = ("rules", index, "resources", at)
            if one.group in builtin.GONE_GROUPS:
                message = f"group {one.group} was last served by Kubernetes {builtin.GONE_GROUPS[one.group]}"
                yield context.finding("KW403", (*path, "group"), message, "remove it; only failed requests name it")
                continue
            for position, pattern in enumerate(one.resources):
                resource, _, subresource = pattern.partition("/")
                known = context.catalogue.find(one.group, resource)
                if known is None or (subresource not in ("", "*") and subresource not in known.subresources):
                    continue
                here: Path = (*path, "resources", position)
                versions = known.versions_of(subresource)
                if not versions.has(version):
                    since = f"came with {versions.since}" if versions.since else f"went after {versions.until}"
                    message = f"{pattern} {since}; these servers are {version}"
                    yield context.finding("KW403", here, message, "keep it if the policy is for other versions too")
                yield from _verbs(context, here, rule.verbs, known, pattern)


def _verbs(
    context: Context, path: Path, verbs: tuple[str, ...], known: builtin.Resource, pattern: str
) -> Iterator[Finding]:
    subresource = pattern.partition("/")[2]
    served = known.verbs_of(subresource)
    # of resources whose verbs are odd only the verbs of objects are judged: others are found by KW206 and KW212
    if subresource == "*" or not served or not verbs or not set(verbs) <= set(builtin.OBJECT_VERBS):
        return
    if set(verbs).isdisjoint(served):
        message = f"{pattern} has no {' or '.join(verbs)}, only {', '.join(served)}: only failed requests match"
        fix = mends.take_out(context, path)
        yield context.finding("KW404", path, message, "remove it, or name the verbs it has", fix)


@check(KW405="bodies are asked for where there never are any")
def bodiless(context: Context) -> Iterator[Finding]:
    """Find rules with a level above Metadata whose requests have no bodies."""
    if context.policy is None:
        return
    for index, rule in enumerate(context.policy.rules):
        if rule.level < Level.REQUEST:
            continue
        why = _why_bodiless(rule)
        if why is None:
            continue
        says = f"lowered rules[{index}] to level Metadata, which writes the same"
        fix = Fix(
            says,
            (Edit(Do.REPLACE, ("rules", index, "level"), Level.METADATA.value),),
            (rule,),
            Level.METADATA,
            Level.METADATA,
        )
        help_ = "level: Metadata writes the same, and says so; some detections look for one level, mind those you use"
        yield context.finding(
            "KW405", ("rules", index, "level"), f"level {rule.level.value} gains nothing: {why}", help_, fix
        )


def _why_bodiless(rule: PolicyRule) -> str | None:
    if rule.non_resource_urls:
        return "requests for URLs have no bodies in the log"
    if rule.verbs and set(rule.verbs) <= {"watch"}:
        return "a watch has no body"
    if rule.level is Level.REQUEST and rule.verbs and set(rule.verbs) <= set(READS):
        return "a get, list or watch sends no body, and level Request leaves the answer out"
    named = [name for one in rule.resources for name in _patterns(one)]
    if named and all(name in _BODILESS for name in named):
        shown = named[0]
        if shown in ("pods/exec", "pods/attach"):
            return f"{shown} never has a body; the command is in requestURI, which Metadata has"
        return f"{shown} never has a body"
    return None


def _patterns(one: GroupResources) -> tuple[str, ...]:
    if one.group != "" or not one.resources:
        return ("*",)
    return one.resources


@check(
    KW407="answers to lists are recorded whole",
    KW413="bodies of certificate requests are recorded",
    KW414="bodies of pods and workloads are recorded, with the values of their environment",
    KW416="bodies are recorded with their managed fields",
)
def bodies(context: Context) -> Iterator[Finding]:
    """Find bodies that are large, or that one should know of."""
    found = compiled(context)
    if found is None or context.policy is None:
        return
    lists = (PolicyRule(Level.NONE, verbs=("list",), resources=(GroupResources("*", ("*",)),)),)
    topics = [
        ("KW407", Level.REQUEST_RESPONSE, lists),
        ("KW413", Level.REQUEST, (topic(_CSR, WRITES),)),
        ("KW414", Level.REQUEST, (topic(_WORKLOADS, WRITES),)),
    ]
    for code, level, rules in topics:
        decided = [
            d
            for d in asked(context, [(_NEVER_LISTED,), rules])
            if d.topic == 1
            and d.rule_index is not None
            and found.rules[d.rule_index][1].level >= level
            and is_recorded(found.rules[d.rule_index][1])
        ]
        if not decided:
            continue
        message, help_ = _TEXTS[code]
        shown = f"{_among([d.rule_index for d in decided])}{message} (for example {request_text(decided[0].example)})"
        yield context.finding(code, rule_path(decided[0].rule_index), shown, help_)
    keeping = [
        index
        for index, (_, decision) in enumerate(found.rules)
        if decision.level > Level.METADATA
        and not decision.omit_managed_fields
        and _why_bodiless(context.policy.rules[index]) is None
        and not names_only(context.policy.rules[index], _WITHOUT_FIELDS)
    ]
    if keeping:
        message = f"{_among(keeping)}bodies are written with metadata.managedFields, often their largest part"
        help_ = "write omitManagedFields: true beside rules if who changed what is no evidence to you; patches keep it"
        yield context.finding("KW416", rule_path(keeping[0]), message, help_)


def _among(indexes: Sequence[int | None]) -> str:
    """Name the rules where it is more than the one pointed at."""
    return "" if len(indexes) == 1 else ", ".join(f"rules[{index}]" for index in indexes) + ": "


_TEXTS = {
    "KW407": (
        "answers to lists are written whole, up to megabytes each; backends cut or drop such events",
        "record list at level: Metadata; who listed what is in the URL",
    ),
    "KW413": (
        "bodies of certificatesigningrequests hold no key; whose certificate is asked for is evidence",
        "keep level Request; above it the issued certificate comes too, which is public",
    ),
    "KW414": (
        (
            "environment values and arguments of containers are in the bodies, and some are passwords; images, "
            "mounts and privileges are there too, and attacks on pods are seen nowhere else"
        ),
        "keep the bodies, and pass secrets to pods by reference",
    ),
}


@check(
    KW408="short requests are written twice, at RequestReceived and at ResponseComplete",
    KW409="much of the volume is recorded that tells little",
)
def volume(context: Context) -> Iterator[Finding]:
    """Find what fills disks."""
    found = compiled(context)
    if found is None or context.policy is None:
        return
    twice = [
        index
        for index, (_, decision) in enumerate(found.rules)
        if is_recorded(decision) and not {Stage.REQUEST_RECEIVED, Stage.RESPONSE_COMPLETE} & decision.omit_stages
    ]
    if twice:
        message = f"{_among(twice)}each request is written when it arrives and again when it is answered"
        help_ = "omit RequestReceived where it matters less that a request is seen which the server did not survive"
        path: Path = ("rules", twice[0]) if len(twice) < len(found.rules) else ("rules",)
        yield context.finding("KW408", path, message, help_)
    hogs: list[tuple[str, Level, tuple[PolicyRule, ...]]] = [
        ("renewals of leases", Level.METADATA, (topic("leases.coordination.k8s.io", ("update", "patch")),)),
        ("new events", Level.METADATA, (topic("events events.events.k8s.io", WRITES),)),
        (
            "bodies of nodes/status and pods/status",
            Level.REQUEST,
            (topic("nodes/status pods/status", ("update", "patch")),),
        ),
        *(
            (f"probes of {url}", Level.METADATA, (PolicyRule(Level.NONE, verbs=("get",), non_resource_urls=(url,)),))
            for url in _PROBES
        ),
    ]
    taken: list[str] = []
    first: int | None = None
    for decided in asked(context, [rules for _, _, rules in hogs]):
        name, level, _ = hogs[decided.topic]
        index = decided.rule_index
        if index is None or not is_recorded(found.rules[index][1]) or found.rules[index][1].level < level:
            continue
        if name not in taken:
            taken.append(name)
            first = index if first is None else first
    if taken:
        message = f"{', '.join(taken)} are recorded: on most clusters a large part of the events, and little to learn"
        help_ = "put rules with level: None for them first, named by resource or URL, for their own users only"
        yield context.finding("KW409", rule_path(first), message, help_)


@check(KW415="discovery is not recorded, so anonymous probing is unseen")
def discovery(context: Context) -> Iterator[Finding]:
    """Find rules that hide how strangers look around."""
    found = compiled(context)
    if found is None or context.policy is None:
        return
    topics = [(PolicyRule(Level.NONE, verbs=("get",), non_resource_urls=(url,)),) for url in _DISCOVERY]
    hidden: dict[int, list[str]] = {}
    for decided in asked(context, topics):
        index = decided.rule_index
        if (
            index is not None
            and not is_recorded(found.rules[index][1])
            and not _is_for_known(context.policy.rules[index])
        ):
            hidden.setdefault(index, []).append(_DISCOVERY[decided.topic])
    for index, urls in hidden.items():
        message = f"level None hides {', '.join(urls)} from everyone, strangers (system:anonymous) included"
        help_ = "write userGroups: [system:authenticated] beside it, so that only known users are left out"
        yield context.finding("KW415", rule_path(index), message, help_)


def _is_for_known(rule: PolicyRule) -> bool:
    """Whether a rule leaves strangers in the log."""
    return (
        bool(who_text(rule))
        and "system:unauthenticated" not in rule.user_groups
        and "system:anonymous" not in rule.users
    )
