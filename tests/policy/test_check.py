"""What `check` finds: one example a code, its place and its help; what it must not find."""

import pytest
from hypothesis import given

from kubewitness.event.types import Level
from kubewitness.policy import cover
from kubewitness.policy.check import CODES, Severity, check
from kubewitness.policy.evaluate import evaluate
from kubewitness.policy.types import Attributes
from kubewitness.policy.validate import RawGroupResources, RawRule
from tests.model import policy_model
from tests.policy.vectors import DATA, vectors
from tests.strategies import attributes, policy_rules

HEAD = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n"

# code, rules (line 4 on), line, column, part of the message, part of the help
EXAMPLES = [
    ("KW105", "- level: metadata", 4, 10, 'Unsupported value: "metadata"', "nearest: Metadata"),
    ("KW105", "- users: [a]", 4, 3, "Required value", "write one of None, Metadata"),
    ("KW106", "- {level: None, omitStages: [RequestRecieved]}", 4, 30, "Invalid value", "nearest: RequestReceived"),
    (
        "KW107",
        "- {level: None, nonResourceURLs: [/a, healthz]}",
        4,
        39,
        "must begin with",
        "a prefix such as /healthz*",
    ),
    ("KW108", "- {level: None, resources: [{group: apps/v1}]}", 4, 37, "RFC 1123", "without its version: apps"),
    (
        "KW109",
        "- {level: None, resources: [{resourceNames: [a]}]}",
        4,
        45,
        "at least one resource",
        "name the resources",
    ),
    (
        "KW110",
        "- {level: None, namespaces: [a], nonResourceURLs: [/a]}",
        4,
        51,
        "cannot apply to both",
        "split the rule",
    ),
    ("KW201", "- {level: None, resource: [a]}", 4, 17, "unknown field resource", "did you mean resources?"),
    ("KW201", "- {level: None, nonResourceUrls: [/a]}", 4, 17, "accepts and ignores", "did you mean nonResourceURLs?"),
    ("KW202", "- level: None\n  level: Metadata", 5, 3, "level is given twice", "the last counts"),
    ("KW203", "- {level: None, users: [alice, 'system:node:*']}", 4, 32, "no globbing", '["system:nodes"]'),
    ("KW203", "- {level: None, userGroups: ['*']}", 4, 30, "never matches", "leave userGroups out"),
    ("KW204", "- {level: None, verbs: ['*']}", 4, 25, "never matches", "leave verbs out"),
    ("KW205", "- {level: None, namespaces: [kube-*]}", 4, 30, "never matches", "list the namespaces"),
    ("KW206", "- {level: None, verbs: [get, exec]}", 4, 30, "no request has the verb", "pods/exec"),
    ("KW206", "- {level: None, verbs: [deleteCollection]}", 4, 25, "no request has", "write deletecollection"),
    ("KW206", "- {level: None, verbs: [wach]}", 4, 25, "no request has", "did you mean watch?"),
    ("KW206", "- {level: None, verbs: [impersonate]}", 4, 25, "no request has", "a permission"),
    (
        "KW207",
        "- level: None\n- {level: Metadata, users: [a]}",
        5,
        3,
        "rules[0] on line 4 matches every",
        "move it above",
    ),
    (
        "KW207",
        "- {level: None, verbs: [get, list]}\n- {level: Request, verbs: [get], users: [a]}",
        5,
        3,
        "matches all that this one matches",
        "move it above rules[0]",
    ),
    ("KW208", "- {level: None, resources: [{resources: [deployments]}]}", 4, 42, "core group", 'group: "apps"'),
    ("KW208", "- {level: None, resources: [{resources: [Ingress]}]}", 4, 42, "core group", '"networking.k8s.io"'),
    ("KW209", "- {level: None, resources: [{resources: [Pod/exec]}]}", 4, 42, "in the plural", "write pods/exec"),
    (
        "KW209",
        "- {level: None, resources: [{group: apps, resources: [pods]}]}",
        4,
        55,
        "no resource of group apps",
        '""',
    ),
    ("KW209", "- {level: None, resources: [{resources: [secretes]}]}", 4, 42, "no resource secretes", "mean secrets?"),
    ("KW209", "- {level: None, resources: [{resources: [pods/exce]}]}", 4, 42, "no subresource", "mean pods/exec?"),
    ("KW209", "- {level: None, resources: [{resources: [pods/]}]}", 4, 42, "matches nothing", "write pods or pods/*"),
    (
        "KW209",
        "- {level: None, resources: [{resources: ['*/*']}]}",
        4,
        42,
        "matches nothing",
        "covers every subresource",
    ),
    ("KW209", "- {level: None, resources: [{resources: ['pod*']}]}", 4, 42, "matches nothing", "list the resources"),
    (
        "KW210",
        "- {level: None, verbs: [create], resources: [{resources: [pods], resourceNames: [a]}]}",
        4,
        81,
        "has no name in its URL",
        "leave resourceNames out",
    ),
    (
        "KW211",
        "- {level: None, namespaces: [prod], resources: [{resources: [pods, nodes]}]}",
        4,
        68,
        "nodes have no namespace",
        'add ""',
    ),
    (
        "KW212",
        "- {level: None, verbs: [get, list], nonResourceURLs: [/a]}",
        4,
        30,
        "the HTTP method",
        "write some of get",
    ),
    ("KW212", "- {level: None, verbs: [post], namespaces: [a]}", 4, 25, "never have the verb", "did you mean create?"),
    ("KW213", "- level: None\n---\na: b", 1, 1, "is ignored", "one document"),
    (
        "KW214",
        "- {level: Request, omitStages: [Panic, RequestReceived, ResponseStarted, ResponseComplete]}",
        4,
        3,
        "nothing is written",
        "level: None",
    ),
    ("KW215", "- {level: None, users: ['system:masters']}", 4, 25, "is a group", "move it to userGroups"),
    ("KW215", "- {level: None, userGroups: ['system:anonymous']}", 4, 30, "is a user", "move it to users"),
    ("KW301", "- {level: Request, verbs: [update]}", 4, 11, "bodies of secrets", "above this one"),
    (
        "KW302",
        "- {level: Request, resources: [{group: authentication.k8s.io}]}",
        4,
        11,
        "bearer token",
        "level: Metadata",
    ),
    (
        "KW303",
        "- {level: RequestResponse, resources: [{resources: ['serviceaccounts/*']}]}",
        4,
        11,
        "new token",
        "above",
    ),
    ("KW304", "- {level: RequestResponse, namespaces: [prod]}", 4, 11, "in namespace prod", "for configmaps"),
    (
        "KW305",
        "- {level: Metadata, resources: [{resources: [secrets]}]}\n- level: None",
        4,
        32,
        "decided by rules[1], level None",
        "beside secrets",
    ),
    ("KW306", "- {level: Metadata, users: [a]}", 4, 1, "not recorded at all: level None", "a last rule"),
    ("KW306", "- {level: Metadata, omitStages: [ResponseStarted]}", 4, 11, "the one stage that a 401 has", "keep"),
    ("KW307", "- {level: Metadata, users: [a]}", 4, 1, "get pods/exec is not recorded", "without verbs"),
]


