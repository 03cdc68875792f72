"""jq's command line, read as jq reads it."""

import pytest

from kubewitness.look.query.jq.arguments import read


@pytest.mark.parametrize(
    ("words", "program", "files"),
    [
        (["."], ".", []),
        ([".", "a", "b"], ".", ["a", "b"]),
        (["-c", ".", "-r", "a"], ".", ["a"]),
        (["--arg", "x", "1", ".", "a"], ".", ["a"]),
        (["--indent", "2", ".", "-"], ".", ["-"]),
        ([".", "--", "-a"], ".", ["-a"]),
        ([".", "a", "--args", "b"], ".", ["a"]),
    ],
)
def test_program_and_files(words, program, files):
    """The first plain word is the filter, the others are files."""
    call = read(words)
    assert (call.program, [call.words[at] for at in call.files]) == (program, files)


@pytest.mark.parametrize(
    "words",
    [[], ["-c"], ["--arg", "x"], ["--indent", "9", "."], ["-x", "."], ["--", "."], ["--foo", "."], ["-L", ".", "."]],
)
def test_left_to_jq(words):
    """What is not known for certain is left to jq."""
    assert read(words) is None


def test_values():
    """`--arg`, `--argjson`, `--args` and `--jsonargs` give values; the first of a name wins."""
    call = read(["--arg", "a", "1", "--arg", "a", "2", "--argjson", "b", "[2]", ".", "--args", "x", "--jsonargs", "3"])
    assert (call.variables, call.positional) == ({"a": "1", "b": [2]}, ["x", 3])


@pytest.mark.parametrize("flag", ["-n", "-s", "-R", "--stream", "--seq", "-cn"])
def test_options_that_change_how_inputs_are_taken(flag):
    """Under these a filter does not get each value in turn."""
    assert not read([flag, "."]).takes_values
