"""Random policies over a small vocabulary, and the pools that hold every request of it."""

import functools

from hypothesis import strategies as st

from kubewitness.event.types import Level, Stage
from kubewitness.policy.prove.universe import Universe
from kubewitness.policy.types import GroupResources, Policy, PolicyRule
from tests.model import regions as model

VOCABULARY = {Universe.POSSIBLE: model.POSSIBLE, Universe.ANY: model.ANY}

levels = st.sampled_from([Level.NONE, Level.METADATA, Level.REQUEST])
stages = st.lists(st.sampled_from([Stage.REQUEST_RECEIVED, Stage.RESPONSE_STARTED]), max_size=1).map(tuple)


@functools.cache
def pool(universe: Universe) -> model.Pool:
    return model.make_pool(VOCABULARY[universe], only_possible=universe is Universe.POSSIBLE)


def _some(values: tuple[str, ...], most: int = 3) -> st.SearchStrategy[tuple[str, ...]]:
    return st.just(()) | st.lists(st.sampled_from(values), min_size=1, max_size=most, unique=True).map(tuple)


@st.composite
def rules(draw: st.DrawFn, vocabulary: model.Vocabulary) -> PolicyRule:
    kind = draw(st.integers(0, 3))
    resources: tuple[GroupResources, ...] = ()
    namespaces: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    if kind == 0:
        urls = draw(_some(vocabulary.urls))
    elif kind > 1:
        namespaces = draw(_some(vocabulary.namespaces, 2))
        resources = tuple(draw(st.lists(entries(vocabulary), min_size=1, max_size=2)))
    return PolicyRule(
        draw(levels),
        users=draw(_some(vocabulary.users, 2)) if draw(st.booleans()) else (),
        user_groups=draw(_some(vocabulary.groups, 2)) if draw(st.booleans()) else (),
        verbs=draw(_some(vocabulary.verbs)),
        resources=resources,
        namespaces=namespaces,
        non_resource_urls=urls,
        omit_stages=draw(stages),
        omit_managed_fields=draw(st.sampled_from([None, None, True, False])),
    )


@st.composite
def entries(draw: st.DrawFn, vocabulary: model.Vocabulary) -> GroupResources:
    patterns = draw(_some(vocabulary.patterns))
    names = draw(_some(vocabulary.names, 2)) if patterns and draw(st.booleans()) else ()
    return GroupResources(draw(st.sampled_from(vocabulary.api_groups)), patterns, names)


@st.composite
def policies(draw: st.DrawFn, universe: Universe, most: int = 5) -> Policy:
    found = draw(st.lists(rules(VOCABULARY[universe]), min_size=1, max_size=most))
    return Policy(tuple(found), draw(stages), draw(st.booleans()))
