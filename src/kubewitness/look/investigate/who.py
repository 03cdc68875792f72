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
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from kubewitness.event.types import Event, Level, ObjectReference
from kubewitness.look.investigate.bodies import name_in_body, name_prefix, names_in_list
from kubewitness.look.query.sql import literal

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
    reference = event.object_ref
    if reference is None or event.verb is None:
        return None
    if question in (Question.DELETED, Question.TOUCHED):
        cascade = _namespace_deleted(event, reference, target)
        if cascade is not None:
            return cascade
    if question in (Question.EXEC, Question.TOUCHED):
        around = _through_the_kubelet(event, reference, target)
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
    if question in (Question.EXEC, Question.TOUCHED):
        conditions.append("resource = 'nodes' AND subresource = 'proxy'")
    return " OR ".join(f"({condition})" for condition in conditions)


_VERBS = {
    Question.CREATED: ("create", "patch", "update"),
    Question.DELETED: ("delete", "deletecollection", "create"),
    Question.CHANGED: ("update", "patch", "create"),
    Question.READ: ("get", "list", "watch"),
    Question.LISTED: ("list", "watch"),
    Question.EXEC: ("get", "create"),
}


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
        return _certain(event, "deleted", named) if named else None
    if event.verb == "create" and reference.subresource == "eviction":
        named = _named(event, reference, target)
        return _certain(event, "evicted", named) if named else None
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
    if not _may_have_happened(event):
        return None  # refused as a whole: nothing of it happened to this object
    names = names_in_list(event, target.namespace)
    if names is not None:
        return _certain(event, did, "named in the list of the response body") if target.name in names else None
    if event.verb == "watch":
        return Finding(event, did, Certainty.UNKNOWN, "unknown: what a watch sent is not recorded at any level")
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
    ):
        return None
    return Finding(event, "deleted its namespace", Certainty.INFERRED, "everything in a deleted namespace is deleted")


_KUBELET = re.compile(r"/proxy/(run|exec|attach|portForward)/([^/?]+)/([^/?]+)")
_KUBELET_WORDS = {
    "run": "ran a command in",
    "exec": "ran a command in",
    "attach": "attached to",
    "portForward": "forwarded a port of",
}


def _through_the_kubelet(event: Event, reference: ObjectReference, target: Target) -> Finding | None:
    """Judge a call to the kubelet's own API through nodes/proxy, which leaves no pods/exec."""
    if reference.resource != "nodes" or reference.subresource != "proxy":
        return None
    call = _KUBELET.search(event.request_uri or "")
    if call is None:
        return None
    word, namespace, pod = call[1], unquote(call[2]), unquote(call[3])
    is_pod = target.resource == "pods" and target.name in (None, pod) and target.namespace in (None, namespace)
    is_node = target.resource == "nodes" and target.name in (None, reference.name)
    if not is_pod and not is_node:
        return None
    return _certain(event, _KUBELET_WORDS[word], f"through nodes/proxy: pod {namespace}/{pod} on node {reference.name}")


def _may_have_happened(event: Event) -> bool:
    code = _code(event)
    return code is None or code < 400


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
