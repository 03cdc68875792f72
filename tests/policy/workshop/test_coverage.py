"""Coverage: the matrix of policies and techniques, stages, identities, and changes that were evaluated."""

from collections import Counter

import pytest

from kubewitness.cli.policy_coverage import shipped_techniques
from kubewitness.event.types import Level, Stage
from kubewitness.policy.load import load
from kubewitness.policy.prove.diff import diff
from kubewitness.policy.types import Policy
from kubewitness.policy.workshop.coverage import (
    Verdict,
    as_identity,
    change_for,
    cover,
    identities_of,
    plan_for,
    techniques_of,
    with_insertions,
)
from tests.policy.vectors import DATA

TECHNIQUES = shipped_techniques()
BY_ID = {technique.id: technique for technique in TECHNIQUES}


def named(name: str) -> Policy:
    """Load a recorded policy."""
    return load((DATA / "policies" / f"{name}.yaml").read_bytes())


def policy(*rules: str, head: str = "") -> Policy:
    """Make a policy of rules in flow style."""
    return load("apiVersion: audit.k8s.io/v1\nkind: Policy\n" + head + "rules:\n" + "".join(f"- {r}\n" for r in rules))


def test_the_shipped_table_is_the_one_of_the_tests():
    """61 techniques, of which 4 leave nothing in any audit log."""
    assert techniques_of((DATA / "attack_evidence.json").read_bytes()) == TECHNIQUES
    assert len(TECHNIQUES) == 61
    assert sum(not technique.evidence for technique in TECHNIQUES) == 4


@pytest.mark.parametrize(
    ("name", "full", "weak", "indistinguishable", "blind"),
    [
        ("security", 34, 11, 11, ["kcm-identity-abuse"]),
        ("handson", 38, 11, 8, []),
        ("basic", 38, 11, 8, []),
        ("scenario1", 30, 12, 15, []),
        ("metadata", 30, 12, 15, []),
        ("scenario3", 34, 12, 11, []),
        ("full", 57, 0, 0, []),
        # one less in full than GKE's own policy: here serviceaccounts/token is at Metadata, there at RequestResponse
        ("managed-cloud-like", 52, 3, 1, ["events-delete"]),
    ],
)
def test_the_matrix(name, full, weak, indistinguishable, blind):
    """The figures that were measured with another evaluator."""
    covers = [cover(named(name), technique) for technique in TECHNIQUES]
    counts = Counter(found.verdict for found in covers)
    assert [found.technique.id for found in covers if found.verdict is Verdict.BLIND] == blind
    assert (counts[Verdict.FULL], counts[Verdict.WEAK], counts[Verdict.INDISTINGUISHABLE]) == (
        full, weak, indistinguishable,
    )  # fmt: skip
    assert counts[Verdict.NEVER] == 4


def test_the_one_figure_that_differs_is_the_token():
    """With the token request at RequestResponse the rewritten policy has GKE's own figures: 53, 2, 1, 1."""
    text = (DATA / "policies" / "managed-cloud-like.yaml").read_text()
    changed = load(text.replace(', "serviceaccounts/token"]', "]"))
    counts = Counter(cover(changed, technique).verdict for technique in TECHNIQUES)
    assert [counts[verdict] for verdict in (Verdict.FULL, Verdict.WEAK, Verdict.INDISTINGUISHABLE, Verdict.BLIND)] == [
        53, 2, 1, 1,
    ]  # fmt: skip


def test_a_policy_without_a_last_rule_is_blind():
    """The quiz policy records creates and deletes of pods, and Secrets: 9 techniques, and none of the other 48."""
    counts = Counter(cover(named("quiz"), technique).verdict for technique in TECHNIQUES)
    assert (counts[Verdict.FULL], counts[Verdict.BLIND]) == (9, 48)


def test_what_metadata_misses_is_indistinguishable():
    """The pod-spec attacks look like any pod."""
    covers = [cover(named("metadata"), technique) for technique in TECHNIQUES]
    unclear = {found.technique.id for found in covers if found.verdict is Verdict.INDISTINGUISHABLE}
    assert {"privileged-pod", "hostpath-pod", "clusteradmin-binding", "nodeport"} <= unclear


