"""
Make one edit of a policy's text: a word, an item or a rule, and nothing around it.

Block style (lines and dashes) and flow style (brackets) are each kept; comments stay, and those right above a rule go
with it when it is moved or removed.
"""

import re
from collections.abc import Callable

import yaml

from kubewitness.policy.findings import Content, Do, Edit, Path
from kubewitness.policy.repair.spans import NoPlaceError, Text
from kubewitness.policy.repair.write import block_item, block_member, flow, scalar

_COMMA_AFTER = re.compile(r"\s*,[ \t]*")
_COMMA_BEFORE = re.compile(r",\s*$")


def apply(text: str, edit: Edit) -> str:
    """Give the text with one edit made. Raises NoPlaceError."""
    return _WAYS[edit.do](Text(text), edit)


def _put(text: str, start: int, end: int, new: str) -> str:
    return text[:start] + new + text[end:]


def _replace(text: Text, edit: Edit) -> str:
    node = text.node(edit.path)
    if not isinstance(node, yaml.ScalarNode):
        raise NoPlaceError("no single value stands there")
    return _put(text.text, node.start_mark.index, node.end_mark.index, scalar(edit.content, node))


def _rename(text: Text, edit: Edit) -> str:
    key = text.key(edit.path)
    return _put(text.text, key.start_mark.index, key.end_mark.index, scalar(edit.content, key))


def _remove(text: Text, edit: Edit) -> str:
    path = edit.path
    parent = text.collection(path[:-1])
    if isinstance(path[-1], str):
        return _remove_member(text, parent, path)
    if len(parent.value) == 1:
        # the last item of an entry's resources goes with its entry
        if len(path) >= 4 and path[-2] in ("resources", "resourceNames") and isinstance(path[-3], int):
            return _remove(text, Edit(Do.REMOVE, path[:-2]))
        raise NoPlaceError("it is the only item of its list")
    text.node(path)
    if parent.flow_style:
        return _remove_from_flow(
            text.text, [(item.start_mark.index, item.end_mark.index) for item in parent.value], path[-1]
        )
    span = text.item_lines(parent, path[-1], with_comments=path[:-1] == ("rules",))
    return _put(text.text, span.start, span.end, "")


def _remove_from_flow(text: str, places: list[tuple[int, int]], position: int) -> str:
    start, end = places[position]
    after = _COMMA_AFTER.match(text, end)
    if after is not None and position < len(places) - 1:
        return _put(text, start, after.end(), "")
    before = _COMMA_BEFORE.search(text, 0, start)
    if before is not None and position > 0:
        return _put(text, before.start(), end, "")
    if len(places) == 1:
        return _put(text, start, end, "")
    raise NoPlaceError("a comment stands between the items")


def _remove_member(text: Text, parent: yaml.Node, path: Path) -> str:
    if not isinstance(parent, yaml.MappingNode):
        raise NoPlaceError("it is no member there")
    names = [key.value for key, _ in parent.value]
    if names.count(path[-1]) != 1:
        raise NoPlaceError(f"{path[-1]} is not written there, or twice")
    position = names.index(path[-1])
    key, value = parent.value[position]
    text.node(path)
    if parent.flow_style:
        places = [(k.start_mark.index, v.end_mark.index) for k, v in parent.value]
        return _remove_from_flow(text.text, places, position)
    start = text.line_start(key.start_mark.index)
    end = text.after_line(text.end(value))
    if not text.text[start : key.start_mark.index].strip():
        return _put(text.text, start, end, "")
    if position + 1 == len(parent.value):
        raise NoPlaceError("it is the only member")
    # it stands behind a dash: the next member takes its place
    following = parent.value[position + 1][0].start_mark.index
    if text.text[end:following].strip():
        raise NoPlaceError("a comment stands before the next member")
    return _put(text.text, key.start_mark.index, following, "")


