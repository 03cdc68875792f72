"""`kubewitness export`: a bundle of evidence that somebody else can check with nothing but Python."""

import argparse
import re
import zipfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kubewitness import __version__
from kubewitness.cli.answer import counted, say
from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.proof import check_signed, find, open_archive
from kubewitness.cli.store import add_store_arguments, cluster_of, data_of, given_keys, published_keys

if TYPE_CHECKING:
    from kubewitness.keep.seal.proof import Evidence
    from kubewitness.keep.store.evidence import Archive

HELP = """Write a bundle of evidence that somebody else can check offline, with nothing but Python.

  kubewitness export --evidence case-17.zip --event 48213 --event 48215-48220
  kubewitness export --evidence case-17/ --event 1f3c9a52-5d5e-4b0c-9d5c-0c1f2f6c8e11

The bundle has the exact bytes of each Event, its salts and proof, the signed checkpoint, the keys, a README and
verify.py. `kubewitness verify case-17.zip` checks it as well."""

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
    add_store_arguments(parser)
    parser.add_argument(
        "--key",
        metavar="KEY",
        action="append",
        default=[],
        help="verifier keys to put in, if not those beside the data",
    )


def run(args: argparse.Namespace) -> int:
    """Write the bundle."""
    from kubewitness.keep.store.bundle import Bundle

    out = Path(args.evidence)
    if not args.event:
        raise UserError("no Event was chosen: name some with --event")
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
        "chosen_by": args.event,
        "made_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "made_by": f"kubewitness {__version__}",
    }
    with open_archive(args) as archive:
        events = _chosen(archive, args.event)
        bundle = Bundle(archive, keys, meta.cluster, told)
        _write(out, bundle.files(events))
    say(f"{out}: {counted(len(bundle.indexes), 'event')}, proved by the head of {archive.head.size:,}")
    return ExitCode.OK


def _chosen(archive: "Archive", words: list[str]) -> "list[Evidence]":
    """Find all Events that are named, each once, in the order of the log."""
    found: dict[int, Evidence] = {}
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
    """Write files to a directory or an archive; on an error nothing is left."""
    if out.suffix == ".zip":
        part = out.with_name(out.name + ".part")
        try:
            with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, content in files:
                    entry = zipfile.ZipInfo(f"{out.stem}/{name}", date_time=(1980, 1, 1, 0, 0, 0))
                    entry.external_attr = 0o600 << 16
                    entry.compress_type = zipfile.ZIP_DEFLATED
                    archive.writestr(entry, content)
            part.chmod(0o600)
            part.rename(out)
        finally:
            part.unlink(missing_ok=True)
        return
    out.mkdir(mode=0o700)
    (out / "events").mkdir(mode=0o700)
    for name, content in files:
        path = out / name
        path.write_bytes(content)
        path.chmod(0o600)
