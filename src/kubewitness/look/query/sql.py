"""
Expressions in DuckDB's words: conditions for WHERE, values for SELECT, the derived columns of `events`.

    where(filter)     rows for which it is true:       verb = 'get' AND resource = 'secrets'
    unknown(filter)   rows for which it is unknown:    code IS NULL AND stage = 'RequestReceived'   (or FALSE)
    answer(filter)    TRUE, FALSE or NULL, for a SELECT list
    value(expr)       the value of any expression

Put a condition into WHERE or CASE WHEN: there DuckDB stops at the first part that settles a row; elsewhere it computes
every part for every row.

Expressions come from event/expr.py and may name derived fields. What comes out reads the flat columns of
event/fields.py: text, numbers, TIMESTAMP (UTC), VARCHAR[], MAP, and JSON or its text for bodies. Constants are quoted
here and nowhere else, so nothing a user types can leave its quotes. Columns that do not exist in the relation (dialect,
redacted on a plain file) are given as facts (`event.filter.PLAIN`) and vanish. Tested to agree with
event/expr_evaluate.py, NULLs included.
"""

import datetime as dt
import re
from collections.abc import Mapping
from functools import cache
from typing import assert_never

from kubewitness.event import expr_values as values
from kubewitness.event.derive import DERIVED, expand
from kubewitness.event.expr import (
    EACH,
    FALSE,
    And,
    Any,
    At,
    Case,
    Coalesce,
    Compare,
    Element,
    Entry,
    Expr,
    In,
    IsNull,
    Json,
    JsonHas,
    Known,
    Length,
    Literal,
    Network,
    Not,
    Or,
    Query,
    Ref,
    Text,
    UrlPath,
    Within,
)
from kubewitness.event.expr_logic import NO_FACTS, Facts, nullness, simplify, truth
from kubewitness.event.fields import by_path

_TIMES = values.TIMES


def where(filter_: Expr, facts: Facts = NO_FACTS) -> str:
    """Give the condition that holds for the rows for which the filter is true."""
    return _condition(simplify(truth(expand(filter_)), facts))


def unknown(filter_: Expr, facts: Facts = NO_FACTS) -> str:
    """Give the condition that holds for the rows for which the filter is unknown; `FALSE` when it never is."""
    return _condition(simplify(nullness(expand(filter_)), facts))


def answer(filter_: Expr, facts: Facts = NO_FACTS) -> str:
    """Give the filter as an expression worth TRUE, FALSE or NULL."""
    yes, perhaps = where(filter_, facts), unknown(filter_, facts)
    if perhaps == "FALSE":
        return f"coalesce({yes}, FALSE)"
    return f"CASE WHEN {yes} THEN TRUE WHEN {perhaps} THEN NULL ELSE FALSE END"


def value(expr: Expr) -> str:
    """Give any expression as a value."""
    return _value(expand(expr))


@cache
def derived_columns() -> Mapping[str, str]:
    """Give the definition of every derived column over the other columns."""
    return {by_path(path).column: value(expr) for path, expr in DERIVED.items()}


def literal(constant: str | int | bool | None) -> str:
    """Quote a constant."""
    if constant is None:
        return "NULL"
    if isinstance(constant, bool):
        return "TRUE" if constant else "FALSE"
    return str(constant) if isinstance(constant, int) else "'" + constant.replace("'", "''") + "'"


def timestamp(micros: int) -> str:
    """Quote a time given in microseconds since 1970."""
    moment = dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=micros)  # noqa: DTZ001  # DuckDB's TIMESTAMP has no zone
    return f"TIMESTAMP '{moment.isoformat(sep=' ')}'"


def _condition(expr: Expr) -> str:
    """Give a condition in positive form; NULL and false are alike."""
    match expr:
        case And(parts):
            return " AND ".join(f"({_condition(part)})" if isinstance(part, Or) else _condition(part) for part in parts)
        case Or(parts):
            return " OR ".join(map(_condition, parts))
        case Not(Known(Compare("=", left, right), _)):
            return f"{_value(left)} IS DISTINCT FROM {_bound(left, right)}"
        case Not(Known(test, _)):
            return f"({_condition(test)}) IS NOT TRUE"
        case Not(Compare("=", left, right)):
            return f"{_value(left)} <> {_bound(left, right)}"
        case Not(In(held, options)):
            return f"{_value(held)} NOT IN ({', '.join(map(literal, options))})"
        case Not(IsNull(held)):
            return f"{_value(held)} IS NOT NULL"
        case Not(part):
            return f"NOT ({_condition(part)})"
        case _:
            return _test(expr)


