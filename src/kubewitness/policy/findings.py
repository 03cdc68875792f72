"""
What can be found in a policy file, and the one registry of checks.

A check is a function from `Context` to findings, registered with its codes. KW1xx: kube-apiserver refuses the file.
KW2xx: it accepts the file, which does not do what it says. KW3xx: it does, and that is risky. The page
docs/reference/policy-findings.md lists the same codes.
"""

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kubewitness.policy.load import Document
from kubewitness.policy.tree import START, Mark
from kubewitness.policy.types import Policy
from kubewitness.policy.validate import RawPolicy

Path = tuple[str | int, ...]


class Severity(enum.Enum):
    """How bad a finding is, worst first."""

    REFUSED = "refused"
    WRONG = "wrong"
    RISKY = "risky"

    @property
    def rank(self) -> int:
        """Its place, 0 the worst."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found: where, what, and what would be right."""

    code: str
    severity: Severity
    line: int
    column: int
    path: str
    message: str
    help: str


@dataclass(frozen=True, slots=True)
class Code:
    """A kind of finding and its one-line description."""

    code: str
    severity: Severity
    summary: str


@dataclass(frozen=True, slots=True)
class Context:
    """What a check looks at. `policy` is None when the server refuses the file."""

    document: Document
    raw: RawPolicy
    policy: Policy | None
    server_version: str

    def finding(self, code: str, path: Path, message: str, help_: str) -> Finding:
        """Make a finding that points at a value of the document."""
        return located(code, self.mark(path), field_path(path), message, help_)

    def mark(self, path: Path) -> Mark:
        """Give the place of a value, or of what is nearest above it."""
        tree = self.document.tree
        for length in range(len(path), -1, -1):
            value = tree.at(path[:length]) if tree is not None else None
            if value is not None:
                return value.mark
        return START


Check = Callable[[Context], Iterator[Finding]]
CODES: dict[str, Code] = {}
CHECKS: list[Check] = []

_SEVERITIES = {"1": Severity.REFUSED, "2": Severity.WRONG, "3": Severity.RISKY}


def declare(code: str, summary: str) -> None:
    """Enter a code into the registry; its first digit is its severity."""
    if code in CODES:
        raise ValueError(f"{code} is declared twice")
    CODES[code] = Code(code, _SEVERITIES[code[2]], summary)


def check(**summaries: str) -> Callable[[Check], Check]:
    """Register a check together with the codes it gives."""

    def register(function: Check) -> Check:
        for code, summary in summaries.items():
            declare(code, summary)
        CHECKS.append(function)
        return function

    return register


def located(code: str, mark: Mark, path: str, message: str, help_: str) -> Finding:
    """Make a finding at a place."""
    return Finding(code, CODES[code].severity, mark.line, mark.column, path, message, help_)


def field_path(path: Path) -> str:
    """Write a path as Kubernetes does: rules[0].users[1]."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text
