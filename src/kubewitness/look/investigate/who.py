"""
Answer "who did that to this object?" from Events, and say how sure the log can be.

`judge` looks at one Event (the latest of its request) and tells whether it answers the question: certainly,
because URL or body name the object, or perhaps, because what would name it is not recorded. Names come through
`generateName`, `deletecollection`, field selectors, list bodies and evictions where they left evidence.
Finding the Events is left to `look.query`; printing to the command line.

Follows what kube-apiserver 1.36 records at each level (k8s.io/apiserver/pkg/audit/request.go).
"""

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from kubewitness.event.derive import expand
from kubewitness.event.expr import Ref
from kubewitness.event.expr_evaluate import evaluate
from kubewitness.event.types import Event, Level, ObjectReference
from kubewitness.look.investigate.bodies import name_in_body, name_prefix, names_in_list
from kubewitness.look.query.sql import literal
from kubewitness.policy.request import info_from_uri, split_url

CONNECT = frozenset({"exec", "attach", "portforward", "proxy"})
"""Subresources that open a stream to the object; they neither read nor change what the API stores."""
NOT_A_CHANGE = CONNECT | {"token", "eviction", "log"}


class Question(enum.Enum):
    """What can be asked. The value is the word of the command line."""

    CREATED = "created"
    DELETED = "deleted"
    CHANGED = "changed"
    READ = "read"
    LISTED = "listed"
    EXEC = "exec"
    TOUCHED = "touched"


@dataclass(frozen=True, slots=True)
class Target:
    """The object asked about. `namespace` None: any; `api_group` None: any; `name` None: any object of the kind."""

    resource: str
    name: str | None = None
    namespace: str | None = None
    api_group: str | None = None

    def __str__(self) -> str:
        kind = f"{self.resource}.{self.api_group}" if self.api_group else self.resource
        name = f"{kind}/{self.name}" if self.name else kind
        return f"{name} in namespace {self.namespace}" if self.namespace else name


