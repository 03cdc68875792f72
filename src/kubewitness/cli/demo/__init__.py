"""
`kubewitness demo`: walk a newcomer through a recorded incident; every answer is printed by the command above it.

The log beside this file was recorded from a real kube-apiserver 1.36 under the policy beside it, with made-up users
and worthless credentials. The commands run in this process, one after the other, in a scratch directory.
"""

import argparse
import contextlib
import shlex
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.render.output import Output, terminal_width, wants_colour
from kubewitness.cli.render.values import Tone

HELP = """Walk through a recorded incident: a policy, an attacker, what the log can tell, and what proves it.

  kubewitness demo
  kubewitness demo --keep incident    leaves policy, log and store in ./incident, to go on asking"""

if TYPE_CHECKING:
    from kubewitness.cli.demo.server import DemoServer

POLICY = "security-focused.yaml"
LOG = "audit.log"
MANIFEST = "kube-apiserver.yaml"
NODE = Path("node/etc/kubernetes")
"""Where a control plane node of kubeadm keeps manifest and policy, in a directory that stands for the node."""


@dataclass(frozen=True, slots=True)
class Step:
    """What is asked and why, the command that asks it, and the exit code that the answer has."""

    text: str
    command: str
    code: ExitCode
    act: str = ""
    """What is done beside the command: `serve` runs it in the background and posts the log; `stop` and `edit`
    come before the command."""


