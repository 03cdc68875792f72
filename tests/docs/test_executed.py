"""Every transcript of README and docs/ prints what the page says."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.forked import forking
from tools import run_docs

PAGES = run_docs.executed_pages()


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with a `kubewitness` that starts at once."""
    with forking(tmp_path_factory.mktemp("forked")) as directory:
        yield directory


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(run_docs.ROOT)))
def test_transcripts(page: Path, tmp_path: Path, programs: Path) -> None:
    """Each command of the page prints exactly what stands under it."""
    directory = run_docs.directory_of(page, tmp_path)
    wrong = []
    for command in run_docs.commands(page.read_text("utf-8")):
        printed = run_docs.run(command.text, directory, programs)
        if not run_docs.agrees(command.expected, printed):
            wrong.append(f"{page.name}:{command.line}: $ {command.text}\nshown:\n{command.expected}printed:\n{printed}")
    assert not wrong, "\n".join([*wrong, "`python -m tools.run_docs` rewrites the page"])


def test_a_wrong_transcript_is_noticed() -> None:
    """The comparison is exact except where a line of three dots allows more."""
    assert run_docs.agrees("a\nb\n", "a\nb\n")
    assert not run_docs.agrees("a\n", "a\nb\n")
    assert not run_docs.agrees("a\n", "A\n")
    assert run_docs.agrees("a\n...\nz\n", "a\nb\nc\nz\n")
    assert run_docs.agrees("...\nz\n", "z\n")
    assert not run_docs.agrees("a\n...\nz\n", "a\nb\n")


def test_a_transcript_is_read_as_written() -> None:
    """Commands, continued commands and what they print are told apart, with their lines."""
    page = "# t\n\n```console\n$ one \\\n  two\nout\n$ three\n```\n"
    assert list(run_docs.commands(page)) == [
        run_docs.Command(4, "one \\\n  two", "out\n"),
        run_docs.Command(7, "three", ""),
    ]


def test_a_transcript_begins_with_a_command() -> None:
    """Output without a command above it is a mistake in the page."""
    with pytest.raises(ValueError, match="begins with"):
        list(run_docs.commands("```console\nout\n```\n"))
