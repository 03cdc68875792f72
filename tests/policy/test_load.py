"""The loader beyond the recorded vectors: which error wins, versions of the server, hostile input, time."""

import json
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kubewitness.event.types import Level, Stage
from kubewitness.policy.check import check
from kubewitness.policy.load import PolicyError, Refusal, load, read
from kubewitness.policy.types import GroupResources
from tests.policy.vectors import vectors

HEAD = "apiVersion: audit.k8s.io/v1\nkind: Policy\n"
SCHEME = 'in scheme "k8s.io/apiserver/pkg/audit/scheme.go:30"'


def test_a_full_policy_is_read():
    """Every field arrives in its place."""
    policy = load(
        HEAD
        + """
metadata: {name: x, labels: {a: b}, creationTimestamp: 2020-01-01T00:00:00Z}
omitStages: [RequestReceived]
omitManagedFields: yes
rules:
- level: Request
  users: [a, null]
  userGroups: [g]
  verbs: [get]
  resources: [{group: apps, resources: [deployments], resourceNames: [web]}, {}]
  namespaces: [prod, ""]
  omitStages: [Panic]
  omitManagedFields: off
- level: None
  nonResourceURLs: ["*"]
"""
    )
    first, second = policy.rules
    assert (policy.omit_stages, policy.omit_managed_fields) == ((Stage.REQUEST_RECEIVED,), True)
    assert (first.level, first.users, first.user_groups, first.verbs) == (Level.REQUEST, ("a", ""), ("g",), ("get",))
    assert first.resources == (GroupResources("apps", ("deployments",), ("web",)), GroupResources())
    assert (first.namespaces, first.omit_stages, first.omit_managed_fields) == (("prod", ""), (Stage.PANIC,), False)
    assert (second.non_resource_urls, second.omit_managed_fields) == (("*",), None)


