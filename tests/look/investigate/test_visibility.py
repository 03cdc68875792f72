"""What a policy could have recorded of the requests that would answer."""

import pytest

from kubewitness.event.types import Level, Stage
from kubewitness.look.investigate.visibility import requests_that_answer, visibility
from kubewitness.look.investigate.who import Question, Target
from kubewitness.policy.types import Decision, GroupResources, Policy, PolicyRule

SECRET = Target("secrets", "important", "production", "")


def plain(policy, attributes):
    """The few members these policies use, matched by hand."""
    for index, rule in enumerate(policy.rules):
        assert not rule.users
        assert not rule.user_groups
        if rule.verbs and attributes.verb not in rule.verbs:
            continue
        if rule.resources and not any(attributes.resource in r.resources for r in rule.resources):
            continue
        return Decision(rule.level, frozenset(rule.omit_stages + policy.omit_stages), False, index)
    return Decision(Level.NONE, frozenset(policy.omit_stages), False, None)


def see(rules, question, target=SECRET, users=(), **kwargs):
    """Levels by verb, users and groups."""
    found = visibility(Policy(tuple(rules), **kwargs), Question(question), target, plain, users)
    return [(v.verb, v.users or v.groups, v.level.value, v.rule_index, v.is_recorded) for v in found]


SECRETS = (GroupResources("", ("secrets",)),)


def test_the_first_rule_for_everybody_ends_the_reading():
    """What stands below a rule without users cannot matter."""
    rules = [PolicyRule(Level.METADATA, resources=SECRETS), PolicyRule(Level.NONE)]
    assert see(rules, "deleted") == [
        ("delete", (), "Metadata", 0, True),
        ("deletecollection", (), "Metadata", 0, True),
    ]


def test_rules_for_some_users_are_told_apart():
    """The scheduler's requests are dropped, everybody else's are not."""
    rules = [PolicyRule(Level.NONE, users=("system:kube-scheduler",)), PolicyRule(Level.METADATA)]
    assert see(rules, "changed") == [
        ("update", ("system:kube-scheduler",), "None", 0, False),
        ("update", (), "Metadata", 1, True),
        ("patch", ("system:kube-scheduler",), "None", 0, False),
        ("patch", (), "Metadata", 1, True),
    ]


def test_a_name_with_a_star_is_nobody():
    """There is no globbing, so such a rule decides nothing, for users or for groups."""
    rules = [
        PolicyRule(Level.NONE, users=("system:serviceaccount:kube-system:*",)),
        PolicyRule(Level.NONE, users=("jane", "system:node:*")),
        PolicyRule(Level.NONE, users=("jane",), user_groups=("*",)),
        PolicyRule(Level.METADATA),
    ]
    assert see(rules, "deleted")[:2] == [
        ("delete", ("jane",), "None", 1, False),
        ("delete", (), "Metadata", 3, True),
    ]


@pytest.mark.parametrize(
    ("users", "seen"),
    [
        (["eve"], [("list", (), "Metadata", 2, True)]),
        (["jane"], [("list", ("jane",), "None", 0, False)]),
        (["jane", "joe"], [("list", ("jane",), "None", 0, False), ("list", ("joe",), "Request", 1, True)]),
        (["jane", "eve"], [("list", ("jane",), "None", 0, False), ("list", (), "Metadata", 2, True)]),
    ],
)
def test_of_users_asked_for_only_their_rules_are_told(users, seen):
    """Rules that name others are passed over, and a rule that names all who are left is the last."""
    rules = [
        PolicyRule(Level.NONE, users=("jane", "scheduler")),
        PolicyRule(Level.REQUEST, users=("joe", "jane")),
        PolicyRule(Level.METADATA),
    ]
    assert [one for one in see(rules, "listed", users=users) if one[0] == "list"] == seen


