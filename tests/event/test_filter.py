"""The filter: true, false, and unknown where the Event could not have held the answer."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubewitness.event.derive import expand
from kubewitness.event.expr import (
    FALSE,
    TRUE,
    And,
    Any,
    Element,
    Entry,
    Expr,
    IsNull,
    Json,
    Not,
    Or,
    Ref,
    equals,
    paths,
)
from kubewitness.event.expr_evaluate import evaluate as value_of
from kubewitness.event.expr_values import RAW, Context
from kubewitness.event.fields import FIELDS, by_path
from kubewitness.event.filter import PLAIN, can_be_unknown, columns, evaluate, needles, why_unknown
from kubewitness.event.filter import test as ask
from kubewitness.event.recordable import REASONS, reasons, unrecordable
from kubewitness.event.types import Event
from kubewitness.look.query import syntax
from tests.model import filter_events as made
from tests.model import filter_questions as asked

IMPERSONATION_REFUSED = {"code": 403, "message": 'pods is forbidden: User "a" cannot impersonate-on:user-info:list'}


def event(
    verb: str, reference: dict[str, str] | None, level: str = "Metadata", code: int = 200, **members: object
) -> Event:
    """Make a complete Event of wire members."""
    wire = {"stage": "ResponseComplete", "verb": verb, "level": level, "responseStatus": {"code": code}, **members}
    if reference is not None:
        wire["objectRef"] = reference
    return made.DECODE(msgspec.json.encode({name: held for name, held in wire.items() if held is not None}))


PODS = {"resource": "pods"}
BODY = ask(equals(Json(Ref("requestObject"), ("kind",)), "Pod"))
ANSWER = ask(equals(Json(Ref("responseObject"), ("kind",)), "Pod"))
NAME = ask(equals(Ref("objectRef.name"), "web"))
OBJECT_NAME = ask(equals(Ref("object.name"), "web"))
AS = ask(equals(Ref("impersonatedUser.username"), "jane"))
DENIED = ask(equals(Ref("outcome"), "denied"))
CODE = ask(syntax.filter_of({"code": ["403"]}))
MESSAGE = ask(equals(Ref("responseStatus.message"), "no"))
ISSUED = ask(equals(Ref("credential.issued"), "JTI=a"))


def note(key: str) -> Expr:
    """Ask for an annotation."""
    return ask(equals(Entry(Ref("annotations"), key), "x"))


@pytest.mark.parametrize(
    ("filter_", "happened", "answer", "why"),
    [
        (BODY, event("create", PODS), None, "requestObject: recorded at Metadata"),
        (BODY, event("get", PODS), False, None),
        (BODY, event("create", PODS, "Request", requestObject={"kind": "Pod"}), True, None),
        (BODY, event("create", PODS, "Request", requestObject={"kind": "X"}), False, None),
        (BODY, event("create", PODS, "Request", requestObject={}), False, None),
        (
            BODY,
            event("create", PODS, "Request", 403),
            None,
            "requestObject: the body was not read or not decoded (code 403)",
        ),
        (
            BODY,
            event("create", PODS, "Request", stage="RequestReceived"),
            None,
            "requestObject: not recorded at RequestReceived",
        ),
        (
            BODY,
            event("create", PODS, "Request", annotations={"audit.k8s.io/truncated": "true"}),
            None,
            "requestObject: cut by truncation (audit.k8s.io/truncated)",
        ),
        (BODY, event("delete", PODS, "Request"), False, None),
        (BODY, event("delete", PODS), None, "requestObject: recorded at Metadata"),
        (BODY, event("create", {"resource": "pods", "subresource": "exec"}, "Metadata", 101), False, None),
        (
            BODY,
            event("create", {"resource": "nodes", "subresource": "proxy"}, "RequestResponse"),
            None,
            "requestObject: what passes through a proxy is never recorded",
        ),
        (BODY, event("post", None), None, "requestObject: bodies of non-resource requests are not recorded"),
        (BODY, event("get", None), False, None),
        (ANSWER, event("get", PODS, "Request"), None, "responseObject: recorded at Request"),
        (ANSWER, event("get", PODS, "RequestResponse"), False, None),
        (ANSWER, event("watch", PODS, "RequestResponse"), None, "responseObject: what a watch sends is never recorded"),
        (ANSWER, event("get", {"resource": "pods", "subresource": "log"}), False, None),
        (ANSWER, event("get", None, requestURI="/healthz"), False, None),
        (ANSWER, event("get", None, requestURI="/apis"), None, "responseObject: recorded at Metadata"),
        (NAME, event("create", PODS), None, "objectRef.name: a create with no name in what was read: "),
        (NAME, event("create", PODS, "RequestResponse", 201), False, None),
        (
            NAME,
            event("create", PODS, stage="RequestReceived"),
            None,
            "objectRef.name: at RequestReceived a create is known",
        ),
        (NAME, event("create", {"resource": "tokenreviews"}), False, None),
        (NAME, event("list", PODS), False, None),
        (
            NAME,
            event("deletecollection", PODS),
            None,
            "objectRef.name: a deletecollection does not name what it deletes",
        ),
        (OBJECT_NAME, event("create", PODS), None, "object.name: a create with no name"),
        (
            OBJECT_NAME,
            event("create", PODS, "RequestResponse", responseObject={"metadata": {"name": "web"}}),
            True,
            None,
        ),
        (
            OBJECT_NAME,
            event("create", PODS, "RequestResponse", responseObject={"metadata": {"name": "x"}}),
            False,
            None,
        ),
        (
            AS,
            event("list", PODS, stage="RequestReceived"),
            None,
            "impersonatedUser.username: not yet known at RequestReceived",
        ),
        (
            AS,
            event("list", PODS, responseStatus=IMPERSONATION_REFUSED),
            None,
            "impersonatedUser.username: whom a refused",
        ),
        (AS, event("list", PODS, code=403), False, None),
        (AS, event("list", PODS, code=401, stage="ResponseStarted"), False, None),
        (DENIED, event("get", PODS, stage="RequestReceived", responseStatus=None), None, "outcome: not yet known"),
        (DENIED, event("get", PODS, stage="ResponseStarted"), False, None),
        (
            CODE,
            event("get", PODS, stage="RequestReceived", responseStatus=None),
            None,
            "responseStatus.code: not yet known",
        ),
        (MESSAGE, event("get", PODS), False, None),
        (
            MESSAGE,
            event("watch", PODS, code=404, stage="ResponseStarted"),
            None,
            "responseStatus.message: not yet known at Resp",
        ),
        (note("k"), event("get", PODS), False, None),
        (
            note("k"),
            event("get", PODS, stage="RequestReceived"),
            None,
            "annotations[k]: not yet known at RequestReceived",
        ),
        (
            note("k"),
            event("watch", PODS, stage="ResponseStarted"),
            None,
            "annotations[k]: not yet known at ResponseStarted",
        ),
        (note("k"), event("get", PODS, code=401, stage="ResponseStarted"), False, None),
        (note("authorization.k8s.io/x"), event("watch", PODS, stage="ResponseStarted"), False, None),
        (note("apiserver.k8s.io/startup"), event("get", PODS, stage="RequestReceived"), False, None),
        (ISSUED, event("get", PODS), False, None),
        (ISSUED, event("create", {"resource": "serviceaccounts", "subresource": "token"}, code=403), False, None),
        (
            ISSUED,
            event("create", {"resource": "serviceaccounts", "subresource": "token"}),
            None,
            "credential.issued: this server",
        ),
    ],
)
def test_absence(filter_: Expr, happened: Event, answer: bool | None, why: str | None) -> None:
    """What is absent is false, but unknown where the level, stage, verb or outcome kept it out; and we say why."""
    assert evaluate(filter_, happened) is answer
    found = why_unknown(filter_, happened)
    assert (why is None) == (found == ())
    assert why is None or found[0].startswith(why)


def test_dialect_and_redaction() -> None:
    """What a dialect never holds, and what was redacted, is unknown; derived fields that need it are, too."""
    happened = event("get", PODS)
    group = ask(Any(Ref("user.groups"), equals(Element(), "dev")))
    gke = Context(dialect="gke")
    assert evaluate(group, happened) is False
    assert evaluate(group, happened, gke) is None
    assert why_unknown(group, happened, gke) == ("user.groups: not given by gke",)
    assert evaluate(group, happened, Context(redacted=("user",))) is None
    action = ask(equals(Ref("action"), "exec"))
    assert evaluate(action, happened, Context(dialect="legacy")) is None
    assert evaluate(action, happened) is False


def test_presence() -> None:
    """Whether a value is there can be unknown, too."""
    there = syntax.present(Ref("requestObject"))
    assert evaluate(there, event("create", PODS)) is None
    assert evaluate(there, event("get", PODS)) is False
    assert evaluate(there, event("create", PODS, "Request", requestObject={})) is True


def test_kleene() -> None:
    """False wins over unknown in And, true in Or; Not leaves unknown."""
    happened = event("create", PODS)
    yes, no = ask(equals(Ref("verb"), "create")), ask(equals(Ref("verb"), "get"))
    assert evaluate(And((BODY, yes)), happened) is None
    assert evaluate(And((BODY, no)), happened) is False
    assert evaluate(Or((BODY, yes)), happened) is True
    assert evaluate(Or((BODY, no)), happened) is None
    assert evaluate(Not(BODY), happened) is None
    assert evaluate(And(()), happened) is True
    assert evaluate(Or(()), happened) is False


def test_columns_are_those_that_can_matter() -> None:
    """A neighbour that settles a question spares its columns: a delete has its name in the URL."""
    assert columns(syntax.filter_of({"name": ["web"]}), PLAIN) == {"name", "verb", "resource", "response_object"}
    assert columns(syntax.filter_of({"name": ["web"], "verb": ["delete"]}), PLAIN) == {"name", "verb"}
    assert columns(syntax.filter_of({"verb": ["get"]}), PLAIN) == {"verb"}


def test_what_can_be_unknown() -> None:
    """Only what some Event could not hold."""
    assert not can_be_unknown(syntax.filter_of({"verb": ["get"], "user": ["a"], "action": ["exec"]}), PLAIN)
    assert not can_be_unknown(syntax.filter_of({"name": ["web"], "verb": ["delete"]}), PLAIN)
    assert can_be_unknown(syntax.filter_of({"name": ["web"]}), PLAIN)
    assert can_be_unknown(syntax.filter_of({"outcome": ["denied"]}), PLAIN)


@settings(max_examples=150, deadline=None)
@given(happened=made.events, context=made.contexts, path=st.sampled_from(sorted(REASONS)))
def test_every_unknown_has_words(happened: Event, context: Context, path: str) -> None:
    """Conditions that only word a reason lie within those that make it: no words without unknown, nor the reverse."""
    is_out = value_of(expand(unrecordable(path)), happened, context) is True
    assert is_out == any(value_of(expand(reason.when), happened, context) is True for reason in reasons(path))


@settings(max_examples=150, deadline=None)
@given(happened=made.events, context=made.contexts, filter_=asked.filters)
def test_why_is_said_exactly_when_unknown(happened: Event, context: Context, filter_: Expr) -> None:
    """An unknown answer always has a reason, a known one has none."""
    assert bool(why_unknown(filter_, happened, context)) == (evaluate(filter_, happened, context) is None)


def test_reasons_are_about_fields_of_the_table() -> None:
    """Every path of the table of reasons is a field, and reads fields."""
    read = [path for held in REASONS.values() for reason in held for path in paths(expand(reason.when))]
    assert all(by_path(path) for path in (*REASONS, *read))
    assert unrecordable("level") != TRUE
    assert all(unrecordable(field.path) == FALSE for field in FIELDS if field.path in {"source", "cluster", "dialect"})


# --- needles


def lines(name: str) -> list[bytes]:
    """Give the lines of a recorded log."""
    return [msgspec.json.encode(one) for one in made.recorded(name)]


FLAGS = [
    {"user": ["attacker"]},
    {"verb": ["delete"], "resource": ["secrets"], "name": ["important"]},
    {"action": ["exec"]},
    {"action": ["token,bind"]},
    {"user": ["system:serviceaccount:*:backdoor"]},
    {"ip": ["127.0.0.1"]},
    {"peer-ip": ["127.0.0.1"]},
    {"outcome": ["denied"]},
    {"name": ["important"]},
    {"user-agent": ["kubectl"]},
    {"as": ["developer"]},
    {"user": ["!admin"]},
    {"actor-kind": ["serviceaccount"]},
]


@pytest.mark.parametrize("flags", FLAGS, ids=str)
def test_needles_lose_no_line(flags: dict[str, list[str]]) -> None:
    """Every recorded line that the filter finds, or may have to find, contains the needles."""
    filter_ = syntax.filter_of(flags)
    surely, perhaps = needles(filter_, with_unknown=False), needles(filter_, with_unknown=True)
    hits = 0
    for happened in made.recorded("full"):
        answer = evaluate(filter_, happened)
        if answer is False:
            continue
        line = msgspec.json.encode(happened)
        assert all(any(needle in line for needle in alternatives) for alternatives in perhaps)
        if answer:
            hits += 1
            assert all(any(needle in line for needle in alternatives) for alternatives in surely)
    assert hits


@settings(max_examples=150, deadline=None)
@given(wire=made.wire_events, filter_=asked.filters)
def test_needles_are_sound(wire: dict[str, object], filter_: Expr) -> None:
    """No made-up Event that the filter is not false of lacks a needle, written as Go writes it or plainly."""
    plain = msgspec.json.encode(wire)
    go = plain.replace(b"<", b"\\u003c").replace(b">", b"\\u003e").replace(b"&", b"\\u0026")
    go = go.replace("\u2028".encode(), b"\\u2028").replace("\u2029".encode(), b"\\u2029")
    happened = made.DECODE(plain)
    answer = evaluate(filter_, happened, RAW)
    for line in (plain, go):
        if answer is not False:
            assert all(any(needle in line for needle in some) for some in needles(filter_))
        if answer is True:
            assert all(any(needle in line for needle in some) for some in needles(filter_, with_unknown=False))


def test_needles_as_written() -> None:
    """Needles are JSON: quoted, escaped as Go does or plainly; nothing is promised of bodies, codes and negations."""
    assert needles(syntax.filter_of({"user": ['a"<b']})) == (frozenset({b'"a\\"<b"', b'"a\\"\\u003cb"'}),)
    assert needles(syntax.filter_of({"user": ["dev*"]})) == (frozenset({b'"dev'}),)
    assert needles(syntax.filter_of({"user": ["a,b"]})) == (frozenset({b'"a"', b'"b"'}),)
    assert needles(syntax.filter_of({"user": ["!a"]})) == ()
    assert needles(syntax.filter_of({"user": ["a\x08b"]})) == ()
    assert needles(BODY, with_unknown=False) == ()
    assert needles(ask(IsNull(Ref("verb")))) == ()
