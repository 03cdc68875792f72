"""`apiserver check`: what is wrong with how a kube-apiserver is set up for auditing, as text, JSON or SARIF."""

import argparse
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.policy_files import read_bytes
from kubewitness.cli.render.folded import folded
from kubewitness.cli.render.printable import printable

if TYPE_CHECKING:
    from kubewitness.apiserver.check import Question, Report
    from kubewitness.apiserver.context import HostFiles, Rate
    from kubewitness.apiserver.findings import SetupFinding
    from kubewitness.apiserver.hostfiles import Process

DESCRIPTION = """\
Say what keeps a kube-apiserver from starting, what loses evidence and what is risky in its audit setup, with the line
to paste. Reads a static pod manifest, `ps` output, /proc/PID/cmdline, a systemd unit, or a configuration of kubeadm,
kind, k3s, rke2, k0s, Talos, microk8s or minikube; the policy and the webhook's kubeconfig are checked too.

  kubewitness apiserver check /etc/kubernetes/manifests/kube-apiserver.yaml
  ps aux | kubewitness apiserver check - --policy audit-policy.yaml
  kubewitness apiserver check --live --profile cis
  kubewitness apiserver check kube-apiserver.yaml --rate 200      does log and throttle hold what is made?

Codes: docs/reference/apiserver-findings.md. Ends with 1 when something is as bad as --fail-on says, else with 0.
"""
_SEVERITIES = ("refused", "wrong", "unmet", "risky")
_DEFAULT_EVENT_BYTES = 1_000
_STAMP = re.compile(rb'"stageTimestamp":\s?"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)"')
_BUSY_S = 10
# where the usual configurations lie: what stands before it is the root that the host's paths start from
_USUAL = ("/etc/kubernetes/manifests/", "/etc/rancher/", "/etc/k0s/", "/var/snap/microk8s/")


