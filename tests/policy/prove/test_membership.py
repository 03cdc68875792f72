"""Sets of boxes turned around, and that a large policy costs what its rules cost, not what their pairs do."""

import sys
from collections.abc import Callable

from kubewitness.event.types import Level
from kubewitness.policy.prove.diff import Diff, diff
from kubewitness.policy.prove.membership import Membership
from kubewitness.policy.prove.regions import Box, Dimension
from kubewitness.policy.prove.shadow import dead_members, reachable
from kubewitness.policy.types import GroupResources, Policy, PolicyRule


def _box(users: int) -> Box:
    return Box((1, 1, 1, 1, users))


def test_boxes_by_the_values_they_take() -> None:
    """A box of every value is in every answer, one of a few values in theirs, values outside are not spoken of."""
    members = Membership.of([_box(0b0111), _box(0b0010), _box(0b1100)], Dimension.USER, 0b0111)
    assert [members.taking(atom) for atom in range(3)] == [0b001, 0b011, 0b101]
    assert members.taking_any(0b110) == 0b111
    assert members.asked == 0b0110


def _policy(rules: int, shift: int = 0) -> Policy:
    """Give a rule a tenant, as a platform generates them: its service account, its namespace."""
    return Policy(
        tuple(
            PolicyRule(
                Level.METADATA if (number + shift) % 7 == 0 else Level.NONE,
                users=(f"system:serviceaccount:tenant{number}:app",),
                verbs=("get", "list", "watch"),
                resources=(GroupResources("", ("configmaps", "pods")),),
                namespaces=(f"tenant{number}",),
            )
            for number in range(rules)
        )
    )


def _calls(work: Callable[[], object]) -> int:
    """Count the calls of Python and built-in functions: the same on every machine."""
    found = 0

    def count(_frame: object, event: str, _what: object) -> None:
        nonlocal found
        found += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return found


def _growth(work: Callable[[int], object]) -> float:
    """Say how much dearer four times the rules are."""
    return _calls(lambda: work(200)) / _calls(lambda: work(50))


def test_four_times_the_rules_are_four_times_the_search() -> None:
    """Which rules and members are dead does not look at every pair of rules."""
    assert _growth(lambda rules: reachable(_policy(rules), is_wanted=lambda _: False)) < 4.5
    assert _growth(lambda rules: dead_members(_policy(rules))) < 4.5


def test_four_times_the_rules_are_four_times_the_difference() -> None:
    """The regions of each change are searched among the rules that meet it."""

    def regions(rules: int) -> None:
        found = Diff(_policy(rules), _policy(rules, 3))
        assert found.changes
        for change in found.changes:
            assert found.regions(change)[1]

    assert _growth(lambda rules: diff(_policy(rules), _policy(rules, 3))) < 4.5
    assert _growth(regions) < 4.5
