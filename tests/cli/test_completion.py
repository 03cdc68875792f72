"""Completion scripts, in the shells that run them."""

import shutil
import subprocess

import pytest

from kubewitness.cli import completion
from kubewitness.cli.main import COMMANDS, main


@pytest.fixture
def script(tmp_path, capsys):
    """Write the script of a shell to a file and give its path."""

    def write(shell: str) -> str:
        assert main(["completion", shell]) == 0
        path = tmp_path / f"kubewitness.{shell}"
        path.write_text(capsys.readouterr().out)
        return str(path)

    return write


def shell_run(shell: str, code: str) -> str:
    """Run code in a shell; a complaint of the shell fails the test."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    options = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    done = subprocess.run([shell, *options, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout


def in_bash(script: str, *words: str) -> set[str]:
    """What bash would offer after these words."""
    quoted = " ".join(f"'{word}'" for word in words)
    code = (
        f"source {script}; COMP_WORDS=(kubewitness {quoted}); COMP_CWORD={len(words)};"
        '_kubewitness; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    return set(shell_run("bash", code).split())


def in_fish(script: str, line: str) -> set[str]:
    """What fish would offer at the end of this line."""
    return {offer.split("\t")[0] for offer in shell_run("fish", f"source {script}; complete -C '{line}'").splitlines()}


def test_bash_knows_every_command_and_flag(script):
    """The first word completes to all commands, a command to its flags and words, a flag to its choices."""
    path = script("bash")
    assert in_bash(path, "") == set(COMMANDS) | {"--help", "--version"}
    for command in completion.commands():
        flags = {name for flag in command.flags for name in flag.names}
        assert in_bash(path, *command.path, "") == flags | set(command.words)
        for flag in command.flags:
            if flag.choices:
                assert in_bash(path, *command.path, flag.names[-1], "") == set(flag.choices)


def test_flags_that_choose_requests_have_their_words(script):
    """What a flag takes besides wildcards is offered, in the log's own spelling."""
    path = script("bash")
    assert in_bash(path, "search", "--outcome", "") == {"allowed", "denied", "failed"}
    assert {"exec", "bind", "token"} <= in_bash(path, "who", "--action", "")
    assert in_bash(path, "top", "--level", "Req") == {"Request", "RequestResponse"}
    assert in_bash(path, "policy", "explain", "--verb", "") == set()


def test_bash_completes_what_is_begun(script):
    """Only what begins with the letters typed is offered."""
    assert in_bash(script("bash"), "completion", "ba") == {"bash"}


def test_fish_knows_every_command_and_flag(script):
    """fish offers all commands at first, then flags and choices."""
    path = script("fish")
    assert set(COMMANDS) <= in_fish(path, "kubewitness ")
    assert in_fish(path, "kubewitness completion ba") == {"bash"}
    for command in completion.commands():
        line = f"kubewitness {' '.join(command.path)}"
        assert {name for flag in command.flags for name in flag.names if name.startswith("--")} <= in_fish(
            path, f"{line} --"
        )


def test_zsh_takes_the_script(script):
    """zsh reads the script and binds the program to it."""
    path = script("zsh")
    code = f"autoload -Uz compinit; compinit -D -u; source {path}; print $_comps[kubewitness]"
    assert shell_run("zsh", code) == "_kubewitness\n"
