"""The address of a server and its certificate authority on the command line: `--url` and `--ca`."""

from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from kubewitness.cli.errors import UserError


def address(text: str, flag: str = "--url", form: str = "https://HOST:PORT") -> SplitResult:
    """Read the address that a flag gives. Raises UserError."""
    refusal = UserError(f"{flag} {text}: expected {form}")
    try:
        url = urlsplit(text)
        has_place = bool(url.hostname) and url.port != 0
    except ValueError as error:
        raise refusal from error
    is_plain = text.isascii() and text.isprintable() and " " not in text
    if url.scheme not in ("http", "https") or not has_place or not is_plain:
        raise refusal
    return url


def authority(path: Path) -> bytes:
    """Read the certificates that `--ca` names. Raises UserError."""
    try:
        found = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    if b"-----BEGIN" not in found:
        raise UserError(f"{path}: this is no certificate in PEM")
    return found
