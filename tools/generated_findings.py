"""The table of findings in policies, drawn from the registry of checks into the page that explains them."""

import re

from kubewitness.policy.check import CODES

_TABLE = re.compile(r"(<!-- codes: [^>]*-->\n).*?(<!-- end -->)", re.DOTALL)


def render_findings(page: str) -> str:
    """Put the table of codes between the marks of the page."""
    rows = [f"| {code.code} | {code.severity.value} | {code.summary} |\n" for _, code in sorted(CODES.items())]
    table = "| code | severity | meaning |\n|---|---|---|\n" + "".join(rows)
    return _TABLE.sub(lambda found: found[1] + table + found[2], page)
