"""
Request shapes counted in SQL: one GROUP BY over `events` gives what `policy.simulate` needs of a log.

    interest = interest_of([new, old])
    traffic = traffic_of(answer of shape_sql(interest), interest)

The relation needs the columns of `weights_of` (`Events.query(weights=...)`); those of `made_of` it may have already, so
that long texts are made short while lines are read. What a policy sees of a request is read as
in `policy_sql`: from objectRef where kube-apiserver fills it from the URL, from the URL where a body may have filled
it. Rows with a resource URL but no objectRef are few (refused credentials); their URL is a column and is read here.
"""

# ruff: noqa: S608 - writing SQL is what this module is for; texts go through literal()
from collections.abc import Iterable, Sequence
from typing import Any

from kubewitness.event.types import Level, Stage
from kubewitness.look.query import policy_sql
from kubewitness.look.query.policy_sql import text_literal as literal
from kubewitness.look.query.relation import LINE_BYTES
from kubewitness.policy.request import info_from_uri
from kubewitness.policy.shapes import ANY_NODE, NODE_PREFIX, OTHER, OTHER_PATH, Interest, Shape, Traffic
from kubewitness.policy.types import Attributes

COLUMNS = (
    "kind_of", "level", "stage", "verb", "username", "member", "resource", "subresource", "api_group", "namespace",
    "name", "path", "uri", "failed", "events", "bytes", "request_body", "response_body", "request_squares",
    "response_squares", "request_managed", "response_managed", "first", "last", "busiest", "minutes",
)  # fmt: skip
_DIMENSIONS = COLUMNS[1:14]
_REFERENCE, _URL, _PATH = 0, 1, 2
_NAME_BYTES = {
    "requestObject": len(',"requestObject":'),
    "request_object": len(',"requestObject":'),
    "responseObject": len(',"responseObject":'),
    "response_object": len(',"responseObject":'),
}
_MOST_DIGITS = 24
_MANAGED_NAME = len('"managedFields":,')
_MANAGED_PATHS = (
    "$.metadata.managedFields",
    "$.items[*].metadata.managedFields",
    "$.rows[*].object.metadata.managedFields",
)
# what kube-apiserver writes of an event, put together from columns: 304 bytes always, texts as long as they are
_EACH = ("request_uri", "username", "user_agent", "namespace", "name", "message")
_OF_SHAPE = ("level", "stage", "verb", "resource", "subresource", "api_group")
# members of which it is enough to know whether they are there
_PRESENT = {
    "namespace": 15, "name": 10, "object_uid": 45, "api_version": 18, "resource_version": 26, "code": 46, "message": 40,
    "reason": 12, "details": 60, "user_uid": 36, "impersonated_username": 90,
}  # fmt: skip
_PLAIN_BYTES = " + ".join(["304", *(f"coalesce(strlen({one}), 0)" for one in _EACH)])
_STORE_BYTES = " + ".join(
    [
        *(f"{size} * count({one})" for one, size in _PRESENT.items()),
        "count(resource) * 26 + count(subresource) * 17 + count(api_group) * 13",
    ]
)
_READ_FOR_STORE = tuple(one for one in _PRESENT if one not in ("namespace", "name"))
# lists and maps take as long to read as all the rest, and differ by user more than by request: so many events tell
_SAMPLE_EVENTS = 200_000
_NESTED = (
    "coalesce(strlen(array_to_string(groups, '___')) + 14, 0) + "
    "coalesce(strlen(array_to_string(source_ips, '___')) + 3, 0) + "
    "coalesce(strlen(user_extra::VARCHAR) + 3 * cardinality(user_extra) + 13, 0) + "
    "coalesce(strlen(annotations::VARCHAR) + 3 * cardinality(annotations) + 19, 0)"
)


WEIGHTS = ("_bytes", "_request", "_response", "_request_managed", "_response_managed")


def weights_of(interest: Interest) -> dict[str, tuple[str, str]]:
    """
    Write the weights that `shape_sql` adds up: over the raw members, and over the columns of a store.

    A store keeps no line lengths in its index: there the size of an event is put together from its columns (see
    `_STORE_BYTES`), in all within 1 %.
    """
    weights = {
        "_bytes": (LINE_BYTES, f"{_PLAIN_BYTES} + {_body('request_object')} + {_body('response_object')}"),
        "_request": (_body("requestObject"), _body("request_object")),
        "_response": (_body("responseObject"), _body("response_object")),
    }
    for name, raw, column in (
        ("_request_managed", "requestObject", "request_object"),
        ("_response_managed", "responseObject", "response_object"),
    ):
        weights[name] = (_managed(raw), _managed(column)) if interest.omits_managed else ("0", "0")
    return weights


