"""Commands that help and documentation show without running them can be typed as they stand."""

import re
import shlex
from collections.abc import Iterator

import pytest

from kubewitness.cli.main import COMMANDS, parser_of
from tools.generate import HEAD, subcommands
from tools.run_docs import ROOT

# up to a pipe, a redirection, a bracket or a remark
_CALL = re.compile(
    r"(?:^|[(:|`])\s*(?:sudo )?kubewitness ((?:'[^']*'|\"[^\"]*\"|[^'\"|>)`])+?)(?=\s{3}| [|>#]|[)`]|$)", re.MULTILINE
)


def _of_help(command: str) -> Iterator[str]:
    parsers = [parser_of(command)]
    while parsers:
        parser = parsers.pop()
        parsers += [child for _, child in subcommands(parser)]
        indented = (line for line in (parser.description or "").splitlines() if line.startswith("  "))
        yield from (call.strip() for line in indented for call in _CALL.findall(line.strip()))


def _of_pages() -> Iterator[tuple[str, str]]:
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        text = page.read_text("utf-8").replace("\\\n", " ")
        if not text.startswith(HEAD):
            for block in re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
                yield from ((page.name, call.removesuffix(" || alert").strip()) for call in _CALL.findall(block))


OF_HELP = [(command, call) for command in COMMANDS for call in _of_help(command)]
OF_PAGES = list(_of_pages())


@pytest.mark.parametrize(("command", "call"), OF_HELP)
def test_an_example_of_help_is_understood(command: str, call: str) -> None:
    """It is of the command under which it stands, or takes what that printed, and no word is missing or unknown."""
    assert shlex.split(call)[0] == command or "($" in call
    _parse(call)


@pytest.mark.parametrize(("page", "call"), OF_PAGES)
def test_an_example_of_a_page_is_understood(page: str, call: str) -> None:
    """So is what documentation shows and does not run, because it takes a cluster, a server or root."""
    _parse(call)


def _parse(call: str) -> None:
    command, *words = shlex.split(call)
    parser_of(command).parse(words)


def test_the_examples_are_found() -> None:
    """No command is without one, and the pattern above finds them all."""
    assert {command for command, _ in OF_HELP} == set(COMMANDS)
    assert len(OF_HELP) > 90
    assert len(OF_PAGES) > 20
