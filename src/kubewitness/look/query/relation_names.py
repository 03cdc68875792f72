"""
Names of the relation `events`: which columns a SELECT uses, and the columns under every name a SELECT may use.

A column has a flat name (`resource`) and a wire name (`objectRef.resource`, `requestURI`); both may be written.
Which of them a question uses is asked of DuckDB's own optimizer: the question is explained over `TWIN`, an empty
relation with every name, and the scan of the plan lists what is left after pruning. Nothing is executed.
"""

# ruff: noqa: S608 - writing SQL is what this module is for; names and texts go through identifier() and literal()
import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from kubewitness.event.fields import FIELDS, Field, FieldType

if TYPE_CHECKING:
    import duckdb

SQL_TYPES: Mapping[FieldType, str] = {
    FieldType.STRING: "VARCHAR",
    FieldType.STRINGS: "VARCHAR[]",
    FieldType.INTEGER: "BIGINT",
    FieldType.BOOLEAN: "BOOLEAN",
    FieldType.TIME: "TIMESTAMP",
    FieldType.MAP: "MAP(VARCHAR, VARCHAR)",
    FieldType.LISTS: "MAP(VARCHAR, VARCHAR[])",
    FieldType.JSON: "JSON",
}
WIRE = tuple(f for f in FIELDS if not f.is_derived)
COLUMNS = tuple(f.column for f in FIELDS)


def identifier(name: str) -> str:
    """Quote a name for SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote a text for SQL."""
    return "'" + text.replace("'", "''") + "'"


def parts(path: str) -> tuple[str, str]:
    """Give the parent and the member of a path; the member is empty for a path of one part."""
    parent, _, member = path.partition(".")
    return parent, member


def _structs() -> dict[str, list[Field]]:
    structs: dict[str, list[Field]] = {}
    for f in FIELDS:
        parent, member = parts(f.path)
        if member and parent not in COLUMNS:  # `source` is a column: `source.peer` is only to be had as source_peer
            structs.setdefault(parent, []).append(f)
    return structs


STRUCTS = _structs()
ALIASES = {f.path: f for f in WIRE if "." not in f.path and f.path not in COLUMNS}
"""Wire names of one part whose column has another name: requestURI, auditID, ..."""


def map_literal(columns: Mapping[str, str]) -> str:
    """Write a `columns=` map of read_ndjson."""
    return "{" + ", ".join(f"{identifier(name)}: {literal(type_)}" for name, type_ in columns.items()) + "}"


def struct_type(members: Mapping[str, str]) -> str:
    """Write a STRUCT type."""
    return "STRUCT(" + ", ".join(f"{identifier(name)} {type_}" for name, type_ in members.items()) + ")"


def _twin() -> str:
    columns = {f.column: SQL_TYPES[f.type] for f in FIELDS}
    columns |= {path: SQL_TYPES[f.type] for path, f in ALIASES.items()}
    columns |= {
        parent: struct_type({parts(f.path)[1]: SQL_TYPES[f.type] for f in fields}) for parent, fields in STRUCTS.items()
    }
    return f"SELECT * FROM read_ndjson('/dev/null', columns={map_literal(columns)})"


TWIN = _twin()
"""A relation without rows that has every name of `events`."""


def scanned(plan_json: str) -> set[str]:
    """Give the names that READ_NDJSON has to deliver, from the answer to EXPLAIN (FORMAT json)."""
    found: set[str] = set()
    waiting: list[dict[str, Any]] = list(json.loads(plan_json))
    while waiting:
        node = waiting.pop()
        if node["name"].strip() == "READ_NDJSON":
            projections = node["extra_info"].get("Projections", [])
            found.update([projections] if isinstance(projections, str) else projections)
        waiting.extend(node.get("children", []))
    return found - {""}


_ORDERLESS = re.compile(r"(count_star|count|sum|sum_no_overflow|min|max|avg)\(.*\)")


def ignores_order(plan_json: str) -> bool:
    """Say whether a plan adds up its rows in ways to which their order does not matter."""
    waiting: list[tuple[dict[str, Any], bool]] = [(node, False) for node in json.loads(plan_json)]
    while waiting:
        node, is_added_up = waiting.pop()
        name = node["name"].strip()
        if "Aggregates" in node["extra_info"]:
            is_added_up = True
            aggregates = node["extra_info"]["Aggregates"]
            if not all(map(_ORDERLESS.fullmatch, [aggregates] if isinstance(aggregates, str) else aggregates)):
                return False
        elif (name == "READ_NDJSON" and not is_added_up) or (is_added_up and ("LIMIT" in name or "WINDOW" in name)):
            return False
        waiting.extend((child, is_added_up) for child in node["children"])
    return True


_READERS = ("READ_NDJSON", "READ_NDJSON_OBJECTS")


def rows_read(connection: "duckdb.DuckDBPyConnection") -> int:
    """Give how many rows the reader of lines delivered in the last statement: one for each line that is not blank.

    Needs `PRAGMA enable_profiling = 'no_output'`.
    """
    waiting: list[dict[str, Any]] = json.loads(connection.get_profiling_information())["operator"]
    rows = 0
    while waiting:
        node = waiting.pop()
        if node["extra_info"].get("Function") in _READERS:
            rows += int(node["intermediate_rows"])
        waiting.extend(node.get("children", []))
    return rows


def columns_of(names: Iterable[str]) -> list[str]:
    """Turn names (`resource`, `objectRef.resource`, `requestURI`, all of `objectRef`) into columns, in table order."""
    columns: set[str] = set()
    for name in names:
        parent, member = parts(name)
        if name in COLUMNS:
            columns.add(name)
        elif name in ALIASES:
            columns.add(ALIASES[name].column)
        else:
            columns.update(f.column for f in STRUCTS[parent] if member in {"", parts(f.path)[1]})
    return sorted(columns, key=COLUMNS.index)


def every_name(columns: Iterable[str]) -> str:
    """Write the list of a SELECT that gives these columns under every name they have."""
    return _named({column: identifier(column) for column in COLUMNS if column in set(columns)})


def names_asked(columns: Iterable[str], sql: str) -> str:
    """
    Write the list of a SELECT that a question can be asked of: these columns, and NULL under names it has no need of.

    The optimizer needs no `verb` for `TRUE OR verb = 'get'`, but the name must be there.
    """
    have = set(columns)
    words = set(re.findall(r"\w+", sql.lower()))
    values = {f.column: identifier(f.column) for f in FIELDS if f.column in have}
    lacking = {name.lower() for f in FIELDS if f.column not in have for name in (f.column, f.path.split(".")[-1])}
    lacking |= {parent.lower() for parent, fields in STRUCTS.items() if have.isdisjoint(f.column for f in fields)}
    if not lacking.isdisjoint(words):
        values = {f.column: values.get(f.column, f"NULL::{SQL_TYPES[f.type]}") for f in FIELDS}
    return _named(values)


def _named(values: Mapping[str, str]) -> str:
    items = [f"{value} AS {identifier(column)}" for column, value in values.items()]
    items += [f"{values[f.column]} AS {identifier(path)}" for path, f in ALIASES.items() if f.column in values]
    for parent, fields in STRUCTS.items():
        members = [f"{identifier(parts(f.path)[1])} := {values[f.column]}" for f in fields if f.column in values]
        if members:
            items.append(f"struct_pack({', '.join(members)}) AS {identifier(parent)}")
    return ", ".join(items)
