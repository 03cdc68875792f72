"""
Pass over files of an index that cannot hold what a filter asks for, by what the manifest says of them.

Only the time of a request is looked at: all stages of a request have it, so a file is passed over with all of them.
"""

from kubewitness.event.derive import expand
from kubewitness.event.expr import And, Compare, Expr, Known, Literal, Ref
from kubewitness.keep.index.manifest import Entry

_RECEIVED = Ref("requestReceivedTimestamp")


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
