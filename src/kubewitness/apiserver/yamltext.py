"""
Change a value or two of a YAML or JSON file and leave every other byte as it is.

`read` gives a Document: the text and its nodes with their places. `put`, `append` and `replace` give a new Document in
which only what was asked for differs: comments, order, quotes, indentation and line ends stay, because they are never
written anew. Each change is proved before it is given: the new text is read again and must hold exactly what the old
one held, plus the change. What cannot be read or changed so is refused with its line.

YAML 1.1 as PyYAML reads it. Not taken: anchors, aliases and tags (a change would mean two places), tabs, names given
twice, several documents in one file (empty ones may follow).
"""

import functools
import json
import re
from dataclasses import dataclass
from typing import Any

Path = tuple[str | int, ...]
Data = str | int | bool | None | list[Any] | dict[str, Any]
# A file of this size is no manifest, and PyYAML takes seconds for a megabyte.
MAX_CHARACTERS = 400_000
_DEEPEST = 60
_STANDARD_TAGS = "tag:yaml.org,2002:"


class EditError(Exception):
    """This text is not understood, or cannot be changed safely. `line` counts from 1."""

    def __init__(self, message: str, line: int = 1) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the text: characters from its start, line and column, all from 0."""

    index: int
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Node:
    """One value. `id` is mapping (value: pairs of nodes), sequence (value: nodes) or scalar (value: text)."""

    id: str
    tag: str
    value: Any
    start_mark: Place
    end_mark: Place
    style: str | None = None
    flow_style: bool = False


@dataclass(frozen=True, slots=True)
class Document:
    """A text and its nodes."""

    text: str
    root: "Node"

    def node(self, path: Path) -> "Node | None":
        """Give the node at a path of names and indexes, None where there is none."""
        node: Node | None = self.root
        for step in path:
            node = _child(node, step)
            if node is None:
                return None
        return node

    def line(self, path: Path) -> int:
        """Give the line of the node at this path, or of what is nearest above it."""
        for length in range(len(path), -1, -1):
            node = self.node(path[:length])
            if node is not None:
                return int(node.start_mark.line) + 1
        return 1

    def column(self, path: Path) -> int:
        """Give its column, from 1."""
        node = self.node(path)
        return 1 if node is None else int(node.start_mark.column) + 1

    def data(self, path: Path = ()) -> Data:
        """Give the value at this path as plain data; None where there is none. Numbers stay text."""
        node = self.node(path)
        return None if node is None else _data(node)

    def text_at(self, path: Path) -> str | None:
        """Give the scalar at this path as it is written, None where there is none."""
        node = self.node(path)
        value = getattr(node, "value", None)
        return value if isinstance(value, str) and not is_null(node) else None


def read(data: bytes | str) -> Document:
    """Read a file of one document; empty ones may follow. Raises EditError for what is not understood."""
    documents = read_all(data)
    more = [document for document in documents[1:] if not is_null(document.root)]
    if more:
        line = more[0].root.start_mark.line + 1
        raise EditError("a second document begins here: one a file can be changed", line)
    return documents[0]


def read_all(data: bytes | str) -> list[Document]:
    """Read every document of a file; each has the whole text. Raises EditError for what is not understood."""
    import yaml

    text = _decoded(data) if isinstance(data, bytes) else data
    if len(text) > MAX_CHARACTERS:
        raise EditError(f"larger than {MAX_CHARACTERS:,} characters: no manifest is")
    try:
        roots = list(yaml.compose_all(text, Loader=_strict_loader()))
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        raise EditError(f"this is no YAML: {exc.problem or exc.context}", mark.line + 1 if mark else 1) from exc
    except yaml.reader.ReaderError as exc:
        found: Any = exc.character
        code = found if isinstance(found, int) else ord(found[:1])
        line = text.count("\n", 0, exc.position) + 1
        raise EditError(f"this is no YAML: character #x{code:04x} is not allowed", line) from exc
    except (RecursionError, ValueError, TypeError) as exc:
        raise EditError("this is no YAML that can be read") from exc
    if not roots:
        raise EditError("the file is empty")
    documents = [Document(text, _node(root)) for root in roots]
    for document in documents:
        _refuse_repeated_names(document.root)
    return documents


@functools.cache
def _strict_loader() -> Any:
    """Give a loader that composes nodes and refuses what cannot be edited in one place."""
    import yaml

    class Strict(yaml.SafeLoader):
        """PyYAML without anchors, aliases and tags, and not deep."""

        depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]
            line = event.start_mark.line + 1
            if isinstance(event, yaml.AliasEvent) or event.anchor:
                raise EditError("anchors and aliases (& and *) are not understood here: write the value out", line)
            if event.tag:
                raise EditError("a tag (!) is not understood here: write the plain value", line)
            self.depth += 1
            if self.depth > _DEEPEST:
                raise EditError(f"nested deeper than {_DEEPEST} levels", line)
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

    return Strict


def _node(node: Any) -> Node:
    """Take over a node of PyYAML, whose stubs leave half of it out."""
    if node.id == "mapping":
        value: Any = [(_node(key), _node(item)) for key, item in node.value]
    else:
        value = [_node(item) for item in node.value] if node.id == "sequence" else node.value
    start, end = (Place(mark.index, mark.line, mark.column) for mark in (node.start_mark, node.end_mark))
    is_scalar = node.id == "scalar"
    style = node.style if is_scalar else None
    return Node(node.id, node.tag, value, start, end, style, not is_scalar and bool(node.flow_style))


def is_null(node: "Node | None") -> bool:
    """Say whether this is null or left empty."""
    return node is not None and node.tag == _STANDARD_TAGS + "null"


def put(document: Document, path: Path, name: str, value: Data) -> Document:
    """Give the object at `path` a member that it does not have. Raises EditError."""
    node = _collection(document, path, "mapping")
    if _child(node, name) is not None:
        raise EditError(f"{name} is there already", node.start_mark.line + 1)
    wanted = _canon(document.root)
    _walk(wanted, path)[1].append([name, _canon_of(value)])
    if node.flow_style or not node.value:
        new = _into_flow(document, node, f"{json.dumps(name)}: {json.dumps(value)}")
    else:
        new = _below(document, node, node.value[0][0].start_mark.column, {name: value})
    return _proved(new, wanted)


def append(document: Document, path: Path, *values: Data) -> Document:
    """Give the list at `path` more items. Raises EditError."""
    if not values:
        return document
    node = _collection(document, path, "sequence")
    wanted = _canon(document.root)
    _walk(wanted, path)[1].extend(_canon_of(value) for value in values)
    if node.flow_style or not node.value:
        new = _into_flow(document, node, ", ".join(json.dumps(value) for value in values))
    else:
        new = _below(document, node, node.start_mark.column, list(values))
    return _proved(new, wanted)


def replace(document: Document, path: Path, value: Data) -> Document:
    """Write another value in the place of a scalar, of null, or of an empty list or object. Raises EditError."""
    node = document.node(path)
    if node is None:
        raise EditError("there is nothing to replace")
    if not isinstance(node.value, str) and node.value:
        raise EditError("only a plain value can be replaced", node.start_mark.line + 1)
    wanted = _canon(document.root)
    _walk(wanted, path)[:] = _canon_of(value)
    if value and isinstance(value, (dict, list)) and _is_block_member(document, path):
        return _proved(_filled(document, path, value), wanted)
    quote = {"'": "'", '"': '"'}.get(getattr(node, "style", None) or "")
    written = _scalar(value, quote) if isinstance(value, str) else json.dumps(value)
    start, end = node.start_mark.index, node.end_mark.index
    lead = " " if start == end and document.text[start - 1 : start] in (":", "-") else ""
    return _proved(document.text[:start] + lead + written + document.text[end:], wanted)


def dump(value: Data) -> str:
    """Write data as YAML in block style, in the order given, texts of several lines as they are."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Literal blocks for texts of several lines."""

    def text(dumper: yaml.SafeDumper, item: str) -> yaml.Node:
        return dumper.represent_scalar(_STANDARD_TAGS + "str", item, style="|" if "\n" in item else None)

    Dumper.add_representer(str, text)
    written = yaml.dump(value, Dumper=Dumper, sort_keys=False, default_flow_style=False, width=10_000)
    return str(written)


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise EditError("this is no UTF-8 text", data.count(b"\n", 0, exc.start) + 1) from exc