def made_of(interest: Interest) -> dict[str, tuple[str, str]]:
    """Write types and SQL of the columns in which many values of an Event become the few that policies tell apart."""
    has_reference = "coalesce(name, namespace, subresource, api_group, api_version) IS NOT NULL"
    kind_of = (
        f"CASE WHEN resource IS NOT NULL OR (request_uri IS NULL AND {has_reference}) THEN {_REFERENCE} "
        f"WHEN {policy_sql.IS_RESOURCE_URL} THEN {_URL} ELSE {_PATH} END"
    )
    many_groups = "VARCHAR[]" if len(interest.groups) > _MOST_DIGITS else "VARCHAR"
    return {
        "_kind_of": ("INTEGER", kind_of),
        "_user": ("VARCHAR", _user(interest)),
        "_member": (many_groups, _member(interest)),
        "_namespace": ("VARCHAR", _namespace(interest)),
        "_name": ("VARCHAR", _name(interest)),
        "_path": ("VARCHAR", f"CASE WHEN {kind_of} = {_PATH} THEN {_path(interest)} END"),
        "_uri": ("VARCHAR", f"CASE WHEN {kind_of} = {_URL} THEN {_uri(interest)} END"),
        "_failed": ("BOOLEAN", "coalesce(code >= 400, FALSE)"),
    }


def shape_sql(interest: Interest, *, is_store: bool = False, is_made: bool = False) -> str:
    """Write the SELECT; its rows go to `traffic_of`. `is_made`: the relation has the columns of `made_of`."""
    shapes = _shape_select(interest, is_store=is_store, is_made=is_made)
    if is_store:
        shapes = _with_nested(shapes, interest)
    nothing = ", ".join(f"NULL AS {name}" for name in _DIMENSIONS)
    sizes = ", ".join(f"0 AS {name}" for name in COLUMNS[15:22])
    return (
        f"SELECT *, NULL::TIMESTAMP AS first, NULL::TIMESTAMP AS last, 0 AS busiest, 0 AS minutes FROM ({shapes}) "
        f"UNION ALL SELECT -1 AS kind_of, {nothing}, sum(n)::BIGINT AS events, {sizes}, "
        "min(a), max(b), max(n), count(*) "
        "FROM (SELECT count(*) AS n, min(received) AS a, max(coalesce(stage_time, received)) AS b "
        "FROM events GROUP BY date_trunc('minute', coalesce(stage_time, received))) "
        "ORDER BY ALL"  # the same log gives the same report, whichever thread was first
    )


def _with_nested(shapes: str, interest: Interest) -> str:
    """Add what lists and maps take, from a sample: by user, or by kind of user for one whom the sample lacks."""
    early = "coalesce(stage = 'RequestReceived', FALSE)"
    kind = "split_part(coalesce(username, ''), ':', 2)"
    sample = (
        f"SELECT {_user(interest)} AS username, {early} AS early, avg({_NESTED}) AS size, count(*) AS n FROM (SELECT "
        f"username, stage, groups, source_ips, user_extra, annotations FROM events LIMIT {_SAMPLE_EVENTS}) GROUP BY ALL"
    )
    kinds = f"SELECT {kind} AS kind, early, sum(size * n) / sum(n) AS size FROM sample GROUP BY ALL"
    texts = " + ".join(f"coalesce(strlen({one}), 0)" for one in _OF_SHAPE)
    mean = "(SELECT sum(size * n) / sum(n) FROM sample)"
    return (
        f"WITH sample AS MATERIALIZED ({sample}), kinds AS MATERIALIZED ({kinds}) SELECT shapes.* REPLACE ("
        f"(bytes + events * ({texts} + coalesce(sample.size, kinds.size, {mean})))::BIGINT AS bytes) "
        f"FROM ({shapes}) AS shapes LEFT JOIN sample ON sample.username IS NOT DISTINCT FROM shapes.username "
        "AND sample.early = (shapes.stage = 'RequestReceived') LEFT JOIN kinds ON "
        f"kinds.kind = {kind.replace('username', 'shapes.username')} "
        "AND kinds.early = (shapes.stage = 'RequestReceived')"
    )


