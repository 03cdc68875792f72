"""
`kubewitness who`: who created, deleted, changed, read, listed, exec'd into or touched an object.

Each answer names the person, what came of it, from where, with which tool, and how the log knows that it was this
object. What only may have been it is told apart, with the reason; and with a policy at hand, whether it could have
been recorded at all. Exit 4 when part of the answer is unknown.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kubewitness.cli.answer import conclude, say
from kubewitness.cli.columns import STORED
from kubewitness.cli.engine import Log, open_log
from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.filters import add_filter_arguments
from kubewitness.cli.progress import Progress
from kubewitness.cli.render.choose import FORMATS, add_output_arguments, output_of, write_rows
from kubewitness.cli.render.output import Output
from kubewitness.cli.render.printable import printable
from kubewitness.cli.render.values import Column, Shrink, command_text
from kubewitness.cli.request import Request, did, from_where, what
from kubewitness.cli.sources import STDIN, add_source_arguments

if TYPE_CHECKING:
    from kubewitness.look.investigate.visibility import Visible
    from kubewitness.look.investigate.who import Finding, Question, Target

QUESTIONS = ("created", "deleted", "changed", "read", "listed", "exec", "touched")

HELP = """Say who did what to an object, and how the log knows.

  kubewitness who deleted secrets/important -n production audit.log
  kubewitness who exec pods/web -n production --since 7d /var/log/kubernetes/audit/
  kubewitness who created pods/web-7f85ffccdf-ptqxf -n team-a --policy audit-policy.yaml audit.log
  kubewitness who listed secrets audit.log"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the question, the object, sources, filters and output."""
    parser.add_argument("question", choices=QUESTIONS, metavar="QUESTION", help=", ".join(QUESTIONS))
    parser.add_argument(
        "object", metavar="KIND[/NAME]", help="pods/web, deploy/web, secrets (any), widgets.example.com/w1"
    )
    add_source_arguments(parser)
    parser.usage = "%(prog)s QUESTION KIND[/NAME] [flags] [SRC...]"
    add_filter_arguments(parser)
    parser.add_argument(
        "--policy",
        metavar="FILE",
        help="the audit policy in force: says what it could not have recorded, and which rule",
    )
    add_output_arguments(parser, ("text", *FORMATS), says="table fits the terminal, the others have every column")


def run(args: argparse.Namespace) -> int:
    """Find, judge and print."""
    from kubewitness.look.investigate.who import Certainty, Question, candidates

    question = Question(args.question)
    target = target_of(args)
    users = _users_asked_for(args)
    visible = _visibility(args.policy, question, target, users) if args.policy else []
    with open_log(args, narrowed=candidates(question, target)) as log, Progress("reading", log.fraction) as progress:
        findings = list(_judged(progress.until_first(_placed(log)), question, target))
        known = [found for found in findings if found[0].certainty is not Certainty.UNKNOWN]
        unknown = [found for found in findings if found[0].certainty is Certainty.UNKNOWN]
        output = output_of(args)
        if args.output == "text":
            _write_text([finding for finding, _ in known], [finding for finding, _ in unknown], output)
        else:
            columns = (*COLUMNS, *(shown.column for shown in STORED)) if log.is_store else COLUMNS
            shown = _TABLE if args.output == "table" else range(len(columns))
            rows = ((*_row(finding), *place) for finding, place in (*known, *unknown))
            chosen = ([row[index] for index in shown] for row in rows)
            write_rows(chosen, [columns[index] for index in shown], args.output, output)
        return _conclude(log, args, target, found=len(known), unknown=len(unknown), visible=visible)


def target_of(args: argparse.Namespace) -> "Target":
    """Read KIND[/NAME] and -n. Raises UserError."""
    from kubewitness.look.investigate.who import Target
    from kubewitness.look.query.syntax_resources import group_of, plural

    kind, slash, name = args.object.partition("/")
    first = args.sources[0] if args.sources else STDIN
    if not slash and first != STDIN and not {".", "/"} & set(first) and not Path(first).exists():
        raise UserError(f"{first}: no such file or directory; the name of an object follows a slash: {kind}/{first}")
    if not kind or "/" in name:
        raise UserError(f"{args.object!r} is not KIND or KIND/NAME, as in pods/web; exec and the like are questions")
    if args.question != "listed" and args.object.endswith("/"):
        raise UserError(f"{args.object!r}: a name must follow the slash")
    if "*" in name or "?" in name:
        raise UserError(f"who asks about one object, or any of a kind: {kind} --name '{name}' narrows these")
    resource, dot, group = kind.partition(".")
    if args.question == "exec" and plural(resource) not in ("pods", "nodes"):
        of_these = f", and for those of {args.object} with --name '{name}-*'" if name else ""
        raise UserError(f"commands run in pods: ask for pods{of_these}")
    namespaces: list[str] = args.namespace or []
    if len(namespaces) > 1 or any(c in n for n in namespaces for c in "*?!,"):
        raise UserError("who asks about one object: give -n one namespace, or leave it out for all")
    namespace = namespaces[0] if namespaces else None
    args.namespace = None  # the judge decides: a list over all namespaces takes this one in
    target = Target(plural(resource), name or None, namespace, group_of(group) if dot else None)
    if namespace and _has_no_namespace(target):
        raise UserError(f"{target.resource} are in no namespace: leave -n {namespace} out")
    return target


