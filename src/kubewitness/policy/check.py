"""
Everything there is to say of a policy file: what the server refuses, what is wrong though accepted, what is risky.

    report = check(text)
    report.accepted, report.server_error     exactly what kube-apiserver would say
    report.findings                          each with line, column, code, severity, help
"""

from collections.abc import Iterable
from dataclasses import dataclass

from kubewitness.policy import checks_costly, checks_reach, checks_risky, checks_unmet, checks_unseen, checks_wrong
from kubewitness.policy.builtin import Resource
from kubewitness.policy.catalogue import Catalogue
from kubewitness.policy.checks_refused import refusal
from kubewitness.policy.findings import CHECKS, CODES, Code, Context, Finding, Mode, Profile, Severity
from kubewitness.policy.load import Document, read
from kubewitness.policy.versions import DEFAULT_SERVER_VERSION, known_version

__all__ = ["CODES", "Code", "Finding", "Mode", "Profile", "Report", "Severity", "check"]

# importing them enters their checks into the registry
_ROOMS = (checks_wrong, checks_reach, checks_risky, checks_unseen, checks_costly, checks_unmet)

_ECHOES = frozenset(("KW216", "KW217"))


@dataclass(frozen=True, slots=True)
class Report:
    """What is found in one file. `server_error` is the loader's text, empty when it accepts the file."""

    document: Document
    findings: tuple[Finding, ...]

    @property
    def accepted(self) -> bool:
        """Whether kube-apiserver would start with this policy."""
        return self.document.policy is not None

    @property
    def server_error(self) -> str:
        """Exactly the loader's text, empty when it accepts the file."""
        return self.document.error

    def at_least(self, severity: Severity) -> bool:
        """Say whether anything is as bad as this."""
        return any(finding.severity.rank <= severity.rank for finding in self.findings)


def check(
    text: str | bytes,
    server_version: str = DEFAULT_SERVER_VERSION,
    profile: Profile = Profile.DEFAULT,
    mode: Mode = Mode.BATCH,
    custom: Iterable[Resource] = (),
) -> Report:
    """Check a policy file. Never raises for any input but VersionError for a version."""
    server_version = known_version(server_version)
    document = read(text, server_version)
    findings = list(refusal(document))
    if document.raw is not None:
        catalogue = Catalogue(server_version, tuple(custom))
        context = Context(document, document.raw, document.policy, catalogue, profile, mode)
        for one in CHECKS:
            findings.extend(one(context))
        findings = _without_echoes(findings)
    findings.sort(key=lambda finding: (finding.line, finding.column, finding.code, finding.message))
    return Report(document, tuple(findings))


def _without_echoes(findings: list[Finding]) -> list[Finding]:
    """Leave out that a rule or member never matches where another finding says why."""
    explained = {f.path for f in findings if f.code.startswith("KW2") and f.code not in _ECHOES}

    def is_echo(finding: Finding) -> bool:
        return finding.code in _ECHOES and any(
            path == finding.path or path.startswith((finding.path + ".", finding.path + "[")) for path in explained
        )

    return [finding for finding in findings if not is_echo(finding)]
