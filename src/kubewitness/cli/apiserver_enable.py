"""`apiserver enable`: set auditing up in the form of the distribution, show it first, prove it after, take it back."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.policy_presets import PRESETS, preset
from kubewitness.cli.render.folded import folded
from kubewitness.cli.render.printable import printable
from kubewitness.cli.seconds import seconds
from kubewitness.cli.server_address import address, authority

if TYPE_CHECKING:
    from kubewitness.apiserver.apply import Applied, Root
    from kubewitness.apiserver.health import LogState, Probe
    from kubewitness.apiserver.plan import Plan, PlanError, Wanted

DESCRIPTION = """\
Turn auditing on: write the policy, make the log directory, set flags and mounts as the distribution documents it.
Run again it changes nothing; --undo restores every byte. Files are replaced as a whole, and copies of what they were
never lie where the kubelet would take them for pods.

  kubewitness apiserver enable --distro kubeadm --dry-run
  kubewitness apiserver enable --distro kubeadm --policy audit-policy.yaml --wait
  kubewitness apiserver enable --distro kubeadm --serve /etc/kubewitness
  kubewitness apiserver enable --distro kubeadm --undo
  kubewitness apiserver enable --distro eks           what to do where the server is not yours

Without --policy or --preset a policy that is there stays, else the preset `recommended` is written.
"""
_DISTROS = ("kubeadm", "kind", "k3s", "rke2", "k0s", "minikube", "talos", "microk8s")
_CLOUDS = ("eks", "gke", "aks")
# What CIS 1.2.16-1.2.19 and DISA STIG V-242461..465 ask for at least.
_ROTATION = {"audit-log-maxage": "30", "audit-log-maxbackup": "10", "audit-log-maxsize": "100"}
# An outage of the receiver of some 4 minutes is survived, with the default of 10 s only of 81 s.
_BACKOFF = {"audit-webhook-initial-backoff": "30s"}
_WAIT_S = 180.0
# the kubeconfig that an installation leaves for root on a node of the control plane
_ADMIN = {
    "kubeadm": "/etc/kubernetes/admin.conf",
    "k3s": "/etc/rancher/k3s/k3s.yaml",
    "rke2": "/etc/rancher/rke2/rke2.yaml",
    "k0s": "/var/lib/k0s/pki/admin.conf",
    "microk8s": "/var/snap/microk8s/current/credentials/client.config",
}


def add_subcommand(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `enable`."""
    parser = subparsers.add_parser(
        "enable",
        help="turn auditing on: policy, log directory, flags and mounts",
        description=DESCRIPTION,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--distro", choices=(*_DISTROS, *_CLOUDS),
                        help="what the cluster was made with; by itself, what is found on this machine")  # fmt: skip
    policy = parser.add_mutually_exclusive_group()
    policy.add_argument("--policy", metavar="FILE", help="the audit policy to write")
    policy.add_argument("--preset", metavar="NAME", choices=tuple(PRESETS),
                        help="a policy that comes with kubewitness: `policy init --list` names them")  # fmt: skip
    webhook = parser.add_mutually_exclusive_group()
    webhook.add_argument("--webhook", metavar="KUBECONFIG", help="also send events to the receiver this file names")
    webhook.add_argument("--serve", metavar="DIR", type=Path,
                         help="also send events to the `kubewitness serve` that `init-server DIR` made")  # fmt: skip
    parser.add_argument("--cluster", metavar="NAME", help="with --serve: which of its clusters this is")
    parser.add_argument("--set", metavar="FLAG=VALUE", action="append", default=[], dest="flags",
                        help="set another --audit-* flag, as in audit-log-maxage=90; may be repeated")  # fmt: skip
    parser.add_argument("--config", metavar="FILE", default="", help="the manifest or configuration, where not usual")
    parser.add_argument("--policy-path", metavar="PATH", default="", help="where the server is to read the policy")
    parser.add_argument("--log-path", metavar="PATH", default="", help="where the server is to write the log")
    parser.add_argument("--root", metavar="DIR", type=Path, help="work on the tree under DIR instead of /")
    does = parser.add_mutually_exclusive_group()
    does.add_argument("--dry-run", action="store_true", help="show what would change, as a unified diff")
    does.add_argument("--undo", action="store_true", help="restore every file as it was before")
    does.add_argument("--wait", metavar="SECONDS", nargs="?", type=seconds, const=_WAIT_S,
                      help="wait until the log grows and the server is ready; put everything back if it is not"
                      f" ({_WAIT_S:.0f} s when no number is given)")  # fmt: skip
    parser.add_argument("--url", help="with --wait: ask this API server instead of the one kubectl knows")
    parser.add_argument("--ca", metavar="FILE", help="with --url: the certificate authority of the server")
    parser.add_argument("--insecure-skip-tls-verify", action="store_true", help="with --url: trust any certificate")
    parser.add_argument("--kubectl", default="kubectl", help="with --wait: the kubectl to use (default: %(default)s)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Plan, then show, do or undo."""
    from kubewitness.apiserver.apply import Root
    from kubewitness.apiserver.distros import CLOUDS
    from kubewitness.apiserver.enable import plan
    from kubewitness.apiserver.plan import PlanError, difference

    if args.distro in CLOUDS:
        _say(CLOUDS[args.distro])
        return ExitCode.OK
    args.distro = args.distro or _found(args.root or Path("/"))
    root = Root(args.root or _root_of(args.distro))
    if args.wait is not None and args.distro in ("kind", "talos", "minikube"):
        raise UserError(f"--wait: nothing starts by itself after a change for {args.distro}; see what is printed")
    try:
        if args.undo:
            return _undo(args.distro, root)
        planned = plan(args.distro, _wanted(args), root)
        _refuse_what_would_not_start(planned)
        if args.dry_run:
            for line in difference(planned):
                _say(printable(line))
            _say_directories(planned)
            _say("nothing was changed" if planned.changed or planned.directories else "nothing would be changed")
            return ExitCode.OK
        return _do(args, planned, root)
    except PlanError as error:
        raise UserError(_located(error)) from error


def _found(root: Path) -> str:
    """Give the one distribution whose configuration is on this machine."""
    from kubewitness.apiserver.distros import DISTROS

    found = [name for name, one in DISTROS.items() if one.config.startswith("/") and (root / one.config[1:]).is_file()]
    if len(found) != 1:
        what = f"{' and '.join(found)} are here" if found else "no configuration of a known distribution is here"
        raise UserError(f"{what}: say --distro {'|'.join((*_DISTROS, *_CLOUDS))}")
    _say(f"found {found[0]}")
    return found[0]


def _root_of(distro: str) -> Path:
    """Give what paths start from: the home for minikube, the present directory for files that are handed to a tool."""
    if distro == "minikube":
        home = os.environ.get("MINIKUBE_HOME")
        return Path(home).parent if home and Path(home).name == ".minikube" else Path(home) if home else Path.home()
    return Path.cwd() if distro in ("kind", "talos") else Path("/")


def _wanted(args: argparse.Namespace) -> "Wanted":
    from kubewitness.apiserver.plan import Wanted

    webhook = str(_served(args.serve, args.cluster)) if args.serve else args.webhook
    policy = preset(args.preset).encode() if args.preset else _policy(args.policy) if args.policy else None
    return Wanted(
        policy=policy,
        fallback=preset("recommended").encode(),
        policy_path=args.policy_path,
        log_path=args.log_path,
        webhook=_webhook(webhook) if webhook else None,
        flags=_flags(args.flags),
        defaults=_ROTATION | _BACKOFF if webhook else _ROTATION,
        config=args.config,
    )


def _policy(path: str) -> bytes:
    """Read a policy that the server accepts; with another it would not start."""
    from kubewitness.cli.policy_files import read_bytes
    from kubewitness.policy.load import read

    data = read_bytes(path)
    document = read(data)
    if document.error:
        raise UserError(f"{path}: kube-apiserver would not start with this policy: {document.error}", ExitCode.FINDINGS)
    return data


def _flags(texts: Sequence[str]) -> dict[str, str]:
    """Read what --set says, all together: some values are right only beside others."""
    import difflib

    from kubewitness.emit.backends import options
    from kubewitness.emit.backends.flagvalues import FlagError

    flags = {}
    for text in texts:
        name, equals, value = text.removeprefix("--").partition("=")
        if not equals or name not in options.BY_NAME:
            near = difflib.get_close_matches(name, options.BY_NAME, n=1) if equals else []
            meant = f"; did you mean {near[0]}?" if near else " (docs/reference/emit-flags.md)"
            raise UserError(f"--set {text}: expected FLAG=VALUE with an --audit-* flag{meant}")
        flags[options.BY_NAME[name].name] = value
    try:
        refused = options.check(
            options.parse([*(f"--{name}={value}" for name, value in flags.items()), "--audit-log-path=-"])
        )
    except FlagError as error:
        raise UserError(f"--set: {error}") from error
    if refused:
        raise UserError(f"--set: kube-apiserver would not start: {refused[0]}")
    return flags


def _served(place: Path, cluster: str | None) -> Path:
    """Find the kubeconfig that `init-server` made for this cluster."""
    found = sorted(place.glob("apiserver-*.kubeconfig")) if place.is_dir() else []
    if not found:
        raise UserError(
            f"{place}: no kubeconfig for kube-apiserver is there\n"
            f"  help: kubewitness init-server {place} --cluster NAME --address ADDRESS-THAT-THIS-NODE-REACHES"
        )
    names = [path.name.removeprefix("apiserver-").removesuffix(".kubeconfig") for path in found]
    if cluster is None and len(found) > 1:
        raise UserError(f"{place} is for several clusters: say --cluster {'|'.join(names)}")
    if cluster is not None and cluster not in names:
        raise UserError(f"{place} has no cluster {cluster!r}; it has {', '.join(names)}")
    return found[0 if cluster is None else names.index(cluster)]


def _webhook(path: str) -> bytes:
    """Read a kubeconfig and what it points at into one file."""
    from kubewitness.apiserver.kubeconfig import flatten
    from kubewitness.apiserver.yamltext import EditError
    from kubewitness.cli.policy_files import read_bytes

    here = Path(path).parent

    def read_file(name: str) -> bytes | None:
        try:
            return (here / name).read_bytes()
        except OSError:
            return None

    try:
        return flatten(read_bytes(path), read_file)
    except EditError as error:
        raise UserError(f"{path}:{error.line}: {error}") from error


def _undo(distro: str, root: "Root") -> int:
    from kubewitness.apiserver.apply import undo

    for path in undo(distro, root):
        _say(f"restored {printable(path)}")
    return ExitCode.OK


def _refuse_what_would_not_start(planned: "Plan") -> None:
    """Look at the result before it is written. Raises UserError where the server would refuse it."""
    from kubewitness.apiserver.check import Question, check
    from kubewitness.apiserver.context import Unknown

    after = {file.path: file.after for file in planned.files}
    data = after[planned.config] if planned.config else planned.advice[0].encode()
    policy = None if planned.policy == planned.config else after.get(planned.policy)
    report = check(data, planned.config or "minikube start", Question(Unknown(), policy, planned.policy))
    refused = next((one for one in report.findings if one.severity.value == "refused"), None)
    if refused is not None:
        raise UserError(
            f"the server would not start, so nothing was changed: {refused.file}:{refused.line}: {refused.message}"
            + (f"\n  help: {refused.help or refused.paste}" if refused.help or refused.paste else ""),
            ExitCode.FINDINGS,
        )


def _do(args: argparse.Namespace, planned: "Plan", root: "Root") -> int:
    from kubewitness.apiserver.apply import apply
    from kubewitness.apiserver.health import LogState
    from kubewitness.apiserver.hostfiles import running

    if not planned.changed and not planned.directories:
        _say(f"auditing is on already: {printable(planned.config or planned.policy)} needs no change")
        return ExitCode.OK
    probe = None if args.wait is None else _probe(args, root)
    log = root.at(planned.log) if planned.log else None
    before = LogState(0, 0) if log is None else LogState.of(log)
    old = {process.pid for process in running()}
    applied = apply(planned, root)
    for file in planned.changed:
        _say(f"{'wrote' if file.before is None else 'changed'} {printable(file.path)}")
    _say_directories(planned)
    if probe is not None:
        _prove(args, applied, root, _Before(probe, log, before, old))
    _check(planned, root)
    _say("")
    for text in planned.advice:
        for number, line in enumerate(text.splitlines()):
            _say(("- " if number == 0 else "  ") + line)
    return ExitCode.OK


@dataclass(frozen=True, slots=True)
class _Before:
    """How server and log were before the change, and how the server is asked."""

    probe: "Probe"
    log: Path | None
    state: "LogState"
    pids: set[int]


def _probe(args: argparse.Namespace, root: "Root") -> "Probe":
    """Make what asks the server; one that cannot be asked now is no proof later. Raises UserError."""
    from kubewitness.apiserver.health import kubectl_probe, url_probe

    if args.url:
        address(args.url)
        if args.ca:
            authority(Path(args.ca))
        probe = url_probe(args.url, args.ca, is_verified=not args.insecure_skip_tls_verify)
    else:
        probe = kubectl_probe([args.kubectl, *_kubeconfig(args.distro, root)])
    why = probe()
    if why:
        raise UserError(
            f"the server cannot be asked even now, so nothing was changed: {why}\n"
            "  help: set KUBECONFIG or --url for --wait, or leave --wait away",
            ExitCode.RUNTIME,
        )
    return probe


def _kubeconfig(distro: str, root: "Root") -> list[str]:
    """Give the administrator's kubeconfig of this node, where the person has none of their own."""
    if os.environ.get("KUBECONFIG") or (Path.home() / ".kube" / "config").is_file():
        return []
    place = root.at(_ADMIN.get(distro, "none"))
    return [f"--kubeconfig={place}"] if place.is_file() else []


def _check(planned: "Plan", root: "Root") -> None:
    """Say what `apiserver check` says of the result."""
    from kubewitness.apiserver.check import Question, check
    from kubewitness.apiserver.hostfiles import RootFiles
    from kubewitness.cli.apiserver_check import text

    data = root.read(planned.config) if planned.config else planned.advice[0].encode()
    if data is None:
        return
    policy = root.read(planned.policy) if not planned.config else None
    report = check(data, planned.config or "minikube start", Question(RootFiles(root.root), policy))
    for line in text(report):
        if not line.startswith("    note:"):
            _say(line)


def _prove(args: argparse.Namespace, applied: "Applied", root: "Root", before: _Before) -> None:
    """Wait until the server is well; put everything back when it is not. Raises UserError."""
    from kubewitness.apiserver.apply import roll_back
    from kubewitness.apiserver.health import wait
    from kubewitness.apiserver.hostfiles import running

    def has_restarted() -> bool:
        now = {process.pid for process in running()}
        return bool(before.pids and now) and not now & before.pids

    if applied.plan.distro != "kubeadm":
        _say(f"restart it now, in another terminal: {applied.plan.advice[0]}")
    _say(f"waiting up to {args.wait:.0f} s for the server ...")
    sys.stdout.flush()
    try:
        why = wait(before.probe, before.log, before.state, args.wait, time.monotonic, time.sleep, has_restarted)
    except KeyboardInterrupt:
        why = "interrupted"
    if why:
        restored = roll_back(applied, root)
        raise UserError(
            f"the server did not come back: {why}\n"
            f"  everything is as it was before ({', '.join(restored)})\n"
            "  help: `crictl logs $(crictl ps -a --name kube-apiserver -q | head -1)` says what it refused",
            ExitCode.RUNTIME,
        )
    _say("the server is ready and writes its log")


def _say_directories(planned: "Plan") -> None:
    for directory in planned.directories:
        owner = f", owner {directory.owner}" if directory.owner else ""
        _say(f"directory {printable(directory.path)} (mode {directory.mode:04o}{owner})")


def _located(error: "PlanError") -> str:
    where = f"{error.file}:{error.line}: " if error.file and error.line else f"{error.file}: " if error.file else ""
    return f"{where}{error}" + (f"\n  help: {error.help}" if error.help else "")


def _say(line: str) -> None:
    sys.stdout.write(folded(line, sys.stdout) + "\n")
