"""New pieces of YAML: a word in the quotes of its neighbour, a rule as block or in braces."""

import json
import re
from collections.abc import Iterator

import yaml

from kubewitness.policy.findings import Content
from kubewitness.policy.repair.spans import NoPlaceError

# words that YAML 1.1 reads as themselves without quotes
_PLAIN = re.compile(r"(?!(?:y|n|yes|no|on|off|true|false|null)$)[A-Za-z/][A-Za-z0-9/._-]*", re.IGNORECASE)
# longer lists are written one item a line
_WIDTH = 110
_UNQUOTED = frozenset(("level", "omitManagedFields"))


def scalar(content: Content, like: yaml.Node | None) -> str:
    """Write a word as the one it stands beside or in place of is written."""
    text = str(content)
    style = like.style if isinstance(like, yaml.ScalarNode) else '"'
    if style == "'" and "'" not in text:
        return f"'{text}'"
    if style is None and (_PLAIN.fullmatch(text)):
        return text
    if style in ("|", ">"):
        raise NoPlaceError("the value is a block of text")
    return json.dumps(text)


def flow(content: Content, name: str = "") -> str:
    """Write anything in braces and brackets, as JSON does."""
    if isinstance(content, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {flow(value, key)}" for key, value in content.items()) + "}"
    if isinstance(content, list):
        return "[" + ", ".join(flow(value) for value in content) + "]"
    return str(content) if name == "omitManagedFields" else json.dumps(str(content))


def block_item(content: Content, indent: int, newline: str, offset: int = 2) -> str:
    """Write an item of a block sequence, as whole lines."""
    if not isinstance(content, dict):
        return f"{' ' * indent}- {flow(content)}{newline}"
    lines = [line for key, value in content.items() for line in _member(key, value, offset)]
    first, *rest = lines
    return "".join(
        f"{' ' * indent}{start}{line}{newline}" for start, line in (("- ", first), *(("  ", line) for line in rest))
    )


def block_member(name: str, content: Content, indent: int, newline: str, offset: int = 2) -> str:
    """Write a member of a block mapping, as whole lines."""
    return "".join(f"{' ' * indent}{line}{newline}" for line in _member(name, content, offset))


def _member(name: str, content: Content, offset: int) -> Iterator[str]:
    if isinstance(content, list) and content and isinstance(content[0], dict):
        yield f"{name}:"
        for item in content:
            yield from (line.rstrip("\n") for line in block_item(item, offset, "\n", offset).splitlines())
        return
    line = f"{name}: {content if name in _UNQUOTED else flow(content)}"
    if isinstance(content, list) and len(line) > _WIDTH:
        yield f"{name}:"
        yield from (f"{' ' * offset}- {flow(item)}" for item in content)
        return
    yield line
