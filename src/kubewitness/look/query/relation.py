"""
The relation `events` over raw JSON lines, as SQL: a scan that parses what the question reads and no more.

Three floors: `read_ndjson` with the minimal explicit columns; the flat columns of `event.fields`; the derived ones.
The lowest also tells which rows are *odd*: not an Event at all, or an Event in which a member that this question
reads has the wrong type. Odd rows are not answered here; their lines take the tolerant path (`scan_rescue`).

Why these types: a BIGINT would round 403.5 to 404, so numbers are DOUBLE. A list read from a text is NULL and could
not be told from an absent one, so lists and maps are JSON. A struct read from a text is a struct whose members are
NULL, which the test of its always-set member finds.
"""

# ruff: noqa: S608 - writing SQL is what this module is for; names and texts go through identifier() and literal()
import enum
import json
from collections.abc import Iterable, Mapping

import msgspec

from kubewitness.event.fields import FIELDS, Field, FieldType
from kubewitness.event.items import KUBE_APISERVER
from kubewitness.look.query.relation_names import SQL_TYPES, WIRE, identifier, literal, map_literal, parts, struct_type
from kubewitness.look.query.same_request import REQUEST_KEY

_RAW_TYPES: Mapping[FieldType, str] = {
    FieldType.STRING: "VARCHAR",
    FieldType.STRINGS: "JSON",
    FieldType.INTEGER: "DOUBLE",
    FieldType.TIME: "VARCHAR",
    FieldType.MAP: "JSON",
    FieldType.LISTS: "JSON",
    FieldType.JSON: "JSON",
}
_BY_PATH = {f.path: f for f in WIRE}
WIRE_PATHS = frozenset(_BY_PATH)

ENVELOPE = frozenset({"cluster", "source", "dialect", "redacted", "log.index", "log.time"})
DERIVED = tuple(f for f in FIELDS if f.is_derived and f.path not in ENVELOPE)

# the member that a struct of a real Event has; a struct without it was not an object, or is worth a second look
_ALWAYS_SET = {
    "user": "username",
    "impersonatedUser": "username",
    "objectRef": "resource",
    "responseStatus": "code",
}
# free text, and text that may consist of digits: only an object or a list is odd there
_FREE_TEXT = frozenset({
    "auditID", "requestURI", "userAgent", "user.uid", "impersonatedUser.uid", "objectRef.uid",
    "objectRef.resourceVersion", "responseStatus.message",
})  # fmt: skip

LEVELS = ("None", "Metadata", "Request", "RequestResponse")
STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")
# ResponseComplete stands first in both, because that settles nearly every row with one comparison
RANK = (
    "CASE stage WHEN 'ResponseComplete' THEN 2 WHEN 'RequestReceived' THEN 0 "
    "WHEN 'ResponseStarted' THEN 1 WHEN 'Panic' THEN 3 END"
)
_NOT_AN_EVENT = (
    f"stage IS NULL OR (stage <> 'ResponseComplete' AND stage NOT IN ({', '.join(map(literal, STAGES))}))"
    " OR kind <> 'Event'"
)


class Reading(enum.Enum):
    """How lines are read."""

    STRICT = enum.auto()
    """The engine gives up at the first line that is not JSON or has no object where one belongs. Fastest."""
    TOLERANT = enum.auto()
    """Such lines are odd rows."""
    TRUSTED = enum.auto()
    """Lines written by `scan_rescue`: their types are not tested again."""


class Key(enum.Enum):
    """What `_key` tells apart."""

    NONE = enum.auto()
    """Nothing: stages are not joined."""
    AUDIT_ID = enum.auto()
    """auditIDs, by a hash: cheap, and enough as long as no two rows share one."""
    REQUEST = enum.auto()
    """Requests, by a keyed hash over all that stages join by.

    That is what identifies a request, and whatever else the conditions read that no stage changes: a line that says
    otherwise belongs to no request of this one's, so that it can neither hide it nor be answered for it.
    """


LINE_BYTES = "line_bytes"
_BODIES = frozenset({"requestObject", "responseObject"})

_KEYS: Mapping[Key, tuple[str, ...]] = {
    Key.NONE: (),
    Key.AUDIT_ID: ("auditID",),
    Key.REQUEST: REQUEST_KEY,
}


