"""`policy init`: a commented policy to start from."""

import argparse
import sys
from pathlib import Path

from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.policy_presets import PRESETS, described, preset

DESCRIPTION = f"""\
Print a commented audit policy to start from, or write it to a file.

  kubewitness policy init --list
  kubewitness policy init --preset detection-ready > audit-policy.yaml
  kubewitness policy init --preset cis --write /etc/kubernetes/audit-policy.yaml

{described()}"""


def add_subcommand(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `init`."""
    parser = subparsers.add_parser(
        "init",
        help="a commented policy to start from",
        description=DESCRIPTION,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--preset", metavar="NAME", choices=tuple(PRESETS), default="detection-ready",
                        help="which of them (default: %(default)s)")  # fmt: skip
    parser.add_argument("--list", action="store_true", help="say what each preset keeps and shows")
    parser.add_argument("--write", metavar="FILE", type=Path, help="write it there, unless there is such a file")
    parser.add_argument("--force", action="store_true", help="with --write: replace the file")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print or write the preset."""
    if args.list:
        for name, one in PRESETS.items():
            sys.stdout.write(f"{name}: {one.fully_seen} of 57 techniques fully seen; {', '.join(one.claims)}\n")
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
