"""The tables of findings in policies and setups, drawn from their registries into the pages that explain them."""

import re
from collections.abc import Mapping

from kubewitness.policy.findings import Code

_TABLE = re.compile(r"(<!-- codes: [^>]*-->\n).*?(<!-- end -->)", re.DOTALL)


def render_findings(page: str, codes: Mapping[str, Code]) -> str:
    """Put the table of codes between the marks of the page."""
    rows = [f"| {code.code} | {code.severity.value} | {code.summary} |\n" for _, code in sorted(codes.items())]
    table = "| code | severity | meaning |\n|---|---|---|\n" + "".join(rows)
    return _TABLE.sub(lambda found: found[1] + table + found[2], page)
