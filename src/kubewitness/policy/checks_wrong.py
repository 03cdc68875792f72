"""KW2xx: what kube-apiserver accepts, though it does not do what it says."""

import difflib
import re
from collections.abc import Iterator

from kubewitness.policy import builtin, golang, mends
from kubewitness.policy.findings import Context, Finding, Fix, Path, check, located, parse_path
from kubewitness.policy.prove.universe import is_resource
from kubewitness.policy.tree import Mark
from kubewitness.policy.types import GroupResources
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
        message = f"unknown field {name}: the server accepts and ignores it"
        fix = mends.other_name(context, parse_path(complaint.path), folded[near[0]]) if near else None
        yield located("KW201", complaint.mark, complaint.path, message, meant, fix)
    for mark, name in context.document.repeated:
        yield _repeated(mark, name, name)
    if context.document.next_document is not None:
        help_ = "put everything into one document; the server takes one policy"
        message = "what follows the first document (after `---`) is ignored"
        yield located("KW213", context.document.next_document, "", message, help_)


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
                    fix = _group_fix(context, index, field, path, name)
                    yield context.finding("KW203", path, message, _exact(name, field), fix)
                elif wrong_kind.fullmatch(name):
                    kind = "group" if field == "users" else "user"
                    message = f'"{name}" is a {kind}, so it never matches in {field}'
                    fix = mends.other_field(context, index, field, right_field, path)
                    yield context.finding("KW215", path, message, f"move it to {right_field}", fix)


def _group_of(name: str) -> str | None:
    """Give the group that a glob of users stands for."""
    found = _SERVICE_ACCOUNTS_OF.fullmatch(name)
    if found:
        return f"system:serviceaccounts:{found[1]}"
    known = {"system:serviceaccount:*": "system:serviceaccounts", "system:serviceaccount:*:*": "system:serviceaccounts"}
    return (known | {"system:node:*": "system:nodes"}).get(name)


def _group_fix(context: Context, index: int, field: str, path: Path, name: str) -> Fix | None:
    if name == "*":
        return mends.everyone(context, index, field, path)
    if field == "users":
        return mends.by_group(context, index, path, _group_of(name))
    return mends.take_out(context, path)


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
                fix = mends.everyone(context, index, "verbs", path) if verb == "*" else mends.take_out(context, path)
                yield context.finding("KW204", path, message, "leave verbs out to match every verb", fix)
            elif verb not in known:
                fix = mends.other_verb(context, index, path, _meant_verb(verb))
                yield context.finding("KW206", path, f'no request has the verb "{verb}"', _verb_help(verb), fix)
            elif is_for_urls and verb not in OTHER_VERBS:
                message = f'requests for URLs never have the verb "{verb}", they have the HTTP method'
                yield context.finding("KW212", path, message, f"write some of {', '.join(OTHER_VERBS[:6])}")
            elif is_for_resources and verb not in (*RESOURCE_VERBS, *_ODD_VERBS):
                message = f'requests for resources never have the verb "{verb}"'
                fix = mends.other_verb(context, index, path, _meant_verb(verb))
                yield context.finding("KW212", path, message, _verb_help(verb), fix)


_MEANT = {"post": "create", "put": "update", "head": "get", "read": "get", "write": "update", "edit": "update"}


def _meant_verb(verb: str) -> str | None:
    """Give the verb that surely was meant."""
    lower = verb.lower()
    if lower in (*RESOURCE_VERBS, "proxy"):
        return lower
    if lower in _SUBRESOURCE_VERBS or lower in _AUTHORIZATION_VERBS:
        return None
    near = difflib.get_close_matches(lower, RESOURCE_VERBS, n=1)
    return _MEANT.get(lower) or (near[0] if near else None)


