"""Defaults from the environment."""

import pytest

from kubewitness.cli.defaults import env_choice
from kubewitness.cli.errors import UserError


@pytest.mark.parametrize(
    ("env", "among", "expected"),
    [
        ({}, (), "a"),
        ({"X": ""}, (), "a"),
        ({"X": "b"}, (), "b"),
        ({"X": "b"}, ("a", "c"), "a"),
    ],
)
def test_a_variable_is_a_default(env, among, expected):
    """A known value is taken where the command offers it."""
    assert env_choice("X", ("a", "b", "c"), "a", among=among, env=env) == expected


def test_an_unknown_value_is_an_error():
    """A misspelt variable is named with what would be right."""
    with pytest.raises(UserError, match="X='z' is not one of a, b"):
        env_choice("X", ("a", "b"), "a", env={"X": "z"})
