"""Mending: what is taken is proved, what is not is told, and nothing that was recorded is lost."""

import functools
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings

from kubewitness.event.types import Level
from kubewitness.policy.check import Finding, Profile, Report, Severity, check
from kubewitness.policy.findings import Do, Edit, Fix
from kubewitness.policy.load import load, read
from kubewitness.policy.prove.claims import parse_claims, prove
from kubewitness.policy.repair import mend as mending
from kubewitness.policy.repair.mend import mend
from kubewitness.policy.types import PolicyRule
from tests.model import regions as model
from tests.policy.repair.strategies import texts
from tests.policy.vectors import DATA

HEAD = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n"
CALM = settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
SOAK = settings(max_examples=5_000, deadline=None, suppress_health_check=list(HealthCheck))


def mended(text: str, least: Severity = Severity.NOTE, version: str = "1.36"):
    return mend(text.encode(), lambda data: check(data, version), version, least)


# code, rules, what --fix makes of them
CASES = [
    ("KW105", "- level: metadata\n", "- level: Metadata\n"),
    ("KW106", "- {level: Metadata, omitStages: [Panics]}\n", "- {level: Metadata, omitStages: [Panic]}\n"),
    (
        "KW107",
        "- {level: None, nonResourceURLs: [healthz]}\n- level: Metadata\n",
        "- {level: None, nonResourceURLs: [/healthz]}\n- level: Metadata\n",
    ),
    (
        "KW108",
        "- {level: Request, resources: [{group: apps/v1}]}\n- level: Metadata\n",
        "- {level: Request, resources: [{group: apps}]}\n- level: Metadata\n",
    ),
    (
        "KW201",
        "- {level: Request, verb: [patch], resources: [{group: apps}]}\n- level: Metadata\n",
        "- {level: Request, verbs: [patch], resources: [{group: apps}]}\n- level: Metadata\n",
    ),
    (
        "KW203",
        "- {level: Request, users: ['system:node:*', a], resources: [{group: apps}]}\n- level: Metadata\n",
        (
            '- level: Request\n  userGroups: ["system:nodes"]\n  resources:\n  - group: "apps"\n'
            "- {level: Request, users: [a], resources: [{group: apps}]}\n- level: Metadata\n"
        ),
    ),
    (
        "KW203",
        "- {level: Request, users: ['system:node:*'], resources: [{group: apps}]}\n- level: Metadata\n",
        '- {level: Request, resources: [{group: apps}], userGroups: ["system:nodes"]}\n- level: Metadata\n',
    ),
    (
        "KW203",
        "- {level: None, users: ['system:node:*', a], resources: [{group: apps}], verbs: [get]}\n- level: Metadata\n",
        "- {level: None, users: [a], resources: [{group: apps}], verbs: [get]}\n- level: Metadata\n",
    ),
    (
        "KW204",
        "- {level: Request, verbs: ['*'], resources: [{group: apps}]}\n- level: Metadata\n",
        "- {level: Request, resources: [{group: apps}]}\n- level: Metadata\n",
    ),
    (
        "KW205",
        "- {level: Request, namespaces: ['*'], resources: [{group: apps}]}\n- level: Metadata\n",
        "- {level: Request, resources: [{group: apps}]}\n- level: Metadata\n",
    ),
    (
        "KW206",
        "- {level: Request, verbs: [Create], resources: [{group: apps}]}\n- level: Metadata\n",
        "- {level: Request, verbs: [create], resources: [{group: apps}]}\n- level: Metadata\n",
    ),
    (
        "KW207",
        "# all\n- level: Metadata\n# apps\n- {level: Request, resources: [{group: apps}]}\n",
        "# apps\n- {level: Request, resources: [{group: apps}]}\n# all\n- level: Metadata\n",
    ),
    (
        "KW207",
        (
            "- {level: Metadata, resources: [{group: apps}]}\n"
            "- {level: Metadata, users: [a], resources: [{group: apps}]}\n"
            "- level: Metadata\n"
        ),
        "- {level: Metadata, resources: [{group: apps}]}\n- level: Metadata\n",
    ),
    (
        "KW208",
        "- {level: Request, resources: [{resources: [deployments]}]}\n- level: Metadata\n",
        '- {level: Request, resources: [{resources: [deployments], group: "apps"}]}\n- level: Metadata\n',
    ),
    (
        "KW208",
        '- {level: Request, resources: [{group: "", resources: [services, deployments]}]}\n- level: Metadata\n',
        (
            '- {level: Request, resources: [{"group": "apps", "resources": ["deployments"]}, '
            '{group: "", resources: [services]}]}\n- level: Metadata\n'
        ),
    ),
    (
        "KW209",
        "- {level: Request, resources: [{resources: [Service, serviecs/status]}]}\n- level: Metadata\n",
        "- {level: Request, resources: [{resources: [services, services/status]}]}\n- level: Metadata\n",
    ),
    (
        "KW210",
        (
            "- {level: Request, verbs: [create], resources: [{resources: [nodes], resourceNames: [a]}]}\n"
            "- level: Metadata\n"
        ),
        "- {level: Request, verbs: [create], resources: [{resources: [nodes]}]}\n- level: Metadata\n",
    ),
    (
        "KW214",
        (
            "- {level: Metadata, verbs: [get], resources: [{group: apps}], "
            "omitStages: [RequestReceived, ResponseStarted, ResponseComplete, Panic]}\n- level: Metadata\n"
        ),
        (
            "- {level: None, verbs: [get], resources: [{group: apps}], "
            "omitStages: [RequestReceived, ResponseStarted, ResponseComplete, Panic]}\n- level: Metadata\n"
        ),
    ),
    (
        "KW215",
        "- {level: Request, users: ['system:masters'], resources: [{group: apps}]}\n- level: Metadata\n",
        "- {level: Request, userGroups: ['system:masters'], resources: [{group: apps}]}\n- level: Metadata\n",
    ),
    (
        "KW302",
        (
            "- {level: RequestResponse, resources: [{group: authentication.k8s.io, resources: [tokenreviews]}]}\n"
            "- level: Metadata\n"
        ),
        (
            "- {level: Metadata, resources: [{group: authentication.k8s.io, resources: [tokenreviews]}]}\n"
            "- level: Metadata\n"
        ),
    ),
    (
        "KW306",
        "- {level: Metadata, omitStages: [ResponseStarted, Panic]}\n",
        "- {level: Metadata, omitStages: [Panic]}\n",
    ),
    ("KW306", "- level: Metadata\n  omitStages: [ResponseStarted]\n", "- level: Metadata\n"),
    ("KW317", "- {level: Metadata, omitStages: [ResponseComplete]}\n", "- {level: Metadata}\n"),
    ("KW308", "- {level: Metadata, verbs: [get]}\n", "- {level: Metadata, verbs: [get]}\n- level: Metadata\n"),
    (
        "KW310",
        "- {level: Request, verbs: [create], resources: [{resources: [pods/exec]}]}\n- level: Metadata\n",
        "- {level: Request, verbs: [create, get], resources: [{resources: [pods/exec]}]}\n- level: Metadata\n",
    ),
    (
        "KW315",
        "- {level: None, resources: [{resources: [events]}]}\n- level: Metadata\n",
        (
            '- level: Metadata\n  verbs: ["delete", "deletecollection"]\n  resources:\n  - group: ""\n'
            '    resources: ["events"]\n- {level: None, resources: [{resources: [events]}]}\n- level: Metadata\n'
        ),
    ),
]


