"""What YAML means to kube-apiserver: scalars, keys, merges, aliases, encodings, as JSON values."""

import pytest

from kubewitness.policy.tree import GoError, Kind, Mark, Value
from kubewitness.policy.yaml11 import decode


def plain(value: Value) -> object:
    """Give a value as Python would write it; numbers keep their literal."""
    if value.kind is Kind.OBJECT:
        return {member.name: plain(member.value) for member in value.members}
    if value.kind is Kind.ARRAY:
        return [plain(item) for item in value.items]
    if value.kind is Kind.NUMBER:
        return ("number", value.text)
    return {"null": None, "true": True, "false": False}[value.text] if value.kind is not Kind.STRING else value.text


def read(text: str | bytes) -> object:
    """Decode a document."""
    return plain(decode(text.encode() if isinstance(text, str) else text).value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("y", True), ("Yes", True), ("ON", True), ("n", False), ("off", False), ("yEs", "yEs"), ("'y'", "y"),
        ("~", None), ("null", None), ("Null", None), ("nUll", "nUll"), ("x", "x"),
        ("0755", ("number", "493")), ("0o17", ("number", "15")), ("0x1F", ("number", "31")), ("0b101", ("number", "5")),
        ("1_000", ("number", "1000")), ("+12", ("number", "12")), ("-0x10", ("number", "-16")), ("08", ("number", "8")),
        ("1.5", ("number", "1.5")), (".5", ("number", "0.5")), ("1e3", ("number", "1000")),
        ("1e21", ("number", "1e+21")),
        ("1e-7", ("number", "1e-7")), ("-0.0", ("number", "-0")), ("1e999", "1e999"),
        ("12:30", "12:30"), ("1.2.3", "1.2.3"),
        ("18446744073709551615", ("number", "18446744073709551615")),
        ("18446744073709551616", ("number", "18446744073709552000")),
        ("2020-01-01", "2020-01-01"), ("2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z"), ("<<", "<<"), ("-", "-"),
        ("!!str 5", "5"), ("!!int '5'", ("number", "5")), ("!!float 5", ("number", "5")), ("!foo 5", "5"),
        ("! yes", "yes"),
        ("!!binary aGVsbG8=", "hello"), ("!!binary /w==", "\ufffd"), ("!!bool on", True), ("!!null ''", None),
        ('"a\\x41\\u00e9\\U0001F600\\t"', "aA\xe9\U0001f600\t"), ('"a\\\n  b"', "ab"),
        ('"a\n\n  b"', "a\nb"), ('"\\\'"', "'"),
        ("'it''s'", "it's"), ("a\n b\n\n c", "a b\nc"),
    ],
)  # fmt: skip
def test_scalars(text, value):
    """A scalar means what YAML 1.1 and Go say."""
    # `-` alone would be a list
    assert read(f"k: [{text}]" if text == "-" else f"k: {text}") == {"k": [value] if text == "-" else value}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("|\n a\n  b\n\nc: 1", "a\n b\n"), ("|-\n a\n", "a"), ("|+\n a\n\n", "a\n\n"),
        (">\n a\n b\n\n c\n", "a b\nc\n"),
        ("|2\n   a\n", " a\n"), (">\n a\n  b\n c\n", "a\n b\nc\n"),
    ],
)  # fmt: skip
def test_block_scalars(text, value):
    """Literal and folded text, chomping and indentation indicators."""
    assert read(f"k: {text}")["k"] == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1: a", {"1": "a"}),
        ("true: a", {"true": "a"}),
        ("1.5: a", {"1.5": "a"}),
        ("1e6: a", {"1e+06": "a"}),
        ("'1': a", {"1": "a"}),
        ("b: 1\na: 2", {"a": ("number", "2"), "b": ("number", "1")}),
        ("a: 1\na: 2", {"a": ("number", "2")}),
        ("x: &x {a: 1, b: 2}\nz: {<<: *x, b: 3}", {"x": {"a": 1, "b": 2}, "z": {"a": 1, "b": 3}}),
        ("x: &x {b: 2}\nz: {b: 3, <<: *x}", {"x": {"b": 2}, "z": {"b": 2}}),
        ("a: &a {k: 1}\nb: &b {k: 2}\nc: {<<: [*a, *b]}", {"a": {"k": 1}, "b": {"k": 2}, "c": {"k": 1}}),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("[a: b, c]", [{"a": "b"}, "c"]),
        ("{a, b: , ? c : d}", {"a": None, "b": None, "c": "d"}),
        ("? a\n: b\n? c", {"a": "b", "c": None}),
        ("- - a\n  - b\n-\n- c", [["a", "b"], None, "c"]),
        ("a:\n- b\nc:", {"a": ["b"], "c": None}),
    ],
)
def test_collections(text, value):
    """Keys become text, the last of repeated keys stays, merges apply where they stand."""

    def numbers(found: object) -> object:
        if isinstance(found, dict):
            return {key: numbers(item) for key, item in found.items()}
        if isinstance(found, list):
            return [numbers(item) for item in found]
        return int(found[1]) if isinstance(found, tuple) else found

    assert numbers(read(text)) == numbers(value)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{a: b}: c", 'yaml: invalid map key: map[interface {}]interface {}{"a":"b"}'),
        ("[1, ~]: c", "yaml: invalid map key: []interface {}{1, interface {}(nil)}"),
        ("~: c", 'unsupported map key of type: %!s(<nil>), key: <nil>, value: "c"'),
        (
            "18446744073709551615: [c]",
            'unsupported map key of type: uint64, key: 0xffffffffffffffff, value: []interface {}{"c"}',
        ),
        ("a: .nan", "json: unsupported value: NaN"),
        ("a: -.inf", "json: unsupported value: -Inf"),
        ("a: !!int x", "yaml: cannot decode !!str `x` as a !!int"),
        ("a: !!int 1.5", "yaml: cannot decode !!float `1.5` as a !!int"),
        ("a: !!binary x", "yaml: !!binary value contains invalid base64 data"),
        ("<<: 5", "yaml: map merge requires map or sequence of maps as the value"),
        ("<<: [{}, 5]", "yaml: map merge requires map or sequence of maps as the value"),
        ("a: &a [*a]", "yaml: anchor 'a' value contains itself"),
        ("a: *b", "yaml: unknown anchor 'b' referenced"),
        ("%YAML 1.1\n%YAML 1.1\n---\na", "yaml: line 1: found duplicate %YAML directive"),
        ("%FOO\n---\n", "yaml: found unknown directive name"),
        ("%YAML 1.1\na", "yaml: line 1: did not find expected <document start>"),
        ("a: !x!y z", "yaml: found undefined tag handle"),
        ("...\n", "yaml: did not find expected node content"),
        ("[" * 10_001, "yaml: exceeded max depth of 10000"),
        ("- " * 10_001, "yaml: exceeded max depth of 10000"),
        (b"a: \xff", "yaml: invalid leading UTF-8 octet"),
        (b"a: \xc3", "yaml: incomplete UTF-8 octet sequence"),
        (b"a: \xc3(", "yaml: invalid trailing UTF-8 octet"),
        (b"a: \xc0\x80", "yaml: invalid length of a UTF-8 sequence"),
        (b"a: \xed\xa0\x80", "yaml: invalid Unicode character"),
        (b"a: \x7f", "yaml: control characters are not allowed"),
        (b"\xff\xfea\x00:\x00 \x00\x00\xdc", "yaml: unexpected low surrogate area"),
    ],
)  # fmt: skip
def test_errors(text, error):
    """What cannot be read gives Go's sentence."""
    with pytest.raises(GoError) as caught:
        read(text)
    assert str(caught.value) == error


