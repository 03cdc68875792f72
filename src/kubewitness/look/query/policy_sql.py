"""
An audit policy as SQL over the relation `events`: which rule decides each row, and what it records.

    decided = policy_sql(policy)
    SELECT *, {decided.level} AS level_now FROM events WHERE {decided.rule_index} = 3

Each expression is one CASE over flat columns, so an engine runs it over millions of rows a second. It answers as
`policy.evaluate(policy, attributes_from_event(event))`; both are tested to agree.

What a policy sees comes from verb and requestURI. Reading URLs in SQL is slow, so objectRef stands in where
kube-apiserver fills it from the URL: resource, subresource, group and version always; namespace and name except where a
request body may have filled them. There, and for rows with a resource URL but no objectRef, the URL is read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from kubewitness.event.types import Level, Stage
from kubewitness.policy.match import ANY_GROUP
from kubewitness.policy.types import GroupResources, Policy, PolicyRule

NO_RULE = -1
# requests whose body may give objectRef a name or namespace that the URL does not have
_BODY_VERBS = ("create", "update", "patch", "delete", "deletecollection", "")


@dataclass(frozen=True, slots=True)
class PolicySql:
    """The expressions of one policy. `rule_index` is -1 where no rule matches."""

    rule_index: str
    level: str
    omit_stages: str
    omit_managed_fields: str
    is_recorded: str


@dataclass(frozen=True, slots=True)
class _Request:
    """Where the parts of a resource request are read from: SQL for each; `url_...` where in doubt, None: never."""

    resource: str
    subresource: str
    api_group: str
    namespace: str
    url_namespace: str | None
    name: str
    url_name: str | None


def policy_sql(policy: Policy) -> PolicySql:
    """Compile a policy to expressions over the columns of `events`."""
    rules = policy.rules
    levels = [rule.level for rule in rules]
    stages = [_stages(policy, rule.omit_stages) for rule in rules]
    managed = [
        policy.omit_managed_fields if rule.omit_managed_fields is None else rule.omit_managed_fields for rule in rules
    ]
    of_policy = _stages(policy, ())
    return PolicySql(
        rule_index=_decide(policy, [str(index) for index in range(len(rules))], str(NO_RULE)),
        level=_decide(policy, [text_literal(level.value) for level in levels], text_literal(Level.NONE.value)),
        omit_stages=_decide(policy, [_texts(names) for names in stages], _texts(of_policy)),
        omit_managed_fields=_decide(policy, [_truth(flag) for flag in managed], _truth(policy.omit_managed_fields)),
        is_recorded=_decide(
            policy, [_kept(level, names) for level, names in zip(levels, stages, strict=True)], _truth(False)
        ),
    )


def _stages(policy: Policy, omitted: Sequence[Stage]) -> list[str]:
    return sorted({stage.value for stage in (*policy.omit_stages, *omitted)})


def _kept(level: Level, omitted: Sequence[str]) -> str:
    """Write whether a stage is written at this level."""
    if level is Level.NONE:
        return _truth(False)
    return f"stage NOT IN ({_list(omitted)})" if omitted else _truth(True)


def _decide(policy: Policy, answers: Sequence[str], otherwise: str) -> str:
    """Write the CASE that gives each rule's answer, the first that matches first."""
    pairs = list(zip(policy.rules, answers, strict=True))
    by_reference = _cases([(_resource_condition(rule, _REFERENCE), answer) for rule, answer in pairs], otherwise)
    by_url = _cases([(_resource_condition(rule, _URL), answer) for rule, answer in pairs], otherwise)
    by_path = _cases([(_path_condition(rule), answer) for rule, answer in pairs], otherwise)
    has_reference = "coalesce(name, namespace, subresource, api_group, api_version) IS NOT NULL"
    return (
        f"CASE WHEN resource IS NOT NULL OR (request_uri IS NULL AND {has_reference}) THEN {by_reference} "
        f"WHEN {IS_RESOURCE_URL} THEN list_transform([{_URL_PARTS}], lambda u: {by_url})[1] "
        f"ELSE {by_path} END"
    )


def _cases(branches: Sequence[tuple[str | None, str]], otherwise: str) -> str:
    whens = [f"WHEN {condition} THEN {answer}" for condition, answer in branches if condition]
    return f"CASE {' '.join(whens)} ELSE {otherwise} END" if whens else otherwise


# --- one rule


