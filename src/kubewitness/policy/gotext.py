"""How Go writes a value into a sentence: `%q`, `%#v`, `json.Marshal`, and the floats inside them."""

import json
import unicodedata

_ESCAPES = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
}
# a byte that is no UTF-8, kept by Python's surrogateescape
_RAW_LOW, _RAW_HIGH = 0xDC80, 0xDCFF


def quote(text: str) -> str:
    """Quote as `strconv.Quote`: printable characters stay, the rest is escaped."""
    return '"' + "".join('\\"' if c == '"' else _escaped(c) for c in text) + '"'


def quote_byte(code: int) -> str:
    """Quote one byte as encoding/json does in `invalid character ...`."""
    if code == ord("'"):
        return "'\\''"
    if code == ord('"'):
        return "'\"'"
    return "'" + quote(chr(code))[1:-1] + "'"


def marshal(values: tuple[str, ...]) -> str:
    """Write a list of strings as `json.Marshal`, which also escapes `<`, `>` and `&`."""
    text = json.dumps(list(values), ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def json_float(number: float) -> str:
    """Write a float as `json.Marshal`: plain from 1e-6 up to 1e21, else with an exponent."""
    if number == 0:
        return "-0" if str(number).startswith("-") else "0"
    digits, exponent = _shortest(number)
    if -6 <= exponent < 21:
        return _plain(number < 0, digits, exponent)
    return _scientific(number < 0, digits, exponent, 1)


def general_float(number: float) -> str:
    """Write a float as `%v` does: an exponent below 1e-4 and from 1e6 on."""
    if number != number:
        return "NaN"
    if number in (float("inf"), float("-inf")):
        return "+Inf" if number > 0 else "-Inf"
    if number == 0:
        return "-0" if str(number).startswith("-") else "0"
    digits, exponent = _shortest(number)
    if -4 <= exponent < 6:
        return _plain(number < 0, digits, exponent)
    return _scientific(number < 0, digits, exponent, 2)


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    code = ord(character)
    if _RAW_LOW <= code <= _RAW_HIGH:
        return f"\\x{code - 0xDC00:02x}"
    if character == " " or unicodedata.category(character)[0] in "LMNPS":
        return character
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _shortest(number: float) -> tuple[str, int]:
    mantissa, exponent = (
        f"{abs(number)!r}e0".split("e")[:2] if "e" not in repr(number) else repr(abs(number)).split("e")
    )
    whole, _, fraction = mantissa.partition(".")
    digits = whole + fraction
    point = len(whole) + int(exponent)
    stripped = digits.lstrip("0")
    point -= len(digits) - len(stripped)
    return stripped.rstrip("0") or "0", point - 1


def _plain(is_negative: bool, digits: str, exponent: int) -> str:
    if exponent < 0:
        text = "0." + "0" * (-exponent - 1) + digits
    elif len(digits) <= exponent + 1:
        text = digits + "0" * (exponent + 1 - len(digits))
    else:
        text = digits[: exponent + 1] + "." + digits[exponent + 1 :]
    return "-" * is_negative + text


def _scientific(is_negative: bool, digits: str, exponent: int, width: int) -> str:
    mantissa = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
    return f"{'-' * is_negative}{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):0{width}d}"
