"""
A search of files for lines with some texts, begun before it is certain what is looked for.

`begin` starts one by what a command's words suggest; `search` takes that, if it is what is wanted, or starts anew.
Loaded before anything else is (`cli/ahead.py`), so it imports little.
"""

import atexit
import os

from kubewitness.look.query.linesearch import LineSearch, Span
from kubewitness.look.query.linetexts import Plan

_begun: "list[Search]" = []


def begin(plan: Plan) -> None:
    """Search, in the hope that this is what will be asked."""
    _begun.append(Search(plan))
    atexit.register(drop)


def drop() -> None:
    """Stop what was begun, as nobody will ask for it."""
    while _begun:
        _begun.pop().close()


def search(plan: Plan) -> "Search":
    """Give a search: the one that was begun, if it is this one."""
    if _begun and _begun[0].plan == plan:
        return _begun.pop()
    drop()
    return Search(plan)


class Search:
    """A search of some files that has begun."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._found: dict[str, list[Span] | None] | None = None
        self._search = LineSearch(list(plan.items())) if plan else None

    def lines(self, path: str) -> list[tuple[int, bytes]] | None:
        """Give offset and bytes of the candidates in a file; None for too many, or where no search was."""
        if self._search is None or path not in self.plan:
            return None
        if self._found is None:
            self._found = dict(zip(self.plan, self._search.result(), strict=True))
        spans = self._found[path]
        if spans is None:
            return None
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - pathlib costs start-up
            return [(first, os.pread(file.fileno(), last - first, first)) for first, last in spans]

    @property
    def fraction(self) -> float | None:
        """How far it is, 0 to 1; None where nothing is searched."""
        return None if self._search is None else self._search.fraction

    def close(self) -> None:
        """Stop what still runs."""
        if self._search is not None:
            self._search.close()
