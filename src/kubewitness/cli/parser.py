"""
The argument parser of every command: argparse, but a wrong flag gets one line and the nearest spelling.

argparse would print the whole usage first, thirty flags between the user and what is wrong.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from kubewitness._kit import lazy
from kubewitness.cli.errors import ExitCode
from kubewitness.cli.render.printable import printable
from kubewitness.cli.render.terminal import terminal_width

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

_UNRECOGNISED = lazy.pattern(r"^unrecognized arguments: (--?[\w-]+)")

# its texts are English as ours are: looking for a translation of each would load `locale` and ask the disk
argparse._ = str  # type: ignore[attr-defined]


def nearest(name: str, commands: Iterable[str]) -> str:
    """Ask whether the command spelt most like this one was meant; nothing when none is like it."""
    import difflib

    near = difflib.get_close_matches(name, list(commands), n=1)
    return f"; did you mean `{near[0]}`?" if near else ""


class Operand(str):
    """A word after `--`: whatever it begins with, it is no flag."""

    __slots__ = ()


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are short and helpful."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, what was probably meant, and where the help is; exit with the code for usage."""
        # a positional that takes any number is not required, though parse_intermixed_args names it
        message = re.sub(r"(are required: .*), SRC$", r"\1", message)
        wrong = _UNRECOGNISED().match(message)
        if wrong:
            import difflib

            near = difflib.get_close_matches(wrong[1], list(self._flags()), n=1)
            message += f"; did you mean {near[0]}?" if near else ""
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

    def _flags(self) -> Iterator[str]:
        for action in self._actions:
            yield from action.option_strings
