"""`policy coverage`: which attacks a policy makes visible, which rule is to blame, what would change it."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.policy_files import accepted_with_bytes, add_version_argument
from kubewitness.cli.render.choose import add_output_arguments, output_of, write_rows
from kubewitness.cli.render.folded import folded
from kubewitness.cli.render.printable import printable
from kubewitness.cli.render.values import Column, Shrink, Tone, json_text

if TYPE_CHECKING:
    from kubewitness.cli.render.output import Output
    from kubewitness.policy.load import Document
    from kubewitness.policy.types import Policy
    from kubewitness.policy.workshop.coverage import Cover, Insertion, Sight, Technique, Verdict

DESCRIPTION = """\
Say which attack techniques a policy makes visible, judged as the identity that attacks and at the stage that shows it:

  full               recorded at the level that tells it from benign use
  weak               seen, but without the content that tells, or late
  indistinguishable  seen, but like any other request
  blind              not recorded

  kubewitness policy coverage audit-policy.yaml
  kubewitness policy coverage --as system:kube-scheduler audit-policy.yaml
  kubewitness policy coverage --all old.yaml new.yaml          a column for each policy

For one policy the rule to blame and the rule to add are told; what is added was evaluated first.
Ends with 1 when a technique is as badly seen as --fail-on says.
"""
_MOST_IDENTITIES = 40
_FAIL = ("blind", "indistinguishable", "weak", "never")


@dataclass(frozen=True, slots=True)
class _Judged:
    """One policy file and what it covers."""

    path: str
    data: bytes
    document: "Document"
    policy: "Policy"
    covers: tuple["Cover", ...]


def add_subcommand(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `coverage`."""
    parser = subparsers.add_parser(
        "coverage",
        help="which attacks a policy makes visible, and what would change it",
        description=DESCRIPTION,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", metavar="FILE", nargs="+", help="audit policies, YAML or JSON; - is standard input")
    parser.add_argument("--as", dest="identity", metavar="USER", help="judge as this user, whoever usually attacks")
    parser.add_argument("--group", metavar="G", action="append", default=[], help="a further group of --as")
    parser.add_argument("--all", action="store_true", help="list the techniques that are fully seen, too")
    parser.add_argument(
        "--rules", action="store_true", help="print the rules that would make everything full, as YAML to insert"
    )
    parser.add_argument(
        "--fix", action="store_true", help="write each file anew with these rules in it, comments kept; - is printed"
    )
    parser.add_argument(
        "--fail-on", choices=_FAIL, default="blind", help="the worst sight that ends with 1 (default: %(default)s)"
    )
    add_output_arguments(parser, ("table", "json", "csv"), says="json has the evidence of each technique")
    add_version_argument(parser)
    parser.set_defaults(run=run)


def shipped_techniques() -> tuple["Technique", ...]:
    """Read the table of evidence that comes with the package."""
    from importlib.resources import files

    from kubewitness.policy.workshop.coverage import techniques_of

    return techniques_of(files("kubewitness.policy.workshop").joinpath("data/attack_evidence.json").read_bytes())


def run(args: argparse.Namespace) -> int:
    """Judge every technique under every policy."""
    from kubewitness.policy.workshop.coverage import Verdict, as_identity, cover

    techniques = shipped_techniques()
    if args.identity is not None:
        techniques = tuple(as_identity(one, args.identity, args.group) for one in techniques)
    judged = []
    for path in args.files:
        document, data = accepted_with_bytes(path, args.server_version)
        assert document.policy is not None  # noqa: S101  it gives no other
        covers = tuple(cover(document.policy, one) for one in techniques)
        judged.append(_Judged(path, data, document, document.policy, covers))
    if args.fix:
        for one in judged:
            _fix(one)
        return ExitCode.OK
    if args.output == "json":
        sys.stdout.write(json_text([_json(one) for one in judged], indent=2) + "\n")
    else:
        _print(judged, args)
    if args.fail_on == "never":
        return ExitCode.OK
    worst = Verdict(args.fail_on)
    is_bad = any(found.verdict.rank <= worst.rank for one in judged for found in one.covers)
    return ExitCode.FINDINGS if is_bad else ExitCode.OK


def _print(judged: Sequence[_Judged], args: argparse.Namespace) -> None:
    output = output_of(args)
    if args.rules:
        for one in judged:
            output.write("".join(f"{line}\n" for line in _rules_text(one)))
        return
    _matrix(judged, args, output)
    if args.output == "csv":
        return
    for one in judged:
        output.write(f"\n{printable(one.path)}: {_counts(one.covers)}\n")
    if len(judged) == 1:
        lines = [*_reasons(judged[0]), *([] if args.identity else _identities(judged[0]))]
        for line in lines:
            output.write(folded(printable(line), sys.stdout) + "\n")


def _counts(covers: Sequence["Cover"]) -> str:
    from kubewitness.policy.workshop.coverage import Verdict

    counts = Counter(found.verdict for found in covers)
    order = (Verdict.FULL, Verdict.WEAK, Verdict.INDISTINGUISHABLE, Verdict.BLIND, Verdict.NEVER)
    return ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in order)


