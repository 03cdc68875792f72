"""
`kubewitness completion bash|zsh|fish`: print the completion script, drawn from the parsers of all commands.

The script holds the commands, flags and choices as they were when it was printed: it starts nothing and is quick.
File names are completed where a value is not one of a few.
"""

import argparse
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from kubewitness.cli.errors import ExitCode
from kubewitness.cli.main import COMMANDS, parser_of
from kubewitness.cli.spelling import VERBS
from kubewitness.event.types import Level, Stage
from kubewitness.look.query.syntax import ACTIONS, ACTOR_KINDS, OUTCOMES

HELP = """Print the completion script of a shell.

  bash:  source <(kubewitness completion bash)
  zsh:   kubewitness completion zsh > "${fpath[1]}/_kubewitness"
  fish:  kubewitness completion fish > ~/.config/fish/completions/kubewitness.fish"""


_KNOWN: dict[str, tuple[str, ...]] = {
    "verb": VERBS,
    "action": tuple(ACTIONS),
    "outcome": OUTCOMES,
    "actor_kind": ACTOR_KINDS,
    "level": tuple(level.value for level in Level),
    "stage": tuple(stage.value for stage in Stage),
}
"""Words for flags that choose requests; they take more than these: wildcards, several, what is excluded."""


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag: how it is written, what it takes, what it is for."""

    names: tuple[str, ...]
    takes_value: bool
    choices: tuple[str, ...]
    help: str


@dataclass(frozen=True, slots=True)
class Command:
    """One command or sub-command: its words, its sentence, its flags, the words that may follow."""

    path: tuple[str, ...]
    help: str
    flags: tuple[Flag, ...]
    words: tuple[str, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the one argument."""
    parser.add_argument("shell", choices=sorted(_SCRIPTS), help="the shell that will read the script")


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    sys.stdout.write(_SCRIPTS[args.shell](list(commands())))
    return ExitCode.OK


def commands() -> Iterator[Command]:
    """Give every command, each followed by its sub-commands."""
    for name, text in COMMANDS.items():
        yield from _walk((name,), text, parser_of(name))


def _walk(path: tuple[str, ...], text: str, parser: argparse.ArgumentParser) -> Iterator[Command]:
    flags: list[Flag] = []
    words: list[str] = []
    children: list[Command] = []
    known = _KNOWN if any(action.dest == "where" for action in parser._actions) else {}
    for action in parser._actions:
        if action.help == argparse.SUPPRESS:
            continue
        choices = tuple(map(str, action.choices or known.get(action.dest, ())))
        if isinstance(action, argparse._SubParsersAction):
            sentences = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for word, child in action.choices.items():
                words.append(word)
                children += _walk((*path, word), sentences.get(word, ""), child)
        elif action.option_strings:
            sentence = " ".join((action.help or "").replace("%%", "%").split())
            sentence = re.sub(r" \(default[^)]*\)", "", sentence)
            flags.append(Flag(tuple(action.option_strings), action.nargs != 0, choices, sentence))
        else:
            words += choices
    yield Command(path, text, tuple(flags), tuple(words))
    yield from children


def _bash(found: list[Command]) -> str:
    top = shlex.quote(" ".join([*(command.path[0] for command in found if len(command.path) == 1), "--help --version"]))
    paths, values, words = [], [], []
    for command in found:
        path = " ".join(command.path)
        paths.append(shlex.quote(" ".join((*command.path[:-1], "/", command.path[-1]))))
        for flag in command.flags:
            if flag.takes_value:
                names = "|".join(shlex.quote(f"{path}/{name}") for name in flag.names)
                values.append(f"        {names}) words={shlex.quote(' '.join(flag.choices))} ;;")
        listed = " ".join([*command.words, *(name for flag in command.flags for name in flag.names)])
        words.append(f"            {shlex.quote(path)}) words={shlex.quote(listed)} ;;")
    nl = "\n"
    return f"""# bash completion of kubewitness; made by `kubewitness completion bash`
_kubewitness() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} path= words= i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "${{path:+$path }}/ ${{COMP_WORDS[i]}}" in
            {"|".join(paths)}) path="${{path:+$path }}${{COMP_WORDS[i]}}" ;;
        esac
    done
    case "$path/$previous" in
{nl.join(values)}
        *) case "$path" in
            '') words={top} ;;
{nl.join(words)}
        esac ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _kubewitness kubewitness
"""


