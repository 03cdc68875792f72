"""
What a scalar means: null, boolean, number or text, by YAML 1.1 as gopkg.in/yaml.v2 reads it.

`y`, `on`, `off` and the like are booleans, `0755` is octal, `1_000` a number, base 60 and dates stay text.
"""

import base64
import binascii
import re

from kubewitness.policy.tree import GoError

# what a resolved scalar is: Go's nil, bool, int (64 bits), uint64, float64 or string
Scalar = None | bool | int | float | str

_PREFIX = "tag:yaml.org,2002:"
_STR, _BOOL, _INT, _FLOAT = (_PREFIX + name for name in ("str", "bool", "int", "float"))
_NULL, _TIMESTAMP, _BINARY, MERGE_TAG = (_PREFIX + name for name in ("null", "timestamp", "binary", "merge"))
_RESOLVABLE = frozenset(("", _STR, _BOOL, _INT, _FLOAT, _NULL, _TIMESTAMP))


def _cases(*words: str) -> list[str]:
    return [form for word in words for form in (word, word.capitalize(), word.upper())]


_WORDS: dict[str, tuple[str, Scalar]] = {
    **dict.fromkeys(_cases("y", "yes", "true", "on"), (_BOOL, True)),
    **dict.fromkeys(_cases("n", "no", "false", "off"), (_BOOL, False)),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), (_NULL, None)),
    **{word: (_FLOAT, float("nan")) for word in (".nan", ".NaN", ".NAN")},
    **{sign + word: (_FLOAT, float("inf")) for word in (".inf", ".Inf", ".INF") for sign in ("", "+")},
    **{"-" + word: (_FLOAT, float("-inf")) for word in (".inf", ".Inf", ".INF")},
}
_FLOAT_PATTERN = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INT_PATTERN = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|([0-9]+))")
_DATE = re.compile(
    r"[0-9]{4}-(?P<month>[0-9]{1,2})-(?P<day>[0-9]{1,2})"
    r"(?:[Tt](?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{1,2}):(?P<second>[0-9]{1,2})(?:[.,][0-9]+)?(?:Z|[-+][0-9]{2}:[0-9]{2})"
    r"|[ ]+[0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}(?:[.,][0-9]+)?)?"
)


def resolve(tag: str, text: str) -> Scalar:
    """Give the value of a scalar that is plain or tagged. Raises GoError when the tag does not fit."""
    if tag == _BINARY:
        return _binary(text)
    if tag not in _RESOLVABLE or tag == _STR:
        return text
    found, value = _meaning(tag, text)
    if tag in ("", found):
        return text if found == _TIMESTAMP else value
    if tag == _FLOAT and found == _INT and isinstance(value, int) and value < 1 << 63:
        return float(value)
    raise GoError(f"yaml: cannot decode {_short(found)} `{text}` as a {_short(tag)}")


def _meaning(tag: str, text: str) -> tuple[str, Scalar]:
    if text in _WORDS:
        return _WORDS[text]
    first = text[0]
    if first == ".":
        number = _float(text) if _FLOAT_PATTERN.fullmatch(text) else None
        return (_FLOAT, number) if number is not None else (_STR, text)
    if first not in "+-0123456789":
        return _STR, text
    if tag in ("", _TIMESTAMP) and _DATE.fullmatch(text):
        return _TIMESTAMP, text
    plain = text.replace("_", "")
    integer = _integer(plain)
    if integer is not None:
        return _INT, integer
    if _FLOAT_PATTERN.fullmatch(plain):
        number = _float(plain)
        if number is not None:
            return _FLOAT, number
    return _STR, text


def _integer(text: str) -> int | None:
    """Read an integer with Go's prefixes; None when it is none or has more than 64 bits."""
    found = _INT_PATTERN.fullmatch(text)
    if not found:
        return None
    sign, *by_base = found.groups()
    digits, base = next((d, b) for d, b in zip(by_base, (16, 2, 8, 10), strict=True) if d is not None)
    if base == 10 and digits != "0" and digits.startswith("0"):
        return None
    if len(digits) > 64:
        return None
    value = int(digits, base)
    if sign == "-":
        return -value if value <= 1 << 63 else None
    # a plus sign is only for the signed reading
    return value if value < (1 << 63 if sign else 1 << 64) else None


def _float(text: str) -> float | None:
    number = float(text)
    return None if number in (float("inf"), float("-inf")) else number


def _binary(text: str) -> str:
    try:
        data = base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True)
    except (binascii.Error, ValueError):
        raise GoError("yaml: !!binary value contains invalid base64 data") from None
    return data.decode("utf-8", "surrogateescape")


def _short(tag: str) -> str:
    return "!!" + tag[len(_PREFIX) :] if tag.startswith(_PREFIX) else tag