def test_tag_directives_apply():
    """%TAG gives a handle its prefix."""
    assert read("%TAG !e! tag:yaml.org,2002:\n---\na: !e!str 5") == {"a": "5"}


def test_encodings():
    """UTF-16 with a byte order mark is read, as is UTF-8 with one, and a mark at the start of a line."""
    assert read("\ufeffa: é".encode()) == {"a": "é"}
    assert read("\ufeffa: é😀".encode("utf-16-le")) == {"a": "é😀"}
    assert read("\ufeffa: é".encode("utf-16-be")) == {"a": "é"}


def test_a_bad_byte_counts_when_its_block_is_read():
    """The reader decodes 512 bytes ahead: a bad byte there beats a syntax error before it, a later one does not."""
    with pytest.raises(GoError, match="invalid leading UTF-8 octet"):
        read(b"a: ]\n#\xff")
    with pytest.raises(GoError, match="did not find expected node content"):
        read(b"a: ]\n#" + b"x" * 600 + b"\xff")
    assert read(b"a: b\n---\n" + b"x" * 600 + b"\xff") == {"a": "b"}


@pytest.mark.parametrize(
    ("data", "line", "column"),
    [
        (b"a: b\n# \xff", 2, 3),
        ("ä: \x01".encode(), 1, 4),
        (b"\xef\xbb\xbfa: b\r\nc: \xc3", 2, 4),
        (b"a: b\n" * 200 + b"c: \xe4x", 201, 4),
        ("a: b\nc: \0".encode("utf-16"), 2, 4),
    ],
)
def test_a_bad_byte_has_its_place(data, line, column):
    """Not where the scanner got to."""
    with pytest.raises(GoError) as raised:
        decode(data)
    assert raised.value.mark == Mark(line, column)


def test_only_the_first_document_is_read():
    """The rest may be broken; that there is a rest is known."""
    followed = decode(b"a: b\n--- [\n")
    assert (plain(followed.value), followed.next_document) == ({"a": "b"}, Mark(2, 1))
    assert decode(b"---\na: b\n...\n").next_document is None
    assert read(b"---\n---\na: b") is None


def test_a_bomb_of_aliases_is_refused():
    """Expansion is bounded as in Go."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    with pytest.raises(GoError, match="document contains excessive aliasing"):
        read("\n".join(lines))


def test_complaints_of_a_strict_reading():
    """A repeated key is told with the line of its value, also when a merge brought the first."""
    decoded = decode(b"a: &m {k: 1}\nb:\n  <<: *m\n  k:\n    2\n")
    assert decoded.complaints == ('line 5: key "k" already set in map',)
    assert [(mark.line, mark.column, name) for mark, name in decoded.repeated] == [(4, 3, "k")]
