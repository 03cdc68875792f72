r"""
Pass over what cannot hold what a filter asks for: files of an index, and lines that no file holds yet.

Of files only the time of a request is looked at: all stages of a request have it, so a file is passed over with all of
them. Of lines a text is, which is in all that may match; `prefilter` says which, for lines as kube-apiserver writes
them, and a line with escapes that Go does not write (`\u0061`, `\/`) is never passed over.
"""

import re
from collections.abc import Callable

from kubewitness.event.derive import expand
from kubewitness.event.expr import And, Compare, Expr, Known, Literal, Ref
from kubewitness.keep.index.manifest import Entry

_RECEIVED = Ref("requestReceivedTimestamp")


_ODD_ESCAPE = re.compile(rb"\\/|\\u00(?!26|3c|3e)")


def line_test(filter_: Expr, *, joins_stages: bool) -> Callable[[bytes], bool] | None:
    """Give what tells of a line whether its Event could match, or be unknown; None where no text tells."""
    from kubewitness.look.query.prefilter import shared_needles

    groups = shared_needles(filter_, joins_stages=joins_stages)
    if not groups:
        return None
    needles = tuple(max(groups, key=lambda group: min(map(len, group))))
    odd = _ODD_ESCAPE.search

    def may_match(line: bytes) -> bool:
        return any(needle in line for needle in needles) or (b"\\" in line and odd(line) is not None)

    return may_match


def may_hold(filter_: Expr, entry: Entry) -> bool:
    """Say whether a row of this file could match, or be unknown."""
    if entry.untimed or entry.min_us is None or entry.max_us is None:
        return True
    low, high = bounds(filter_)
    return (low is None or entry.max_us >= low) and (high is None or entry.min_us <= high)


def bounds(filter_: Expr) -> tuple[int | None, int | None]:
    """Give the earliest and the latest time of receipt for which a filter can be true or unknown, both included."""
    low: int | None = None
    high: int | None = None
    for part in _conjuncts(expand(filter_)):
        match part:
            case Compare(operator, left, Literal(int() as micros)) if left == _RECEIVED:
                if operator in (">=", ">", "="):
                    low = micros if low is None else max(low, micros)
                if operator in ("<=", "<", "="):
                    high = micros if high is None else min(high, micros)
            case _:
                pass
    return low, high


def _conjuncts(expr: Expr) -> list[Expr]:
    match expr:
        case And(parts):
            return [found for part in parts for found in _conjuncts(part)]
        case Known(part, _):
            return _conjuncts(part)
        case _:
            return [expr]
