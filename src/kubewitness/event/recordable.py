"""
What an Event could not have held: for every field, when its absence says nothing.

A field that is absent though recordable is absent: a predicate on it is false. A field that the level, stage, verb,
outcome or dialect of the Event kept out, or that truncation or redaction took out, is unknown: `unrecordable(path)`
says when, as an expression over the Event, and `why(path, ...)` says it in words. Both are about an absent value only.

Follows what kube-apiserver 1.36 was measured to record: names come from the URL, or from a body that was read and
decoded; bodies of requests refused by RBAC are never read; what a watch sends and what passes through a proxy is never
recorded. A request whose authentication failed impersonated nobody.
"""

from functools import cache

import msgspec

from kubewitness.event.derive import DERIVED, REFUSED_IMPERSONATION, UNNAMED, expand
from kubewitness.event.dialects import not_given
from kubewitness.event.expr import (
    FALSE,
    TRUE,
    And,
    Any,
    Compare,
    Element,
    Entry,
    Expr,
    In,
    IsNull,
    Known,
    Literal,
    Not,
    Or,
    Ref,
    Text,
    equals,
    paths,
)
from kubewitness.event.expr_evaluate import evaluate
from kubewitness.event.expr_logic import disjunction
from kubewitness.event.expr_values import ENVELOPE, RAW, Context
from kubewitness.event.types import Event

NOT_GIVEN = {name: not_given(name) for name in ("gke", "legacy", "v1alpha1", "v1beta1")}
"""What a dialect never holds."""


class Reason(msgspec.Struct, frozen=True):
    """A condition under which a field cannot be in an Event, and the words for it: `{level}`, `{stage}`, `{code}`.

    A condition that another one includes `only_words`: it is there to say more exactly why.
    """

    when: Expr
    words: str
    only_words: bool = False


def _not(condition: Expr) -> Expr:
    """Say that the condition is not true: false or NULL."""
    return Not(Known(condition, FALSE))


_VERB = Ref("verb")
_LEVEL = Ref("level")
_STAGE = Ref("stage")
_CODE = Ref("responseStatus.code")
_RESOURCE = Ref("objectRef.resource")
_SUBRESOURCE = Ref("objectRef.subresource")

_RECEIVED = equals(_STAGE, "RequestReceived")
_STARTED = equals(_STAGE, "ResponseStarted")
_COMPLETE = equals(_STAGE, "ResponseComplete")
_FAILED = Compare(">=", _CODE, Literal(400))
_BELOW_REQUEST = _not(In(_LEVEL, ("Request", "RequestResponse")))
_BELOW_RESPONSE = _not(equals(_LEVEL, "RequestResponse"))
_TRUNCATED = equals(Entry(Ref("annotations"), "audit.k8s.io/truncated"), "true")
_PROXIED = Or((equals(_SUBRESOURCE, "proxy"), equals(_VERB, "proxy")))
_STREAMS = ("attach", "exec", "portforward")

_CREATES_NAMED = And((equals(_VERB, "create"), _not(In(_RESOURCE, UNNAMED))))
_ANSWER_SHOWS = And((equals(_LEVEL, "RequestResponse"), _COMPLETE, Compare("<", _CODE, Literal(300))))
_COLLECTION = Reason(equals(_VERB, "deletecollection"), "a deletecollection does not name what it deletes")
_NO_NAME_YET = Reason(
    And((_CREATES_NAMED, _RECEIVED)),
    "at RequestReceived a create is known by its URL, which has no name",
    only_words=True,
)
_SERVER_NAMES = "a create with no name in what was read: refused first, or named by the server (generateName)"

_WRITES = And((In(_VERB, ("create", "update", "patch")), _not(In(_SUBRESOURCE, _STREAMS))))
_DELETES = In(_VERB, ("delete", "deletecollection"))
_HAS_BODY = Or((_WRITES, _DELETES))
_REQUEST_BODY = (
    Reason(And((_HAS_BODY, _PROXIED)), "what passes through a proxy is never recorded", only_words=True),
    Reason(And((_HAS_BODY, _TRUNCATED)), "cut by truncation (audit.k8s.io/truncated)", only_words=True),
    Reason(And((_HAS_BODY, _BELOW_REQUEST)), "recorded at {level}", only_words=True),
    Reason(And((_HAS_BODY, Or((_RECEIVED, _STARTED)))), "not recorded at {stage}", only_words=True),
    Reason(_WRITES, "the body was not read or not decoded (code {code})"),
    Reason(
        And((_DELETES, Or((_BELOW_REQUEST, _RECEIVED, _STARTED, _FAILED, _TRUNCATED)))),
        "the body was not read or not decoded (code {code})",
    ),
    Reason(
        And((IsNull(_RESOURCE), In(_VERB, ("delete", "patch", "post", "put")))),
        "bodies of non-resource requests are not recorded",
    ),
)

_DISCOVERY = And((IsNull(_RESOURCE), equals(_VERB, "get"), Text("prefix", Ref("requestURI"), "/api")))
_ANSWERS_OBJECT = Or((And((Not(IsNull(_RESOURCE)), _not(In(_SUBRESOURCE, (*_STREAMS, "log"))))), _DISCOVERY))
_RESPONSE_BODY = tuple(
    Reason(And((_ANSWERS_OBJECT, when)), words)
    for when, words in (
        (_PROXIED, "what passes through a proxy is never recorded"),
        (And((equals(_VERB, "watch"), _not(_FAILED))), "what a watch sends is never recorded"),
        (_TRUNCATED, "cut by truncation (audit.k8s.io/truncated)"),
        (_BELOW_RESPONSE, "recorded at {level}"),
        (_not(_COMPLETE), "not recorded at {stage}"),
    )
)

