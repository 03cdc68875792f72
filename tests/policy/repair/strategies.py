"""Policies as people write them: in block or flow style or as JSON, with comments, and with every kind of mistake."""

import json

from hypothesis import strategies as st

LEVELS = st.sampled_from(["None", "Metadata", "Request", "RequestResponse"])
USERS = [
    "alice",
    "system:kube-scheduler",
    "system:serviceaccount:kube-system:*",
    "*",
    "system:masters",
    "system:node:*",
]
GROUPS = ["system:masters", "system:nodes", "system:*", "system:anonymous", "system:serviceaccounts"]
VERBS = ["get", "list", "watch", "create", "update", "patch", "delete", "*", "exec", "deleteCollection", "wach", "post"]
NAMESPACES = ["", "prod", "kube-*", "*", "kube-system"]
RESOURCES = [
    "pods", "pods/exec", "pods/attach", "secrets", "Secret", "configmaps", "deployments", "nodes", "pods/*", "*/status",
    "*/*", "pod*", "pods/", "serviceaccounts/token", "secretes", "pods/exce", "events", "*", "po",
]  # fmt: skip
API_GROUPS = ["", "apps", "rbac.authorization.k8s.io", "authentication.k8s.io", "example.com", "extensions", "*"]
STAGES = ["RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"]
URLS = ["/healthz*", "/version", "*", "/api*", "/livez"]


def some(values, most=3):
    """Give a few of these, in any order."""
    return st.lists(st.sampled_from(values), min_size=1, max_size=most, unique=True)


@st.composite
def written_rules(draw):
    """Give a rule as it is written."""
    rule = {"level": draw(LEVELS)}
    for name, values in (("users", USERS), ("userGroups", GROUPS), ("verbs", VERBS)):
        if draw(st.integers(0, 2)) == 0:
            rule[name] = draw(some(values))
    kind = draw(st.integers(0, 4))
    if kind == 0:
        rule["nonResourceURLs"] = draw(some(URLS))
    elif kind > 1:
        rule["resources"] = draw(st.lists(written_entries(), min_size=1, max_size=2))
        if draw(st.integers(0, 3)) == 0:
            rule["namespaces"] = draw(some(NAMESPACES))
    if draw(st.integers(0, 4)) == 0:
        rule["omitStages"] = draw(some(STAGES, 4))
    if draw(st.integers(0, 9)) == 0:
        rule[draw(st.sampled_from(["omitStage", "verb", "nonResourceUrls"]))] = ["get"]
    return {name: rule[name] for name in draw(st.permutations(list(rule)))}


@st.composite
def written_entries(draw):
    """Give an entry of resources."""
    entry = {"group": draw(st.sampled_from(API_GROUPS))} if draw(st.integers(0, 3)) else {}
    if draw(st.integers(0, 5)):
        entry["resources"] = draw(some(RESOURCES, 4))
        if draw(st.integers(0, 5)) == 0:
            entry["resourceNames"] = draw(some(["web", "db"]))
    return entry or {"group": ""}


def block(value, indent, offset, quote):
    """Write lists and objects line by line, with comments between."""
    pad = " " * indent
    if isinstance(value, dict):
        for name, item in value.items():
            if isinstance(item, list) and item:
                yield f"{pad}{name}:  # of {name}"
                yield from block(item, indent + offset, offset, quote)
            else:
                yield f"{pad}{name}: {word(item, quote)}"
        return
    for number, item in enumerate(value):
        yield f"{pad}# item {number}"
        if isinstance(item, dict):
            first, *rest = list(block(item, indent + 2, offset, quote))
            yield f"{pad}- {first.lstrip()}"
            yield from rest
        else:
            yield f"{pad}- {word(item, quote)}"


def word(text, quote):
    """Write a word, in quotes where it must be."""
    if quote == "'":
        return f"'{text}'"
    return text if text.replace("/", "").isalpha() else json.dumps(text)


@st.composite
def texts(draw, most=5):
    """Give the text of a policy, and whether it has comments."""
    rules = draw(st.lists(written_rules(), min_size=1, max_size=most))
    head = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy"}
    if draw(st.integers(0, 4)) == 0:
        head["omitStages"] = draw(some(STAGES, 2))
    style = draw(st.sampled_from(["block", "flow", "json"]))
    if style == "json":
        return json.dumps(head | {"rules": rules})
    if style == "flow":
        lines = [f"{name}: {json.dumps(value)}" for name, value in head.items()]
        lines += ["rules:", *(f"- {json.dumps(rule)}  # rule {n}" for n, rule in enumerate(rules))]
    else:
        lines = list(
            block(head | {"rules": rules}, 0, draw(st.sampled_from([0, 2, 4])), draw(st.sampled_from(["'", ""])))
        )
    ending = draw(st.sampled_from(["\n", "\r\n"]))
    return ending.join(lines) + (ending if draw(st.booleans()) else "")