def _append(text: Text, edit: Edit) -> str:
    sequence = text.node(edit.path)
    if not isinstance(sequence, yaml.SequenceNode) or not sequence.value:
        raise NoPlaceError("there is no list to add to")
    last = sequence.value[-1]
    if sequence.flow_style:
        new = flow(edit.content) if isinstance(edit.content, dict) else scalar(edit.content, last)
        return _put(text.text, last.end_mark.index, last.end_mark.index, f", {new}")
    dash = text.dash(sequence, len(sequence.value) - 1)
    end = text.after_line(text.end(last))
    return _lines(text, end, _item(text, edit.content, text.indent(dash), last))


def _item(text: Text, content: Content, indent: int, like: yaml.Node) -> str:
    if isinstance(content, dict):
        return block_item(content, indent, text.newline, text.offset)
    return f"{' ' * indent}- {scalar(content, like)}{text.newline}"


def _lines(text: Text, index: int, lines: str) -> str:
    """Put whole lines at the begin of a line; the last line of the file may have no end."""
    before = text.newline if index and not text.text[:index].endswith("\n") else ""
    return _put(text.text, index, index, before + lines)


def _insert(text: Text, edit: Edit) -> str:
    *path, position = edit.path
    sequence = text.collection(tuple(path))
    item = text.node(edit.path)
    if not isinstance(position, int):
        raise NoPlaceError("it is no item of a list")
    if sequence.flow_style:
        return _put(text.text, item.start_mark.index, item.start_mark.index, f"{flow(edit.content)}, ")
    dash = text.dash(sequence, position)
    span = text.item_lines(sequence, position, with_comments=True)
    return _lines(text, span.start, _item(text, edit.content, text.indent(dash), item))


def _move(text: Text, edit: Edit) -> str:
    rules, to = text.collection(("rules",)), edit.content
    position = edit.path[-1]
    if not isinstance(position, int) or not isinstance(to, int):
        raise NoPlaceError("only rules are moved")
    text.node(edit.path)
    if rules.flow_style:
        item = rules.value[position]
        moved = text.text[item.start_mark.index : item.end_mark.index]
        places = [(one.start_mark.index, one.end_mark.index) for one in rules.value]
        rest = Text(_remove_from_flow(text.text, places, position))
        left = rest.node(("rules",)).value
        if to < 0:
            end = left[-1].end_mark.index
            return _put(rest.text, end, end, f", {moved}")
        start = left[to].start_mark.index
        return _put(rest.text, start, start, f"{moved}, ")
    span = text.item_lines(rules, position, with_comments=True)
    moved = text.text[span.start : span.end]
    if not moved.endswith("\n"):
        moved += text.newline
    if to < 0:
        end = text.item_lines(rules, len(rules.value) - 1, with_comments=False).end
        whole = _lines(text, end, moved)
        return _put(whole, span.start, span.end, "")
    start = text.item_lines(rules, to, with_comments=True).start
    rest_text = _put(text.text, span.start, span.end, "")
    return _put(rest_text, start, start, moved)


def _member(text: Text, edit: Edit) -> str:
    mapping = text.node(edit.path) if edit.path else text.root
    if not isinstance(mapping, yaml.MappingNode) or not mapping.value:
        raise NoPlaceError("there is nothing to add to")
    key, value = mapping.value[-1]
    if mapping.flow_style:
        name = f'"{edit.name}"' if text.text[key.start_mark.index] == '"' else edit.name
        return _put(text.text, value.end_mark.index, value.end_mark.index, f", {name}: {flow(edit.content, edit.name)}")
    indent = mapping.start_mark.column
    lines = block_member(edit.name, edit.content, indent, text.newline, text.offset)
    rules = next((k for k, _ in mapping.value if k.value == "rules"), None)
    if not edit.path and rules is not None:
        start = text.line_start(rules.start_mark.index)
        return _lines(text, text.above(start, indent), lines)
    return _lines(text, text.after_line(text.end(value)), lines)


_WAYS: dict[Do, Callable[[Text, Edit], str]] = {
    Do.REPLACE: _replace,
    Do.RENAME: _rename,
    Do.REMOVE: _remove,
    Do.APPEND: _append,
    Do.INSERT: _insert,
    Do.MOVE: _move,
    Do.MEMBER: _member,
}
