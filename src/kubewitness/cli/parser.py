"""
The argument parser of every command: argparse, but a wrong flag gets one line and the nearest spelling.

argparse would print the whole usage first, thirty flags between the user and what is wrong.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

from kubewitness._kit import lazy
from kubewitness.cli.errors import ExitCode
from kubewitness.cli.render.printable import printable
from kubewitness.cli.render.terminal import terminal_width

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

_UNRECOGNISED = lazy.pattern(r"^unrecognized arguments: (--?[\w-]+)")

_NO_CHOICE = lazy.pattern(r"invalid choice: '([^']*)' \(choose from (.*)\)$")

# what is called otherwise elsewhere: by kubectl, its plug-ins, other readers of logs
_FLAGS_ELSEWHERE = {
    "--ns": "--namespace",
    "--failed": "--outcome",
    "--failed-only": "--outcome",
    "--status": "--code",
    "--http-status-code": "--code",
    "--from": "--since",
    "--start-time": "--since",
    "--to": "--until",
    "--end-time": "--until",
    "--source-ip": "--ip",
    "--serviceaccount": "--sa",
    "--service-account": "--sa",
    "--impersonate": "--as",
    "--tail": "--limit",
    "--fields": "--columns",
    "--group-by": "--by",
    "--format": "--output",
    "--filter": "--where",
}
_COMMANDS_ELSEWHERE = {
    **dict.fromkeys(("lint", "validate"), "check"),
    **dict.fromkeys(("grep", "find", "query", "filter", "events", "cat"), "search"),
    **dict.fromkeys(("count", "metrics"), "top"),
    "receive": "serve",
    "doctor": "canary",
}
_ASKED = 2
"""So many that begin alike are asked for."""
_OF_FILES = frozenset(["-f", "--file", "--filename", "--log", "--audit-log", "--input"])


def _untranslated(text: str | None) -> str | None:
    return text


# its texts are English as ours are: looking for a translation of each would load `locale` and ask the disk
argparse._ = _untranslated  # type: ignore[attr-defined]


def nearest(name: str, commands: Iterable[str], below: Mapping[str, Iterable[str]] = MappingProxyType({})) -> str:
    """Ask whether a command was meant: one called so elsewhere, one `below` another, or the one spelt most alike."""
    commands = list(commands)
    name = _COMMANDS_ELSEWHERE.get(name, name)
    if name in commands:
        return f"; did you mean `{name}`?"
    meant = [f"`{above} {name}`" for above, names in below.items() if name in names]
    return f"; did you mean {' or '.join(meant)}?" if meant else _like(name, commands, "`")


class Operand(str):
    """A word after `--`: whatever it begins with, it is no flag."""

    __slots__ = ()


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are short and helpful."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, what was probably meant, and where the help is; exit with the code for usage."""
        # a positional that takes any number is not required, though parse_intermixed_args names it
        message = re.sub(r"(are required: .*), SRC$", r"\1", message)
        if wrong := _UNRECOGNISED().match(message):
            message += self._meant(wrong[1])
        elif message.startswith("unrecognized arguments: "):
            message += "; more is taken with flags only"
        elif message.endswith("are required: COMMAND"):
            message += f"; known are {', '.join(self.commands())}"
        elif wrong := _NO_CHOICE().search(message):
            message += _like(wrong[1], [choice.strip("'") for choice in wrong[2].split(", ")])
        self.exit(ExitCode.USAGE, f"{self.prog}: error: {printable(message)}\n  help: {self.prog} --help\n")

    def _get_formatter(self) -> argparse.HelpFormatter:
        """Give what writes the help; told the width, it does not load `shutil` to ask for it."""
        return self.formatter_class(prog=self.prog, width=terminal_width() - 2)  # type: ignore[call-arg]

    def _print_message(self, message: str, file: "SupportsWrite[str] | None" = None) -> None:
        """Write help or error; unlike argparse's own, does not hide that help could not be written."""
        try:
            (file or sys.stderr).write(message)
        except OSError:
            if file is sys.stdout:
                raise

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse with files before, between and after flags, where the parser has no remainder."""
        for action in self._actions:
            if not isinstance(action, argparse._SubParsersAction) or not arguments or arguments[0].startswith("-"):
                continue
            name, *rest = arguments
            if name not in action.choices:
                hint = nearest(name, action.choices) or f"; known are {', '.join(action.choices)}"
                self.error(f"there is no command {name!r}{hint}")
            found = action.choices[name].parse(rest)
            setattr(found, action.dest, name)
            return found  # type: ignore[no-any-return]
        in_order = {argparse.PARSER, argparse.REMAINDER}
        if any(action.nargs in in_order for action in self._actions):
            return self.parse_args(arguments)
        # argparse reads the words twice, and the second time no longer knows what stood after `--`
        end = arguments.index("--") if "--" in arguments else len(arguments)
        return self.parse_intermixed_args([*arguments[: end + 1], *map(Operand, arguments[end + 1 :])])

    def _parse_optional(self, arg_string: str) -> Any:
        return None if isinstance(arg_string, Operand) else super()._parse_optional(arg_string)

    def commands(self) -> list[str]:
        """Give the names of its sub-commands."""
        found = (action.choices for action in self._actions if isinstance(action, argparse._SubParsersAction))
        return [name for choices in found for name in choices]

    def _meant(self, flag: str) -> str:
        """Ask for the flag that was perhaps meant: one called so elsewhere, or spelt almost so."""
        if flag in _OF_FILES and any(action.dest == "sources" for action in self._actions):
            return "; files are named without a flag"
        flags = [name for action in self._actions for name in action.option_strings]
        elsewhere = _FLAGS_ELSEWHERE.get(flag)
        return _like(elsewhere if elsewhere in flags else flag, flags)


def _like(wrong: str, right: Sequence[str], quote: str = "") -> str:
    """Ask for what begins so, or is spelt most alike; nothing when nothing is."""
    import difflib

    bare = {name.lstrip("-").lower(): name for name in reversed(right)}
    wrong = wrong.lstrip("-").lower()
    near = [name for name in reversed(bare) if name.startswith(wrong)] if len(wrong) > 1 else []
    near = near[:_ASKED] or difflib.get_close_matches(wrong, bare, n=1)
    return f"; did you mean {' or '.join(f'{quote}{bare[name]}{quote}' for name in near)}?" if near else ""
