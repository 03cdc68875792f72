r"""
Find the few lines of a log that can match, without parsing the others.

`shared_needles(filter_)` gives texts of which a line holds one if its Event matches, or if the answer is unknown, and
so does every later stage of its request: only fields that the stages share are used. `Picker` has the lines looked for
(`picks`) while the rest of the program is loaded. What is not looked at is damage elsewhere, and the account says so.
"""

from typing import TYPE_CHECKING

from kubewitness.event.derive import expand
from kubewitness.event.expr import And, Expr, paths
from kubewitness.event.expr_logic import disjunction, nullness, simplify, truth
from kubewitness.event.filter import PLAIN, needles
from kubewitness.look.query.same_request import FILLED_LATER, SAME_IN_EVERY_STAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kubewitness.look.query.linetexts import Needles
    from kubewitness.look.query.picks import Picks
    from kubewitness.look.query.source import Input

_SHARED = SAME_IN_EVERY_STAGE | FILLED_LATER
_MOST_ALTERNATIVES = 8


def shared_needles(filter_: Expr, *, joins_stages: bool) -> "list[Needles]":
    """Give sets of texts, each of which is enough to find every line that may matter; none where nothing is certain."""
    whole = _wanted(filter_)
    parts = [*(whole.parts if isinstance(whole, And) else (whole,))]
    if isinstance(filter_, And):  # what is true or unknown of the whole is so of each part
        parts += map(_wanted, filter_.parts)
    found = [
        group
        for part in parts
        if not joins_stages or paths(part) <= _SHARED
        for group in needles(part, with_unknown=False)
        if len(group) <= _MOST_ALTERNATIVES and all(text.isascii() for text in group)
    ]
    return list(dict.fromkeys(found))


def _wanted(filter_: Expr) -> Expr:
    expanded = expand(filter_)
    return simplify(disjunction((truth(expanded), nullness(expanded))), PLAIN)


class Picker:
    """Searches of some inputs, each begun once: what a question begins, the next one about the same has already."""

    def __init__(self, inputs: "Sequence[Input]") -> None:
        self._inputs = inputs
        self._picks: dict[tuple[Expr, bool], Picks | None] = {}

    def begin(self, filter_: Expr, *, joins_stages: bool) -> "Picks | None":
        """Search for the lines that a filter needs; None where no text is certain to be in them."""
        key = (filter_, joins_stages)
        if key not in self._picks:
            groups = shared_needles(filter_, joins_stages=joins_stages)
            self._picks[key] = self._search(groups) if groups else None
        return self._picks[key]

    def _search(self, groups: "Sequence[Needles]") -> "Picks":
        from kubewitness.look.query.picks import Picks  # loads what calls C, which few questions need

        return Picks(self._inputs, groups)

    @property
    def fraction(self) -> float | None:
        """How far the search begun last is, 0 to 1; None where nobody knows. May be asked from another thread."""
        last = next(reversed(self._picks.values()), None)
        return None if last is None else last.fraction

    def close(self) -> None:
        """Stop all searches."""
        for picks in self._picks.values():
            if picks is not None:
                picks.close()
