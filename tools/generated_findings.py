"""The tables of findings in policies and setups and of named claims, drawn into the pages that explain them."""

import re
from collections.abc import Mapping

from kubewitness.policy.findings import Code
from kubewitness.policy.prove.library import NAMED

_TABLE = re.compile(r"(<!-- (?:codes|claims): [^>]*-->\n).*?(<!-- end -->)", re.DOTALL)


def render_findings(page: str, codes: Mapping[str, Code]) -> str:
    """Put the table of codes between the marks of the page."""
    rows = [f"| {code.code} | {code.severity.value} | {code.summary} |\n" for _, code in sorted(codes.items())]
    table = "| code | severity | meaning |\n|---|---|---|\n" + "".join(rows)
    return _TABLE.sub(lambda found: found[1] + table + found[2], page)


def render_claims(page: str) -> str:
    """Put the table of named claims between the marks of the page."""
    rows = [
        f"| `{name}` | {named.meaning} | {'<br>'.join(f'`{claim}`' for claim in named.claims)} |\n"
        for name, named in NAMED.items()
    ]
    table = "| name | stands for | as claims |\n|---|---|---|\n" + "".join(rows)
    return _TABLE.sub(lambda found: found[1] + table + found[2], page)