def _test(expr: Expr) -> str:
    match expr:
        case Compare(operator, left, right):
            return f"{_value(left)} {operator} {_bound(left, right)}"
        case In(held, options):
            return f"{_value(held)} IN ({', '.join(map(literal, options))})"
        case Text(kind, held, pattern):
            return _text(kind, _value(held), pattern)
        case Within(held, network):
            return _within(_value(held), network)
        case IsNull(held):
            return f"{_value(held)} IS NULL"
        case Any(items, Compare("=", Element(), Literal(text))):
            return f"list_contains({_value(items)}, {literal(text)})"
        case Any(items, In(Element(), options)):
            return f"list_has_any({_value(items)}, [{', '.join(map(literal, options))}])"
        case Any(items, condition):
            return f"len(list_filter({_value(items)}, lambda x: {_condition(truth(condition))})) > 0"
        case _:
            return _value(expr)


def _value(expr: Expr) -> str:
    match expr:
        case Ref(path):
            return by_path(path).column
        case Literal(constant):
            return literal(constant)
        case Element():
            return "x"
        case Entry(mapping, key):
            return f"{_value(mapping)}[{literal(key)}]"
        case Json(body, steps):
            return _json(_value(body), steps)
        case JsonHas(body, steps):
            return f"coalesce(json_type({_value(body)}, {_pointer(steps)}) <> 'NULL', {_value(body)} IS NULL AND NULL)"
        case Query(url, names):
            return _query(_value(url), names)
        case UrlPath(url):
            # not split_part: DuckDB 2.0.0 fails on `split_part(c, s, 1) = 'x'` where it knows that c is all NULL
            return f"string_split({_value(url)}, '?')[1]"
        case At(items, index):
            held = _value(items)
            return f"{held}[{index or 1}]" if isinstance(items, Ref) else f"({held})[{index or 1}]"
        case Length(items):
            return f"len({_value(items)})"
        case Coalesce(options):
            return f"coalesce({', '.join(map(_value, options))})"
        case Case(branches, default):
            whens = " ".join(f"WHEN {_condition(simplify(truth(when)))} THEN {_value(then)}" for when, then in branches)
            return f"CASE {whens} ELSE {_value(default)} END"
        case And() | Or() | Not() | Known() | Compare() | In() | Text() | Within() | Any() | IsNull():
            yes, null = simplify(truth(expr)), simplify(nullness(expr))
            perhaps = "" if null == FALSE else f"WHEN {_condition(null)} THEN NULL "
            return f"CASE WHEN {_condition(yes)} THEN TRUE {perhaps}ELSE FALSE END"
        case _:
            assert_never(expr)


def _bound(left: Expr, right: Literal) -> str:
    if isinstance(left, Ref) and left.path in _TIMES and isinstance(right.value, int):
        return timestamp(right.value)
    return literal(right.value)


def _text(kind: str, held: str, pattern: str) -> str:
    if kind == "glob":
        return f"regexp_full_match({held}, {literal(_re2(pattern))})"
    function = {"prefix": "starts_with", "suffix": "ends_with", "contains": "contains"}[kind]
    return f"{function}({held}, {literal(pattern)})"


def _re2(pattern: str) -> str:
    """Give a glob as a regular expression of RE2."""
    signs: dict[values.Wild, str] = {values.Wild.ANY: ".*", values.Wild.ONE: "."}
    pieces = (
        signs[piece] if isinstance(piece, values.Wild) else re.sub(r"([!-/:-@\[-^`{-~])", r"\\\1", piece)
        for piece in values.glob_pieces(pattern)
    )
    return "(?s)" + "".join(pieces)


# --- query parameters, as event/expr_values.py::query

_BAD_ESCAPE = "%($|.$|[^0-9A-Fa-f]|.[^0-9A-Fa-f])"