def add_subcommand(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `check`."""
    parser = subparsers.add_parser(
        "check",
        help="what keeps the server from starting, loses evidence or is risky",
        description=DESCRIPTION,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", nargs="?", help="what says how the server is started; - is standard"
                        " input")  # fmt: skip
    parser.add_argument("--live", action="store_true", help="look at the kube-apiserver that runs on this machine")
    parser.add_argument("--policy", metavar="FILE", help="the policy, where it does not lie where the flag says")
    parser.add_argument("--root", metavar="DIR", type=Path, help="where the server's host has its /; by itself what"
                        " stands before /etc/kubernetes/manifests and the like in FILE")  # fmt: skip
    parser.add_argument("--profile", choices=("default", "cis", "stig", "pci"), default="default",
                        help="whose demands to hold it to besides ours (default: %(default)s)")  # fmt: skip
    parser.add_argument("--rate", metavar="N", type=float, help="events a second that the server makes")
    parser.add_argument("--event-bytes", metavar="N", type=float, default=_DEFAULT_EVENT_BYTES,
                        help="with --rate: size of an event (default: %(default)s, as at Metadata)")  # fmt: skip
    parser.add_argument("--measure", metavar="LOG", nargs="+", help="measure rate and size in these logs")
    parser.add_argument("--server-version", metavar="VERSION", default="",
                        help="such as 1.35; by itself the image's version, else 1.36")  # fmt: skip
    parser.add_argument("-o", "--output", choices=("text", "json", "sarif"), default="text",
                        help="how to print (default: %(default)s)")  # fmt: skip
    parser.add_argument("--fail-on", choices=_SEVERITIES, default="unmet",
                        help="the least severity that ends with exit code 1 (default: %(default)s)")  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check and print what was found."""
    from kubewitness.policy.findings import Severity

    if not args.file and not args.live:
        raise UserError("name a manifest, a configuration or `ps` output, or say --live")
    reports = list(_reports(args))
    if args.output == "text":
        for report in reports:
            sys.stdout.writelines(f"{folded(line, sys.stdout)}\n" for line in text(report))
    else:
        document = [_json(report) for report in reports] if args.output == "json" else _sarif(reports)
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    is_bad = any(report.at_least(Severity(args.fail_on)) for report in reports)
    return ExitCode.FINDINGS if is_bad else ExitCode.OK


def _reports(args: argparse.Namespace) -> Iterator["Report"]:
    from kubewitness.apiserver.check import check
    from kubewitness.apiserver.context import Unknown
    from kubewitness.apiserver.hostfiles import RootFiles, running
    from kubewitness.apiserver.live import compare
    from kubewitness.apiserver.yamltext import EditError

    processes = running() if args.live else []
    if args.live and not processes:
        raise UserError(
            "no kube-apiserver runs here\n"
            "  help: k3s, microk8s and managed clouds run it inside another program; check their configuration instead",
            ExitCode.RUNTIME,
        )
    if args.file:
        data = read_bytes(args.file)
        question = _question(args, *_files(args))
        try:
            report = check(data, args.file, question)
        except EditError as error:
            raise UserError(f"{args.file}:{error.line}: {error}") from error
        yield compare(report, processes) if processes else report
        return
    for process in processes:
        root = args.root or process.root
        files: HostFiles = RootFiles(root) if os.access(root, os.R_OK | os.X_OK) else Unknown()
        yield compare(check(process.command, _name(process), _question(args, files, "")), [process])


def _name(process: "Process") -> str:
    return f"/proc/{process.pid}/cmdline"


def _files(args: argparse.Namespace) -> "tuple[HostFiles, str]":
    """Find the host's root, said or told from where the file lies; give it and the file's path there."""
    from kubewitness.apiserver.context import Unknown
    from kubewitness.apiserver.hostfiles import RootFiles

    path = None if args.file == "-" else Path(args.file).absolute()
    root: Path | None = args.root.absolute() if args.root is not None else None
    if root is None and path is not None:
        usual = next((one for one in _USUAL if one in str(path)), None)
        if usual is not None:
            root = Path(str(path).partition(usual)[0] or "/")
        elif path.name in ("kind-config.yaml", "audit-patch.yaml"):
            root = path.parent
    if root is None:
        return Unknown(), ""
    inside = path is not None and path.is_relative_to(root)
    return RootFiles(root), f"/{path.relative_to(root)}" if path is not None and inside else ""


def _question(args: argparse.Namespace, files: "HostFiles", host_file: str) -> "Question":
    from kubewitness.apiserver.check import Question
    from kubewitness.emit.backends.flagvalues import FlagError
    from kubewitness.emit.backends.options import version_key

    if args.server_version:
        try:
            version_key(args.server_version)
        except FlagError as error:
            raise UserError(str(error)) from error
    policy = read_bytes(args.policy) if args.policy else None
    return Question(files, policy, args.policy or "", args.server_version, args.profile, _rate(args), None, host_file)


def _rate(args: argparse.Namespace) -> "Rate | None":
    from kubewitness.apiserver.context import Rate

    if args.measure:
        return measure(args.measure)
    if args.rate is None:
        return None
    if not 0 < args.rate < float("inf") or not 0 < args.event_bytes < float("inf"):
        raise UserError("--rate and --event-bytes must be positive numbers")
    return Rate(args.rate, args.event_bytes, args.rate, is_measured=False)


def measure(paths: Sequence[str]) -> "Rate":
    """Count events, bytes and seconds of logs. Raises UserError when they say nothing."""
    from kubewitness._kit.opening import TornError, read_chunks
    from kubewitness.apiserver.context import Rate
    from kubewitness.event import microtime

    count, total, seconds = 0, 0, dict[int, int]()
    for path in _plain_files(paths):
        rest = b""
        try:
            for chunk in read_chunks(path):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    found = _STAMP.search(line)
                    if found:
                        count += 1
                        total += len(line) + 1
                        second = microtime.parse(found[1].decode()) // 1_000_000
                        seconds[second] = seconds.get(second, 0) + 1
        except TornError:
            continue
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from error
        except microtime.TimeError:
            continue
    if len(seconds) < 2:
        raise UserError(f"--measure: {', '.join(paths)}: no audit events over two seconds, so no rate")
    span_s = max(seconds) - min(seconds) + 1
    busy: dict[int, int] = {}
    for second, events in seconds.items():
        busy[second // _BUSY_S] = busy.get(second // _BUSY_S, 0) + events
    return Rate(count / span_s, total / count, max(max(busy.values()) / _BUSY_S, count / span_s), is_measured=True)


def _plain_files(paths: Sequence[str]) -> Iterator[Path]:
    for text_ in paths:
        path = Path(text_)
        yield from sorted(one for one in path.iterdir() if one.is_file()) if path.is_dir() else [path]


def text(report: "Report") -> Iterator[str]:
    """Write a report as lines: findings with what to paste, the verdict, then notes."""
    for finding in report.findings:
        where = f"{finding.file}:{finding.line}:{finding.column}"
        yield printable(f"{where}: {finding.severity.value} {finding.code}: {finding.message}")
        if finding.help:
            yield printable(f"    help: {finding.help}")
        for line in finding.paste.splitlines():
            yield printable(f"    paste: {line}")
    counts = [
        f"{count} {severity}"
        for severity in _SEVERITIES
        if (count := sum(finding.severity.value == severity for finding in report.findings))
    ]
    verdict = "starts" if report.starts else "does not start"
    found = ", ".join(counts) if counts else "nothing found"
    form = report.setup.form.value
    yield printable(f"{report.setup.file}: {form}: kube-apiserver {report.server_version} {verdict}; {found}")
    for note in report.notes:
        yield printable(f"    note: {note}")


def _json(report: "Report") -> dict[str, object]:
    return {
        "file": report.setup.file,
        "form": report.setup.form.value,
        "serverVersion": report.server_version,
        "starts": report.starts,
        "findings": [_finding(finding) for finding in report.findings],
        "notes": list(report.notes),
    }


def _finding(finding: "SetupFinding") -> dict[str, object]:
    return {
        "code": finding.code,
        "severity": finding.severity.value,
        "file": finding.file,
        "line": finding.line,
        "column": finding.column,
        "message": finding.message,
        "help": finding.help,
        "paste": finding.paste,
    }


def _sarif(reports: Sequence["Report"]) -> dict[str, object]:
    from kubewitness.apiserver.findings import CODES
    from kubewitness.cli.render.sarif import Result, sarif
    from kubewitness.policy.check import CODES as POLICY_CODES

    codes = {**POLICY_CODES, **CODES}
    return sarif(
        {code.code: (code.severity.value, code.summary) for code in codes.values()},
        (
            Result(one.code, one.severity.value, "\n".join(part for part in (one.message, one.help, one.paste) if part),
                   one.file.lstrip("/"), one.line, one.column)
            for report in reports
            for one in report.findings
        ),
    )  # fmt: skip
