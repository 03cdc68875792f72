"""
The inputs of `kubewitness jq`: plain files, `.gz` and `.zst`, directories of rotated logs, standard input.

In: the names on the command line. Out: chunks of decompressed bytes. Compression is seen by content, not by name.
A name that cannot be opened is not an error here: jq is given it, and says so in its own words.
"""

import os
import re
import stat
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import zstandard
from isal import igzip

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
# <base>-<timestamp>.log, as kube-apiserver rotates; a timestamp of this form sorts as text
_ROTATED = re.compile(r"^(?P<base>.+)-(?P<time>\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3})(?P<ext>\.\w+)(?:\.gz|\.zst)?$")
_LOG_NAME = re.compile(r"\.(?:log|json|jsonl|ndjson)(?:\.gz|\.zst)?$")


class TornInputError(Exception):
    """A compressed file ends early or is damaged; what came before was given."""


def expand(name: str) -> list[str]:
    """Give the logs of a directory, oldest first and the live file last; of anything else its name."""
    if name == "-" or not os.path.isdir(name):  # noqa: PTH112 -- the name may be no path at all
        return [name]
    names = [entry.name for entry in os.scandir(name) if entry.is_file() and _LOG_NAME.search(entry.name)]
    return [os.path.join(name, one) for one in sorted(names, key=_age)]  # noqa: PTH118 -- names stay as jq would print them


def _age(name: str) -> tuple[str, int, str]:
    rotated = _ROTATED.match(name)
    if rotated:
        return (rotated["base"], 0, rotated["time"])
    return (re.sub(r"\.\w+$", "", name), 1, name)


def compression(name: str) -> bytes:
    """Give the magic bytes of a compressed regular file, else nothing."""
    try:
        if not stat.S_ISREG(Path(name).stat().st_mode):
            return b""
        with Path(name).open("rb") as file:
            head = file.read(4)
    except OSError:
        return b""
    return next((magic for magic in (_GZIP, _ZSTD) if head.startswith(magic)), b"")


def is_readable(name: str) -> bool:
    """Whether jq could open this file."""
    try:
        with Path(name).open("rb"):
            return not Path(name).is_dir()
    except OSError:
        return False


def reader(file: BinaryIO, magic: bytes = b"") -> Callable[[memoryview], int | None]:
    """Give the function that reads the bytes of an open file, unpacked, as soon as they are there."""
    if magic == _GZIP:
        unpack: Any = igzip.IGzipFile
        return _telling(unpack(fileobj=file, mode="rb").readinto)
    if magic == _ZSTD:
        return _telling(zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).readinto)
    return file.readinto  # type: ignore[attr-defined, no-any-return]  # a raw file has it


def _telling(readinto: Callable[[memoryview], int]) -> Callable[[memoryview], int]:
    """Give the same function, with one error for all that damage may cause."""

    def read(room: memoryview) -> int:
        try:
            return readinto(room)
        except (EOFError, zlib.error, zstandard.ZstdError, igzip.BadGzipFile) as error:
            raise TornInputError(str(error)) from error

    return read
