"""
When is an expression true, false, or NULL: each question turned into plain conditions that engines run fast.

`truth(e)`, `falsity(e)` and `nullness(e)` give an expression that is true exactly when `e` is true, false, NULL. What
they give is in *positive form*: And, Or and tests (bare or under Not), in which "not true" may be false or NULL alike.
So an engine needs no three-valued logic, and a WHERE clause reads as one would write it by hand.

`Not(Known(test, FALSE))` says "not true" there, for false or NULL.

`simplify` folds what is certain: from facts handed in (the dialect is kube-apiserver), and from the neighbours in an
And (a request whose verb is delete is no create, so a name that only creates lack cannot be unknown).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from kubewitness.event.expr import (
    FALSE,
    TRUE,
    And,
    Any,
    At,
    Case,
    Coalesce,
    Compare,
    Entry,
    Expr,
    In,
    IsNull,
    Json,
    JsonHas,
    Known,
    Length,
    Literal,
    Not,
    Or,
    Query,
    Ref,
    Text,
    UrlPath,
    Within,
)
from kubewitness.event.expr_evaluate import test_value

Test: TypeAlias = Compare | In | Text | Within
Fact: TypeAlias = frozenset[str | int | bool] | None
Facts: TypeAlias = Mapping[str, Fact]
"""What a field is certain to be: one of these values, or None: absent."""

NO_FACTS: Facts = {}


def truth(expr: Expr) -> Expr:
    """Give a condition that is true exactly when `expr` is true."""
    match expr:
        case And(parts):
            return conjunction(map(truth, parts))
        case Or(parts):
            return disjunction(map(truth, parts))
        case Not(part):
            return falsity(part)
        case Known(test, _):
            return truth(test)
        case Case():
            return disjunction(conjunction((when, truth(then))) for when, then in _cases(expr))
        case Compare() | In() | Text() | Within():
            return _distribute(expr, lambda test: test)
        case IsNull(value):
            return _is_null(value)
        case Any(items, condition):
            return Any(items, truth(condition))
        case Literal(value):
            return TRUE if value is True else FALSE
        case _:
            return expr


def falsity(expr: Expr) -> Expr:
    """Give a condition that is true exactly when `expr` is false."""
    match expr:
        case And(parts):
            return disjunction(map(falsity, parts))
        case Or(parts):
            return conjunction(map(falsity, parts))
        case Not(part):
            return truth(part)
        case Known(test, unrecordable) if unrecordable == FALSE:
            return not_true(test)
        case Known(test, unrecordable):
            return disjunction((falsity(test), conjunction((nullness(test), not_true(unrecordable)))))
        case Case():
            return disjunction(conjunction((when, falsity(then))) for when, then in _cases(expr))
        case Compare() | In() | Text() | Within():
            return _distribute(expr, Not)
        case IsNull(value):
            return _is_held(value)
        case Any(items, condition):
            return Not(Any(items, truth(condition)))
        case Literal(value):
            return TRUE if value is False else FALSE
        case _:
            return Not(expr)


def nullness(expr: Expr) -> Expr:
    """Give a condition that is true exactly when `expr`, a condition, is NULL."""
    match expr:
        case And(parts):
            return conjunction((*map(_not_false, parts), disjunction(map(nullness, parts))))
        case Or(parts):
            return conjunction((*map(not_true, parts), disjunction(map(nullness, parts))))
        case Not(part):
            return nullness(part)
        case Known(test, unrecordable):
            return conjunction((nullness(test), truth(unrecordable)))
        case Compare():
            return disjunction((_is_null(expr.left), _is_null(expr.right)))
        case In() | Text() | Within():
            return _is_null(expr.value)
        case Any(items, _):
            return _is_null(items)
        case JsonHas(body, _):
            return IsNull(body)
        case IsNull():
            return FALSE
        case _:
            return _is_null(expr)


def not_true(expr: Expr) -> Expr:
    """Give a condition that is true exactly when `expr` is false or NULL."""
    return _untrue(truth(expr))


def _untrue(positive: Expr) -> Expr:
    match positive:
        case And(parts):
            return disjunction(map(_untrue, parts))
        case Or(parts):
            return conjunction(map(_untrue, parts))
        case Literal(value):
            return FALSE if value is True else TRUE
        case IsNull() | Not(IsNull()):
            return falsity(positive)
        case Not(Known(test, _)):
            return test
        case _:
            return Not(Known(positive, FALSE))


def _not_false(expr: Expr) -> Expr:
    return disjunction((truth(expr), nullness(expr)))


def _cases(case: Case) -> Iterable[tuple[Expr, Expr]]:
    """Give each value of a Case with the whole condition under which it is the value."""
    earlier: list[Expr] = []
    for when, then in case.branches:
        yield conjunction((truth(when), *earlier)), then
        earlier.append(not_true(when))
    yield conjunction(earlier), case.default


def _distribute(test: Test, turn: Callable[[Expr], Expr]) -> Expr:
    """Ask the test of each value that a Case or Coalesce can have."""
    value = test.left if isinstance(test, Compare) else test.value
    match value:
        case Case():
            return disjunction(conjunction((when, _distribute(_ask(test, then), turn))) for when, then in _cases(value))
        case Coalesce(options):
            return disjunction(
                conjunction((*map(_is_null, options[:place]), _distribute(_ask(test, option), turn)))
                for place, option in enumerate(options)
            )
        case Literal(constant):
            found = test_value(test, constant)
            return FALSE if found is None else truth(turn(Literal(found)))
        case _:
            return turn(test)


def _ask(test: Test, value: Expr) -> Test:
    match test:
        case Compare(operator, _, right):
            return Compare(operator, value, right)
        case In(_, options):
            return In(value, options)
        case Text(kind, _, pattern):
            return Text(kind, value, pattern)
        case Within(_, network):
            return Within(value, network)


def _is_null(value: Expr) -> Expr:
    match value:
        case Literal(constant):
            return TRUE if constant is None else FALSE
        case Case():
            return disjunction(conjunction((when, _is_null(then))) for when, then in _cases(value))
        case Coalesce(options):
            return conjunction(map(_is_null, options))
        case _:
            return IsNull(value)


def _is_held(value: Expr) -> Expr:
    match value:
        case Literal(constant):
            return FALSE if constant is None else TRUE
        case Case():
            return disjunction(conjunction((when, _is_held(then))) for when, then in _cases(value))
        case Coalesce(options):
            return disjunction(map(_is_held, options))
        case _:
            return Not(IsNull(value))


def conjunction(parts: Iterable[Expr]) -> Expr:
    """Give the And of conditions in positive form, flat, each once; FALSE where one of them is."""
    flat: dict[Expr, None] = {}
    for part in parts:
        for one in part.parts if isinstance(part, And) else (part,):
            if one == FALSE:
                return FALSE
            if one != TRUE:
                flat[one] = None
    return TRUE if not flat else next(iter(flat)) if len(flat) == 1 else And(tuple(flat))


def disjunction(parts: Iterable[Expr]) -> Expr:
    """Give the Or of conditions in positive form, flat, each once; TRUE where one of them is."""
    flat: dict[Expr, None] = {}
    for part in parts:
        for one in part.parts if isinstance(part, Or) else (part,):
            if one == TRUE:
                return TRUE
            if one != FALSE:
                flat[one] = None
    return FALSE if not flat else next(iter(flat)) if len(flat) == 1 else Or(tuple(flat))


def simplify(expr: Expr, facts: Facts = NO_FACTS) -> Expr:
    """Fold a condition in positive form by what is certain."""
    match expr:
        case And(parts):
            simpler = _simplify_and(parts, facts)
            return simpler if simpler == expr else simplify(simpler, facts)
        case Or(parts):
            return disjunction(simplify(part, facts) for part in parts)
        case Not(Known(test, _)):
            return _untrue(simplify(test, facts))
        case Not(Compare() | In() | Text() | Within() as test):
            return _settle(test, facts, Not)
        case Compare() | In() | Text() | Within():
            return _settle(expr, facts, _same)
        case IsNull(value):
            return _settle_null(value, facts, expr, TRUE, FALSE)
        case Not(IsNull(value)):
            return _settle_null(value, facts, expr, FALSE, TRUE)
        case Any(value, _) | Not(Any(value, _)) | JsonHas(value, _) | Not(JsonHas(value, _)):
            return _settle_null(value, facts, expr, FALSE, expr)
        case _:
            return expr


def _same(test: Expr) -> Expr:
    return test


def _simplify_and(parts: tuple[Expr, ...], facts: Facts) -> Expr:
    """Simplify each part by what the others make certain. One after the other, so that no two excuse each other."""
    held = list(parts)
    for place, part in enumerate(parts):
        known = dict(facts)
        for other in (*held[:place], *held[place + 1 :]):
            for path, fact in _facts_of(other).items():
                known[path] = _both(known[path], fact) if path in known else fact
        if frozenset() in known.values():
            return FALSE
        held[place] = simplify(part, known)
    return conjunction(held)


def _facts_of(part: Expr) -> Facts:
    match part:
        case Compare("=", Ref(path), Literal(value)) if value is not None:
            return {path: frozenset((value,))}
        case In(Ref(path), options):
            return {path: frozenset(options)}
        case IsNull(Ref(path)):
            return {path: None}
        case And(parts):
            return {path: fact for one in parts for path, fact in _facts_of(one).items()}
        case _:
            return NO_FACTS


def _both(one: Fact, other: Fact) -> Fact:
    if one is None and other is None:
        return None
    return frozenset() if one is None or other is None else one & other


def _settle(test: Test, facts: Facts, turn: Callable[[Expr], Expr]) -> Expr:
    value = test.left if isinstance(test, Compare) else test.value
    if _is_certainly_null(value, facts):
        return FALSE
    fact = facts.get(value.path) if isinstance(value, Ref) else None
    if fact is None:
        return turn(test)
    answers = {test_value(test, possible) for possible in fact}
    if len(answers) == 1:
        return truth(turn(Literal(answers.pop())))
    if isinstance(test, In):
        test = In(value, tuple(option for option in test.options if option in fact))  # type: ignore[arg-type]  # of one kind
    return turn(test)


def _settle_null(value: Expr, facts: Facts, unsettled: Expr, if_null: Expr, if_held: Expr) -> Expr:
    if _is_certainly_null(value, facts):
        return if_null
    return if_held if isinstance(value, Ref) and value.path in facts else unsettled


def _is_certainly_null(value: Expr, facts: Facts) -> bool:
    match value:
        case Ref(path):
            return path in facts and facts[path] is None
        case Entry(inner, _) | Json(inner, _) | Query(inner, _) | UrlPath(inner) | At(inner, _) | Length(inner):
            return _is_certainly_null(inner, facts)
        case _:
            return False