def _zsh_flag(flag: Flag) -> str:
    text = re.sub(r"([\[\]:\\])", r"\\\1", flag.help)
    value = ""
    if flag.takes_value:
        value = f":value:({' '.join(flag.choices)})" if flag.choices else ":value:_files"
    # a flag may be given again: several of ours mean "any of these"
    return " ".join(shlex.quote(f"*{name}[{text}]{value}") for name in flag.names)


def _zsh(found: list[Command]) -> str:
    def described(path: tuple[str, ...]) -> str:
        below = [command for command in found if command.path[:-1] == path]
        return " ".join(shlex.quote(f"{command.path[-1]}:{command.help.replace(':', ' -')}") for command in below)

    functions = []
    for command in found:
        name = "_kubewitness_" + "_".join(command.path).replace("-", "_")
        flags = " ".join(map(_zsh_flag, command.flags))
        children = [other for other in found if other.path[:-1] == command.path]
        if children:
            cases = "\n".join(
                f"        {child.path[-1]}) _kubewitness_{'_'.join(child.path).replace('-', '_')} ;;"
                for child in children
            )
            body = f"""    local context state line
    typeset -A opt_args
    _arguments -C {flags} '1: :->command' '*:: :->rest'
    case $state in
    command) local -a found; found=({described(command.path)}); _describe command found ;;
    rest) case $line[1] in
{cases}
        esac ;;
    esac"""
        else:
            rest = f"'1:word:({' '.join(command.words)})' " if command.words else ""
            body = f"    _arguments {flags} {rest}'*:file:_files'"
        functions.append(f"{name}() {{\n{body}\n}}")
    cases = "\n".join(
        f"        {command.path[0]}) _kubewitness_{command.path[0].replace('-', '_')} ;;"
        for command in found
        if len(command.path) == 1
    )
    nl = "\n"
    return f"""#compdef kubewitness
# zsh completion of kubewitness; made by `kubewitness completion zsh`
{nl.join(functions)}
_kubewitness() {{
    local context state line
    typeset -A opt_args
    _arguments -C '(- *)--help[explain]' '(- *)--version[say what this is]' '1: :->command' '*:: :->rest'
    case $state in
    command) local -a found; found=({described(())}); _describe command found ;;
    rest) case $line[1] in
{cases}
        esac ;;
    esac
}}
if [ "$funcstack[1]" = _kubewitness ]; then
    _kubewitness "$@"
else
    compdef _kubewitness kubewitness
fi
"""


def _fish(found: list[Command]) -> str:
    lines = ["# fish completion of kubewitness; made by `kubewitness completion fish`"]
    for command in found:
        *parents, word = command.path
        children = [other.path[-1] for other in found if other.path[:-1] == command.path]
        seen = " && ".join(f"__fish_seen_subcommand_from {parent}" for parent in parents)
        brothers = " ".join(other.path[-1] for other in found if other.path[:-1] == tuple(parents))
        before = f"{seen} && not __fish_seen_subcommand_from {brothers}" if parents else "__fish_use_subcommand"
        lines.append(
            f"complete -c kubewitness -n {shlex.quote(before)} -f -a {shlex.quote(word)} -d {_fish_quote(command.help)}"
        )
        here = " && ".join(f"__fish_seen_subcommand_from {part}" for part in command.path)
        if not children:
            lines += [
                f"complete -c kubewitness -n {shlex.quote(here)} -f -a {shlex.quote(item)}" for item in command.words
            ]
        lines += [f"complete -c kubewitness -n {shlex.quote(here)} {_fish_flag(flag)}" for flag in command.flags]
    return "\n".join(lines) + "\n"


def _fish_flag(flag: Flag) -> str:
    parts = [f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in flag.names]
    if flag.choices:
        parts.append(f"-x -a {shlex.quote(' '.join(flag.choices))}")
    elif flag.takes_value:
        parts.append("-r")
    return " ".join([*parts, f"-d {_fish_quote(flag.help)}"])


def _fish_quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


_SCRIPTS = {"bash": _bash, "zsh": _zsh, "fish": _fish}
