"""
What can be found in a policy file, and the one registry of checks.

A check is a function from `Context` to findings, registered with its codes. KW1xx: kube-apiserver refuses the file.
KW2xx: it accepts the file, which does not do what it says. KW3xx: it does, and that is risky. KW4xx: what it costs, or
does for nothing. KW5xx: what the profile asked for demands. The page docs/reference/policy-findings.md lists the same.

A `Fix` says how to change the document, and of which requests that may change what is recorded: `repair` makes the
text and proves it.
"""

import enum
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from kubewitness.event.types import Level
from kubewitness.policy.catalogue import Catalogue
from kubewitness.policy.load import Document
from kubewitness.policy.tree import START, Mark
from kubewitness.policy.types import Policy, PolicyRule
from kubewitness.policy.validate import RawPolicy

Path = tuple[str | int, ...]


class Severity(enum.Enum):
    """How bad a finding is, worst first."""

    REFUSED = "refused"
    WRONG = "wrong"
    UNMET = "unmet"
    RISKY = "risky"
    NOTE = "note"

    @property
    def rank(self) -> int:
        """Its place, 0 the worst."""
        return list(Severity).index(self)


class Profile(enum.Enum):
    """Whose demands a policy is held against, besides ours."""

    DEFAULT = "default"
    CIS = "cis"
    STIG = "stig"
    PCI = "pci"


class Mode(enum.Enum):
    """The server's --audit-log-mode or --audit-webhook-mode."""

    BATCH = "batch"
    BLOCKING = "blocking"
    BLOCKING_STRICT = "blocking-strict"


class Do(enum.Enum):
    """What an edit does at its path of the document."""

    REPLACE = "put this scalar there"
    REMOVE = "take out this list item or member"
    RENAME = "give the member this name"
    APPEND = "add this item to the list, which is made when it is missing"
    INSERT = "put this item before the one at the path"
    MOVE = "move the rule at the path before the rule with this index; -1 is the end"
    MEMBER = "add this member to the object"


Content = str | int | dict[str, "Content"] | list["Content"]


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of the document."""

    do: Do
    path: Path
    content: Content = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Fix:
    """Edits, a sentence that says them, and what they may change.

    Only requests that `scope` matches may be recorded otherwise afterwards, and those at a level between `lowest` and
    `highest`; or requests that `odd` matches, which nobody sends or no server serves, at any level. An empty scope:
    nothing changes. `scope` None: the server refused the file before, nothing is compared.
    """

    says: str
    edits: tuple[Edit, ...]
    scope: tuple[PolicyRule, ...] | None = ()
    lowest: Level = Level.NONE
    highest: Level = Level.REQUEST_RESPONSE
    odd: tuple[PolicyRule, ...] = ()


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
    fix: Fix | None = None


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
    catalogue: Catalogue
    profile: Profile = Profile.DEFAULT
    mode: Mode = Mode.BATCH
    cache: dict[str, object] = field(default_factory=dict)

    def finding(self, code: str, path: Path, message: str, help_: str, fix: Fix | None = None) -> Finding:
        """Make a finding that points at a value of the document."""
        return located(code, self.mark(path), field_path(path), message, help_, fix)

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

_SEVERITIES = {
    "1": Severity.REFUSED,
    "2": Severity.WRONG,
    "3": Severity.RISKY,
    "4": Severity.NOTE,
    "5": Severity.UNMET,
}


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


def located(code: str, mark: Mark, path: str, message: str, help_: str, fix: Fix | None = None) -> Finding:
    """Make a finding at a place."""
    return Finding(code, CODES[code].severity, mark.line, mark.column, path, message, help_, fix)


def parse_path(text: str) -> Path:
    """Read a path that `field_path` wrote."""
    parts = re.findall(r"[^.\[\]]+(?=[.\[]|$)|\[\d+\]", text)
    return tuple(int(part[1:-1]) if part.startswith("[") else part for part in parts)


def field_path(path: Path) -> str:
    """Write a path as Kubernetes does: rules[0].users[1]."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text