@pytest.mark.parametrize(("code", "rules", "expected"), CASES)
def test_fixes(code, rules, expected):
    """Each fix makes this and nothing else, and the finding is gone."""
    found = mended(HEAD + rules, Severity.RISKY)
    assert found.data.decode() == HEAD + expected
    assert code in {taken.finding.code for taken in found.taken}
    assert code not in {finding.code for finding in found.report.findings}


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ("- &a {level: Request, verbs: [get, list]}\n- *a\n- level: Metadata\n", "anchor or a tag"),
        ("- {level: Metadata, users: &u ['system:node:*', a]}\n- {level: Request, users: *u, verbs: [x]}\n", ""),
    ],
)
def test_what_is_left_is_told(rules, why):
    """A fix that the text does not allow leaves the text alone."""
    found = mended(HEAD + rules)
    assert all(why in left.why for left in found.left)
    assert check(found.data).accepted


def test_a_fix_that_changes_more_is_not_taken(monkeypatch):
    """The proof refuses a fix whose scope is too small or whose level is another, and says what it would change."""
    old = read(HEAD + "- {level: Metadata, users: [a]}\n- level: Request\n")
    new = read(HEAD + "- {level: Metadata, users: [a, b]}\n- level: Request\n")
    narrow = Fix("", (), (PolicyRule(Level.NONE, users=("b",), verbs=("get",)),))
    assert "it would change more: list pods" in mending._proved(old, new, narrow)
    level = Fix("", (), (PolicyRule(Level.NONE, users=("b",)),), Level.REQUEST, Level.REQUEST)
    assert "from Request (rules[1]) to Metadata (rules[0])" in mending._proved(old, new, level)
    assert mending._proved(old, new, Fix("", (), (PolicyRule(Level.NONE, users=("b",)),))) == ""
    silent = read(HEAD + "- {level: None, users: [a]}\n- level: Request\n")
    assert "to None" in mending._proved(old, silent, Fix("", (), (PolicyRule(Level.NONE),)))
    refused = read(HEAD + "- level: x\n")
    assert "would refuse it" in mending._proved(old, refused, Fix("", (), (PolicyRule(Level.NONE),)))
    monkeypatch.setattr(mending, "_BUDGET_STATES", 0)
    assert "could not be proved" in mending._proved(old, new, narrow)


