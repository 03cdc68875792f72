"""Expressions as generated Python functions."""

import pytest
from hypothesis import given, settings

from kubewitness.event import filter as filters
from kubewitness.event.derive import DERIVED, expand
from kubewitness.event.expr import Expr, Ref, equals
from kubewitness.event.expr_evaluate import evaluate
from kubewitness.event.expr_values import RAW, Context
from kubewitness.event.types import Event
from kubewitness.look.query import generate, syntax
from tests.model import filter_events as made
from tests.model import filter_questions as asked


@settings(max_examples=150, deadline=None)
@given(happened=made.events, context=made.contexts, filter_=asked.filters)
def test_filters_agree(happened: Event, context: Context, filter_: Expr) -> None:
    """A generated filter answers as the plain evaluation does."""
    assert generate.function(filter_)(happened, context) is filters.evaluate(filter_, happened, context)


@settings(max_examples=100, deadline=None)
@given(happened=made.events, context=made.contexts, question=asked.questions)
def test_values_agree(happened: Event, context: Context, question: Expr) -> None:
    """A generated value is what the plain evaluation gives, NULL included."""
    assert generate.value_function(question)(happened, context) == evaluate(expand(question), happened, context)


@settings(max_examples=100, deadline=None)
@given(happened=made.events, filter_=asked.filters)
def test_facts_change_no_answer(happened: Event, filter_: Expr) -> None:
    """What is known of a plain log only shortens the function."""
    assert generate.function(filter_, filters.PLAIN)(happened, RAW) is filters.evaluate(filter_, happened)


@pytest.mark.parametrize("log", ["full", "security", "metadata"])
def test_derived_fields_agree_on_recorded_logs(log: str) -> None:
    """Every derived field has the same value, generated and plain, on each recorded Event."""
    functions = {path: (generate.value_function(Ref(path)), expand(Ref(path))) for path in DERIVED}
    for happened in made.recorded(log):
        for path, (function, definition) in functions.items():
            assert function(happened, RAW) == evaluate(definition, happened), path


@pytest.mark.parametrize("text", ['"""', "'\\", "__import__('os')", "{0}", "\n", "k1"])
def test_nothing_typed_becomes_program(text: str) -> None:
    """Constants are bound by name: the text of the program does not hold what a user typed."""
    filter_ = filters.test(equals(Ref("user.username"), text))
    assert text not in generate.source(filter_) or text == "k1"
    wire = made.DECODE(b'{"stage":"Panic","user":{"username":"x"}}')
    assert generate.function(filter_)(wire, RAW) is False


def test_the_program_is_short() -> None:
    """The usual question is one line of comparisons, cheap ones first."""
    filter_ = syntax.filter_of({"user": ["dev*"], "verb": ["get"], "resource": ["secrets"]})
    assert generate.source(filter_, filters.PLAIN) == (
        "((event.verb == k8) and "
        "((s_object_ref.resource if s_object_ref is not None else None) == k9) and "
        "((t1 := (s_user.username if s_user is not None else None)) is not None and t1.startswith(k10)))"
    )
