"""`kubewitness jq FILTER [SRC...]`: what jq prints over audit logs, sooner; with jq's own options and exit codes."""

import argparse
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from kubewitness.cli.errors import ExitCode, UserError

HELP = """\
Run a jq filter over audit logs: exactly what the jq on PATH prints, with its options and exit codes.
Inputs that the filter provably passes over are not given to jq, which makes selective filters many times faster.

  kubewitness jq -c 'select(.verb == "delete") | [.user.username, .objectRef.name]' audit.log
  kubewitness jq -r 'select(.objectRef.subresource == "exec") | .requestURI' /var/log/kubernetes/audit/
  tail -f audit.log | kubewitness jq -c 'select(.responseStatus.code == 403)'

SRC is a file, plain or .gz or .zst, a directory of rotated logs, or - for standard input, which is also the default.
All options are jq's, see jq(1); besides, as the first word:
  --no-prefilter   give jq every input
and then
  --data DIR [--cluster NAME]   read a kubewitness store
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take every word as it is: the options are jq's."""
    parser.usage = "%(prog)s [--no-prefilter] [jq's options] FILTER [SRC ...]"
    parser.prefix_chars = "\0"  # so that no word is an option to argparse
    parser.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.set_defaults(parser=parser)


def run(args: argparse.Namespace) -> int:
    """Run jq; its exit code is ours."""
    words: list[str] = args.words
    if not words or words[0] in ("-h", "--help"):
        args.parser.print_help()
        return ExitCode.OK if words else ExitCode.USAGE
    prefilter = words[0] != "--no-prefilter"
    words = words if prefilter else words[1:]
    with _store_as_input(words) as words:
        return _run(words, prefilter=prefilter)


@contextmanager
def _store_as_input(words: list[str]) -> Iterator[list[str]]:
    """Let a store that the first words name be standard input; give the other words."""
    if words[:1] != ["--data"]:
        yield words
        return
    if len(words) < 2:
        raise UserError("--data: name a directory")
    data, words = words[1], words[2:]
    cluster = None
    if words[:1] == ["--cluster"]:
        cluster, words = words[1] if len(words) > 1 else None, words[2:]
    from kubewitness.look.query.source import SourceError
    from kubewitness.look.query.store import open_shelves

    try:
        shelves = open_shelves(data, cluster)
    except SourceError as error:
        raise UserError(str(error)) from error
    reading, writing = os.pipe()

    def feed() -> None:
        with suppress(BrokenPipeError), os.fdopen(writing, "wb", buffering=1 << 20) as pipe:
            for shelf in shelves:
                for line in shelf.lines():
                    pipe.write(line + b"\n")

    before = os.dup(0)
    os.dup2(reading, 0)
    os.close(reading)
    feeder = threading.Thread(target=feed, name="store", daemon=True)
    feeder.start()
    try:
        yield words
    finally:
        os.dup2(before, 0)
        os.close(before)
        feeder.join()
        for shelf in shelves:
            shelf.close()


def _run(words: list[str], *, prefilter: bool) -> int:
    from kubewitness.look.query.jq import lib
    from kubewitness.look.query.jq import run as runner
    from kubewitness.look.query.source import SourceError

    jq = runner.find_jq()
    if jq is None and not lib.is_installed():
        raise UserError("there is no jq on PATH, nor libjq: install jq, or `pip install 'kubewitness[jq]'`")
    try:
        return runner.run(jq, words, prefilter=prefilter) if jq else lib.run(words, prefilter=prefilter)
    except SourceError as error:
        raise UserError(str(error)) from error
    except lib.UnsupportedError as error:
        raise UserError(f"there is no jq on PATH, and libjq cannot do this alone: {error}") from error