def _child(node: "Node | None", step: str | int) -> "Node | None":
    if node is None or isinstance(node.value, str):
        return None
    if isinstance(step, int):
        return node.value[step] if node.id == "sequence" and step < len(node.value) else None
    if node.id != "mapping":
        return None
    return next((value for key, value in node.value if key.value == step), None)


def _refuse_repeated_names(node: "Node") -> None:
    if node.id == "mapping":
        seen = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.id != "scalar":
                raise EditError("a name must be plain text", line)
            if key.value in seen:
                raise EditError(f"{key.value} is given twice", line)
            if key.tag == _STANDARD_TAGS + "merge":
                raise EditError("a merge (<<) is not understood here: write the members out", line)
            seen.add(key.value)
            _refuse_repeated_names(value)
    elif node.id == "sequence":
        for value in node.value:
            _refuse_repeated_names(value)


def _data(node: "Node") -> Data:
    if node.id == "mapping":
        return {str(key.value): _data(value) for key, value in node.value}
    if node.id == "sequence":
        return [_data(value) for value in node.value]
    if is_null(node):
        return None
    if node.tag == _STANDARD_TAGS + "bool":
        return str(node.value).lower() in ("true", "yes", "on")
    return str(node.value)


def _collection(document: Document, path: Path, kind: str) -> "Node":
    node = document.node(path)
    if node is None or node.id != kind:
        what = {"mapping": "an object", "sequence": "a list"}[kind]
        raise EditError(f"{'.'.join(map(str, path)) or 'the document'} must be {what}", document.line(path))
    return node


