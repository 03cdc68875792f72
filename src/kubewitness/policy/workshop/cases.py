"""
Tests of a policy: named requests and what the log must hold of them, from a YAML file.

`read_cases(data)` gives the cases or raises CaseError with line and column; `check_cases(policy, cases)` judges them
and says which rules no case reaches. A case asks for verb and resource, a URL, or what a kubectl line sends last; a
`table` holds one case a line. The form is docs/reference/policy-cases.md.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from kubewitness.event.types import Level, Stage
from kubewitness.policy.evaluate import compile_policy
from kubewitness.policy.explain import implied_groups
from kubewitness.policy.kubectl import KubectlError, requests_of, resource_of, url_of
from kubewitness.policy.prove.named import no_such_verb
from kubewitness.policy.request import RequestError, request_info
from kubewitness.policy.stages import contents
from kubewitness.policy.tree import GoError, Kind, Mark, Value
from kubewitness.policy.types import Attributes, Decision, Policy
from kubewitness.policy.workshop.caselines import Row, rows_of
from kubewitness.policy.yaml11 import decode

T = TypeVar("T")
_LEVELS = {level.value: level for level in Level}
_STAGES = {stage.value: stage for stage in Stage}
_WHO = ("user", "groups", "unauthenticated")
_WHAT = ("verb", "resource", "namespace", "name", "url", "method", "kubectl")
_WANTED = ("level", "atLeast", "atMost", "stages", "rule", "omitManagedFields")
_MEMBERS = ("case", *_WHO, *_WHAT, *_WANTED)
_LISTS = ("groups", "stages")


class CaseError(ValueError):
    """A file of cases that is not understood: the sentence and the place."""

    def __init__(self, message: str, mark: Mark) -> None:
        super().__init__(message)
        self.mark = mark


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a decision; None asks nothing."""

    level: Level | None = None
    at_least: Level | None = None
    at_most: Level | None = None
    stages: frozenset[Stage] | None = None
    rule: int | None = None
    omits_managed_fields: bool | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One case: a request and what is wanted of it."""

    name: str
    mark: Mark
    request: Attributes
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class Cases:
    """A file: the policy it names, if any, and its cases."""

    policy: str | None
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A case and what was wrong with it: nothing, if it passed."""

    case: Case
    failures: tuple[str, ...]
    rule: int | None


@dataclass(frozen=True, slots=True)
class Result:
    """All verdicts, and the rules that decided no request of any case."""

    verdicts: tuple[Verdict, ...]
    unreached: tuple[int, ...]
    rules: int

    @property
    def failed(self) -> int:
        """How many cases failed."""
        return sum(bool(verdict.failures) for verdict in self.verdicts)


def check_cases(policy: Policy, cases: Sequence[Case]) -> Result:
    """Judge every case."""
    compiled = compile_policy(policy)
    verdicts = []
    for case in cases:
        decision = compiled.decide(case.request)
        failures = tuple(_failures(case.wanted, case.request, decision))
        verdicts.append(Verdict(case, failures, decision.rule_index))
    reached = {verdict.rule for verdict in verdicts}
    unreached = tuple(index for index in range(len(policy.rules)) if index not in reached)
    return Result(tuple(verdicts), unreached, len(policy.rules))


def _failures(wanted: Wanted, request: Attributes, decision: Decision) -> Iterator[str]:
    rule = "no rule" if decision.rule_index is None else f"rules[{decision.rule_index}]"
    level = decision.level
    if wanted.level is not None and level is not wanted.level:
        yield f"level {level.value} by {rule}, wanted {wanted.level.value}"
    if wanted.at_least is not None and level < wanted.at_least:
        yield f"level {level.value} by {rule}, wanted at least {wanted.at_least.value}"
    if wanted.at_most is not None and level > wanted.at_most:
        yield f"level {level.value} by {rule}, wanted at most {wanted.at_most.value}"
    if wanted.stages is not None:
        written = {one.stage for one in contents(request, decision) if one.is_written}
        if written != wanted.stages:
            yield f"stages {_stages(written)} by {rule}, wanted {_stages(wanted.stages)}"
    if wanted.rule is not None and decision.rule_index != wanted.rule:
        yield f"decided by {rule}, wanted rules[{wanted.rule}]"
    if wanted.omits_managed_fields not in (None, decision.omit_managed_fields):
        yield f"omitManagedFields {str(decision.omit_managed_fields).lower()} by {rule}"


