"""`kubewitness export`: a bundle of evidence that somebody else can check with nothing but Python."""

import argparse
import os
import re
import shutil
import zipfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from kubewitness import __version__
from kubewitness.cli.answer import counted, say
from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.filters import add_filter_arguments
from kubewitness.cli.proof import check_signed, find, open_archive
from kubewitness.cli.store import add_store_arguments, cluster_of, data_of, given_keys, published_keys

if TYPE_CHECKING:
    from kubewitness.keep.seal.proof import Evidence
    from kubewitness.keep.store.evidence import Archive

HELP = """Write a bundle of evidence that somebody else can check offline, with nothing but Python.

  kubewitness export --evidence case-17.zip --data /var/lib/kubewitness --user alice --verb delete --since 7d
  kubewitness export --evidence case-17.zip --event 48213 --event 48215-48220
  kubewitness export --evidence case-17/ --event 1f3c9a52-5d5e-4b0c-9d5c-0c1f2f6c8e11

The bundle has the exact bytes of each Event, its salts and proof, the signed checkpoint, the keys, a README and
verify.py. `kubewitness verify case-17.zip` checks it as well. Flags choose requests as in `search`; what --event names
comes on top."""

_RANGE = re.compile(r"([0-9]+)-([0-9]+)")
_MAX_RANGE = 1_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the bundle, the Events and the store."""
    parser.add_argument(
        "--evidence", metavar="OUT", required=True, help="the bundle: a name that ends in .zip, or a new directory"
    )
    parser.add_argument(
        "--event",
        metavar="EVENT",
        action="append",
        default=[],
        help="an index, a range of them (12-20), an auditID, or a file with an Event; may be given again",
    )
    add_filter_arguments(parser)
    add_store_arguments(parser)
    parser.set_defaults(sources=[], show_damage=False, verbose=False)
    parser.add_argument(
        "--key",
        metavar="KEY",
        action="append",
        default=[],
        help="verifier keys to put in, if not those beside the data",
    )


_OTHER_ARCHIVES = frozenset([".tar", ".tgz", ".gz", ".xz", ".zst", ".7z", ".json", ".jsonl"])
"""Names that nobody gives to a directory."""


def run(args: argparse.Namespace) -> int:
    """Write the bundle."""
    from kubewitness.keep.store.bundle import Bundle

    out = Path(args.evidence)
    flags = _flags(args)
    if not args.event and not flags:
        raise UserError("no Event was chosen: use flags as in `search`, or name some with --event")
    if out.suffix in _OTHER_ARCHIVES:
        raise UserError(f"{out}: a bundle is an archive whose name ends in .zip, or a directory")
    if out.exists():
        raise UserError(f"{out}: is there already")
    if not out.absolute().parent.is_dir():
        raise UserError(f"{out}: there is no directory for it")
    data = data_of(args)
    meta = cluster_of(args, data)
    keys = given_keys(args.key) or published_keys(args, data, meta.cluster)
    if not keys:
        raise UserError(f"{data.path}: no verifier key lies beside it; name one with --key")
    told = {
        "chosen_by": {"event": args.event} | flags if args.event else flags,
        "made_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "made_by": f"kubewitness {__version__}",
    }
    args.data, args.cluster = str(data.path), meta.cluster
    code, indexes = _search(args) if flags else (ExitCode.OK, [])
    with open_archive(args) as archive:
        signed = [index for index in indexes if index < archive.head.size]
        if len(signed) < len(indexes):
            say(f"left out: {counted(len(indexes) - len(signed), 'event')} that no head covers yet")
            code = ExitCode.INCOMPLETE
        events = _chosen(archive, args.event, signed)
        if not events:
            raise UserError("nothing to export: no Event that was chosen is signed", ExitCode.INCOMPLETE)
        bundle = Bundle(archive, keys, meta.cluster, told)
        _write(out, bundle.files(events))
    say(f"{out}: {counted(len(bundle.indexes), 'event')}, proved by the head of {archive.head.size:,}")
    return code


def _flags(args: argparse.Namespace) -> dict[str, Any]:
    """Give the filters that were given, by their flags."""
    from kubewitness.cli.filters import given

    others = {name: getattr(args, name) for name in ("since", "until", "where")}
    return given(args) | {name: value for name, value in others.items() if value}


def _search(args: argparse.Namespace) -> tuple[ExitCode, list[int]]:
    """Give the indexes of what the flags choose, and whether that is all."""
    from kubewitness.cli.answer import conclude
    from kubewitness.cli.engine import open_log
    from kubewitness.cli.progress import Progress

    with open_log(args) as log, Progress("reading", log.fraction) as progress:
        indexes = [index for (index,) in log.query("SELECT log_index FROM events ORDER BY log_index")]
        progress.stop()
        return ExitCode(conclude(log, args, found=len(indexes))), indexes


def _chosen(archive: "Archive", words: list[str], indexes: list[int]) -> "list[Evidence]":
    """Find all Events that are named, each once, in the order of the log."""
    found: dict[int, Evidence] = {evidence.index: evidence for evidence in archive.at(indexes)}
    for word in words:
        match = _RANGE.fullmatch(word)
        if match:
            first, last = int(match[1]), int(match[2])
            if not first <= last < first + _MAX_RANGE:
                raise UserError(f"--event {word}: not a range of indexes")
            check_signed(archive, last)
            events: Iterable[Evidence] = archive.at(range(first, last + 1))
        else:
            events = find(archive, word)
        before = len(found)
        seen = 0
        for evidence in events:
            check_signed(archive, evidence.index)
            found[evidence.index] = evidence
            seen += 1
        if not seen and len(found) == before:
            raise UserError(f"no Event {word!r} is in this log")
    return [found[index] for index in sorted(found)]


def _write(out: Path, files: Iterator[tuple[str, bytes]]) -> None:
    """Write files to a directory or an archive, readable by nobody else; on an error nothing is left."""
    part = out.with_name(out.name + ".part")
    _remove(part)  # of an export that was killed; through a link nothing is written
    try:
        if out.suffix == ".zip":
            _write_archive(part, out.stem, files)
        else:
            (part / "events").mkdir(mode=0o700, parents=True)
            part.chmod(0o700)
            for name, content in files:
                with _new(part / name) as file:
                    file.write(content)
        part.rename(out)
    finally:
        _remove(part)


def _write_archive(path: Path, top: str, files: Iterator[tuple[str, bytes]]) -> None:
    with _new(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            entry = zipfile.ZipInfo(f"{top}/{name}", date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o600 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)


def _new(path: Path) -> BinaryIO:
    return open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600))


def _remove(part: Path) -> None:
    if part.is_dir() and not part.is_symlink():
        shutil.rmtree(part)
    else:
        part.unlink(missing_ok=True)