@pytest.mark.parametrize(("code", "rules", "line", "column", "message", "help_"), EXAMPLES)
def test_findings(code, rules, line, column, message, help_):
    """Each mistake is found where it stands, with what would be right."""
    found = [finding for finding in check(HEAD + rules + "\n").findings if finding.code == code]
    assert len(found) == 1, found
    (finding,) = found
    assert (finding.line, finding.column) == (line, column)
    assert message in finding.message
    assert help_ in finding.help
    assert finding.severity is CODES[code].severity


@pytest.mark.parametrize(
    ("text", "code", "line", "path"),
    [
        ("a: b\nc: [\n", "KW101", 3, ""),
        ("kind: Policy\n", "KW103", 1, ""),
        (HEAD + "- verbs: on\n", "KW102", 4, "rules.verbs"),
        (HEAD + "  []\n", "KW104", 4, "rules"),
        ("apiVersion: audit.k8s.io/v1\nkind: Policy\n", "KW104", 1, "rules"),
    ],
)
def test_refused_files(text, code, line, path):
    """A file whose rules cannot be read gives one finding with the server's sentence."""
    (finding,) = check(text).findings
    assert (finding.code, finding.line, finding.path) == (code, line, path)
    assert check(text).server_error.endswith(finding.message)


def test_every_code_has_an_example():
    """No code is declared that no test produces."""
    produced = {example[0] for example in EXAMPLES} | {"KW101", "KW102", "KW103", "KW104"}
    assert produced == set(CODES)


