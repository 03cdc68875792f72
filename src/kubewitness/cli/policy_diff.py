"""`policy diff`: which requests two policies treat differently, over all possible ones, weighed by a recorded log."""

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.policy_prove import (
    add_parser,
    decision_json,
    load_policy,
    print_json,
    print_line,
    request_json,
)
from kubewitness.cli.policy_traffic import bytes_text, count_traffic
from kubewitness.cli.sources import add_source_arguments, tell

if TYPE_CHECKING:
    from kubewitness.policy.prove.diff import Change, Diff
    from kubewitness.policy.prove.regions import Region
    from kubewitness.policy.types import Policy
    from kubewitness.policy.workshop.weigh import Pair, Weight

DIFF = """\
Show which requests two policies treat differently, by effect, over all possible requests: for each pair of rules
what changes, the requests it changes for, and the smallest example. With SRC each change is weighed by what a log
holds: how many requests a day, of which kinds. Ends with 1 when there is a difference.

  kubewitness policy diff audit-policy.yaml new-policy.yaml
  kubewitness policy diff audit-policy.yaml new-policy.yaml /var/log/kubernetes/audit/
  kubewitness policy diff --universe any -o json old.yaml new.yaml
"""
# regions of one class: what a reader takes in, and what a program may want
_MOST_LINES = 2
_MOST_REGIONS = 8
# a log shorter than this is not scaled to a day
_LEAST_S = 3600
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class _Weighed:
    """A log's weights, and how long it is."""

    weights: "dict[Pair, Weight]"
    seconds: float
    is_recorded_by_old: bool
    code: int

    def rate(self, count: int) -> str:
        """Write a number of requests: a day, or in this log where that is too short."""
        from kubewitness.cli.answer import counted

        if self.seconds < _LEAST_S:
            return f"{counted(count, 'request')} of this log"
        return f"{counted(round(count * _DAY_S / self.seconds), 'request')} a day"


def add_subcommand(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `diff`."""
    parser = add_parser(subparsers, "diff", "which requests two policies treat differently", DIFF)
    parser.add_argument("old", metavar="OLD", help="the policy of today")
    parser.add_argument("new", metavar="NEW", help="the policy of tomorrow")
    add_source_arguments(parser)
    parser.usage = "%(prog)s [flags] OLD NEW [SRC...]"
    parser.set_defaults(run=run_diff)


def run_diff(args: argparse.Namespace) -> int:
    """Print every class of requests that changes."""
    from kubewitness.policy.prove.answer import TooHardError
    from kubewitness.policy.prove.diff import Diff
    from kubewitness.policy.prove.universe import Universe

    if [args.old, args.new, *args.sources].count("-") > 1:
        raise UserError("- can be given once: standard input is read to its end")
    old, new = load_policy(args.old), load_policy(args.new)
    try:
        found = Diff(old, new, Universe(args.universe))
        most = _MOST_LINES if args.output == "text" else _MOST_REGIONS
        shown = [(change, *found.regions(change, most)) for change in found.changes]
    except TooHardError as error:
        raise UserError(str(error), ExitCode.INCOMPLETE) from error
    weighed = _weigh(args, old, new) if args.sources or args.data else None
    if weighed is not None:
        shown.sort(key=lambda one: -_weight(weighed, one[0]).requests)
    if args.output == "json":
        print_json([_json(found, *one, weighed) for one in shown])
    else:
        for one in shown:
            _print(found, *one, weighed)
        if not shown:
            print_line("no difference: every possible request is recorded alike")
    code = weighed.code if weighed else ExitCode.OK
    return code or (ExitCode.FINDINGS if shown else ExitCode.OK)


def _weigh(args: argparse.Namespace, old: "Policy", new: "Policy") -> _Weighed:
    from kubewitness.cli.answer import say
    from kubewitness.cli.engine import open_log
    from kubewitness.policy.workshop.weigh import weigh

    with open_log(args, stages="all") as log:
        traffic = count_traffic(log, [old, new])
        weights, simulation = weigh(traffic, old, new)
        code = tell(log.facts().reports, is_verbose=args.verbose, shows_damage=args.show_damage)
    is_recorded = simulation.is_recorded_by_baseline
    if not is_recorded and traffic.events:
        events = sum(line.shape.events for line in simulation.contradictions)
        say(
            f"{args.old} did not record this log ({events:,} of {traffic.events:,} events would differ): changes are "
            "weighed by what it holds"
        )
    return _Weighed(weights, traffic.seconds, is_recorded, code)


def _weight(weighed: _Weighed, change: "Change") -> "Weight":
    from kubewitness.policy.workshop.weigh import Weight

    return weighed.weights.get((change.before.rule_index, change.after.rule_index), Weight())


def _print(
    found: "Diff", change: "Change", regions: "tuple[Region, ...]", is_all: bool, weighed: _Weighed | None
) -> None:
    from kubewitness.policy.prove.describe import decision_text, region_text, request_text

    print_line(f"{decision_text(change.before)} -> {decision_text(change.after)}")
    for region in regions:
        print_line(f"  {region_text(found.space, region)}")
    if not is_all:
        print_line("  and more")
    print_line(f"  for example: {request_text(change.example)}")
    if weighed is not None:
        print_line(f"  {_weight_text(weighed, change)}")


def _weight_text(weighed: _Weighed, change: "Change") -> str:
    from kubewitness.policy.workshop.weigh import sentence

    one = _weight(weighed, change)
    if not one.requests:
        if weighed.is_recorded_by_old and change.before.level.value == "None":
            return f"{sentence(change.before, change.after)} these; how many, a log without them cannot say"
        return "no request of this log"
    kinds = [f"{count:,} {kind}" for kind, count in one.top()]
    more = len(one.kinds) - len(kinds)
    listed = ", ".join([*kinds, *([f"{more} more kind{'' if more == 1 else 's'}"] if more else [])])
    size = f"{'+' if one.size >= 0 else '-'}{bytes_text(abs(one.size))}"
    return f"{sentence(change.before, change.after)} {weighed.rate(one.requests)} ({size}): {listed}"


def _json(
    found: "Diff", change: "Change", regions: "tuple[Region, ...]", is_all: bool, weighed: _Weighed | None
) -> dict[str, object]:
    from kubewitness.policy.prove.describe import region_text
    from kubewitness.policy.workshop.weigh import sentence

    entry: dict[str, object] = {
        "before": decision_json(change.before),
        "after": decision_json(change.after),
        "example": request_json(change.example),
        "regions": [region_text(found.space, region) for region in regions],
        "regionsAreAll": is_all,
    }
    if weighed is not None:
        one = _weight(weighed, change)
        entry["traffic"] = {
            "effect": sentence(change.before, change.after),
            "requests": one.requests,
            "requestsPerDay": one.requests * _DAY_S / weighed.seconds if weighed.seconds else None,
            "bytes": round(one.size),
            "kinds": dict(one.kinds.most_common()),
        }
    return entry