def _shape_select(interest: Interest, *, is_store: bool, is_made: bool) -> str:
    more = f" + {_STORE_BYTES}" if is_store else ""
    numbers = ", ".join((*WEIGHTS, *(_READ_FOR_STORE if is_store else ())))
    # the real columns, where dimensions of the same name stand for many values
    numbers += ", namespace AS real_namespace, name AS real_name" if is_store else ""
    more = more.replace("count(namespace)", "count(real_namespace)").replace("count(name)", "count(real_name)")
    # some clouds give no level: what there is tells it
    level = (
        "coalesce(level, CASE WHEN _response > 0 THEN 'RequestResponse' WHEN _request > 0 THEN 'Request' "
        "ELSE 'Metadata' END)"
    )
    made = {name: name if is_made else sql for name, (_, sql) in made_of(interest).items()}
    rows = (
        f"SELECT {made['_kind_of']} AS kind_of, {level} AS level, "
        f"coalesce(stage, 'ResponseComplete') AS stage, verb, {made['_user']} AS username, "
        f"{made['_member']} AS member, resource, subresource, api_group, "
        f"{made['_namespace']} AS namespace, {made['_name']} AS name, {made['_path']} AS path, {made['_uri']} AS uri, "
        f"{made['_failed']} AS failed, {numbers} FROM events"
    )
    return (
        "SELECT kind_of, level, stage, verb, username, member, resource, subresource, api_group, namespace, name, "
        "path, uri, failed, count(*) AS events, "
        f"(sum(_bytes){more})::BIGINT AS bytes, "
        "sum(_request)::BIGINT AS request_body, sum(_response)::BIGINT AS response_body, "
        "sum(_request::DOUBLE * _request) AS request_squares, sum(_response::DOUBLE * _response) AS response_squares, "
        "sum(_request_managed)::BIGINT AS request_managed, sum(_response_managed)::BIGINT AS response_managed "
        f"FROM ({rows}) GROUP BY ALL"
    )


def _body(column: str) -> str:
    """Write the size of a body: kube-apiserver escapes <, > and &, the engine's JSON does not."""
    if column.endswith("_object"):  # a store: that is not worth half as much time again
        return f"CASE WHEN {column} IS NULL THEN 0 ELSE strlen({column}) + {_NAME_BYTES[column]} END"
    escaped = column
    for letter in "<>&":
        escaped = f"replace({escaped}, '{letter}', '------')"
    plain = " AND ".join(f"NOT contains({column}, '{letter}')" for letter in "<>&")  # most bodies; replacing copies
    size = f"CASE WHEN {plain} THEN strlen({column}) ELSE strlen({escaped}) END"
    return f"CASE WHEN {column} IS NULL THEN 0 ELSE {size} + {_NAME_BYTES[column]} END"


def _managed(column: str) -> str:
    """Write what managed fields take in a body that is a whole object or a list; patches keep theirs."""
    found = [
        f"list_sum(list_transform(json_extract({column}, '{path}'), lambda x: strlen(x) + {_MANAGED_NAME}))"
        if "*" in path
        else f"strlen(json_extract({column}, '{path}')) + {_MANAGED_NAME}"
        for path in _MANAGED_PATHS
    ]
    test = f"contains({column}, '\"managedFields\"') AND json_type({column}) = 'OBJECT'"
    is_patch = " AND verb <> 'patch'" if column.startswith("request") else ""
    return f"CASE WHEN {test}{is_patch} THEN {' + '.join(f'coalesce({one}, 0)' for one in found)} ELSE 0 END"


def _user(interest: Interest) -> str:
    if ANY_NODE in interest.users:  # a star that the server takes literally
        return "username"
    named = sorted(user for user in interest.users if user.startswith(NODE_PREFIX))
    but = f" AND username NOT IN ({_list(named)})" if named else ""
    return f"CASE WHEN starts_with(username, '{NODE_PREFIX}'){but} THEN '{ANY_NODE}' ELSE username END"


def _member(interest: Interest) -> str:
    """Write which of the groups of interest the user is in: a digit each, or a list of names where they are many."""
    if not interest.groups:
        return "NULL::VARCHAR"
    if len(interest.groups) > _MOST_DIGITS:
        return f"list_sort(list_intersect(groups, [{_list(interest.groups)}]))"
    digits = [f"CASE WHEN list_contains(groups, {literal(group)}) THEN '1' ELSE '0' END" for group in interest.groups]
    return f"concat({', '.join(digits)})"


