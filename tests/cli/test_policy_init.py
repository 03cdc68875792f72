"""`policy init` and `policy suggest`: presets keep what they claim; suggestions from a recorded log."""

import json

import pytest

from kubewitness.cli.policy_coverage import shipped_techniques
from kubewitness.cli.policy_presets import PRESETS, preset
from kubewitness.policy.check import check
from kubewitness.policy.load import load
from kubewitness.policy.prove.claims import parse_claims, prove
from kubewitness.policy.workshop import suggest
from kubewitness.policy.workshop.coverage import Verdict, as_identity, cover
from tests.cli.conftest import DATA


@pytest.mark.parametrize("name", PRESETS)
def test_presets_keep_what_they_claim(name):
    """Nothing refused or wrong; every claim proved; as many techniques seen as said, and none unseen."""
    text = preset(name)
    report = check(text.encode())
    assert report.accepted
    assert [one.code for one in report.findings if one.severity.value in ("refused", "wrong")] == []
    policy = load(text)
    for claim in (claim for one in PRESETS[name].claims for claim in parse_claims(one)):
        assert prove(policy, claim).is_proved, claim.text
    verdicts = [cover(policy, technique).verdict for technique in shipped_techniques()]
    assert verdicts.count(Verdict.FULL) == PRESETS[name].fully_seen
    assert Verdict.BLIND not in verdicts
    assert sum(line.startswith("#") for line in text.splitlines()) >= 8


@pytest.mark.parametrize("name", ["minimal", "cis", "forensic", "detection-ready", "metadata", "stig"])
def test_no_identity_is_unseen(name):
    """But for gke-like, who steals a control-plane identity is seen like anybody."""
    policy = load(preset(name))
    for technique in shipped_techniques():
        for user in ("system:kube-controller-manager", "system:kube-scheduler", "system:node:n1", "system:apiserver"):
            assert cover(policy, as_identity(technique, user)).verdict is not Verdict.BLIND


def test_init_prints_and_writes(run, tmp_path):
    """To standard output, or to a file that is not there yet."""
    assert run("policy", "init", "--preset", "cis").out == preset("cis")
    path = tmp_path / "policy.yaml"
    assert run("policy", "init", "--preset", "minimal", "--write", str(path)).code == 0
    assert path.read_text() == preset("minimal")
    again = run("policy", "init", "--write", str(path))
    assert (again.code, "--force replaces it" in again.err) == (2, True)
    assert run("policy", "init", "--write", str(path), "--force").code == 0
    assert path.read_text() == preset("detection-ready")
    assert run("policy", "init", "--write", str(tmp_path / "no" / "policy.yaml")).code == 2
    assert len(run("policy", "init", "--list").lines) == len(PRESETS)


FULL_LOG = str(DATA / "audit-full.log.zst")
FULL_POLICY = str(DATA / "policies" / "full.yaml")


@pytest.fixture
def _planned_once(monkeypatch):
    """A plan of the same log and claims is made once, however it is printed."""
    made = {}
    make = suggest.plan

    def plan(policy, traffic, techniques, claims, limit):
        key = (policy, tuple(claims), limit)
        if key not in made:
            made[key] = make(policy, traffic, techniques, claims, limit)
        return made[key]

    monkeypatch.setattr(suggest, "plan", plan)


@pytest.mark.usefixtures("_planned_once")
def test_suggest(run, tmp_path):
    """Harmless first; a plan that meets the budget; its policy as YAML does what was said."""
    (tmp_path / "claims.yaml").write_text("claims: [exec-visible, rbac-changes-with-bodies]\n")
    common = ("policy", "suggest", "--policy", FULL_POLICY, "--must", str(tmp_path / "claims.yaml"), FULL_LOG)
    result = run(*common, "--budget", "6.5GB/day", "--limit", "2")
    assert result.code == 0
    assert result.lines[0].startswith("-20.1% bytes (2.35 MB), loses 0 techniques, breaks 0 claims")
    assert "harmless changes meets 6.50 GB a day:" in result.out
    found = json.loads(run(*common, "--budget", "6.5GB/day", "-o", "json", "--limit", "0").out)
    harms = [bool(one["lostTechniques"] or one["brokenClaims"]) for one in found["suggestions"]]
    assert harms == sorted(harms)
    (tmp_path / "smaller.yaml").write_text(run(*common, "--budget", "6.5GB/day", "-o", "yaml").out)
    simulated = json.loads(run("policy", "simulate", str(tmp_path / "smaller.yaml"), FULL_LOG, "-o", "json").out)
    assert simulated["after"]["bytesPerDay"] == pytest.approx(found["plan"]["bytesPerDayAfter"])
    assert simulated["after"]["bytesPerDay"] <= 6.5e9


def test_suggest_tells_what_nothing_can_be_held_to(run, tmp_path):
    """A claim that the policy breaks already, and a log without events, are said; what holds is not."""
    (tmp_path / "claims.yaml").write_text("claims: [no-secret-bodies, exec-visible]\n")
    (tmp_path / "empty.log").touch()
    common = ("policy", "suggest", "--policy", FULL_POLICY, "--must", str(tmp_path / "claims.yaml"))
    result = run(*common, str(tmp_path / "empty.log"))
    assert (result.code, result.lines) == (0, ["nothing found that would save 1 %"])
    assert "full.yaml breaks 'secrets never above Metadata' as it is, so no change is held to that" in result.err
    assert "no events were read: nothing to suggest from" in result.err
    assert "pods/exec" not in result.err
    found = json.loads(run(*common, str(tmp_path / "empty.log"), "-o", "json").out)
    assert "secrets never above Metadata" in found["brokenAlready"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("claims: 5", "a list `claims`"),
        ("claims: [no-such]", "no-such"),
        ("claims: [", "this is no YAML"),
        ("at: 2026-02-30", "day is"),
    ],
)
def test_wrong_claims(run, tmp_path, text, words):
    """One line, and 2."""
    (tmp_path / "claims.yaml").write_text(text)
    result = run("policy", "suggest", "--policy", FULL_POLICY, "--must", str(tmp_path / "claims.yaml"), FULL_LOG)
    assert result.code == 2
    assert words in result.err


def test_wrong_budget(run):
    """A number of bytes a day is wanted."""
    result = run("policy", "suggest", "--policy", FULL_POLICY, "--budget", "much", FULL_LOG)
    assert (result.code, "write 5GB/day" in result.err) == (2, True)
