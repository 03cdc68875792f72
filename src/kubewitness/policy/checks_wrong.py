"""KW2xx: what kube-apiserver accepts, though it does not do what it says."""

import difflib
import re
from collections.abc import Iterator

from kubewitness.policy import builtin, golang
from kubewitness.policy.cover import covers, is_catch_all
from kubewitness.policy.findings import Context, Finding, Path, check, located
from kubewitness.policy.tree import Mark
from kubewitness.policy.validate import STAGES, RawGroupResources

RESOURCE_VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
OTHER_VERBS = ("get", "head", "post", "put", "patch", "delete", "options", "trace", "connect")
_ODD_VERBS = ("", "proxy")
# verbs that authorization knows and requests never have
_AUTHORIZATION_VERBS = ("use", "bind", "escalate", "impersonate", "approve", "sign", "attest")
_SUBRESOURCE_VERBS = {
    "exec": "pods/exec",
    "attach": "pods/attach",
    "portforward": "pods/portforward",
    "log": "pods/log",
}
# how many rules back a covering rule is looked for; real policies have fewer than a hundred
_MAX_LOOK_BACK = 300
_GROUP_LIKE = re.compile(
    r"system:(masters|authenticated|unauthenticated|nodes|monitoring|bootstrappers(:.*)?|serviceaccounts(:.*)?)"
)
_USER_LIKE = re.compile(r"system:(anonymous|apiserver|kube-.*|node:.*|serviceaccount:.*)")
_SERVICE_ACCOUNTS_OF = re.compile(r"system:serviceaccount:([^:*]+):\*")


@check(
    KW201="a field that does not exist; the server ignores it, so the rule matches more than it seems",
    KW202="a field given twice; the server takes the last",
    KW213="more documents follow the first; the server reads only the first",
)
def strictness(context: Context) -> Iterator[Finding]:
    """Give what the server only warns about, and what it drops without a word."""
    for complaint in context.document.complaints:
        name = re.split(r"[.\]]", complaint.path)[-1]
        if complaint.kind == "duplicate":
            yield located(
                "KW202", complaint.mark, complaint.path, f"{name} is given twice", "keep one; the last counts"
            )
            continue
        fields = _fields_at(complaint.path)
        folded = {field.lower(): field for field in fields}
        near = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.5)
        meant = f"did you mean {folded[near[0]]}?" if near else f"known here: {', '.join(fields)}"
        yield located(
            "KW201", complaint.mark, complaint.path, f"unknown field {name}: the server accepts and ignores it", meant
        )
    for mark, name in context.document.repeated:
        yield _repeated(mark, name, name)
    if context.document.is_followed:
        help_ = "put everything into one document; the server takes one policy"
        yield context.finding("KW213", (), "what follows the first document (after `---`) is ignored", help_)


def _repeated(mark: Mark, path: str, name: str) -> Finding:
    return located("KW202", mark, path, f"{name} is given twice", "keep one; the last counts")


def _fields_at(path: str) -> list[str]:
    if re.match(r"rules\[\d+\]\.resources\[\d+\]\.", path):
        return list(golang.GROUP_RESOURCES.fields)
    if re.match(r"rules\[\d+\]\.", path):
        return list(golang.RULE.fields)
    if path.startswith("metadata."):
        return list(golang.POLICY.fields["metadata"].fields)
    return list(golang.POLICY.fields)


@check(
    KW203="a user or group with a glob; names are compared exactly, so it never matches",
    KW215="a group where users belong, or a user where groups belong",
)
def names(context: Context) -> Iterator[Finding]:
    """Find users and groups that no one can have."""
    for index, rule in enumerate(context.raw.rules):
        for field, values, wrong_kind, right_field in (
            ("users", rule.users, _GROUP_LIKE, "userGroups"),
            ("userGroups", rule.user_groups, _USER_LIKE, "users"),
        ):
            for position, name in enumerate(values):
                path: Path = ("rules", index, field, position)
                if "*" in name:
                    message = f'"{name}" never matches: {field} are compared letter for letter, there is no globbing'
                    yield context.finding("KW203", path, message, _exact(name, field))
                elif wrong_kind.fullmatch(name):
                    kind = "group" if field == "users" else "user"
                    message = f'"{name}" is a {kind}, so it never matches in {field}'
                    yield context.finding("KW215", path, message, f"move it to {right_field}")


