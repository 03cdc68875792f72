"""The door of the command line."""

from kubewitness.cli.main import main


def test_an_unknown_command_is_a_usage_error(capsys):
    """`kubewitness nonsense` names the word and exits with 2."""
    assert main(["nonsense"]) == 2
    assert "'nonsense'" in capsys.readouterr().err