FIELD = "failed decoding: json: cannot unmarshal {} into Go struct field {} of type {}"
SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
ALL_AT_ONCE = ", ".join(
    (
        "rules[0].level: Required value",
        "rules[0].nonResourceURLs[0]: Invalid value: \"x\": non-resource URL rules must begin with a '/' character",
        f'rules[0].resources.group: Invalid value: "A": {SUBDOMAIN}',
        (
            'rules[0].omitStages[0]: Invalid value: "a": allowed stages are '
            "RequestReceived,ResponseStarted,ResponseComplete,Panic"
        ),
        (
            'rules[0].nonResourceURLs: Invalid value: ["x"]: rules cannot apply to both regular resources and '
            "non-resource URLs"
        ),
    )
)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        # names fold case only while the kind is looked for; of several the last in byte order counts
        ("ApiVersion: audit.k8s.io/v1\nKIND: Policy\nrules: [{level: None}]", ""),
        (
            "apiVersion: audit.k8s.io/v1\napiversion: v2\nrules: []",
            f'failed decoding: no kind "Policy" is registered for version "v2" {SCHEME}',
        ),
        ("apiVersion: a/b/c", "failed decoding: unexpected GroupVersion string: a/b/c"),
        ("apiVersion: foo/", "failed decoding: Object 'apiVersion' is missing in 'apiVersion: foo/'"),
        ("apiVersion: audit.k8s.io/", "unknown group version field audit.k8s.io/__internal, Kind=Policy in policy"),
        (
            "kind: Foo",
            f'failed decoding: no kind "Foo" is registered for the internal version of group "audit.k8s.io" {SCHEME}',
        ),
        (
            "apiVersion: v1\nkind: Status",
            "failed decoding: converting (v1.Status) to (audit.Policy): unknown conversion",
        ),
        # a file without apiVersion is decoded into the internal form, whose metadata stands at the top
        ("name: 5", FIELD.format("number", "Policy.name", "string")),
        # the first type error in the order of sorted names counts, unless a time stops everything
        (
            HEAD + "rules: [{verbs: [1], users: [2], level: 3}]",
            FIELD.format("number", "PolicyRule.rules.level", "v1.Level"),
        ),
        (
            HEAD + "rules: 5\nmetadata: {creationTimestamp: soon}",
            'failed decoding: parsing time "soon" as "2006-01-02T15:04:05Z07:00": cannot parse "soon" as "2006"',
        ),
        (HEAD + "metadata: {generation: 1.5}", FIELD.format("number 1.5", "ObjectMeta.metadata.generation", "int64")),
        (HEAD + "metadata: {labels: {a: 5}}", FIELD.format("number", "ObjectMeta.metadata.labels", "string")),
        (HEAD.replace("Policy", "Event") + "level: [1]", FIELD.format("array", "Event.level", "v1.Level")),
        # several errors of one rule, in the server's order, each once
        (
            HEAD + "rules: [{omitStages: [a], level: '', resources: [{group: A}, {group: A}], nonResourceURLs: [x]}]",
            f"[{ALL_AT_ONCE}]",
        ),
        (
            HEAD + 'rules: [{level: "M\\u00e9\\t\\u200b<"}]',
            'rules[0].level: Unsupported value: "Mé\\t\\u200b<": supported values: '
            + ", ".join(f'"{level.value}"' for level in Level),
        ),
        (
            HEAD + "rules: [{level: None, resources: [{group: apps, resourceNames: ['<&>']}]}]",
            (
                'rules[0].resources.resourceNames: Invalid value: ["\\u003c\\u0026\\u003e"]: '
                "using resourceNames requires at least one resource"
            ),
        ),
    ],
)
def test_errors(text, error):
    """Files that the recorded vectors do not have give what the server's code gives."""
    assert read(text).error == error


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{", "unexpected end of JSON input"),
        ("{'a'}", "invalid character '\\'' looking for beginning of object key string"),
        ('{"a" 1}', "invalid character '1' after object key"),
        ('{"a":1 "b"}', "invalid character '\"' after object key:value pair"),
        ('{"a":[1 2]}', "invalid character '2' after array element"),
        ('{"a":"\\x"}', "invalid character 'x' in string escape code"),
        ('{"a":"\\u12g4"}', "invalid character 'g' in \\u hexadecimal character escape"),
        ('{"a":"\n"}', "invalid character '\\n' in string literal"),
        ('{"a":-}', "invalid character '}' in numeric literal"),
        ('{"a":1.}', "invalid character '}' after decimal point in numeric literal"),
        ('{"a":1e}', "invalid character '}' in exponent of numeric literal"),
        ('{"a":01}', "invalid character '1' after object key:value pair"),
        ('{"a":tru}', "invalid character '}' in literal true (expecting 'e')"),
        ('{"a":é}', "invalid character 'Ã' looking for beginning of value"),
        ('{"a":' + "[" * 10_000 + "}", "exceeded max depth"),
    ],
)
def test_json_errors(text, error):
    """JSON is told by its first brace, and its errors are those of encoding/json."""
    assert read(text).error == f"failed decoding: couldn't get version/kind; json parse error: {error}"


def test_json_is_strict_about_repeated_members_in_its_own_words():
    """In JSON a repeated member is a duplicate field; the second list is decoded over the first."""
    text = (
        '{"apiVersion":"audit.k8s.io/v1","kind":"Policy","foo":{},'
        '"rules":[{"level":"None","verbs":["get"]}],"rules":[{"level":"Request"}]}'
    )
    document = read(text)
    assert document.warning == 'strict decoding error: unknown field "foo", duplicate field "rules"'
    # as in Go, where the elements of the first list are still there
    assert document.policy.rules[0].verbs == ("get",)
    assert document.policy.rules[0].level is Level.REQUEST


def test_at_most_a_hundred_complaints():
    """The server stops counting what is strictly wrong at 100."""
    text = HEAD + "rules: [{level: None}]\n" + "".join(f"f{n}: 1\n" for n in range(150))
    assert read(text).warning.count("unknown field") == 100