def _exact(name: str, field: str) -> str:
    found = _SERVICE_ACCOUNTS_OF.fullmatch(name)
    if found:
        return f'write userGroups: ["system:serviceaccounts:{found[1]}"], the group of all service accounts there'
    if name in ("system:serviceaccount:*", "system:serviceaccount:*:*"):
        return 'write userGroups: ["system:serviceaccounts"], the group of all service accounts'
    if name == "system:node:*":
        return 'write userGroups: ["system:nodes"], the group of all kubelets'
    if name == "*":
        return f"leave {field} out to match everyone"
    return "list the names, or match a group that all of them have"


@check(
    KW204="a verb that is `*`; it is compared literally, so it never matches",
    KW206="a verb that no request has",
    KW212="verbs that the requests of the rule never have",
)
def verbs(context: Context) -> Iterator[Finding]:
    """Find verbs that no request has."""
    known = dict.fromkeys((*RESOURCE_VERBS, *OTHER_VERBS, *_ODD_VERBS))
    for index, rule in enumerate(context.raw.rules):
        is_for_urls = bool(rule.non_resource_urls)
        is_for_resources = bool(rule.resources or rule.namespaces)
        for position, verb in enumerate(rule.verbs):
            path: Path = ("rules", index, "verbs", position)
            if "*" in verb:
                message = f'"{verb}" never matches: verbs are compared letter for letter'
                yield context.finding("KW204", path, message, "leave verbs out to match every verb")
            elif verb not in known:
                yield context.finding("KW206", path, f'no request has the verb "{verb}"', _verb_help(verb))
            elif is_for_urls and verb not in OTHER_VERBS:
                message = f'requests for URLs never have the verb "{verb}", they have the HTTP method'
                yield context.finding("KW212", path, message, f"write some of {', '.join(OTHER_VERBS[:6])}")
            elif is_for_resources and verb not in (*RESOURCE_VERBS, *_ODD_VERBS):
                message = f'requests for resources never have the verb "{verb}"'
                yield context.finding("KW212", path, message, _verb_help(verb))


def _verb_help(verb: str) -> str:
    lower = verb.lower()
    meant = {"post": "create", "put": "update", "head": "get", "read": "get", "write": "update", "edit": "update"}
    if lower in (*RESOURCE_VERBS, "proxy"):
        return f"write {lower}"
    if lower in _SUBRESOURCE_VERBS:
        resource = _SUBRESOURCE_VERBS[lower]
        return f"it is a subresource: write resources: [{resource}]; kubectl {lower} is a get or create of it"
    if lower in _AUTHORIZATION_VERBS:
        return "it is a permission that authorization asks for; the request itself is a create, update or patch"
    if lower in meant:
        return f"did you mean {meant[lower]}?"
    near = difflib.get_close_matches(lower, RESOURCE_VERBS, n=1)
    return f"did you mean {near[0]}?" if near else f"verbs are {', '.join(RESOURCE_VERBS)}"


@check(
    KW205="a namespace with a glob; it is compared literally, so it never matches",
    KW211="resources without namespace in a rule for namespaces",
)
def namespaces(context: Context) -> Iterator[Finding]:
    """Find namespaces that no request has."""
    for index, rule in enumerate(context.raw.rules):
        for position, namespace in enumerate(rule.namespaces):
            if "*" in namespace:
                message = f'"{namespace}" never matches: namespaces are compared letter for letter'
                help_ = "list the namespaces, or leave namespaces out to match all"
                yield context.finding("KW205", ("rules", index, "namespaces", position), message, help_)
        if not rule.namespaces or "" in rule.namespaces:
            continue
        for entry_index, entry in enumerate(rule.resources):
            for position, pattern in enumerate(entry.resources):
                found = builtin.find(entry.group, pattern.partition("/")[0])
                # the request for one namespace has that namespace
                if found is not None and not found.is_namespaced and found.name != "namespaces":
                    path: Path = ("rules", index, "resources", entry_index, "resources", position)
                    message = f"{found.name} have no namespace, so a rule for namespaces never matches them"
                    yield context.finding(
                        "KW211", path, message, 'add "" to namespaces or give them a rule of their own'
                    )