def _matrix(judged: Sequence[_Judged], args: argparse.Namespace, output: "Output") -> None:
    from kubewitness.policy.workshop.coverage import Verdict

    columns = [
        Column("TECHNIQUE", "technique", Shrink.END, weight=2),
        Column("ATT&CK", "attack", Shrink.NEVER),
        Column("TACTIC", "tactic"),
    ]
    if args.output == "csv":
        columns.insert(0, Column("ID", "id", Shrink.NEVER))
    columns += [Column(Path(one.path).stem or one.path, one.path, Shrink.NEVER, tone=_tone) for one in judged]
    rows = []
    for found in zip(*(one.covers for one in judged), strict=True):
        is_fine = all(one.verdict in (Verdict.FULL, Verdict.NEVER) for one in found)
        if args.all or not is_fine or args.output == "csv":
            technique = found[0].technique
            first = (technique.id,) if args.output == "csv" else ()
            cells = [_verdict_text(one) for one in found]
            rows.append((*first, technique.name, technique.attack, technique.tactic, *cells))
    write_rows(rows, columns, args.output, output)


def _verdict_text(found: "Cover") -> str:
    late = found.worst is not None and found.worst.is_late
    return f"{found.verdict.value} (late)" if late else found.verdict.value


def _tone(value: object) -> Tone | None:
    text = str(value)
    return Tone.GOOD if text == "full" else Tone.BAD if text.startswith(("blind", "indist")) else None


# --- one policy: the rule to blame, and the rule to add


def _reasons(one: _Judged) -> Iterator[str]:
    from kubewitness.policy.workshop.coverage import Verdict, change_for

    by_blame: dict[tuple[str, str], list[str]] = {}
    for found in one.covers:
        if found.verdict in (Verdict.FULL, Verdict.NEVER) or found.worst is None:
            continue
        change = change_for(one.policy, found)
        text = "; ".join(_change_text(insertion) for insertion in change) or "leave no stage out for every rule"
        key = (_blame(one, found.worst), text)
        by_blame.setdefault(key, []).append(found.technique.name)
    for (blame, change_text), names in by_blame.items():
        yield ""
        yield f"{', '.join(names)}"
        yield f"    {blame}"
        yield f"    add {change_text}"


def _blame(one: _Judged, sight: "Sight") -> str:
    request, decision = sight.evidence.request, sight.decision
    what = request.path
    if request.resource_request:
        what = request.resource + (f".{request.api_group}" if request.api_group else "")
        what += f"/{request.subresource}" if request.subresource else ""
    rule = "no rule matches" if decision.rule_index is None else _place(one, decision.rule_index)
    text = f"{request.verb} {what} by {request.user}: {rule}, level {decision.level.value}"
    if sight.is_late and sight.seen_at is not None:
        return f"{text}; {sight.evidence.stage.value} is left out, so it is seen at {sight.seen_at.value} only"
    if sight.seen_at is None and decision.level.value != "None":
        return f"{text}; every stage is left out"
    return text


def _place(one: _Judged, index: int) -> str:
    value = one.document.tree.at(("rules", index)) if one.document.tree is not None else None
    return f"rules[{index}] (line {value.mark.line})" if value is not None else f"rules[{index}]"


def _change_text(insertion: "Insertion") -> str:
    rule = insertion.rule
    parts = [f"level: {rule.level.value}"]
    parts += [f"users: [{', '.join(rule.users)}]"] if rule.users else []
    parts += [f"verbs: [{', '.join(rule.verbs)}]"]
    entries = [f'{{group: "{entry.group}", resources: [{", ".join(entry.resources)}]}}' for entry in rule.resources]
    parts += [f"resources: [{', '.join(entries)}]"] if entries else []
    parts += [f"nonResourceURLs: [{', '.join(rule.non_resource_urls)}]"] if rule.non_resource_urls else []
    return f"before rules[{insertion.index}]: {{{', '.join(parts)}}}"


