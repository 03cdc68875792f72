"""
Run the commands that the documentation shows, and compare what they print with what the page says they print.

A fenced block of language `console` is a transcript: lines after `$ ` are commands (a final backslash continues one),
the lines below are what it prints, standard output and error together. A line `...` stands for any number of lines.
A page's blocks run in order in one directory; README's in a copy-free clone root, the others' in `workplace()`.
`python -m tools.run_docs` rewrites the transcripts from what is printed today; the difference is then reviewed.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import zstandard

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "tests" / "data"
TIMEOUT_S = 120
"""A documented command that takes longer than this is broken."""

_FENCE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a transcript, with what the page says it prints."""

    line: int
    text: str
    expected: str


def executed_pages() -> list[Path]:
    """README and every page of docs/ that shows a transcript."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in pages if _FENCE.search(page.read_text("utf-8"))]


def commands(page: str) -> Iterator[Command]:
    """Give the commands of all transcripts of a page."""
    for block in _FENCE.finditer(page):
        first = page.count("\n", 0, block.start(1)) + 1
        yield from _block(block.group(1), first)


def _block(block: str, first: int) -> Iterator[Command]:
    lines = block.split("\n")[:-1]
    at = 0
    while at < len(lines):
        start = at
        if not lines[at].startswith("$ "):
            raise ValueError(f"line {first + at}: a transcript begins with `$ `, not {lines[at]!r}")
        text = [lines[at][2:]]
        while text[-1].endswith("\\") and at + 1 < len(lines):
            at += 1
            text.append(lines[at].removeprefix("> "))
        at += 1
        output = []
        while at < len(lines) and not lines[at].startswith("$ "):
            output.append(lines[at])
            at += 1
        yield Command(first + start, "\n".join(text), "".join(line + "\n" for line in output))


def workplace(directory: Path) -> None:
    """Fill a directory with the files the how-to pages name: recorded logs, policies, cloud exports."""
    for name in ("full", "security", "metadata"):
        packed = (DATA / f"audit-{name}.log.zst").read_bytes()
        with zstandard.ZstdDecompressor().stream_reader(packed) as stream:
            (directory / f"{name}.log").write_bytes(stream.read())
    (directory / "audit.log").symlink_to("full.log")
    for name in ("policies", "envelopes", "apiserver", "exercise.log"):
        (directory / name).symlink_to(DATA / name)


def run(command: str, directory: Path, first_on_path: Path = Path(sys.executable).parent) -> str:
    """Run one command as a person would type it, and give what it prints."""
    environment = {
        "PATH": f"{first_on_path}:{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(directory),
        "LANG": "C.UTF-8",
        "COLUMNS": "120",
        "NO_COLOR": "1",
    }
    for name in ("PYTHONWARNINGS", "TMPDIR"):
        if name in os.environ:
            environment[name] = os.environ[name]
    done = subprocess.run(
        ["/bin/bash", "-c", command],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=TIMEOUT_S,
        check=False,
    )
    text = done.stdout.decode("utf-8", "replace")
    return text if not text or text.endswith("\n") else text + "\n"


def agrees(expected: str, printed: str) -> bool:
    """Whether the page tells the truth; `...` on a line of its own stands for any lines."""
    parts = re.split(r"^\.\.\.\n", expected, flags=re.MULTILINE)
    pattern = r"(?:.*\n)*?".join(re.escape(part) for part in parts)
    return re.fullmatch(pattern, printed) is not None


def directory_of(page: Path, scratch: Path) -> Path:
    """Where a page's commands run: README in the clone, the rest among the example files."""
    if page == ROOT / "README.md":
        return ROOT
    workplace(scratch)
    return scratch


def rewrite(page: Path) -> bool:
    """Put what the commands print today under each of a page's commands that does not agree; True when changed."""
    old = page.read_text("utf-8")
    with tempfile.TemporaryDirectory() as name:
        directory = directory_of(page, Path(name))

        def fresh(block: re.Match[str]) -> str:
            lines = []
            for command in _block(block.group(1), old.count("\n", 0, block.start(1)) + 1):
                printed = run(command.text, directory)
                kept = command.expected if agrees(command.expected, printed) else printed
                lines.append("$ " + command.text + "\n" + kept)
            return "```console\n" + "".join(lines) + "```"

        new = _FENCE.sub(fresh, old)
    if new != old:
        page.write_text(new, "utf-8")
    return new != old


def main() -> int:
    """Rewrite the pages named, or all."""
    pages = [Path(name).resolve() for name in sys.argv[1:]] or executed_pages()
    for page in pages:
        if rewrite(page):
            print(page.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
