"""
Write the generated pages of docs/reference: one page a command from its parser, and the tables of fields and findings.

`python -m tools.generate` writes them, `--check` says which differ from what the code says and exits 1.
The pages are drawn from the parsers' actions, not from `format_help()`, whose layout changes with the Python version.
"""

import argparse
import difflib
import itertools
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from kubewitness.apiserver.findings import CODES as SETUP_CODES
from kubewitness.cli.main import COMMANDS, help_text, parser_of
from kubewitness.policy.check import CODES as POLICY_CODES
from tools.generated_fields import render_fields
from tools.generated_findings import render_claims, render_findings
from tools.generated_vectors import render_vectors

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
_MOST_PAGES = 5
HEAD = "<!-- written by tools/generate.py; edit the code it is drawn from -->\n\n"


def commands() -> dict[str, str]:
    """The commands that `kubewitness --help` lists, with the sentence of each."""
    shown = help_text()
    return {name: text for name, text in COMMANDS.items() if f"\n  {name} " in shown}


def subcommands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Give the parser's sub-commands with the sentence each has in its parent's help."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            sentences = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, child in action.choices.items():
                yield sentences.get(name, ""), child


def options(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Give the flags and positionals a person may type, in the order of the parser."""
    for action in parser._actions:
        if action.help is not argparse.SUPPRESS and not isinstance(action, argparse._SubParsersAction):
            yield action


def value_name(action: argparse.Action) -> str:
    """What stands after the flag: `json|text`, `USER`, or nothing for a switch."""
    if action.nargs == 0:
        return ""
    if isinstance(action.metavar, str):
        return action.metavar
    if action.choices is not None:
        return "|".join(str(choice) for choice in action.choices)
    return action.dest.upper()


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


def _usage(parser: argparse.ArgumentParser) -> str:
    words = [parser.prog]
    if any(action.option_strings and "-h" not in action.option_strings for action in options(parser)):
        words.append("[options]")
    for action in options(parser):
        if not action.option_strings:
            name = value_name(action)
            words.append(
                {"*": f"[{name}...]", "+": f"{name}...", "?": f"[{name}]", "...": f"{name}..."}.get(
                    str(action.nargs), name
                )
            )
    return " ".join(words)


def _help_text(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    text = action.help or ""
    return text % {**vars(action), "prog": parser.prog} if "%" in text else text


def _parser_section(parser: argparse.ArgumentParser, level: int) -> str:
    children = list(subcommands(parser))
    lines = []
    if not children:
        lines += ["```text", _usage(parser), "```", ""]
    for group in parser._action_groups:
        rows = [action for action in group._group_actions if action in set(options(parser))]
        rows = [action for action in rows if "-h" not in action.option_strings]
        if not rows:
            continue
        lines += [f"**{(group.title or '').capitalize()}**", "", "| name | value | meaning |", "|---|---|---|"]
        for action in rows:
            names = ", ".join(_code(name) for name in action.option_strings) or _code(value_name(action))
            value = _code(value_name(action)) if action.option_strings and value_name(action) else ""
            lines.append(f"| {names} | {value} | {_cell(_help_text(action, parser))} |")
        lines.append("")
    if parser.epilog:
        lines += ["```text", parser.epilog.strip("\n"), "```", ""]
    for sentence, child in children:
        lines += [f"{'#' * level} {child.prog.removeprefix('kubewitness ')}", ""]
        text = child.description or sentence
        if text:
            lines += [_prose(text), ""]
        lines.append(_parser_section(child, level + 1))
    return "\n".join(lines)


def _prose(text: str) -> str:
    """A help text as Markdown: what is indented there is a block of its own here."""
    parts = []
    for is_block, lines in itertools.groupby(text.strip().split("\n"), lambda line: line.startswith("  ")):
        part = "\n".join(lines)
        parts.append(f"```text\n{textwrap.dedent(part)}\n```" if is_block else part.strip("\n"))
    return "\n\n".join(filter(None, parts))


def _written() -> dict[Path, str]:
    """The pages that people wrote, with their texts: how-to first, then tutorials, explanation and reference."""
    rooms = (REFERENCE.parent / room for room in ("how-to", "tutorials", "explanation", "reference"))
    found = (path for room in rooms for path in sorted(room.glob("*.md")) if path.name != "index.md")
    return {path: text for path in found if not (text := path.read_text("utf-8")).startswith(HEAD)}


def used_in(name: str) -> list[str]:
    """Links to the pages that show a command, those that show it most first."""
    shown = re.compile(rf"kubewitness {re.escape(name)}\b(?!-)")
    uses = {path: (text, len(shown.findall(text))) for path, text in _written().items()}
    most = sorted((path for path, (_, count) in uses.items() if count), key=lambda path: -uses[path][1])[:_MOST_PAGES]
    return [f"[{uses[path][0].partition(chr(10))[0][2:]}](../../{path.relative_to(REFERENCE.parent)})" for path in most]


def command_page(name: str) -> str:
    """The reference page of one command."""
    parser = parser_of(name)
    body = _parser_section(parser, 2).rstrip("\n")
    links = "".join(f"- {link}\n" for link in used_in(name))
    more = f"\nSee also:\n\n{links}" if links else ""
    return f"{HEAD}# kubewitness {name}\n\n{_prose(parser.description or '')}\n\n{body}\n{more}"


def commands_index() -> str:
    """The list of commands."""
    rows = "".join(f"| [{name}]({name}.md) | {text} |\n" for name, text in commands().items())
    return f"{HEAD}# Commands\n\n| command | what it does |\n|---|---|\n{rows}"


def fields_page() -> str:
    """The table of fields."""
    return HEAD + render_fields()


def pages() -> dict[Path, str]:
    """Every generated page with its text."""
    out = {REFERENCE / "commands" / "index.md": commands_index(), REFERENCE / "fields.md": fields_page()}
    out[REFERENCE / "leaf-vectors.md"] = HEAD + render_vectors()
    for name, codes in (("policy-findings", POLICY_CODES), ("apiserver-findings", SETUP_CODES)):
        findings = REFERENCE / f"{name}.md"
        out[findings] = render_findings(findings.read_text("utf-8"), codes)
    claims = REFERENCE / "policy-claims.md"
    out[claims] = render_claims(claims.read_text("utf-8"))
    for name in commands():
        out[REFERENCE / "commands" / f"{name}.md"] = command_page(name)
    return out


def stale_files(expected: dict[Path, str]) -> list[Path]:
    """Pages on disk that nothing writes any more."""
    return sorted(set((REFERENCE / "commands").glob("*.md")) - set(expected))


def main() -> int:
    """Write the pages, or with `--check` show what differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when a page is out of date")
    args = parser.parse_args()
    expected = pages()
    stale = stale_files(expected)
    drifted = [path for path, text in expected.items() if not path.exists() or path.read_text("utf-8") != text]
    if args.check:
        for path in drifted:
            old = path.read_text("utf-8").splitlines() if path.exists() else []
            name = str(path.relative_to(ROOT))
            print(
                "\n".join(difflib.unified_diff(old, expected[path].splitlines(), name, "generated", lineterm="", n=1))
            )
        for path in stale:
            print(f"{path.relative_to(ROOT)}: no command has this page any more")
        if drifted or stale:
            print("run `python -m tools.generate`", file=sys.stderr)
        return 1 if drifted or stale else 0
    for path in drifted:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(expected[path], "utf-8")
        print(path.relative_to(ROOT))
    for path in stale:
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
