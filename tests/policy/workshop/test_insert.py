"""Rules put into a text: comments stay, the policy is the one that was meant, and what cannot be done is said."""

import pytest

from kubewitness.cli.policy_coverage import shipped_techniques
from kubewitness.policy.load import load, read
from kubewitness.policy.workshop.coverage import Insertion, Verdict, cover, plan_for, with_insertions
from kubewitness.policy.workshop.insert import InsertError, inserted
from tests.policy.vectors import DATA

TECHNIQUES = shipped_techniques()
FILES = sorted((DATA / "policies").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_recorded_policies(path):
    """Every line of the old text is still there, in order; everything is fully seen."""
    text = path.read_text()
    document = read(text)
    plan = plan_for(document.policy, [cover(document.policy, technique) for technique in TECHNIQUES])
    result = inserted(text, document, plan)
    assert load(result) == with_insertions(document.policy, plan)
    assert all(cover(load(result), t).verdict in (Verdict.FULL, Verdict.NEVER) for t in TECHNIQUES)
    rest = iter(result.splitlines())
    assert all(line in rest for line in text.splitlines())


HEAD = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n"
RULE = load(HEAD + "- {level: Request, users: ['it''s'], verbs: [get], resources: [{group: a.b}]}").rules[0]


def test_a_rule_stands_above_the_comment_of_the_next():
    """With the indentation of the list."""
    text = HEAD + "  # first\n  - level: None\n    users: [a]\n  # second\n  # and more\n  - level: Metadata\n"
    result = inserted(text, read(text), [Insertion(1, RULE), Insertion(2, RULE)])
    assert result.splitlines()[6:11] == [
        "  - level: Request",
        '    users: ["it\'s"]',
        '    verbs: ["get"]',
        "    resources:",
        '    - group: "a.b"',
    ]
    assert result.splitlines()[11:13] == ["  # second", "  # and more"]
    assert result.endswith('    - group: "a.b"\n')


@pytest.mark.parametrize(
    "text",
    [HEAD[:-1] + " [{level: None}]", HEAD + "-\n  level: None\n", HEAD + "- level: None\nomitStages: [Panic]\n"],
)
def test_what_cannot_be_done_is_said(text):
    """Rules on one line, a dash on a line of its own, something after the rules."""
    with pytest.raises(InsertError):
        inserted(text, read(text), [Insertion(1, RULE)])
