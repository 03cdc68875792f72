"""
The source arguments that every investigation command takes, and what is said about the input on standard error.

SRC are files, directories of rotated files, or `-`; without any, a piped standard input is read. `--data DIR` names
a store. What is wrong or odd is said in one line a file, never on standard output; `--show-damage` lists each place.
"""

import argparse
import difflib
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.render.printable import fit, printable

# The list of damaged places is for eyes: beyond this many a file, only the count.
_SHOWN_PLACES = 1000
_EXCERPT_CELLS = 60
STDIN = "-"


@dataclass(frozen=True, slots=True)
class Place:
    """One piece of input that is not an event: where it stands and why it was not taken."""

    source: str
    offset: int | None
    line: int | None
    reason: str
    excerpt: bytes = b""


@dataclass(frozen=True, slots=True)
class SourceReport:
    """What one file turned out to be. `places` may hold fewer than `damaged` counts."""

    source: str
    form: str = "JSON lines"
    dialect: str = "kube-apiserver"
    damaged: int = 0
    repaired: int = 0
    places: Sequence[Place] = ()
    notes: Sequence[str] = ()

    @property
    def is_unusual(self) -> bool:
        """Whether a person should be told without asking."""
        return bool(self.damaged or self.notes)


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Add SRC, --data, --cluster, --show-damage, -v."""
    # thirty flags in brackets say nothing that the list below does not say better
    parser.usage = "%(prog)s [flags] [SRC...]"
    parser.add_argument(
        "sources",
        nargs="*",
        metavar="SRC",
        help="audit log files (.gz and .zst too), directories of rotated files, or - for standard input",
    )
    group = parser.add_argument_group("input")
    group.add_argument("--data", metavar="DIR", help="read a kubewitness store instead (default: KUBEWITNESS_DATA)")
    group.add_argument(
        "--cluster",
        metavar="NAME",
        default=os.environ.get("KUBEWITNESS_CLUSTER"),
        help="name of the cluster these bytes come from (default: KUBEWITNESS_CLUSTER)",
    )
    group.add_argument(
        "--show-damage", action="store_true", help="list every damaged line: file, line, byte, reason, excerpt"
    )
    group.add_argument("-v", "--verbose", action="store_true", help="say what each file was recognised as")


def sources_of(args: argparse.Namespace, env: Mapping[str, str] = os.environ) -> list[str]:
    """Give what is to be read; complains about what is not there before anything is read."""
    named: list[str] = args.sources
    data = args.data or env.get("KUBEWITNESS_DATA")
    if args.data and named:
        raise UserError("give either files or --data, not both")
    if data and not named:
        raise UserError(
            f"{data}: this version reads files only; stores (--data, KUBEWITNESS_DATA) come with `kubewitness serve`"
        )
    if not named:
        if sys.stdin is None or sys.stdin.isatty():
            raise UserError("nothing to read: name audit log files or directories, or pipe a log in")
        return [STDIN]
    if named.count(STDIN) > 1:
        raise UserError("- can be given once: standard input is read to its end")
    for source in named:
        if source != STDIN:
            _check(source)
    return named


def _check(source: str) -> None:
    path = Path(source)
    if not path.exists():
        raise UserError(f"{source}: no such file or directory{_hint(path)}")
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        raise UserError(f"{source}: permission denied (audit logs are usually readable by root only)")
    if path.is_dir() and not any(path.iterdir()):
        raise UserError(f"{source}: the directory is empty")


def _hint(path: Path) -> str:
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return ""
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.7)
    return f"; did you mean {path.parent / near[0]}?" if near else ""


def tell(reports: Iterable[SourceReport], *, is_verbose: bool = False, shows_damage: bool = False) -> ExitCode:
    """Say on standard error what is odd about the input; give INCOMPLETE when some of it is not in the answer."""
    code = ExitCode.OK
    for report in reports:
        if report.damaged:
            code = ExitCode.INCOMPLETE
        if report.is_unusual or is_verbose:
            print(summary(report, hints=not shows_damage), file=sys.stderr)  # noqa: T201
        if shows_damage:
            for line in damage_lines(report):
                print(line, file=sys.stderr)  # noqa: T201
    return code


def summary(report: SourceReport, *, hints: bool = True) -> str:
    """Say what one file is and what is wrong with it, in one line."""
    parts = [report.form if report.dialect == "kube-apiserver" else f"{report.form} ({report.dialect})", *report.notes]
    if report.damaged:
        lines = "1 line" if report.damaged == 1 else f"{report.damaged} lines"
        first = f" (first at {_where(report.places[0])}: {report.places[0].reason})" if report.places else ""
        parts.append(f"{lines} damaged{first}{'; --show-damage lists them' if hints else ''}")
    if report.repaired:
        parts.append(f"{report.repaired} repaired")
    return printable(f"{report.source}: {'; '.join(parts)}")


def damage_lines(report: SourceReport) -> list[str]:
    """List the damaged places of one file, excerpts made harmless."""
    shown = [
        f"{printable(place.source)}: {_where(place)}: {printable(place.reason)}: {_excerpt(place.excerpt)}"
        for place in report.places[:_SHOWN_PLACES]
    ]
    if report.damaged > len(shown):
        shown.append(f"{printable(report.source)}: {report.damaged - len(shown)} more damaged lines are not listed")
    return shown


def _where(place: Place) -> str:
    parts = [f"line {place.line}"] if place.line is not None else []
    if place.offset is not None:
        parts.append(f"byte {place.offset}")
    return ", ".join(parts) or "unknown place"


def _excerpt(data: bytes) -> str:
    return fit(printable(data[: _EXCERPT_CELLS * 4].decode("utf-8", "backslashreplace")), _EXCERPT_CELLS, "...")
