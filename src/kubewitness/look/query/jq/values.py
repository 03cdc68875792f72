"""
What jq's operations give on decoded JSON values: exact wherever they answer, else `UnsureError`.

Used by the code that `silence` generates: an input for which `UnsureError` is raised is handed to jq itself. So a
case in which jq reports an error, in which versions of jq differ (numbers that are not small integers, NUL in
strings), or which is too rare to be worth it, needs no more than that.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import product

# Whole numbers up to here are exact in a double, so every version of jq compares them alike.
EXACT_INTEGER = 2**53
# The result of a function whose value is true but otherwise not known.
SOMETHING = object()


class UnsureError(Exception):
    """Only jq itself can say what this gives."""


def unsure() -> object:
    """Stand for an expression that is not understood."""
    raise UnsureError


def truthy(value: object) -> bool:
    """Everything but false and null counts as true."""
    return value is not None and value is not False


def get(value: object, name: str) -> object:
    """`.name` of an object; null of null."""
    if type(value) is dict:
        return value.get(name)
    if value is None:
        return None
    raise UnsureError


def at(value: object, index: int) -> object:
    """`.[index]` of an array; null of null."""
    if type(value) is list:
        return value[index] if -len(value) <= index < len(value) else None
    if value is None:
        return None
    raise UnsureError


def each(value: object) -> list[object]:
    """`.[]` of an array or object."""
    if type(value) is list:
        return value
    if type(value) is dict:
        return list(value.values())
    raise UnsureError


def each_optional(value: object) -> list[object]:
    """`.[]?`: nothing of what cannot be iterated over."""
    return each(value) if type(value) in (list, dict) else []


def equal(left: object, right: object) -> bool:
    """`left == right`, for null, booleans, strings and small integers."""
    kinds = (type(left), type(right))
    if kinds == (int, int):
        _exact(left)
        _exact(right)
        return left == right
    if any(kind not in (str, int, bool, type(None)) for kind in kinds):
        if len({_rank(left), _rank(right)}) == 2:
            return False
        raise UnsureError
    return kinds[0] is kinds[1] and left == right


def order(left: object, right: object) -> int:
    """Less than, equal to or greater than 0 as jq sorts `left` before, with or after `right`."""
    if type(left) is str and type(right) is str:
        return (left > right) - (left < right)
    ranks = _rank(left), _rank(right)
    if ranks[0] != ranks[1]:
        return -1 if ranks[0] < ranks[1] else 1
    if type(left) is int and type(right) is int:
        _exact(left)
        _exact(right)
        return (left > right) - (left < right)
    if ranks[0] <= _RANKS[bool] + 1:
        return 0
    raise UnsureError


_RANKS: dict[type, int] = {type(None): 0, bool: 1, int: 3, float: 3, str: 4, list: 5, dict: 6}


def _rank(value: object) -> int:
    """Where jq sorts values of this type: null, false, true, numbers, strings, arrays, objects."""
    rank = _RANKS.get(type(value))
    if rank is None:
        raise UnsureError
    return rank + (value is True)


def _exact(value: object) -> None:
    if not isinstance(value, int) or not -EXACT_INTEGER < value < EXACT_INTEGER:
        raise UnsureError


def pairs(left: Iterable[object], right: Iterable[object]) -> list[tuple[object, object]]:
    """Each of one with each of the other; both are computed even when one is empty, for their errors."""
    return list(product(left, right))


def startswith(value: object, prefix: object) -> bool:
    """`startswith(prefix)` of a string."""
    if type(value) is str and type(prefix) is str:
        return value.startswith(prefix)
    raise UnsureError


def endswith(value: object, suffix: object) -> bool:
    """`endswith(suffix)` of a string."""
    if type(value) is str and type(suffix) is str:
        return value.endswith(suffix)
    raise UnsureError


def contains(value: object, part: object) -> bool:
    """`contains(part)`: of strings, or of arrays of strings."""
    if type(value) is str and type(part) is str and "\0" not in value + part:
        return part in value  # jq 1.6 looks no further than a NUL
    if type(value) is list and type(part) is list:
        if any(type(one) is not str or "\0" in one for one in [*value, *part]):
            raise UnsureError
        return all(any(wanted in one for one in value) for wanted in part)
    raise UnsureError


def index(value: object, part: object) -> object:
    """`index(part)` as far as its truth goes: null, or something."""
    if type(part) is not str or not part:
        raise UnsureError
    if type(value) is str and "\0" not in value:
        return SOMETHING if part in value else None
    if type(value) is list and all(type(one) is str for one in value):
        return SOMETHING if part in value else None
    raise UnsureError


def has(value: object, name: object) -> bool:
    """`has(name)` of an object."""
    if type(value) is dict and type(name) is str:
        return name in value
    raise UnsureError


def length(value: object) -> int:
    """`length` of null, a string, an array or an object."""
    if value is None:
        return 0
    if type(value) in (str, list, dict):
        return len(value)  # type: ignore[arg-type]  # the three have a length
    raise UnsureError


def kind(value: object) -> str:
    """`type`."""
    _rank(value)
    names = {int: "number", float: "number", str: "string", list: "array", dict: "object", bool: "boolean"}
    return names.get(type(value), "null")


def downcase(value: object) -> str:
    """`ascii_downcase` of a string."""
    if type(value) is str:
        return value.encode().lower().decode()
    raise UnsureError


def upcase(value: object) -> str:
    """`ascii_upcase` of a string."""
    if type(value) is str:
        return value.encode().upper().decode()
    raise UnsureError


def same_string(value: object) -> object:
    """`tostring` of a string."""
    if type(value) is str:
        return value
    raise UnsureError


# The regular expressions on which Oniguruma and Python agree, given ASCII text of one line: plain characters, escaped
# punctuation, `.`, simple classes, groups, alternatives, anchors, one greedy quantifier at a time.
_CLASS = r"\[(?:[A-Za-z0-9](?:-[A-Za-z0-9])?|[_:/.])+\]"
_ATOM = rf"(?:[A-Za-z0-9_ :/@,=%~\"'<>&;!-]|\\[-./+*?()\[\]|^${{}}\\]|\.|{_CLASS})"
_SHARED_REGEX = re.compile(rf"(?:\(|\)\??|\||\^|\$|{_ATOM}[*+?]?)+", re.ASCII)
_ODD_QUANTIFIER = re.compile(r"[*+?][*+?]|[(|^$][*+?]|\)[*+]|\(\)|\(\||\|\)|\|\||^\||\|$")


@lru_cache(maxsize=64)
def _regex(pattern: str, flags: str) -> re.Pattern[str] | None:
    if flags.strip("gi") or not _SHARED_REGEX.fullmatch(pattern) or _ODD_QUANTIFIER.search(pattern):
        return None
    try:
        return re.compile(pattern, re.ASCII | (re.IGNORECASE if "i" in flags else 0))
    except re.error:
        return None


def matches(value: object, pattern: object, flags: object) -> bool:
    """`test(pattern; flags)` of a line of ASCII text."""
    if type(value) is not str or type(pattern) is not str or type(flags) is not str:
        raise UnsureError
    regex = _regex(pattern, flags)
    if regex is None or not value.isascii() or not value.isprintable():
        raise UnsureError
    return regex.search(value) is not None
