"""The argument parser of every command."""

import pytest

from kubewitness.cli.main import parser_of


@pytest.mark.parametrize("line", ["--count -- --name a.log -w", "--count --name x -- -w --", "-- --name=y"])
def test_what_follows_two_dashes_is_no_flag(line):
    """However it begins, and whatever flags stood before."""
    before, _, after = f"{line} ".partition("-- ")
    args = parser_of("search").parse(line.split())
    assert args.sources == [word for word in after.split() if word != "--"]
    assert (args.count, args.follow) == ("--count" in before, False)
    assert args.name == (["x"] if "--name x" in before else None)


def test_two_dashes_are_not_the_value_of_a_flag(capsys):
    """A flag whose value was forgotten does not take the first file for it."""
    with pytest.raises(SystemExit):
        parser_of("search").parse(["--name", "--", "a.log"])
    assert "argument --name: expected one argument" in capsys.readouterr().err
