"""`policy eval`: what a policy says of many requests, one line of JSON each, or as SQL over `events`."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.policy_files import accepted, add_file_argument, add_version_argument

if TYPE_CHECKING:
    from kubewitness.policy.types import Attributes, Decision, Policy

DESCRIPTION = """\
Evaluate a policy for requests, one JSON object a line in, one a line out:
{"level": "Metadata", "omitStages": [], "omitManagedFields": false, "rule": 0}; rule is null when none matches.

  echo '{"user":"alice","groups":[],"verb":"get","resource":"pods","resourceRequest":true}' |
    kubewitness policy eval audit-policy.yaml --requests -

Members of a request: user, groups, verb, namespace, apiGroup, apiVersion, resource, subresource, name,
resourceRequest, path. What is left out is empty; without user, or with user null, authentication failed.

With --sql nothing is evaluated: the policy is written as one SELECT that adds to every row of `events` the rule that
decides it (-1: none), the level, and whether the policy writes this stage. For `kubewitness sql`, alone or inside:

  decided=$(kubewitness policy eval new-policy.yaml --sql)
  kubewitness sql "SELECT rule, policy_level, count(*) FROM ($decided) GROUP BY ALL" audit.log
"""
_TEXTS = ("verb", "namespace", "apiGroup", "apiVersion", "resource", "subresource", "name", "path")


def add_subcommand(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `eval`."""
    parser = subparsers.add_parser(
        "eval",
        help="what a policy says of many requests, in JSON lines",
        description=DESCRIPTION,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_file_argument(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--requests", metavar="REQS", help="a file of requests in JSON lines; - is standard input")
    what.add_argument("--sql", action="store_true", help="print the policy as one SELECT over `events`")
    add_version_argument(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print one decision a request."""
    from kubewitness.policy.evaluate import compile_policy

    if args.file == "-" and args.requests == "-":
        raise UserError("the policy and the requests cannot both come from standard input")
    document = accepted(args.file, args.server_version)
    assert document.policy is not None  # noqa: S101  accepted() gives no other
    if args.sql:
        sys.stdout.write(_select(document.policy) + "\n")
        return ExitCode.OK
    compiled = compile_policy(document.policy)
    for number, line in enumerate(_lines(args.requests), 1):
        if line.strip():
            decision = compiled.decide(_request(line, f"{args.requests}:{number}"))
            sys.stdout.write(json.dumps(decision_json(decision), separators=(",", ":")) + "\n")
    return ExitCode.OK


def decision_json(decision: "Decision") -> dict[str, object]:
    """Give a decision in the words of the vectors."""
    return {
        "level": decision.level.value,
        "omitStages": sorted(stage.value for stage in decision.omit_stages),
        "omitManagedFields": decision.omit_managed_fields,
        "rule": decision.rule_index,
    }


def _select(policy: "Policy") -> str:
    from kubewitness.look.query.policy_sql import policy_sql

    sql = policy_sql(policy)
    added = f"{sql.rule_index} AS rule, {sql.level} AS policy_level, {sql.is_recorded} AS written"
    return f"SELECT *, {added} FROM events"  # noqa: S608 - policy_sql quotes what the policy says


def _lines(path: str) -> Iterator[bytes]:
    if path == "-":
        yield from sys.stdin.buffer
        return
    try:
        with Path(path).open("rb") as file:
            yield from file
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


def _request(line: bytes, where: str) -> "Attributes":
    from kubewitness.policy.types import Attributes

    try:
        members = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: this is no JSON: {_reason(error)}") from None
    if not isinstance(members, dict):
        raise UserError(f'{where}: a request is a JSON object, such as {{"user": "alice", "verb": "get"}}')
    texts = {name: _text(members.pop(name, ""), name, where) for name in _TEXTS}
    user = members.pop("user", None)
    groups = members.pop("groups", None)
    is_resource = members.pop("resourceRequest", False)
    if members:
        raise UserError(f"{where}: {_unknown(next(iter(members)))}")
    if user is not None:
        _text(user, "user", where)
    if groups is not None and not (isinstance(groups, list) and all(isinstance(group, str) for group in groups)):
        raise UserError(f"{where}: groups must be a list of strings or null, not {_shown(groups)}")
    if not isinstance(is_resource, bool):
        raise UserError(f"{where}: resourceRequest must be true or false, not {_shown(is_resource)}")
    return Attributes(
        texts["verb"],
        user,
        None if user is None else tuple(groups or ()),
        texts["namespace"],
        texts["apiGroup"],
        texts["apiVersion"],
        texts["resource"],
        texts["subresource"],
        texts["name"],
        is_resource,
        texts["path"],
    )


def _reason(error: ValueError | RecursionError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.pos + 1}"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def _text(value: object, name: str, where: str) -> str:
    if not isinstance(value, str):
        raise UserError(f"{where}: {name} must be a string, not {_shown(value)}")
    return value


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _unknown(name: str) -> str:
    import difflib

    known = (*_TEXTS, "user", "groups", "resourceRequest")
    near = difflib.get_close_matches(name, known, n=1)
    return f"a request has no member {_shown(name)}" + (f"; did you mean {near[0]}?" if near else "")
