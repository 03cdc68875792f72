"""
`kubewitness tail`: bring the log file of a kube-apiserver into a store as it is written.

For API servers without a webhook, and beside one. Rotation, packing, truncation, replacement and deletion of the file
are lived through; what may have cost events is said on standard error.
"""

import argparse
import glob
import sys
from pathlib import Path

from kubewitness.cli.answer import counted, say
from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.interrupt import stopping
from kubewitness.cli.store import add_target_arguments, second_writer, target_of

HELP = """Bring the log file of a kube-apiserver into a store as it is written; ends with Ctrl-C or SIGTERM.

  kubewitness tail --data /var/lib/kubewitness --cluster prod /var/log/kubernetes/audit/audit.log

It begins with the oldest rotated file that is there, and after a restart goes on where it was."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the file and the store."""
    parser.usage = "%(prog)s --data DIR --cluster NAME FILE"
    parser.add_argument("file", metavar="FILE", help="the file that --audit-log-path of kube-apiserver names")
    add_target_arguments(parser)
    parser.add_argument("--once", action="store_true", help="bring what is there now, then end")


def run(args: argparse.Namespace) -> int:
    """Read until told to stop."""
    from kubewitness.assembly.tailing import Tailing
    from kubewitness.keep.seal.errors import NoteError
    from kubewitness.keep.store.errors import DamagedError, LockedError, StoreError
    from kubewitness.keep.store.layout import DataDir, KeyDir

    data, keys, cluster = target_of(args)
    path = Path(args.file)
    if not path.parent.is_dir() or path.is_dir():
        raise UserError(f"{path}: name the log file; its directory must be there")
    if args.once and not any(path.parent.glob(f"{glob.escape(path.stem)}*")):
        raise UserError(f"{path}: there is no such file, nor a rotated one of that name")
    alerts: list[str] = []

    def alert(text: str) -> None:
        alerts.append(text)
        say(text)

    work = Tailing(DataDir(data), KeyDir(keys), cluster, path, alert)
    try:
        with stopping(work.stop):
            stored = work.run(is_once=args.once)
    except LockedError as error:
        raise second_writer(data, cluster) from error
    except (DamagedError, NoteError) as error:
        raise UserError(f"{data}: {error}", ExitCode.INTEGRITY) from error
    except StoreError as error:
        raise UserError(
            f"{data}: {error}; what was not stored is read again after a restart", ExitCode.RUNTIME
        ) from error
    sys.stdout.write(f"{counted(stored, 'event')} stored\n")
    return ExitCode.INCOMPLETE if alerts else ExitCode.OK
