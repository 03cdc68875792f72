"""
`kubewitness import`: bring audit logs into a store, sealed and indexed.

Every shape that `search` reads is taken. Run again after a stop, it goes on: what is stored already is known. What is
no Event is kept in the quarantine with its place, and told.
"""

import argparse
import json
import sys
from typing import TYPE_CHECKING

from kubewitness.cli.answer import counted, say
from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.interrupt import stopping
from kubewitness.cli.progress import Progress
from kubewitness.cli.render.printable import printable
from kubewitness.cli.sources import Place, SourceReport, damage_lines, sources_of
from kubewitness.cli.store import add_target_arguments, second_writer, target_of

if TYPE_CHECKING:
    from kubewitness.assembly.importing import Imported

HELP = """Bring audit logs into a store, where they are sealed, indexed and asked with --data.

  kubewitness import --data /var/lib/kubewitness --cluster prod /var/log/kubernetes/audit/
  zcat old/*.gz | kubewitness import --data ./store --cluster prod -
  kubewitness import --data ./store --cluster gke-prod entries.json

An import that was stopped is run again: what is stored already is known by its content, and not stored twice."""

_INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add sources and the store."""
    parser.usage = "%(prog)s --data DIR --cluster NAME [SRC...]"
    parser.add_argument(
        "sources",
        nargs="*",
        metavar="SRC",
        help="audit log files (.gz and .zst too), directories of rotated files, or - for standard input",
    )
    add_target_arguments(parser)
    parser.add_argument("--show-damage", action="store_true", help="list every place that is no event")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="how to tell what was done")


def run(args: argparse.Namespace) -> int:
    """Import, and say what was done."""
    from kubewitness.assembly.importing import Import
    from kubewitness.keep.seal.errors import NoteError
    from kubewitness.keep.store.errors import BrokenIndexError, DamagedError, LockedError, StoreError
    from kubewitness.keep.store.layout import DataDir, KeyDir
    from kubewitness.look.query.source import SourceError, find_inputs

    data, keys, cluster = target_of(args)
    try:
        inputs = find_inputs(sources_of(argparse.Namespace(sources=args.sources, data=None)))
    except SourceError as error:
        raise UserError(str(error)) from error
    work = Import(DataDir(data), KeyDir(keys), cluster, inputs)
    try:
        with stopping(work.stop), Progress("importing", work.fraction):
            done = work.run()
    except LockedError as error:
        raise second_writer(data, cluster) from error
    except BrokenIndexError as error:
        raise UserError(
            f"{data}: the index of {cluster}, by which it is known what is stored, cannot be read: {error}\n"
            "  help: `kubewitness rebuild --index` makes it again; then run the same command again",
            ExitCode.RUNTIME,
        ) from error
    except (DamagedError, NoteError) as error:
        raise UserError(f"{data}: {error}", ExitCode.INTEGRITY) from error
    except StoreError as error:
        raise UserError(f"{data}: {error}; run the same command again to go on", ExitCode.RUNTIME) from error
    _tell(args, done, cluster)
    if work.is_stopped:
        say("stopped: run the same command again to go on")
        return _INTERRUPTED
    if done.trouble:
        say(f"not all is sealed: {done.trouble}")
        return ExitCode.INTEGRITY if done.is_damage else ExitCode.RUNTIME
    return ExitCode.INCOMPLETE if done.counts.damaged else ExitCode.OK


def _tell(args: argparse.Namespace, done: "Imported", cluster: str) -> None:
    counts = done.counts
    if args.output == "json":
        facts = {
            "cluster": cluster,
            "events": counts.events,
            "stored": counts.stored,
            "duplicates": counts.duplicates,
            "damaged": counts.damaged,
            "end": done.end,
            "sealed": done.sealed,
            "indexed": done.indexed,
            "seconds": done.seconds,
        }
        sys.stdout.write(f"{json.dumps(facts)}\n")
    else:
        before = f", {counts.duplicates:,} were there before" if counts.duplicates else ""
        sys.stdout.write(
            f"{counted(counts.events, 'event')} read, {counts.stored:,} stored{before}\n"
            f"the log of {printable(cluster)} has {counted(done.end, 'event')}, "
            f"{done.sealed:,} sealed, {done.indexed:,} indexed\n"
        )
    sys.stdout.flush()
    if counts.damaged:
        hint = "" if args.show_damage else "; --show-damage lists them"
        kept = counts.damaged - counts.torn
        if kept:
            places = "1 place is no event" if kept == 1 else f"{kept:,} places are no events"
            say(f"{places}; the bytes are kept in the quarantine of the log{hint}")
        if counts.torn:
            say(f"{counted(counts.torn, 'file')} could not be unpacked to the end{hint}")
        if args.show_damage:
            found = [Place(d.source, d.offset, d.line or None, d.reason, d.excerpt) for d in counts.damage]
            for line in damage_lines(SourceReport("import", damaged=counts.damaged, places=found)):
                print(line, file=sys.stderr)  # noqa: T201 - made harmless by damage_lines
