"""
The door of the command line: find the command, import only its module, run it, turn errors into exit codes.

A command is a module of this package with `HELP`, `add_arguments(parser)` and `run(args) -> int`.
`COMMANDS` names each with the sentence `kubewitness --help` prints, so that help imports none of them, nor argparse.
"""

import gc
import importlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kubewitness import __version__
from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.held import release

if TYPE_CHECKING:
    from kubewitness.cli.parser import Parser

GROUPS: dict[str, dict[str, str]] = {
    "Start": {
        "demo": "walk through a recorded incident in ten seconds",
    },
    "Ask the log": {
        "search": "find requests by who, what, where, when and result",
        "who": "who created, deleted, changed, read, listed or exec'd into an object",
        "timeline": "what happened, in order: a histogram and plain sentences",
        "top": "count by user, verb, resource or any field; or the bytes they cost",
        "reconcile": "compare log files with a store, event by event",
        "gaps": "where a log is incomplete: silence, missing stages, clocks, down-time",
        "stats": "what a log holds: events, requests, levels, users, span, damage",
        "sql": "ask in SQL over the relation `events`",
        "jq": "run the jq filters of your runbook, faster",
    },
    "Prove": {
        "verify": "check that a store, a served log or an evidence bundle is what was signed",
        "proof": "print the proof that one event is in the signed log",
        "keys": "show or rotate the keys that sign a log's heads",
        "export": "write a bundle of evidence that somebody else can check offline",
    },
    "Decide what is logged": {
        "policy": "check, evaluate, explain, compare and prove audit policies",
        "apiserver": "turn auditing on, check how it is set up, prove it, watch over it",
        "emit": "write the audit events kube-apiserver would write for described requests",
    },
    "Keep the log": {
        "serve": "receive audit events from kube-apiserver and keep them as evidence",
        "init-server": "make certificates, configuration and the kubeconfig for kube-apiserver",
        "rebuild": "make index and tiles of a store again, from its segments",
        "tail": "bring the log file of a kube-apiserver into a store as it is written",
        "import": "bring audit logs into a store, sealed and indexed",
    },
    "This program": {
        "completion": "print the completion script of bash, zsh or fish",
    },
}
_MODULES = {"import": "import_"}  # a word of Python
COMMANDS: dict[str, str] = {name: text for group in GROUPS.values() for name, text in group.items()}

_SUMMARY = "The Kubernetes audit log as evidence: who did what, when, from where, with what result."
# What DuckDB raises when Ctrl-C reaches it inside a query: a bare RuntimeError with this text.
_DUCKDB_INTERRUPTED = "Query interrupted"
_INTERRUPTED = 130
_YOUNG_OBJECTS = 50_000


def main(argv: Sequence[str] | None = None, *, is_step: bool = False) -> int:
    """
    Run one command; give its exit code (docs/reference/exit-codes.md), or, as the program itself, end with it.

    As a step of another command it lets pass what ends that one too: Ctrl-C, and a reader that has gone.
    """
    if argv is not None:
        return _run(list(argv), is_step=is_step)
    gc.set_threshold(_YOUNG_OBJECTS, 10, 10)  # what is loaded now lives to the end: looking for garbage is lost time
    code = _run(sys.argv[1:], is_step=False)
    _end(code)
    return code


def _load_msgspec() -> None:
    """Load what every command needs, but not typing_extensions, which msgspec asks for and can do without.

    It would load as much again as msgspec itself.
    """
    if not {"msgspec", "typing_extensions"} & sys.modules.keys():
        sys.modules["typing_extensions"] = None  # type: ignore[assignment]  # means: there is none
        try:
            import msgspec  # noqa: F401
        finally:
            del sys.modules["typing_extensions"]


def _end(code: int) -> None:
    """End as Python would, but leave the memory to the kernel: taking it apart takes as long as a start."""
    threading = sys.modules.get("threading")
    if threading is not None and threading.active_count() > 1:
        return
    import atexit

    try:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except Exception:  # noqa: BLE001 - Python says what to do about it
        return
    os._exit(code)


def _run(arguments: list[str], *, is_step: bool) -> int:
    _prepare_streams()
    try:
        code = _code_of(arguments)
        sys.stdout.flush()
    except UserError as error:
        _complain(f"error: {error}")
        return error.exit_code
    except BrokenPipeError:
        if is_step:
            raise
        # the reader has gone (`| head`): not an error, and nothing more may be written at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except KeyboardInterrupt:
        if is_step:
            raise
        return _INTERRUPTED
    except OSError as error:
        _complain(f"error: {error.filename or 'input or output'}: {error.strerror or error}")
        return ExitCode.RUNTIME
    except MemoryError as error:
        _complain(f"error: out of memory{f': {error}' if str(error) else ''}")
        return ExitCode.RUNTIME
    except Exception as error:  # Python would exit with 1, which promises "findings"
        if isinstance(error, RuntimeError) and str(error) == _DUCKDB_INTERRUPTED:
            if is_step:
                raise KeyboardInterrupt from error
            return _INTERRUPTED
        return _report_bug(error)
    return code


