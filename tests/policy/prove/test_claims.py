"""Claims: what they mean, what the named ones say of known policies, and proofs exact against every request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubewitness.event.types import Level, Stage
from kubewitness.policy.load import load
from kubewitness.policy.prove.claims import LIBRARY, Claim, ClaimError, parse_claims, prove
from kubewitness.policy.prove.describe import request_text
from kubewitness.policy.prove.universe import Universe
from kubewitness.policy.types import GroupResources, Policy, PolicyRule
from tests.model import regions as model
from tests.policy.prove.strategies import VOCABULARY, levels, policies, pool, rules
from tests.policy.prove.test_diff import QUICK, SOAK

ALL = tuple(Level)


def _claim(text: str) -> Claim:
    (claim,) = parse_claims(text)
    return claim


@st.composite
def claims(draw: st.DrawFn, universe: Universe) -> Claim:
    vocabulary = VOCABULARY[universe]
    lowest, highest = sorted([draw(levels), draw(levels)])
    return Claim(
        "drawn",
        lowest,
        highest,
        draw(st.sampled_from([None, Level.METADATA])),
        draw(st.sampled_from([(), (Stage.REQUEST_RECEIVED,), (Stage.RESPONSE_STARTED, Stage.RESPONSE_COMPLETE)])),
        tuple(draw(st.lists(rules(vocabulary), min_size=1, max_size=2))),
        tuple(draw(st.lists(rules(vocabulary), max_size=1))),
    )


def check_claim(policy: Policy, claim: Claim, universe: Universe) -> None:
    requests = pool(universe)
    scope = 0
    for rule in claim.scope:
        scope |= requests.matching(rule)
    for rule in claim.exceptions:
        scope &= ~requests.matching(rule)
    expected = {
        index
        for index, taken in requests.decided(policy)
        if taken & scope and not _keeps(claim, model.outcome(policy, index))
    }
    answer = prove(policy, claim, universe)
    assert {breach.decision.rule_index for breach in answer.breaches} == expected
    assert answer.is_proved == (not expected)
    for breach in answer.breaches:
        assert model.decide(policy, breach.example) == breach.decision.rule_index
        assert any(model.matches(rule, breach.example) for rule in claim.scope)
        assert not any(model.matches(rule, breach.example) for rule in claim.exceptions)
        assert universe is Universe.ANY or model.is_possible(breach.example)


def _keeps(claim: Claim, outcome: model.Outcome) -> bool:
    written = [stage for stage in claim.stages or Stage if stage not in outcome.omit_stages]
    silent = len(written) < len(claim.stages) if claim.stages else not written
    levels_seen = {outcome.level} if written else set()
    levels_seen |= {Level.NONE} if silent else set()
    return all(claim.lowest <= level <= claim.highest and level != claim.forbidden for level in levels_seen)


@pytest.mark.parametrize("universe", Universe)
@given(data=st.data())
@QUICK
def test_proofs_are_exact(universe: Universe, data: st.DataObject) -> None:
    """A claim is proved exactly when no request of the universe breaks it; every rule that does is named."""
    check_claim(data.draw(policies(universe)), data.draw(claims(universe)), universe)


@pytest.mark.soak
@pytest.mark.parametrize("universe", Universe)
@given(data=st.data())
@SOAK
def test_proofs_are_exact_at_length(universe: Universe, data: st.DataObject) -> None:
    """The same over 10,000 policies in each universe."""
    check_claim(data.draw(policies(universe, 8)), data.draw(claims(universe)), universe)


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("secrets never above Metadata", PolicyRule(Level.NONE, resources=(GroupResources("", ("secrets",)),))),
        (
            "ingresses.networking.k8s.io/status always Request when namespace in a,b and verb in get",
            PolicyRule(
                Level.NONE,
                verbs=("get",),
                namespaces=("a", "b"),
                resources=(GroupResources("networking.k8s.io", ("ingresses/status",)),),
            ),
        ),
        ("/healthz* never None", PolicyRule(Level.NONE, non_resource_urls=("/healthz*",))),
        ("* never None when verb in delete", PolicyRule(Level.NONE, verbs=("delete",))),
        (
            '* never None when name in ""',
            PolicyRule(Level.NONE, resources=(GroupResources("*", ("*",), ("",)),)),
        ),
    ],
)
def test_a_scope_is_a_rule(text: str, scope: PolicyRule) -> None:
    """What a claim is about is matched as a rule matches."""
    assert _claim(text).scope == (scope,)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("* never above Metadata", ALL[:2]),
        ("* always at least Request", ALL[2:]),
        ("* always Metadata", ALL[1:2]),
        ("* never Metadata", (ALL[0], *ALL[2:])),
    ],
)
def test_a_bound_allows_levels(text: str, kept: tuple[Level, ...]) -> None:
    """The four bounds, each with the levels that keep it."""
    claim = _claim(text)
    verdicts = {level: prove(Policy((PolicyRule(level),)), claim).is_proved for level in ALL}
    assert tuple(level for level, is_proved in verdicts.items() if is_proved) == kept


def test_an_omitted_stage_records_nothing() -> None:
    """A lower bound at a stage fails where that stage is omitted; without `at` only omitting all four does."""
    policy = Policy((PolicyRule(Level.REQUEST),), omit_stages=(Stage.RESPONSE_STARTED,))
    assert not prove(policy, _claim("* always at least Metadata at ResponseStarted")).is_proved
    assert prove(policy, _claim("* always at least Metadata at ResponseComplete")).is_proved
    assert prove(policy, _claim("* never above None at ResponseStarted")).is_proved
    assert prove(policy, _claim("* always at least Metadata")).is_proved
    silent = Policy((PolicyRule(Level.REQUEST),), omit_stages=tuple(Stage))
    assert not prove(silent, _claim("* always at least Metadata")).is_proved


def test_exceptions_are_left_out() -> None:
    """`unless` takes requests out of the scope, each clause on its own."""
    policy = Policy((PolicyRule(Level.NONE, users=("a", "b")), PolicyRule(Level.METADATA)))
    assert not prove(policy, _claim("* never None unless user in a")).is_proved
    assert prove(
        policy, _claim("* never None unless user in a unless user in b and verb in get unless user in b")
    ).is_proved


def _load(text: str) -> Policy:
    return load(text)


SECURITY = """
apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- {level: None, users: ["system:kube-scheduler"], verbs: [get]}
- {level: RequestResponse, resources: [{group: authentication.k8s.io, resources: [tokenreviews]}]}
- {level: Metadata, resources: [{resources: [secrets]}]}
- {level: RequestResponse, resources: [{resources: [pods/exec]}], omitStages: [ResponseStarted]}
- {level: Metadata}
"""


@pytest.mark.parametrize(
    ("name", "counterexamples"),
    [
        (
            "no-secret-bodies",
            ["create tokenreviews.authentication.k8s.io by someone (system:authenticated)"],
        ),
        (
            "exec-visible",
            [
                "get pods/exec x in namespace default by system:kube-scheduler (system:authenticated)",
                "get pods/exec x in namespace default by someone (system:authenticated)",
            ],
        ),
    ],
)
def test_named_claims_find_the_breach(name: str, counterexamples: list[str]) -> None:
    """Named claims give the smallest request that breaks each."""
    policy = _load(SECURITY)
    breaches = [b for claim in parse_claims(name) for b in prove(policy, claim).breaches]
    found = [request_text(breach.example) for breach in breaches]
    assert sorted(found) == sorted(counterexamples)


def test_every_named_claim_reads() -> None:
    """The library holds claims of the documented form, and a policy that records all in full breaks what it must."""
    everything = Policy((PolicyRule(Level.REQUEST_RESPONSE),))
    broken = {name for name in LIBRARY for claim in parse_claims(name) if not prove(everything, claim).is_proved}
    assert broken == {"cis-3.2.2", "no-secret-bodies"}
    nothing = Policy((PolicyRule(Level.NONE),))
    kept = {name for name in LIBRARY if all(prove(nothing, claim).is_proved for claim in parse_claims(name))}
    assert kept == {"no-secret-bodies"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no-secret-body", "did you mean 'no-secret-bodies'?"),
        ("nonsense", "named claims: cis-3.2.2"),
        ("", "has no bound"),
        ("secrets are fine", "has no bound"),
        ("secrets never above metadata", "'metadata' is no level; write one of None, Metadata"),
        ("secrets never above Metadata at Started", "'Started' is no stage"),
        ("secrets never above Metadata really", 'comes "at", "when" or "unless", not \'really\''),
        ("secrets,,pods never None", "an empty item"),
        ("secrets pods never None", "'secrets pods' is not what a claim can be about"),
        ("* never None when verb is get", "'verb is get' is not a condition"),
        ("* never None when color in red", "is not a condition; write one of verb"),
        ("* never None when user in system:serviceaccount:a:*", "write group in system:serviceaccounts:NAMESPACE"),
        ("* never None when verb in get and verb in list", "two conditions on verb"),
        ("/healthz never None when namespace in a", "/healthz has no namespace"),
        ("Secrets never above Metadata", "no request is for 'Secrets'; did you mean 'secrets'?"),
        ("secrts never above Metadata", "no request is for 'secrts'; did you mean 'secrets'?"),
        ("deployments never above Metadata", "no request is for 'deployments'; did you mean 'deployments.apps'?"),
        ("deploymnts never above Metadata", "no request is for 'deploymnts'; did you mean 'deployments.apps'?"),
        ("secrets.core never above Metadata", "no request is for 'secrets.core'; did you mean 'secrets'?"),
        ("Widgets.example.com never None", "no request is for 'Widgets.example.com'; a custom resource has"),
        ("pods/exce never None", "pods have no subresource 'exce'; they have "),
        ("* never None when verb in delte", "no request has the verb 'delte'; did you mean 'delete'?"),
        ("* never None unless verb in exec", "no request has the verb 'exec'"),
    ],
)
def test_a_claim_that_cannot_be_read_says_why(text: str, message: str) -> None:
    """Each error names the words and what would be right."""
    with pytest.raises(ClaimError) as error:
        parse_claims(text)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "widgets.example.com/status never None",
        "secrets.*,*/status never None",
        "ingresses.extensions never None",
        '* never None when verb in "",proxy,options,deletecollection',
    ],
)
def test_names_that_a_cluster_may_have_are_taken(text: str) -> None:
    """Custom resources, wildcards, groups of old servers and odd verbs are no mistakes."""
    assert parse_claims(text)


def test_in_the_universe_of_anything_every_name_is_taken() -> None:
    """`--universe any` takes each member alone."""
    assert parse_claims("Secrets never above Metadata", Universe.ANY)
