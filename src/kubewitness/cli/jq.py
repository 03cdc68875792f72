"""`kubewitness jq FILTER [SRC...]`: what jq prints over audit logs, sooner; with jq's own options and exit codes."""

import argparse

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
    from kubewitness.look.query.jq import lib
    from kubewitness.look.query.jq import run as runner
    from kubewitness.look.query.source import SourceError

    prefilter = words[0] != "--no-prefilter"
    words = words if prefilter else words[1:]
    jq = runner.find_jq()
    if jq is None and not lib.is_installed():
        raise UserError("there is no jq on PATH, nor libjq: install jq, or `pip install 'kubewitness[jq]'`")
    try:
        return runner.run(jq, words, prefilter=prefilter) if jq else lib.run(words, prefilter=prefilter)
    except SourceError as error:
        raise UserError(str(error)) from error
    except lib.UnsupportedError as error:
        raise UserError(f"there is no jq on PATH, and libjq cannot do this alone: {error}") from error
