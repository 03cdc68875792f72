"""Policy files for the command line: reading bytes, loading a policy or saying why not, the flag for the server."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.policy.versions import DEFAULT_SERVER_VERSION, SERVER_VERSIONS, VersionError, known_version

if TYPE_CHECKING:
    from kubewitness.policy.load import Document


_BEGINNING = 4096


def add_file_argument(parser: argparse.ArgumentParser) -> None:
    """Add the policy file that a command asks."""
    parser.add_argument("file", metavar="FILE", help="an audit policy, YAML or JSON; - is standard input")


def add_version_argument(parser: argparse.ArgumentParser) -> None:
    """Add --server-version."""
    parser.add_argument(
        "--server-version",
        type=_version,
        choices=SERVER_VERSIONS,
        default=DEFAULT_SERVER_VERSION,
        metavar="1.30..1.36",
        help='whose rules and resources hold; 1.35 and older refuse group: "*" (default: %(default)s)',
    )


def _version(text: str) -> str:
    """Give the version that holds for `v1.36.2+rke2r1`; one that is not known is left for argparse to refuse."""
    try:
        return known_version(text)
    except VersionError:
        return text


def read_bytes(path: str) -> bytes:
    """Read a file, or standard input for `-`."""
    try:
        return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


def read_policy(path: str) -> bytes:
    """Read the file of a policy; a log in its place is wrong usage, and no policy that the server would refuse."""
    data = read_bytes(path)
    if data[:1] == b"{" and b'"auditID":' in data[:_BEGINNING]:
        raise UserError(f"{path}: this is an audit log, not an audit policy")
    return data


def parse_yaml(path: str, data: bytes, *, has_many: bool = False) -> object:
    """Parse what goes with a policy: one document, or the list of all. Raises UserError with the place."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return list(yaml.load_all(data, Loader=loader)) if has_many else yaml.load(data, Loader=loader)  # noqa: S506
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise UserError(f"{path}{where}: this is no YAML: {error.problem or error.context}") from error
    except yaml.reader.ReaderError as error:
        raise UserError(f"{path}: this is no YAML: {error.reason}") from error
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        # a date or number that there is not: 2026-02-30
        raise UserError(f"{path}: this is no YAML that can be read: {error}") from error


def accepted(path: str, server_version: str) -> "Document":
    """Read a policy that the server accepts; a refused one ends the command with its sentence and exit code 1."""
    return accepted_with_bytes(path, server_version)[0]


def accepted_with_bytes(path: str, server_version: str) -> "tuple[Document, bytes]":
    """Read a policy that the server accepts, and give the bytes of its file, too."""
    from kubewitness.policy.load import read

    data = read_policy(path)
    document = read(data, server_version)
    if document.error:
        raise UserError(
            f"{path}: kube-apiserver {server_version} refuses this policy: {document.error}", ExitCode.FINDINGS
        )
    return document, data
