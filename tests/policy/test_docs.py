"""The pages about policies say what the code says."""

import re
from pathlib import Path

from kubewitness.policy.check import CODES

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def test_the_page_of_findings_lists_every_code():
    """Code, severity and meaning of every finding, in order, and nothing else."""
    page = (REFERENCE / "policy-findings.md").read_text()
    rows = re.findall(r"^\| (KW\d+) \| (\w+) \| (.*) \|$", page, re.MULTILINE)
    assert rows == [(c.code, c.severity.value, c.summary) for c in sorted(CODES.values(), key=lambda c: c.code)]
