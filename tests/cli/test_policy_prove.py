"""`policy diff`, `prove` and `minify` from the command line: text, JSON, exit codes, errors."""

import argparse
import json
import sys
from pathlib import Path

import pytest

from kubewitness.cli import policy_diff
from kubewitness.cli.answer import say
from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.policy_prove import add_subcommands, policy_yaml, print_line
from kubewitness.policy.load import load

OLD = """
apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- {level: None, users: ["system:kube-scheduler"]}
- {level: Metadata, resources: [{resources: [secrets, configmaps]}]}
- {level: Request, verbs: [get, list], omitManagedFields: true}
- {level: Request, verbs: [watch], omitManagedFields: true}
- {level: Metadata, omitStages: [RequestReceived]}
"""
NEW = OLD.replace("[secrets, configmaps]", "[configmaps]")


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers()
    add_subcommands(subparsers)
    policy_diff.add_subcommand(subparsers)
    args = parser.parse_args(words)
    return int(args.run(args))


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    (tmp_path / "old.yaml").write_text(OLD)
    (tmp_path / "new.yaml").write_text(NEW)
    return str(tmp_path / "old.yaml"), str(tmp_path / "new.yaml")


def test_diff_tells_classes_with_an_example(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """A difference is said as before and after, region and example, and ends with 1."""
    assert run("diff", *files) == ExitCode.FINDINGS
    assert capsys.readouterr().out == (
        "Metadata (rules[1]) -> Request without managed fields (rules[2])\n"
        "  get or list of secrets by anyone but system:kube-scheduler\n"
        "  for example: get secrets x in namespace default by someone (system:authenticated)\n"
        "Metadata (rules[1]) -> Request without managed fields (rules[3])\n"
        "  watch of secrets by anyone but system:kube-scheduler\n"
        "  for example: watch secrets in namespace default by someone (system:authenticated)\n"
        "Metadata (rules[1]) -> Metadata without RequestReceived (rules[4])\n"
        "  any verb but get, list and watch of secrets by anyone but system:kube-scheduler\n"
        "  for example: create secrets in namespace default by someone (system:authenticated)\n"
    )


def test_no_difference_ends_with_0(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """A policy compared with itself has none."""
    assert run("diff", files[0], files[0]) == ExitCode.OK
    assert capsys.readouterr().out == "no difference: every possible request is recorded alike\n"


def test_diff_as_json(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """JSON has the decisions with the index of the rule, the example and the regions."""
    run("diff", "-o", "json", *files)
    first = json.loads(capsys.readouterr().out)[0]
    assert first["before"] == {"level": "Metadata", "omitStages": [], "omitManagedFields": False, "rule": 1}
    assert first["example"]["path"] == "/api/v1/namespaces/default/secrets/x"
    assert first["regionsAreAll"] is True


def test_prove_tells_proof_or_counterexample(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """A proved claim is one line, a broken one shows each rule that breaks it, and ends with 1."""
    assert run("prove", files[0], "secrets never above Metadata") == ExitCode.OK
    assert (
        run("prove", files[0], "secrets never above Metadata", "* never None when verb in delete") == ExitCode.FINDINGS
    )
    assert capsys.readouterr().out == (
        "proved: secrets never above Metadata\n"
        "proved: secrets never above Metadata\n"
        "BROKEN: * never None when verb in delete\n"
        "  None (rules[0]): delete pods x in namespace default by system:kube-scheduler (system:authenticated)\n"
    )


def test_prove_as_json(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """JSON has one object a claim."""
    run("prove", "-o", "json", files[0], "exec-visible")
    (answer,) = json.loads(capsys.readouterr().out)
    assert answer["proved"] is False
    assert [breach["decision"]["rule"] for breach in answer["breaches"]] == [0]


def test_minify_prints_the_smaller_policy(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """The smaller policy goes to standard output, what was done to standard error."""
    assert run("minify", files[0]) == ExitCode.OK
    captured = capsys.readouterr()
    assert captured.err == "merged rules[3] into rules[2]\n"
    assert [rule.verbs for rule in load(captured.out).rules] == [(), (), ("get", "list", "watch"), ()]


def test_policy_yaml_round_trips() -> None:
    """A written policy loads as the same policy."""
    policy = load(OLD.replace("kind: Policy", "kind: Policy\nomitStages: [Panic]\nomitManagedFields: true"))
    assert load(policy_yaml(policy)) == policy


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("prove", "OLD", "secrets never above metadata"), "'metadata' is no level"),
        (("minify", "missing.yaml"), "missing.yaml: cannot be read: No such file or directory"),
        (("diff", "OLD", "BAD"), "loaded illegal policy with 0 rules"),
    ],
)
def test_what_a_user_can_mend_is_said(
    words: tuple[str, ...], message: str, files: tuple[str, str], tmp_path: Path
) -> None:
    """A wrong claim, a missing file, a policy the server refuses."""
    bad = tmp_path / "bad.yaml"
    bad.write_text("apiVersion: audit.k8s.io/v1\nkind: Policy\n")
    with pytest.raises(UserError) as error:
        run(*({"OLD": files[0], "BAD": str(bad)}.get(word, word) for word in words))
    assert message in str(error.value)


@pytest.mark.parametrize(("stream", "tell"), [("stdout", print_line), ("stderr", say)])
def test_lines_are_folded_on_a_terminal_alone(monkeypatch, capsys, stream, tell):
    """Sentences end at words where they would be broken inside one; in a pipe a line stays a line."""
    monkeypatch.setenv("COLUMNS", "40")
    line = "  you will stop seeing 412 secret reads a day, and more than fits"
    tell(line)
    monkeypatch.setattr(getattr(sys, stream), "isatty", lambda: True)
    tell(line)
    found = getattr(capsys.readouterr(), "out" if stream == "stdout" else "err").splitlines()
    assert found[0] == line
    assert found[1:] == ["  you will stop seeing 412 secret reads", "      a day, and more than fits"]
