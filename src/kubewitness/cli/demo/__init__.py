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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.render.output import terminal_width

HELP = """Walk through a recorded incident: a policy that looks good, an attacker, and what the log can tell.

  kubewitness demo
  kubewitness demo --keep incident    leaves policy and log in ./incident, to go on asking"""

POLICY = "security-focused.yaml"
LOG = "audit.log"


@dataclass(frozen=True, slots=True)
class Step:
    """What is asked and why, the command that asks it, and the exit code that the answer has."""

    text: str
    command: str
    code: ExitCode


STEPS: tuple[Step, ...] = (
    Step(
        "This policy is taught as security-focused. Is it? Every finding has its line and what to do.",
        f"policy check {POLICY}",
        ExitCode.FINDINGS,
    ),
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
        _say(f"Policy and log are in {args.keep}: go on asking.")
    else:
        _say("`kubewitness demo --keep incident` leaves policy and log in ./incident, to go on asking.")
    return ExitCode.OK


@contextlib.contextmanager
def _place(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="kubewitness-demo-") as name:
            yield Path(name)
        return
    keep.mkdir(parents=True, exist_ok=True)
    for name in (POLICY, LOG):
        if (keep / name).exists():
            raise UserError(f"{keep / name} is there already; name another directory")
    yield keep


def write_incident(place: Path) -> None:
    """Write the policy and the log into a directory."""
    import zstandard

    here = resources.files(__name__)
    (place / POLICY).write_bytes((here / POLICY).read_bytes())
    packed = (here / f"{LOG}.zst").read_bytes()
    (place / LOG).write_bytes(zstandard.ZstdDecompressor().stream_reader(packed).read())


def _show(step: Step, number: int) -> int:
    from kubewitness.cli.main import main

    _say("")
    for line in textwrap.wrap(f"{number}. {step.text}", min(terminal_width(), 100), subsequent_indent="   "):
        _say(line)
    _say(f"$ kubewitness {step.command}")
    sys.stdout.flush()
    code = main(shlex.split(step.command))
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def commands() -> Sequence[Sequence[str]]:
    """Give the words of every command, for tests."""
    return [shlex.split(step.command) for step in STEPS]