_NOT_YET = Reason(_RECEIVED, "not yet known at RequestReceived")
_STATUS = (_NOT_YET, Reason(And((_STARTED, _FAILED)), "not yet known at ResponseStarted"))
_BODY_ONLY = Reason(Not(IsNull(_RESOURCE)), "recorded only when the request's body holds it")
_IMPERSONATED = (_NOT_YET, Reason(REFUSED_IMPERSONATION, "whom a refused impersonation meant is recorded nowhere"))
_TOKEN = And((equals(_VERB, "create"), equals(_RESOURCE, "serviceaccounts"), equals(_SUBRESOURCE, "token")))

REASONS: dict[str, tuple[Reason, ...]] = {
    "impersonatedUser.username": _IMPERSONATED,
    "impersonatedUser.uid": _IMPERSONATED,
    "impersonatedUser.groups": _IMPERSONATED,
    "impersonatedUser.extra": _IMPERSONATED,
    "authenticationMetadata.impersonationConstraint": _IMPERSONATED,
    "objectRef.name": (_COLLECTION, _NO_NAME_YET, Reason(And((_CREATES_NAMED, _not(_ANSWER_SHOWS))), _SERVER_NAMES)),
    "objectRef.uid": (_BODY_ONLY,),
    "objectRef.resourceVersion": (_BODY_ONLY,),
    "responseStatus.code": (_NOT_YET,),
    "responseStatus.status": _STATUS,
    "responseStatus.reason": _STATUS,
    "responseStatus.message": _STATUS,
    "responseStatus.details": _STATUS,
    "requestObject": _REQUEST_BODY,
    "responseObject": _RESPONSE_BODY,
    "annotations": (_NOT_YET,),
    "outcome": (_NOT_YET,),
    "object.name": (_COLLECTION, _NO_NAME_YET, Reason(_CREATES_NAMED, _SERVER_NAMES)),
    "credential.issued": (
        Reason(And((_TOKEN, _not(_COMPLETE))), "not yet known at {stage}"),
        Reason(And((_TOKEN, Compare("<", _CODE, Literal(300)))), "this server does not note the id of what it issues"),
    ),
    "dryrun": (
        Reason(
            _RECEIVED,
            "a delete or eviction says it in its body, which is not recorded at RequestReceived",
            only_words=True,
        ),
        Reason(TRUE, "a delete or eviction says it in its body, recorded at {level}"),
    ),
}
"""For each field that can be kept out of an Event: when and why. Any other is recorded whenever it exists."""

_EARLY_KEYS = ("apiserver.k8s.io/", "audit.k8s.io/", "authentication.k8s.io/")
_MIDDLE_KEYS = ("authorization.k8s.io/", *_EARLY_KEYS)


@cache
def reasons(path: str, key: str | None = None) -> tuple[Reason, ...]:
    """Give every reason for which a field, or one key of the annotations, can be absent and yet not false."""
    if path == "annotations" and key is not None:
        own: tuple[Reason, ...] = _annotation(key)
    else:
        own = REASONS.get(path, ())
    read = paths(expand(Ref(path))) - ENVELOPE
    dialects = tuple(sorted(name for name, missing in NOT_GIVEN.items() if missing & read))
    members = tuple(sorted({one.partition(".")[0] for one in read}))
    outer: list[Reason] = []
    if members:
        redacted = Any(Ref("redacted"), equals(Element(), *members))
        outer.append(Reason(redacted, "redacted"))
    if dialects:
        outer.append(Reason(In(Ref("dialect"), dialects), "not given by {dialect}"))
    return (*outer, *own)


def _annotation(key: str) -> tuple[Reason, ...]:
    found = []
    if not key.startswith(_EARLY_KEYS):
        found.append(_NOT_YET)
    if not key.startswith(_MIDDLE_KEYS):
        unfinished = And((In(_STAGE, ("ResponseStarted", "Panic")), _not(Compare("=", _CODE, Literal(401)))))
        found.append(Reason(unfinished, "not yet known at {stage}"))
    return tuple(found)


@cache
def unrecordable(path: str, key: str | None = None) -> Expr:
    """Give the condition under which this Event could not have held the field (or this key of the annotations)."""
    return disjunction(reason.when for reason in reasons(path, key) if not reason.only_words)


@cache
def derivation_unknown(path: str) -> Expr:
    """Give the condition under which a derived field cannot be computed: the dialect lacks what it is made of."""
    dialects = tuple(sorted(name for name, missing in NOT_GIVEN.items() if missing & paths(expand(Ref(path)))))
    return In(Ref("dialect"), dialects) if path in DERIVED and dialects else FALSE


def why(path: str, event: Event, context: Context = RAW, key: str | None = None) -> str | None:
    """Say in words why the Event could not hold the field; None if it could."""
    for reason in reasons(path, key):
        if evaluate(expand(reason.when), event, context) is True:
            status = event.response_status
            return reason.words.format(
                level=event.level.value if event.level else "an unknown level",
                stage=event.stage.value,
                code=status.code if status and status.code is not None else "not recorded",
                dialect=context.dialect,
            )
    return None
