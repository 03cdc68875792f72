"""`apiserver watch`: say what happens to manifest, policy and log, on standard output, to a webhook or to a command."""

import argparse
import http.client
import shlex
import ssl
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.render.printable import printable
from kubewitness.cli.seconds import seconds
from kubewitness.cli.server_address import address

if TYPE_CHECKING:
    from kubewitness.apiserver.integrity import Change, Snapshot, Watched
    from kubewitness.apiserver.watching import Guard

DESCRIPTION = """\
Watch over what decides about the log, and over the log: content, mode, owner, deletion, truncation, rewriting, files
that appear among the static pods. Each change is a JSON object on a line; "alarm" is false for what happens in a
healthy cluster too, such as rotation.

  kubewitness apiserver watch /etc/kubernetes/manifests/kube-apiserver.yaml
  kubewitness apiserver watch MANIFEST --post https://alerts.example.com/hook --rescue /var/lib/rescue
  kubewitness apiserver watch MANIFEST --once --state /var/lib/kubewitness/watch.json       from cron

Policy, webhook kubeconfig and log are those that the manifest names. Who is root on this machine can stop this too:
send what it says somewhere else (--post), and keep the events somewhere else (`kubewitness serve`).
With --once ends with 1 when there was an alarm, 5 when it could not be delivered (it is told again the next time).
"""
_INTERVAL_S = 2.0
_DELIVERY_S = 10.0
_MOST_WAITING = 1_000