def _namespace(interest: Interest) -> str:
    if not interest.namespaces:
        return "NULL::VARCHAR"
    named = _list(sorted(interest.namespaces))
    return (
        f"CASE WHEN coalesce(namespace, '') = '' THEN '' "
        f"WHEN {policy_sql.NAMESPACE_IN_DOUBT} THEN {_named(policy_sql.URL_NAMESPACE, named)} "
        f"WHEN namespace IN ({named}) THEN namespace ELSE '{OTHER}' END"
    )


def _named(text: str, named: str) -> str:
    return f"CASE WHEN coalesce({text}, '') = '' THEN '' WHEN {text} IN ({named}) THEN {text} ELSE '{OTHER}' END"


def _name(interest: Interest) -> str:
    if not interest.names:
        return "NULL::VARCHAR"
    named = _list(sorted(interest.names))
    real = f"CASE WHEN {policy_sql.NAME_IN_DOUBT} THEN {policy_sql.URL_NAME} ELSE name END"
    if "" in interest.names:
        return _named(real, named)
    # without the name in the column there is none in the URL
    return f"CASE WHEN name IN ({named}) AND {real} IN ({named}) THEN {real} ELSE '{OTHER}' END"


def _path(interest: Interest) -> str:
    path = policy_sql.PATH
    exact = f"WHEN {path} IN ({_list(sorted(interest.paths))}) THEN {path} " if interest.paths else ""
    prefixes = " ".join(
        f"WHEN starts_with({path}, {literal(prefix)}) THEN {literal(prefix + '*')}" for prefix in interest.path_prefixes
    )
    return f"CASE {exact}WHEN {path} = '' THEN '' {prefixes} ELSE '{OTHER_PATH}' END"  # without a URL there is no path


def _uri(interest: Interest) -> str:
    """Write the URL to read; its query matters only where a field selector may name an object."""
    return "request_uri" if interest.names else "split_part(request_uri, '?', 1)"


def _list(texts: Sequence[str]) -> str:
    return ", ".join(map(literal, texts))


def traffic_of(rows: Iterable[Sequence[Any]], interest: Interest) -> Traffic:
    """Make shapes of the rows that `shape_sql` gave."""
    shapes: list[Shape] = []
    first = last = None
    busiest = minutes = 0
    requests: dict[tuple[Any, ...], Attributes] = {}
    groups_of: dict[Any, tuple[str, ...]] = {}
    for row in rows:
        if row[0] < 0:
            first, last, busiest, minutes = row[-4], row[-3], row[-2] or 0, row[-1]
            continue
        member = tuple(row[5]) if isinstance(row[5], list) else row[5]
        key = (row[0], *row[3:5], member, *row[6:13])
        request = requests.get(key)
        if request is None:
            groups = groups_of.get(member)
            if groups is None:
                groups = groups_of[member] = _groups(member, interest.groups)
            request = requests[key] = _attributes(key, groups)
        shapes.append(Shape(request, _LEVELS[row[1]], _STAGES[row[2]], *row[13:22]))
    return Traffic(tuple(shapes), first, last, busiest, minutes)


_LEVELS = {level.value: level for level in Level}
_STAGES = {stage.value: stage for stage in Stage}


def _groups(member: tuple[str, ...] | str | None, interesting: Sequence[str]) -> tuple[str, ...]:
    """Give the groups that a list of names or of digits stands for."""
    if isinstance(member, tuple):
        return member
    return tuple(group for group, digit in zip(interesting, member or "", strict=False) if digit == "1")


def _attributes(key: tuple[Any, ...], of_user: tuple[str, ...]) -> Attributes:
    kind_of, verb, user, _, resource, subresource, api_group, namespace, name, path, uri = key
    groups = None if user is None else of_user
    verb = verb or ""
    if kind_of == _URL:
        return info_from_uri(verb, uri or "").attributes(user, groups)
    if kind_of == _PATH:
        return Attributes(verb, user, groups, path=path or "")
    return Attributes(
        verb,
        user,
        groups,
        namespace or "",
        api_group or "",
        "",
        resource or "",
        subresource or "",
        name or "",
        resource_request=True,
    )