def _rules_text(one: _Judged) -> Iterator[str]:
    """Write the rules that lift every technique, joined, each under a comment that says where it belongs."""
    from kubewitness.cli.policy_prove import policy_yaml
    from kubewitness.policy.types import Policy
    from kubewitness.policy.workshop.coverage import Verdict, cover, plan_for, with_insertions

    insertions = plan_for(one.policy, one.covers)
    changed = with_insertions(one.policy, insertions)
    verdicts = [cover(changed, found.technique).verdict for found in one.covers]
    left = sum(verdict not in (Verdict.FULL, Verdict.NEVER) for verdict in verdicts)
    yield f"# {printable(one.path)}: with these {len(insertions)} rules {len(verdicts) - left} of {len(verdicts)}"
    yield "# techniques are fully seen, or in no audit log at all; this was evaluated"
    for insertion in insertions:
        yield f"# before rules[{insertion.index}]"
        text = policy_yaml(Policy((insertion.rule,)))
        yield text[text.index("rules:\n") + len("rules:\n") :].rstrip("\n")


def _fix(one: _Judged) -> None:
    """Put the rules of `plan_for` into the file, or say why not."""
    from kubewitness.cli.answer import counted, say
    from kubewitness.policy.workshop.coverage import plan_for
    from kubewitness.policy.workshop.insert import InsertError, inserted

    insertions = plan_for(one.policy, one.covers)
    try:
        text = inserted(one.data.decode("utf-8"), one.document, insertions) if insertions else one.data.decode("utf-8")
    except (InsertError, UnicodeDecodeError) as error:
        raise UserError(f"{one.path}: {error}; --rules prints them") from error
    if one.path == "-":
        sys.stdout.write(text)
    elif insertions:
        try:
            Path(one.path).write_text(text, "utf-8", newline="")
        except OSError as error:
            raise UserError(f"{one.path}: cannot be written: {error.strerror}") from error
    say(f"{one.path}: put in {counted(len(insertions), 'rule')}")


def _identities(one: _Judged) -> Iterator[str]:
    """Say which identities that the policy names would hide an attack, if they were stolen."""
    from kubewitness.policy.workshop.coverage import Verdict, as_identity, cover, identities_of

    usual = {found.technique.id: found.verdict.rank for found in one.covers}
    lines = []
    identities = identities_of(one.policy)
    for name, groups in identities[:_MOST_IDENTITIES]:
        covers = [cover(one.policy, as_identity(found.technique, name, groups)) for found in one.covers]
        hidden = [found for found in covers if found.verdict is Verdict.BLIND and usual[found.technique.id]]
        if hidden:
            rules = sorted({_rule_name(found) for found in hidden})
            lines.append(f"    {name}: {len(hidden)} more techniques unseen, by {', '.join(rules)}")
    if lines:
        yield ""
        yield "If one of these identities is stolen (--as shows which techniques):"
        yield from lines
    if len(identities) > _MOST_IDENTITIES:
        yield f"    ({len(identities) - _MOST_IDENTITIES:,} more identities that the policy names were not looked at)"


def _rule_name(found: "Cover") -> str:
    index = found.worst.decision.rule_index if found.worst else None
    return "no rule" if index is None else f"rules[{index}]"


# --- data


def _json(one: _Judged) -> dict[str, object]:
    from kubewitness.policy.workshop.coverage import Verdict, change_for

    counts: "Counter[Verdict]" = Counter(found.verdict for found in one.covers)  # noqa: UP037
    return {
        "policy": one.path,
        "counts": {verdict.value: counts[verdict] for verdict in Verdict},
        "techniques": [
            {
                "id": found.technique.id,
                "name": found.technique.name,
                "tactic": found.technique.tactic,
                "attack": found.technique.attack,
                "microsoft": found.technique.microsoft,
                "verdict": found.verdict.value,
                "evidence": [_sight_json(sight) for sight in found.sights],
                "change": [_change_text(insertion) for insertion in change_for(one.policy, found)],
            }
            for found in one.covers
        ],
    }


def _sight_json(sight: "Sight") -> dict[str, object]:
    request = sight.evidence.request
    return {
        "verb": request.verb,
        "user": request.user,
        "apiGroup": request.api_group,
        "resource": request.resource,
        "subresource": request.subresource,
        "namespace": request.namespace,
        "path": request.path,
        "stage": sight.evidence.stage.value,
        "level": sight.decision.level.value,
        "rule": sight.decision.rule_index,
        "seenAt": sight.seen_at.value if sight.seen_at else None,
        "verdict": sight.verdict.value,
    }