def add_subcommand(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `watch`."""
    parser = subparsers.add_parser(
        "watch",
        help="say what happens to manifest, policy and log",
        description=DESCRIPTION,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", metavar="MANIFEST", nargs="?", default="",
                        help="the manifest or configuration of the server")  # fmt: skip
    parser.add_argument("--log", metavar="FILE", action="append", default=[], help="watch this log too")
    parser.add_argument("--file", metavar="FILE", action="append", default=[], help="watch this file too")
    parser.add_argument("--root", metavar="DIR", type=Path, help="where the server's host has its /; all paths are"
                        " under it")  # fmt: skip
    parser.add_argument("--interval", metavar="SECONDS", type=seconds, default=_INTERVAL_S,
                        help="between two looks (default: %(default)s)")  # fmt: skip
    parser.add_argument("--for", metavar="SECONDS", type=seconds, dest="for_s", help="end after this time")
    parser.add_argument("--once", action="store_true", help="look once, compare with --state, and end")
    parser.add_argument("--state", metavar="FILE", type=Path, help="where to keep what was seen; also between starts")
    parser.add_argument("--rescue", metavar="DIR", type=Path, help="copy a log here when it is deleted while open")
    parser.add_argument("--post", metavar="URL", help="also post each change there, as JSON")
    parser.add_argument("--exec", metavar="COMMAND", dest="command", help="also run this, with the change on its input")
    parser.add_argument("--alarms", action="store_true", help="tell only what a healthy cluster does not do")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Look, compare, tell; once or until stopped."""
    from kubewitness.apiserver.watching import Guard

    if args.once and args.state is None:
        raise UserError("--once compares with what was seen before: name --state FILE")
    if args.rescue is not None and not args.rescue.is_dir():
        raise UserError(f"{args.rescue}: no such directory")
    if not args.interval > 0:
        raise UserError("--interval must be a positive number of seconds")
    root = _settle(args)
    guard = Guard(_watched(args), lambda path: root / path.lstrip("/"), _now, args.rescue)
    teller = Teller(args.post, args.command, only_alarms=args.alarms)
    kept = _kept(args.state)
    with closing(guard):
        guard.begin(kept)
        if args.once:
            return _once(args, guard, teller, is_first=not kept)
        _begin(guard)
        try:
            return _go_on(args, guard, teller)
        except KeyboardInterrupt:
            if teller.undelivered:
                sys.stderr.write(f"kubewitness: {printable(teller.left)}\n")
            raise


def _settle(args: argparse.Namespace) -> Path:
    """Give the root; without one of its own, a path that does not begin with / is one from here."""
    if args.root is None:
        args.root = Path("/")
        args.config = args.config and str(Path(args.config).absolute())
        args.log, args.file = ([str(Path(path).absolute()) for path in paths] for paths in (args.log, args.file))
    return Path(args.root)


def _once(args: argparse.Namespace, guard: "Guard", teller: "Teller", *, is_first: bool) -> int:
    changes = list(guard.round())
    for change in changes:
        teller.tell(change)
    if teller.waiting:
        raise UserError(f"not delivered, so not forgotten: {teller.why}", ExitCode.RUNTIME)
    _keep(args.state, guard)
    if is_first:
        _begin(guard)
    return ExitCode.FINDINGS if any(change.alarm for change in changes) else ExitCode.OK


def _go_on(args: argparse.Namespace, guard: "Guard", teller: "Teller") -> int:
    end = None if args.for_s is None else time.monotonic() + args.for_s
    unkept = ""
    while True:
        changes = list(guard.round())
        for change in changes:
            teller.tell(change)
        if any(change.role == "config" for change in changes):
            _follow(args, guard)
        teller.deliver()
        if args.state is not None and not teller.waiting:
            unkept = _not_kept(args.state, guard, unkept)
        if end is not None and time.monotonic() >= end:
            break
        time.sleep(args.interval)
    if teller.undelivered:
        raise UserError(teller.left, ExitCode.RUNTIME)
    if unkept:
        raise UserError(unkept, ExitCode.RUNTIME)
    return ExitCode.OK


def _not_kept(state: Path, guard: "Guard", told: str) -> str:
    """Keep the state, or give why not: a disk that is full ends no watch, and is told once."""
    try:
        _keep(state, guard)
    except OSError as error:
        why = f"{state}: what was seen could not be kept: {error.strerror}"
        if why != told:
            print(f"kubewitness: {printable(why)}", file=sys.stderr)  # noqa: T201
        return why
    return ""


def _follow(args: argparse.Namespace, guard: "Guard") -> None:
    """Watch what a changed manifest names now, beside what it named before."""
    with suppress(UserError):  # it is gone or broken: that was told
        for one in guard.follow(_watched(args)):
            print(f"watching {printable(one.path)} [{one.role.value}]", file=sys.stderr)  # noqa: T201


def _begin(guard: "Guard") -> None:
    for snapshot in guard.last.values():
        state = "" if snapshot.state in ("file", "directory") else f" ({snapshot.state})"
        print(f"watching {printable(snapshot.path)} [{snapshot.role.value}]{printable(state)}", file=sys.stderr)  # noqa: T201


def _now() -> str:
    from kubewitness.event import microtime

    return microtime.format_us(time.time_ns() // 1000)


def _watched(args: argparse.Namespace) -> "list[Watched]":
    from kubewitness.apiserver.integrity import Role, Watched
    from kubewitness.apiserver.watching import watched_of
    from kubewitness.apiserver.yamltext import EditError

    found = []
    if args.config:
        place = args.root / args.config.lstrip("/")
        try:
            found = watched_of(place.read_bytes(), args.config)
        except OSError as error:
            raise UserError(f"{place}: cannot be read: {error.strerror}") from error
        except EditError as error:
            raise UserError(f"{args.config}:{error.line}: {error}") from error
    found += [Watched(path, Role.LOG) for path in args.log] + [Watched(path, Role.FILE) for path in args.file]
    unique = {one.path: one for one in found}
    if not unique:
        raise UserError("nothing to watch: name the manifest of the server, --log or --file")
    return list(unique.values())


def _kept(state: Path | None) -> "list[Snapshot]":
    from kubewitness.apiserver.watching import StateError, load

    if state is None or not state.exists():
        return []
    if not state.is_file():
        raise UserError(f"{state}: this is no plain file")
    try:
        return load(state.read_bytes())
    except StateError as error:
        raise UserError(f"{state}: {error}\n  help: somebody or something damaged it; look at the files yourself, then"
                        " remove it to begin anew", ExitCode.INTEGRITY) from error  # fmt: skip


def _keep(state: Path, guard: "Guard") -> None:
    from kubewitness._kit.files import DiskDirectory, write_whole
    from kubewitness.apiserver.watching import dump

    with closing(DiskDirectory.at(state.parent)) as directory:
        write_whole(directory, state.name, dump(list(guard.last.values())))


@dataclass(slots=True)
class _Way:
    """One way to deliver changes, in order; what cannot be delivered waits, up to a limit."""

    send: Callable[[bytes], str]
    waiting: deque[bytes] = field(default_factory=deque)
    dropped: int = 0
    why: str = ""

    def add(self, body: bytes) -> None:
        """Deliver this, unless others wait: whoever does not answer is asked once a round, not once a change."""
        self.waiting.append(body)
        if len(self.waiting) == 1:
            self.deliver()
        if len(self.waiting) > _MOST_WAITING:
            self.waiting.popleft()
            self.dropped += 1

    def deliver(self) -> None:
        """Try to deliver what waits."""
        while self.waiting:
            why = self.send(self.waiting[0])
            if why:
                if why != self.why:
                    print(f"kubewitness: a change was not delivered yet: {printable(why)}", file=sys.stderr)  # noqa: T201
                self.why = why
                return
            self.waiting.popleft()


class Teller:
    """Tells changes on standard output, and delivers each to a webhook and a command."""

    def __init__(self, url: str | None, command: str | None, *, only_alarms: bool) -> None:
        self.only_alarms = only_alarms
        self.ways: list[_Way] = []
        if url is not None:
            address(url, "--post", "https://HOST/PATH")  # now, not when there is an alarm
            self.ways.append(_Way(partial(_post, url)))
        if command is not None:
            self.ways.append(_Way(partial(_run, _words(command))))

    @property
    def undelivered(self) -> int:
        """How many changes wait or were dropped, by the way that has most of them."""
        return max((len(way.waiting) + way.dropped for way in self.ways), default=0)

    @property
    def waiting(self) -> bool:
        """Whether anything waits."""
        return any(way.waiting for way in self.ways)

    @property
    def why(self) -> str:
        """What stood in the way."""
        return "; ".join(way.why for way in self.ways if way.waiting or way.dropped)

    @property
    def left(self) -> str:
        """What is to be said in the end, where something is left."""
        return f"{self.undelivered} changes were not delivered: {self.why}"

    def tell(self, change: "Change") -> None:
        """Print a change and hand it to webhook and command."""
        import msgspec

        if self.only_alarms and not change.alarm:
            return
        body = msgspec.json.encode(change)
        sys.stdout.write(body.decode("utf-8", "replace") + "\n")
        sys.stdout.flush()
        for way in self.ways:
            way.add(body)

    def deliver(self) -> None:
        """Try to deliver what waits."""
        for way in self.ways:
            way.deliver()


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UserError(f"--exec {command}: {error}") from error
    if not words:
        raise UserError("--exec names no command")
    return words


def _post(address: str, body: bytes) -> str:
    url = urlsplit(address)
    connection: http.client.HTTPConnection
    if url.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(url.hostname or "", url.port, timeout=_DELIVERY_S, context=context)
    else:
        connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=_DELIVERY_S)
    try:
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        connection.request("POST", target, body, {"Content-Type": "application/json"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"{address}: {str(error) or type(error).__name__}"
    finally:
        connection.close()
    return "" if http.client.OK <= status < http.client.MULTIPLE_CHOICES else f"{address}: status {status}"


def _run(command: list[str], body: bytes) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - the command the user named
            command, input=body, stdout=subprocess.DEVNULL, timeout=_DELIVERY_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"{command[0]}: did not end in {_DELIVERY_S:.0f} s"
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    return "" if done.returncode == 0 else f"{command[0]}: ended with {done.returncode}"
