"""
The policies of the course that this tool grew out of: what is wrong with each, where, and what is done about it.

Everything that was known to be wrong with them beforehand is asked for here, with its line.
"""

import pytest

from kubewitness.policy.check import Severity, check
from kubewitness.policy.load import load
from kubewitness.policy.prove.claims import parse_claims, prove
from kubewitness.policy.repair.mend import mend
from tests.policy.vectors import DATA

# policy, code, line, part of the message, part of the help, part of what --fix says ("" when there is no fix)
KNOWN = [
    # the user glob that never matches
    ("security", "KW203", 7, "system:serviceaccount:kube-system:*", "system:serviceaccounts:kube-system", "took out"),
    # bearer tokens on the disk
    ("security", "KW302", 9, "each holds the bearer token", "level: Metadata", "lowered rules[2] to level Metadata"),
    # identities that are worth stealing
    ("security", "KW311", 6, "reads of secrets, commands in containers", "Metadata", "for what it hides"),
    ("security", "KW401", 13, "rules[1] on line 6 (level None, for example get secrets", "move this rule", ""),
    # issuing tokens is not thought of
    (
        "security",
        "KW305",
        15,
        "issuing a token is decided by rules[7]",
        "beside secrets",
        "added serviceaccounts/token",
    ),
    ("basic", "KW305", 12, "issuing a token is decided by rules[3]", "beside secrets", "added serviceaccounts/token"),
    (
        "scenario1",
        "KW305",
        8,
        "issuing a token is decided by rules[3]",
        "beside secrets",
        "added serviceaccounts/token",
    ),
    ("handson", "KW305", 8, "issuing a token is decided by rules[4]", "beside secrets", "added serviceaccounts/token"),
    (
        "scenario3",
        "KW305",
        8,
        "issuing a token is decided by rules[5]",
        "beside secrets",
        "added serviceaccounts/token",
    ),
    # port forwarding forgotten beside exec and attach
    ("scenario1", "KW406", 13, "pods/portforward is not: rules[3]", "name all three", "added pods/portforward"),
    ("handson", "KW406", 13, "pods/portforward is not: rules[4]", "name all three", "added pods/portforward"),
    # pods without their subresources
    ("basic", "KW313", 16, "rules[3] (level Metadata) has them", "beside pods", "pods/ephemeralcontainers"),
    ("handson", "KW313", 16, "rules[4] (level Metadata) has them", "beside pods", "pods/ephemeralcontainers"),
    ("quiz", "KW313", 6, "no rule records them", "beside pods", "pods/ephemeralcontainers"),
    ("quiz", "KW307", 4, "pods/exec is not recorded", "`pods` does not stand for its subresources", ""),
    ("quiz", "KW308", 4, "no rule matches are not recorded", "level: Metadata", "added a last rule"),
    ("quiz", "KW306", 4, "wrong or expired token", "a last rule", ""),
    # an entry that only failed requests match
    ("basic", "KW404", 9, "services/status has no watch", "remove it", "took out"),
    # bodies of requests that have none
    ("security", "KW405", 22, "the command is in requestURI", "detections look for one level", "writes the same"),
    ("scenario1", "KW405", 10, "the command is in requestURI", "detections look for one level", "writes the same"),
    ("scenario3", "KW405", 15, "the command is in requestURI", "detections look for one level", "writes the same"),
    ("handson", "KW405", 10, "the command is in requestURI", "detections look for one level", "writes the same"),
    # everything with bodies
    ("full", "KW301", 4, "keys and passwords in base64", "level: Metadata", "serviceaccounts/token"),
    ("full", "KW407", 4, "lists are written whole", "record list at level: Metadata", ""),
]
NAMES = ("basic", "security", "scenario1", "scenario3", "handson", "quiz", "full", "metadata")


def read(name: str) -> bytes:
    return (DATA / "policies" / f"{name}.yaml").read_bytes()


@pytest.mark.parametrize(("name", "code", "line", "message", "help_", "fix"), KNOWN)
def test_what_is_known_to_be_wrong_is_found(name, code, line, message, help_, fix):
    """Each known defect has its code, its line, and a fix or a reason."""
    (found,) = (f for f in check(read(name)).findings if (f.code, f.line) == (code, line))
    assert message in found.message
    assert help_ in found.help
    assert fix in (found.fix.says if found.fix is not None else "")
    assert bool(fix) is (found.fix is not None)


@pytest.mark.parametrize("name", NAMES)
def test_each_has_a_fix_or_a_reason(name):
    """No finding stands alone: it says what to write instead, or why one may leave it."""
    assert all(len(finding.help) > 8 for finding in check(read(name)).findings)


@pytest.mark.parametrize("name", NAMES)
def test_mended_they_are_sound(name):
    """After --fix nothing is refused, wrong or risky, and the four named claims about secrets and exec hold."""
    found = mend(read(name), check, "1.36")
    assert not found.left
    assert not found.report.at_least(Severity.RISKY), found.report.findings
    policy = load(found.data)
    for claim in (*parse_claims("no-secret-bodies"), *parse_claims("exec-visible")):
        assert prove(policy, claim).is_proved, claim.text
