"""
Field and label selectors of list requests, as far as an audit policy depends on them.

A field selector that pins metadata.name names the object of a list or watch; a selector that kube-apiserver cannot read
makes it forget all list options. Follows k8s.io/apimachinery/pkg/fields and pkg/labels.
"""

import re

_OPERATORS = ("!=", "==", "=")
_QUALIFIED_NAME = re.compile(
    r"(?:(?P<prefix>[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*)/)?"
    r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)"
)
_LABEL_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_TOKEN = re.compile(r"\s*(==|!=|=|>|<|\(|\)|,|!|[^\s=!<>(),]+)")
_MAX_PREFIX = 253


class SelectorError(ValueError):
    """A selector that kube-apiserver cannot read."""


def required_name(selector: str) -> str:
    """Give the name that a field selector pins with metadata.name=, or "" when it pins none."""
    name: str | None = None
    for term in _terms(selector):
        if not term:
            continue
        field, operator, value = _split(term)
        if field == "metadata.name" and operator != "!=" and name is None:
            name = value
    # only what may stand in a URL path
    return "" if name is None or name in (".", "..") or "/" in name or "%" in name else name


def _terms(selector: str) -> list[str]:
    """Split at commas that no backslash precedes."""
    terms: list[str] = []
    start, is_escaped = 0, False
    for index, character in enumerate(selector):
        if is_escaped:
            is_escaped = False
        elif character == "\\":
            is_escaped = True
        elif character == ",":
            terms.append(selector[start:index])
            start = index + 1
    return [*terms, selector[start:]]


def _split(term: str) -> tuple[str, str, str]:
    """Split a term at its first operator and take the escapes out of the value."""
    is_escaped = False
    for index in range(len(term)):
        if is_escaped:
            is_escaped = False
            continue
        if term[index] == "\\":
            is_escaped = True
            continue
        for operator in _OPERATORS:
            if term.startswith(operator, index):
                return term[:index], operator, _unescaped(term[index + len(operator) :])
    raise SelectorError(term)


def _unescaped(text: str) -> str:
    result: list[str] = []
    characters = iter(text)
    for character in characters:
        if character == "\\":
            following = next(characters, "")
            if following not in ("\\", ",", "="):
                raise SelectorError(text)
            result.append(following)
        elif character in ",=":
            raise SelectorError(text)
        else:
            result.append(character)
    return "".join(result)


def is_label_selector(selector: str) -> bool:
    """Say whether kube-apiserver can read this label selector."""
    tokens = _TOKEN.findall(selector)
    if len("".join(tokens)) != len(re.sub(r"\s", "", selector)):
        return False
    reader = _Labels(tokens)
    return not tokens or reader.requirements()


class _Labels:
    """Reads `key`, `!key`, `key op value`, `key in (a,b)`, joined by commas."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = [*tokens, ""]
        self._at = 0

    def requirements(self) -> bool:
        """Read all of them."""
        while True:
            if not self._requirement():
                return False
            following = self._take()
            if following == "":
                return True
            # a comma must be followed by another key
            if following != "," or self._tokens[self._at] in ("", ","):
                return False

    def _take(self) -> str:
        token = self._tokens[self._at]
        self._at += 1 if token else 0
        return token

    def _requirement(self) -> bool:
        key = self._take()
        if key == "!":
            return self._is_key(self._take())
        if not self._is_key(key):
            return False
        operator = self._tokens[self._at]
        if operator in ("", ","):
            return True
        self._at += 1
        if operator in ("in", "notin"):
            return self._values()
        if operator not in ("=", "==", "!=", ">", "<"):
            return False
        value = self._tokens[self._at] if self._tokens[self._at] not in ("", ",") else ""
        self._at += bool(value)
        if operator in "<>":
            return bool(re.fullmatch("[-+]?[0-9]{1,19}", value))
        return bool(_LABEL_VALUE.fullmatch(value))

    def _values(self) -> bool:
        if self._take() != "(":
            return False
        while True:
            taken = self._take()
            if taken == ")":
                return True
            if not taken or (taken != "," and not _LABEL_VALUE.fullmatch(taken)):
                return False

    @staticmethod
    def _is_key(token: str) -> bool:
        found = _QUALIFIED_NAME.fullmatch(token)
        return found is not None and len(found["prefix"] or "") <= _MAX_PREFIX