def _canon(node: "Node") -> list[Any]:
    """Give what a node holds in a form that compares and can be changed: types and texts, no places."""
    if node.id == "mapping":
        return ["mapping", [[key.value, _canon(value)] for key, value in node.value]]
    if node.id == "sequence":
        return ["sequence", [_canon(value) for value in node.value]]
    return [node.tag.removeprefix(_STANDARD_TAGS), node.value]


def _canon_of(value: Data) -> list[Any]:
    if isinstance(value, dict):
        return ["mapping", [[name, _canon_of(item)] for name, item in value.items()]]
    if isinstance(value, list):
        return ["sequence", [_canon_of(item) for item in value]]
    if isinstance(value, str):
        return ["str", value]
    kind = "null" if value is None else "bool" if isinstance(value, bool) else "int"
    return [kind, json.dumps(value)]


def _walk(canon: list[Any], path: Path) -> list[Any]:
    for step in path:
        canon = canon[1][step] if isinstance(step, int) else next(v for k, v in canon[1] if k == step)
    return canon


def _proved(text: str, wanted: list[Any]) -> Document:
    document = read(text)
    if _canon(document.root) != wanted:
        raise EditError("this cannot be changed without changing more than was asked for")
    return document


def _into_flow(document: Document, node: "Node", written: str) -> str:
    """Insert before the closing bracket, behind what stands there."""
    close = node.end_mark.index - 1
    if node.value:
        last = node.value[-1]
        place = (last[1] if isinstance(last, tuple) else last).end_mark.index
        return document.text[:place] + ", " + written + document.text[place:]
    return document.text[:close] + written + document.text[close:]


def _below(document: Document, node: "Node", column: int, value: Data) -> str:
    """Insert lines behind the last line of a collection in block style."""
    text = document.text
    ending = "\r\n" if "\r\n" in text else "\n"
    place = _end(node)
    if place and text[place - 1 : place] != "\n":
        newline = text.find("\n", place)
        place = len(text) if newline < 0 else newline + 1
    lead = ending if place and text[place - 1 : place] != "\n" else ""
    lines = dump(value).rstrip("\n").split("\n")
    written = "".join((" " * column + line if line else "") + ending for line in lines)
    return text[:place] + lead + written + text[place:]


def _is_block_member(document: Document, path: Path) -> bool:
    parent = document.node(path[:-1])
    return bool(path) and parent is not None and parent.id == "mapping" and not parent.flow_style


def _filled(document: Document, path: Path, value: Data) -> str:
    """Write a collection in block style below the name that had nothing, `{}` or `[]`."""
    text, ending = document.text, "\r\n" if "\r\n" in document.text else "\n"
    node, parent = document.node(path), document.node(path[:-1])
    if node is None or parent is None:
        raise EditError("there is nothing to replace")
    column = next(key for key, _ in parent.value if key.value == path[-1]).start_mark.column
    column += 2 if isinstance(value, dict) else 0
    written = "".join(ending + " " * column + line for line in dump(value).rstrip("\n").split("\n"))
    start, end = node.start_mark.index, node.end_mark.index
    if start == end:
        start = end = text.rindex(":", 0, start) + 1 if ":" not in text[start - 1 : start] else start
    rest = re.match(r"[^\r\n]*", text[end:])
    behind = rest[0] if rest else ""
    return text[:start].rstrip(" ") + behind.rstrip(" ") + written + text[end + len(behind) :]


def _end(node: "Node") -> int:
    """Give where the last scalar or bracket of a node ends; the node's own mark lies behind comments."""
    while node.id != "scalar" and not node.flow_style and node.value:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    return int(node.end_mark.index)


def _scalar(value: str, quote: str | None) -> str:
    if quote == "'" and "\n" not in value:
        return "'" + value.replace("'", "''") + "'"
    if quote == '"':
        return json.dumps(value, ensure_ascii=False)
    written = dump([value])[2:].rstrip("\n")
    return json.dumps(value, ensure_ascii=False) if "\n" in written else written
