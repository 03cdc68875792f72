"""
Rules put into the text of a policy, whose comments and order stay: for `coverage --fix`.

Only lines are added, each rule above the comments of the rule that it stands before. The text is read again, and must
give exactly the policy that was meant; where it does not, as in a policy written on one line, InsertError says so.
"""

import json
from collections.abc import Iterator, Sequence

from kubewitness.policy.load import Document, PolicyError, load
from kubewitness.policy.types import PolicyRule
from kubewitness.policy.workshop.coverage import Insertion, with_insertions


class InsertError(ValueError):
    """A text that rules cannot be put into line by line."""


def inserted(text: str, document: Document, insertions: Sequence[Insertion]) -> str:
    """Give the text with these rules in it. Raises InsertError."""
    policy = document.policy
    rules = document.tree.get("rules") if document.tree is not None else None
    if policy is None or rules is None or not rules.items:
        raise InsertError("there are no rules to put others before")
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    end = len(lines)
    # from the last place to the first, so that lines above stay where they are
    for insertion in sorted(insertions, key=lambda one: one.index)[::-1]:
        at = min(insertion.index, len(rules.items) - 1)
        mark = rules.items[at].mark
        dash = mark.column - 3
        if dash < 0 or lines[mark.line - 1][dash : dash + 2] != "- ":
            raise InsertError("the rules do not stand on lines of their own, each behind a dash")
        place = mark.line - 1 if insertion.index < len(rules.items) else end
        while place > 0 and lines[place - 1].lstrip().startswith("#") and insertion.index < len(rules.items):
            place -= 1
        lines[place:place] = [f"{' ' * dash}{line}\n" for line in _rule_lines(insertion.rule)]
    result = "".join(lines)
    try:
        is_meant = load(result) == with_insertions(policy, insertions)
    except PolicyError:
        is_meant = False
    if not is_meant:
        raise InsertError("the rules cannot be put into this text line by line")
    return result


def _rule_lines(rule: PolicyRule) -> Iterator[str]:
    yield f"- level: {rule.level.value}"
    for name, values in (
        ("users", rule.users),
        ("userGroups", rule.user_groups),
        ("verbs", rule.verbs),
        ("nonResourceURLs", rule.non_resource_urls),
    ):
        if values:
            yield f"  {name}: {_list(values)}"
    if rule.resources:
        yield "  resources:"
    for entry in rule.resources:
        yield f"  - group: {json.dumps(entry.group)}"
        if entry.resources:
            yield f"    resources: {_list(entry.resources)}"


def _list(values: Sequence[str]) -> str:
    return "[" + ", ".join(json.dumps(value) for value in values) + "]"
