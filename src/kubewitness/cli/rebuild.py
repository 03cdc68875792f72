"""
`kubewitness rebuild`: make again what follows from the segments of a store, its index and its tiles.

Nothing is removed before what replaces it was made and checked; tiles are kept when the segments do not lead to every
head that was signed. `--recompress` writes cold segments anew in less space, without any proof changing.
"""

import argparse
import sys

from kubewitness.cli.answer import counted
from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.progress import Progress
from kubewitness.cli.store import add_store_arguments, clusters_of, data_of

HELP = """Make again what follows from the segments of a store: its index and its tiles.

  kubewitness rebuild --data /var/lib/kubewitness
  kubewitness rebuild --data /var/lib/kubewitness --cluster prod --index
  kubewitness rebuild --data /var/lib/kubewitness --recompress

`serve` must not be running on it. Ends with 3 if the segments do not lead to every head that was signed; then the
tiles stay as they are."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the store and what to make again."""
    add_store_arguments(parser)
    group = parser.add_argument_group("what")
    group.add_argument("--index", action="store_true", help="the index only")
    group.add_argument("--tiles", action="store_true", help="the tiles only")
    group.add_argument("--recompress", action="store_true", help="write cold segments anew in less space")


def run(args: argparse.Namespace) -> int:
    """Make it, and say what was made."""
    from kubewitness.assembly.rebuilding import Rebuilding
    from kubewitness.keep.store.errors import DamagedError, LockedError

    data = data_of(args)
    is_all = not (args.index or args.tiles or args.recompress)
    code = ExitCode.OK
    clusters = clusters_of(args, data)
    if not clusters:
        raise UserError(f"{data.path} holds no log of a cluster")
    for meta in clusters:
        name = meta.cluster
        try:
            with Rebuilding(data.log_path(name), name, meta.origin) as work:
                if args.tiles or is_all:
                    with Progress(f"{name}: tiles", lambda: None):
                        size = work.tiles()
                    made = f"tiles of {counted(size, 'event')} made again; they lead to every signed head"
                    _say(f"{name}: {made if size else 'no head was signed yet, so there are no tiles'}")
                if args.index or is_all:
                    with Progress(f"{name}: index", lambda: None):
                        manifest = work.index()
                    files = counted(len(manifest.files), "file")
                    _say(f"{name}: index of {counted(manifest.rows, 'event')} made again, in {files}")
                if args.recompress:
                    with Progress(f"{name}: segments", lambda: None):
                        done = work.recompress()
                    before, after = sum(one.before for one in done), sum(one.after for one in done)
                    _say(f"{name}: {counted(len(done), 'segment')} written anew, {before:,} bytes are now {after:,}")
        except (LockedError, BlockingIOError) as error:
            raise UserError(
                f"{name}: another process writes to this store: stop `serve` first, or the `tail` or import that does",
                ExitCode.RUNTIME,
            ) from error
        except DamagedError as error:
            _say(f"{name}: {error}; what was there stays")
            code = ExitCode.INTEGRITY
    return code


def _say(text: str) -> None:
    from kubewitness.cli.render.printable import printable

    sys.stdout.write(f"{printable(text)}\n")
    sys.stdout.flush()
