"""The universe: what a real server recorded is possible, and every example is a request that RequestInfo reads so."""

from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from kubewitness.event.decode import decode
from kubewitness.policy.prove.answer import Ordered, Search, TooHardError
from kubewitness.policy.prove.regions import Dimension, Region, Space
from kubewitness.policy.prove.shadow import reachable
from kubewitness.policy.prove.universe import Universe, is_api_group, is_non_resource_path
from kubewitness.policy.request import attributes_from_event, info_from_uri
from kubewitness.policy.types import Attributes, Policy, PolicyRule
from tests.model import regions as model
from tests.policy.prove.strategies import policies
from tests.policy.prove.test_diff import QUICK

DATA = Path(__file__).parents[2] / "data"


@pytest.mark.parametrize("log", ["audit-full", "audit-security", "audit-metadata"])
def test_what_a_server_recorded_is_possible(log: str) -> None:
    """The default universe leaves out nothing of the recorded logs but a POST on a named object, which was refused."""
    with zstandard.open(DATA / f"{log}.log.zst", "rb") as lines:
        events = [decode(line) for line in lines.read().splitlines()]
    left_out = [event for event in events if not model.is_possible(attributes_from_event(event))]
    assert {(event.verb, attributes_from_event(event).name) for event in left_out} == {("create", "important")}
    assert {event.response_status.code for event in left_out if event.response_status} == {403}


@given(data=st.data())
@QUICK
def test_an_example_is_a_request_line(data: st.DataObject) -> None:
    """The path and verb of an example are read as the example's own members."""
    policy = data.draw(policies(Universe.POSSIBLE))
    for reach in reachable(policy):
        example = reach.example
        if example is None or not example.resource_request:
            continue
        info = info_from_uri(example.verb, example.path)
        named = {} if example.verb in ("list", "watch") and info.name == "" else {"name": example.name}
        assert {
            "verb": info.verb,
            "namespace": info.namespace,
            "api_group": info.api_group,
            "resource": info.resource,
            "subresource": info.subresource,
            "is_resource": info.is_resource_request,
        } | ({"name": info.name} if named else {}) == {
            "verb": example.verb,
            "namespace": example.namespace,
            "api_group": example.api_group,
            "resource": example.resource,
            "subresource": example.subresource,
            "is_resource": True,
        } | named


@given(st.text("/apisvx1", max_size=14))
def test_a_path_is_a_resource_path_as_request_info_has_it(text: str) -> None:
    """Both readings of a path agree."""
    path = "/" + text
    assert is_non_resource_path(path) is not info_from_uri("get", path).is_resource_request


@given(data=st.data())
@QUICK
def test_the_example_is_the_smallest(data: st.DataObject) -> None:
    """No member of an example can be made more ordinary without another rule deciding."""
    universe = data.draw(st.sampled_from(Universe))
    policy = data.draw(policies(universe, 2))
    space = Space(policy.rules, universe)
    boxes = tuple((box, index) for index, rule in enumerate(policy.rules) for box in space.boxes(rule))
    search = Search(space, [Ordered(boxes, -1)])
    for (label,), example in search.smallest(lambda labels: True).items():
        assert _label(policy, space.request(example.choice, example.groups)) == label
        for dimension in (Dimension.WHAT, Dimension.VERB, Dimension.NAMESPACE, Dimension.NAME):
            for smaller in range(example.choice[dimension]):
                choice = (*example.choice[:dimension], smaller, *example.choice[dimension + 1 :])
                other = space.request(choice, example.groups)
                is_served = model.is_possible(other) and is_api_group(other.api_group)
                is_in_universe = universe is Universe.ANY or is_served
                if is_in_universe and _is_choice(space, other, choice):
                    assert _label(policy, other) != label


def _label(policy: Policy, request: Attributes) -> int:
    index = model.decide(policy, request)
    return -1 if index is None else index


def _is_choice(space: Space, request: Attributes, choice: tuple[int, ...]) -> bool:
    """Whether a request really has these atoms: of namespaces, one text may stand for two."""
    sets = tuple(1 << atom for atom in choice)
    return space.holds(Region((sets[0], sets[1], sets[2], sets[3], sets[4])), request)


def test_a_spent_budget_is_said() -> None:
    """When the search ends at its bound, the error says how far it went."""
    with pytest.raises(TooHardError) as error:
        reachable(Policy((PolicyRule(model.Level.METADATA),)), budget_states=3)
    assert str(error.value) == "no answer within 3 states of the search: the rules overlap in too many ways"