def _stages(stages: "frozenset[Stage] | set[Stage]") -> str:
    return ", ".join(stage.value for stage in sorted(stages)) or "none"


# --- reading


def read_cases(data: bytes) -> Cases:
    """Read a file of cases. Raises CaseError."""
    try:
        decoded = decode(data)
    except GoError as error:
        raise CaseError(f"this is no YAML: {error}", error.mark or Mark(1, 1)) from error
    if decoded.repeated:
        mark, text = decoded.repeated[0]
        raise CaseError(f"a member stands here twice: {text}", mark)
    root = decoded.value
    _must(root, Kind.OBJECT, "a file of cases has `cases`, `table`, or both")
    for member in root.members:
        if member.name not in ("policy", "cases", "table", "defaults"):
            raise CaseError(_unknown(member.name, ("policy", "cases", "table", "defaults")), member.mark)
    policy = root.get("policy")
    defaults = root.get("defaults")
    common = _members(defaults) if defaults is not None else {}
    cases = [_case(_members(item), common, item.mark) for item in _items(root.get("cases"))]
    cases += [_case(_cells(row), common, row.mark) for row in _table(root.get("table"))]
    if not cases:
        raise CaseError("there are no cases", root.mark)
    return Cases(_text(policy, "policy") if policy is not None else None, tuple(cases))


def _items(value: Value | None) -> list[Value]:
    if value is None:
        return []
    return _must(value, Kind.ARRAY, "`cases` is a list").items


def _table(value: Value | None) -> Iterator[Row]:
    if value is None:
        return
    _must(value, Kind.STRING, "`table` is a text, a case a line: write `table: |`")
    rows = rows_of(value.text, value.mark.line + 1)
    for row in rows:
        for name in row.cells:
            if name not in _MEMBERS:
                raise CaseError(_unknown(name, _MEMBERS), row.mark)
        if row.error:
            raise CaseError(row.error, row.mark)
        yield row


def _must(value: Value, kind: Kind, sentence: str) -> Value:
    if value.kind is not kind:
        raise CaseError(sentence, value.mark)
    return value


