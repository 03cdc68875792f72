"""
The argument parser of every command: argparse, but a wrong flag gets one line and the nearest spelling.

argparse would print the whole usage first, thirty flags between the user and what is wrong.
"""

import argparse
import difflib
import re
from collections.abc import Iterator
from typing import NoReturn

from kubewitness.cli.errors import ExitCode
from kubewitness.cli.render.printable import printable

_UNRECOGNISED = re.compile(r"^unrecognized arguments: (--?[\w-]+)")


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are short and helpful."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, what was probably meant, and where the help is; exit with the code for usage."""
        wrong = _UNRECOGNISED.match(message)
        if wrong:
            near = difflib.get_close_matches(wrong[1], list(self._flags()), n=1)
            message += f"; did you mean {near[0]}?" if near else ""
        self.exit(ExitCode.USAGE, f"{self.prog}: error: {printable(message)}\n  help: {self.prog} --help\n")

    def _flags(self) -> Iterator[str]:
        for action in self._actions:
            yield from action.option_strings