def _has_no_namespace(target: "Target") -> bool:
    """Tell of a kind that every Kubernetes server has for the whole cluster; a namespace is in itself."""
    from kubewitness.policy.builtin import RESOURCES

    groups = [known for known in RESOURCES if known.name == target.resource != "namespaces"]
    alike = [known for known in groups if target.api_group in (None, known.group)]
    return bool(alike) and not any(known.is_namespaced for known in alike)


def _placed(log: Log) -> Iterator[tuple[bytes, tuple[object, ...]]]:
    """Give the Events, and of each of a store its cluster and its place in the log, by which it is proved."""
    if log.is_store:
        yield from log.raw_with([name for shown in STORED for name in shown.reads])
    else:
        for raw in log.raw():
            yield raw, ()


def _judged(
    events: Iterable[tuple[bytes, tuple[object, ...]]], question: "Question", target: "Target"
) -> Iterator[tuple["Finding", tuple[object, ...]]]:
    from kubewitness.event.decode import decode_tolerant
    from kubewitness.look.investigate.who import judge

    for raw, place in events:
        read = decode_tolerant(raw)
        if not isinstance(read, str):
            finding = judge(read[0], question, target)
            if finding is not None:
                yield finding, place


def _request(finding: "Finding") -> Request:
    """Read what the sentences need out of the Event, by the one definition of each field."""
    from datetime import datetime

    from kubewitness.event.derive import expand
    from kubewitness.event.expr import Ref
    from kubewitness.event.expr_evaluate import evaluate
    from kubewitness.event.fields import by_column

    event = finding.event
    values = {
        name: evaluate(expand(Ref(by_column(name).path)), event)
        for name in Request.__struct_fields__
        if name not in ("received", "stage")
    }
    stamp = event.request_received_timestamp
    return Request(received=datetime.fromisoformat(stamp) if stamp else None, stage=event.stage.value, **values)  # type: ignore[arg-type]


_DID = Column("DID", "did", Shrink.END)
COLUMNS = (
    Column("TIME", "requestReceivedTimestamp", Shrink.NEVER, usual_width=20),
    Column("WHO", "user.username", Shrink.MIDDLE),
    Column("AS", "impersonatedUser.username", Shrink.MIDDLE),
    _DID,
    Column("OBJECT", "object", Shrink.MIDDLE),
    Column("CODE", "responseStatus.code", Shrink.NEVER, is_right=True),
    Column("CERTAINTY", "certainty", Shrink.NEVER),
    Column("FROM", "source.peer", Shrink.MIDDLE),
    Column("TOOL", "userAgent", Shrink.END),
    Column("GROUPS", "user.groups", Shrink.END),
    Column("CLAIMED", "claimedHops", Shrink.END),
    Column("COMMAND", "exec.command", Shrink.END, text=command_text),
    Column("EVIDENCE", "evidence", Shrink.END),
    Column("AUDITID", "auditID", Shrink.END),
)

_TABLE = (0, 1, 3, 4, 5, 6, 7)
"""What fits a terminal: time, who, did, object, code, certainty, from."""


def _row(finding: "Finding") -> tuple[object, ...]:
    request, event = _request(finding), finding.event
    hops = list(event.source_ips or ())
    what_was_done = f"{finding.did} (dry run)" if request.dryrun else finding.did
    return (
        request.received,
        request.username,
        request.impersonated_username,
        what_was_done
        if request.outcome == "allowed"
        else f"{what_was_done}: {request.outcome or 'no answer recorded'}",
        what(request),
        request.code,
        finding.certainty.value,
        hops[-1] if hops else None,
        event.user_agent,
        list(event.user.groups) if event.user and event.user.groups else None,
        hops[:-1] or None,
        list(request.exec_command or ()) or None,
        finding.evidence,
        event.audit_id,
    )