def test_a_rule_for_a_group_leaves_open_whether_the_user_is_in_it():
    """Both it and what comes after it may decide."""
    rules = [PolicyRule(Level.NONE, users=("jane",), user_groups=("staff",)), PolicyRule(Level.METADATA)]
    assert see(rules, "listed", users=["jane"])[:2] == [
        ("list", ("jane",), "None", 0, False),
        ("list", (), "Metadata", 1, True),
    ]


def test_a_name_says_some_of_its_groups():
    """A service account is in the group of its namespace, and every user but the anonymous in system:authenticated."""
    rules = [PolicyRule(Level.NONE, user_groups=("system:serviceaccounts:ci",)), PolicyRule(Level.METADATA)]
    bot, web = "system:serviceaccount:ci:bot", "system:serviceaccount:app:web"
    assert see(rules, "deleted", users=[bot])[:1] == [("delete", (bot,), "None", 0, False)]
    assert see(rules, "deleted", users=[web])[:2] == [
        ("delete", ("system:serviceaccounts:ci",), "None", 0, False),
        ("delete", (), "Metadata", 1, True),
    ]
    rules[0] = PolicyRule(Level.NONE, user_groups=("system:authenticated",))
    assert see(rules, "deleted", users=["jane"])[0] == ("delete", ("jane",), "None", 0, False)
    assert see(rules, "deleted", users=["system:anonymous"])[1] == ("delete", (), "Metadata", 1, True)


def test_no_rule_means_no_record():
    """A request that no rule matches is at level None."""
    assert see([PolicyRule(Level.METADATA, verbs=("get",))], "deleted")[0] == ("delete", (), "None", None, False)


def test_a_level_without_stages_is_no_record():
    """All three stages omitted: counted by the server, written nowhere."""
    stages = (Stage.REQUEST_RECEIVED, Stage.RESPONSE_STARTED, Stage.RESPONSE_COMPLETE)
    assert see([PolicyRule(Level.METADATA)], "deleted", omit_stages=stages)[0][-1] is False
    assert see([PolicyRule(Level.METADATA)], "deleted", omit_stages=stages[:2])[0][-1] is True


def test_creates_and_collections_have_no_name_yet():
    """The name is in the body, which a policy does not see; a subresource is created of a named object."""
    seen: set[tuple[str, str, str]] = set()

    def spy(policy, attributes):
        seen.add((attributes.verb, attributes.subresource, attributes.name))
        return plain(policy, attributes)

    for question in (Question.CREATED, Question.READ, Question.DELETED, Question.EXEC):
        visibility(Policy((PolicyRule(Level.METADATA),)), question, Target("pods", "web", "production"), spy)
    nameless = {(verb, subresource) for verb, subresource, name in seen if not name}
    assert nameless == {("create", ""), ("list", ""), ("watch", ""), ("deletecollection", "")}
    assert {name for _, _, name in seen} == {"", "web"}


@pytest.mark.parametrize("question", list(Question))
def test_every_question_names_requests(question):
    """No question is without requests that would answer it, and none is named twice."""
    requests = requests_that_answer(question, SECRET)
    assert requests
    assert len(requests) == len(set(requests))


def test_pods_are_also_deleted_by_eviction():
    """kubectl drain."""
    assert ("create", "eviction") in requests_that_answer(Question.DELETED, Target("pods"))
    assert ("create", "eviction") not in requests_that_answer(Question.DELETED, SECRET)


def test_a_built_in_resource_is_of_its_own_group():
    """Nobody types the group of a Deployment, and rules are about groups; an Event is of two."""
    seen = []

    def asked(policy, attributes):
        seen.append((attributes.api_group, attributes.verb))
        return Decision(Level.METADATA, frozenset(), False, 0)

    policy = Policy((PolicyRule(Level.METADATA),))
    visibility(policy, Question.LISTED, Target("deployments"), asked)
    visibility(policy, Question.LISTED, Target("events"), asked)
    visibility(policy, Question.LISTED, Target("widgets", api_group="example.com"), asked)
    assert list(dict.fromkeys(group for group, _ in seen)) == ["apps", "", "events.k8s.io", "example.com"]