def test_group_star_is_refused_before_1_36():
    """1.36 reads it as every group, 1.35 does not start."""
    text = HEAD + 'rules: [{level: None, resources: [{group: "*"}]}]'
    assert load(text).rules[0].resources[0].group == "*"
    with pytest.raises(PolicyError, match=r'rules\[0\]\.resources\.group: Invalid value: "\*": a lowercase RFC 1123'):
        load(text, "1.35")
    with pytest.raises(ValueError, match=r"server version '1\.29' is not known"):
        load(text, "1.29")


def test_refusals_are_told_apart():
    """Where the server gives up is known, so that a finding can point there."""
    bodies = ("a: [", "rules: 5", "rules: [{}]", "", "rules: [{level: None}]")
    found = [read("kind: Policy").refusal, *(read(HEAD + body).refusal for body in bodies)]
    assert found == [Refusal.VERSION, Refusal.SYNTAX, Refusal.TYPE, Refusal.INVALID, Refusal.NO_RULES, None]


SEEDS = [v["policy"].encode() for n in ("invalid_policies", "lenient_warnings") for v in vectors(n)]


PIECES = (b"- ", b": ", b"{", b"[", b"*a", b"&a ", b"<<: ", b'"')


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """Draw a policy with bytes cut out, put in and repeated."""
    data = draw(st.sampled_from(SEEDS))[:1500]
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(data)))
        end = at + draw(st.integers(0, 12))
        piece = draw(
            st.one_of(st.binary(max_size=6), st.sampled_from((b"- ", b": ", b"{", b"[", b"*a", b"&a ", b"<<: ", b'"')))
        )
        data = data[:at] + piece * draw(st.sampled_from((1, 1, 40))) + data[end:]
    return data


@settings(max_examples=400, deadline=2000)
@given(st.one_of(st.binary(), mutations(), st.text().map(lambda t: HEAD.encode() + t.encode())))
@example(b"\xff\xfe")
@example(b"k8s\x00")
def test_no_bytes_break_the_loader(data):
    """Any bytes give a policy or a sentence, never anything else; checking them gives findings with a place."""
    report = check(data)
    assert (report.document.policy is None) == bool(report.server_error)
    lines = data.count(b"\n") + data.count(b"\r") + data.count(b"\x85") + data.count(b"\xe2\x80") + 2
    for finding in report.findings:
        assert 1 <= finding.line <= lines
        assert finding.column >= 1
        assert finding.message
        assert finding.help


@given(st.text(alphabet=st.characters()))
def test_no_text_breaks_the_loader(text):
    """Text with unpaired surrogates, as a file name or an argument may hold, is no exception."""
    assert read(text).error


LOL = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 50_000,
        "{a: " * 9_000,
        "- " * 50_000,
        '{"a":' * 50_000,
        '{"apiVersion":"audit.k8s.io/v1","rules":' + "[" * 9_000 + "]" * 9_000 + "}",
        HEAD + "x: " + "[" * 9_000 + "]" * 9_000,
        HEAD + LOL,
        "a " * 100_000,
        '"' + "\\x41" * 30_000,
        "!" + "%41" * 30_000,
        ":" * 50_000,
        "? " * 10_000,
        HEAD + "a: 1\n" * 10_000,
        "\r" * 50_000,
        HEAD + "rules:\n" + "- {level: Metadata, users: [a], verbs: ['*', exec]}\n" * 1_000,
        HEAD + "rules:\n" + "- {level: RequestResponse, namespaces: [a, b, c], userGroups: [a, b]}\n" * 1_000,
        HEAD + "rules: [{level: None, users: [" + "x" * 200_000 + "], verbs: [" + "x" * 200_000 + "]}]",
        json.dumps({"apiVersion": "audit.k8s.io/v1", "rules": [{"level": "None", "x" * 100_000: 1}]}),
    ],
    ids=range(18),
)
def test_nothing_hangs(text):
    """Deep nesting, bombs of aliases, long words and many rules take seconds at most, on a busy machine too."""
    start = time.process_time()
    check(text)
    assert time.process_time() - start < 10
