"""
Read an audit policy as kube-apiserver does at start, with its sentences for what it refuses and what it only logs.

`read` takes the text or bytes of a file and gives everything that is known of it; `load` gives the Policy or raises
PolicyError with exactly the text of the server (which appends ": from file <path>"). Finding files, printing and
opinions are left to others (`check` is stricter than the server).

Follows k8s.io/apiserver/pkg/audit/policy/reader.go and the decoders under it: JSON when the text begins with `{`, else
YAML 1.1; strict decoding, then lenient when only strictness was hurt; then validation; then "0 rules". Not followed:
protobuf and CBOR input, which are refused as the YAML that they are not.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeGuard

from kubewitness.event.types import Level, Stage
from kubewitness.policy import gojson, golang, yaml11
from kubewitness.policy.golang import Complaint, Decoded, TypedDecoder
from kubewitness.policy.gotext import quote
from kubewitness.policy.tree import GoError, Kind, Mark, Value
from kubewitness.policy.types import GroupResources, Policy, PolicyRule
from kubewitness.policy.validate import Invalid, RawGroupResources, RawPolicy, RawRule, aggregate, validate
from kubewitness.policy.versions import DEFAULT_SERVER_VERSION, known_version

_GROUP, _INTERNAL = "audit.k8s.io", "__internal"
_SCHEME = 'in scheme "k8s.io/apiserver/pkg/audit/scheme.go:30"'
_V1_TYPES = {
    "Policy": golang.POLICY,
    "PolicyList": golang.POLICY_LIST,
    "Event": golang.EVENT,
    "EventList": golang.EVENT_LIST,
}
# kinds that every version of the scheme knows besides its own
_META_KINDS = frozenset(
    ("WatchEvent", "ListOptions", "GetOptions", "DeleteOptions", "CreateOptions", "UpdateOptions", "PatchOptions")
)
_UNVERSIONED_KINDS = frozenset(("Status", "APIVersions", "APIGroup", "APIGroupList", "APIResourceList"))
_META_STRUCT = 'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'


class PolicyError(Exception):
    """A policy that kube-apiserver refuses; the message is its own."""


class Refusal(enum.Enum):
    """At which step the server gives up."""

    SYNTAX = "the text is no YAML or JSON that the server reads"
    VERSION = "apiVersion and kind name no policy that the server knows"
    TYPE = "a value has the wrong type"
    INVALID = "a value is not allowed"
    NO_RULES = "there are no rules"


@dataclass(frozen=True, slots=True)
class Document:
    """What is known of a policy file. `error` empty: the server accepts it and `policy` is there."""

    policy: Policy | None = None
    raw: RawPolicy | None = None
    error: str = ""
    refusal: Refusal | None = None
    error_mark: Mark | None = None
    invalid: tuple[Invalid, ...] = ()
    warning: str = ""
    tree: Value | None = None
    complaints: tuple[Complaint, ...] = ()
    repeated: tuple[tuple[Mark, str], ...] = ()
    next_document: Mark | None = None


def load(text: str | bytes, server_version: str = DEFAULT_SERVER_VERSION) -> Policy:
    """Give the policy in this text. Raises PolicyError with the server's sentence."""
    document = read(text, server_version)
    if document.policy is None:
        raise PolicyError(document.error)
    return document.policy


def read(text: str | bytes, server_version: str = DEFAULT_SERVER_VERSION) -> Document:
    """Read a policy file and tell everything about it. Never raises for any input but VersionError for a version."""
    server_version = known_version(server_version)
    data = _encode(text) if isinstance(text, str) else text
    is_json = _is_json(data)
    try:
        parsed = yaml11.Decoded(gojson.parse(data)) if is_json else yaml11.decode(data)
    except GoError as error:
        start = "couldn't get version/kind; json parse error: " if is_json else ""
        return Document(error=f"failed decoding: {start}{error}", refusal=Refusal.SYNTAX, error_mark=error.mark)
    known = Document(tree=parsed.value, repeated=parsed.repeated, next_document=parsed.next_document)
    decoder = TypedDecoder()
    try:
        api_version, kind = _version_and_kind(parsed.value)
        group, version = _group_version(api_version, data)
        decoded = _decode(decoder, parsed.value, group, version, kind)
    except GoError as error:
        is_type = str(error).startswith(("json: ", "parsing time"))
        refusal = Refusal.TYPE if is_type else Refusal.VERSION
        return replace(known, error=f"failed decoding: {error}", refusal=refusal, error_mark=error.mark)
    known = replace(
        known, complaints=tuple(decoder.complaints), warning=_warning(parsed.complaints, decoder.complaints)
    )
    if (group, version) != (_GROUP, "v1"):
        error_text = f"unknown group version field {_GROUP}/{_INTERNAL}, Kind={kind} in policy"
        mark = _mark(parsed.value, ("apiVersion",))
        return replace(known, error=error_text, refusal=Refusal.VERSION, error_mark=mark)
    return _judged(known, _raw_policy(decoded), server_version)


