"""`policy simulate`: what a log would be under another policy, in events, bytes, files, POSTs and money."""

import argparse
import sys
from typing import TYPE_CHECKING

from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.policy_files import accepted, add_version_argument, parse_yaml, read_bytes
from kubewitness.cli.policy_traffic import add_flag_of_baseline, count_traffic, not_negative
from kubewitness.cli.render.choose import add_output_arguments, output_of
from kubewitness.cli.sources import add_source_arguments, tell

if TYPE_CHECKING:
    from kubewitness.cli.engine import Log
    from kubewitness.cli.policy_simulation import Report
    from kubewitness.policy.workshop.costs import Price

DESCRIPTION = """\
Say what a log would be under another policy: events and bytes kept, dropped, raised and lowered, by rule, user and
resource; GB a day, how far back the rotated files reach, POSTs of the webhook, and what it costs.

  kubewitness policy simulate new-policy.yaml /var/log/kubernetes/audit/
  kubewitness policy simulate new.yaml --baseline audit-policy.yaml --audit-log-maxbackup 10 audit.log
  kubewitness policy simulate new.yaml --prices prices.yaml -o html audit.log > report.html

Sizes at the recorded level or below it are exact. Above it, bodies are estimated from like events of the same log and
shown with an interval; where there are none the answer is unknown and the exit code 4.
"""
_FORMATS = ("table", "json", "html")
_DEFAULT_LIMIT = 10


def add_subcommand(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `simulate`."""
    parser = subparsers.add_parser(
        "simulate",
        help="what a log would be under another policy: events, bytes, cost",
        description=DESCRIPTION,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("new", metavar="NEW", help="the policy to simulate; - is standard input")
    add_source_arguments(parser)
    parser.usage = "%(prog)s [flags] NEW [SRC...]"
    add_flag_of_baseline(parser)
    _add_cost_arguments(parser)
    add_output_arguments(parser, _FORMATS, says="html is one page that loads nothing")
    parser.add_argument(
        "--limit",
        type=not_negative,
        metavar="N",
        default=_DEFAULT_LIMIT,
        help="users and resources to list, the heaviest first; 0 lists all (default: %(default)s)",
    )
    add_version_argument(parser)
    parser.set_defaults(run=run)


def _add_cost_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what it costs (kube-apiserver's flags and defaults)")
    numbers = (
        ("--audit-log-maxsize", 100, "MiB of a log file before it is rotated"),
        ("--audit-log-maxbackup", 0, "rotated files that are kept; 0 keeps all"),
        ("--audit-log-maxage", 0, "days that rotated files are kept; 0 keeps them for ever"),
        ("--audit-webhook-batch-max-size", 400, "events a POST"),
        ("--audit-webhook-batch-throttle-qps", 10, "POSTs a second"),
        ("--audit-webhook-batch-buffer-size", 10_000, "events that wait before more are dropped"),
    )
    for name, default, text in numbers:
        group.add_argument(name, type=not_negative, metavar="N", default=default, help=f"{text} (default: {default})")
    group.add_argument("--prices", metavar="FILE", help="a price file in YAML (docs/reference/price-file.md)")


def run(args: argparse.Namespace) -> int:
    """Count, judge and print."""
    from kubewitness.cli.engine import open_log

    if args.new == "-" and (not args.sources or "-" in args.sources):
        raise UserError("the policy and the log cannot both come from standard input")
    new = accepted(args.new, args.server_version)
    old = accepted(args.baseline, args.server_version) if args.baseline else None
    prices = _prices(args.prices)
    assert new.policy is not None  # noqa: S101  accepted() gives no other
    with open_log(args, stages="all") as log:
        traffic = count_traffic(log, [document.policy for document in (new, old) if document and document.policy])
        from kubewitness.cli.policy_simulation import report_of

        report = report_of(args, new, old, traffic, prices)
        _print(report, args)
        code = tell(log.facts().reports, is_verbose=args.verbose, shows_damage=args.show_damage)
        _tell(report, log)
    return ExitCode.INCOMPLETE if report.has_unknowns else code


def _print(report: "Report", args: argparse.Namespace) -> None:
    from kubewitness.cli.policy_simulation import json_of, write_text

    match args.output:
        case "json":
            from kubewitness.cli.render.values import json_text

            sys.stdout.write(json_text(json_of(report), indent=2) + "\n")
        case "html":
            from kubewitness.cli.policy_simulation_html import page

            sys.stdout.write(page(report))
        case _:
            write_text(report, output_of(args), args.limit)


def _tell(report: "Report", log: "Log") -> None:
    """Say on standard error what the log cannot know."""
    from kubewitness.cli.answer import say

    events = log.facts().events
    if not events:
        say("no events were read: nothing to simulate")
    for note in report.notes:
        say(note)
    if log.is_store:
        say("a store's index keeps no lengths of lines: sizes are put together from its columns, within a few per cent")


def _prices(path: str | None) -> "tuple[Price, ...]":
    from kubewitness.policy.workshop.costs import PriceError, prices_of

    if path is None:
        return ()
    try:
        return prices_of(parse_yaml(path, read_bytes(path)))
    except PriceError as error:
        raise UserError(f"{path}: {error}") from error
