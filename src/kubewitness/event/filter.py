"""
The filter: what is asked of Events, with three answers: true, false, unknown.

    from kubewitness.event.filter import evaluate, test, why_unknown

    filter_ = And((test(equals(Ref("verb"), "create")), test(equals(Json(Ref("requestObject"), ("kind",)), "Pod"))))
    evaluate(filter_, event)       # True, False, or None: unknown
    why_unknown(filter_, event)    # ("requestObject: recorded at Metadata",)
    columns(filter_)               # the columns that the question reads
    needles(filter_)               # what every line with another answer than false contains

A filter is an expression whose leaves are tests. A test about an absent value is false, unless the Event could not have
held it: then it is unknown. And, Or and Not of unknown are Kleene's. Fields may be derived ones.
The SQL form is look/query/sql.py (`where`, `unknown`, `answer`), the fast Python form look/query/generate.py.
"""

import re
from collections.abc import Iterable, Iterator

import msgspec

from kubewitness.event import expr_evaluate
from kubewitness.event import expr_values as values
from kubewitness.event.derive import expand
from kubewitness.event.expr import (
    FALSE,
    NULL,
    And,
    Any,
    At,
    Case,
    Compare,
    Element,
    Entry,
    Expr,
    In,
    IsNull,
    Known,
    Literal,
    Or,
    Ref,
    Text,
    children,
    paths,
)
from kubewitness.event.expr_logic import NO_FACTS, Facts, conjunction, disjunction, nullness, simplify, truth
from kubewitness.event.expr_values import RAW, Context
from kubewitness.event.fields import FIELDS, FieldType, by_path
from kubewitness.event.recordable import derivation_unknown, unrecordable, why
from kubewitness.event.types import Event

PLAIN: Facts = {"dialect": frozenset({"kube-apiserver"}), "redacted": None}
"""What is certain of a log as kube-apiserver wrote it."""


def test(question: Expr) -> Known:
    """Make a filter of a question about values: false on what is absent, unknown on what could not be there."""
    atoms = tuple(dict.fromkeys(_atoms(question)))
    lacking = disjunction(derivation_unknown(atom.path) for atom in atoms if isinstance(atom, Ref))
    asked = question if lacking == FALSE else Case(((lacking, NULL),), question)
    absent = disjunction(
        unrecordable(*_place(atom))
        if _is_about(question, atom)
        else conjunction((IsNull(atom), unrecordable(*_place(atom))))
        for atom in atoms
    )
    return Known(asked, disjunction((lacking, absent)))


def evaluate(filter_: Expr, event: Event, context: Context = RAW) -> bool | None:
    """Give the answer for one Event: True, False, or None for unknown."""
    answer = expr_evaluate.evaluate(expand(filter_), event, context)
    return None if answer is None else answer is True


def why_unknown(filter_: Expr, event: Event, context: Context = RAW) -> tuple[str, ...]:
    """Say which fields the Event could not hold, and why; empty if the answer is known."""
    if evaluate(filter_, event, context) is not None:
        return ()
    found: dict[str, None] = {}
    for known in _tests(filter_):
        if evaluate(known, event, context) is None:
            for atom in _atoms(known.test):
                path, key = _place(atom)
                is_out = Or((derivation_unknown(path), IsNull(atom)))
                words = why(path, event, context, key) if evaluate(is_out, event, context) else None
                if words is not None:
                    found[f"{path}[{key}]: {words}" if key else f"{path}: {words}"] = None
    return tuple(found)


def columns(filter_: Expr, facts: Facts = NO_FACTS) -> frozenset[str]:
    """Give the columns that the filter reads, derived ones taken apart, for its answer and for whether it is known."""
    read: frozenset[str] = frozenset()
    for condition in (truth(expand(filter_)), nullness(expand(filter_))):
        read |= paths(simplify(condition, facts))
    return frozenset(by_path(path).column for path in read)


def can_be_unknown(filter_: Expr, facts: Facts = NO_FACTS) -> bool:
    """Say whether there are Events for which the answer is unknown."""
    return simplify(nullness(expand(filter_)), facts) != FALSE


def _tests(filter_: Expr) -> Iterator[Known]:
    if isinstance(filter_, Known):
        yield filter_
    else:
        for part in children(filter_):
            yield from _tests(part)


