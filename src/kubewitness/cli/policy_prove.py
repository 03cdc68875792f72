"""`policy diff`, `policy prove` and `policy minify`: exact answers about policies, over all possible requests."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.render.printable import printable

if TYPE_CHECKING:
    from kubewitness.policy.prove.claims import Claim
    from kubewitness.policy.types import Attributes, Decision, Policy

DIFF = """\
Show which requests two policies treat differently, by effect, over all possible requests: for each pair of rules
what changes, the requests it changes for, and the smallest example. Ends with 1 when there is a difference.

  kubewitness policy diff audit-policy.yaml new-policy.yaml
  kubewitness policy diff --universe any -o json old.yaml new.yaml
"""
PROVE = """\
Prove claims about a policy for all possible requests, or show the smallest request that breaks each.
Ends with 1 when a claim is broken.

  kubewitness policy prove audit-policy.yaml no-secret-bodies exec-visible
  kubewitness policy prove audit-policy.yaml 'secrets never above Metadata' '* never None when verb in delete'

Named claims: cis-3.2.2, stig-v-242403, pci-10.2, no-secret-bodies, exec-visible, proxies-visible,
rbac-changes-with-bodies, workload-changes-with-bodies, admission-changes-with-bodies, secret-reads-visible,
tokens-visible, deletions-visible, failed-logins-visible, anonymous-visible, admins-visible, outcomes-visible.
A claim is: WHAT (never above|always at least|always|never) LEVEL [at STAGES] [when CONDITIONS] [unless CONDITIONS]
"""
MINIFY = """\
Print the same policy with fewer rules and members: no request gets another level, stages or managed fields, which is
proved before it is printed. What was done is told on standard error. Comments are lost.

  kubewitness policy minify audit-policy.yaml > smaller.yaml
"""
# regions of one class: what a reader takes in, and what a program may want
_MOST_LINES = 2
_MOST_REGIONS = 8
_UNIVERSE = "requests to think of: `possible`, those a server can see (default), or `any` combination of members"


def add_subcommands(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the three to the subcommands of `policy`; each sets `run`."""
    diff = _add(subparsers, "diff", "which requests two policies treat differently", DIFF)
    diff.add_argument("old", metavar="OLD", help="the policy of today")
    diff.add_argument("new", metavar="NEW", help="the policy of tomorrow")
    diff.set_defaults(run=run_diff)
    prove = _add(subparsers, "prove", "prove claims, or show what breaks them", PROVE)
    prove.add_argument("file", metavar="FILE", help="a policy")
    prove.add_argument("claims", metavar="CLAIM", nargs="+", help="a claim in one line, or the name of one")
    prove.set_defaults(run=run_prove)
    minify = _add(subparsers, "minify", "the same decisions with fewer rules", MINIFY)
    minify.add_argument("file", metavar="FILE", help="a policy")
    minify.set_defaults(run=run_minify)


def _add(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, text: str, description: str
) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        name,
        help=text,
        description=description,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--universe", choices=("possible", "any"), default="possible", help=_UNIVERSE)
    if name != "minify":
        parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="how to print")
    return parser


def run_diff(args: argparse.Namespace) -> int:
    """Print every class of requests that changes."""
    from kubewitness.policy.prove.answer import TooHardError
    from kubewitness.policy.prove.describe import decision_text, region_text, request_text
    from kubewitness.policy.prove.diff import Diff
    from kubewitness.policy.prove.universe import Universe

    try:
        found = Diff(_load(args.old), _load(args.new), Universe(args.universe))
        most = _MOST_LINES if args.output == "text" else _MOST_REGIONS
        shown = [(change, *found.regions(change, most)) for change in found.changes]
    except TooHardError as error:
        raise UserError(str(error), ExitCode.INCOMPLETE) from error
    if args.output == "json":
        _print_json(
            [
                {
                    "before": _decision(change.before),
                    "after": _decision(change.after),
                    "example": _request(change.example),
                    "regions": [region_text(found.space, region) for region in regions],
                    "regionsAreAll": is_all,
                }
                for change, regions, is_all in shown
            ]
        )
        return ExitCode.FINDINGS if shown else ExitCode.OK
    for change, regions, is_all in shown:
        _print(f"{decision_text(change.before)} -> {decision_text(change.after)}")
        for region in regions:
            _print(f"  {region_text(found.space, region)}")
        if not is_all:
            _print("  and more")
        _print(f"  for example: {request_text(change.example)}")
    if not shown:
        _print("no difference: every possible request is recorded alike")
    return ExitCode.FINDINGS if shown else ExitCode.OK


