"""What `check` finds: one example a code, its place and its help; what it must not find."""

import pytest
from hypothesis import given

from kubewitness.event.types import Level
from kubewitness.policy import checks_reach, cover
from kubewitness.policy.check import CODES, Mode, Profile, Severity, check
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
        "rules[0] on line 4 matches all that this one matches",
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
    (
        "KW209",
        "- {level: None, resources: [{group: authentication.k8s.io, resources: [tokenrequests]}]}",
        4,
        72,
        "has no resource tokenrequests",
        "a create of serviceaccounts/token",
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
        "KW209",
        "- {level: None, resources: [{group: core, resources: [secrets]}]}",
        4,
        55,
        "no resource of group core",
        'belong to group: ""',
    ),
    (
        "KW209",
        "- {level: None, resources: [{group: v1}]}",
        4,
        37,
        'of group "v1"',
        'write group: "", which is the core',
    ),
    (
        "KW209",
        "- {level: None, resources: [{group: rbac, resources: ['*']}]}",
        4,
        37,
        'of group "rbac"',
        'write group: "rbac.authorization.k8s.io"',
    ),
    (
        "KW209",
        "- {level: None, resources: [{group: widgets, resources: [wheels]}]}",
        4,
        58,
        "no resource wheels",
        "have a dot in their names",
    ),
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
    ("KW213", "- level: None\n---\na: b", 5, 1, "is ignored", "one document"),
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
    ("KW306", "- {level: Metadata, omitStages: [ResponseStarted]}", 4, 33, "the one stage that a 401 has", "keep"),
    ("KW307", "- {level: Metadata, users: [a]}", 4, 1, "pods/exec is not recorded", "without verbs"),
    (
        "KW207",
        "- {level: None, verbs: [get]}\n- {level: None, verbs: [list]}\n- {level: Request, verbs: [get, list]}",
        6,
        3,
        "rules[0] on line 4 and rules[1] on line 5 together match all that this one matches",
        "move it above rules[0]",
    ),
    (
        "KW207",
        "- {level: Request, verbs: [get, list]}\n- {level: Request, verbs: [get], users: [a]}",
        5,
        3,
        "the first match counts (for example get",
        "the rules before it say the same",
    ),
    (
        "KW216",
        "- {level: None, users: [a]}\n- {level: Request, users: [a, b]}",
        5,
        28,
        '"a" never matters here: rules[0] on line 4 decides all requests with it before',
        "move the rule above",
    ),
    ("KW216", "- {level: None, users: [a, 'system:anonymous'], userGroups: [g]}", 4, 28, "matches nothing", "remove"),
    ("KW217", "- {level: None, users: ['system:anonymous'], userGroups: [g]}", 4, 3, "no request can match", "remove"),
    (
        "KW308",
        "- {level: Metadata, verbs: [get]}",
        4,
        3,
        "no rule matches are not recorded, for example list pods",
        "end with a rule",
    ),
    (
        "KW309",
        "- {level: Request, resources: [{group: x.io, resources: [apitokens, widgets, sealedsecrets]}]}",
        4,
        11,
        "bodies of apitokens.x.io are written",
        "record apitokens.x.io at level: Metadata",
    ),
    (
        "KW310",
        "- {level: Request, verbs: [create], resources: [{resources: [pods/exec]}]}\n- level: Metadata",
        4,
        27,
        "kubectl since 1.30 opens a WebSocket, which is a get); rules[1] (level Metadata) has it",
        "leave verbs out",
    ),
    (
        "KW311",
        "- {level: None, users: ['system:kube-scheduler', 'system:node:*'], verbs: [get]}\n- level: Metadata",
        4,
        11,
        "hides reads of secrets, commands in containers, requests through proxies by system:kube-scheduler (for",
        "name the noisy resources",
    ),
    (
        "KW312",
        "- {level: None, resources: [{group: rbac.authorization.k8s.io}]}\n- level: Metadata",
        4,
        11,
        "hides changes of roles by everyone",
        "level: Metadata for these actions above it",
    ),
    (
        "KW313",
        "- {level: Request, resources: [{resources: [pods]}]}\n- level: Metadata",
        4,
        31,
        "rules[1] (level Metadata) has them without bodies",
        "beside pods",
    ),
    ("KW314", "- {level: Metadata, omitStages: [ResponseStarted]}", 4, 33, "open has no event yet", "keep Response"),
    (
        "KW315",
        "- {level: None, resources: [{resources: [events]}]}\n- level: Metadata",
        4,
        11,
        "events are deleted (for example delete events",
        "level: Metadata for delete",
    ),
    ("KW317", "- {level: Metadata, omitStages: [ResponseComplete]}", 4, 33, "whether requests succeeded", "keep"),
    (
        "KW401",
        (
            "- {level: None, users: [a], verbs: [get]}\n- {level: Metadata, resources: [{resources: [secrets]}]}\n"
            "- level: Metadata"
        ),
        5,
        3,
        "taken by rules[0] on line 4 (level None, for example get secrets",
        "move this rule above",
    ),
    (
        "KW402",
        "- {level: Metadata, users: [a]}\n- {level: Metadata, users: [a, b]}",
        5,
        29,
        "decided before this rule, and the same",
        "remove it",
    ),
    ("KW403", "- {level: None, resources: [{group: extensions}]}", 4, 37, "last served by Kubernetes 1.21", "remove"),
    (
        "KW403",
        "- {level: None, resources: [{group: policy, resources: [podsecuritypolicies]}]}",
        4,
        57,
        "podsecuritypolicies went after 1.24; these servers are 1.36",
        "other versions",
    ),
    (
        "KW404",
        "- {level: None, verbs: [watch], resources: [{resources: [services, services/status]}]}",
        4,
        68,
        "services/status has no watch, only get, update, patch",
        "the verbs it has",
    ),
    ("KW405", "- {level: Request, nonResourceURLs: [/a]}", 4, 11, "requests for URLs have no bodies", "the same"),
    ("KW405", "- {level: Request, verbs: [get, list]}", 4, 11, "sends no body", "the same"),
    (
        "KW405",
        "- {level: RequestResponse, resources: [{resources: [pods/exec, pods/log]}]}",
        4,
        11,
        "the command is in requestURI, which Metadata has",
        "some detections look for one level",
    ),
    (
        "KW406",
        "- {level: Request, resources: [{resources: [pods/exec]}]}\n- level: Metadata",
        4,
        44,
        "pods/exec are named, pods/attach and pods/portforward are not: rules[1] (level Metadata) decides",
        "name all three",
    ),
    ("KW407", "- {level: RequestResponse}", 4, 11, "lists are written whole", "record list at level: Metadata"),
    ("KW408", "- {level: Metadata}", 4, 1, "when it arrives and again when it is answered", "omit RequestReceived"),
    ("KW409", "- {level: Metadata}", 4, 11, "renewals of leases, new events, probes of /healthz", "level: None"),
    ("KW413", "- {level: Request}", 4, 11, "whose certificate is asked for is evidence", "keep level Request"),
    ("KW414", "- {level: Request}", 4, 11, "environment values", "keep the bodies"),
    (
        "KW415",
        "- {level: None, nonResourceURLs: ['/api*', /healthz]}\n- level: Metadata",
        4,
        11,
        "hides /api, /apis from everyone",
        "userGroups: [system:authenticated]",
    ),
    ("KW416", "- {level: Request}", 4, 11, "metadata.managedFields", "omitManagedFields: true"),
]