def test_stages():
    """A live session is seen late without ResponseStarted; without the last stage there are no bodies; or nothing."""
    late = cover(policy("{level: Metadata, omitStages: [ResponseStarted]}"), BY_ID["exec-shell"])
    assert (late.verdict, late.worst.seen_at, late.worst.is_late) == (Verdict.WEAK, Stage.RESPONSE_COMPLETE, True)
    early = cover(policy("{level: Request, omitStages: [ResponseComplete]}"), BY_ID["privileged-pod"])
    assert (early.verdict, early.worst.seen_at) == (Verdict.INDISTINGUISHABLE, Stage.REQUEST_RECEIVED)
    every = "[RequestReceived, ResponseStarted, ResponseComplete]"
    gone = cover(policy(f"{{level: Request, omitStages: {every}}}"), BY_ID["privileged-pod"])
    assert (gone.verdict, gone.worst.seen_at) == (Verdict.BLIND, None)


def test_the_worst_verb_counts():
    """Exec by WebSocket is a get: a policy that records the create alone is blind to it."""
    found = cover(
        policy('{level: Metadata, verbs: [create], resources: [{resources: ["pods/exec"]}]}'), BY_ID["exec-shell"]
    )
    assert found.verdict is Verdict.BLIND
    assert found.worst.evidence.request.verb == "get"


def test_identities():
    """Everything is judged as whoever does it: a None rule hides what its users do when they are stolen."""
    assert cover(named("security"), BY_ID["secrets-dump-all"]).verdict is Verdict.FULL
    stolen = as_identity(BY_ID["secrets-dump-all"], "system:kube-scheduler")
    assert stolen.evidence[0].request.groups == ("system:authenticated",)
    assert cover(named("security"), stolen).verdict is Verdict.BLIND
    node = as_identity(BY_ID["secret-get"], "system:node:n1", ("extra",))
    assert set(node.evidence[0].request.groups or ()) == {"extra", "system:nodes", "system:authenticated"}
    assert identities_of(named("security")) == (("system:kube-controller-manager", ()), ("system:kube-scheduler", ()))
    grouped = policy("{level: None, userGroups: [system:nodes]}", "{level: Metadata}")
    assert identities_of(grouped) == (("a member of system:nodes", ("system:nodes",)),)


@pytest.mark.parametrize("name", ["security", "handson", "scenario1", "scenario3", "metadata", "managed-cloud-like"])
def test_changes_do_what_they_say(name):
    """Each makes its technique full; all together make everything full, and none of them records anything less."""
    before = named(name)
    covers = [cover(before, technique) for technique in TECHNIQUES]
    for found in covers:
        change = change_for(before, found)
        assert bool(change) is (found.verdict not in (Verdict.FULL, Verdict.NEVER))
        if change:
            assert cover(with_insertions(before, change), found.technique).verdict is Verdict.FULL
    plan = plan_for(before, covers)
    after = with_insertions(before, plan)
    assert all(cover(after, t).verdict in (Verdict.FULL, Verdict.NEVER) for t in TECHNIQUES)
    assert len(plan) < sum(bool(change_for(before, found)) for found in covers)
    lowered = [change for change in diff(before, after) if change.after.level < change.before.level]
    assert [change.example for change in lowered] == []


def test_a_stage_left_out_for_every_rule_cannot_be_mended_by_a_rule():
    """omitStages of the policy holds for whatever rule is added."""
    before = policy("{level: Metadata}", head="omitStages: [ResponseStarted]\n")
    found = cover(before, BY_ID["exec-shell"])
    assert found.verdict is Verdict.WEAK
    assert change_for(before, found) == ()


def test_no_rule_at_all():
    """Without a rule that matches, the rule to add stands at the end."""
    before = policy("{level: Metadata, users: [nobody]}")
    [insertion] = change_for(before, cover(before, BY_ID["secret-get"]))
    assert (insertion.index, insertion.rule.level) == (1, Level.METADATA)