def test_a_wrong_edit_is_not_taken():
    """A finding whose fix does something else is left, with the reason."""
    report = check((HEAD + "- level: Metadata\n").encode())
    wrong = Fix("", (Edit(Do.REPLACE, ("rules", 0, "level"), "Request"),), ())
    assert mending._tried(report.document.error.encode(), report.document, wrong, "1.36")[0] is None
    new, why = mending._tried((HEAD + "- level: Metadata\n").encode(), report.document, wrong, "1.36")
    assert (new, "it would change more" in why) == (None, True)


def opposed(data: bytes):
    """Give a report of which one finding wants level Request and the other Metadata, whichever it is not."""
    report = check(data)
    rule = report.document.policy.rules[0]
    wanted = "Request" if rule.level is Level.METADATA else "Metadata"
    fix = Fix("", (Edit(Do.REPLACE, ("rules", 0, "level"), wanted),), (PolicyRule(Level.NONE),))
    found = Finding("KW401", Severity.NOTE, 4, 1, "rules[0]", f"want {wanted}", "", fix)
    return Report(report.document, (found,))


def test_fixes_that_undo_each_other_are_not_made():
    """A circle ends where it began, with the reason, and so does a second run."""
    data = (HEAD + "- level: Metadata\n").encode()
    found = mend(data, opposed, "1.36")
    assert (found.data, found.taken) == (data, ())
    assert [left.why for left in found.left] == ["it does not help, or another fix undoes it"]


def test_a_fix_that_does_not_help_is_not_made():
    """When the finding is still there after its fix, the text stays as it was."""

    def never_content(data: bytes):
        report = check(data)
        fix = Fix("", (Edit(Do.APPEND, ("rules",), {"level": "Metadata"}),))
        return Report(report.document, (Finding("KW401", Severity.NOTE, 4, 1, "rules[0]", "more", "", fix),))

    data = (HEAD + "- level: Metadata\n").encode()
    found = mend(data, never_content, "1.36")
    assert (found.data, found.taken, len(found.left)) == (data, (), 1)