def _judged(known: Document, raw: RawPolicy, server_version: str) -> Document:
    """Validate a decoded policy."""
    known = replace(known, raw=raw)
    invalid = validate(raw, server_version)
    if invalid:
        return replace(known, error=aggregate(invalid), refusal=Refusal.INVALID, invalid=invalid)
    if not raw.rules:
        mark = _mark(known.tree, ("rules",)) if known.tree else None
        return replace(known, error="loaded illegal policy with 0 rules", refusal=Refusal.NO_RULES, error_mark=mark)
    return replace(known, policy=_policy(raw))


def _encode(text: str) -> bytes:
    """Give the bytes that a text stands for, those included that were no UTF-8 when it was read."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _is_json(data: bytes) -> bool:
    """Tell JSON by its first character that is no space, as Kubernetes does."""
    return data.decode("utf-8", "replace").lstrip(_GO_SPACES).startswith("{")


_GO_SPACES = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)


def _mark(tree: Value, path: tuple[str | int, ...]) -> Mark:
    value = tree.at(path)
    return value.mark if value is not None else tree.mark


def _warning(yaml_complaints: Sequence[str], complaints: Sequence[Complaint]) -> str:
    parts = ["yaml: unmarshal errors:\n  " + "\n  ".join(yaml_complaints)] if yaml_complaints else []
    parts.extend(str(complaint) for complaint in complaints)
    return "strict decoding error: " + ", ".join(parts) if parts else ""


# which type: apiVersion and kind


def _version_and_kind(tree: Value) -> tuple[str, str]:
    """Read apiVersion and kind as encoding/json does: names fold case, the last one wins."""
    found = {"apiversion": "", "kind": ""}
    if tree.kind is Kind.NULL:
        return "", "Policy"
    start = "couldn't get version/kind; json parse error: json: cannot unmarshal"
    if tree.kind is not Kind.OBJECT:
        raise GoError(f"{start} {tree.kind.value} into Go value of type {_META_STRUCT}", tree.mark)
    error: GoError | None = None
    for member in tree.members:
        name = _fold(member.name)
        if name not in found or member.value.kind is Kind.NULL:
            continue
        if member.value.kind is Kind.STRING:
            found[name] = member.value.text
        elif error is None:
            shown = "apiVersion" if name == "apiversion" else "kind"
            what = member.value.kind.value
            error = GoError(f"{start} {what} into Go struct field .{shown} of type string", member.value.mark)
    if error is not None:
        raise error
    return found["apiversion"], found["kind"] or "Policy"


def _fold(name: str) -> str:
    """Fold case as encoding/json: ASCII, and the two letters outside it that fold into ASCII."""
    return "".join({"\u017f": "s", "\u212a": "k"}.get(c, c.lower() if c.isascii() else c) for c in name)


def _group_version(api_version: str, data: bytes) -> tuple[str, str]:
    if api_version in ("", "/"):
        return _GROUP, _INTERNAL
    group, slash, version = api_version.partition("/")
    if "/" in version:
        raise GoError(f"unexpected GroupVersion string: {api_version}")
    if not slash:
        return "", group
    if not version:
        # of our own group it may be left out
        if group == _GROUP:
            return group, _INTERNAL
        # the server shows the whole file
        raise GoError(f"Object 'apiVersion' is missing in '{data.decode('utf-8', 'replace')}'")
    return group, version


def _decode(decoder: TypedDecoder, tree: Value, group: str, version: str, kind: str) -> Decoded:
    """Decode into the type that apiVersion and kind ask for, and convert that to a policy where there is a way."""
    if (group, version) == (_GROUP, _INTERNAL):
        if kind == "Policy":
            return decoder.decode(tree, golang.INTERNAL_POLICY)
        if kind in ("Event", "EventList", "PolicyList"):
            raise GoError(f"converting (audit.{kind}) to (audit.Policy): unknown conversion", _mark(tree, ("kind",)))
        text = f'no kind {quote(kind)} is registered for the internal version of group "{_GROUP}" {_SCHEME}'
        raise GoError(text, _mark(tree, ("kind",)))
    if (group, version) == (_GROUP, "v1") and kind in _V1_TYPES:
        decoded = decoder.decode(tree, _V1_TYPES[kind])
        if kind == "Policy":
            return decoded
    elif not ((group, version) in ((_GROUP, "v1"), ("", "v1")) and kind in _META_KINDS) and not (
        (group, version) == ("", "v1") and kind in _UNVERSIONED_KINDS
    ):
        shown = f"{group}/{version}" if group else version
        text = f"no kind {quote(kind)} is registered for version {quote(shown)} {_SCHEME}"
        raise GoError(text, _mark(tree, ("apiVersion",)))
    raise GoError(f"converting (v1.{kind}) to (audit.Policy): unknown conversion", _mark(tree, ("kind",)))


# from decoded members to the nouns


def _is_object(value: Decoded) -> TypeGuard[dict[str, Decoded]]:
    return isinstance(value, dict)


def _raw_policy(decoded: Decoded) -> RawPolicy:
    members = decoded if _is_object(decoded) else {}
    return RawPolicy(
        rules=tuple(_raw_rule(rule) for rule in _items(members, "rules")),
        omit_stages=_strings(members, "omitStages"),
        omit_managed_fields=members.get("omitManagedFields") is True,
    )


def _raw_rule(decoded: Decoded) -> RawRule:
    members = decoded if _is_object(decoded) else {}
    omit = members.get("omitManagedFields")
    return RawRule(
        level=_string(members, "level"),
        users=_strings(members, "users"),
        user_groups=_strings(members, "userGroups"),
        verbs=_strings(members, "verbs"),
        resources=tuple(_raw_resources(entry) for entry in _items(members, "resources")),
        namespaces=_strings(members, "namespaces"),
        non_resource_urls=_strings(members, "nonResourceURLs"),
        omit_stages=_strings(members, "omitStages"),
        omit_managed_fields=omit if isinstance(omit, bool) else None,
    )


def _raw_resources(decoded: Decoded) -> RawGroupResources:
    members = decoded if _is_object(decoded) else {}
    return RawGroupResources(
        group=_string(members, "group"),
        resources=_strings(members, "resources"),
        resource_names=_strings(members, "resourceNames"),
    )


def _items(members: dict[str, Decoded], name: str) -> list[Decoded]:
    value = members.get(name)
    return value if isinstance(value, list) else []


def _string(members: dict[str, Decoded], name: str) -> str:
    value = members.get(name)
    return value if isinstance(value, str) else ""


def _strings(members: dict[str, Decoded], name: str) -> tuple[str, ...]:
    # null in a list of strings is Go's empty string
    return tuple(item if isinstance(item, str) else "" for item in _items(members, name))


def _policy(raw: RawPolicy) -> Policy:
    return Policy(
        rules=tuple(
            PolicyRule(
                level=Level(rule.level),
                users=rule.users,
                user_groups=rule.user_groups,
                verbs=rule.verbs,
                resources=tuple(
                    GroupResources(entry.group, entry.resources, entry.resource_names) for entry in rule.resources
                ),
                namespaces=rule.namespaces,
                non_resource_urls=rule.non_resource_urls,
                omit_stages=tuple(Stage(stage) for stage in rule.omit_stages),
                omit_managed_fields=rule.omit_managed_fields,
            )
            for rule in raw.rules
        ),
        omit_stages=tuple(Stage(stage) for stage in raw.omit_stages),
        omit_managed_fields=raw.omit_managed_fields,
    )
