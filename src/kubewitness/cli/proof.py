"""`kubewitness proof`: the proof that one Event is in the signed log, as a C2SP tlog-proof."""

import argparse
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kubewitness.cli.answer import counted
from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.store import add_store_arguments, cluster_of, data_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kubewitness.keep.seal.proof import Evidence
    from kubewitness.keep.store.evidence import Archive

HELP = """Print the proof that one Event is in the signed log: a C2SP tlog-proof, salts included.

  kubewitness proof 48213 --data /var/lib/kubewitness > 48213.tlog-proof
  kubewitness proof 1f3c9a52-5d5e-4b0c-9d5c-0c1f2f6c8e11 --data /var/lib/kubewitness
  kubewitness proof event.json --data /var/lib/kubewitness

EVENT is the log index that `search` shows, an auditID, or a file with the exact bytes of the Event."""

_LISTED = 10
_STAGE = b'"stage":"'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the Event and the store."""
    parser.add_argument("event", metavar="EVENT", help="a log index, an auditID, or a file with the Event's bytes")
    add_store_arguments(parser)
    parser.add_argument("-o", "--output", metavar="FILE", default="-", help="where to write (default: standard output)")


def run(args: argparse.Namespace) -> int:
    """Find the Event, prove it, write the proof."""
    with open_archive(args) as archive:
        evidence = _one(archive, args.event)
        proof = archive.proof(evidence)
    if args.output == "-":
        sys.stdout.flush()
        sys.stdout.buffer.write(proof)
    else:
        Path(args.output).write_bytes(proof)
    return ExitCode.OK


@contextmanager
def open_archive(args: argparse.Namespace) -> "Iterator[Archive]":
    """Open the log that is asked for; what cannot be proved is told as a UserError."""
    from kubewitness.keep.seal.errors import LeafError, ProofError, TileError
    from kubewitness.keep.store.errors import DamagedError
    from kubewitness.keep.store.evidence import Archive

    data = data_of(args)
    meta = cluster_of(args, data)
    try:
        with data.look(meta.cluster) as root:
            yield Archive(root)
    except FileNotFoundError as exc:
        raise UserError(f"{data.log_path(meta.cluster)}: no Event was stored yet", ExitCode.INCOMPLETE) from exc
    except TileError as exc:
        raise UserError(f"{exc}: tiles are missing, which `rebuild` makes again", ExitCode.INCOMPLETE) from exc
    except DamagedError as exc:
        raise UserError(str(exc), ExitCode.INCOMPLETE) from exc
    except (LeafError, ProofError) as exc:
        raise UserError(f"{exc}\n  help: `verify` says what is wrong with this store", ExitCode.INTEGRITY) from exc


def find(archive: "Archive", event: str) -> "Iterator[Evidence]":
    """Find Events by index, auditID or file. Raises UserError for a file that holds no Event."""
    from kubewitness.keep.store.evidence import same_event, with_audit_id

    if event.isascii() and event.isdecimal():
        check_signed(archive, int(event))
        return archive.at([int(event)])
    path = Path(event)
    if len(event) < 1000 and path.is_file():
        raw = path.read_bytes()
        return archive.search(same_event(raw.removesuffix(b"\n").removesuffix(b"\r")))
    return archive.search(with_audit_id(event))


def check_signed(archive: "Archive", index: int) -> None:
    """See that an index is one of an Event that was signed. Raises UserError."""
    if index >= archive.head.size:
        message = f"Event {index} is not signed: the head is one of {counted(archive.head.size, 'event')}"
        raise UserError(message, ExitCode.INCOMPLETE)


def _one(archive: "Archive", event: str) -> "Evidence":
    found = list(find(archive, event))
    if not found:
        raise UserError(f"no Event {event!r} is in this log")
    if len(found) > 1:
        lines = [f"  {evidence.index}{_stage_of(evidence.kept.line)}" for evidence in found[:_LISTED]]
        more = f"\n  ... and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
        raise UserError(
            f"{counted(len(found), 'event')} of {event!r} are in this log; name one by its index:\n"
            + "\n".join(lines)
            + more
        )
    check_signed(archive, found[0].index)
    return found[0]


def _stage_of(line: bytes) -> str:
    at = line.find(_STAGE)
    if at < 0:
        return ""
    return "  " + line[at + len(_STAGE) : line.find(b'"', at + len(_STAGE))].decode("utf-8", "replace")