def test_every_server_error_is_a_finding():
    """Whatever the server refuses, a finding says so and carries its words."""
    for vector in vectors("invalid_policies"):
        report = check(vector["policy"])
        refused = [finding for finding in report.findings if finding.severity is Severity.REFUSED]
        assert refused, vector["name"]
        assert all(finding.message in vector["error"] for finding in refused), vector["name"]


def test_every_warning_of_the_server_is_a_finding():
    """What the server only warns about is wrong here."""
    for vector in vectors("lenient_warnings"):
        found = {finding.code for finding in check(vector["policy"]).findings} & {"KW201", "KW202"}
        expected = vector["warning"] or ("already set" in vector["error"])
        assert bool(found) is bool(expected) or vector["error"], vector


def test_the_security_focused_policy():
    """The policy of the source module: a glob, tokens on the disk, a forgotten door to tokens."""
    report = check((DATA / "policies" / "security.yaml").read_bytes())
    assert report.accepted
    assert [(finding.code, finding.line) for finding in report.findings] == [("KW203", 7), ("KW302", 9), ("KW305", 15)]
    assert "system:serviceaccounts:kube-system" in report.findings[0].help


@pytest.mark.parametrize("name", ["metadata", "scenario3"])
def test_sound_policies_have_no_findings(name):
    """Where there is nothing to say nothing is said."""
    assert not check((DATA / "policies" / f"{name}.yaml").read_bytes()).findings


@pytest.mark.parametrize(
    "rules",
    [
        "- {level: Metadata, resources: [{group: example.com, resources: [Widgets, 'widgets/anything']}]}",
        "- {level: Metadata, verbs: [proxy, ''], resources: [{resources: [nodes/proxy, 'pods/*', '*/status', '*']}]}",
        "- {level: Metadata, namespaces: [prod], resources: [{resources: [namespaces]}]}",
        "- {level: Metadata, users: ['system:serviceaccount:a:b', 'system:anonymous'], userGroups: ['system:masters']}",
        "- {level: None, verbs: [get, head], nonResourceURLs: ['/healthz*']}\n- {level: Metadata, users: [a]}",
        "- {level: Metadata, verbs: [get, post]}",
        "- {level: None, verbs: [get], users: [a]}\n- {level: Metadata, verbs: [get], users: [a, b]}",
    ],
)
def test_what_is_right_is_not_called_wrong(rules):
    """Custom resources, odd but real verbs, patterns and names are left alone."""
    wrong = [finding for finding in check(HEAD + rules + "\n- level: Metadata\n").findings if finding.code < "KW3"]
    assert not wrong


def test_1_35_is_told_apart():
    """What only 1.36 reads is refused for 1.35."""
    text = HEAD + "- {level: None, resources: [{group: '*'}]}\n"
    assert check(text).accepted
    assert [finding.code for finding in check(text, "1.35").findings if finding.severity is Severity.REFUSED] == [
        "KW108"
    ]


def raw(rule) -> RawRule:
    """Give a rule as decoded."""
    return RawRule(
        rule.level.value,
        rule.users,
        rule.user_groups,
        rule.verbs,
        tuple(RawGroupResources(e.group, e.resources, e.resource_names) for e in rule.resources),
        rule.namespaces,
        rule.non_resource_urls,
        (),
        None,
    )


@given(policy_rules(), policy_rules(), attributes())
def test_a_covered_rule_never_matches_alone(earlier, later, request):
    """What one rule covers, it matches: a rule called unreachable is."""
    if cover.covers(raw(earlier), raw(later)) and policy_model.rule_matches(later, request):
        assert policy_model.rule_matches(earlier, request)


@given(policy_rules())
def test_a_rule_covers_itself(rule):
    """The same rule twice leaves the second nothing."""
    assert cover.covers(raw(rule), raw(rule))


def test_a_recorded_body_is_really_recorded():
    """The example in the finding is a request whose body the policy records."""
    text = HEAD + "- {level: Metadata, namespaces: [a], resources: [{resources: [secrets]}]}\n- level: Request\n"
    report = check(text)
    (finding,) = [finding for finding in report.findings if finding.code == "KW301"]
    assert (finding.path, "create secrets in namespace somewhere by someone" in finding.message) == (
        "rules[1].level",
        True,
    )
    request = Attributes("create", "someone", (), "somewhere", "", "v1", "secrets", resource_request=True)
    assert evaluate(report.document.policy, request).level is Level.REQUEST