def _atoms(question: Expr) -> Iterator[Ref | Entry]:
    """Give what can be absent: fields, and single keys of the annotations."""
    match question:
        case Entry(Ref("annotations"), _) | Ref():
            yield question
        case _:
            for part in children(question):
                yield from _atoms(part)


def _place(atom: Ref | Entry) -> tuple[str, str | None]:
    return (atom.map.path, atom.key) if isinstance(atom, Entry) else (atom.path, None)


def _is_about(question: Expr, atom: Ref | Entry) -> bool:
    """Say whether the question is NULL exactly where the atom is."""
    match question:
        case Compare(left=value) | In(value=value) | Text(value=value) | Any(list=value):
            return value == atom
        case _:
            return False


# --- needles: what a line must contain


Needles = tuple[frozenset[bytes], ...]
"""Of each set, the line contains at least one."""


def needles(filter_: Expr, facts: Facts = PLAIN, *, with_unknown: bool = True) -> Needles:
    r"""Give what every line contains for which the filter is true (or unknown); empty if nothing is certain.

    Sound for Events one to a line whose strings are escaped as Go does or as little as JSON allows: not where a line
    escapes printable characters otherwise (`\u0061`), nor where the Event is a string inside an envelope. Bodies are
    not looked at, because a raw patch keeps the escapes of its client.
    """
    expanded = expand(filter_)
    wanted = truth(expanded)
    if with_unknown:
        wanted = disjunction((wanted, nullness(expanded)))
    return _needles(simplify(wanted, facts))


def _needles(condition: Expr) -> Needles:
    match condition:
        case And(parts):
            return tuple(dict.fromkeys(needle for part in parts for needle in _needles(part)))
        case Or(parts):
            return _either(map(_needles, parts))
        case Compare("=", value, Literal(text)) if _is_text(value) and isinstance(text, str):
            return _needle(value, '"', (text,), '"')
        case In(value, options) if _is_text(value):
            return _needle(value, '"', tuple(map(str, options)), '"')
        case Text("prefix", value, text) if _is_text(value):
            return _needle(value, '"', (text,), "")
        case Text("suffix", value, text) if _is_text(value):
            return _needle(value, "", (text,), '"')
        case Text(_, value, pattern) if _is_text(value):
            texts = (piece for piece in values.glob_pieces(pattern) if isinstance(piece, str))
            return tuple(needle for text in texts for needle in _needle(value, "", (text,), ""))
        case Any(Ref() | Entry(), inner):
            return _needles(inner)
        case _:
            return ()


def _either(choices: Iterable[Needles]) -> Needles:
    """Of several conditions one holds: the best needle of each, together."""
    found: list[frozenset[bytes]] = []
    for choice in choices:
        if not choice:
            return ()
        found.append(max(choice, key=lambda needle: min(map(len, needle))))
    return (frozenset().union(*found),) if found else ()


def _is_text(value: Expr) -> bool:
    """Say whether the value stands in the line as a JSON string of its own."""
    match value:
        case Ref(path):
            return path in _TEXTS
        case At(items, _):
            return _is_text(items)
        case Element() | Entry():
            return True
        case _:
            return False


_TEXTS = {
    field.path for field in FIELDS if field.type in {FieldType.STRING, FieldType.STRINGS} and not field.is_derived
}


def _key(value: Expr) -> Needles:
    match value:
        case At(items, _):
            return _key(items)
        case Entry(_, key):
            return _needle(Element(), '"', (key,), '"')
        case _:
            return ()


_GO_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
# Spelled in more ways than two: \b and \f differ between versions of Go, others write \u0009 for \t, and U+FFFD may
# stand for bytes that are not UTF-8.
_MANY_SPELLINGS = re.compile("[\x00-\x1f\x7f\ufffd]")


def _needle(value: Expr, before: str, texts: tuple[str, ...], after: str) -> Needles:
    """Give the texts as they stand in JSON: as Go writes them, and with the fewest escapes."""
    if any(_MANY_SPELLINGS.search(text) for text in texts):
        return _key(value)
    found = set()
    for text in texts:
        plain = msgspec.json.encode(text).decode()[1:-1]
        as_go = "".join(_GO_ESCAPES.get(sign, sign) for sign in plain)
        found |= {(before + spelled + after).encode() for spelled in (plain, as_go)}
    return (*((frozenset(found),) if all(found) else ()), *_key(value))
