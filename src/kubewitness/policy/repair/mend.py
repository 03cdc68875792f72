"""
Take the fixes of a policy's findings, one after another, each only when it is proved to change what it says.

    mended = mend(data, lambda data: check(data))
    mended.text, mended.taken, mended.left

A fix is taken when the new text is accepted, and for every possible request either nothing changes, or it is one the
fix speaks of, at a level it promises; and no request that was recorded is recorded no longer. The policy is checked
again after each round until no fix is left, so a second run finds nothing to do.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kubewitness.event.types import Level
from kubewitness.policy.check import Report, Severity
from kubewitness.policy.findings import Finding, Fix
from kubewitness.policy.load import Document, read
from kubewitness.policy.prove.answer import TooHardError
from kubewitness.policy.prove.describe import decision_text, request_text
from kubewitness.policy.prove.diff import written
from kubewitness.policy.prove.topics import change_outside
from kubewitness.policy.repair.edit import apply
from kubewitness.policy.repair.spans import NoPlaceError
from kubewitness.policy.types import Decision

# more is no policy that a person wrote
_MAX_FIXES = 500
_BUDGET_STATES = 60_000
_ABOVE_ALL_RULES = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Taken:
    """A fix that was made; the line is that of the finding in the text as it was then."""

    finding: Finding
    says: str


@dataclass(frozen=True, slots=True)
class Left:
    """A fix that was not made, and why."""

    finding: Finding
    why: str


@dataclass(frozen=True, slots=True)
class Mended:
    """The new text, what was done, what was left, and the report on the new text."""

    data: bytes
    taken: tuple[Taken, ...]
    left: tuple[Left, ...]
    report: Report


def mend(data: bytes, check: Callable[[bytes], Report], server_version: str, least: Severity = Severity.NOTE) -> Mended:
    """Take every fix that can be proved, of findings at least so severe. Never raises for any input."""
    original, first = data, check(data)
    report = first
    taken: list[Taken] = []
    refused: dict[str, Left] = {}
    # findings whose fixes go round in a circle, and those whose fix left them there
    circular: set[str] = set()
    idle: set[str] = set()
    seen = {data: 0}
    while len(taken) < _MAX_FIXES:
        fixable = _fixable(report, least, refused, circular | idle)
        if not fixable:
            break
        done: list[Taken] = []
        new = _round(data, fixable, report.document, server_version, done, refused)
        if not done:
            continue
        if new in seen:
            # these fixes undo each other: from the start, with none of them
            circular |= {_signature(one.finding) for one in (*taken[seen[new] :], *done)}
            data, report, taken, seen = original, first, [], {original: 0}
            refused.clear()
            idle.clear()
            continue
        new_report = check(new)
        in_vain = _idle(done, report, new_report)
        if in_vain:
            # the finding is still there: without that fix, again
            idle |= in_vain
            continue
        data, report = new, new_report
        taken += done
        seen[data] = len(taken)
        # what could not be proved of the old text may be of the new
        refused.clear()
        idle.clear()
    left = tuple(
        Left(finding, refused[key].why if key in refused else "it does not help, or another fix undoes it")
        for finding in report.findings
        if finding.fix is not None
        and finding.severity.rank <= least.rank
        and ((key := _key(finding.code, finding.fix)) in refused or _signature(finding) in circular | idle)
    )
    return Mended(data, tuple(taken), left, report)


def _signature(finding: Finding) -> str:
    """Give what a finding says, wherever it stands."""
    return f"{finding.code} {re.sub(r'[0-9]+', '0', finding.message)}"


def _idle(done: Sequence[Taken], before: Report, after: Report) -> set[str]:
    """Give the signatures of findings that are not fewer after their fixes."""
    were = Counter(_signature(finding) for finding in before.findings)
    are = Counter(_signature(finding) for finding in after.findings)
    tried = {_signature(one.finding) for one in done}
    return {signature for signature in tried if are[signature] >= were[signature]}


def _fixable(
    report: Report, least: Severity, refused: dict[str, Left], hopeless: set[str]
) -> list[tuple[Finding, Fix]]:
    """Give the worst findings with a fix that was not refused: what a note is about may be gone after them."""
    found = [
        (finding, finding.fix)
        for finding in report.findings
        if finding.fix is not None
        and finding.severity.rank <= least.rank
        and _key(finding.code, finding.fix) not in refused
        and _signature(finding) not in hopeless
    ]
    worst = min((finding.severity.rank for finding, _ in found), default=0)
    return [pair for pair in found if pair[0].severity.rank == worst]


def _round(
    data: bytes,
    fixable: list[tuple[Finding, Fix]],
    document: Document,
    server_version: str,
    taken: list[Taken],
    refused: dict[str, Left],
) -> bytes:
    """Take fixes from the last rule to the first, so that none shifts the place of another."""
    touched = _ABOVE_ALL_RULES + 1
    for finding, fix in sorted(fixable, key=lambda pair: -_last_rule(pair[1])):
        key = _key(finding.code, fix)
        if _last_rule(fix) >= touched or len(taken) >= _MAX_FIXES:
            continue
        new, why = _tried(data, document, fix, server_version)
        if new is None:
            # later fixes of a round meet a text that they were not made for: they are tried again in the next
            if touched > _ABOVE_ALL_RULES:
                refused[key] = Left(finding, why)
            continue
        taken.append(Taken(finding, fix.says))
        data = new
        document = read(new, server_version)
        touched = _first_rule(fix)
    return data


def _key(code: str, fix: Fix) -> str:
    return f"{code} {fix.edits}"


def _rules_of(fix: Fix) -> list[int]:
    found = [edit.path[1] for edit in fix.edits if len(edit.path) > 1 and edit.path[0] == "rules"]
    moved = [edit.content for edit in fix.edits if isinstance(edit.content, int)]
    return [index for index in (*found, *moved) if isinstance(index, int)]


def _last_rule(fix: Fix) -> int:
    return max(_rules_of(fix), default=_ABOVE_ALL_RULES)


def _first_rule(fix: Fix) -> int:
    found = _rules_of(fix)
    # a fix of the whole, or one that moves to the end, ends the round
    return min(found) if found else -1


def _tried(data: bytes, old: Document, fix: Fix, server_version: str) -> tuple[bytes | None, str]:
    """Give the text with a fix made, or why it is not."""
    try:
        text = data.decode("utf-8")
        for edit in fix.edits:
            text = apply(text, edit)
    except UnicodeDecodeError:
        return None, "the file is no UTF-8"
    except NoPlaceError as error:
        return None, str(error)
    new = text.encode("utf-8")
    if new == data:
        return None, "nothing would change"
    why = _proved(old, read(new, server_version), fix)
    return (None, why) if why else (new, "")


def _proved(old: Document, new: Document, fix: Fix) -> str:
    """Give why a fix is not what it says; "" when it is."""
    if fix.scope is None:
        is_better = new.policy is not None or len(new.invalid) < len(old.invalid)
        return "" if is_better else "the server would still refuse it"
    if old.policy is None or new.policy is None:
        return f"the server would refuse it: {new.error}"

    def is_recorded(decision: Decision) -> bool:
        return written(decision).level is not Level.NONE

    def is_promised(decision: Decision) -> bool:
        return fix.lowest <= decision.level <= fix.highest and is_recorded(decision)

    scopes = ((fix.scope, is_promised), (fix.odd, is_recorded))
    try:
        found = change_outside(old.policy, new.policy, scopes, _BUDGET_STATES)
    except TooHardError:
        return "what it changes could not be proved"
    if found is None:
        return ""
    return (
        f"it would change more: {request_text(found.example)} from {decision_text(found.before)} to "
        f"{decision_text(found.after)}"
    )
