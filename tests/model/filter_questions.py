"""Made-up questions and filters over every field of the table."""

import ipaddress

from hypothesis import strategies as st

from kubewitness.event.derive import DERIVED
from kubewitness.event.expr import (
    EACH,
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
    Length,
    Literal,
    Not,
    Or,
    Query,
    Ref,
    Text,
    UrlPath,
    Within,
    glob,
)
from kubewitness.event.expr_values import micros
from kubewitness.event.fields import FIELDS, FieldType
from kubewitness.event.filter import test as ask
from tests.model import filter_events as made

BY_TYPE = {kind: [Ref(field.path) for field in FIELDS if field.type is kind] for kind in FieldType}
USUAL = {
    "verb": made.VERBS,
    "stage": made.STAGES,
    "level": made.LEVELS,
    "objectRef.resource": made.RESOURCES,
    "objectRef.subresource": made.SUBRESOURCES,
    "objectRef.name": made.NAMES,
    "object.name": made.NAMES,
    "user.username": made.USERS,
    "action": ("exec", "token", "bind", "get", "create", "other", "impersonate", "review"),
    "actor.kind": ("human", "node", "controller", "unauthenticated", "serviceaccount"),
    "outcome": ("allowed", "denied", "failed"),
    "dialect": ("kube-apiserver", "gke"),
}
steps = st.lists(st.sampled_from((*made.KEYS, EACH)), min_size=1, max_size=3).map(tuple)
bodies = st.sampled_from(BY_TYPE[FieldType.JSON])
json_texts = st.builds(Json, bodies, steps.filter(lambda path: EACH not in path))
json_lists = st.builds(Json, bodies, steps.filter(lambda path: EACH in path))
entries = st.builds(Entry, st.just(Ref("annotations")), made.one_of((*made.ANNOTATIONS, "apiserver.k8s.io/startup")))
extras = st.builds(
    Entry,
    st.sampled_from(BY_TYPE[FieldType.LISTS]),
    st.sampled_from(("authentication.kubernetes.io/credential-id", "k", "absent")),
)
queries = st.builds(
    Query,
    st.just(Ref("requestURI")),
    st.lists(st.sampled_from(("command", "cmd", "dryRun", "a b", "")), min_size=1, max_size=2).map(tuple),
)
lists = st.sampled_from(BY_TYPE[FieldType.STRINGS]) | json_lists | extras | queries
networks = st.sampled_from(
    tuple(
        ipaddress.ip_network(text)
        for text in ("10.0.0.0/8", "10.0.0.1/32", "0.0.0.0/0", "192.168.128.0/17", "::/0", "2001:db8::/33", "fe80::/10")
    )
)
globs = st.text(st.sampled_from("ab*?\\'x:\né"), max_size=5) | st.sampled_from(
    ("system:*", "*-controller", "*e*", "we\\*b", "?lice", "", "*", "(a|b)[c]{1}^$.+")
)


def about_text(value: Expr, options: st.SearchStrategy[str]) -> st.SearchStrategy[Expr]:
    """Questions about a text."""
    return st.one_of(
        options.map(lambda text: Compare("=", value, Literal(text))),
        st.lists(options, min_size=1, max_size=3).map(lambda texts: In(value, tuple(texts))),
        globs.map(lambda pattern: glob(value, pattern)),
        globs.map(lambda pattern: Text("glob", value, pattern)),
        st.builds(Text, st.sampled_from(("prefix", "suffix", "contains")), st.just(value), options),
        networks.map(lambda network: Within(value, network)),
    )


def text_question(value: Expr) -> st.SearchStrategy[Expr]:
    """Questions about a text, with the values that it usually has."""
    usual = USUAL.get(value.path, ()) if isinstance(value, Ref) else ("true", "web", "All", "x")
    return about_text(value, st.sampled_from(usual) | made.text if usual else made.text)


elements = st.recursive(
    about_text(Element(), made.one_of(("system:masters", "sh", "10.0.0.1", "All"))),
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, max_size=2).map(lambda parts: And(tuple(parts))),
        st.lists(inner, max_size=2).map(lambda parts: Or(tuple(parts))),
    ),
    max_leaves=3,
)
operators = st.sampled_from(("=", "<", "<=", ">", ">="))
codes = st.sampled_from((101, 200, 400, 403, 404, 500))
moments = st.sampled_from(tuple(micros(text) for text in made.TIMES))
texts = (
    st.sampled_from(BY_TYPE[FieldType.STRING])
    | json_texts
    | entries
    | st.builds(UrlPath, st.just(Ref("requestURI")))
    | st.builds(At, lists, st.sampled_from((0, -1)))
    | st.builds(Coalesce, st.tuples(json_texts, st.sampled_from(BY_TYPE[FieldType.STRING])))
)
values = texts | lists | bodies | st.sampled_from(BY_TYPE[FieldType.TIME]) | st.just(Ref("responseStatus.code"))
simple = st.one_of(
    texts.flatmap(text_question),
    st.builds(Compare, operators, st.just(Ref("responseStatus.code")), codes.map(Literal)),
    st.builds(In, st.just(Ref("responseStatus.code")), st.lists(codes, min_size=1, max_size=3).map(tuple)),
    st.builds(Compare, operators, st.sampled_from(BY_TYPE[FieldType.TIME]), moments.map(Literal)),
    st.builds(Compare, operators, st.builds(Length, lists), st.integers(0, 3).map(Literal)),
    st.builds(
        Compare,
        st.just("="),
        st.sampled_from(BY_TYPE[FieldType.BOOLEAN]),
        st.sampled_from((Literal(True), Literal(False))),
    ),
    st.builds(Any, lists, elements),
    st.builds(JsonHas, bodies, steps.filter(lambda path: EACH not in path)),
    st.builds(IsNull, values),
)
questions = st.recursive(
    simple,
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, max_size=3).map(lambda parts: And(tuple(parts))),
        st.lists(inner, max_size=3).map(lambda parts: Or(tuple(parts))),
        st.tuples(inner, inner, inner).map(lambda three: Case(((three[0], three[1]),), three[2])),
    ),
    max_leaves=3,
)
filters = st.recursive(
    questions.map(ask),
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, max_size=3).map(lambda parts: And(tuple(parts))),
        st.lists(inner, max_size=3).map(lambda parts: Or(tuple(parts))),
    ),
    max_leaves=5,
)
derived = st.sampled_from(tuple(DERIVED))