def _query(url: str, names: tuple[str, ...]) -> str:
    """Give the decoded values of the pairs whose decoded name is one of these."""
    pairs = f"string_split(substr({url}, strpos({url}, '?') + 1), '&')"
    name = _decoded("split_part(p, '=', 1)")
    text = _decoded("CASE WHEN contains(p, '=') THEN substr(p, strpos(p, '=') + 1) ELSE '' END")
    wanted = f"{name} IN ({', '.join(map(literal, names))})"
    sound = f"p <> '' AND NOT contains(p, ';') AND NOT regexp_matches(p, {literal('(?s)' + _BAD_ESCAPE)})"
    found = f"list_transform(list_filter({pairs}, lambda p: {sound} AND {wanted}), lambda p: {text})"
    return f"CASE WHEN contains({url}, '?') THEN {found} WHEN {url} IS NOT NULL THEN []::VARCHAR[] END"


def _decoded(text: str) -> str:
    spaced = f"replace({text}, '+', ' ')"
    return f"coalesce(TRY(url_decode({spaced})), {spaced})"


# --- JSON, as event/expr_values.py::json_value


_SCALARS = "('VARCHAR', 'BOOLEAN', 'BIGINT', 'UBIGINT')"


def _pointer(steps: tuple[str, ...]) -> str:
    """Give steps as a JSON pointer (RFC 6901), which quotes every key."""
    return literal("".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps))


def _json(body: str, steps: tuple[str, ...]) -> str:
    if EACH not in steps:
        at = _pointer(steps)
        return f"CASE WHEN json_type({body}, {at}) IN {_SCALARS} THEN json_extract_string({body}, {at}) END"
    place = steps.index(EACH)
    outer = f"json_extract({body}, {_pointer(steps[:place])})" if place else body
    elements = f"json_extract({outer}, '$[*]')"
    inner = steps[place + 1 :]
    if EACH in inner:
        nested = f"flatten(list_transform({elements}, lambda e: {_json('e', inner)}))"
        found = f"coalesce({nested}, [])"
    else:
        text = (
            _json("e", inner) if inner else f"CASE WHEN json_type(e) IN {_SCALARS} THEN json_extract_string(e, '$') END"
        )
        found = f"list_filter(list_transform({elements}, lambda e: {text}), lambda t: t IS NOT NULL)"
    return f"CASE WHEN {body} IS NOT NULL THEN coalesce({found}, []) END"


# --- networks, as event/expr_values.py::within


def _within(held: str, network: Network) -> str:
    if network.version == 4:
        return f"regexp_full_match({held}, {literal(_ipv4_regex(int(network.network_address), network.prefixlen))})"
    whole, rest = divmod(network.prefixlen, 4)
    digits = f"{int(network.network_address):032x}"
    conditions = [f"starts_with({_hex(held)}, {literal(digits[:whole])})"]
    if rest:
        first = int(digits[whole], 16)
        nibbles = (f"{first + step:x}" for step in range(2 ** (4 - rest)))
        conditions.append(f"substr({_hex(held)}, {whole + 1}, 1) IN ({', '.join(map(literal, nibbles))})")
    return f"coalesce({' AND '.join(conditions)}, {held} IS NULL AND NULL)"


@cache
def _ipv4_regex(network: int, length: int) -> str:
    """Give the texts of the addresses of a network as a regular expression."""
    octets = []
    for place in range(4):
        fixed = min(max(length - 8 * place, 0), 8)
        first = network >> (24 - 8 * place) & 255
        if fixed == 0:
            octets.append(values.OCTET)
        elif fixed == 8:
            octets.append(str(first))
        else:
            octets.append("(?:" + "|".join(str(first + step) for step in range(2 ** (8 - fixed))) + ")")
    return values.MAPPED + r"\.".join(octets)


def _hex(held: str) -> str:
    """Give an IPv6 address as 32 hexadecimal digits; NULL if the text is none."""

    def groups(text: str) -> str:
        parts = f"list_filter(string_split({text}, ':'), lambda g: g <> '')"
        return f"array_to_string(list_transform({parts}, lambda g: lpad(lower(g), 4, '0')), '')"

    left, right = groups(f"split_part({held}, '::', 1)"), groups(f"split_part({held}, '::', 2)")
    short = f"regexp_full_match({held}, {literal(values.HEX_SHORT)}) AND length({left} || {right}) <= 28"
    return (
        f"CASE WHEN regexp_full_match({held}, {literal(values.HEX_FULL)}) THEN {groups(held)} "
        f"WHEN {short} THEN {left} || repeat('0', 32 - length({left} || {right})) || {right} END"
    )
