"""`policy suggest`: changes that make a log smaller, each with what it hides and breaks, and a plan for a budget."""

import argparse
import sys
from typing import TYPE_CHECKING

from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.policy_coverage import shipped_techniques
from kubewitness.cli.policy_files import accepted, add_version_argument, parse_yaml, read_bytes
from kubewitness.cli.policy_traffic import SHORT_S, bytes_text, count_traffic, not_negative, number_of, short
from kubewitness.cli.render.folded import folded
from kubewitness.cli.render.printable import printable
from kubewitness.cli.render.values import json_text
from kubewitness.cli.sources import add_source_arguments, tell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kubewitness.policy.prove.claims import Claim
    from kubewitness.policy.shapes import Traffic
    from kubewitness.policy.workshop.suggest import Plan, Suggestion

DESCRIPTION = """\
Suggest changes that make a log smaller, from what a recorded one holds: what each saves, which attack techniques it
hides (policy coverage) and which claims it breaks (policy prove). With --budget also a plan of harmless ones.

  kubewitness policy suggest --policy audit-policy.yaml /var/log/kubernetes/audit/
  kubewitness policy suggest --policy audit-policy.yaml --must claims.yaml --budget 5GB/day audit.log
  kubewitness policy suggest --policy audit-policy.yaml --budget 5GB/day -o yaml audit.log > smaller.yaml

--must is a YAML file with `claims`, a list of one-line or named claims. Every number was computed for the changed
policy; nothing is suggested that was not simulated, covered and proved. Ends with 1 when no plan meets the budget.
"""
_DAY_S = 86_400


