"""`kubewitness emit`: audit events as kube-apiserver would write them, for requests described in JSON lines."""

import argparse
import codecs
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from kubewitness._kit import lazy
from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.render.printable import printable

if TYPE_CHECKING:
    from kubewitness.emit.doors.auditing import Auditing

HELP = """Write the audit events that kube-apiserver would write for requests described in JSON lines.

  echo '{"method":"DELETE","requestURI":"/api/v1/namespaces/shop/secrets/db","user":"alice"}' |
    kubewitness emit --audit-policy-file=audit-policy.yaml
  kubewitness emit --audit-policy-file=p.yaml --audit-log-path=audit.log requests.jsonl
  kubewitness emit --audit-policy-file=p.yaml --audit-webhook-config-file=webhook.yaml -

The flags are kube-apiserver's, with its defaults, checks and messages. Without a log path or a webhook the events
go to standard output. docs/reference/emit-input.md says what a line may hold."""
_BOOLEANS = frozenset(("1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"))
_LOSS = lazy.pattern(r"(Error in audit plugin '\w+') affecting \d+ audit events: (.*)")


class _Given(argparse.Action):
    """Keeps a flag as it was written; a switch takes the next word only if that is a truth value."""

    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        _option: str | None = None,
    ) -> None:
        value = str(values)
        # another word is the file that follows a switch, or a value that is refused: argparse tells =no from no nowhere
        if self.nargs == "?" and value not in _BOOLEANS and (value == "-" or Path(value).exists()):
            namespace.sources = [*(namespace.sources or []), value]
            value = "true"
        namespace.flags = [*(namespace.flags or []), f"--{self.dest}={value}"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add kube-apiserver's flags and ours."""
    from kubewitness.emit.backends.options import EXTENSIONS, FLAGS

    parser.add_argument(
        "requests", metavar="REQS", nargs="*", help="files of requests in JSON lines; - (or none) is standard input"
    )
    parser.add_argument(
        "--server-version",
        metavar="VERSION",
        default="1.36",
        help="defaults and checks of this kube-apiserver, 1.30..1.36",
    )
    # thirty flags in the usage would hide the one line that matters
    parser.usage = f"{parser.prog} --audit-policy-file=FILE [--audit-...=VALUE] [REQS ...]"
    parser.set_defaults(flags=None, sources=None)
    for title, flags in (("flags of kube-apiserver", FLAGS), ("flags that kube-apiserver lacks", EXTENSIONS)):
        group = parser.add_argument_group(title)
        for flag in flags:
            is_switch = flag.kind == "bool"
            # an older name is taken and not shown, as by kube-apiserver
            for name, help_text in ((flag.name, flag.help.replace("%", "%%")), (flag.alias, argparse.SUPPRESS)):
                if name is not None:
                    group.add_argument(
                        f"--{name}",
                        dest=flag.name,
                        metavar=flag.kind.upper(),
                        nargs="?" if is_switch else None,
                        const="true",
                        default=argparse.SUPPRESS,
                        action=_Given,
                        help=help_text,
                    )


def run(args: argparse.Namespace) -> int:
    """Emit, and say on standard error what was done."""
    from kubewitness.emit.backends.build import StartError
    from kubewitness.emit.backends.flagvalues import FlagError
    from kubewitness.emit.doors.auditing import Auditing

    flags: list[str] = list(args.flags or ())
    if not any(flag.startswith("--audit-policy-file=") for flag in flags):
        raise UserError("nothing is recorded without a policy\n  help: name one with --audit-policy-file=FILE")
    if not any(flag.startswith(("--audit-log-path=", "--audit-webhook-config-file=")) for flag in flags):
        flags.append("--audit-log-path=-")
    is_printed = "--audit-log-path=-" in flags
    if is_printed and getattr(sys.stdout, "name", "") == os.devnull:  # what main puts where there is none
        raise UserError("standard output is closed\n  help: name a file with --audit-log-path=FILE")
    teller = _Teller(is_printed=is_printed)
    try:
        auditing = Auditing(flags, args.server_version, teller)
    except (FlagError, StartError) as exc:
        raise UserError(f"{exc}{_where(exc)}") from exc
    sources = [*args.requests, *(args.sources or ())] or ["-"]
    count = _Count()
    try:
        with auditing:
            _emit(auditing, sources, teller, count)
    except KeyboardInterrupt:
        _conclude(auditing, count)
        raise
    teller.check()
    return _conclude(auditing, count)


def _where(error: Exception) -> str:
    """Say which fields of the webhook's kubeconfig are wrong, which kube-apiserver leaves to the reader."""
    from kubewitness.emit.backends.kubeconfig import KubeconfigError

    cause = error.__cause__
    if not isinstance(cause, KubeconfigError) or not cause.problems:
        return ""
    fields = dict.fromkeys(problem.field for problem in cause.problems)
    return f"\n  help: in {cause.path} look at {', '.join(fields)}"


@dataclass(slots=True)
class _Count:
    """
    Requests, and those the server would have refused; lines that are no request, and files that were not read.

    `is_under_way`: a request was begun and is not at its end.
    """

    requests: int = 0
    refused: int = 0
    strange: int = 0
    unread: int = 0
    is_under_way: bool = False


def _emit(auditing: "Auditing", sources: Sequence[str], teller: "_Teller", count: _Count) -> None:
    """Drive each described request; count what was found."""
    import time
    import uuid

    from kubewitness.emit.doors.described import DescriptionError, exchange_of
    from kubewitness.emit.stages.handler import NotStoredError, drive
    from kubewitness.policy.request import RequestError

    for where, line in _lines(sources, count):
        if line.startswith(codecs.BOM_UTF8):
            _tell(f"{where}: byte order mark skipped")
        try:
            exchange = exchange_of(line.removeprefix(codecs.BOM_UTF8), time.time_ns() // 1000, str(uuid.uuid4()))
        except DescriptionError as exc:
            count.strange += 1
            is_event = line.startswith(b'{"kind":"Event"')
            _tell(f"{where}: {'an Event of a log, ' if is_event else ''}not a request: {exc}")
            continue
        count.requests += 1
        count.is_under_way = True
        try:
            if auditing.auditor is not None:
                drive(auditing.auditor, exchange)
        except NotStoredError as exc:
            teller.check()
            count.refused += 1
            _tell(f"{where}: 500: {exc}")
        except RequestError as exc:
            count.refused += 1
            _tell(f"{where}: not audited: {exc}")
        count.is_under_way = False
        teller.check()


def _lines(sources: Sequence[str], count: _Count) -> Iterator[tuple[str, bytes]]:
    """Give the lines of every source; one that cannot be read is told, and those after it are read."""
    for source in sources:
        name = "standard input" if source == "-" else source
        try:
            if source == "-":
                yield from _numbered(name, sys.stdin.buffer)
                continue
            with Path(source).open("rb") as file:
                yield from _numbered(name, file)
        except OSError as exc:
            count.unread += 1
            _tell(f"{name}: cannot be read: {exc.strerror}")


def _numbered(name: str, file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    for number, line in enumerate(iter(file.readline, b""), 1):
        if line.strip():
            yield f"{name}:{number}", line


def _conclude(auditing: "Auditing", count: _Count) -> int:
    metrics = auditing.metrics
    lost = sum(metrics.errors.values())
    levels = ", ".join(f"{name} {count}" for name, count in sorted(metrics.levels.items()))
    aside = f"; {count.strange} line{' is' if count.strange == 1 else 's are'} no request" if count.strange else ""
    aside += f"; {count.unread} file{' was' if count.unread == 1 else 's were'} not read" if count.unread else ""
    if count.is_under_way or not auditing.has_delivered:
        aside += "; interrupted before all was delivered, so more may be lost"
    _tell(
        f"{count.requests} requests ({levels or 'none'}), {metrics.events} events, {lost} lost,"
        f" {count.refused} refused{aside}"
    )
    if (count.strange or count.unread) and not count.requests:
        return ExitCode.USAGE
    is_whole = not (lost or metrics.rejected or count.strange or count.unread)
    return ExitCode.OK if is_whole else ExitCode.INCOMPLETE


class _Teller:
    """Tells what a server logs, from any of its threads; of losses each reason once, the summary counts them."""

    def __init__(self, *, is_printed: bool) -> None:
        self._is_printed = is_printed
        self._told: set[str] = set()
        self._has_gone = False

    def __call__(self, text: str) -> None:
        loss = _LOSS().match(text)
        if loss is None:
            _tell(text)
            return
        reason = f"{loss[1]}: {loss[2]}"
        if self._is_printed and reason == "Error in audit plugin 'log': broken pipe":
            self._has_gone = True
        elif reason not in self._told:
            self._told.add(reason)
            _tell(reason)

    def check(self) -> None:
        """End quietly when whoever read our standard output has gone. Raises BrokenPipeError."""
        if self._has_gone:
            raise BrokenPipeError


def _tell(text: str) -> None:
    for line in text.rstrip("\n").split("\n"):
        sys.stderr.write(f"{printable(line)}\n")
