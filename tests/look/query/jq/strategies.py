"""Hostile events and filters over them."""

import json

from hypothesis import strategies as st

TEXTS = st.sampled_from(
    ["delete", "get", "secrets", "", "a", "A", "del", "1", "\u00e9", "a\0b", "x\n", "10.0.0.1", "role"]
)
SCALARS = st.one_of(
    TEXTS, st.none(), st.booleans(), st.integers(-2, 3), st.sampled_from([200, 403, 2**53 + 1, 0.5, 1.0, -0.0, 1e300])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["resource", "name", "a", ""]), inner, max_size=3)
    ),
    max_leaves=5,
)


def _mostly(usual, odd):
    """The usual thing, and in one of ten cases the odd one."""
    return st.integers(0, 9).flatmap(lambda number: odd if number == 5 else usual)


REFERENCES = st.fixed_dictionaries(
    {"resource": _mostly(TEXTS, VALUES)}, optional={"name": TEXTS, "a": st.fixed_dictionaries({"name": SCALARS})}
)
EVENTS = st.fixed_dictionaries(
    {"verb": _mostly(TEXTS, VALUES), "sourceIPs": _mostly(st.lists(TEXTS, max_size=3), VALUES)},
    optional={
        "objectRef": _mostly(REFERENCES, VALUES),
        "code": _mostly(st.sampled_from([200, 201, 403, 500]), SCALARS),
        "other": VALUES,
    },
)
ODD_LINES = st.sampled_from(
    [
        *(b"\n", b" \r\n", b"[]\n", b"5\n", b'"x"\n', b"null\n", b"{}{}\n", b"{\n", b"}\n", b"x\n", b"\xff\n", b"{}"),
        *(b'{"verb":"delete"}\r\n', b'{"verb":NaN}\n', b'{"verb":"\\u0064elete"}\n', b'{"verb":"\\ud800"}\n'),
        *(b"\n\n", b"[\n", b"]\n"),
    ]
)


@st.composite
def lines(draw) -> bytes:
    """One line of a log, mostly an event."""
    if draw(st.integers(0, 79)) == 40:
        return draw(ODD_LINES)
    separators = draw(st.sampled_from([(",", ":"), (", ", ": ")]))
    return json.dumps(draw(EVENTS), separators=separators, ensure_ascii=draw(st.booleans())).encode() + b"\n"


PATHS = st.sampled_from(
    [
        *(".verb", ".objectRef", ".objectRef.resource", ".objectRef.name", ".objectRef.a.name", ".sourceIPs", ".code"),
        *(".sourceIPs[0]", ".sourceIPs[]", ".sourceIPs[]?", ".objectRef[]?", ".other", ".other.a.resource", ".other?"),
        *('.["verb"]', '.objectRef."resource"', ".other[]", ".other[1].a", ".objectRef.resource[]?.name", "."),
    ]
)
LITERALS = st.sampled_from(
    ['"delete"', '"secrets"', '"a"', '""', "403", "200", "0", "1", "null", "true", "false", '("get", "delete")', "[]"]
)
FUNCTIONS = st.sampled_from(
    [
        *("not", "length", "type", "ascii_downcase", "ascii_upcase", "tostring", "any", "all", "values", "strings"),
        *("arrays", "objects", "empty", 'test("e")', 'test("^(del|get)"; "i")', 'test("[a-c].?x*")', 'test("a|")'),
        *('startswith("de")', 'endswith("e")', 'contains("e")', 'contains(["a"])', 'index("a")', 'rindex("e")'),
        *('has("name")', 'IN("delete", 403, null)', 'inside(["a", "get"])', 'inside("delete")', "keys", "add", "nulls"),
        *("tonumber", 'split(",")', "debug", "first", "select(. == 1)", 'error("e")', "iterables", ".a", ".[0]", "[]"),
    ]
)


def _compound(inner):
    return st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or", "//", ",", "|"]), inner).map(lambda x: f"({' '.join(x)})"),
        st.tuples(inner, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), st.one_of(inner, LITERALS)).map(
            lambda x: f"(({x[0]}) {x[1]} ({x[2]}))"
        ),
        st.tuples(inner, FUNCTIONS).map(lambda x: f"({x[0]} | {x[1]})"),
        st.tuples(inner, PATHS).map(lambda x: f"({x[0]} | {x[1]})"),
        st.tuples(st.sampled_from(["any", "all"]), inner, inner).map(lambda x: f"{x[0]}({x[1]}; {x[2]})"),
        inner.map(lambda x: f"[{x}]"),
        inner.map(lambda x: f"({x})?"),
        inner.map(lambda x: f"select({x})"),
    )


# What people mostly write: it passes over most inputs without an error.
PLAIN = st.one_of(
    st.tuples(
        st.sampled_from(
            [".verb", ".objectRef.resource", ".objectRef.name", ".code", ".sourceIPs[0]", ".objectRef.a.name"]
        ),
        st.sampled_from(["==", "==", "<", ">="]),
        LITERALS,
    ).map(" ".join),
    st.sampled_from(
        [
            '.sourceIPs[] == "a"',
            '.sourceIPs[]? == "a"',
            'any(.sourceIPs[]; . == "get")',
            '.sourceIPs | any(startswith("1"))',
            '.sourceIPs | index("a")',
            '.verb | test("^d.l")',
            '.verb | IN("get", "a")',
            '(.objectRef.name // "") | test("SEC"; "i")',
            '.objectRef | has("name")',
            '.verb | startswith("de") | not',
            '.verb == ("a", "get")',
            '[.verb] | inside(["a", "get"])',
            ".sourceIPs | length > 2",
        ]
    ),
)
PLAIN = st.one_of(PLAIN, st.tuples(PLAIN, st.sampled_from([" and ", " or "]), PLAIN).map("".join))
CONDITIONS = st.recursive(
    st.one_of(
        st.tuples(PATHS, st.sampled_from(["==", "!=", "<", ">="]), LITERALS).map(" ".join),
        st.tuples(PATHS, FUNCTIONS).map(" | ".join).map(lambda text: f"({text})"),
        PATHS,
        LITERALS,
    ),
    _compound,
    max_leaves=4,
)


@st.composite
def filters(draw) -> str:
    """A filter that begins with what may pass over inputs."""
    conditions = st.one_of(PLAIN, CONDITIONS)
    select = conditions.map(lambda text: f"select({text})")
    stages = draw(st.lists(_mostly(select, st.one_of(PATHS, CONDITIONS)), min_size=0, max_size=2))
    return " | ".join(
        [*stages, draw(select), *draw(st.lists(st.sampled_from([".verb", ".objectRef.name"]), max_size=1))]
    )