# code, profile, rules, part of the message
DEMANDS = [
    ("KW501", Profile.CIS, "- level: Request", "Request (rules[0]) for "),
    ("KW501", Profile.CIS, "- {level: None, users: [a]}\n- level: Metadata", "None (rules[0]) for "),
    ("KW502", Profile.CIS, "- {level: None, verbs: [patch]}\n- level: Metadata", "for patch "),
    ("KW503", Profile.CIS, "- {level: None, verbs: [get]}\n- level: Metadata", "wants pods/exec, pods/portforward"),
    ("KW511", Profile.STIG, "- level: Request", "wants level RequestResponse for everything"),
    ("KW521", Profile.PCI, "- {level: None, userGroups: ['system:masters']}\n- level: Metadata", "by someone"),
    ("KW522", Profile.PCI, "- {level: Metadata, omitStages: [ResponseComplete]}", "success or failure"),
    ("KW523", Profile.PCI, "- level: Metadata", "create roles.rbac.authorization.k8s.io"),
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


@pytest.mark.parametrize(("code", "profile", "rules", "message"), DEMANDS)
def test_demands_of_a_profile(code, profile, rules, message):
    """A demand that is not met is found with its profile, and not without."""
    text = HEAD + rules + "\n"
    found = [finding for finding in check(text, profile=profile).findings if finding.code == code]
    assert found
    assert any(message in finding.message for finding in found), found
    assert all(finding.severity is Severity.UNMET for finding in found)
    assert not any(finding.code.startswith("KW5") for finding in check(text).findings)


@pytest.mark.parametrize(
    ("profile", "rules"),
    [
        (Profile.STIG, "- {level: RequestResponse, omitStages: [RequestReceived]}"),
        (
            Profile.PCI,
            "- {level: Request, resources: [{group: rbac.authorization.k8s.io}]}\n- level: Metadata",
        ),
        (
            Profile.CIS,
            (
                "- {level: Metadata, resources: [{resources: [secrets, configmaps]}, "
                "{group: authentication.k8s.io, resources: [tokenreviews]}]}\n- level: Request"
            ),
        ),
    ],
)
def test_a_policy_that_meets_its_profile(profile, rules):
    """Where a benchmark has what it wants nothing is unmet; the conflict with the other is named all the same."""
    report = check(HEAD + rules + "\n", profile=profile)
    assert not [finding for finding in report.findings if finding.severity is Severity.UNMET]
    named = {f.code: f.message for f in report.findings if f.code in ("KW318", "KW418")}
    expected = {Profile.STIG: ("KW318", "CIS 3.2.2 forbids"), Profile.CIS: ("KW418", "STIG wants every body")}
    assert set(named) == ({expected[profile][0]} if profile in expected else set())
    assert all(expected[profile][1] in message for message in named.values())


def test_a_stage_that_blocking_strict_needs():
    """Omitting RequestReceived matters in one mode only."""
    text = HEAD + "- {level: Metadata, omitStages: [RequestReceived]}\n"
    (finding,) = (finding for finding in check(text, mode=Mode.BLOCKING_STRICT).findings if finding.code == "KW316")
    assert (finding.line, finding.path, "refuses nothing" in finding.message) == (4, "rules[0].omitStages", True)
    assert "KW316" not in {finding.code for finding in check(text).findings}


def test_a_policy_that_is_too_hard(monkeypatch):
    """Where the search gives up it says so, and pairs of rules are still compared."""
    monkeypatch.setattr(checks_reach, "_BUDGET_STATES", 1)
    found = {finding.code for finding in check(HEAD + "- {level: None, verbs: [get]}\n" * 2).findings}
    assert {"KW417", "KW207"} <= found


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


@pytest.mark.parametrize(
    ("rules", "help_"),
    [
        ("- {level: None, resources: [secrets]}\n", '- {group: "", resources: [secrets]}'),
        ("- Metadata\n", "- level: Metadata"),
        ("- {level: None, verbs: get}\n", "write a list"),
    ],
)
def test_a_value_of_another_kind_is_shown_right(rules, help_):
    """The help is what to write there, not that it is wrong."""
    (finding,) = check(HEAD + rules).findings
    assert finding.code == "KW102"
    assert help_ in finding.help


def test_every_code_has_an_example():
    """No code is declared that no test produces."""
    elsewhere = {"KW101", "KW102", "KW103", "KW104", "KW316", "KW318", "KW417", "KW418"}
    produced = {example[0] for example in (*EXAMPLES, *DEMANDS)} | elsewhere
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
    serious = [finding for finding in report.findings if finding.severity is not Severity.NOTE]
    assert [(finding.code, finding.line) for finding in serious] == [
        ("KW311", 6),
        ("KW203", 7),
        ("KW302", 9),
        ("KW305", 15),
    ]
    assert "system:serviceaccounts:kube-system" in serious[1].help


@pytest.mark.parametrize("name", ["metadata"])
def test_sound_policies_have_no_findings(name):
    """Where there is nothing to say nothing is said, but of the cost."""
    assert not check((DATA / "policies" / f"{name}.yaml").read_bytes()).at_least(Severity.RISKY)


@pytest.mark.parametrize(
    "rules",
    [
        "- {level: Metadata, resources: [{group: example.com, resources: [gadgets, 'widgets/anything']}]}",
        "- {level: Metadata, verbs: [proxy, ''], resources: [{resources: [nodes/proxy, 'pods/*', '*/status', '*']}]}",
        "- {level: Metadata, namespaces: [prod], resources: [{resources: [namespaces]}]}",
        "- {level: Metadata, users: [a, 'system:node:b'], userGroups: ['system:masters']}",
        "- {level: None, verbs: [get, head], nonResourceURLs: ['/healthz*']}\n- {level: Metadata, users: [a]}",
        "- {level: Metadata, verbs: [get, post]}",
        "- {level: None, verbs: [get], users: [a]}\n- {level: Metadata, verbs: [get], users: [b, c]}",
        "- {level: Metadata, verbs: [create], resources: [{resources: [pods/exec], resourceNames: [web]}]}",
        "- {level: Metadata, resources: [{group: policy, resources: [podsecuritypolicies]}]}",
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
    assert (finding.path, "create secrets in namespace default by someone" in finding.message) == (
        "rules[1].level",
        True,
    )
    request = Attributes("create", "someone", (), "default", "", "v1", "secrets", resource_request=True)
    assert evaluate(report.document.policy, request).level is Level.REQUEST
