"""`policy test` from the command line: text, table, JSON, JUnit, exit codes."""

import json
import xml.etree.ElementTree as ET

import pytest

POLICY = """apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- {level: None, nonResourceURLs: ["/healthz*"]}
- {level: Metadata}
"""
CASES = """policy: policy.yaml
cases:
- {user: alice, verb: get, resource: secrets, level: Metadata}
- {case: "bad <&\\" \\u001b[2J", user: alice, verb: create, resource: pods, level: Request}
"""


@pytest.fixture
def cases(tmp_path) -> str:
    """Write a policy and a file of cases, one of which fails."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "cases.yaml").write_text(CASES)
    return str(tmp_path / "cases.yaml")


def test_text(run, cases):
    """Failures with file and line, rules that no case reaches with those of the policy, a sum."""
    result = run("policy", "test", cases)
    assert result.code == 1
    assert result.lines[0].startswith(f"{cases}:4: FAILED: bad <&")
    assert result.lines[1] == "    level Metadata by rules[1], wanted Request"
    assert result.lines[2].endswith("policy.yaml:4: rules[0] decides none of the cases")
    assert result.lines[3] == f"{cases}: 1 of 2 cases passed, 1 of 2 rules reached"
    assert "passed: get secrets by alice (rules[1])" in run("policy", "test", "-o", "table", cases).out


def test_another_policy(run, cases, tmp_path):
    """--policy overrides; --fail-unreached minds the rules."""
    (tmp_path / "other.yaml").write_text(
        POLICY.replace("{level: Metadata}", "{level: Request, verbs: [create]}\n- {level: Metadata}")
    )
    other = ("--policy", str(tmp_path / "other.yaml"))
    assert run("policy", "test", *other, cases).code == 0
    assert run("policy", "test", *other, "--fail-unreached", cases).code == 1


def test_junit_is_xml_that_hides_nothing(run, cases):
    """Counts, names, failures; hostile names are escaped."""
    root = ET.fromstring(run("policy", "test", "-o", "junit", cases).out)
    assert (root.get("tests"), root.get("failures")) == ("2", "1")
    good, bad = root.findall("testsuite/testcase")
    assert (good.get("name"), good.get("line"), good.find("failure")) == ("get secrets by alice", "3", None)
    assert bad.find("failure").get("message") == "level Metadata by rules[1], wanted Request"
    assert bad.get("name").startswith('bad <&" \\x1b')


def test_json(run, cases):
    """Every case with its rule."""
    [found] = json.loads(run("policy", "test", "-o", "json", cases).out)
    assert [(one["passed"], one["rule"], one["line"]) for one in found["cases"]] == [(True, 1, 3), (False, 1, 4)]
    assert found["unreached"] == [0]


def test_errors_have_a_place(run, tmp_path):
    """file:line:column, and 2; a file that names no policy; one that is not there."""
    path = tmp_path / "cases.yaml"
    path.write_text("cases:\n- {user: a, url: /x, level: metadata}\n")
    result = run("policy", "test", str(path))
    assert (result.code, f"{path}:2:29: 'metadata' is not a level" in result.err) == (2, True)
    path.write_text("cases:\n- {user: a, url: /x, level: Metadata}\n")
    assert "which policy?" in run("policy", "test", str(path)).err
    assert run("policy", "test", str(tmp_path / "none.yaml")).code == 2
