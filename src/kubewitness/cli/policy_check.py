"""`policy check`: what is wrong with policy files, as text, JSON or SARIF."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from kubewitness.cli.errors import ExitCode
from kubewitness.cli.policy_files import add_version_argument, read_bytes
from kubewitness.cli.render.folded import folded
from kubewitness.cli.render.printable import printable

if TYPE_CHECKING:
    from kubewitness.policy.check import Finding, Report

DESCRIPTION = """\
Say what kube-apiserver refuses in a policy, what it accepts though it does not do what it says, and what is risky.
Each finding has its place, a code (docs/reference/policy-findings.md) and what to write instead.

  kubewitness policy check audit-policy.yaml
  kubewitness policy check --fail-on risky -o sarif policies/*.yaml > findings.sarif

Ends with 1 when a policy is refused or a finding is as bad as --fail-on says, else with 0.
"""
_SEVERITIES = ("refused", "wrong", "risky")


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
        default="wrong",
        help="the least severity that ends with exit code 1 (default: %(default)s)",
    )
    add_version_argument(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check every file and print what was found."""
    from kubewitness.policy.check import Severity, check

    reports = [(path, check(read_bytes(path), args.server_version)) for path in args.files]
    if args.output == "text":
        sys.stdout.writelines(f"{folded(line, sys.stdout)}\n" for line in _text(reports, args.server_version))
    else:
        document = _json(reports) if args.output == "json" else _sarif(reports)
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    is_bad = any(report.at_least(Severity(args.fail_on)) or not report.accepted for _, report in reports)
    return ExitCode.FINDINGS if is_bad else ExitCode.OK


def _text(reports: Sequence[tuple[str, "Report"]], server_version: str) -> Iterator[str]:
    for path, report in reports:
        for finding in report.findings:
            where = f"{path}:{finding.line}:{finding.column}"
            place = f"{finding.path}: " if finding.path else ""
            yield printable(f"{where}: {finding.severity.value} {finding.code}: {place}{finding.message}")
            yield printable(f"    help: {finding.help}")
        counts = [
            f"{count} {severity}"
            for severity in _SEVERITIES
            if (count := sum(finding.severity.value == severity for finding in report.findings))
        ]
        verdict = "accepts" if report.accepted else "refuses"
        found = ", ".join(counts) if counts else "nothing found"
        yield printable(f"{path}: kube-apiserver {server_version} {verdict} this policy; {found}")
        if report.server_error:
            yield printable(f"    it says: {report.server_error}")


def _json(reports: Sequence[tuple[str, "Report"]]) -> list[dict[str, object]]:
    return [
        {
            "file": path,
            "accepted": report.accepted,
            "server_error": report.server_error,
            "findings": [_finding(finding) for finding in report.findings],
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
    }


def _sarif(reports: Sequence[tuple[str, "Report"]]) -> dict[str, object]:
    """Write SARIF, which code hosts show beside the lines."""
    from kubewitness.cli.render.sarif import Result, sarif
    from kubewitness.policy.check import CODES

    return sarif(
        {code.code: (code.severity.value, code.summary) for code in CODES.values()},
        (
            Result(one.code, one.severity.value, f"{one.message}\n{one.help}", path, one.line, one.column)
            for path, report in reports
            for one in report.findings
        ),
    )
