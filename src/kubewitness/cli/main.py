"""
The door of the command line: find the command, import only its module, run it, turn errors into exit codes.

A command is a module of this package with `HELP`, `add_arguments(parser)` and `run(args) -> int`.
`COMMANDS` names each with the sentence `kubewitness --help` prints, so that help imports none of them.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from kubewitness import __version__
from kubewitness.cli.errors import ExitCode, UserError

COMMANDS: dict[str, str] = {
    "jq": "run a jq filter over audit logs: what jq prints, sooner",
    "policy": "check, evaluate and explain audit policies",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; give its exit code (design section 8)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()
    except UserError as error:
        print(f"{_program()}: error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except BrokenPipeError:
        # the reader has gone (`| head`): not an error, and nothing more may be written at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except KeyboardInterrupt:
        return 130
    return code


def _program() -> str:
    name = os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] else "kubewitness"  # noqa: PTH119
    return "kubectl witness" if name == "kubectl-witness" else "kubewitness"


def _dispatch(arguments: list[str]) -> int:
    if arguments and arguments[0] in COMMANDS:
        name = arguments[0]
        module = importlib.import_module(f"kubewitness.cli.{name.replace('-', '_')}")
        parser = argparse.ArgumentParser(
            prog=f"{_program()} {name}",
            description=module.HELP,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(parser)
        return int(module.run(parser.parse_args(arguments[1:])))
    parser = argparse.ArgumentParser(
        prog=_program(),
        description="The Kubernetes audit log as evidence: who did what, when, from where, with what result.",
        epilog="commands:\n" + "".join(f"  {name:<12} {text}\n" for name, text in COMMANDS.items()),
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"kubewitness {__version__}")
    parser.add_argument("command", nargs="?", metavar="COMMAND", help="one of the commands below")
    args, _ = parser.parse_known_args(arguments)
    if args.command is None:
        parser.print_help()
        return ExitCode.OK
    raise UserError(f"there is no command {args.command!r}; `{_program()} --help` lists them")