def _who_and_verb(rule: PolicyRule) -> list[str]:
    conditions = []
    if rule.verbs:
        conditions.append(_one_of("verb", rule.verbs))
    if rule.users:
        conditions.append(f"username IN ({_list(rule.users)})")
    if rule.user_groups:
        single = len(rule.user_groups) == 1
        test = (
            f"contains(groups, {_list(rule.user_groups)})" if single else f"has_any(groups, {_texts(rule.user_groups)})"
        )
        conditions.append(f"username IS NOT NULL AND list_{test}")
    return conditions


def _resource_condition(rule: PolicyRule, request: _Request) -> str | None:
    """Write when a rule matches a resource request; None when it never does."""
    if rule.non_resource_urls and not (rule.resources or rule.namespaces):
        return None
    conditions = []
    if rule.namespaces:
        conditions.append(_from_body(request.namespace, request.url_namespace, NAMESPACE_IN_DOUBT, rule.namespaces))
    if rule.resources:
        entries = [text for entry in _merged(rule.resources) if (text := _entry(*entry, request))]
        conditions.append(f"({' OR '.join(entries)})" if entries else "FALSE")
    return " AND ".join([*_who_and_verb(rule), *conditions]) or "TRUE"


def _from_body(column: str, url: str | None, in_doubt: str, options: Sequence[str]) -> str:
    """
    Write that a namespace or name is one of these, where the column may hold what only the body said.

    A body fills only what the URL leaves open, so a wanted text must stand in the column in any case.
    """
    read = _one_of(column, options)
    if url is None:
        return read
    exact = f"CASE WHEN {in_doubt} THEN {_one_of(url, options)} ELSE"
    return f"{exact} {read} END" if "" in options else f"{read} AND {exact} TRUE END"


_Entry = tuple[list[str], tuple[str, ...], tuple[str, ...]]


def _merged(entries: Sequence[GroupResources]) -> list[_Entry]:
    """Join entries that differ in their group alone: groups, resources, names."""
    groups: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for entry in entries:
        groups.setdefault((entry.resources, entry.resource_names), []).append(entry.group)
    return [(names, resources, resource_names) for (resources, resource_names), names in groups.items()]


def _path_condition(rule: PolicyRule) -> str | None:
    if rule.resources or rule.namespaces:
        return None
    conditions = _who_and_verb(rule)
    if rule.non_resource_urls and "*" not in rule.non_resource_urls:
        exact = [url for url in rule.non_resource_urls if not url.endswith("*")]
        tests = [f"{PATH} IN ({_list(rule.non_resource_urls)})"] if exact else []
        tests += [
            f"starts_with({PATH}, {text_literal(url.rstrip('*'))})"
            for url in rule.non_resource_urls
            if url.endswith("*")
        ]
        conditions.append(f"({' OR '.join(tests)})")
    return " AND ".join(conditions) or "TRUE"


def _entry(groups: Sequence[str], resources: Sequence[str], names: Sequence[str], request: _Request) -> str | None:
    """Write when an entry of `resources` matches; None when it never does."""
    conditions = [] if ANY_GROUP in groups else [_one_of(request.api_group, groups)]
    if resources and "*" not in resources:
        patterns = _patterns(resources, request)
        if not patterns:
            return None
        conditions.append(f"({' OR '.join(patterns)})")
    if resources and names:
        conditions.append(_from_body(request.name, request.url_name, NAME_IN_DOUBT, names))
    return f"({' AND '.join(conditions)})" if conditions else "TRUE"


def _patterns(patterns: Sequence[str], request: _Request) -> list[str]:
    """Write the patterns by kind: main resources, a resource with subresources, `*/sub`, `resource/*`."""
    resource, subresource = request.resource, request.subresource
    plain = [pattern for pattern in patterns if "/" not in pattern]
    tests = [f"({_one_of(resource, plain)} AND {_one_of(subresource, [''])})"] if plain else []
    bases = [pattern[:-2] for pattern in patterns if pattern.endswith("/*")]
    if bases:
        tests.append(_one_of(resource, bases))
    everywhere = [pattern[2:] for pattern in patterns if pattern.startswith("*/") and len(pattern) > 2]
    if everywhere:
        tests.append(_one_of(subresource, everywhere))
    by_resource: dict[str, list[str]] = {}
    for pattern in patterns:
        base, _, below = pattern.partition("/")
        # a segment of a URL holds no slash, and `pods/` has no subresource to be equal to
        if below and "/" not in below:
            by_resource.setdefault(base, []).append(below)
    tests += [f"({_one_of(resource, [base])} AND {_one_of(subresource, below)})" for base, below in by_resource.items()]
    return tests


