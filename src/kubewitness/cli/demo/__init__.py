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

from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.render.output import Output, terminal_width, wants_colour
from kubewitness.cli.render.values import Tone

HELP = """Walk through a recorded incident: a policy that looks good, an attacker, and what the log can tell.

  kubewitness demo
  kubewitness demo --keep incident    leaves policy and log in ./incident, to go on asking"""

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
        "What else did `attacker` change? One row a request. ACTION says what was done, whatever the verb.",
        f"search --user attacker --outcome allowed --verb '!get,!list' --resource '!events,!self*' {LOG}",
        ExitCode.OK,
    ),
    Step(
        "Who ran commands, and which? A search for the verb `create` would miss six of these ten.",
        f"search --action exec --columns time,user,verb,object,exec.command {LOG}",
        ExitCode.OK,
    ),
    Step(
        "Who was refused, and how often?",
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
        "What fills the log?",
        f"top --by bytes --limit 5 {LOG}",
        ExitCode.OK,
    ),
)
NEXT = (
    "Where to go next:",
    "  kubewitness demo --keep incident           leaves policy and log in ./incident",
    "  kubewitness timeline --user attacker incident/audit.log",
    "  kubewitness search --help                  filters; every command has --help",
    "  docs/tutorials/first-look.md               a larger log of the same attack",
    "  docs/how-to/investigate-with-one-line.md   your jq recipes, a line each",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --keep."""
    parser.add_argument("--keep", metavar="DIR", type=Path, help="leave the policy and the log in DIR")


def run(args: argparse.Namespace) -> int:
    """Run every step; fail when a command does not end as it should."""
    with _place(args.keep) as place, contextlib.chdir(place):
        write_incident(Path())
        for number, step in enumerate(STEPS, 1):
            code = _show(step, number)
            if code != step.code:
                raise UserError(f"step {number} ended with exit code {code}, not {step.code}", ExitCode.RUNTIME)
    _say("")
    if args.keep:
        _say(f"Policy and log are in {args.keep}.")
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
    for name in (POLICY, LOG, NODE.parts[0]):
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


def _show(step: Step, number: int) -> int:
    from kubewitness.cli.main import main

    _say("")
    for line in textwrap.wrap(f"{number}. {step.text}", min(terminal_width(), 100), subsequent_indent="   "):
        _say(line)
    colours = Output(has_colour=wants_colour("auto", sys.stdout))
    _say(colours.paint(f"$ kubewitness {step.command}", Tone.STRONG))
    sys.stdout.flush()
    with contextlib.redirect_stderr(sys.stdout):  # notes belong below their answer, in a pipe too
        code = main(shlex.split(step.command))
    sys.stdout.flush()
    return code


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