def add_subcommand(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `suggest`."""
    parser = subparsers.add_parser(
        "suggest",
        help="changes that make a log smaller, and what each would cost",
        description=DESCRIPTION,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_source_arguments(parser)
    parser.add_argument("--policy", metavar="FILE", required=True, help="the policy to change")
    parser.add_argument("--must", metavar="FILE", help="claims that no change may break, in YAML")
    parser.add_argument("--budget", metavar="BYTES", help="what the log may weigh a day: 5GB/day, 500MB")
    parser.add_argument(
        "--limit",
        type=not_negative,
        metavar="N",
        default=10,
        help="changes to list; 0 lists all (default: %(default)s)",
    )
    parser.add_argument(
        "-o",
        "--output",
        choices=("text", "json", "yaml"),
        default="text",
        help="text, json, or yaml: the policy of the plan alone (default: %(default)s)",
    )
    add_version_argument(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Count, judge, plan and print."""
    from kubewitness.cli.answer import say
    from kubewitness.cli.engine import open_log
    from kubewitness.policy.prove.answer import TooHardError
    from kubewitness.policy.workshop.suggest import INTEREST, Judge, broken_by, candidates, plan

    document = accepted(args.policy, args.server_version)
    policy = document.policy
    assert policy is not None  # noqa: S101  accepted() gives no other
    claims = _claims(args.must)
    budget = number_of(args.budget) if args.budget else None
    with open_log(args, stages="all") as log:
        traffic = count_traffic(log, [policy, INTEREST])
        code = tell(log.facts().reports, is_verbose=args.verbose, shows_damage=args.show_damage)
    if not traffic.events:
        say("no events were read: nothing to suggest from")
    if budget is not None and not traffic.seconds:
        raise UserError("the log has no length in time, so nothing can be said about a day", ExitCode.INCOMPLETE)
    techniques = shipped_techniques()
    try:
        broken = broken_by(policy, claims)
        judge = Judge(policy, traffic, techniques)
        found = [judge.judge(one, claims) for one in candidates(policy, traffic)]
        found.sort(key=lambda one: (not one.is_harmless, -one.saved))
        limit = budget * traffic.seconds / _DAY_S if budget is not None else None
        wants_plan = budget is not None or args.output == "yaml"
        planned = plan(policy, traffic, techniques, claims, limit) if wants_plan else None
    except TooHardError as error:
        raise UserError(str(error), ExitCode.INCOMPLETE) from error
    for claim in broken:
        say(f"{args.policy} breaks {claim!r} as it is, so no change is held to that; policy prove shows how")
    if planned is not None and 0 < traffic.seconds < SHORT_S:
        say(short(traffic.seconds))
    _print(args, [one for one in found if one.saved > 0], planned, traffic, budget, broken)
    is_missed = planned is not None and limit is not None and planned.after.size > limit
    if is_missed and args.output == "yaml":
        say("no plan of harmless changes meets the budget; this is as far as they go")
    return code or (ExitCode.FINDINGS if is_missed else ExitCode.OK)


def _claims(path: str | None) -> list["Claim"]:
    from kubewitness.policy.prove.claims import ClaimError, parse_claims

    if path is None:
        return []
    document = parse_yaml(path, read_bytes(path))
    texts = document.get("claims") if isinstance(document, dict) else document
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise UserError(f"{path}: a file of claims has a list `claims` of texts, such as no-secret-bodies")
    try:
        return [claim for text in texts for claim in parse_claims(text)]
    except ClaimError as error:
        raise UserError(f"{path}: {error}") from error


def _print(
    args: argparse.Namespace,
    found: "Sequence[Suggestion]",
    planned: "Plan | None",
    traffic: "Traffic",
    budget: float | None,
    broken: "Sequence[str]",
) -> None:
    shown = found[: args.limit or None]
    if args.output == "json":
        sys.stdout.write(json_text(_json(found, planned, traffic, budget, broken), indent=2) + "\n")
    elif args.output == "yaml" and planned is not None:
        from kubewitness.cli.policy_prove import policy_yaml

        sys.stdout.write(policy_yaml(planned.policy))
    else:
        for one in shown:
            _line(_text(one))
            _line(f"    {one.candidate.text}")
        if len(shown) < len(found):
            _line(f"{len(found) - len(shown)} more; --limit 0 lists all")
        if not found:
            _line("nothing found that would save 1 %")
        if planned is not None:
            _plan(planned, traffic, budget)


def _line(text: str) -> None:
    sys.stdout.write(folded(printable(text), sys.stdout) + "\n")


def _text(one: "Suggestion") -> str:
    from kubewitness.cli.answer import counted

    names = ", ".join([*one.lost[:3], *(["..."] if len(one.lost) > 3 else [])])
    lost = f"loses {counted(len(one.lost), 'technique')}" + (f" ({names})" if names else "")
    broken = f"breaks {counted(len(one.broken), 'claim')}" + (f" ({one.broken[0]})" if one.broken else "")
    return f"-{one.share:.1%} bytes ({bytes_text(one.saved)}), {lost}, {broken}"


def _plan(planned: "Plan", traffic: "Traffic", budget: float | None) -> None:
    from kubewitness.cli.answer import counted

    def daily(size: float) -> str:
        return f"{bytes_text(size * _DAY_S / traffic.seconds)} a day"

    _line("")
    if budget is not None:
        verdict = "meets" if planned.after.size * _DAY_S / traffic.seconds <= budget else "does not meet"
        what = f"A plan of {counted(len(planned.steps), 'harmless change')}" if planned.steps else "The policy as it is"
        _line(f"{what} {verdict} {bytes_text(budget)} a day:")
    _line(f"  now {daily(planned.before.size)}")
    for one in planned.steps:
        _line(f"  -{one.share:.1%}  {one.candidate.text}")
    _line(f"  then {daily(planned.after.size)}")


def _json(
    found: "Sequence[Suggestion]",
    planned: "Plan | None",
    traffic: "Traffic",
    budget: float | None,
    broken: "Sequence[str]",
) -> dict[str, object]:
    def entry(one: "Suggestion") -> dict[str, object]:
        return {
            "change": one.candidate.text,
            "bytesSaved": round(one.saved),
            "share": one.share,
            "lostTechniques": list(one.lost),
            "brokenClaims": list(one.broken),
        }

    result: dict[str, object] = {
        "seconds": traffic.seconds,
        "brokenAlready": list(broken),
        "suggestions": [entry(one) for one in found],
    }
    if planned is not None and traffic.seconds:
        per_day = _DAY_S / traffic.seconds
        result["plan"] = {
            "steps": [entry(one) for one in planned.steps],
            "bytesPerDayBefore": planned.before.size * per_day,
            "bytesPerDayAfter": planned.after.size * per_day,
            "budget": budget,
        }
    return result
