"""`policy init`: a commented policy to start from."""

import argparse
import sys
from importlib.resources import files
from pathlib import Path

from kubewitness.cli.errors import ExitCode, UserError

DESCRIPTION = """\
Print a commented audit policy to start from, or write it to a file.

  kubewitness policy init --list
  kubewitness policy init --preset detection-ready > audit-policy.yaml
  kubewitness policy init --preset cis --write /etc/kubernetes/audit-policy.yaml

  minimal          every request once, without bodies
  cis              CIS Kubernetes Benchmark 3.2.1 and 3.2.2
  forensic         every change with what was asked and what came of it
  detection-ready  every technique that an audit log can show is told from daily work
  gke-like         the division of labour of a managed cloud
"""
PRESETS = ("minimal", "cis", "forensic", "detection-ready", "gke-like")
CLAIMS = {
    "minimal": ("no-secret-bodies", "exec-visible", "* never above Metadata"),
    "cis": ("cis-3.2.2", "no-secret-bodies", "exec-visible", "rbac-changes-with-bodies"),
    "forensic": ("no-secret-bodies", "exec-visible", "rbac-changes-with-bodies"),
    "detection-ready": ("no-secret-bodies", "exec-visible", "rbac-changes-with-bodies"),
    "gke-like": ("cis-3.2.2", "no-secret-bodies", "exec-visible", "rbac-changes-with-bodies"),
}
"""What each is proved to keep (`policy prove`)."""
FULL = {"minimal": 30, "cis": 48, "forensic": 57, "detection-ready": 57, "gke-like": 53}
"""Techniques of 57 that each fully shows (`policy coverage`)."""


def add_subcommand(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `init`."""
    parser = subparsers.add_parser(
        "init",
        help="a commented policy to start from",
        description=DESCRIPTION,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--preset", choices=PRESETS, default="detection-ready", help="which (default: %(default)s)")
    parser.add_argument("--list", action="store_true", help="say what each preset keeps and shows")
    parser.add_argument("--write", metavar="FILE", type=Path, help="write it there, unless there is such a file")
    parser.add_argument("--force", action="store_true", help="with --write: replace the file")
    parser.set_defaults(run=run)


def preset(name: str) -> str:
    """Give the text of a preset."""
    return files("kubewitness.policy.workshop").joinpath(f"presets/{name}.yaml").read_text("utf-8")


def run(args: argparse.Namespace) -> int:
    """Print or write the preset."""
    if args.list:
        for name in PRESETS:
            sys.stdout.write(f"{name}: {FULL[name]} of 57 techniques fully seen; {', '.join(CLAIMS[name])}\n")
        return ExitCode.OK
    text = preset(args.preset)
    if args.write is None:
        sys.stdout.write(text)
        return ExitCode.OK
    try:
        with args.write.open("w" if args.force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise UserError(f"{args.write}: there is such a file; --force replaces it") from error
    except OSError as error:
        raise UserError(f"{args.write}: cannot be written: {error.strerror}") from error
    return ExitCode.OK
