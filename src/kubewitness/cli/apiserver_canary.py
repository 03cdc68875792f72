"""`apiserver canary`: send marked requests and see that they arrive in the log and in the store, and how late."""

import argparse
import contextlib
import functools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kubewitness._kit import lazy
from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.render.printable import printable
from kubewitness.cli.seconds import seconds
from kubewitness.cli.server_address import address, authority

if TYPE_CHECKING:
    from kubewitness.apiserver.canary import Places, Sender, Sent, Sighting, Tail, Watch
    from kubewitness.emit.backends.kubeconfig import Target
    from kubewitness.policy.types import Policy

DESCRIPTION = """\
Prove that auditing works, from the request to the place where it is kept: send a read of a ConfigMap that does not
exist and a dry run of creating one, each with a mark of its own, and wait for their Events.

  kubewitness apiserver canary --log /var/log/kubernetes/audit/audit.log
  kubewitness apiserver canary --log audit.log --data /var/lib/kubewitness --policy audit-policy.yaml
  kubewitness apiserver canary --kubectl --data /var/lib/kubewitness

With --policy also says when the running server decides otherwise than this file: it reads its policy only at start.
Ends with 4 when an Event was not seen within --timeout, 1 when levels differ from the policy, 5 when the server could
not be asked.
"""
_TIMEOUT_S = 60.0
_NAMESPACE = lazy.pattern(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_PAUSE_S = 0.1
_STORE_PAUSE_S = 0.5


def add_subcommand(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `canary`."""
    parser = subparsers.add_parser(
        "canary",
        help="send marked requests and wait for their events in the log and the store",
        description=DESCRIPTION,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    where = parser.add_argument_group("where to look")
    where.add_argument("--log", metavar="FILE", type=Path, action="append", default=[],
                       help="the server's audit log; may be repeated, one for each API server")  # fmt: skip
    where.add_argument("--data", metavar="DIR", help="the data directory of `kubewitness serve`")
    where.add_argument("--cluster", metavar="NAME", help="with --data: this cluster only")
    server = parser.add_argument_group("which server")
    server.add_argument("--kubeconfig", metavar="FILE", default=os.environ.get("KUBECONFIG", "").split(":")[0],
                        help="how to reach the server (default: KUBECONFIG, else ~/.kube/config)")  # fmt: skip
    server.add_argument("--url", help="reach it here instead, with --token-file and --ca")
    server.add_argument("--token-file", metavar="FILE", type=Path, help="with --url: file of a bearer token")
    server.add_argument("--ca", metavar="FILE", type=Path, help="with --url: certificate authority of the server")
    server.add_argument("--insecure-skip-tls-verify", action="store_true", help="with --url: trust any certificate")
    server.add_argument("--kubectl", metavar="PROGRAM", nargs="?", const="kubectl",
                        help="ask through kubectl, which cannot send an Audit-ID")  # fmt: skip
    parser.add_argument("-n", "--namespace", default="default", help="namespace of the requests (default: %(default)s)")
    parser.add_argument("--only", choices=("get", "create"), action="append", help="send this kind of request only")
    parser.add_argument("--policy", metavar="FILE", help="the policy that the server should be running")
    parser.add_argument("--timeout", metavar="SECONDS", type=seconds, default=_TIMEOUT_S,
                        help="how long to wait (default: %(default).0f)")  # fmt: skip
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text",
                        help="how to print (default: %(default)s)")  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Send, wait, say what was seen."""
    from kubewitness.apiserver.canary import KINDS, SendError, Sent, Watch, probes

    if not args.log and not args.data:
        raise UserError("say where to look: --log FILE, --data DIR or both")
    if not _NAMESPACE().fullmatch(args.namespace):
        raise UserError(f"--namespace {args.namespace}: no namespace has such a name")
    policy = _policy(args.policy)
    sender = _sender(args)
    with contextlib.ExitStack() as held:
        tails = [held.enter_context(contextlib.closing(_tail(path))) for path in args.log]
        sent = []
        for probe in probes(args.only or KINDS, args.namespace):
            at_us = _now_us()
            try:
                status, audit_id = sender.send(probe)
            except SendError as error:
                raise UserError(f"the server cannot be asked: {error}", ExitCode.RUNTIME) from error
            sent.append(Sent(probe, at_us, status, audit_id))
        watch = Watch(sent, _now_us, policy)
        looks = {str(tail.path): functools.partial(_look_in_log, watch, tail) for tail in tails}
        if args.data:
            looks[args.data] = functools.partial(_store_look(watch, args.data, args.cluster, sent))
        # of several API servers one answers a request, and only its log has it
        places = [tuple(dict.fromkeys(str(path) for path in args.log)), *([(args.data,)] if args.data else [])]
        places = [one_of for one_of in places if one_of]
        _wait(watch, looks, places, args.timeout)
    if args.output == "json":
        sys.stdout.write(json.dumps(_json(watch, places), indent=2) + "\n")
    else:
        sys.stdout.writelines(f"{printable(line)}\n" for line in _text(watch, places, args))
    if not watch.is_complete(places):
        return ExitCode.INCOMPLETE
    return ExitCode.FINDINGS if any(_differs(one) for one in watch.seen) else ExitCode.OK


def _now_us() -> int:
    return time.time_ns() // 1000


def _policy(path: str | None) -> "Policy | None":
    from kubewitness.cli.policy_files import accepted

    return accepted(path, "1.36").policy if path else None


def _sender(args: argparse.Namespace) -> "Sender":
    from kubewitness.apiserver.canary import HttpSender, KubectlSender
    from kubewitness.emit.backends.kubeconfig import KubeconfigError, read

    if args.kubectl:
        return KubectlSender([args.kubectl, *([f"--kubeconfig={args.kubeconfig}"] if args.kubeconfig else [])])
    if args.url:
        return HttpSender(_target(args))
    path = Path(args.kubeconfig) if args.kubeconfig else Path.home() / ".kube" / "config"
    try:
        return HttpSender(read(path))
    except KubeconfigError as error:
        raise UserError(f"{path}: {error}") from error


def _target(args: argparse.Namespace) -> "Target":
    from kubewitness.emit.backends.kubeconfig import Target

    url = address(args.url)
    port = url.port or (443 if url.scheme == "https" else 80)
    ca = authority(args.ca) if args.ca else b""
    return Target(
        url.scheme, url.hostname or "", port, url.path, ca, args.insecure_skip_tls_verify, token_file=args.token_file
    )


def _tail(path: Path) -> "Tail":
    from kubewitness.apiserver.canary import Tail

    try:
        return Tail(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


def _look_in_log(watch: "Watch", tail: "Tail") -> None:
    try:
        for line in tail.lines():
            watch.take(str(tail.path), line)
    except OSError as error:
        raise UserError(f"{tail.path}: cannot be read: {error.strerror}", ExitCode.RUNTIME) from error


def _store_look(watch: "Watch", data: str, cluster: str | None, sent: "list[Sent]") -> Callable[[], None]:
    """Ask the store for the marks, not more often than twice a second."""
    from kubewitness.look.query.lockdown import QueryError
    from kubewitness.look.query.source import SourceError
    from kubewitness.look.query.store import open_store

    due = 0.0

    def look() -> None:
        nonlocal due
        if time.monotonic() < due:
            return
        due = time.monotonic() + _STORE_PAUSE_S
        try:
            with open_store(data, cluster) as events:
                for one in sent:
                    condition = f"contains(request_uri, '{one.probe.mark}')"
                    answer = events.query("SELECT _row FROM events", where=condition, stages="all", keeps_bytes=True)
                    for raw in answer.exact_bytes([row for (row,) in answer]):
                        watch.take(data, raw)
                    answer.close()
        except (SourceError, QueryError) as error:
            raise UserError(str(error), ExitCode.RUNTIME) from error

    return look


def _wait(
    watch: "Watch", looks: Mapping[str, Callable[[], None]], places: "Sequence[Places]", timeout_s: float
) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        for one_of in places:
            for place in one_of:
                if not watch.is_complete([one_of]):
                    looks[place]()
        if watch.is_complete(places) or time.monotonic() >= deadline:
            return
        time.sleep(_PAUSE_S)


def _text(watch: "Watch", places: "Sequence[Places]", args: argparse.Namespace) -> Iterator[str]:
    for sent in watch.sent:
        status = f", answered {sent.status}" if sent.status is not None else ""
        yield f"{sent.probe.kind} {sent.probe.path}{status}"
        for one_of in places:
            yield from _at(watch, sent, one_of, args)
        if sent.audit_id and sent.audit_id != sent.probe.audit_id:
            yield f"  note: sent with Audit-ID {sent.probe.audit_id}, kept under {sent.audit_id}: something in between"
    ahead_us = max((one.ahead_us for one in watch.seen), key=abs, default=0)
    if ahead_us:
        side = "ahead of" if ahead_us > 0 else "behind"
        yield f"note: the server's clock is at least {abs(ahead_us) / 1e6:.1f} s {side} the one here"
    missing = list(watch.missing(places))
    if missing:
        yield ""
        yield f"{len(missing)} of {len(watch.sent) * len(places)} not seen to the end; reasons, the likely one first:"
        yield "  the policy leaves out reads of ConfigMaps, or ResponseComplete (`kubewitness policy explain`)"
        yield "  another API server answered: look at the log of each (--log, more than once)"
        yield "  the log is written in batches, or the webhook waits for its batch (30 s): raise --timeout"
        yield "  the backend fails: apiserver_audit_error_total at /metrics, `kubewitness apiserver check --live`"
    else:
        yield f"all {len(watch.sent)} requests were seen to the end in {', '.join(map(_named, places))}"


def _at(watch: "Watch", sent: "Sent", one_of: "Places", args: argparse.Namespace) -> Iterator[str]:
    """Say what was seen of a request at one of these places."""
    from kubewitness.apiserver.canary import left_out

    seen = [one for one in watch.seen if one.probe == sent.probe and one.place in one_of]
    if not seen:
        yield f"  {_named(one_of)}: not seen in {args.timeout:g} s"
    for one in seen:
        yield f"  {one.place}: {one.stage.value} at level {_level(one.level)} by {one.user or 'nobody'}{_lag(one)}"
        if _differs(one):
            yield (
                f"    the policy says {_level(one.expected)}: the server runs another one;"
                " it reads its policy only when it starts"
            )
    if watch.policy is not None and (sent, one_of) in watch.missing([one_of]):
        what = left_out(watch.policy, sent.probe)
        if what:
            yield f"    {args.policy} {what}, unless a rule names who asked: it cannot be seen here"


def _named(one_of: "Places") -> str:
    return " or ".join(one_of)


def _level(level: object) -> str:
    return getattr(level, "value", "unknown")


def _differs(one: "Sighting") -> bool:
    return one.expected is not None and one.level is not None and one.expected is not one.level


def _lag(one: "Sighting") -> str:
    if one.lag_us is None:
        return ""
    return f", {one.lag_us / 1e6:.1f} s after" + (" it was sent" if one.ahead_us else "")


def _json(watch: "Watch", places: "Sequence[Places]") -> dict[str, object]:
    return {
        "complete": watch.is_complete(places),
        "requests": [
            {
                "kind": sent.probe.kind,
                "path": sent.probe.path,
                "auditID": sent.audit_id or sent.probe.audit_id,
                "status": sent.status,
                "seen": [
                    {
                        "place": one.place,
                        "stage": one.stage.value,
                        "level": _level(one.level),
                        "expectedLevel": _level(one.expected) if one.expected is not None else None,
                        "auditID": one.audit_id,
                        "lagSeconds": None if one.lag_us is None else one.lag_us / 1e6,
                        "clockAheadSeconds": one.ahead_us / 1e6,
                    }
                    for one in watch.seen
                    if one.probe == sent.probe
                ],
            }
            for sent in watch.sent
        ],
        "missing": [{"kind": sent.probe.kind, "place": _named(one_of)} for sent, one_of in watch.missing(places)],
    }