def _unknown(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    if name in ("apiVersion", "rules"):
        return "this is an audit policy, not cases for one; name it with --policy, or as `policy` in a file of cases"
    return f"there is no member {name!r}" + (f"; did you mean {near[0]}?" if near else "")


_Found = dict[str, tuple[Value, Mark]]


def _members(value: Value) -> _Found:
    _must(value, Kind.OBJECT, "a case is a mapping, such as {user: alice, verb: get, resource: pods, level: Metadata}")
    found: _Found = {}
    for member in value.members:
        name = "case" if member.name == "name" and value.get("case") is None and _is_title(value) else member.name
        if name not in _MEMBERS:
            raise CaseError(_unknown(name, _MEMBERS), member.mark)
        found[name] = (member.value, member.mark)
    return found


def _is_title(value: Value) -> bool:
    """Say whether `name` is the title of the case: where nothing has a name."""
    return value.get("url") is not None or value.get("kubectl") is not None


def _cells(row: Row) -> _Found:
    """Make values of the cells of a row; lists are divided by commas."""
    found: _Found = {}
    for name, text in row.cells.items():
        if name in _LISTS:
            items = [Value(Kind.STRING, row.mark, item) for item in text.split(",") if item]
            found[name] = (Value(Kind.ARRAY, row.mark, items=items), row.mark)
        elif name in ("unauthenticated", "omitManagedFields"):
            found[name] = (Value(Kind.BOOL, row.mark, text), row.mark)
        elif name == "rule":
            found[name] = (Value(Kind.NUMBER, row.mark, text), row.mark)
        else:
            found[name] = (Value(Kind.STRING, row.mark, text), row.mark)
    return found


def _case(own: _Found, common: _Found, mark: Mark) -> Case:
    found = {**common, **own}
    wanted = _wanted(found)
    if wanted == Wanted():
        raise CaseError(f"a case wants something: one of {', '.join(_WANTED)}", mark)
    user, groups = _who(found, mark)
    title, request = _request(found, user, groups, mark)
    name = _optional(found, "case") or f"{title} by {'nobody (401)' if user is None else user}"
    return Case(name, mark, request, wanted)


def _who(found: _Found, mark: Mark) -> tuple[str | None, tuple[str, ...] | None]:
    if "unauthenticated" in found and _truth(*found["unauthenticated"]):
        if "user" in found or "groups" in found:
            raise CaseError("unauthenticated is nobody: it goes without user and groups", mark)
        return None, None
    if "user" not in found:
        raise CaseError("who asks? a case has `user`, or `unauthenticated: true`", mark)
    user = _text(found["user"][0], "user")
    own = _texts(found["groups"][0], "groups") if "groups" in found else ()
    return user, tuple(dict.fromkeys((*own, *implied_groups(user))))


def _request(found: _Found, user: str | None, groups: tuple[str, ...] | None, mark: Mark) -> tuple[str, Attributes]:
    ways = [way for way in ("resource", "url", "kubectl") if way in found]
    if len(ways) != 1:
        raise CaseError("a case asks one thing: verb and resource, or url, or kubectl", mark)
    where = found[ways[0]][0].mark
    try:
        return _BY_WAY[ways[0]](found, user, groups)
    except (KubectlError, RequestError) as error:
        raise CaseError(str(error), where) from error


def _by_kubectl(found: _Found, user: str | None, groups: tuple[str, ...] | None) -> tuple[str, Attributes]:
    """Give the last request of the line: what comes before it only prepares it."""
    line = _text(found["kubectl"][0], "kubectl").removeprefix("kubectl ")
    request = requests_of(line)[-1]
    return f"kubectl {line}", request_info(request.method, request.url).attributes(user, groups)


def _by_url(found: _Found, user: str | None, groups: tuple[str, ...] | None) -> tuple[str, Attributes]:
    method = (_optional(found, "method") or "GET").upper()
    url = _text(found["url"][0], "url")
    return f"{method} {url}", request_info(method, url).attributes(user, groups)


def _by_resource(found: _Found, user: str | None, groups: tuple[str, ...] | None) -> tuple[str, Attributes]:
    text = _text(found["resource"][0], "resource")
    word, _, subresource = text.partition("/")
    resource = resource_of(word)
    verb, namespace, name = (_optional(found, member) for member in ("verb", "namespace", "name"))
    if not verb:
        raise KubectlError("`verb` is missing: get, list, watch, create, update, patch, delete, deletecollection")
    if wrong := no_such_verb(verb):
        raise KubectlError(wrong)
    request = Attributes(verb, user, groups, namespace, resource.group, "v1", resource.name, subresource, name, True)
    return f"{verb} {text}", replace(request, path=url_of(resource, namespace, name, subresource))


_Way = Callable[[_Found, str | None, tuple[str, ...] | None], tuple[str, Attributes]]
_BY_WAY: Mapping[str, _Way] = {"resource": _by_resource, "url": _by_url, "kubectl": _by_kubectl}


def _wanted(found: _Found) -> Wanted:
    stages = None
    if "stages" in found:
        value = found["stages"][0]
        stages = frozenset(_one_of(item, _STAGES, "a stage") for item in _must(value, Kind.ARRAY, _LIST).items)
    return Wanted(
        _level(found, "level"),
        _level(found, "atLeast"),
        _level(found, "atMost"),
        stages,
        _index(found["rule"][0]) if "rule" in found else None,
        _truth(*found["omitManagedFields"]) if "omitManagedFields" in found else None,
    )


_LIST = "this is a list of texts"


def _level(found: _Found, name: str) -> Level | None:
    return _one_of(found[name][0], _LEVELS, "a level") if name in found else None


def _one_of(value: Value, known: Mapping[str, T], what: str) -> T:
    if value.kind is not Kind.STRING or value.text not in known:
        raise CaseError(f"{value.text!r} is not {what}: {', '.join(known)}", value.mark)
    return known[value.text]


def _index(value: Value) -> int:
    if value.kind is not Kind.NUMBER or not value.text.isdecimal():
        raise CaseError(f"`rule` is the number of a rule, from 0, not {value.text!r}", value.mark)
    return int(value.text)


def _truth(value: Value, mark: Mark) -> bool:
    if value.kind is not Kind.BOOL or value.text not in ("true", "false"):
        raise CaseError(f"true or false belongs here, not {value.text!r}", mark)
    return value.text == "true"


def _optional(found: _Found, name: str) -> str:
    return _text(found[name][0], name) if name in found else ""


def _text(value: Value, name: str) -> str:
    return _must(value, Kind.STRING, f"`{name}` is a text; quote it").text


def _texts(value: Value, name: str) -> tuple[str, ...]:
    return tuple(_text(item, name) for item in _must(value, Kind.ARRAY, f"`{name}` is a list of texts").items)
