"""The expression tree and its plain reading."""

import ipaddress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubewitness.event import expr_values as values
from kubewitness.event.derive import expand
from kubewitness.event.expr import (
    EACH,
    And,
    Any,
    Compare,
    Element,
    Entry,
    Expr,
    ExprError,
    In,
    IsNull,
    Json,
    JsonHas,
    Known,
    Length,
    Literal,
    Not,
    Or,
    Ref,
    Text,
    equals,
    glob,
    paths,
    rebuild,
)
from kubewitness.event.expr_evaluate import evaluate
from kubewitness.event.expr_logic import falsity, nullness, simplify, truth
from kubewitness.event.types import Event
from tests.model import filter_events as made
from tests.model import filter_questions as asked

BODY = Ref("requestObject")
VERB = Ref("verb")


def happened(**members: object) -> Event:
    """Make an Event of wire members."""
    return made.DECODE(msgspec.json.encode({"stage": "ResponseComplete", **members}))


def with_body(text: bytes) -> Event:
    """Make an Event with these bytes as its body."""
    return made.DECODE(b'{"stage":"Panic","requestObject":' + text + b"}")


@pytest.mark.parametrize(
    ("body", "steps", "expected"),
    [
        (b'{"a":{"b":"x"}}', ("a", "b"), "x"),
        (b'{"a":true}', ("a",), "true"),
        (b'{"a":-7}', ("a",), "-7"),
        (b'{"a":18446744073709551615}', ("a",), "18446744073709551615"),
        (b'{"a":18446744073709551616}', ("a",), None),
        (b'{"a":1.0}', ("a",), None),
        (b'{"a":null}', ("a",), None),
        (b'{"a":{}}', ("a",), None),
        (b'{"a":1}', ("b",), None),
        (b'[{"op":"add"}]', ("0", "op"), "add"),
        (b'[{"op":"add"}]', ("op",), None),
        (b'[["x"]]', ("00",), None),
        (b'{"a":[{"b":"x"},{"b":2},{},{"b":[]}]}', ("a", EACH, "b"), ("x", "2")),
        (b'{"a":{"b":"x"}}', ("a", EACH, "b"), ()),
        (b'{"a":[["x"],["y","z"],"w"]}', ("a", EACH, EACH), ("x", "y", "z")),
        (b'{"a":"first","a":"second"}', ("a",), "first"),
        (b'{"n":' + b"9" * 5000 + b',"a":"x"}', ("a",), "x"),
        (b'{"a/b":{"~":"x"}}', ("a/b", "~"), "x"),
    ],
)
def test_json(body: bytes, steps: tuple[str, ...], expected: values.Value) -> None:
    """Text, whole numbers and truth values are read as text, all else is NULL; a hostile number hides nothing."""
    assert evaluate(Json(BODY, steps), with_body(body)) == expected


def test_json_of_no_body() -> None:
    """No body, or null, is NULL for a value and for whether there is one."""
    for made_event in (happened(), with_body(b"null")):
        assert evaluate(Json(BODY, ("a", EACH)), made_event) is None
        assert evaluate(JsonHas(BODY, ("a",)), made_event) is None
        assert evaluate(IsNull(BODY), made_event) is True
    assert evaluate(JsonHas(BODY, ("a",)), with_body(b'{"a":{}}')) is True
    assert evaluate(JsonHas(BODY, ("a", "b")), with_body(b'{"a":null}')) is False


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("a*c", "a\n/c", "ac.d"),
        ("a?c", "aéc", "ac"),
        ("a\\*c", "a*c", "abc"),
        ("*", "", None),
        ("", "", "x"),
        ("a\\", "a\\", "a"),
        ("(.+)[a]{1}^$|", "(.+)[a]{1}^$|", "a"),
        ("**a**", "bab", "b"),
    ],
)
def test_glob(pattern: str, yes: str, no: str | None) -> None:
    """`*` is any text, `?` one character, `\\` takes their meaning; all other signs stand for themselves."""
    for test in (glob(VERB, pattern), Text("glob", VERB, pattern)):
        assert evaluate(test, happened(verb=yes)) is True
        assert no is None or evaluate(test, happened(verb=no)) is False


@given(pattern=asked.globs, text=made.text)
def test_glob_in_short_form_is_the_same(pattern: str, text: str) -> None:
    """Equality, prefix, suffix and contains mean what the pattern means."""
    assert evaluate(glob(VERB, pattern), happened(verb=text)) is evaluate(
        Text("glob", VERB, pattern), happened(verb=text)
    )