def _verb_help(verb: str) -> str:
    lower = verb.lower()
    if lower in (*RESOURCE_VERBS, "proxy"):
        return f"write {lower}"
    if lower in _SUBRESOURCE_VERBS:
        resource = _SUBRESOURCE_VERBS[lower]
        return f"it is a subresource: write resources: [{resource}]; kubectl {lower} is a get or create of it"
    if lower in _AUTHORIZATION_VERBS:
        return "it is a permission that authorization asks for; the request itself is a create, update or patch"
    if lower in _MEANT:
        return f"did you mean {_MEANT[lower]}?"
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
                path: Path = ("rules", index, "namespaces", position)
                if namespace == "*":
                    fix = mends.everyone(context, index, "namespaces", path)
                else:
                    fix = mends.take_out(context, path)
                yield context.finding("KW205", path, message, help_, fix)
        if not rule.namespaces or "" in rule.namespaces:
            continue
        for entry_index, entry in enumerate(rule.resources):
            for position, pattern in enumerate(entry.resources):
                found = context.catalogue.find(entry.group, pattern.partition("/")[0])
                # the request for one namespace has that namespace
                if found is not None and not found.is_namespaced and found.name != "namespaces":
                    path = ("rules", index, "resources", entry_index, "resources", position)
                    message = f"{found.name} have no namespace, so a rule for namespaces never matches them"
                    help_ = 'add "" to namespaces or give them a rule of their own'
                    yield context.finding("KW211", path, message, help_, mends.take_out(context, path))


@check(
    KW208="a resource under the core group that belongs to another group",
    KW209="a resource, group or pattern that no request matches",
    KW210="resourceNames with verbs that have no name yet",
)
def resources(context: Context) -> Iterator[Finding]:
    """Find resources that do not exist in their group, and names that can never be there."""
    for index, rule in enumerate(context.raw.rules):
        for entry_index, entry in enumerate(rule.resources):
            path: Path = ("rules", index, "resources", entry_index)
            if not context.catalogue.can_exist(entry.group) and {*entry.resources} <= {"*"}:
                message = f'no resource is of group "{entry.group}", so this never matches'
                yield context.finding("KW209", (*path, "group"), message, _group_help(entry.group))
                continue
            for position, pattern in enumerate(entry.resources):
                yield from _resource(context, (*path, "resources", position), entry, pattern)
            is_named = entry.resource_names and "" not in entry.resource_names
            # a create below an object, as of pods/exec, has the name of the object
            is_plain = all("/" not in pattern and pattern != "*" for pattern in entry.resources)
            if is_named and is_plain and rule.verbs and set(rule.verbs) <= {"create", "deletecollection"}:
                message = f"a {' or '.join(rule.verbs)} has no name in its URL, so resourceNames never match it"
                help_ = "leave resourceNames out for these verbs"
                fix = mends.without_names(context, (*path, "resourceNames"))
                yield context.finding("KW210", (*path, "resourceNames"), message, help_, fix)


def _group_help(group: str) -> str:
    if group in ("core", "v1", "api"):
        return 'write group: "", which is the core group'
    full = [name for name in sorted(builtin.GROUPS) if name.startswith(f"{group}.")]
    near = full or difflib.get_close_matches(group, builtin.GROUPS, n=1)
    return f'write group: "{near[0]}"' if near else "groups that are not Kubernetes's own have a dot in their names"


def _resource(context: Context, path: Path, entry: RawGroupResources, pattern: str) -> Iterator[Finding]:
    resource, slash, subresource = pattern.partition("/")
    given = GroupResources(entry.group, entry.resources, entry.resource_names)
    if pattern == "*" or (resource == "*" and subresource not in ("", "*")):
        return
    if "*" in resource or ("*" in subresource and subresource != "*") or (slash and not subresource) or resource == "":
        message = f'"{pattern}" matches nothing: only *, pods, pods/log, pods/* and */status are patterns'
        meant = {"*/*": '"*" covers every subresource too', "": "name a resource"}.get(pattern)
        fix = None
        if slash and not subresource:
            meant = f"write {resource} or {resource}/*"
            fix = mends.other_resource(context, path, given, f"{resource}/*")
        yield context.finding("KW209", path, message, meant or "list the resources; * stands for all of them", fix)
        return
    if pattern == "*/*" or resource == "*":
        fix = mends.other_resource(context, path, given, "*")
        yield context.finding("KW209", path, f'"{pattern}" matches nothing', '"*" covers every subresource too', fix)
        return
    group = entry.group
    if group == "*":
        return
    known = context.catalogue.find(group, resource)
    if known is None and not context.catalogue.is_complete(group) and context.catalogue.can_exist(group):
        yield from _custom_resource(context, path, given, resource, slash + subresource)
    elif known is None:
        yield from _unknown_resource(context, path, given, resource, slash + subresource)
    elif subresource not in ("", "*") and subresource not in known.subresources:
        near = difflib.get_close_matches(subresource, known.subresources, n=1)
        help_ = f"did you mean {resource}/{near[0]}?" if near else _subresources(known)
        fix = mends.other_resource(context, path, given, f"{resource}/{near[0]}") if near else None
        yield context.finding("KW209", path, f"{resource} have no subresource {subresource}", help_, fix)