def _one_of(expression: str, options: Sequence[str]) -> str:
    """Write that a value, NULL standing for "", is one of these; cheaper than coalesce where "" is not asked for."""
    stated = [option for option in options if option]
    test = f"{expression} = {text_literal(stated[0])}" if len(stated) == 1 else f"{expression} IN ({_list(stated)})"
    if len(stated) == len(options):
        return test
    if not stated:
        return f"coalesce({expression} = '', TRUE)"
    return f"coalesce({expression} IN ('', {_list(stated)}), TRUE)"


# --- reading the URL

_RAW_PATH = "split_part(request_uri, '?', 1)"
PATH = (
    "coalesce(CASE WHEN contains(request_uri, '%') "
    f"THEN coalesce(TRY(url_decode({_RAW_PATH})), {_RAW_PATH}) ELSE {_RAW_PATH} END, '')"
)
_SEGMENTS = f"string_split(trim({PATH}, '/'), '/')"
# decided by the first segments only; a percent sign may hide a slash or the prefix itself
IS_RESOURCE_URL = (
    "CASE WHEN contains(request_uri, 'api') OR contains(request_uri, '%') THEN "
    f"regexp_matches(trim({PATH}, '/'), '^(api/[^/]*/|apis/[^/]*/[^/]*/)(?s:.)') ELSE FALSE END"
)


# the segments after the version, from the resource on: steps of one list of one element, so that each is read once
_AFTER_VERSION = (
    f"list_transform(list_transform([{_SEGMENTS}], lambda s: s[CASE WHEN s[1] = 'api' THEN 3 ELSE 4 END:]), "
    "lambda s: CASE WHEN s[1] IN ('watch', 'proxy') AND len(s) > 1 THEN s[2:] ELSE s END)"
)
_FROM_RESOURCE = (
    f"list_transform({_AFTER_VERSION}, lambda s: CASE WHEN s[1] = 'namespaces' AND len(s) > 2 "
    "AND s[3] NOT IN ('status', 'finalize') THEN s[3:] ELSE s END)[1]"
)
URL_NAMESPACE = f"list_transform({_AFTER_VERSION}, lambda s: CASE WHEN s[1] = 'namespaces' THEN s[2] END)[1]"
_URL_PARTS = (
    f"{{'parts': {_FROM_RESOURCE}, 'namespace': {URL_NAMESPACE}, "
    f"'group': CASE WHEN {_SEGMENTS}[1] = 'apis' THEN {_SEGMENTS}[2] ELSE '' END}}"
)
URL_NAME = f"({_FROM_RESOURCE})[2]"
_HAS_BODY = f"(verb IS NULL OR verb IN ({', '.join(repr(verb) for verb in _BODY_VERBS)}))"
NAMESPACE_IN_DOUBT = f"namespace IS NOT NULL AND {_HAS_BODY} AND NOT contains(request_uri, '/namespaces/' || namespace)"
NAME_IN_DOUBT = f"name IS NOT NULL AND request_uri IS NOT NULL AND {_HAS_BODY}"

# objectRef, and the URL only where a body may have filled objectRef
_REFERENCE = _Request(
    resource="resource",
    subresource="subresource",
    api_group="api_group",
    namespace="namespace",
    url_namespace=URL_NAMESPACE,
    name="name",
    url_name=URL_NAME,
)
# every part from the URL, bound to `u`: slow, for the few rows without objectRef
_URL = _Request(
    resource="u.parts[1]",
    subresource="(CASE WHEN verb = 'proxy' THEN NULL ELSE u.parts[3] END)",
    api_group="u.group",
    namespace="u.namespace",
    url_namespace=None,
    name="(CASE WHEN coalesce(u.parts[2], '') = '' AND verb IN ('list', 'watch') THEN name ELSE u.parts[2] END)",
    url_name=None,
)


# --- constants


def _truth(value: bool) -> str:
    return "TRUE" if value else "FALSE"


def text_literal(constant: str) -> str:
    """Quote text; NUL, which no SQL text may hold, and all else that a terminal would obey is spelt out."""
    texts: list[str] = []
    for is_plain, found in groupby(constant, str.isprintable):
        text = "".join(found)
        texts += ["'" + text.replace("'", "''") + "'"] if is_plain else [f"chr({ord(one)})" for one in text]
    return " || ".join(texts) or "''"


def _list(constants: Sequence[str]) -> str:
    return ", ".join(text_literal(constant) for constant in constants)


def _texts(constants: Sequence[str]) -> str:
    return f"[{_list(constants)}]::VARCHAR[]"
