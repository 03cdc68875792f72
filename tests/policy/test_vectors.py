"""Loader and evaluator against the recorded answers of kube-apiserver 1.36.2."""

import pytest

from kubewitness.policy.evaluate import evaluate
from kubewitness.policy.load import PolicyError, load, read
from tests.policy.vectors import attributes, vectors


@pytest.mark.parametrize("vector", vectors("invalid_policies"), ids=lambda v: v["name"])
def test_invalid_policy_gives_the_servers_text(vector):
    """A refused policy gives exactly the text of the real loader."""
    with pytest.raises(PolicyError) as caught:
        load(vector["policy"])
    assert str(caught.value) == vector["error"]


@pytest.mark.parametrize("vector", vectors("surprisingly_valid_policies"), ids=lambda v: v["name"])
def test_odd_policy_is_accepted(vector):
    """An odd file that the server accepts is accepted, with as many rules."""
    assert len(load(vector["policy"]).rules) == vector["rules"]


@pytest.mark.parametrize("vector", vectors("lenient_warnings"), ids=range(30))
def test_strict_decoding_warning(vector):
    """What the server only warns about gives its warning, letter for letter."""
    document = read(vector["policy"])
    assert (document.error, document.warning) == (vector["error"], vector["warning"])


def test_every_recorded_decision():
    """All 20,175 recorded requests get the recorded level, stages and managed fields."""
    count = 0
    for vector in vectors("policy_vectors"):
        policy = load(vector["policy"])
        for case in vector["cases"]:
            decision = evaluate(policy, attributes(case["attrs"]))
            found = {
                "level": decision.level.value,
                "omitStages": sorted(stage.value for stage in decision.omit_stages),
                "omitManagedFields": decision.omit_managed_fields,
            }
            assert found == case["expect"], (vector["id"], case["attrs"])
            count += 1
    assert count == 20_175
