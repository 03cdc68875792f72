"""`policy coverage` from the command line: table, matrix, rules to add, JSON, exit codes."""

import json

import pytest

from kubewitness.policy.load import load
from tests.cli.conftest import DATA


def policy(name: str) -> str:
    """Give the path of a recorded policy."""
    return str(DATA / "policies" / f"{name}.yaml")


def test_one_policy(run):
    """What is not fully seen, the counts, the rule to blame with its line, the rule to add, identities."""
    result = run("policy", "coverage", policy("security"))
    assert result.code == 1
    assert "security.yaml: 34 full, 11 weak, 11 indistinguishable, 1 blind, 4 never in any audit log" in result.out
    assert "list secrets by system:kube-controller-manager: rules[1] (line 6), level None" in result.out
    assert "add before rules[7]: {level: Request, verbs: [create], resources: [{group: " in result.out
    assert "    system:kube-scheduler: 19 more techniques unseen, by rules[1]" in result.out
    assert "Read one named Secret" not in result.out
    table = result.out.split("\n\n")[0].splitlines()
    assert len(table) == 1 + 23
    assert max(map(len, table)) <= 80


def test_several_policies_are_a_matrix(run):
    """A column each; --all lists every technique."""
    result = run("policy", "coverage", "--all", policy("security"), policy("metadata"))
    table = result.out.split("\n\n")[0].splitlines()
    assert table[0].split() == ["TECHNIQUE", "ATT&CK", "TACTIC", "security", "metadata"]
    assert len(table) == 1 + 61


@pytest.mark.parametrize(("level", "code"), [("never", 0), ("blind", 0), ("indistinguishable", 1), ("weak", 1)])
def test_exit_codes(run, level, code):
    """--fail-on says which sight is bad enough."""
    assert run("policy", "coverage", "--fail-on", level, policy("metadata")).code == code


def test_another_identity(run):
    """As the scheduler, reading a Secret leaves nothing."""
    result = run("policy", "coverage", "--as", "system:kube-scheduler", policy("security"), "-o", "json")
    [found] = json.loads(result.out)
    verdicts = {entry["id"]: entry["verdict"] for entry in found["techniques"]}
    assert verdicts["secret-get"] == "blind"
    assert found["counts"]["blind"] == 20


def test_rules_to_add_are_yaml(run):
    """What --rules prints can be put into a policy as it stands."""
    result = run("policy", "coverage", "--rules", policy("metadata"))
    assert "61 of 61" in result.out
    rules = load("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n" + result.out)
    assert {rule.level.value for rule in rules.rules} == {"Request"}


def test_csv_has_a_row_a_technique(run):
    """With the ids, for spreadsheets."""
    result = run("policy", "coverage", policy("full"), "-o", "csv")
    assert result.code == 0
    assert len(result.lines) == 62
    assert result.lines[1].startswith("secrets-dump-all,")


def test_a_refused_policy(run, tmp_path):
    """The server's sentence, and 1."""
    (tmp_path / "bad.yaml").write_text("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: All}]\n")
    result = run("policy", "coverage", str(tmp_path / "bad.yaml"))
    assert (result.code, "refuses this policy" in result.err) == (1, True)


def test_fix_writes_the_rules(run, tmp_path):
    """In place; comments stay; then nothing is left to do. What cannot be edited is said."""
    path = tmp_path / "policy.yaml"
    path.write_text("# mine\n" + (DATA / "policies" / "security.yaml").read_text())
    result = run("policy", "coverage", "--fix", str(path))
    assert (result.code, result.err) == (0, f"{path}: put in 4 rules\n")
    assert path.read_text().startswith("# mine\n")
    assert "57 full, 0 weak" in run("policy", "coverage", str(path)).out
    before = path.read_text()
    assert run("policy", "coverage", "--fix", str(path)).code == 0
    assert path.read_text() == before
    path.write_text("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n")
    refused = run("policy", "coverage", "--fix", str(path))
    assert (refused.code, "--rules prints them" in refused.err) == (2, True)
