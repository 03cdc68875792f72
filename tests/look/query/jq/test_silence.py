"""Which inputs a filter is proven to pass over."""

import pytest

from kubewitness.look.query.jq.program import parse
from kubewitness.look.query.jq.silence import silence


def passed_over(program: str, text: str, **variables: object) -> bool:
    """Whether jq is spared this input."""
    proof = silence(program, parse(program, variables))
    assert proof is not None
    return not proof.spoken([proof.decode(text.encode())])


@pytest.mark.parametrize(
    ("program", "text"),
    [
        ('select(.verb == "get")', "{}"),
        ('select(.verb == "get")', '{"verb":5}'),
        ('select(.objectRef.resource == "pods")', '{"objectRef":null}'),
        ('select(.objectRef.resource | test("role"))', '{"objectRef":{"resource":"pods"}}'),
        ("select(.responseStatus.code >= 400)", '{"responseStatus":{"code":200}}'),
        ('select(.sourceIPs[] == "a")', '{"sourceIPs":["b",5,null]}'),
        ("select(.a) | select(.b)", '{"a":true}'),
        (".a[] | select(. == 1)", '{"a":[2,3]}'),
        ("empty", "{}"),
        ('select(.verb == "a"), select(.verb == "b")', '{"verb":"c"}'),
        ("select(.verb == $v) | input_line", '{"verb":"x"}'),
    ],
)
def test_silent(program, text):
    """Neither output nor error: jq is spared."""
    assert passed_over(program, text, v="y")


@pytest.mark.parametrize(
    ("program", "text"),
    [
        ('select(.verb == "get")', '{"verb":"get"}'),
        ('select(.objectRef.resource | test("role"))', "{}"),
        ('select(.sourceIPs[] == "a")', "{}"),
        ("select(.code > 1)", '{"code":9007199254740993}'),
        ("select(.code == 1)", '{"code":1.0}'),
        ("select(.a[] | not)", '{"a":[true,false]}'),
        ('select((.a[] == "x") and (.b | test("x")))', '{"a":["x"],"b":5}'),
        ('(.a[0] | "x") | select(. == "y")', '{"a":"text"}'),
        ('select(.a[] == (.b | test("x")))', '{"a":[],"b":5}'),
        ("select(.a | debug | not)", '{"a":true}'),
        ("select(.verb == $unknown)", '{"verb":"get"}'),
        ('select(.a | test("(?=x)"))', '{"a":"y"}'),
        ('select(.a | test("x$"))', '{"a":"x\\n"}'),
        ('select(.a | test("K"; "i"))', '{"a":"\u212a"}'),
        ('select(.a | contains("b"))', '{"a":"a\\u0000b"}'),
        ('select(.a != null and .a.b.c == "x")', '{"a":{"b":"text"}}'),
        ("select(.a == 1 | not) | error", "{}"),
    ],
)
def test_spoken(program, text):
    """Output, an error, or what only jq can tell: jq gets it."""
    assert not passed_over(program, text)


def test_a_wrong_type_on_the_way_is_refused():
    """The decoder itself refuses an input in which the way to a value leads through a text."""
    program = 'select(.objectRef.resource == "pods")'
    proof = silence(program, parse(program))
    with pytest.raises(ValueError, match="Expected `object"):
        proof.decode(b'{"objectRef":"pods"}')


@pytest.mark.parametrize(
    "program", [".", ".verb", "select(.a) , .b", "[.a]", 'select(.a == "input")', "select(.a) | input"]
)
def test_no_proof(program):
    """A filter that may speak of every input, or see another, is left alone."""
    assert silence(program, parse(program)) is None


def test_code_does_not_explode():
    """Deeply nested alternatives, whose code doubles at each level, give up instead."""
    program = f"select({'(' * 60}.a{' // .b)' * 60})"
    proof = silence(program, parse(program))
    assert proof is None or len(proof.source) < 100_000
