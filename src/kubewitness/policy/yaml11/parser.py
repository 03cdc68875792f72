"""
Tokens to the nodes of the first document of a YAML stream.

A state machine over an explicit stack, so that nesting costs no recursion. What follows the first document is
never looked at. Parser errors name the line before the problem, as gopkg.in/yaml.v2 does.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

from kubewitness.policy.tree import GoError, Mark
from kubewitness.policy.yaml11.scanner import Scanner, T, Token

_CORE_TAGS = "tag:yaml.org,2002:"
_NO_CONTENT = (T.VERSION, T.TAG_DIRECTIVE, T.DOCUMENT_START, T.DOCUMENT_END, T.STREAM_END)


class NodeKind(enum.Enum):
    """What a node is."""

    SCALAR = enum.auto()
    SEQUENCE = enum.auto()
    MAPPING = enum.auto()
    ALIAS = enum.auto()


@dataclass(slots=True, eq=False)
class Node:
    """One node. `children` of a mapping are keys and values in turn; `target` is what an alias stands for."""

    kind: NodeKind
    line: int
    column: int
    value: str = ""
    tag: str = ""
    is_implicit: bool = False
    children: "list[Node]" = field(default_factory=list)
    target: "Node | None" = None


@dataclass(slots=True)
class _Open:
    """A collection that is being read. `then` is the state after the next node; `mark` the line it began at."""

    node: Node
    then: "Callable[[_Open], bool]"
    mark: int


class Parser:
    """Reads one document: `document()` gives its root, or None for an empty stream, and sets `next_document`."""

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner
        self._handles: dict[str, str] = {}
        self._anchors: dict[str, Node] = {}
        self._stack: list[_Open] = []
        self.next_document: Mark | None = None

    def document(self) -> Node | None:
        """Parse the first document up to its end."""
        token = self._scanner.peek()
        if token.kind is T.STREAM_END:
            return None
        is_explicit = token.kind in (T.VERSION, T.TAG_DIRECTIVE, T.DOCUMENT_START)
        self._directives()
        if is_explicit:
            token = self._scanner.peek()
            if token.kind is not T.DOCUMENT_START:
                self._fail("did not find expected <document start>", token)
            self._scanner.take()
        token = self._scanner.peek()
        root = self._empty(token) if is_explicit and token.kind in _NO_CONTENT else self._tree()
        # the end of the document is only known by what follows it
        token = self._scanner.peek()
        if token.kind in (T.VERSION, T.TAG_DIRECTIVE, T.DOCUMENT_START):
            self.next_document = Mark(token.line + 1, token.column + 1)
        return root

    def _tree(self) -> Node:
        """Parse one node and everything below it."""
        root = self._node(is_block=True)
        while self._stack:
            top = self._stack[-1]
            if not top.then(top):
                self._stack.pop()
        return root

    def _directives(self) -> None:
        is_versioned = False
        while (token := self._scanner.peek()).kind in (T.VERSION, T.TAG_DIRECTIVE):
            if token.kind is T.VERSION:
                if is_versioned:
                    self._fail("found duplicate %YAML directive", token)
                if token.value != "1.1":
                    self._fail("found incompatible YAML document", token)
                is_versioned = True
            elif token.value in self._handles:
                self._fail("found duplicate %TAG directive", token)
            else:
                self._handles[token.value] = token.extra
            self._scanner.take()
        self._handles.setdefault("!", "!")
        self._handles.setdefault("!!", _CORE_TAGS)

    # one node

    def _node(self, *, is_block: bool, is_indentless_allowed: bool = False) -> Node:
        """Parse what starts here: a scalar or alias whole, of a collection the beginning."""
        token = self._scanner.peek()
        if token.kind is T.ALIAS:
            return self._alias(self._scanner.take())
        start = token
        anchor: str | None = None
        tag_token: Token | None = None
        for _ in range(2):
            token = self._scanner.peek()
            if token.kind is T.ANCHOR and anchor is None:
                anchor = self._scanner.take().value
            elif token.kind is T.TAG and tag_token is None:
                tag_token = self._scanner.take()
            else:
                break
        tag = self._resolve_tag(tag_token, start) if tag_token else ""
        token = self._scanner.peek()
        node = self._content(token, start, tag, is_block, is_indentless_allowed)
        if node is None:
            if anchor is None and tag_token is None:
                self._fail("did not find expected node content", token, start.line)
            # only a tag or an anchor: an empty scalar
            node = Node(NodeKind.SCALAR, start.line, start.column, "", tag, is_implicit=not tag)
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _alias(self, token: Token) -> Node:
        target = self._anchors.get(token.value)
        if target is None:
            raise GoError(f"yaml: unknown anchor '{token.value}' referenced", Mark(token.line + 1, token.column + 1))
        return Node(NodeKind.ALIAS, token.line, token.column, token.value, target=target)

    def _resolve_tag(self, token: Token, start: Token) -> str:
        if not token.value:
            return token.extra
        tag = self._handles[token.value] + token.extra if token.value in self._handles else ""
        if not tag:
            self._fail("found undefined tag handle", token, start.line)
        return tag

    def _content(
        self, token: Token, start: Token, tag: str, is_block: bool, is_indentless_allowed: bool
    ) -> Node | None:
        if token.kind is T.SCALAR:
            self._scanner.take()
            is_implicit = tag == "!" or (token.is_plain and not tag)
            return Node(NodeKind.SCALAR, start.line, start.column, token.value, tag, is_implicit)
        if token.kind is T.BLOCK_ENTRY and is_indentless_allowed:
            return self._open(NodeKind.SEQUENCE, start, tag, self._indentless_entry, token.line)
        states: dict[T, tuple[NodeKind, Callable[[_Open], bool]]] = {
            T.FLOW_SEQUENCE: (NodeKind.SEQUENCE, self._flow_sequence_first),
            T.FLOW_MAPPING: (NodeKind.MAPPING, self._flow_mapping_first),
        }
        if is_block:
            states[T.BLOCK_SEQUENCE] = (NodeKind.SEQUENCE, self._block_entry)
            states[T.BLOCK_MAPPING] = (NodeKind.MAPPING, self._block_key)
        if token.kind not in states:
            return None
        kind, then = states[token.kind]
        self._scanner.take()
        return self._open(kind, start, tag, then, token.line)

    def _open(self, kind: NodeKind, start: Token, tag: str, then: Callable[[_Open], bool], mark: int) -> Node:
        node = Node(kind, start.line, start.column, "", tag)
        self._stack.append(_Open(node, then, mark))
        return node

    @staticmethod
    def _empty(token: Token, width: int = 0) -> Node:
        """Make the empty scalar that stands at a token, or after it."""
        return Node(NodeKind.SCALAR, token.line, token.column + width, "", "", is_implicit=True)

    # block collections: each state reads one step and says whether the collection goes on

    def _block_entry(self, top: _Open) -> bool:
        token = self._scanner.take() if self._scanner.peek().kind is T.BLOCK_ENTRY else None
        if token is None:
            return self._block_end(top, "did not find expected '-' indicator")
        following = self._scanner.peek()
        if following.kind in (T.BLOCK_ENTRY, T.BLOCK_END):
            top.node.children.append(self._empty(token, 1))
        else:
            top.node.children.append(self._node(is_block=True))
        return True

    def _indentless_entry(self, top: _Open) -> bool:
        if self._scanner.peek().kind is not T.BLOCK_ENTRY:
            return False
        token = self._scanner.take()
        following = self._scanner.peek()
        if following.kind in (T.BLOCK_ENTRY, T.KEY, T.VALUE, T.BLOCK_END):
            top.node.children.append(self._empty(token, 1))
        else:
            top.node.children.append(self._node(is_block=True))
        return True

    def _block_key(self, top: _Open) -> bool:
        token = self._scanner.peek()
        if token.kind is T.KEY:
            self._scanner.take()
            top.then = self._block_value
            self._block_part(top, token, (T.KEY, T.VALUE, T.BLOCK_END))
            return True
        return self._block_end(top, "did not find expected key")

    def _block_value(self, top: _Open) -> bool:
        top.then = self._block_key
        token = self._scanner.peek()
        if token.kind is T.VALUE:
            self._scanner.take()
            self._block_part(top, token, (T.KEY, T.VALUE, T.BLOCK_END))
        else:
            top.node.children.append(self._empty(token))
        return True

    def _block_part(self, top: _Open, token: Token, empty_before: tuple[T, ...]) -> None:
        if self._scanner.peek().kind in empty_before:
            top.node.children.append(self._empty(token, 1))
        else:
            top.node.children.append(self._node(is_block=True, is_indentless_allowed=True))

    def _block_end(self, top: _Open, problem: str) -> bool:
        token = self._scanner.peek()
        if token.kind is not T.BLOCK_END:
            self._fail(problem, token, top.mark)
        self._scanner.take()
        return False

    # flow collections

    def _flow_sequence_first(self, top: _Open) -> bool:
        return self._flow_sequence(top, is_first=True)

    def _flow_sequence_next(self, top: _Open) -> bool:
        return self._flow_sequence(top, is_first=False)

    def _flow_sequence(self, top: _Open, *, is_first: bool) -> bool:
        top.then = self._flow_sequence_next
        if self._scanner.peek().kind is not T.FLOW_SEQUENCE_END:
            if not is_first:
                self._comma(top, "did not find expected ',' or ']'")
            token = self._scanner.peek()
            if token.kind is T.KEY:
                # `[a: b]`: a mapping of one pair
                self._scanner.take()
                pair = self._open(NodeKind.MAPPING, token, "", self._pair_key, token.line)
                top.node.children.append(pair)
                return True
            if token.kind is not T.FLOW_SEQUENCE_END:
                top.node.children.append(self._node(is_block=False))
                return True
        self._scanner.take()
        return False

    def _pair_key(self, top: _Open) -> bool:
        top.then = self._pair_value
        self._flow_part(top, (T.VALUE, T.FLOW_ENTRY, T.FLOW_SEQUENCE_END))
        return True

    def _pair_value(self, top: _Open) -> bool:
        top.then = self._pair_end
        if self._scanner.peek().kind is T.VALUE:
            self._scanner.take()
            self._flow_part(top, (T.FLOW_ENTRY, T.FLOW_SEQUENCE_END))
        else:
            top.node.children.append(self._empty(self._scanner.peek()))
        return True

    @staticmethod
    def _pair_end(_top: _Open) -> bool:
        return False

    def _flow_mapping_first(self, top: _Open) -> bool:
        return self._flow_mapping(top, is_first=True)

    def _flow_mapping_next(self, top: _Open) -> bool:
        return self._flow_mapping(top, is_first=False)

    def _flow_mapping(self, top: _Open, *, is_first: bool) -> bool:
        if self._scanner.peek().kind is not T.FLOW_MAPPING_END:
            if not is_first:
                self._comma(top, "did not find expected ',' or '}'")
            token = self._scanner.peek()
            if token.kind is T.KEY:
                self._scanner.take()
                top.then = self._flow_value
                self._flow_part(top, (T.VALUE, T.FLOW_ENTRY, T.FLOW_MAPPING_END))
                return True
            if token.kind is not T.FLOW_MAPPING_END:
                top.then = self._flow_empty_value
                top.node.children.append(self._node(is_block=False))
                return True
        self._scanner.take()
        return False

    def _flow_value(self, top: _Open) -> bool:
        top.then = self._flow_mapping_next
        if self._scanner.peek().kind is T.VALUE:
            self._scanner.take()
            self._flow_part(top, (T.FLOW_ENTRY, T.FLOW_MAPPING_END))
        else:
            top.node.children.append(self._empty(self._scanner.peek()))
        return True

    def _flow_empty_value(self, top: _Open) -> bool:
        top.then = self._flow_mapping_next
        top.node.children.append(self._empty(self._scanner.peek()))
        return True

    def _flow_part(self, top: _Open, empty_before: tuple[T, ...]) -> None:
        token = self._scanner.peek()
        if token.kind in empty_before:
            top.node.children.append(self._empty(token))
        else:
            top.node.children.append(self._node(is_block=False))

    def _comma(self, top: _Open, problem: str) -> None:
        token = self._scanner.peek()
        if token.kind is not T.FLOW_ENTRY:
            self._fail(problem, token, top.mark)
        self._scanner.take()

    @staticmethod
    def _fail(problem: str, token: Token, context_line: int = 0) -> NoReturn:
        line = token.line or context_line
        where = f"line {line}: " if line else ""
        raise GoError(f"yaml: {where}{problem}", Mark(token.line + 1, token.column + 1))
