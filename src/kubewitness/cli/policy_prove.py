"""`policy prove` and `policy minify`: exact answers about policies, over all possible requests."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.policy_files import read_policy
from kubewitness.cli.render.printable import printable

if TYPE_CHECKING:
    from kubewitness.policy.prove.claims import Claim
    from kubewitness.policy.prove.universe import Universe
    from kubewitness.policy.types import Attributes, Decision, Policy

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
_UNIVERSE = "requests to think of: `possible`, those a server can see (default), or `any` combination of members"


def add_subcommands(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add both to the subcommands of `policy`; each sets `run`."""
    prove = add_parser(subparsers, "prove", "prove claims, or show what breaks them", PROVE)
    prove.add_argument("file", metavar="FILE", help="a policy")
    prove.add_argument("claims", metavar="CLAIM", nargs="+", help="a claim in one line, or the name of one")
    prove.set_defaults(run=run_prove)
    minify = add_parser(subparsers, "minify", "the same decisions with fewer rules", MINIFY)
    minify.add_argument("file", metavar="FILE", help="a policy")
    minify.set_defaults(run=run_minify)


def add_parser(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, text: str, description: str
) -> argparse.ArgumentParser:
    """Add a sub-command about policies."""
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


def run_prove(args: argparse.Namespace) -> int:
    """Print for each claim that it is proved, or which rules break it."""
    from kubewitness.policy.prove.answer import TooHardError
    from kubewitness.policy.prove.claims import prove
    from kubewitness.policy.prove.describe import decision_text, request_text
    from kubewitness.policy.prove.universe import Universe

    policy = load_policy(args.file)
    universe = Universe(args.universe)
    try:
        answers = [prove(policy, claim, universe) for claim in _claims(args.claims, universe)]
    except TooHardError as error:
        raise UserError(str(error), ExitCode.INCOMPLETE) from error
    code = ExitCode.OK if all(answer.is_proved for answer in answers) else ExitCode.FINDINGS
    if args.output == "json":
        print_json(
            [
                {
                    "claim": answer.claim.text,
                    "proved": answer.is_proved,
                    "breaches": [
                        {"decision": decision_json(breach.decision), "example": request_json(breach.example)}
                        for breach in answer.breaches
                    ],
                }
                for answer in answers
            ]
        )
        return code
    for answer in answers:
        print_line(f"{'proved' if answer.is_proved else 'BROKEN'}: {answer.claim.text}")
        for breach in answer.breaches:
            print_line(f"  {decision_text(breach.decision)}: {request_text(breach.example)}")
    return code


def run_minify(args: argparse.Namespace) -> int:
    """Print the smaller policy."""
    from kubewitness.policy.prove.answer import TooHardError
    from kubewitness.policy.prove.minify import minify
    from kubewitness.policy.prove.universe import Universe

    try:
        found = minify(load_policy(args.file), Universe(args.universe))
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


def load_policy(path: str) -> "Policy":
    """Load a policy; what cannot be read or is refused ends the command."""
    from kubewitness.policy.load import PolicyError, load

    try:
        return load(read_policy(path))
    except PolicyError as error:
        raise UserError(f"{path}: the server refuses this policy: {error}", ExitCode.FINDINGS) from error


def _claims(texts: Sequence[str], universe: "Universe") -> list["Claim"]:
    from kubewitness.policy.prove.claims import ClaimError, parse_claims

    try:
        return [claim for text in texts for claim in parse_claims(text, universe)]
    except ClaimError as error:
        raise UserError(str(error)) from error


def decision_json(decision: "Decision") -> dict[str, object]:
    """Give a decision as JSON knows it."""
    return {
        "level": decision.level.value,
        "omitStages": [stage.value for stage in sorted(decision.omit_stages)],
        "omitManagedFields": decision.omit_managed_fields,
        "rule": decision.rule_index,
    }


def request_json(request: "Attributes") -> dict[str, object]:
    """Give a request as JSON knows it."""
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


def print_line(text: str) -> None:
    """Print a line, made harmless."""
    from kubewitness.cli.render.folded import folded

    print(folded(printable(text), sys.stdout))  # noqa: T201


def print_json(value: object) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, indent=2))  # noqa: T201