@check(
    KW208="a resource under the core group that belongs to another group",
    KW209="a resource or pattern that no request matches",
    KW210="resourceNames with verbs that have no name yet",
)
def resources(context: Context) -> Iterator[Finding]:
    """Find resources that do not exist in their group, and names that can never be there."""
    for index, rule in enumerate(context.raw.rules):
        for entry_index, entry in enumerate(rule.resources):
            path: Path = ("rules", index, "resources", entry_index)
            for position, pattern in enumerate(entry.resources):
                yield from _resource(context, (*path, "resources", position), entry, pattern)
            is_named = entry.resource_names and "" not in entry.resource_names
            if is_named and rule.verbs and set(rule.verbs) <= {"create", "deletecollection"}:
                message = f"a {' or '.join(rule.verbs)} has no name in its URL, so resourceNames never match it"
                help_ = "leave resourceNames out for these verbs"
                yield context.finding("KW210", (*path, "resourceNames"), message, help_)


def _resource(context: Context, path: Path, entry: RawGroupResources, pattern: str) -> Iterator[Finding]:
    resource, slash, subresource = pattern.partition("/")
    if pattern == "*" or (resource == "*" and subresource not in ("", "*")):
        return
    if "*" in resource or ("*" in subresource and subresource != "*") or (slash and not subresource) or resource == "":
        message = f'"{pattern}" matches nothing: only *, pods, pods/log, pods/* and */status are patterns'
        meant = {"*/*": '"*" covers every subresource too', "": "name a resource"}.get(pattern)
        if slash and not subresource:
            meant = f"write {resource} or {resource}/*"
        yield context.finding("KW209", path, message, meant or "list the resources; * stands for all of them")
        return
    if pattern == "*/*" or resource == "*":
        yield context.finding("KW209", path, f'"{pattern}" matches nothing', '"*" covers every subresource too')
        return
    group = entry.group
    if group == "*" or group not in builtin.GROUPS:
        return
    known = builtin.find(group, resource)
    if known is None:
        yield from _unknown_resource(context, path, group, resource, slash + subresource)
    elif subresource not in ("", "*") and subresource not in known.subresources:
        near = difflib.get_close_matches(subresource, known.subresources, n=1)
        help_ = f"did you mean {resource}/{near[0]}?" if near else _subresources(known)
        yield context.finding("KW209", path, f"{resource} have no subresource {subresource}", help_)


def _subresources(resource: builtin.Resource) -> str:
    if not resource.subresources:
        return f"{resource.name} have no subresources"
    return f"{resource.name} have {', '.join(resource.subresources)}"


def _unknown_resource(context: Context, path: Path, group: str, word: str, rest: str) -> Iterator[Finding]:
    shown = "the core group" if group == "" else f"group {group}"
    meant = builtin.by_any_name(word)
    here = [resource for resource in meant if resource.group == group]
    if here:
        message = f"{word} is no resource of {shown}: resources are named in the plural and in small letters"
        yield context.finding("KW209", path, message, f"write {here[0].name}{rest}")
        return
    if meant:
        code = "KW208" if group == "" else "KW209"
        message = f"{word} is no resource of {shown}, so the rule never matches it"
        yield context.finding(code, path, message, f'{meant[0].name} belong to group: "{meant[0].group}"')
        return
    near = difflib.get_close_matches(word.lower(), builtin.names(group), n=1)
    help_ = (
        f"did you mean {near[0]}{rest}?" if near else f"a custom resource needs its group beside it; {shown} has none"
    )
    yield context.finding("KW209", path, f"{shown} has no resource {word}", help_)


@check(
    KW207="a rule that can never decide, because an earlier one matches all it matches",
    KW214="every stage is omitted, so nothing is written",
)
def reach(context: Context) -> Iterator[Finding]:
    """Find rules without effect."""
    rules = context.raw.rules
    first_catch_all = next((index for index, rule in enumerate(rules) if is_catch_all(rule)), None)
    for index, rule in enumerate(rules):
        if first_catch_all is not None and first_catch_all < index:
            cause: int | None = first_catch_all
        else:
            nearby = range(max(0, index - _MAX_LOOK_BACK), index)
            cause = next((earlier for earlier in nearby if covers(rules[earlier], rule)), None)
        if cause is not None:
            line = context.mark(("rules", cause)).line
            kind = "matches every request" if is_catch_all(rules[cause]) else "matches all that this one matches"
            message = f"this rule never decides: rules[{cause}] on line {line} {kind}, and the first match counts"
            yield context.finding("KW207", ("rules", index), message, f"move it above rules[{cause}] or remove it")
        omitted = set(rule.omit_stages) | set(context.raw.omit_stages)
        if rule.level != "None" and omitted >= set(STAGES):
            message = "all four stages are omitted: requests are counted at their level and nothing is written"
            yield context.finding("KW214", ("rules", index), message, "write level: None if that is what you mean")