def test_the_security_focused_policy():
    """The policy of the source module: every finding but the cost is mended, and the claims hold then."""
    data = (DATA / "policies" / "security.yaml").read_bytes()
    found = mend(data, check, "1.36")
    assert [taken.finding.code for taken in found.taken] == ["KW203", "KW305", "KW302", "KW311", "KW405"]
    assert not found.left
    assert not found.report.at_least(Severity.RISKY)
    policy = load(found.data)
    claims = [*parse_claims("no-secret-bodies"), *parse_claims("exec-visible")]
    assert all(prove(policy, claim).is_proved for claim in claims)


@pytest.mark.parametrize("name", ["security", "full", "basic", "quiz"])
def test_a_policy_is_brought_to_cis(name):
    """With the profile cis, what the benchmark asks of secrets and commands is put first, and proved."""
    data = (DATA / "policies" / f"{name}.yaml").read_bytes()
    found = mend(data, lambda text: check(text, profile=Profile.CIS), "1.36")
    assert {f.code for f in found.report.findings if f.severity is Severity.UNMET} == set()
    assert all(prove(load(found.data), claim).is_proved for claim in parse_claims("cis-3.2.2"))


VOCABULARY = model.Vocabulary(
    users=(),
    groups=("system:masters", "system:authenticated", "system:serviceaccounts"),
    request_users=(
        None,
        "alice",
        "bob",
        "system:kube-scheduler",
        "system:node:n1",
        "system:serviceaccount:kube-system:x",
    ),
    request_verbs=("get", "list", "create", "patch", "delete", "deletecollection"),
    request_namespaces=("", "prod", "kube-system", "other"),
    request_names=("", "web", "z"),
    request_api_groups=("", "apps", "example.com"),
    request_resources=("pods", "secrets", "deployments", "events", "serviceaccounts", "widgets"),
    request_subresources=("", "exec", "portforward", "token", "status"),
    request_paths=("/healthz", "/version", "/api", "/livez", "/zz"),
)


@functools.cache
def pool() -> model.Pool:
    return model.make_pool(VOCABULARY, only_possible=True)


def unrecorded(data: bytes) -> int:
    """Give the requests of the pool of which nothing is written."""
    policy = load(data)
    found = 0
    for index, requests in pool().decided(policy):
        rule = None if index is None else policy.rules[index]
        stages = set(policy.omit_stages) | set(rule.omit_stages if rule else ())
        if rule is None or rule.level is Level.NONE or len(stages) == 4:
            found |= requests
    return found


def check_mending(text: str) -> None:
    data = text.encode()
    found = mend(data, check, "1.36")
    again = mend(found.data, check, "1.36")
    assert (again.data, again.taken) == (found.data, ()), "a second run finds nothing to do"
    before = read(data)
    if before.policy is None:
        return
    assert found.report.accepted
    assert unrecorded(found.data) & ~unrecorded(data) == 0, "nothing is hidden that was recorded"
    comments = [line for line in text.splitlines() if line.lstrip().startswith("#")]
    kept = [line for line in found.data.decode().splitlines() if line.lstrip().startswith("#")]
    removes = any(edit.do is Do.REMOVE for t in found.taken for edit in t.finding.fix.edits)
    assert not Counter(kept) - Counter(comments), "no comment is made up"
    assert removes or sorted(comments) == sorted(kept), "comments go only with what they stand in or above"
    if not found.taken:
        assert found.data == data


@given(texts())
@CALM
def test_random_policies_are_mended(text):
    """Whatever is wrong: idempotent, accepted, nothing hidden, comments kept."""
    check_mending(text)


@pytest.mark.soak
@given(texts(8))
@SOAK
def test_random_policies_are_mended_at_length(text):
    """The same over 5,000 policies."""
    check_mending(text)