@given(address=st.ip_addresses(), network=st.ip_addresses(), length=st.integers(0, 128))
def test_networks_agree_with_ipaddress(address: object, network: object, length: int) -> None:
    """Canonical addresses lie within what the standard library says."""
    assert isinstance(address, ipaddress.IPv4Address | ipaddress.IPv6Address)
    assert isinstance(network, ipaddress.IPv4Address | ipaddress.IPv6Address)
    inside = ipaddress.ip_network((network, min(length, network.max_prefixlen)), strict=False)
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is None:
        assert values.within(str(address), inside) is (address in inside)


@pytest.mark.parametrize(
    "text", ["", "10.0.0", "010.0.0.1", "10.0.0.256", "10.0.0.1 ", "1::2::3", ":::", "1:2", "fe80::1%eth0", "g::"]
)
def test_what_is_no_address(text: str) -> None:
    """Text that is no address lies in no network."""
    assert not values.within(text, ipaddress.ip_network("0.0.0.0/0"))
    assert not values.within(text, ipaddress.ip_network("::/0"))


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-23T03:11:27.501519Z",
        "2026-11-23T04:11:27.501519+01:00",
        "2026-11-23t03:11:27.501519999z",
        "2026-11-23 03:11:27.501519Z",
    ],
)
def test_times_are_instants(text: str) -> None:
    """The same instant in any spelling."""
    assert values.micros(text) == 1795403487501519


@pytest.mark.parametrize(
    "text", ["", "2026-13-01T00:00:00.000000Z", "2026-11-23T03:11:2x.501519Z", "2026-11-23T03:11:27.50²519Z"]
)
def test_what_is_no_time(text: str) -> None:
    """Text that is no time is NULL."""
    assert values.micros(text) is None


def test_null_is_sql_s() -> None:
    """A comparison with NULL is NULL; And, Or, Not are Kleene's; Known decides."""
    absent = equals(Ref("userAgent"), "x")
    yes, no = equals(VERB, "get"), equals(VERB, "list")
    expected: list[tuple[Expr, bool | None]] = [
        (absent, None),
        (Not(absent), None),
        (In(Ref("userAgent"), ("x",)), None),
        (And((absent, yes)), None),
        (And((absent, no)), False),
        (Or((absent, yes)), True),
        (Or((absent, no)), None),
        (Known(absent, yes), None),
        (Known(absent, no), False),
        (Known(absent, absent), False),
        (Known(yes, yes), True),
        (Any(Ref("sourceIPs"), equals(Element(), "x")), None),
        (Compare(">", Length(Ref("user.groups")), Literal(0)), None),
        (equals(Entry(Ref("annotations"), "k"), "x"), None),
    ]
    for expr, answer in expected:
        assert evaluate(expr, happened(verb="get")) is answer, expr


@given(event=made.events, context=made.contexts, question=asked.questions | asked.filters)
def test_each_condition_has_one_of_three_answers(event: Event, context: values.Context, question: Expr) -> None:
    """`truth`, `falsity` and `nullness` hold exactly when the answer is true, false, NULL, simplified or not."""
    expanded = expand(question)
    answer = evaluate(expanded, event, context)
    for held, condition in ((True, truth(expanded)), (False, falsity(expanded)), (None, nullness(expanded))):
        assert (evaluate(condition, event, context) is True) == (answer is held)
        assert (evaluate(simplify(condition), event, context) is True) == (answer is held)


def test_simplify_uses_neighbours() -> None:
    """What one part of an And settles is not asked again; two parts do not excuse each other."""
    get, either = equals(VERB, "get"), equals(VERB, "get", "list")
    assert simplify(And((get, either))) == get
    assert simplify(And((get, equals(VERB, "list")))) == Literal(False)
    assert simplify(And((either, In(VERB, ("list", "get"))))) in (either, In(VERB, ("list", "get")))
    assert simplify(And((get, Or((equals(VERB, "list"), IsNull(BODY)))))) == And((get, IsNull(BODY)))
    assert simplify(And((IsNull(BODY), Not(IsNull(BODY))))) == Literal(False)


def test_what_cannot_be_built() -> None:
    """Lone surrogates, empty lists and empty paths are refused with what is wrong."""
    with pytest.raises(ExprError, match="not text that UTF-8 can hold"):
        Literal("\ud800")
    with pytest.raises(ExprError, match="at least one value"):
        In(VERB, ())
    with pytest.raises(ExprError, match="a path into a body needs steps"):
        Json(BODY, ())


@given(asked.filters)
def test_rebuilding_changes_nothing(filter_: Expr) -> None:
    """A tree walked and rebuilt is the same tree."""

    def same(expr: Expr) -> Expr:
        return rebuild(expr, same)

    assert same(filter_) == filter_
    assert paths(filter_) == paths(same(filter_))