class Certainty(enum.Enum):
    """How sure an answer is."""

    CERTAIN = "certain"
    INFERRED = "inferred"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One Event that answers: what was done, how sure that it was this object, and from what that is known."""

    event: Event
    did: str
    certainty: Certainty
    evidence: str


def judge(event: Event, question: Question, target: Target) -> Finding | None:
    """Tell whether this Event answers the question about the target; None when it certainly does not."""
    reference = _reference(event)
    if reference is None or event.verb is None:
        return None
    if question in (Question.DELETED, Question.TOUCHED):
        cascade = _namespace_deleted(event, reference, target)
        if cascade is not None:
            return cascade
    if question in _KUBELET_WORDS:
        around = _through_the_kubelet(event, reference, target, _KUBELET_WORDS[question])
        if around is not None:
            return around
    if not _is_of_kind(reference, target):
        return None
    if question is Question.TOUCHED:
        return _touched(event, reference, target)
    return _JUDGES[question](event, reference, target)


def candidates(question: Question, target: Target) -> str:
    """Give a condition in SQL over `events` that every Event `judge` may accept meets: cheap, and never too narrow."""
    resource = f"resource = {literal(target.resource)}"
    if target.api_group is not None:
        resource += f" AND coalesce(api_group, '') = {literal(target.api_group)}"
    if target.name is not None:
        resource += f" AND (name = {literal(target.name)} OR name IS NULL)"
    if target.namespace is not None:
        resource += f" AND (namespace = {literal(target.namespace)} OR namespace IS NULL)"
    verbs = _VERBS.get(question)
    if verbs:
        resource += f" AND verb IN ({', '.join(map(literal, verbs))})"
    conditions = [resource]
    if question in (Question.DELETED, Question.TOUCHED) and target.namespace is not None:
        conditions.append(f"resource = 'namespaces' AND verb = 'delete' AND name = {literal(target.namespace)}")
    if question in _KUBELET_WORDS:
        conditions.append("resource = 'nodes' AND subresource = 'proxy'")
    conditions.append("dialect = 'legacy'")  # the object stands in the URL alone
    return " OR ".join(f"({condition})" for condition in conditions)


_VERBS = {
    Question.CREATED: ("create", "patch", "update"),
    Question.DELETED: ("delete", "deletecollection", "create"),
    Question.CHANGED: ("update", "patch", "create"),
    Question.READ: ("get", "list", "watch"),
    Question.LISTED: ("list", "watch"),
    Question.EXEC: ("get", "create"),
}


def _reference(event: Event) -> ObjectReference | None:
    """Give the object of a request; where it is not recorded, as in the legacy format, by the URL."""
    if event.object_ref is not None and event.object_ref.resource is not None:
        return event.object_ref
    info = info_from_uri(event.verb or "", event.request_uri or "")
    if not info.is_resource_request:
        return None
    return ObjectReference(
        resource=info.resource,
        namespace=info.namespace or None,
        name=info.name or None,
        api_group=info.api_group or None,
        subresource=info.subresource or None,
    )


def _is_of_kind(reference: ObjectReference, target: Target) -> bool:
    if reference.resource != target.resource:
        return False
    if target.api_group is not None and (reference.api_group or "") != target.api_group:
        return False
    if target.namespace is None or reference.namespace == target.namespace:
        return True
    # a list, watch or deletecollection over all namespaces takes in this one too
    return reference.namespace is None and reference.name is None and target.resource != "namespaces"


def _named(event: Event, reference: ObjectReference, target: Target) -> str | None:
    """Say where the Event names the target, None when it names another object or none."""
    if target.name is None:
        return "any object of this kind"
    if reference.name is not None:
        return "named in the request" if reference.name == target.name else None
    body_name = name_in_body(event)
    if body_name is not None and body_name == target.name:
        return "name taken from the response body"
    return None


def _is_done(event: Event) -> bool:
    """Tell whether the server let it happen, as far as this stage knows."""
    code = _code(event)
    return code is not None and code < 400


def _code(event: Event) -> int | None:
    return event.response_status.code if event.response_status else None


def _certain(event: Event, did: str, evidence: str) -> Finding:
    return Finding(event, did, Certainty.CERTAIN, evidence)


def _unknown(event: Event, did: str, why: str) -> Finding:
    level = event.level.value if event.level else "an unknown level"
    cut = ", and its bodies were cut" if (event.annotations or {}).get("audit.k8s.io/truncated") == "true" else ""
    return Finding(event, did, Certainty.UNKNOWN, f"unknown: recorded at {level}{cut}: {why}")


def _created(event: Event, reference: ObjectReference, target: Target) -> Finding | None:
    if reference.subresource is not None:
        return None
    if event.verb in ("patch", "update"):
        # a server-side apply, or an update of what was not there, creates: the server says so by 201
        named = _named(event, reference, target)
        return (
            _certain(event, "created", f"{named}; {event.verb} answered 201") if named and _code(event) == 201 else None
        )
    if event.verb != "create":
        return None
    named = _named(event, reference, target)
    if named:
        return _certain(event, "created", named)
    if reference.name is not None or name_in_body(event) is not None or not _may_have_happened(event):
        return None
    prefix = name_prefix(event)
    if prefix is None:
        if _level(event) >= Level.REQUEST and event.request_object:
            return None  # the body is recorded and asks for no generated name
        return _unknown(event, "created", "the request gives no name; the server's answer would, at RequestResponse")
    if target.name is not None and not target.name.startswith(prefix):
        return None
    return _unknown(event, "created", f'the server made up a name after "{prefix}"; its answer is not recorded')


def _deleted(event: Event, reference: ObjectReference, target: Target) -> Finding | None:
    if event.verb == "delete" and reference.subresource is None:
        named = _named(event, reference, target)
        return _certain(event, "deleted", f"{named}{_unless_dry(event)}") if named else None
    if event.verb == "create" and reference.subresource == "eviction":
        named = _named(event, reference, target)
        return _certain(event, "evicted", f"{named}{_unless_dry(event)}") if named else None
    if event.verb == "deletecollection" and reference.subresource is None:
        return _in_collection(event, target, "deleted in a collection")
    return None


def _changed(event: Event, reference: ObjectReference, target: Target) -> Finding | None:
    if reference.subresource in NOT_A_CHANGE:
        return None
    is_write = event.verb in ("update", "patch") or (event.verb == "create" and reference.subresource is not None)
    named = _named(event, reference, target) if is_write else None
    if not named:
        return None
    part = f" ({reference.subresource})" if reference.subresource else ""
    return _certain(event, f"changed{part}", named)


def _read(event: Event, reference: ObjectReference, target: Target) -> Finding | None:
    if reference.subresource in CONNECT:
        return None
    part = f" ({reference.subresource})" if reference.subresource else ""
    if event.verb == "get":
        named = _named(event, reference, target)
        return _certain(event, f"read{part}", named) if named else None
    if event.verb not in ("list", "watch"):
        return None
    if reference.name is not None:
        return (
            _certain(event, "read by a selector", "named in the field selector")
            if reference.name == target.name
            else None
        )
    return _in_collection(event, target, "read in a list" if event.verb == "list" else "read by a watch")


def _listed(event: Event, reference: ObjectReference, target: Target) -> Finding | None:
    if event.verb not in ("list", "watch") or reference.subresource is not None:
        return None
    if target.name is not None and reference.name is not None and reference.name != target.name:
        return None
    did = "listed" if event.verb == "list" else "watched"
    if target.name is None or reference.name == target.name:
        return _certain(event, did, "the whole request")
    return _in_collection(event, target, did)


def _executed(event: Event, reference: ObjectReference, target: Target) -> Finding | None:
    if reference.subresource not in ("exec", "attach", "portforward"):
        return None
    named = _named(event, reference, target)
    words = {"exec": "ran a command in", "attach": "attached to", "portforward": "forwarded a port of"}
    return _certain(event, words[reference.subresource], named) if named else None


def _touched(event: Event, reference: ObjectReference, target: Target) -> Finding | None:
    for question in (Question.CREATED, Question.DELETED, Question.CHANGED, Question.READ, Question.EXEC):
        finding = _JUDGES[question](event, reference, target)
        if finding is not None and (question is not Question.READ or finding.certainty is Certainty.CERTAIN):
            return finding
    named = _named(event, reference, target)
    part = f" {reference.subresource}" if reference.subresource else ""
    return _certain(event, f"{event.verb}{part}", named) if named and event.verb not in ("list", "watch") else None


_JUDGES = {
    Question.CREATED: _created,
    Question.DELETED: _deleted,
    Question.CHANGED: _changed,
    Question.READ: _read,
    Question.LISTED: _listed,
    Question.EXEC: _executed,
}


def _in_collection(event: Event, target: Target, did: str) -> Finding | None:
    """Judge a request over many objects: its selector or its recorded answer may tell whether this was one."""
    if target.name is None:
        return _certain(event, did, "the whole collection")
    selected = _selected_by_name(event, target.name)
    if selected is not None:
        return _certain(event, did, "named in the field selector") if selected else None
    if event.verb == "deletecollection" and _may_have_begun(event):
        why = "unknown: it failed, perhaps after some were deleted; which, is recorded at no level"
        return Finding(event, did, Certainty.UNKNOWN, why)
    if not _is_done(event) and _code(event) is not None:
        return None  # refused as a whole: nothing of it happened to this object
    names = names_in_list(event, target.namespace)
    if names is not None:
        return _certain(event, did, "named in the list of the response body") if target.name in names else None
    if event.verb == "watch":
        return Finding(event, did, Certainty.UNKNOWN, "unknown: what a watch sent is not recorded at any level")
    if event.response_object:
        return _unknown(event, did, "the answer that is recorded does not name its objects")
    return _unknown(event, did, "which objects it took in is in the response body")


def _namespace_deleted(event: Event, reference: ObjectReference, target: Target) -> Finding | None:
    """Judge the deletion of the target's namespace: everything in it goes."""
    if (
        event.verb != "delete"
        or reference.resource != "namespaces"
        or reference.subresource is not None
        or target.namespace is None
        or target.resource == "namespaces"
        or reference.name != target.namespace
        or not _is_done(event)
        or _is_dry(event)
    ):
        return None
    return Finding(event, "deleted its namespace", Certainty.INFERRED, "everything in a deleted namespace is deleted")