def _custom_resource(context: Context, path: Path, given: GroupResources, word: str, rest: str) -> Iterator[Finding]:
    """Judge a resource of a group that is not built in: by its form, and by the user's own definitions."""
    mine = [r.name for r in context.catalogue.by_any_name(word) if r.group == given.group]
    near = mine or difflib.get_close_matches(word.lower(), context.catalogue.names(given.group), n=1, cutoff=0.8)
    if near:
        message = f"{word} is no resource of group {given.group}"
        fix = mends.other_resource(context, path, given, near[0] + rest)
        yield context.finding("KW209", path, message, f"write {near[0]}{rest}", fix)
    elif not is_resource(word):
        message = f"{word} can be no resource: they are named in the plural and in small letters"
        yield context.finding("KW209", path, message, f"write the plural, as {word.lower()}s")


def _subresources(resource: builtin.Resource) -> str:
    if not resource.subresources:
        return f"{resource.name} have no subresources"
    return f"{resource.name} have {', '.join(resource.subresources)}"


# kinds that are sent to a subresource of another
_KINDS_BELOW = {"tokenrequest": "serviceaccounts/token", "eviction": "pods/eviction"}


def _unknown_resource(context: Context, path: Path, given: GroupResources, word: str, rest: str) -> Iterator[Finding]:
    group = given.group
    shown = "the core group" if group == "" else f"group {group}"
    meant = context.catalogue.by_any_name(word)
    here = [resource for resource in meant if resource.group == group]
    if here:
        message = f"{word} is no resource of {shown}: resources are named in the plural and in small letters"
        fix = mends.other_resource(context, path, given, here[0].name + rest)
        yield context.finding("KW209", path, message, f"write {here[0].name}{rest}", fix)
        return
    if meant:
        code = "KW208" if group == "" else "KW209"
        is_sure = len({resource.group for resource in meant}) == 1
        message = f"{word} is no resource of {shown}, so the rule never matches it"
        fix = mends.other_resource(context, path, given, meant[0].name + rest, meant[0].group) if is_sure else None
        yield context.finding(code, path, message, f'{meant[0].name} belong to group: "{meant[0].group}"', fix)
        return
    if word.lower().removesuffix("s") in _KINDS_BELOW:
        message = f"{shown} has no resource {word}, so the rule never matches it"
        kind, below = word.lower().removesuffix("s"), _KINDS_BELOW[word.lower().removesuffix("s")]
        help_ = f"a {kind} is a create of {below}, in the core group"
        yield context.finding("KW209", path, message, help_, mends.take_out(context, path))
        return
    near = difflib.get_close_matches(word.lower(), context.catalogue.names(group), n=1)
    fix = mends.other_resource(context, path, given, near[0] + rest) if near else None
    help_ = f"did you mean {near[0]}{rest}?" if near else _no_resource_help(context, group, shown)
    yield context.finding("KW209", path, f"{shown} has no resource {word}", help_, fix)


def _no_resource_help(context: Context, group: str, shown: str) -> str:
    if not context.catalogue.can_exist(group):
        return _group_help(group)
    return f"a custom resource needs its group beside it; {shown} has none"


@check(KW214="every stage is omitted, so nothing is written")
def silent(context: Context) -> Iterator[Finding]:
    """Find rules that write nothing though their level says so."""
    for index, rule in enumerate(context.raw.rules):
        omitted = set(rule.omit_stages) | set(context.raw.omit_stages)
        if rule.level != "None" and omitted >= set(STAGES):
            message = "all four stages are omitted: requests are counted at their level and nothing is written"
            help_ = "write level: None if that is what you mean"
            yield context.finding("KW214", ("rules", index), message, help_, mends.as_nothing(context, index))
