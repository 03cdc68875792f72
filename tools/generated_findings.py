"""Write the page of what `apiserver check` finds, from its table of codes."""

from kubewitness.apiserver.findings import CODES

_HEAD = """\
# Findings in the setup of a server

What `kubewitness apiserver check` can find.
Findings in the policy itself keep [their own codes](policy-findings.md).

- **refused**: kube-apiserver, or its pod, does not start.
  Where the server has a sentence of its own for it, the message is that sentence.
- **wrong**: it starts, and evidence is lost or never made; or the profile that was asked for wants something else.
  Such a finding ends with exit code 1.
- **risky**: it works, at a risk.
  `--fail-on risky` makes it count.

Each finding names file and line, and where there is one the line to paste, in the form of that file.

| code | severity | meaning |
|---|---|---|
"""


def render_setup_findings() -> str:
    """Give the page."""
    rows = [f"| {code.code} | {code.severity.value} | {code.summary} |\n" for _, code in sorted(CODES.items())]
    return _HEAD + "".join(rows)
