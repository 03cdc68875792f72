"""
The names that kube-apiserver's log backend gives to rotated files: parse, format, order.

`audit.log` is renamed to `audit-2026-11-23T03-11-14.360.log` (UTC, milliseconds), then compressed to `….log.gz`; we
also take `….log.zst`. A name that is not exactly of this form is not a rotated file, as pruning deletes by name.

Follows lumberjack v2: prefixAndExt, timeFromName, backupName. Differs: the time of a name is microseconds
since 1970, as everywhere here.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from kubewitness.event import microtime

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT)(\d\d)-(\d\d)-(\d\d)\.(\d{3})")
_COMPRESSED = (".gz", ".zst")


@dataclass(frozen=True, slots=True)
class Rotated:
    """A rotated file: the name of the log it was, when it was rotated, and its suffix of compression or ''."""

    base: str
    rotated_us: int
    compression: str = ""


def split_extension(base: str) -> tuple[str, str]:
    """Take `audit.log` apart as lumberjack does: what stands before the time, and what behind."""
    stem, dot, extension = base.rpartition(".")
    return (f"{stem}-", f".{extension}") if dot else (f"{base}-", "")


def parse(name: str, base: str) -> Rotated | None:
    """Read the name of a rotated file of the log `base` (names without folders); None if it is not one."""
    compression = next((suffix for suffix in _COMPRESSED if name.endswith(suffix)), "")
    prefix, extension = split_extension(base)
    plain = name.removesuffix(compression)
    if not plain.startswith(prefix) or not plain.endswith(extension):
        return None
    match = _TIME.fullmatch(plain[len(prefix) : len(plain) - len(extension)])
    if match is None:
        return None
    date, hour, minute, second, millisecond = match.groups()
    try:
        time = microtime.parse(f"{date}{hour}:{minute}:{second}.{millisecond}Z")
    except microtime.TimeError:
        return None
    return Rotated(base, time, compression)


def format_name(base: str, rotated_us: int, compression: str = "") -> str:
    """Give the name that the log `base` gets when it is rotated at this time."""
    prefix, extension = split_extension(base)
    text = microtime.format_us(rotated_us)  # 2026-11-23T03:11:14.360000Z
    return f"{prefix}{text[:19].replace(':', '-')}.{text[20:23]}{extension}{compression}"


def in_order(names: Iterable[str], base: str) -> list[str]:
    """Give those of `names` that belong to the log `base`, oldest first; the live file, if there, is last.

    Of a rotated file that is there both plain and compressed (compression was cut off) only the plain one is given.
    """
    found: dict[int, tuple[str, str]] = {}
    has_live = False
    for name in names:
        rotated = parse(name, base)
        if name == base:
            has_live = True
        elif rotated is not None:
            other = found.get(rotated.rotated_us)
            if other is None or rotated.compression < other[0]:
                found[rotated.rotated_us] = (rotated.compression, name)
    ordered = [found[time][1] for time in sorted(found)]
    return [*ordered, base] if has_live else ordered
