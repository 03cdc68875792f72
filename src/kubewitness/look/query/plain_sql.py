"""
Tell what plain SQL reads without asking the engine, which takes longer to explain a statement than to begin a scan.

Plain is what the commands write themselves for most questions: columns by name, counted, grouped, ordered, limited, and
conditions that compare columns with constants. Whatever else stands in a statement, the engine is asked (`run`).
"""

# ruff: noqa: S608 - a statement is recognised here, not written
import re

from kubewitness.look.query.relation_names import COLUMNS

_LITERAL = re.compile(r"'(?:[^']|'')*'")
_NAME = r'(?:"[a-z_]+"|[a-z_]+)'
_NAMES = rf"{_NAME}(?:, {_NAME})*"
_STATEMENT = re.compile(
    rf"SELECT (?P<count>count\(\*\)(?:, )?)?(?P<names>{_NAMES})? FROM events"
    rf"(?: GROUP BY (?P<groups>{_NAMES}))?(?: ORDER BY (?:1 DESC, )?(?P<order>{_NAMES}))?(?: LIMIT \d+)?"
)
_SIGNS = re.compile(r'\s+|[()=<>,]+|\d+|"([a-z_]+)"|\b([A-Za-z_]+)\b(?!\s*\()|\b(?:IN|AND|OR|NOT)\b')
_WORDS = frozenset(["AND", "OR", "NOT", "IS", "NULL", "TRUE", "FALSE", "IN", "BETWEEN"])
_ROW = "_row"


def columns_selected(sql: str) -> tuple[list[str], bool] | None:
    """Give the columns that a plain SELECT over `events` reads, and whether the order of rows can be seen in it."""
    found = _STATEMENT.fullmatch(sql)
    if found is None or not (found["count"] or found["names"]):
        return None
    names = {
        name.strip('"') for part in ("names", "groups", "order") if found[part] for name in found[part].split(", ")
    } - {_ROW}
    if not names.issubset(COLUMNS) or (found["count"] and (found["names"] or "") != (found["groups"] or "")):
        return None
    return sorted(names, key=COLUMNS.index), found["count"] is None


def columns_compared(*conditions: str) -> list[str] | None:
    """Give the columns that plain conditions read."""
    names: set[str] = set()
    for condition in conditions:
        text = _LITERAL.sub("0", condition)
        at = 0
        while at < len(text):
            sign = _SIGNS.match(text, at)
            if sign is None:
                return None
            at = sign.end()
            name = sign[1] or sign[2]
            if name in COLUMNS:
                names.add(name)
            elif name and name not in _WORDS:
                return None
    return sorted(names, key=COLUMNS.index)
