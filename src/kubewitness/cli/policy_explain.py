"""`policy explain`: which rule decides a request, why not the earlier ones, and what the log will hold."""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.policy_eval import decision_json
from kubewitness.cli.policy_files import accepted, add_file_argument, add_version_argument
from kubewitness.cli.render.folded import folded
from kubewitness.cli.render.printable import printable

if TYPE_CHECKING:
    from kubewitness.policy.explain import Explanation
    from kubewitness.policy.load import Document
    from kubewitness.policy.types import Attributes

DESCRIPTION = """\
Say which rule of a policy decides a request, why each earlier rule does not match, and what the log will hold at each
stage. Ask for a verb and a resource, for a URL, or for what a kubectl command sends.

  kubewitness policy explain audit-policy.yaml --user alice --verb get --resource pods/exec -n prod --name web
  kubewitness policy explain audit-policy.yaml --user system:anonymous --url /healthz
  kubewitness policy explain audit-policy.yaml --user alice --kubectl 'exec -n prod -it web -- sh'
"""


@dataclass(frozen=True, slots=True)
class _Asked:
    """One request to explain: what a person reads first, the attributes, what else is worth knowing."""

    title: str
    attributes: "Attributes"
    note: str = ""


def add_subcommand(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `explain`."""
    parser = subparsers.add_parser(
        "explain",
        help="which rule decides a request, and what the log will hold",
        description=DESCRIPTION,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_file_argument(parser)
    who = parser.add_argument_group("who asks")
    who.add_argument("--user", metavar="U", help="the user name; groups that every such user has are added")
    who.add_argument("--group", metavar="G", action="append", default=[], help="a further group; may be repeated")
    who.add_argument("--unauthenticated", action="store_true", help="nobody: authentication failed (401)")
    what = parser.add_argument_group("what is asked")
    what.add_argument("--verb", metavar="V", help="get, list, watch, create, update, patch, delete, deletecollection")
    what.add_argument("--resource", metavar="R", help="pods, pods/exec, deployments.apps, widgets.example.com/status")
    what.add_argument("-n", "--namespace", metavar="NS", default="", help="the namespace, if any")
    what.add_argument("--name", metavar="N", default="", help="the name in the URL, if any")
    what.add_argument("--url", metavar="URL", help="a URL path with or without query, instead of verb and resource")
    what.add_argument("--method", metavar="M", default="GET", help="the HTTP method for --url (default: %(default)s)")
    what.add_argument("--kubectl", metavar="LINE", help="a kubectl command line, instead of verb and resource")
    parser.add_argument(
        "-o", "--output", choices=("text", "json"), default="text", help="how to print (default: %(default)s)"
    )
    add_version_argument(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Explain every request that was asked for."""
    from kubewitness.policy.explain import explain

    document = accepted(args.file, args.server_version)
    policy = document.policy
    assert policy is not None  # noqa: S101  accepted() gives no other
    answers = [(asked, explain(policy, asked.attributes)) for asked in _asked(args)]
    if args.output == "json":
        found = [_json(document, asked, explanation) for asked, explanation in answers]
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        return ExitCode.OK
    for number, (asked, explanation) in enumerate(answers):
        if number:
            sys.stdout.write("\n")
        sys.stdout.writelines(
            f"{folded(printable(line), sys.stdout)}\n" for line in _text(document, asked, explanation)
        )
    return ExitCode.OK


# --- the question


def _asked(args: argparse.Namespace) -> list[_Asked]:
    user, groups = _who(args)
    ways = [name for name in ("resource", "url", "kubectl") if getattr(args, name) is not None]
    if len(ways) != 1:
        raise UserError("ask for one thing: --verb and --resource, or --url, or --kubectl")
    if ways == ["kubectl"]:
        return list(_by_kubectl(args.kubectl, user, groups))
    if ways == ["url"]:
        return [_by_url(args, user, groups)]
    return [_by_resource(args, user, groups)]


def _who(args: argparse.Namespace) -> tuple[str | None, tuple[str, ...] | None]:
    from kubewitness.policy.explain import implied_groups

    if args.unauthenticated:
        if args.user is not None or args.group:
            raise UserError("--unauthenticated is nobody: it goes without --user and --group")
        return None, None
    if args.user is None:
        raise UserError("who asks? give --user, or --unauthenticated for a request whose authentication failed")
    return args.user, tuple(dict.fromkeys((*args.group, *implied_groups(args.user))))


def _by_kubectl(line: str, user: str | None, groups: tuple[str, ...] | None) -> Iterator[_Asked]:
    from kubewitness.policy.kubectl import KubectlError, impersonates, requests_of
    from kubewitness.policy.request import request_info

    try:
        requests = requests_of(line)
        acts_as_other = impersonates(line)
    except KubectlError as error:
        raise UserError(str(error)) from error
    for request in requests:
        note = request.note
        if acts_as_other:
            note += "; " * bool(note) + "--as does not matter: the policy sees the real user"
        attributes = request_info(request.method, request.url).attributes(user, groups)
        yield _Asked(f"{request.method} {request.url}", attributes, note)


def _by_url(args: argparse.Namespace, user: str | None, groups: tuple[str, ...] | None) -> _Asked:
    from kubewitness.policy.request import RequestError, request_info

    if args.verb or args.name or args.namespace:
        raise UserError("--url says it all: leave --verb, --namespace and --name out; --method is the HTTP method")
    try:
        info = request_info(args.method.upper(), args.url)
    except RequestError as error:
        raise UserError(str(error)) from error
    return _Asked(f"{args.method.upper()} {args.url}", info.attributes(user, groups))


def _by_resource(args: argparse.Namespace, user: str | None, groups: tuple[str, ...] | None) -> _Asked:
    from kubewitness.policy.kubectl import KubectlError, resource_of, url_of
    from kubewitness.policy.prove.named import no_such_verb
    from kubewitness.policy.types import Attributes

    if not args.verb:
        raise UserError("--verb is missing; `get` for kubectl get NAME and for exec, `list`, `watch`, `create`, ...")
    word, _, subresource = args.resource.partition("/")
    try:
        resource = resource_of(word)
    except KubectlError as error:
        raise UserError(str(error)) from error
    note = "" if resource.name in word else f"{word} is taken for {resource.name}"
    if resource.group and "." not in word:
        note += "; " * bool(note) + f"{resource.name} are of group {resource.group}"
    if wrong := no_such_verb(args.verb):
        note += "; " * bool(note) + wrong
    url = url_of(resource, args.namespace, args.name, subresource)
    attributes = Attributes(
        args.verb,
        user,
        groups,
        args.namespace,
        resource.group,
        "v1",
        resource.name,
        subresource,
        args.name,
        resource_request=True,
        path=url,
    )
    return _Asked(f"{args.verb} {args.resource}", attributes, note)


# --- the answer


def _text(document: "Document", asked: _Asked, explanation: "Explanation") -> Iterator[str]:
    request, decision = asked.attributes, explanation.decision
    yield asked.title
    yield f"  {_request_text(request)}"
    if asked.note:
        yield f"  note: {asked.note}"
    for rule in explanation.rules:
        place = f"rules[{rule.index}] (line {_line(document, rule.index)}, {rule.level.value})"
        if rule.index == decision.rule_index:
            yield f"  {place} decides"
            continue
        yield f"  {place} does not match"
        for reason in rule.reasons:
            yield f"      {reason.field}: {reason.text}"
            if reason.hint:
                yield f"          hint: {reason.hint}"
    if decision.rule_index is None:
        yield "  no rule matches"
    yield f"  level {decision.level.value}"
    for stage in explanation.stages:
        verdict = "written" if stage.is_written else "not written"
        yield f"  {stage.stage.value}: {verdict}: {'; '.join(stage.holds)}"


def _request_text(request: "Attributes") -> str:
    groups = ", ".join(request.groups or ()) or "no groups"
    who = "nobody (authentication failed)" if request.user is None else f"{request.user} ({groups})"
    if not request.resource_request:
        return f"the policy sees: {request.verb} {request.path} by {who}"
    resource = f"{request.resource}/{request.subresource}" if request.subresource else request.resource
    group = f" of {request.api_group}" if request.api_group else ""
    name = f" {request.name}" if request.name else " (no name)"
    where = f" in namespace {request.namespace}" if request.namespace else ""
    return f"the policy sees: {request.verb} {resource}{group}{name}{where} by {who}"


def _line(document: "Document", index: int) -> int:
    value = document.tree.at(("rules", index)) if document.tree is not None else None
    return value.mark.line if value is not None else 1


def _json(document: "Document", asked: _Asked, explanation: "Explanation") -> dict[str, object]:
    request = asked.attributes
    return {
        "request": {
            "user": request.user,
            "groups": None if request.groups is None else list(request.groups),
            "verb": request.verb,
            "namespace": request.namespace,
            "apiGroup": request.api_group,
            "resource": request.resource,
            "subresource": request.subresource,
            "name": request.name,
            "resourceRequest": request.resource_request,
            "path": request.path,
        },
        "title": asked.title,
        "note": asked.note,
        **decision_json(explanation.decision),
        "rules": [
            {
                "rule": rule.index,
                "line": _line(document, rule.index),
                "level": rule.level.value,
                "reasons": [
                    {"field": reason.field, "text": reason.text, "hint": reason.hint} for reason in rule.reasons
                ],
            }
            for rule in explanation.rules
        ],
        "stages": [
            {"stage": stage.stage.value, "written": stage.is_written, "holds": list(stage.holds)}
            for stage in explanation.stages
        ],
    }
