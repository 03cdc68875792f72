"""Policy files for the command line: reading bytes, loading a policy or saying why not, the flag for the server."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kubewitness.cli.errors import ExitCode, UserError

if TYPE_CHECKING:
    from kubewitness.policy.load import Document


def add_file_argument(parser: argparse.ArgumentParser) -> None:
    """Add the policy file that a command asks."""
    parser.add_argument("file", metavar="FILE", help="an audit policy, YAML or JSON; - is standard input")


def add_version_argument(parser: argparse.ArgumentParser) -> None:
    """Add --server-version."""
    parser.add_argument(
        "--server-version",
        choices=("1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36"),
        default="1.36",
        metavar="1.30..1.36",
        help='whose rules and resources hold; 1.35 and older refuse group: "*" (default: %(default)s)',
    )


def read_bytes(path: str) -> bytes:
    """Read a file, or standard input for `-`."""
    try:
        return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


def accepted(path: str, server_version: str) -> "Document":
    """Read a policy that the server accepts; a refused one ends the command with its sentence and exit code 1."""
    return accepted_with_bytes(path, server_version)[0]


def accepted_with_bytes(path: str, server_version: str) -> "tuple[Document, bytes]":
    """Read a policy that the server accepts, and give the bytes of its file, too."""
    from kubewitness.policy.load import read

    data = read_bytes(path)
    document = read(data, server_version)
    if document.error:
        raise UserError(
            f"{path}: kube-apiserver {server_version} refuses this policy: {document.error}", ExitCode.FINDINGS
        )
    return document, data
