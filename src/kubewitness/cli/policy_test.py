"""`policy test`: whether a policy decides named requests as a file of cases says, and which rules no case reaches."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.cli.policy_files import accepted, add_version_argument, read_bytes
from kubewitness.cli.render.printable import printable
from kubewitness.cli.render.values import json_text

if TYPE_CHECKING:
    from kubewitness.policy.load import Document
    from kubewitness.policy.workshop.cases import Cases, Result

DESCRIPTION = """\
Test a policy: named requests, each with the level and stages it must have. Ends with 1 when a case fails.

  kubewitness policy test cases.yaml
  kubewitness policy test --policy new-policy.yaml --fail-unreached cases.yaml
  kubewitness policy test -o junit cases.yaml > policy-tests.xml

A file of cases (docs/reference/policy-cases.md):

  policy: audit-policy.yaml
  cases:
  - {user: alice, kubectl: exec -n prod web -- sh, atLeast: Metadata, stages: [ResponseStarted, ResponseComplete]}
  table: |
    user              verb  resource  namespace  level
    alice             get   secrets   prod       Metadata
"""


@dataclass(frozen=True, slots=True)
class _Tested:
    """A file of cases, the policy it was held against, and what came out."""

    path: str
    policy: str
    document: "Document"
    result: "Result"


def add_subcommand(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `test`."""
    parser = subparsers.add_parser(
        "test",
        help="whether a policy decides named requests as it should",
        description=DESCRIPTION,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", metavar="CASES", nargs="+", help="files of cases, YAML; - is standard input")
    parser.add_argument("--policy", metavar="FILE", help="the policy to test, whatever the files name")
    parser.add_argument("--fail-unreached", action="store_true", help="end with 1 when a rule decides no case, too")
    parser.add_argument(
        "-o",
        "--output",
        choices=("text", "table", "json", "junit"),
        default="text",
        help="how to print: text has failures, table every case (default: %(default)s)",
    )
    add_version_argument(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Test every file and print."""
    tested = [_test(path, args) for path in args.files]
    match args.output:
        case "json":
            sys.stdout.write(json_text([_json(one) for one in tested], indent=2) + "\n")
        case "junit":
            sys.stdout.writelines(f"{line}\n" for line in _junit(tested))
        case _:
            for one in tested:
                lines = _text(one, shows_all=args.output == "table")
                sys.stdout.writelines(f"{printable(line)}\n" for line in lines)
    is_bad = any(one.result.failed or (args.fail_unreached and one.result.unreached) for one in tested)
    return ExitCode.FINDINGS if is_bad else ExitCode.OK


def _test(path: str, args: argparse.Namespace) -> _Tested:
    from kubewitness.policy.workshop.cases import CaseError, check_cases, read_cases

    try:
        cases = read_cases(read_bytes(path))
    except CaseError as error:
        raise UserError(f"{path}:{error.mark.line}:{error.mark.column}: {error}") from error
    policy = args.policy or _policy_of(path, cases)
    document = accepted(policy, args.server_version)
    assert document.policy is not None  # noqa: S101  accepted() gives no other
    return _Tested(path, policy, document, check_cases(document.policy, cases.cases))


def _policy_of(path: str, cases: "Cases") -> str:
    if cases.policy is None:
        raise UserError(f"{path}: which policy? write `policy: FILE` into it, or give --policy")
    return str(Path(path).parent / cases.policy) if path != "-" else cases.policy


def _text(one: _Tested, *, shows_all: bool) -> Iterator[str]:
    result = one.result
    for verdict in result.verdicts:
        if verdict.failures:
            yield f"{one.path}:{verdict.case.mark.line}: FAILED: {verdict.case.name}"
            yield from (f"    {failure}" for failure in verdict.failures)
        elif shows_all:
            yield f"{one.path}:{verdict.case.mark.line}: passed: {verdict.case.name} ({_rule(verdict.rule)})"
    for index in result.unreached:
        yield f"{one.policy}:{_line(one, index)}: rules[{index}] decides none of the cases"
    cases = len(result.verdicts)
    yield (
        f"{one.path}: {cases - result.failed} of {cases} cases passed, "
        f"{result.rules - len(result.unreached)} of {result.rules} rules reached"
    )


def _rule(index: int | None) -> str:
    return "no rule" if index is None else f"rules[{index}]"


def _line(one: _Tested, index: int) -> int:
    value = one.document.tree.at(("rules", index)) if one.document.tree is not None else None
    return value.mark.line if value is not None else 1


def _json(one: _Tested) -> dict[str, object]:
    return {
        "file": one.path,
        "policy": one.policy,
        "cases": [
            {
                "case": verdict.case.name,
                "line": verdict.case.mark.line,
                "passed": not verdict.failures,
                "failures": list(verdict.failures),
                "rule": verdict.rule,
            }
            for verdict in one.result.verdicts
        ],
        "rules": one.result.rules,
        "unreached": list(one.result.unreached),
    }


def _junit(tested: Sequence[_Tested]) -> Iterator[str]:
    """Write JUnit's XML: a suite a file, a testcase a case."""
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    total, failed = (sum(values) for values in zip(*map(_counts, tested), strict=True))
    yield f'<testsuites tests="{total}" failures="{failed}">'
    for one in tested:
        tests, failures = _counts(one)
        yield f'  <testsuite name={_attribute(one.path)} tests="{tests}" failures="{failures}">'
        for verdict in one.result.verdicts:
            head = f"    <testcase classname={_attribute(one.policy)} name={_attribute(verdict.case.name)}"
            head += f' file={_attribute(one.path)} line="{verdict.case.mark.line}"'
            if not verdict.failures:
                yield f"{head}/>"
                continue
            yield f"{head}>"
            yield f"      <failure message={_attribute('; '.join(verdict.failures))}/>"
            yield "    </testcase>"
        yield "  </testsuite>"
    yield "</testsuites>"


def _counts(one: _Tested) -> tuple[int, int]:
    return len(one.result.verdicts), one.result.failed


def _attribute(text: str) -> str:
    from xml.sax.saxutils import quoteattr

    return quoteattr(printable(text))
