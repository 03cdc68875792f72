"""`policy check`: what is wrong with policy files, as text, JSON or SARIF."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TextIO

from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.policy_files import add_version_argument, read_policy
from kubewitness.cli.render.folded import folded
from kubewitness.cli.render.printable import printable

if TYPE_CHECKING:
    from kubewitness.policy.check import Finding, Report

DESCRIPTION = """\
Say what kube-apiserver refuses in a policy, what it accepts though it does not do what it says, what is risky, what
costs much, and with --profile what a benchmark demands. Each finding has its place, a code
(docs/reference/policy-findings.md) and what to write instead. --fix mends what can be mended, and proves of each
change that no other request is recorded otherwise.

  kubewitness policy check audit-policy.yaml
  kubewitness policy check --profile cis --crds config/crd --diff audit-policy.yaml
  kubewitness policy check --fail-on risky -o sarif policies/*.yaml > findings.sarif

Ends with 1 when a policy is refused or a finding is as bad as --fail-on says, else with 0.
"""
_SEVERITIES = ("refused", "wrong", "unmet", "risky", "note")


def add_subcommand(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `check`."""
    parser = subparsers.add_parser(
        "check",
        help="what the server refuses, what is wrong though accepted, what is risky",
        description=DESCRIPTION,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", metavar="FILE", nargs="+", help="audit policies, YAML or JSON; - is standard input")
    parser.add_argument(
        "-o", "--output", choices=("text", "json", "sarif"), default="text", help="how to print (default: %(default)s)"
    )
    parser.add_argument(
        "--fail-on",
        choices=_SEVERITIES,
        default="unmet",
        help="the least severity that ends with exit code 1 (default: %(default)s)",
    )
    parser.add_argument(
        "--show",
        choices=_SEVERITIES,
        default="risky",
        help="the least severity that is shown; note adds what the policy costs (default: %(default)s)",
    )
    parser.add_argument(
        "--fix",
        action="store_true",
        help="write each file anew with the findings mended that are shown and have a fix; - goes to standard output",
    )
    parser.add_argument(
        "--diff", action="store_true", help="show what --fix would write, as a unified difference, and write nothing"
    )
    parser.add_argument(
        "--profile",
        choices=("default", "cis", "stig", "pci"),
        default="default",
        help="whose demands to hold the policy against (default: %(default)s)",
    )
    parser.add_argument(
        "--mode",
        choices=("batch", "blocking", "blocking-strict"),
        default="batch",
        help="the server's --audit-log-mode; blocking-strict needs a stage that many omit (default: %(default)s)",
    )
    parser.add_argument(
        "--crds",
        metavar="PATH",
        action="append",
        default=[],
        help="a file or folder of CustomResourceDefinitions that the cluster has; may be repeated",
    )
    add_version_argument(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check every file and print what was found."""
    from kubewitness.cli.policy_crds import read_custom
    from kubewitness.policy.check import Mode, Profile, check

    custom = read_custom(args.crds)

    def one(data: bytes) -> "Report":
        return check(data, args.server_version, Profile(args.profile), Mode(args.mode), custom)

    if args.fix or args.diff:
        return _fix(args, one)
    reports = [(path, one(read_policy(path))) for path in args.files]
    if args.output == "text":
        _print(_text(reports, args.server_version, args.show), sys.stdout)
    else:
        document = _json(reports, args.show) if args.output == "json" else _sarif(reports, args.show)
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    return _code(args, reports)


def _fix(args: argparse.Namespace, one: "Callable[[bytes], Report]") -> int:
    """Mend every file, then say what is left; what `-` is mended to goes to standard output alone."""
    from kubewitness.cli.policy_fix import mend_file
    from kubewitness.policy.check import Severity

    if args.output != "text":
        raise UserError("--fix and --diff print text; run the check again for JSON or SARIF")
    is_changed = False
    reports = []
    for path in args.files:
        data = read_policy(path)
        least = Severity(args.show)
        writes = args.fix and not args.diff
        mended = mend_file(path, data, one, args.server_version, least, shows_diff=args.diff, writes=writes)
        is_changed |= mended.data != data
        reports.append((path, mended.report))
    to_stdout = not args.diff and "-" not in args.files
    _print(_text(reports, args.server_version, args.show), sys.stdout if to_stdout else sys.stderr)
    if args.diff and is_changed:
        return ExitCode.FINDINGS
    return _code(args, reports)


def _print(lines: Iterator[str], stream: TextIO) -> None:
    stream.writelines(f"{folded(line, stream)}\n" for line in lines)


def _code(args: argparse.Namespace, reports: Sequence[tuple[str, "Report"]]) -> int:
    from kubewitness.policy.check import Severity

    is_bad = any(report.at_least(Severity(args.fail_on)) or not report.accepted for _, report in reports)
    return ExitCode.FINDINGS if is_bad else ExitCode.OK


def _shown(report: "Report", show: str) -> "list[Finding]":
    wanted = _SEVERITIES[: _SEVERITIES.index(show) + 1]
    return [finding for finding in report.findings if finding.severity.value in wanted]


def _text(reports: Sequence[tuple[str, "Report"]], server_version: str, show: str) -> Iterator[str]:
    for path, report in reports:
        for finding in _shown(report, show):
            where = f"{path}:{finding.line}:{finding.column}"
            place = f"{finding.path}: " if finding.path else ""
            yield printable(f"{where}: {finding.severity.value} {finding.code}: {place}{finding.message}")
            yield printable(f"    help: {finding.help}")
        counts = [
            f"{count} {severity if severity != 'note' else 'note' if count == 1 else 'notes'}"
            for severity in _SEVERITIES
            if (count := sum(finding.severity.value == severity for finding in report.findings))
        ]
        verdict = "accepts" if report.accepted else "refuses"
        found = ", ".join(counts) if counts else "nothing found"
        if show != "note" and any(finding.severity.value == "note" for finding in report.findings):
            found += " (shown with --show note)"
        yield printable(f"{path}: kube-apiserver {server_version} {verdict} this policy; {found}")
        if report.server_error:
            yield printable(f"    it says: {report.server_error}")


def _json(reports: Sequence[tuple[str, "Report"]], show: str) -> list[dict[str, object]]:
    return [
        {
            "file": path,
            "accepted": report.accepted,
            "server_error": report.server_error,
            "findings": [_finding(finding) for finding in _shown(report, show)],
        }
        for path, report in reports
    ]


def _finding(finding: "Finding") -> dict[str, object]:
    return {
        "code": finding.code,
        "severity": finding.severity.value,
        "line": finding.line,
        "column": finding.column,
        "path": finding.path,
        "message": finding.message,
        "help": finding.help,
        "fix": finding.fix.says if finding.fix is not None else None,
    }


def _sarif(reports: Sequence[tuple[str, "Report"]], show: str) -> dict[str, object]:
    """Write SARIF, which code hosts show beside the lines."""
    from kubewitness.cli.render.sarif import Result, sarif
    from kubewitness.policy.check import CODES

    return sarif(
        {code.code: (code.severity.value, code.summary) for code in CODES.values()},
        (
            Result(one.code, one.severity.value, f"{one.message}\n{one.help}", path, one.line, one.column)
            for path, report in reports
            for one in _shown(report, show)
        ),
    )
