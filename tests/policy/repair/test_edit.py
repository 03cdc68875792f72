"""One edit at a time: what stands around it stays as it is, in block and in flow style."""

import json

import pytest

from kubewitness.policy.findings import Do, Edit
from kubewitness.policy.repair.edit import apply
from kubewitness.policy.repair.spans import NoPlaceError

BLOCK = """\
# head
apiVersion: audit.k8s.io/v1  # version
kind: Policy
# about the rules
rules:
# first
- level: None  # quiet
  users:
  - 'alice'   # a
  # before bob
  - bob
- verbs: [get, "list"]
  level: Request
  # last comment of rule 1

# second, far away
# third
- level: Metadata
"""

CASES = [
    (Edit(Do.REPLACE, ("rules", 0, "level"), "Request"), "level: None  # quiet", "level: Request  # quiet"),
    (Edit(Do.REPLACE, ("rules", 0, "users", 0), "carol"), "'alice'   # a", "'carol'   # a"),
    (Edit(Do.REPLACE, ("rules", 0, "users", 1), "on"), "  - bob\n", '  - "on"\n'),
    (Edit(Do.REPLACE, ("rules", 1, "verbs", 1), "watch"), '"list"', '"watch"'),
    (Edit(Do.RENAME, ("rules", 1, "verbs"), "users"), "- verbs:", "- users:"),
    (Edit(Do.REMOVE, ("rules", 0, "users", 0)), "  - 'alice'   # a\n", ""),
    (Edit(Do.REMOVE, ("rules", 0, "users", 1)), "  - bob\n", ""),
    (Edit(Do.REMOVE, ("rules", 1, "verbs", 0)), "get, ", ""),
    (Edit(Do.REMOVE, ("rules", 1, "verbs", 1)), ', "list"', ""),
    (Edit(Do.REMOVE, ("rules", 1, "verbs")), 'verbs: [get, "list"]\n  ', ""),
    (
        Edit(Do.REMOVE, ("rules", 0, "users")),
        "  users:\n  - 'alice'   # a\n  # before bob\n  - bob\n",
        "",
    ),
    (Edit(Do.REMOVE, ("rules", 2)), "# second, far away\n# third\n- level: Metadata\n", ""),
    (Edit(Do.APPEND, ("rules", 0, "users"), "carol"), "  - bob\n", "  - bob\n  - carol\n"),
    (Edit(Do.APPEND, ("rules", 1, "verbs"), "watch"), '"list"]', '"list", "watch"]'),
    (
        Edit(Do.APPEND, ("rules",), {"level": "Metadata"}),
        "- level: Metadata\n",
        "- level: Metadata\n- level: Metadata\n",
    ),
    (
        Edit(Do.INSERT, ("rules", 2), {"level": "Request", "resources": [{"group": "", "resources": ["pods"]}]}),
        "# second, far",
        '- level: Request\n  resources:\n  - group: ""\n    resources: ["pods"]\n# second, far',
    ),
    (
        Edit(Do.INSERT, ("rules", 0), {"level": "Request"}),
        "# first\n- level: None",
        "- level: Request\n# first\n- level: None",
    ),
    (Edit(Do.MEMBER, ("rules", 1), ["a"], "users"), "  level: Request\n", '  level: Request\n  users: ["a"]\n'),
    (
        Edit(Do.MEMBER, (), "true", "omitManagedFields"),
        "# about the rules\n",
        "omitManagedFields: true\n# about the rules\n",
    ),
]


@pytest.mark.parametrize(("edit", "old", "new"), CASES)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_edits_of_block_style(edit, old, new, ending):
    """Exactly the words of the edit change; comments and line ends stay."""
    assert BLOCK.count(old) >= 1
    at = BLOCK.rindex(old)
    expected = BLOCK[:at] + new + BLOCK[at + len(old) :]
    assert apply(BLOCK.replace("\n", ending), edit) == expected.replace("\n", ending)


def test_a_rule_moves_with_its_comments():
    """What stands right above a rule goes with it, in both directions."""
    up = apply(BLOCK, Edit(Do.MOVE, ("rules", 2), 1))
    assert up.index("# second, far away\n# third\n- level: Metadata\n- verbs") > up.index("- bob")
    down = apply(BLOCK, Edit(Do.MOVE, ("rules", 1), -1))
    assert down.endswith('# third\n- level: Metadata\n- verbs: [get, "list"]\n  level: Request\n')
    assert sorted(down.splitlines()) == sorted(up.splitlines()) == sorted(BLOCK.splitlines())