_KUBELET = re.compile(r"/proxy/(\w+)/([^/]+)/([^/]+)")
_KUBELET_CONNECTS = {
    "run": "ran a command in",
    "exec": "ran a command in",
    "attach": "attached to",
    "portForward": "forwarded a port of",
}
_KUBELET_READS = {"containerLogs": "read the log of"}
_KUBELET_WORDS = {
    Question.EXEC: _KUBELET_CONNECTS,
    Question.READ: _KUBELET_READS,
    Question.TOUCHED: _KUBELET_CONNECTS | _KUBELET_READS,
}


def _through_the_kubelet(
    event: Event, reference: ObjectReference, target: Target, words: Mapping[str, str]
) -> Finding | None:
    """Judge a call to the kubelet's own API through nodes/proxy, which leaves no pods/exec and no pods/log."""
    if reference.resource != "nodes" or reference.subresource != "proxy" or target.api_group:
        return None
    path, _ = split_url(event.request_uri or "", is_strict=False)
    call = _KUBELET.search(path)
    if call is None or call[1] not in words:
        return None
    word, namespace, pod = call.groups()
    is_pod = target.resource == "pods" and target.name in (None, pod) and target.namespace in (None, namespace)
    is_node = target.resource == "nodes" and target.name in (None, reference.name)
    if not is_pod and not is_node:
        return None
    return _certain(event, words[word], f"through nodes/proxy: pod {namespace}/{pod} on node {reference.name}")