def _write_text(known: Sequence["Finding"], unknown: Sequence["Finding"], output: Output) -> None:
    for finding in known:
        request = _request(finding)
        output.write(f"{finding.event.request_received_timestamp}  {printable(did(request))}\n")
        for name, value in _details(finding, request):
            output.write(f"    {name:<9}{printable(value)}\n")
    if not unknown:
        return
    output.write("unknown, it may also have been:\n" if known else "unknown, it may have been:\n")
    for same in _grouped(unknown):
        first, last = (finding.event.request_received_timestamp for finding in (same[0], same[-1]))
        output.write(f"  {printable(did(_request(same[0]), count=len(same)))}\n")
        output.write(f"    when     {first}{f' .. {last}' if len(same) > 1 else ''}\n")
        output.write(f"    why      {printable(same[0].evidence.removeprefix('unknown: '))}\n")


def _details(finding: "Finding", request: Request) -> Iterator[tuple[str, str]]:
    event = finding.event
    if event.user and event.user.groups:
        yield "groups", ", ".join(event.user.groups)
    if event.impersonated_user:
        yield "as", ", ".join((event.impersonated_user.username or "?", *(event.impersonated_user.groups or ())))
    place = from_where(request)
    if place:
        yield "from", place
    if event.user_agent:
        yield "tool", event.user_agent
    if finding.certainty.value != "certain" or finding.evidence != "named in the request":
        yield "evidence", f"{finding.certainty.value}: {finding.evidence}"
    if event.audit_id:
        yield "auditID", event.audit_id


def _grouped(findings: Iterable["Finding"]) -> list[list["Finding"]]:
    """Put together what the same user did in the same way, in the order of the first."""
    groups: dict[tuple[object, ...], list[Finding]] = {}
    for finding in findings:
        event = finding.event
        user = event.user.username if event.user else None
        reference = event.object_ref
        place = reference.namespace if reference else None
        groups.setdefault((user, finding.did, place, finding.evidence), []).append(finding)
    return list(groups.values())


def _users_asked_for(args: argparse.Namespace) -> list[str]:
    """Give the users that --user names, nothing where it leaves open who else."""
    from kubewitness.look.query.syntax import split_values

    users, excluded = split_values("--user", args.user or ())
    return [] if excluded or any(sign in name for name in users for sign in "*?\\") else users


def _visibility(path: str, question: "Question", target: "Target", users: Sequence[str]) -> list["Visible"]:
    from kubewitness.look.investigate.visibility import groups_of, visibility
    from kubewitness.policy.evaluate import evaluate
    from kubewitness.policy.load import PolicyError, load

    if target.api_group is None and not groups_of(target.resource):
        raise UserError(f"--policy {path}: rules are about API groups: ask about {target.resource}.GROUP")
    try:
        policy = load(Path(path).read_bytes())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except PolicyError as error:
        raise UserError(f"{path}: the server would refuse this policy: {error}") from error
    return visibility(policy, question, target, evaluate, users)


def _conclude(
    log: Log, args: argparse.Namespace, target: "Target", *, found: int, unknown: int, visible: Sequence["Visible"]
) -> int:
    code = conclude(log, args, found=found + unknown)
    sys.stdout.flush()
    if args.policy:
        for line in _policy_lines(visible, target, args.policy):
            say(line)
        is_asked_for = bool(_users_asked_for(args))
        if any(not one.is_recorded and not one.is_for_some and (is_asked_for or not one.users) for one in visible):
            code = ExitCode.INCOMPLETE
    elif not found:
        say("whether the policy in force records such requests is not known; --policy FILE tells")
    return ExitCode.INCOMPLETE if unknown else code


def _policy_lines(visible: Sequence["Visible"], target: "Target", path: str) -> Iterator[str]:
    """Say what the policy does with each kind of request, the same ones together."""
    told: dict[str, list[str]] = {}
    for one in visible:
        kind = f"{target.resource}.{one.api_group}" if target.api_group is None and one.api_group else target.resource
        request = f"{one.verb} {kind}{'/' + one.subresource if one.subresource else ''}"
        told.setdefault(_what_policy_does(one), []).append(request)
    for words, requests in told.items():
        yield f"{path}: {', '.join(requests)}: {words}"


def _what_policy_does(one: "Visible") -> str:
    rule = f"rules[{one.rule_index}]" if one.rule_index is not None else "no rule matches"
    named = [f"users {', '.join(one.users)}"] if one.users else []
    named += [f"groups {', '.join(one.groups)}"] if one.groups else []
    whose = f" for {' in '.join(named)}" if named else ""
    if one.is_recorded:
        return f"recorded at {one.level.value}{whose} ({rule})"
    why = "level None" if one.level.value == "None" else "every stage omitted"
    return f"NOT RECORDABLE{whose} ({rule}: {why})"