STEPS: tuple[Step, ...] = (
    Step(
        "A cluster was attacked while its audit log was on. The policy that decided what was logged is taught as "
        "security-focused. kube-apiserver accepts it. Is it right?",
        f"policy check {POLICY}",
        ExitCode.FINDINGS,
    ),
    Step(
        "What does it record of a shell in a pod? kubectl opens a WebSocket, so the verb is `get`. The first rule "
        "that matches decides.",
        f"policy explain {POLICY} --user attacker --verb get --resource pods/exec -n production --name node-shell",
        ExitCode.OK,
    ),
    Step(
        "How is a log turned on? `node` stands for a control plane node of kubeadm. This shows what would change; "
        "without --dry-run it is done, and --undo takes every byte back.",
        "apiserver enable --distro kubeadm --root node --dry-run",
        ExitCode.OK,
    ),
    Step(
        "Now the log. What is in it, and is it whole?",
        f"stats {LOG}",
        ExitCode.OK,
    ),
    Step(
        "The secret `important` is gone. Two asked for it to be deleted; one was refused.",
        f"who deleted secrets/important -n production {LOG}",
        ExitCode.OK,
    ),
    Step(
        "What else did `attacker` change? A row is a request; 52 deleted `events` are left out. ACTION says what was "
        "done, whatever the verb: `bind` grants a role, `token` issues a credential, `debug` puts a container into a "
        "running pod.",
        f"search --user attacker --outcome allowed --verb '!get,!list' --resource '!events,!self*' {LOG}",
        ExitCode.OK,
    ),
    Step(
        "Who ran commands, and which? A search for the verb `create` would miss six of these ten.",
        f"search --action exec --columns time,user,verb,object,exec.command {LOG}",
        ExitCode.OK,
    ),
    Step(
        "Who was refused, and how often? `-` had no valid credentials, so nobody knows a name.",
        f"top --by user --outcome denied {LOG}",
        ExitCode.OK,
    ),
    Step(
        "Did `attacker` read the secret before deleting it? Once for certain. The lists may have held it too, but "
        "their bodies were not recorded: the answer is unknown, not no, and the exit code is 4.",
        f"who read secrets/important -n production --user attacker --policy {POLICY} {LOG}",
        ExitCode.INCOMPLETE,
    ),
    Step(
        "What fills the log? Weighed are events, up to three for each request.",
        f"top --by bytes --limit 5 {LOG}",
        ExitCode.OK,
    ),
    Step(
        "A log file can be deleted. So kube-apiserver also posts its Events to a server, which keeps and seals them. "
        "Here is one, with certificates made for it; it gets this log as kube-apiserver's webhook would send it.",
        "serve --data store --listen 127.0.0.1:0",
        ExitCode.OK,
        "serve",
    ),
    Step(
        "Its store answers at once, while it goes on receiving.",
        "who deleted secrets/important -n production --data store",
        ExitCode.OK,
    ),
    Step(
        "The server is told to stop, and signs a last head. Is what it holds what it signed? Every Event is hashed "
        "again. `main` is the log of the cluster, `_operator` what was done to the server itself.",
        "verify --data store",
        ExitCode.OK,
        "stop",
    ),
    Step(
        "Somebody with access to the disk puts the blame on another user, and knows how to mend checksums. What was "
        "signed cannot be mended: the findings name the Event.",
        "verify --data edited --keys store.keys",
        ExitCode.INTEGRITY,
        "edit",
    ),
)
NEXT = (
    "Where to go next:",
    "  kubewitness demo --keep incident           leaves all of it in ./incident",
    "  kubewitness timeline --user attacker incident/audit.log",
    "  kubewitness search --help                  filters; every command has --help",
    "  docs/tutorials/first-look.md               a larger log of the same attack",
    "  docs/how-to/investigate-with-one-line.md   your jq recipes, a line each",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --keep."""
    parser.add_argument("--keep", metavar="DIR", type=Path, help="leave the policy, the log and the store in DIR")


def run(args: argparse.Namespace) -> int:
    """Run every step; fail when a command does not end as it should."""
    from kubewitness.cli.demo.server import DemoServer

    with _place(args.keep) as place, contextlib.chdir(place), DemoServer() as server:
        write_incident(Path())
        for number, step in enumerate(STEPS, 1):
            code = _show(step, number, server)
            if code != step.code:
                raise UserError(f"step {number} ended with exit code {code}, not {step.code}", ExitCode.RUNTIME)
    _say("")
    if args.keep:
        _say(f"Policy, log and store are in {args.keep}.")
    for line in NEXT:
        _say(line)
    return ExitCode.OK


@contextlib.contextmanager
def _place(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="kubewitness-demo-") as name:
            yield Path(name)
        return
    keep.mkdir(parents=True, exist_ok=True)
    for name in (POLICY, LOG, NODE.parts[0], "store", "edited"):
        if (keep / name).exists():
            raise UserError(f"{keep / name} is there already; name another directory")
    yield keep


def write_incident(place: Path) -> None:
    """Write the policy and the log into a directory."""
    import zstandard

    here = resources.files(__name__)
    (place / POLICY).write_bytes((here / POLICY).read_bytes())
    (place / NODE / "manifests").mkdir(parents=True)
    (place / NODE / "manifests" / MANIFEST).write_bytes((here / MANIFEST).read_bytes())
    (place / NODE / "audit-policy.yaml").write_bytes((here / POLICY).read_bytes())
    packed = (here / f"{LOG}.zst").read_bytes()
    (place / LOG).write_bytes(zstandard.ZstdDecompressor().stream_reader(packed).read())


def _show(step: Step, number: int, server: "DemoServer") -> int:
    from kubewitness.cli.demo.server import edit_a_copy, serve
    from kubewitness.cli.main import main

    _say("")
    for line in textwrap.wrap(f"{number}. {step.text}", min(terminal_width(), 100), subsequent_indent="   "):
        _say(line)
    if step.act == "edit":
        _say(edit_a_copy())
    if step.act == "stop":
        server.stop()
    colours = Output(has_colour=wants_colour("auto", sys.stdout))
    _say(colours.paint(f"$ kubewitness {step.command}", Tone.STRONG))
    sys.stdout.flush()
    if step.act == "serve":
        for line in serve(server, shlex.split(step.command), Path(LOG)):
            _say(line)
        return ExitCode.OK
    with contextlib.redirect_stderr(sys.stdout):  # notes belong below their answer, in a pipe too
        code = main(shlex.split(step.command), is_step=True)
    sys.stdout.flush()
    return code


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
