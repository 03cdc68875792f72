"""
Fifteen policies of the shapes that distributions and guides give out, and what is found in each.

Beside each policy of tests/data/policies/shapes lies a file of findings: code, place, and in one line why it is true.
A finding that is new, gone or moved fails here, and is argued in that file or mended.
"""

import re

import pytest

from kubewitness.policy.check import CODES, Severity, check
from kubewitness.policy.repair.mend import mend
from tests.policy.vectors import DATA

SHAPES = sorted((DATA / "policies" / "shapes").glob("*.yaml"))
LINE = re.compile(r"(KW\d{3}) (\d+):(\d+) (\S.{15,})")
# what is called wrong in any of them: each was read by hand
WRONG = {
    ("course-glob", "KW203", 6),
    ("course-glob", "KW209", 13),
    ("course-glob", "KW206", 15),
    ("course-glob", "KW204", 20),
    ("course-glob", "KW208", 23),
    ("course-glob", "KW207", 25),
    ("openshift-write", "KW209", 23),
}


def test_there_are_fifteen():
    """GKE, EKS, Falco, kubespray, kops, rke2, Gardener, OpenShift, CIS, STIG, the documentation and the courses."""
    assert len(SHAPES) == 15


@pytest.mark.parametrize("path", SHAPES, ids=lambda path: path.stem)
def test_findings_are_those_that_are_argued(path):
    """Every finding is in the file beside the policy with its reason, and nothing else is."""
    lines = [line for line in path.with_suffix(".findings").read_text().splitlines() if not line.startswith("#")]
    argued = [LINE.fullmatch(line) for line in lines]
    assert all(argued), [line for line, match in zip(lines, argued, strict=True) if not match]
    expected = [(match[1], int(match[2]), int(match[3])) for match in argued if match]
    found = [(finding.code, finding.line, finding.column) for finding in check(path.read_bytes()).findings]
    assert found == expected


def test_nothing_is_called_wrong_that_is_right():
    """In policies that work, no finding is refused or wrong but the few that were read by hand."""
    found = {
        (path.stem, finding.code, finding.line)
        for path in SHAPES
        for finding in check(path.read_bytes()).findings
        if finding.severity in (Severity.REFUSED, Severity.WRONG)
    }
    assert found == WRONG


def test_most_codes_are_seen_in_the_wild():
    """The shapes show most of what can be found in a file that the server accepts."""
    found = {finding.code for path in SHAPES for finding in check(path.read_bytes()).findings}
    assert len(found & {code for code in CODES if code > "KW2"}) >= 30


@pytest.mark.parametrize("path", SHAPES, ids=lambda path: path.stem)
def test_mended_they_have_no_findings_to_mend(path):
    """What --fix leaves has no fix, and nothing wrong but what is left to its author."""
    found = mend(path.read_bytes(), check, "1.36")
    assert found.report.accepted
    left = {(finding.code, finding.message) for finding in found.report.findings if finding.fix is not None}
    assert left == {(left.finding.code, left.finding.message) for left in found.left}
    wrong = {finding.code for finding in found.report.findings if finding.code.startswith("KW2")}
    assert wrong <= {"KW206"}, "the verb exec stands for a subresource: what was meant is for its author to say"