def program() -> str:
    """Give the name a user called us by: `kubewitness`, or `kubectl witness` as a plug-in."""
    name = os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] else ""  # noqa: PTH119 - pathlib costs start-up
    return "kubectl witness" if name == "kubectl-witness" else "kubewitness"


def parser_of(name: str) -> "Parser":
    """Build the parser of one command."""
    import argparse

    from kubewitness.cli.parser import Parser

    module = importlib.import_module(f"kubewitness.cli.{_MODULES.get(name) or name.replace('-', '_')}")
    parser = Parser(
        prog=f"{program()} {name}",
        description=module.HELP,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    parser.set_defaults(run=module.run)
    return parser


def _code_of(arguments: list[str]) -> int:
    try:
        return _dispatch(arguments)
    except SystemExit as end:
        # argparse ends so, after --help and after a wrong flag
        return end.code if isinstance(end.code, int) else ExitCode.OK


def _dispatch(arguments: list[str]) -> int:
    match arguments:
        case [] | ["-h" | "--help" | "help", *_] if len(arguments) < 2:
            sys.stdout.write(help_text())
            return ExitCode.OK
        case ["help" | "-h" | "--help", name]:
            return _dispatch([name, "--help"])
        case ["--version" | "version", *rest]:
            return _print_version(rest)
        case [name, *rest] if name in COMMANDS:
            _load_msgspec()
            args = parser_of(name).parse(rest)
            release()
            return int(args.run(args))
        case [name, *_] if name.startswith("-"):
            raise UserError(f"{name}: name a command first, as in `{program()} search {name} ...`")
        case [name, *_]:
            from kubewitness.cli.parser import nearest

            below = {above: parser_of(above).commands() for above in ("policy", "apiserver", "keys")}
            meant = nearest(name, COMMANDS, below)
            raise UserError(f"there is no command {name!r}{meant}\n  help: `{program()} --help` lists them")
    raise AssertionError(arguments)


def help_text() -> str:
    """Write what `--help` prints: the commands in groups."""
    import textwrap

    lines = [f"usage: {program()} COMMAND [options] [SRC...]", "", _SUMMARY]
    for title, commands in GROUPS.items():
        lines += ["", f"{title}:"]
        for name, text in commands.items():
            first, *more = textwrap.wrap(text, 64, break_on_hyphens=False)
            lines += [f"  {name:<12}{first}", *(f"{'':14}{line}" for line in more)]
    lines += [
        "",
        f"`{program()} COMMAND --help` explains one; `--version [-o json]` says what this is.",
        f"Example: {program()} search --user alice --verb delete /var/log/kubernetes/audit/",
        "",
    ]
    return "\n".join(lines)


def _print_version(rest: Sequence[str]) -> int:
    if rest in (["-o", "json"], ["-ojson"], ["--output", "json"], ["--output=json"]):
        import importlib.metadata
        import json
        import platform

        parts = {
            name: importlib.metadata.version(name) for name in ("duckdb", "msgspec", "zstandard", "isal", "PyYAML")
        }
        facts = {"version": __version__, "python": platform.python_version(), "system": platform.system(), **parts}
        sys.stdout.write(f"{json.dumps(facts)}\n")
        return ExitCode.OK
    if rest:
        raise UserError(f"--version takes nothing but `-o json`, not {' '.join(rest)!r}")
    sys.stdout.write(f"kubewitness {__version__}\n")
    return ExitCode.OK


def _prepare_streams() -> None:
    """See that nothing we write can fail for its letters, and that a closed stream is just silence."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - lives as long as we
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _complain(message: str) -> None:
    from kubewitness.cli.render.printable import printable

    try:
        for number, line in enumerate(message.split("\n")):
            print(f"{f'{program()}: ' if number == 0 else ''}{printable(line)}", file=sys.stderr)  # noqa: T201
    except OSError:
        return  # where nothing can be said the exit code still says it


def _report_bug(error: Exception) -> int:
    import traceback

    if os.environ.get("KUBEWITNESS_TRACEBACK"):
        traceback.print_exception(error)
        return ExitCode.RUNTIME
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{os.path.basename(frame.filename)}:{frame.lineno}"  # noqa: PTH119
    _complain(
        f"error: {type(error).__name__} at {place}: {error}\n"
        "  help: this is a fault of kubewitness; KUBEWITNESS_TRACEBACK=1 shows where it happened"
    )
    return ExitCode.RUNTIME
