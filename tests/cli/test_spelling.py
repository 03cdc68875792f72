"""Verbs and resources that are nowhere: said so, with what was perhaps meant."""

import pytest

from tests.cli.conftest import DATA


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--verb", "delte"], "nothing here has the verb 'delte'; did you mean delete?"),
        (["--resource", "secretts"], "nothing here has the resource 'secretts'; did you mean secrets?"),
        (["--verb", "replace"], "nothing here has the verb 'replace'; did you mean update?"),
        (["--verb", "write"], "nothing here has the verb 'write'; did you mean create,update,patch,delete?"),
        (["--resource", "rbac"], "nothing here has the resource 'rbac'; did you mean '*.rbac.authorization.k8s.io'?"),
        (["--resource", "exec"], "nothing here has the resource 'exec'; did you mean --subresource exec?"),
        (["--resource", "qqq.example.com,zzz/status"], "nothing here has the resource 'qqq'"),
        (["--verb", "de\x1blete"], "nothing here has the verb 'de\\x1blete'; did you mean delete?"),
    ],
)
def test_what_was_meant_is_asked(run, security_log, flags, said):
    """A wrong verb finds nothing, and that is not the whole answer; the exit code stays."""
    result = run("search", *flags, security_log)
    assert result.code == 0
    assert said in result.err.splitlines()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("secretts/important", "nothing here has the resource 'secretts'; did you mean secrets?"),
        ("important", "nothing here has the resource 'important'"),
        ("widgets.example.com/w9", None),
        ("deploy/nothing", None),
    ],
)
def test_an_object_of_an_unknown_kind(run, security_log, kind, said):
    """`who` finds nothing of it, and says that it is no kind of this log."""
    result = run("who", "deleted", kind, security_log)
    assert result.code == 0
    assert [line for line in result.err.splitlines() if line.startswith("nothing")] == ([said] if said else [])


@pytest.mark.parametrize(
    "flags",
    [
        ["--verb", "delete", "--user", "nobody-at-all"],
        ["--verb", "d?lte"],
        ["--verb", "!delte", "--user", "nobody-at-all"],
        ["--resource", "po/exec", "--user", "nobody-at-all"],
        ["--resource", "foos", "--user", "nobody-at-all"],  # no built-in one, but the log has it
    ],
)
def test_what_is_right_is_left_alone(run, flags):
    """Known names, patterns, exclusions, and what the log itself has need no advice."""
    result = run("search", *flags, str(DATA / "audit-full.log.zst"))
    assert "0 found" in result.err
    assert "nothing here" not in result.err


def test_unknown_answers_name_the_cloud_that_left_the_field_out(run):
    """What GKE does not give is the reason, for whoever asks."""
    result = run("search", "--group", "system:masters", str(DATA / "envelopes" / "gke-lines.ndjson"))
    assert result.code == 4
    assert "  5  user.groups: not given by gke" in result.err.splitlines()