def run_prove(args: argparse.Namespace) -> int:
    """Print for each claim that it is proved, or which rules break it."""
    from kubewitness.policy.prove.answer import TooHardError
    from kubewitness.policy.prove.claims import prove
    from kubewitness.policy.prove.describe import decision_text, request_text
    from kubewitness.policy.prove.universe import Universe

    policy = _load(args.file)
    try:
        answers = [prove(policy, claim, Universe(args.universe)) for claim in _claims(args.claims)]
    except TooHardError as error:
        raise UserError(str(error), ExitCode.INCOMPLETE) from error
    code = ExitCode.OK if all(answer.is_proved for answer in answers) else ExitCode.FINDINGS
    if args.output == "json":
        _print_json(
            [
                {
                    "claim": answer.claim.text,
                    "proved": answer.is_proved,
                    "breaches": [
                        {"decision": _decision(breach.decision), "example": _request(breach.example)}
                        for breach in answer.breaches
                    ],
                }
                for answer in answers
            ]
        )
        return code
    for answer in answers:
        _print(f"{'proved' if answer.is_proved else 'BROKEN'}: {answer.claim.text}")
        for breach in answer.breaches:
            _print(f"  {decision_text(breach.decision)}: {request_text(breach.example)}")
    return code


def run_minify(args: argparse.Namespace) -> int:
    """Print the smaller policy."""
    from kubewitness.policy.prove.answer import TooHardError
    from kubewitness.policy.prove.minify import minify
    from kubewitness.policy.prove.universe import Universe

    try:
        found = minify(_load(args.file), Universe(args.universe))
    except TooHardError as error:
        raise UserError(str(error), ExitCode.INCOMPLETE) from error
    for step in found.steps:
        print(printable(step), file=sys.stderr)  # noqa: T201
    sys.stdout.write(policy_yaml(found.policy))
    return ExitCode.OK


def policy_yaml(policy: "Policy") -> str:
    """Write a policy as YAML, only what it states."""
    import yaml

    document: dict[str, object] = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy"}
    if policy.omit_stages:
        document["omitStages"] = [stage.value for stage in policy.omit_stages]
    if policy.omit_managed_fields:
        document["omitManagedFields"] = True
    rules: list[dict[str, object]] = []
    for rule in policy.rules:
        entries = [
            {"group": entry.group, "resources": list(entry.resources), "resourceNames": list(entry.resource_names)}
            for entry in rule.resources
        ]
        members: dict[str, object] = {
            "users": list(rule.users),
            "userGroups": list(rule.user_groups),
            "verbs": list(rule.verbs),
            "resources": [{k: v for k, v in entry.items() if v or k == "group"} for entry in entries],
            "namespaces": list(rule.namespaces),
            "nonResourceURLs": list(rule.non_resource_urls),
            "omitStages": [stage.value for stage in rule.omit_stages],
        }
        stated = {"level": rule.level.value} | {name: value for name, value in members.items() if value}
        if rule.omit_managed_fields is not None:
            stated["omitManagedFields"] = rule.omit_managed_fields
        rules.append(stated)
    document["rules"] = rules
    return yaml.safe_dump(document, sort_keys=False, default_flow_style=False, width=120)


def _load(path: str) -> "Policy":
    from kubewitness.policy.load import PolicyError, load

    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        return load(data)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except PolicyError as error:
        raise UserError(f"{path}: the server refuses this policy: {error}", ExitCode.FINDINGS) from error


def _claims(texts: Sequence[str]) -> list["Claim"]:
    from kubewitness.policy.prove.claims import ClaimError, parse_claims

    try:
        return [claim for text in texts for claim in parse_claims(text)]
    except ClaimError as error:
        raise UserError(str(error)) from error


def _decision(decision: "Decision") -> dict[str, object]:
    return {
        "level": decision.level.value,
        "omitStages": [stage.value for stage in sorted(decision.omit_stages)],
        "omitManagedFields": decision.omit_managed_fields,
        "rule": decision.rule_index,
    }


def _request(request: "Attributes") -> dict[str, object]:
    members: dict[str, object] = {
        "verb": request.verb,
        "user": request.user,
        "groups": None if request.groups is None else list(request.groups),
        "path": request.path,
    }
    if request.resource_request:
        members |= {
            "apiGroup": request.api_group,
            "resource": request.resource,
            "subresource": request.subresource,
            "namespace": request.namespace,
            "name": request.name,
        }
    return members


def _print(text: str) -> None:
    print(printable(text))  # noqa: T201


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2))  # noqa: T201
