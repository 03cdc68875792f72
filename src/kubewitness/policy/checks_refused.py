"""KW1xx: what kube-apiserver refuses, each error at its place, with what would be right."""

import difflib
from collections.abc import Iterator

from kubewitness.policy import mends
from kubewitness.policy.findings import Context, Finding, Fix, check, declare, field_path, located
from kubewitness.policy.load import Document, Refusal
from kubewitness.policy.tree import START
from kubewitness.policy.validate import LEVELS, STAGES, Invalid

declare("KW101", "the text is no YAML or JSON that kube-apiserver reads")
declare("KW102", "a value has the wrong type: a list where text belongs, an unquoted `on` or number in a list of text")
declare("KW103", "apiVersion or kind is missing or names no audit policy")
declare("KW104", "the policy has no rules")

_REFUSALS = {
    Refusal.SYNTAX: (
        "KW101",
        "mend the line named, or the one before it; indent with spaces, quote text that begins with one of *&!%@`",
    ),
    Refusal.VERSION: ("KW103", "begin the file with `apiVersion: audit.k8s.io/v1` and `kind: Policy`"),
    Refusal.NO_RULES: ("KW104", "give at least one rule; `- level: Metadata` records every request without bodies"),
}


def refusal(document: Document) -> Iterator[Finding]:
    """Give the finding of a file whose rules could not be read."""
    if document.refusal is None or document.refusal is Refusal.INVALID:
        return
    message = document.error.removeprefix("failed decoding: ")
    mark = document.error_mark or START
    if document.refusal is Refusal.TYPE:
        yield located("KW102", mark, _go_field(message), message, _type_help(message))
        return
    code, help_ = _REFUSALS[document.refusal]
    yield located(code, mark, "rules" if code == "KW104" else "", message, help_)


def _go_field(message: str) -> str:
    """Take the path of the field out of Go's sentence: Go struct field PolicyRule.rules.verbs of type string."""
    _, found, rest = message.partition("Go struct field ")
    return rest.split(" ", 1)[0].partition(".")[2] if found else ""


def _type_help(message: str) -> str:
    if "unsupported value" in message:
        return "YAML reads .inf and .nan as numbers; quote them"
    if " of type []" in message:
        return "write a list: `- item` lines or [item, item], even for one item"
    if message.endswith("of type v1.GroupResources"):
        return 'each entry is a group with its resources: - {group: "", resources: [secrets]}'
    if message.endswith("of type v1.PolicyRule"):
        return "each rule is a map with its level: - level: Metadata"
    if "cannot unmarshal bool" in message:
        return "YAML 1.1 reads y, n, yes, no, on and off as booleans: put quotes around them"
    if "cannot unmarshal number" in message:
        return "put quotes around it: here is no place for a number"
    if "of type bool" in message:
        return "write true or false without quotes"
    return "write the kind of value that the field takes"


@check(
    KW105="a rule has no level or one that does not exist",
    KW106="a stage does not exist",
    KW107="a nonResourceURL does not begin with `/` or has `*` before its end",
    KW108='an API group is no DNS name; "*" is refused before 1.36',
    KW109="resourceNames without resources",
    KW110="nonResourceURLs in one rule with resources or namespaces",
)
def invalid(context: Context) -> Iterator[Finding]:
    """Give every error of the server's validation."""
    for error in context.document.invalid:
        code, help_ = _explained(error, context)
        message = error.message.removeprefix(field_path(error.path) + ": ")
        yield context.finding(code, error.path, message, help_, _fix(context, error, code))


def _explained(error: Invalid, context: Context) -> tuple[str, str]:
    last = next(step for step in reversed(error.path) if isinstance(step, str))
    if last == "level":
        return "KW105", f"write one of {', '.join(LEVELS)}{_near(context, error, LEVELS)}"
    if last == "omitStages":
        return "KW106", f"write one of {', '.join(STAGES)}{_near(context, error, STAGES)}"
    if last == "group":
        return "KW108", _group_help(context, error)
    if last == "resourceNames":
        return "KW109", 'name the resources they belong to, or `resources: ["*"]` for all'
    if isinstance(error.path[-1], int):
        return "KW107", "write a path such as /healthz, a prefix such as /healthz*, or * alone"
    return "KW110", "split the rule in two: one with nonResourceURLs, one with resources and namespaces"


def _near(context: Context, error: Invalid, options: tuple[str, ...]) -> str:
    near = _nearest(_text(context, error), options)
    return f"; nearest: {near}" if near else ""


def _text(context: Context, error: Invalid) -> str:
    value = context.document.tree.at(error.path) if context.document.tree else None
    return value.text if value is not None else ""


def _nearest(text: str, options: tuple[str, ...]) -> str:
    folded = {option.lower(): option for option in options}
    near = difflib.get_close_matches(text.strip().lower(), folded, n=1) if text else []
    return folded[near[0]] if near else ""


def _fix(context: Context, error: Invalid, code: str) -> Fix | None:
    """Give what was surely meant in place of one scalar."""
    text = _text(context, error)
    meant = ""
    if code == "KW105":
        meant = _nearest(text, LEVELS)
    elif code == "KW106":
        meant = _nearest(text, STAGES)
    elif code == "KW107" and text and not text.startswith("/") and "*" not in text:
        meant = f"/{text}"
    elif code == "KW108" and "/" in text:
        meant = text.partition("/")[0]
    return mends.reword(error.path, text, meant) if meant and meant != text else None


def _group_help(context: Context, error: Invalid) -> str:
    value = context.document.tree.at(error.path) if context.document.tree else None
    group = value.text if value is not None else ""
    if group == "*":
        return "list the groups, or leave `resources` out; 1.36 is the first to read * as every group"
    if "/" in group:
        return f"name the group without its version: {group.partition('/')[0]}"
    return 'name one group; "" is the core group, "*" every group (1.36 on)'
