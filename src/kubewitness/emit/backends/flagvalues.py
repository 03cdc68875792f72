"""
Read the value of a flag as kube-apiserver's command line does, and refuse in its words.

Text in, value out: int, bool, float, text, or whole nanoseconds for a duration. Raises FlagError.

Follows github.com/spf13/pflag, Go's strconv and time.ParseDuration.
"""

import re
from collections.abc import Callable

from kubewitness.policy.gotext import quote

Value = str | int | bool | float

_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))
_INTEGER = re.compile(r"([+-]?)(0[xX]_?[0-9a-fA-F_]+|0[bB]_?[01_]+|0[oO]_?[0-7_]+|0[0-7_]*|[1-9][0-9_]*)", re.ASCII)
_FLOAT = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|inf|infinity|nan)", re.ASCII | re.IGNORECASE)
_DURATION_PART = re.compile(r"(\d*)(?:\.(\d*))?(ns|us|µs|μs|ms|s|m|h)?", re.ASCII)
_FLOAT32_MAX = 3.4028235677973366e38
_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}


class FlagError(ValueError):
    """This command line is refused; the text is what kube-apiserver says."""


def read_value(kind: str, text: str) -> Value:
    """Read a value of this type of flag. Raises ValueError with Go's reason."""
    return _READERS[kind](text)


def _int(text: str) -> int:
    match = _INTEGER.fullmatch(text)
    if match is None or "__" in text or text.endswith("_"):
        raise _number(text, "ParseInt", "invalid syntax")
    sign, digits = match.groups()
    is_old_octal = len(digits) > 1 and digits[0] == "0" and (digits[1].isdigit() or digits[1] == "_")
    value = int(f"{sign}0o{digits[1:]}" if is_old_octal else text, 0)
    if not -(1 << 63) <= value < 1 << 63:
        raise _number(text, "ParseInt", "value out of range")
    return value


def _bool(text: str) -> bool:
    if text not in _TRUE and text not in _FALSE:
        raise _number(text, "ParseBool", "invalid syntax")
    return text in _TRUE


def _float32(text: str) -> float:
    if not _FLOAT.fullmatch(text):
        raise _number(text, "ParseFloat", "invalid syntax")
    value = float(text)
    if "n" not in text.lower() and abs(value) >= _FLOAT32_MAX:
        raise _number(text, "ParseFloat", "value out of range")
    return value


def _number(text: str, function: str, reason: str) -> ValueError:
    return ValueError(f"strconv.{function}: parsing {quote(text)}: {reason}")


def _duration_ns(text: str) -> int:
    sign = -1 if text.startswith("-") else 1
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return 0
    if not rest:
        raise ValueError(f"time: invalid duration {quote(text)}")
    total, position = 0, 0
    while position < len(rest):
        match = _DURATION_PART.match(rest, position)
        if match is None or not (match[1] or match[2]):
            raise ValueError(f"time: invalid duration {quote(text)}")
        whole, fraction, unit = match.groups()
        if unit is None:
            raise _bad_unit(text, rest[match.end() :])
        total += int(whole or 0) * _UNITS_NS[unit]
        if fraction:
            total += int(fraction) * _UNITS_NS[unit] // 10 ** len(fraction)
        position = match.end()
    if total >= 1 << 63:
        raise ValueError(f"time: invalid duration {quote(text)}")
    return sign * total


def _bad_unit(text: str, rest: str) -> ValueError:
    unit = re.match(r"[^\d.]*", rest)
    if unit is None or not unit[0]:
        return ValueError(f"time: missing unit in duration {quote(text)}")
    return ValueError(f"time: unknown unit {quote(unit[0])} in duration {quote(text)}")


_READERS: dict[str, Callable[[str], Value]] = {
    "string": str,
    "int": _int,
    "bool": _bool,
    "float32": _float32,
    "duration": _duration_ns,
}
