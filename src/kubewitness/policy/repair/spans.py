"""
Where each value of a YAML or JSON text begins and ends, so that one can be changed and all the rest left as it is.

PyYAML composes the first document; its marks give the places. What it cannot read, or reads as something that stands
elsewhere (an alias, a merge), has no place of its own: `NoPlaceError`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from kubewitness.policy.findings import Path, field_path

_BLANK = re.compile(r"[ \t]*")
_REST = re.compile(r"[ \t]*(#[^\n]*)?\r?(\n|$)")


class NoPlaceError(Exception):
    """The text cannot be changed at this place; the message says why."""


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of the text."""

    start: int
    end: int


class Text:
    """A text and its nodes."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.newline = "\r\n" if "\r\n" in text else "\n"
        loader = yaml.SafeLoader(text)
        try:
            found = loader.get_node() if loader.check_node() else None
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            raise NoPlaceError(f"another YAML reader stumbles over the text: {type(error).__name__}") from error
        finally:
            loader.dispose()
        if found is None:
            raise NoPlaceError("the text is empty")
        self.root: yaml.Node = found
        self.offset = next(self._offsets(found), 2)

    def _offsets(self, node: yaml.Node) -> Iterator[int]:
        """Give how far the file indents the lists of its members, innermost first: 0 or more."""
        if isinstance(node, yaml.SequenceNode):
            for item in node.value:
                yield from self._offsets(item)
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                yield from self._offsets(value)
                if isinstance(value, yaml.SequenceNode) and not value.flow_style:
                    yield max(0, int(value.start_mark.column - key.start_mark.column))

    def node(self, path: Path) -> yaml.Node:
        """Give the node at a path. Raises NoPlaceError when it is shared, merged or not there."""
        node = self.root
        for length, step in enumerate(path, 1):
            child = self._child(node, step)
            if child is None:
                raise NoPlaceError(f"{field_path(path[:length])} is not written there")
            if not node.start_mark.index <= child.start_mark.index < node.end_mark.index:
                raise NoPlaceError(f"{field_path(path[:length])} is an alias: it is written elsewhere")
            if self.text[child.start_mark.index] in "&!":
                raise NoPlaceError(f"{field_path(path[:length])} has an anchor or a tag")
            node = child
        return node

    def collection(self, path: Path) -> yaml.CollectionNode:
        """Give the list or object at a path. Raises NoPlaceError when it is none."""
        node = self.node(path)
        if not isinstance(node, yaml.CollectionNode):
            raise NoPlaceError(f"{field_path(path)} is no list or object")
        return node

    @staticmethod
    def _child(node: yaml.Node, step: str | int) -> yaml.Node | None:
        found: yaml.Node | None = None
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            children: list[yaml.Node] = node.value
            found = children[step] if step < len(children) else None
        elif isinstance(node, yaml.MappingNode):
            found = next((value for key, value in reversed(node.value) if key.value == step), None)
        return found

    def key(self, path: Path) -> yaml.Node:
        """Give the node of a member's name."""
        parent = self.node(path[:-1])
        if isinstance(parent, yaml.MappingNode):
            names: list[yaml.Node] = [key for key, _ in parent.value if key.value == path[-1]]
            if len(names) == 1:
                return names[0]
        raise NoPlaceError(f"{field_path(path)} is not written there")

    def end(self, node: yaml.Node) -> int:
        """Give where the content of a node ends: of block collections without the space and comments after them."""
        if isinstance(node, yaml.CollectionNode) and not node.flow_style:
            if not node.value:
                return int(node.start_mark.index)
            last = node.value[-1]
            return max(self.end(part) for part in (last if isinstance(last, tuple) else (last,)))
        return len(self.text[: node.end_mark.index].rstrip()) if self._is_block_scalar(node) else node.end_mark.index

    @staticmethod
    def _is_block_scalar(node: yaml.Node) -> bool:
        return isinstance(node, yaml.ScalarNode) and node.style in ("|", ">")

    def line_start(self, index: int) -> int:
        """Give where the line of an index begins."""
        return self.text.rfind("\n", 0, index) + 1

    def after_line(self, index: int) -> int:
        """Give where the line ends on which something ends. Raises NoPlaceError when more than a comment follows."""
        rest = _REST.match(self.text, index)
        if rest is None:
            raise NoPlaceError("more stands on the same line")
        return rest.end()

    def indent(self, index: int) -> int:
        """Give the column of an index."""
        return index - self.line_start(index)

    def item_lines(self, sequence: yaml.Node, position: int, *, with_comments: bool) -> Span:
        """Give the lines of an item of a block sequence, its dash included, and the comments right above it."""
        item = sequence.value[position]
        dash = self.dash(sequence, position)
        start = self.line_start(dash)
        if self.text[start:dash].strip():
            raise NoPlaceError("the item begins in the middle of a line")
        end = self.after_line(self.end(item))
        return Span(self.above(start, self.indent(dash)) if with_comments else start, end)

    def dash(self, sequence: yaml.Node, position: int) -> int:
        """Give the dash of an item of a block sequence."""
        index = self.text.rfind("-", 0, sequence.value[position].start_mark.index)
        # between the dash and its item is space only
        if index < 0 or self.text[index + 1 : sequence.value[position].start_mark.index].strip():
            raise NoPlaceError("a comment stands between the dash and its item")
        return index

    def above(self, start: int, indent: int) -> int:
        """Give the first of the comment lines right above a line, indented as it is."""
        while start > 0:
            before = self.line_start(start - 1)
            line = self.text[before:start]
            if not line.lstrip().startswith("#") or len(line) - len(line.lstrip()) != indent:
                break
            start = before
        return start
