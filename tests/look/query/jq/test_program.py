"""The understood part of jq's grammar."""

import pytest

from kubewitness.look.query.jq.program import (
    At,
    Binary,
    Call,
    Comma,
    Each,
    Field,
    Identity,
    Literal,
    Opaque,
    Optional,
    Pipe,
    Program,
    parse,
)

VERB = Field(Identity(), "verb")
DOT = Identity()


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        (".", DOT),
        (".a.b", Field(Field(DOT, "a"), "b")),
        ('."a"["b"]', Field(Field(DOT, "a"), "b")),
        ('.["a"].b', Field(Field(DOT, "a"), "b")),
        (".a[]?", Optional(Each(Field(DOT, "a")))),
        (".a[0]", At(Field(DOT, "a"), 0)),
        (".and.not", Field(Field(DOT, "and"), "not")),
        ('.verb == "\\u0061\\/"', Binary("==", VERB, Literal("a/"))),
        ("1 or 2 and 3", Binary("or", Literal(1), Binary("and", Literal(2), Literal(3)))),
        ("1 // 2 == 3", Binary("//", Literal(1), Binary("==", Literal(2), Literal(3)))),
        ("1 // 2 // 3", Binary("//", Literal(1), Binary("//", Literal(2), Literal(3)))),
        ("(1, 2 | 3)", Pipe(Comma(Literal(1), Literal(2)), Literal(3))),
        ("1, 2 // 3", Comma(Literal(1), Binary("//", Literal(2), Literal(3)))),
        ('test("a"; "i")', Call("test", (Literal("a"), Literal("i")))),
        ("true", Literal(True)),
        ("$x", Literal("value")),
        ("$y", Opaque()),
        (".[.a]", Opaque()),
        ("1.5", Opaque()),
    ],
)
def test_one_stage(text, tree):
    """Each text has the tree that jq's grammar gives it."""
    assert parse(text, {"x": "value"}) == Program((tree,), is_whole=True)


@pytest.mark.parametrize(("name", "value"), [("a", "\udcff"), ("a", "x\n"), ("ENV", "x"), ("ARGS", {})])
def test_odd_variables_are_not_known(name, value):
    """A text that jq may read otherwise, or a name of jq's own, has no value here."""
    assert parse(f"${name}", {name: value}).stages == (Opaque(),)


def test_stages():
    """Top-level pipes part the stages."""
    assert parse(".verb | . | true").stages == (VERB, DOT, Literal(True))


@pytest.mark.parametrize(
    "rest",
    [
        *(".a + 1", "{a: 1}", "if . then 1 else 2 end", ". as $x | 1", "def f: 1; f", "..", ".a |= 1", "-1", "@text"),
        *(
            "reduce .[] as $x (0; 1)",
            '"a\\(1)"',
            ". # note",
            ".a?//1",
            "f::g",
            "1 == 2 == 3",
            ")",
            "",
            "\u00e9",
            '"\\u0000"',
        ),
        *("try 1", ".a = 1", ".[1:2]", "$x::y", "label $f | 1", ".a .. .b", "1 2", '"\\ud800"', "(" * 5000),
    ],
)
def test_what_is_not_understood_ends_the_reading(rest):
    """The stages before are kept; nothing is guessed of the rest."""
    assert parse(f".verb | {rest}") == Program((VERB,), is_whole=False)