class Relation(msgspec.Struct, frozen=True):
    """How raw lines become `events` for one question.

    `derived` gives the SQL of each derived column over the flat ones. `nonce` keys the hash that joins the stages
    of a request, so that nobody can choose an auditID that makes two requests one; it also names the member in
    which the tolerant path tells where a line came from, which no log can therefore set.
    """

    derived: Mapping[str, str]
    nonce: str
    cluster: str | None = None
    weights: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Further columns, numbers made in SQL of `requestObject` and `responseObject`; or `LINE_BYTES` alone: what the
    line takes with its end, NULL where lines are read strictly (see `scan_lengths`)."""

    @property
    def measures(self) -> bool:
        """Whether a weight is what the line takes."""
        return LINE_BYTES in self.weights.values()

    @property
    def mark(self) -> str:
        """The member of a rescued line that holds its dialect."""
        return f"kubewitness:{self.nonce}"

    def select(
        self,
        reads: Iterable[str],
        columns: Iterable[str],
        path: str,
        options: str = "",
        name: str = "",
        *,
        reading: Reading = Reading.TOLERANT,
        key: Key = Key.REQUEST,
        joined_by: Iterable[str] = (),
        decides: Iterable[str] | None = None,
        untested: Iterable[str] = (),
    ) -> str:
        """SELECT of flat columns, the derived ones among `columns`, `_odd`, `_odd_shown`, `_rank`, `_key` and the
        weights.

        `_odd` is about what `decides` (all that is read, if None), `_odd_shown` about the rest of what is read: that
        matters only in rows that match.

        Only the wire paths `reads` and `untested` are parsed, and what finding odd rows and joining stages needs;
        of what is untested the type does not matter. Stages are joined by `joined_by`, some of `reads`, too.
        """
        asked = {*reads, "kind", "stage"}
        shown = asked.union(_KEYS[key], untested)
        parsed = shown.union(_BODIES) if self.weights else shown
        weights = "".join(f", {sql} AS {identifier(weight)}" for weight, sql in self.weights.items())
        wanted = set(columns)
        tested = asked if decides is None else asked.intersection({*decides, "kind", "stage"})
        if reading is not Reading.STRICT:
            options += ", ignore_errors=true"
        raw = self._raw(self._columns(parsed, reading), path, options, reading)
        flat = ", ".join(f"{_flat(f)} AS {identifier(f.column)}" for f in WIRE if f.path in shown)
        # a constant wherever it is one: what a condition says of other dialects is then folded away
        dialect = literal(KUBE_APISERVER)
        if reading is Reading.TRUSTED:
            dialect = f"coalesce({identifier(self.mark)}, {dialect})"
        cluster = "NULL::VARCHAR" if self.cluster is None else literal(self.cluster)
        floor = (
            f"SELECT {flat}, {cluster} AS cluster, {literal(name)} AS source, "
            f"{dialect} AS dialect, NULL::VARCHAR[] AS redacted, "
            f"NULL::BIGINT AS log_index, NULL::TIMESTAMP AS log_time, "
            f"{_odd(tested, reading)} AS _odd, {_odd_shown(asked - tested, reading)} AS _odd_shown, {RANK} AS _rank, "
            f"stage = 'Panic' AS _is_panic, "
            f"{self._key(key, joined_by)} AS _key{weights} FROM ({raw})"
        )
        derived = "".join(
            f", {self.derived.get(f.column, 'NULL')}::{SQL_TYPES[f.type]} AS {identifier(f.column)}"
            for f in DERIVED
            if f.column in wanted
        )
        return f"SELECT *{derived} FROM ({floor})"

    def _raw(self, columns: Mapping[str, str | dict[str, str]], path: str, options: str, reading: Reading) -> str:
        """SELECT of the columns as they stand; what a line takes is told to who reads it whole, and parses it twice."""
        if not self.measures or reading is Reading.STRICT:
            types = {name: type_ if isinstance(type_, str) else struct_type(type_) for name, type_ in columns.items()}
            length = f", NULL::BIGINT AS {LINE_BYTES}" if self.measures else ""
            return f"SELECT *{length} FROM read_ndjson({literal(path)}, columns={map_literal(types)}{options})"
        shape = literal(json.dumps(columns))
        # what was mended weighs what its line would in a log, however it was laid out
        line = "json_extract(json, '$')" if reading is Reading.TRUSTED else "json"
        return (
            f"SELECT unnest(from_json(json, {shape})), strlen({line}) + 1 AS {LINE_BYTES} "
            f"FROM read_ndjson_objects({literal(path)}{options})"
        )

    def _columns(self, reads: Iterable[str], reading: Reading) -> dict[str, str | dict[str, str]]:
        plain: dict[str, str | dict[str, str]] = {self.mark: "VARCHAR"} if reading is Reading.TRUSTED else {}
        structs: dict[str, dict[str, str]] = {}
        for path in sorted(reads):
            parent, member = parts(path)
            if member:
                always = _ALWAYS_SET.get(parent, member)
                structs.setdefault(parent, {})[always] = _RAW_TYPES[_BY_PATH[f"{parent}.{always}"].type]
                structs[parent][member] = _RAW_TYPES[_BY_PATH[path].type]
            else:
                plain[path] = _RAW_TYPES[_BY_PATH[path].type]
        return plain | structs

    def _key(self, key: Key, joined_by: Iterable[str]) -> str:
        match key:
            case Key.NONE:
                return "NULL::UHUGEINT"
            case Key.AUDIT_ID:
                return f"hash({_raw('auditID')})"
            case Key.REQUEST:
                members = [_raw(path) for path in _KEYS[key]]
                more = sorted(set(joined_by) - set(_KEYS[key]))
                members += [f"coalesce({_flat(_BY_PATH[path])}::VARCHAR, chr(1))" for path in more]
                keyed = f"md5_number(concat({literal(self.nonce)}, {', chr(0), '.join(members)}))"
                return f"CASE WHEN {_raw('auditID')} IS NOT NULL THEN {keyed} END"


def _raw(path: str) -> str:
    return ".".join(identifier(part) for part in path.split("."))


def _flat(f: Field) -> str:
    raw = _raw(f.path)
    if _RAW_TYPES[f.type] == SQL_TYPES[f.type]:
        return raw
    return f"try_cast({raw} AS {SQL_TYPES[f.type]})"


def _odd(tested: Iterable[str], reading: Reading) -> str:
    # a bare OR: under a function every test would run on every row, in a WHERE the first ones decide
    return _any([_NOT_AN_EVENT, *_wrong_types(tested, reading)])


def _odd_shown(shown: Iterable[str], reading: Reading) -> str:
    return _any(_wrong_types(shown, reading))


def _wrong_types(paths: Iterable[str], reading: Reading) -> list[str]:
    paths = sorted(paths)
    tests: list[str] = []
    match reading:
        case Reading.TRUSTED:
            return tests
        case Reading.TOLERANT:
            tests += [
                f"{_raw(f'{parent}.{_ALWAYS_SET[parent]}')} IS NULL AND {identifier(parent)} IS NOT NULL"
                for parent in sorted({parts(path)[0] for path in paths} & _ALWAYS_SET.keys())
            ]
        case Reading.STRICT:
            pass  # the engine has given up where no object was
    for path in paths:
        tests += _wrong_type(_BY_PATH[path])
    return tests


def _any(tests: Iterable[str]) -> str:
    return "(" + (" OR ".join(f"({test})" for test in tests) or "FALSE") + ")"


def _wrong_type(f: Field) -> list[str]:
    """Write tests that are true when the value was not of this field's type."""
    raw = _raw(f.path)
    match f.type:
        case FieldType.STRING:
            if f.path in {"kind", "stage"}:
                return []  # _NOT_AN_EVENT has settled it
            if f.path == "level":
                return [f"level NOT IN ({', '.join(map(literal, LEVELS))})"]
            # A column of text turns 5 into '5' and {} into '{}'. Comparisons that are false for nearly every text stand
            # first, and CASE keeps what follows them from being evaluated: the engine reorders the parts of an AND.
            is_list, is_object = f"{raw} >= '['", f"{raw} >= '{{' AND {raw} < '|'"
            if f.path in _FREE_TEXT:
                return [f"{raw} < '\\' AND {is_list}", is_object]
            is_number = f"{raw} < ':' AND try_cast({raw} AS DOUBLE) IS NOT NULL"
            return [
                f"CASE WHEN {raw} < '\\' THEN {is_list} OR ({is_number}) END",
                f"{raw} >= 't' AND (({is_object}) OR {raw} = 'true')",
                f"{raw} = 'false'",
            ]
        case FieldType.STRINGS:
            return [f"{raw} NOT LIKE '[\"%\"]' AND {raw} <> '[]'"]
        case FieldType.INTEGER:
            return [f"NOT ({raw} BETWEEN 100 AND 999 AND {raw} = floor({raw}))"]
        case FieldType.TIME:
            return [
                f"NOT suffix({raw}, 'Z')",
                f"{raw} IS NOT NULL AND try_cast({raw} AS TIMESTAMP) IS NULL",
            ]  # so ends no number, list, object or truth value; the rest is cast
        case FieldType.MAP | FieldType.LISTS:
            return [f"{raw} NOT LIKE '{{%'"]
        case FieldType.BOOLEAN | FieldType.JSON:
            return []