def test_the_last_line_may_have_no_end():
    """A file without a last newline gets one where something follows."""
    text = BLOCK.rstrip("\n")
    assert apply(text, Edit(Do.APPEND, ("rules",), {"level": "None"})).endswith("- level: Metadata\n- level: None\n")
    assert apply(text, Edit(Do.MOVE, ("rules", 0), -1)).count("- level: ") == 2
    assert apply(text, Edit(Do.MOVE, ("rules", 2), 0)).endswith("# last comment of rule 1\n\n")


FLOW = '{"apiVersion": "audit.k8s.io/v1", "rules": [{"level": "None", "users": ["a", "b"]}, {"level": "Request"}]}'


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (Edit(Do.REPLACE, ("rules", 1, "level"), "None"), [{"level": "None", "users": ["a", "b"]}, {"level": "None"}]),
        (Edit(Do.REMOVE, ("rules", 0, "users", 1)), [{"level": "None", "users": ["a"]}, {"level": "Request"}]),
        (Edit(Do.REMOVE, ("rules", 0, "users")), [{"level": "None"}, {"level": "Request"}]),
        (Edit(Do.REMOVE, ("rules", 0)), [{"level": "Request"}]),
        (
            Edit(Do.APPEND, ("rules",), {"level": "Metadata"}),
            [{"level": "None", "users": ["a", "b"]}, {"level": "Request"}, {"level": "Metadata"}],
        ),
        (
            Edit(Do.INSERT, ("rules", 1), {"level": "Metadata", "resources": [{"group": "", "resources": ["pods"]}]}),
            [
                {"level": "None", "users": ["a", "b"]},
                {"level": "Metadata", "resources": [{"group": "", "resources": ["pods"]}]},
                {"level": "Request"},
            ],
        ),
        (Edit(Do.MOVE, ("rules", 0), -1), [{"level": "Request"}, {"level": "None", "users": ["a", "b"]}]),
        (Edit(Do.MOVE, ("rules", 1), 0), [{"level": "Request"}, {"level": "None", "users": ["a", "b"]}]),
        (
            Edit(Do.MEMBER, ("rules", 1), "true", "omitManagedFields"),
            [{"level": "None", "users": ["a", "b"]}, {"level": "Request", "omitManagedFields": True}],
        ),
        (
            Edit(Do.RENAME, ("rules", 0, "users"), "userGroups"),
            [{"level": "None", "userGroups": ["a", "b"]}, {"level": "Request"}],
        ),
    ],
)
def test_edits_of_json(edit, expected):
    """JSON stays JSON."""
    assert json.loads(apply(FLOW, edit))["rules"] == expected


@pytest.mark.parametrize(
    ("text", "edit", "why"),
    [
        ("rules: [&a {level: None}, *a]", Edit(Do.REPLACE, ("rules", 0, "level"), "Request"), "anchor"),
        ("a: &a [x, y]\nrules:\n- users: *a\n", Edit(Do.REMOVE, ("rules", 0, "users", 0)), "alias"),
        ("rules:\n- users: [a]\n", Edit(Do.REMOVE, ("rules", 0, "users", 0)), "only item"),
        ("rules:\n- users: [a]\n", Edit(Do.REMOVE, ("rules", 0, "verbs")), "not written there"),
        ("rules:\n- users: [a]\n  users: [b]\n", Edit(Do.REMOVE, ("rules", 0, "users")), "twice"),
        ("rules:\n- users: |\n    a\n", Edit(Do.REPLACE, ("rules", 0, "users"), "b"), "block of text"),
        ("rules:\n- &x\n  users: [a, b]\n- *x\n", Edit(Do.REMOVE, ("rules", 1, "users", 0)), "anchor"),
        ("rules: [a, # here\n b]", Edit(Do.REMOVE, ("rules", 1)), "comment"),
        ("a: [\n", Edit(Do.REMOVE, ("a", 0)), "another YAML reader"),
        ("", Edit(Do.REMOVE, ("a", 0)), "empty"),
        ("rules: x\n", Edit(Do.APPEND, ("rules",), "b"), "no list"),
        ("- a\n", Edit(Do.RENAME, ("rules",), "b"), "not written"),
    ],
)
def test_what_cannot_be_changed_is_left_alone(text, edit, why):
    """A value that is shared, written elsewhere or not there is not touched, and the reason is said."""
    with pytest.raises(NoPlaceError, match=why):
        apply(text, edit)
