"""Suggestions: what each says it saves, hides and breaks is so."""

import pytest

from kubewitness.cli.policy_coverage import shipped_techniques
from kubewitness.event.types import Level, Stage
from kubewitness.policy.prove.claims import parse_claims, prove
from kubewitness.policy.prove.diff import diff
from kubewitness.policy.shapes import Shape, Traffic
from kubewitness.policy.types import Attributes
from kubewitness.policy.workshop.coverage import Verdict, cover
from kubewitness.policy.workshop.suggest import Judge, candidates, plan, size_of
from tests.policy.workshop.test_coverage import policy

TECHNIQUES = shipped_techniques()


def shape(
    verb: str, resource: str, user: str, size: int, body: int = 0, stage: Stage = Stage.RESPONSE_COMPLETE
) -> Shape:
    """Make 100 events of these sizes, recorded in full."""
    request = Attributes(verb, user, (), "", "", "", resource, "", "", resource_request=True)
    return Shape(request, Level.REQUEST_RESPONSE, stage, False, 100, size + body, 0, body, 0, body * body / 100)


PROBE = Attributes("get", "probe", (), path="/healthz*")
TRAFFIC = Traffic(
    (
        shape("list", "pods", "jane", 100_000, 5_000_000),
        shape("create", "pods", "jane", 100_000, 1_000_000),
        shape("get", "secrets", "jane", 200_000),
        shape("update", "configmaps", "system:kube-scheduler", 900_000),
        shape("list", "pods", "jane", 70_000, stage=Stage.REQUEST_RECEIVED),
        Shape(PROBE, Level.REQUEST_RESPONSE, Stage.RESPONSE_COMPLETE, False, 100, 500_000),
    )
)  # fmt: skip
EVERYTHING = policy("{level: RequestResponse}")


def test_each_number_is_that_of_the_changed_policy():
    """Bytes saved, techniques lost, claims broken."""
    claims = parse_claims("pods always at least Request when verb in create")
    judge = Judge(EVERYTHING, TRAFFIC, TECHNIQUES)
    found = [judge.judge(one, claims) for one in candidates(EVERYTHING, TRAFFIC)]
    assert len(found) > 5
    for one in found:
        changed = one.candidate.policy
        assert one.saved == pytest.approx(judge.before.size - size_of(TRAFFIC, changed).size)
        assert bool(one.broken) is not prove(changed, claims[0]).is_proved
        worse = {t.id for t in TECHNIQUES if cover(changed, t).verdict.rank < cover(EVERYTHING, t).verdict.rank}
        assert worse == {name for name in one.lost if " as " not in name}
    by_text = {one.candidate.text: one for one in found}
    metadata = by_text[
        'before rules[0]: {level: Metadata, verbs: [create, list], resources: [{group: "", resources: [pods]}]}'
    ]
    assert "privileged-pod" in metadata.lost
    assert metadata.broken
    request = by_text[
        'before rules[0]: {level: Request, verbs: [create, list], resources: [{group: "", resources: [pods]}]}'
    ]
    assert request.is_harmless
    assert request.saved == pytest.approx(6_000_000 + 300 * 8, abs=1000)


def test_a_loop_is_judged_as_its_identity():
    """Who steals the scheduler would change ConfigMaps unseen: that is said."""
    [loop] = [
        one for one in candidates(EVERYTHING, TRAFFIC) if "level: None, users: [system:kube-scheduler]" in one.text
    ]
    found = Judge(EVERYTHING, TRAFFIC, TECHNIQUES).judge(loop, ())
    assert "coredns as system:kube-scheduler" in found.lost
    assert "coredns" not in found.lost


def test_events_without_a_url_are_no_url_to_leave_out():
    """A policy cannot name what is not there: kube-apiserver refuses nonResourceURLs: ['']."""
    lost = Shape(Attributes("get", "probe", ()), Level.METADATA, Stage.RESPONSE_COMPLETE, False, 100, 500_000)
    assert [one.text for one in candidates(EVERYTHING, Traffic((lost,))) if "nonResourceURLs" in one.text] == []


def test_a_plan_meets_its_budget_and_harms_nothing():
    """Every technique is seen as before; every claim holds as before; nothing is raised."""
    claims = parse_claims("no-secret-bodies")
    before = policy("{level: Metadata, resources: [{resources: [secrets]}]}", "{level: RequestResponse}")
    found = plan(before, TRAFFIC, TECHNIQUES, claims, 2_500_000)
    assert found.after.size <= 2_500_000 < found.before.size
    assert size_of(TRAFFIC, found.policy).size == found.after.size
    assert [cover(found.policy, t).verdict for t in TECHNIQUES] == [cover(before, t).verdict for t in TECHNIQUES]
    assert all(prove(found.policy, claim).is_proved for claim in claims if prove(before, claim).is_proved)
    assert not [change for change in diff(before, found.policy) if change.after.level > change.before.level]


def test_a_budget_that_cannot_be_met():
    """The plan goes as far as it goes."""
    found = plan(policy("{level: Metadata}"), TRAFFIC, TECHNIQUES, (), 1)
    assert found.after.size > 1
    assert all(step.is_harmless for step in found.steps)
    assert cover(found.policy, TECHNIQUES[0]).verdict is Verdict.FULL


def test_nothing_to_suggest():
    """An empty log."""
    assert list(candidates(EVERYTHING, Traffic(()))) == []
    assert plan(EVERYTHING, Traffic(()), TECHNIQUES, (), None).steps == ()
