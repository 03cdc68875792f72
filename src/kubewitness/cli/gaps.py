"""
`kubewitness gaps`: where a log is incomplete, and why nothing that was not recorded may be called "no".

Silence, stages that are missing, auditIDs that stand for two things, clocks that are wrong; of a store also what it
could not read, what is in its quarantine, and when the receiver was down. Ends with 4 if anything is found.
"""

import argparse
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from kubewitness.cli.answer import counted, say
from kubewitness.cli.engine import Log, open_log
from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.progress import Progress
from kubewitness.cli.render.choose import add_output_arguments, output_of, write_rows
from kubewitness.cli.render.values import Column, Shrink
from kubewitness.cli.sources import add_source_arguments, store_of, tell
from kubewitness.event import microtime
from kubewitness.look.investigate import gaps

HELP = """Say where a log is incomplete: silence, missing stages, re-used auditIDs, clocks, receiver down-time.

  kubewitness gaps --data /var/lib/kubewitness
  kubewitness gaps --silence 10m /var/log/kubernetes/audit/

Ends with 4 if anything is found, with 0 if nothing is. What was never sent by a silent apiserver nobody can know."""

COLUMNS = (
    Column("KIND", "kind", Shrink.NEVER),
    Column("FROM", "first", Shrink.NEVER, usual_width=20),
    Column("TO", "last", Shrink.NEVER, usual_width=20),
    Column("SOURCE", "source", Shrink.MIDDLE),
    Column("EVENTS", "count", Shrink.NEVER, is_right=True),
    Column("WHAT", "what", Shrink.END, weight=3),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add sources, thresholds and output."""
    add_source_arguments(parser)
    group = parser.add_argument_group("what counts")
    group.add_argument(
        "--silence",
        metavar="TIME",
        default="5m",
        help="report a source that says nothing for longer than this (default: 5m)",
    )
    group.add_argument(
        "--clock",
        metavar="TIME",
        default="60s",
        help="report a file whose clock goes back by more than this (default: 60s)",
    )
    add_output_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Look for gaps of every kind and print them."""
    data = store_of(args)
    questions = {
        "silence": gaps.silence(_seconds("--silence", args.silence)),
        "unfinished": gaps.UNFINISHED,
        "unannounced": gaps.UNANNOUNCED,
        "auditID": gaps.reused(is_store=data is not None),
        "clock": gaps.BACKWARDS,
        "clock ": gaps.AHEAD,
        "clock  ": gaps.jumps(_seconds("--clock", args.clock)),
    }
    with open_log(args, stages="all") as log, Progress("reading", log.fraction) as progress:
        found = [gap for kind, question in questions.items() for gap in _ask(log, kind.strip(), question)]
        facts = log.facts()
    if data is not None:
        found += _of_store(args, data)
    progress.stop()
    rows = [(gap.kind, gap.first, gap.last, gap.source, gap.count, gap.what) for gap in found]
    write_rows(rows, COLUMNS, args.output, output_of(args))
    code = tell(facts.reports, is_verbose=args.verbose, shows_damage=args.show_damage)
    if not found and code == ExitCode.OK:
        say(f"no gap found in {counted(facts.events, 'event')}")
    return ExitCode.INCOMPLETE if found else code


def _ask(log: Log, kind: str, question: str) -> Iterator[gaps.Gap]:
    for first, last, source, count, what in log.query(question):
        yield gaps.Gap(kind, first, last, source, count, what)


def _of_store(args: argparse.Namespace, data: str) -> Iterable[gaps.Gap]:
    """Give what only a store knows: its quarantine, and when the receiver was down."""
    from kubewitness.keep.receiver.quarantine import QUARANTINE
    from kubewitness.keep.store.layout import DataDir

    directory = DataDir(Path(data))
    clusters = directory.clusters()
    for cluster in clusters:
        if args.cluster in (None, cluster):
            kept = directory.log_path(cluster) / QUARANTINE
            count = sum(1 for _ in kept.glob("*.kept")) if kept.is_dir() else 0
            if count:
                what = f"{counted(count, 'file')} in {kept}: bytes that were sent and are no events"
                yield gaps.Gap("quarantine", None, None, cluster, count, what)
    operator = "_operator"
    if operator in clusters:
        with suppress(UserError), open_log(_only(args, operator), stages="all") as log:
            yield from _ask(log, "receiver", gaps.DOWN)


def _only(args: argparse.Namespace, cluster: str) -> argparse.Namespace:
    return argparse.Namespace(**{**vars(args), "cluster": cluster})


def _seconds(flag: str, text: str) -> int:
    try:
        return microtime.parse_duration(text) // 1_000_000
    except microtime.TimeError as error:
        raise UserError(f"{flag} {text}: not a length of time, as 90s, 5m or 2h") from error
