"""`kubewitness keys`: the public keys of a log, and a new one in place of the old."""

import argparse
import json

from kubewitness.cli.answer import say
from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.store import add_store_arguments, cluster_of, clusters_of, data_of, keys_path, published_keys

HELP = """Show the public keys of a log, to be handed to those who verify it, or rotate them.

  kubewitness keys show --data /var/lib/kubewitness
  kubewitness keys rotate --data /var/lib/kubewitness --cluster prod

After a rotation heads are signed with the new key and the one before it, so that who knows only the old one can go
on; after the next rotation it signs no more. Heads that were signed stay verified by the keys that signed them.
A running server takes the new key at its next start. Private keys are never printed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands."""
    subparsers = parser.add_subparsers(title="commands", dest="subcommand", metavar="COMMAND", required=True)
    show = subparsers.add_parser("show", help="print the verifier keys, newest first", allow_abbrev=False)
    add_store_arguments(show)
    show.add_argument("-o", "--output", choices=("text", "json"), default="text", help="text, json (default: text)")
    show.set_defaults(run=_show)
    rotate = subparsers.add_parser("rotate", help="make a new key that signs from now on", allow_abbrev=False)
    add_store_arguments(rotate)
    rotate.add_argument(
        "--no-overlap",
        action="store_true",
        help="the old key signs no more at once: for a key that others may have",
    )
    rotate.set_defaults(run=_rotate)


def run(args: argparse.Namespace) -> int:
    """Run the sub-command that was chosen."""
    return int(args.run(args))


def _show(args: argparse.Namespace) -> int:
    data = data_of(args)
    shown = {meta.cluster: published_keys(args, data, meta.cluster) for meta in clusters_of(args, data)}
    if not any(shown.values()):
        raise UserError(f"{keys_path(args, data)}: no key of {data.path} is there")
    if args.output == "json":
        print(json.dumps({cluster: [str(key) for key in keys] for cluster, keys in shown.items()}, indent=2))  # noqa: T201
        return ExitCode.OK
    for keys in shown.values():
        for key in keys:
            print(key)  # noqa: T201
    return ExitCode.OK


def _rotate(args: argparse.Namespace) -> int:
    from kubewitness.keep.seal.errors import NoteError
    from kubewitness.keep.store.errors import LockedError, NoKeyError
    from kubewitness.keep.store.layout import KeyDir

    data = data_of(args)
    meta = cluster_of(args, data)
    path = keys_path(args, data)
    if not path.is_dir() and not args.no_overlap:
        raise UserError(f"{path}: there are no keys; --keys DIR names another place")
    try:
        new = KeyDir(path).rotate(meta, keep=0 if args.no_overlap else 1)
    except NoteError as exc:
        raise UserError(f"{path}: {exc}") from exc
    except LockedError as exc:
        raise UserError(f"{path}: {exc}; nothing was changed", ExitCode.RUNTIME) from exc
    except NoKeyError as exc:
        raise UserError(
            f"{path}: no key of {meta.cluster} is there; --keys DIR names another place\n"
            "  help: where the key is lost, --no-overlap makes a new one"
        ) from exc
    print(new.key)  # noqa: T201
    say(f"{meta.cluster}: from its next start the server signs with this key; hand it to those who verify")
    return ExitCode.OK
