"""`policy check --fix` and `--diff`: write the mended policy, or show what would be written."""

import contextlib
import difflib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from kubewitness.cli.errors import UserError
from kubewitness.cli.render.printable import printable

if TYPE_CHECKING:
    from kubewitness.policy.check import Report, Severity
    from kubewitness.policy.repair.mend import Mended


def mend_file(
    path: str,
    data: bytes,
    check: "Callable[[bytes], Report]",
    server_version: str,
    least: "Severity",
    *,
    shows_diff: bool,
    writes: bool,
) -> "Mended":
    """Mend one policy; say on standard error what was done, and show or write the new text. Raises UserError."""
    from kubewitness.policy.repair.mend import mend

    mended = mend(data, check, server_version, least)
    for taken in mended.taken:
        print(printable(f"{path}: {taken.finding.code}: {taken.says}"), file=sys.stderr)  # noqa: T201
    for left in mended.left:
        print(printable(f"{path}: {left.finding.code} is left as it is: {left.why}"), file=sys.stderr)  # noqa: T201
    if shows_diff:
        sys.stdout.writelines(difference(path, data, mended.data))
    elif path == "-":
        sys.stdout.buffer.write(mended.data)
        sys.stdout.buffer.flush()
    if writes and path != "-" and mended.data != data:
        replace_file(Path(path), mended.data)
    return mended


def difference(path: str, old: bytes, new: bytes) -> Iterator[str]:
    """Give the unified difference of two texts, harmless to a terminal."""
    before, after = (text.decode("utf-8", "replace").splitlines(keepends=True) for text in (old, new))
    for line in difflib.unified_diff(before, after, f"{path} (now)", f"{path} (mended)"):
        yield printable(line.rstrip("\r\n")) + "\n"


def replace_file(path: Path, data: bytes) -> None:
    """Put new content in the place of a file at once, with the old one's mode and owner. Raises UserError."""
    target = path.resolve()
    temporary = ""
    try:
        status = target.stat()
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), status.st_mode & 0o7777)
            with contextlib.suppress(PermissionError):
                os.fchown(file.fileno(), status.st_uid, status.st_gid)
            os.fsync(file.fileno())
        Path(temporary).replace(target)
    except OSError as error:
        if temporary:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error
