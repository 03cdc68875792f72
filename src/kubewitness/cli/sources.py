"""
The source arguments that every investigation command takes, and what is said about the input on standard error.

SRC are files, directories of rotated files, or `-`; without any, a piped standard input is read. `--data DIR` names
a store. What is wrong or odd is said in one line a file, never on standard output; `--show-damage` lists each place.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.render.printable import fit, printable

# Odd files are told one by one up to this number.
_TOLD_FILES = 10
# The list of damaged places is for eyes: beyond this many a file, only the count.
_SHOWN_PLACES = 1000
_EXCERPT_CELLS = 60
STDIN = "-"


class Place(msgspec.Struct, frozen=True):
    """One piece of input that is not an event: where it stands and why it was not taken."""

    source: str
    offset: int | None
    line: int | None
    reason: str
    excerpt: bytes = b""


class SourceReport(msgspec.Struct, frozen=True):
    """What one file turned out to be. `places` may hold fewer than `damaged` counts."""

    source: str
    form: str = "one event a line"
    dialect: str = ""
    """Empty for kube-apiserver's own."""
    events: int = 0
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
        "--show-damage", action="store_true", help="list every damaged place: file, line, byte, reason, excerpt"
    )
    group.add_argument("-v", "--verbose", action="store_true", help="say what each file was recognised as")


def sources_of(args: argparse.Namespace) -> list[str]:
    """Give what is to be read; complains about what is not there before anything is read."""
    named: list[str] = args.sources
    if args.data and named:
        raise UserError("give either files or --data, not both")
    if not named:
        if sys.stdin is None or sys.stdin.isatty():
            raise UserError("nothing to read: name audit log files or directories, or pipe a log in")
        return [STDIN]
    if named.count(STDIN) > 1:
        raise UserError("- can be given once: standard input is read to its end")
    for source in named:
        if source != STDIN:
            _check(source, has_flags="where" in args)
    return named


def store_of(args: argparse.Namespace, env: Mapping[str, str] = os.environ) -> str | None:
    """Give the data directory that is to be read, None where files are. Files that are named win over a default."""
    if args.data and args.sources:
        raise UserError("give either files or --data, not both")
    data: str | None = args.data or (None if args.sources else env.get("KUBEWITNESS_DATA"))
    if data and not os.path.isdir(data):  # noqa: PTH112 - pathlib costs start-up
        raise UserError(f"{data}: no such directory{_hint(data)}")
    return data


def _check(source: str, *, has_flags: bool) -> None:
    is_directory = os.path.isdir(source)  # noqa: PTH112
    if not os.path.exists(source):  # noqa: PTH110
        is_word = has_flags and not {".", "/"} & set(source)
        asks = "; what to look for is said with flags, such as --user" if is_word else ""
        raise UserError(f"{source}: no such file or directory{_hint(source) or asks}")
    if not os.access(source, os.R_OK | (os.X_OK if is_directory else 0)):
        raise UserError(f"{source}: permission denied (audit logs are usually readable by root only)")
    if is_directory and not os.listdir(source):  # noqa: PTH208
        raise UserError(f"{source}: the directory is empty")


def _hint(named: str) -> str:
    from pathlib import Path

    path = Path(named)
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.name != path.name]
    except OSError:
        return ""
    import difflib

    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.7)
    return f"; did you mean {path.parent / near[0]}?" if near else ""


def tell(reports: Iterable[SourceReport], *, is_verbose: bool = False, shows_damage: bool = False) -> ExitCode:
    """Say on standard error what is odd about the input; give INCOMPLETE when some of it is not in the answer."""
    reports = list(reports)
    has_damage = any(report.damaged for report in reports)
    told = [report for report in reports if report.is_unusual or is_verbose]
    # damage first: where only some can be told, these matter
    told.sort(key=lambda report: not report.damaged)
    for report in told if is_verbose else told[:_TOLD_FILES]:
        _say(summary(report))
    if len(told) > _TOLD_FILES and not is_verbose:
        _say(f"{len(told) - _TOLD_FILES} more files are unusual or damaged; -v tells of each")
    if shows_damage:
        for report in reports:
            for line in damage_lines(report):
                _say(line)
    elif has_damage:
        _say("what is damaged is not in the answer; --show-damage lists every place")
    return ExitCode.INCOMPLETE if has_damage else ExitCode.OK


def _say(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201


def summary(report: SourceReport) -> str:
    """Say what one file is and what is wrong with it, in one line."""
    parts = [f"{report.form}, {report.dialect}" if report.dialect else report.form, f"{report.events:,} events"]
    parts += report.notes
    if report.damaged:
        lines = "1 place damaged" if report.damaged == 1 else f"{report.damaged:,} places damaged"
        parts.append(
            f"{lines} (first at {_where(report.places[0])}: {report.places[0].reason})" if report.places else lines
        )
    return printable(f"{report.source}: {'; '.join(parts)}")


def damage_lines(report: SourceReport) -> list[str]:
    """List the damaged places of one file, excerpts made harmless."""
    shown = [
        f"{printable(place.source)}: {_where(place)}: {printable(place.reason)}: {_excerpt(place.excerpt)}"
        for place in report.places[:_SHOWN_PLACES]
    ]
    if report.damaged > len(shown):
        shown.append(f"{printable(report.source)}: {report.damaged - len(shown)} more damaged places are not listed")
    return shown


def _where(place: Place) -> str:
    parts = [f"line {place.line}"] if place.line is not None else []
    if place.offset is not None:
        parts.append(f"byte {place.offset}")
    return ", ".join(parts) or "unknown place"


def _excerpt(data: bytes) -> str:
    return fit(printable(data[: _EXCERPT_CELLS * 4].decode("utf-8", "backslashreplace")), _EXCERPT_CELLS, "...")