def _may_have_happened(event: Event) -> bool:
    """Tell whether a create may have been done: an error of the server, such as a timeout, may come after it."""
    code = _code(event)
    return code is None or code < 400 or code >= 500


def _may_have_begun(event: Event) -> bool:
    """Tell whether a deletecollection failed at one of its objects: each is admitted and deleted on its own."""
    code = _code(event)
    is_authorized = (event.annotations or {}).get("authorization.k8s.io/decision") == "allow"
    return code is not None and (code >= 500 or (code in (403, 409) and is_authorized))


def _unless_dry(event: Event) -> str:
    """Say that a deletion may have been a dry run, where that would stand in a body that is not recorded."""
    is_open = _is_done(event) and _is_dry(event) is None
    return f"; whether it was a dry run is not recorded at {_level(event).value}" if is_open else ""


def _is_dry(event: Event) -> bool | None:
    """Tell whether the request changed nothing; None where nobody can tell."""
    dry = evaluate(expand(Ref("dryrun")), event)
    return None if dry is None else bool(dry)


def _level(event: Event) -> Level:
    return event.level or Level.NONE


def _selected_by_name(event: Event, name: str) -> bool | None:
    """Tell whether the request's field selector takes in this name; None when it does not speak of names."""
    query = parse_qs(urlsplit(event.request_uri or "").query)
    for selector in query.get("fieldSelector", ()):
        for term in selector.split(","):
            key, operator, value = _field_term(term)
            if key == "metadata.name":
                if operator == "=":
                    return value == name
                if value == name:
                    return False
    return None


def _field_term(term: str) -> tuple[str, str, str]:
    """Cut `key=value`, `key==value` or `key!=value`."""
    if "!=" in term:
        key, _, value = term.partition("!=")
        return key, "!=", value
    key, _, value = term.partition("=")
    return key, "=", value.removeprefix("=")
