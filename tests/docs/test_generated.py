"""The generated pages are current, and say something about every flag."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubewitness.cli.main import parser_of
from tools import generate


@pytest.mark.parametrize("page", generate.pages(), ids=lambda page: str(page.relative_to(generate.ROOT)))
def test_page_is_current(page: Path) -> None:
    """The page is what its source would write today."""
    assert page.read_text("utf-8") == generate.pages()[page], "run `python -m tools.generate`"


def test_no_page_of_a_command_that_is_gone() -> None:
    """Every page of a command has its command."""
    assert generate.stale_files(generate.pages()) == []


def _parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for _, child in generate.subcommands(parser):
        yield from _parsers(child)


@pytest.mark.parametrize("name", generate.commands())
def test_every_flag_says_what_it_is_for(name: str) -> None:
    """Each flag and argument of each command and sub-command has a help text, and its page names it."""
    text = generate.command_page(name)
    for parser in _parsers(parser_of(name)):
        for action in generate.options(parser):
            assert action.help, f"{parser.prog}: {action.option_strings or action.dest} has no help text"
            for flag in action.option_strings:
                assert flag == "-h" or flag == "--help" or f"`{flag}`" in text


def test_the_page_of_a_parser_shows_flags_values_and_subcommands() -> None:
    """Switches have no value, choices and metavars are shown, sub-commands have a section each."""
    parser = argparse.ArgumentParser(prog="kubewitness x", description="does x")
    parser.add_argument("--quiet", action="store_true", help="print less | nothing")
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text", help="form (%(default)s)")
    children = parser.add_subparsers()
    child = children.add_parser("check", help="look at it")
    child.add_argument("files", nargs="+", metavar="FILE", help="what to look at")
    text = generate._parser_section(parser, 2)
    assert "| `--quiet` |  | print less \\| nothing |" in text
    assert "| `-o`, `--output` | `text\\|json` | form (text) |" in text
    assert "## x check\n\nlook at it\n" in text
    assert "kubewitness x check FILE..." in text
