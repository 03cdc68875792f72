"""
Nodes to values: aliases followed, merge keys applied, repeated keys counted, keys made text, members sorted.

This is what gopkg.in/yaml.v2 and sigs.k8s.io/yaml do between the text and encoding/json: the last of repeated keys
stays and a line of complaint is kept for the strict reading; a merge key applies where it stands, so it
overwrites what came before; expansion of aliases is bounded as there.
"""

import struct
from collections.abc import Generator
from dataclasses import dataclass, field

from kubewitness.policy import gotext
from kubewitness.policy.tree import START, GoError, Kind, Mark, Member, Value
from kubewitness.policy.yaml11.parser import Node, NodeKind, Parser
from kubewitness.policy.yaml11.resolve import MERGE_TAG, Scalar, resolve
from kubewitness.policy.yaml11.scanner import Scanner
from kubewitness.policy.yaml11.source import read

_UINT64_FROM = 1 << 63
# how much of the decoding may come from aliases: nearly all of a small document, a tenth of a large one
_RATIO_LOW, _RATIO_HIGH = 400_000, 4_000_000


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded document: the value with members sorted by name, and what a strict reading complains of."""

    value: Value
    complaints: tuple[str, ...] = ()
    repeated: tuple[tuple[Mark, str], ...] = ()
    next_document: Mark | None = None


@dataclass(slots=True)
class _Map:
    """A mapping under construction: keys are told apart by type, as in Go (1 is not "1")."""

    mark: Mark
    entries: "dict[tuple[str, object], tuple[Scalar, Mark, _Any]]" = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A scalar and its place."""

    value: Scalar
    mark: Mark


@dataclass(slots=True)
class _List:
    """A sequence and its place."""

    mark: Mark
    items: "list[_Any]" = field(default_factory=list)


_Any = _Map | _List | _Leaf
_Step = Generator["tuple[Node, _Map | None]", _Any, _Any]


def decode(data: bytes) -> Decoded:
    """Decode the first document of a YAML stream. Raises GoError with Go's sentence."""
    parser = Parser(Scanner(read(data or b"\n")))
    root = parser.document()
    if root is None:
        return Decoded(Value(Kind.NULL, START, "null"))
    decoder = _Decoder()
    tree = decoder.run(root)
    return Decoded(_Converter().run(tree), tuple(decoder.complaints), tuple(decoder.repeated), parser.next_document)


class _Decoder:
    """Walks the nodes; each step is a generator, so that nesting costs no recursion."""

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self.repeated: list[tuple[Mark, str]] = []
        self._following: set[Node] = set()
        self._count = 0
        self._alias_count = 0

    def run(self, root: Node) -> _Any:
        """Decode everything below this node."""
        steps = [self._step(root, None)]
        result: _Any | None = None
        while steps:
            try:
                wanted = steps[-1].send(result) if result is not None else next(steps[-1])
            except StopIteration as stop:
                steps.pop()
                result = stop.value
            else:
                steps.append(self._step(*wanted))
                result = None
        assert result is not None  # noqa: S101  the root's step has ended
        return result

    def _step(self, node: Node, into: _Map | None) -> _Step:
        self._count += 1
        if self._following:
            self._alias_count += 1
        if self._alias_count > 100 and self._count > 1000 and self._alias_count / self._count > self._allowed():
            raise GoError("yaml: document contains excessive aliasing")
        mark = Mark(node.line + 1, node.column + 1)
        if node.kind is NodeKind.ALIAS:
            return self._alias(node, into)
        if node.kind is NodeKind.SEQUENCE:
            return self._sequence(node, mark)
        if node.kind is NodeKind.MAPPING:
            return self._mapping(node, into if into is not None else _Map(mark))
        return self._scalar(node, mark)

    def _allowed(self) -> float:
        if self._count <= _RATIO_LOW:
            return 0.99
        if self._count >= _RATIO_HIGH:
            return 0.10
        return 0.99 - 0.89 * ((self._count - _RATIO_LOW) / (_RATIO_HIGH - _RATIO_LOW))

    def _alias(self, node: Node, into: _Map | None) -> _Step:
        if node in self._following:
            raise GoError(f"yaml: anchor '{node.value}' value contains itself", Mark(node.line + 1, node.column + 1))
        assert node.target is not None  # noqa: S101  the parser refuses unknown anchors
        self._following.add(node)
        value = yield node.target, into
        self._following.discard(node)
        return value

    @staticmethod
    def _scalar(node: Node, mark: Mark) -> _Step:
        yield from ()
        if not node.tag and not node.is_implicit:
            return _Leaf(node.value, mark)
        try:
            return _Leaf(resolve(node.tag, node.value), mark)
        except GoError as error:
            raise GoError(str(error), mark) from None

    @staticmethod
    def _sequence(node: Node, mark: Mark) -> _Step:
        result = _List(mark)
        for child in node.children:
            result.items.append((yield child, None))
        return result

    def _mapping(self, node: Node, result: _Map) -> _Step:
        for key_node, value_node in zip(node.children[::2], node.children[1::2], strict=True):
            if self._is_merge(key_node):
                for source in self._merge_sources(value_node):
                    yield source, result
                continue
            key = yield key_node, None
            if not isinstance(key, _Leaf):
                raise GoError(f"yaml: invalid map key: {_go_syntax(key)}", key.mark)
            value = yield value_node, None
            identity = (_go_type(key.value), key.value)
            if identity in result.entries:
                self.complaints.append(f"line {value_node.line + 1}: key {_go_scalar(key.value)} already set in map")
                self.repeated.append((key.mark, str(key.value)))
            result.entries[identity] = (key.value, key.mark, value)
        return result

    @staticmethod
    def _is_merge(node: Node) -> bool:
        return node.kind is NodeKind.SCALAR and node.value == "<<" and (node.is_implicit or node.tag == MERGE_TAG)

    @staticmethod
    def _merge_sources(node: Node) -> list[Node]:
        """Give what to merge, the one that takes precedence last."""
        sources = list(reversed(node.children)) if node.kind is NodeKind.SEQUENCE else [node]
        for source in sources:
            target = source.target if source.kind is NodeKind.ALIAS else source
            if target is None or target.kind is not NodeKind.MAPPING:
                raise GoError(
                    "yaml: map merge requires map or sequence of maps as the value",
                    Mark(source.line + 1, source.column + 1),
                )
        return sources


class _Converter:
    """Turns the maps into objects with text names, sorted by their bytes; refuses what JSON cannot hold."""

    def run(self, root: _Any) -> Value:
        """Convert everything, bottom up."""
        bad_key: GoError | None = None
        bad_number: GoError | None = None
        result = Value(Kind.NULL, root.mark)
        todo: list[tuple[_Any, Value]] = [(root, result)]
        while todo:
            source, target = todo.pop()
            if isinstance(source, _List):
                target.kind = Kind.ARRAY
                for item in source.items:
                    target.items.append(Value(Kind.NULL, item.mark))
                todo.extend(reversed(list(zip(source.items, target.items, strict=True))))
            elif isinstance(source, _Map):
                target.kind = Kind.OBJECT
                try:
                    todo.extend(reversed(self._members(source, target)))
                except GoError as error:
                    bad_key = bad_key or error
            else:
                try:
                    self._scalar(source.value, target)
                except GoError as error:
                    bad_number = bad_number or error
        if bad_key or bad_number:
            raise bad_key or bad_number or AssertionError
        return result

    @staticmethod
    def _members(source: _Map, target: Value) -> "list[tuple[_Any, Value]]":
        by_name: dict[str, tuple[Mark, _Any]] = {}
        for key, mark, value in source.entries.values():
            by_name[_key_text(key, value, mark)] = (mark, value)
        children: list[tuple[_Any, Value]] = []
        for name in sorted(by_name, key=lambda name: name.encode("utf-8", "surrogatepass")):
            mark, value = by_name[name]
            child = Value(Kind.NULL, value.mark)
            target.members.append(Member(name, mark, child))
            children.append((value, child))
        return children

    @staticmethod
    def _scalar(value: Scalar, target: Value) -> None:
        if value is None:
            target.text = "null"
        elif isinstance(value, bool):
            target.kind, target.text = Kind.BOOL, "true" if value else "false"
        elif isinstance(value, int):
            target.kind, target.text = Kind.NUMBER, str(value)
        elif isinstance(value, float):
            if value in (float("inf"), float("-inf")) or value != value:
                raise GoError(f"json: unsupported value: {gotext.general_float(value)}", target.mark)
            target.kind, target.text = Kind.NUMBER, gotext.json_float(value)
        else:
            # bytes of !!binary that are no UTF-8
            target.kind = Kind.STRING
            target.text = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _key_text(key: Scalar, value: _Any, mark: Mark) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, str):
        return key
    if isinstance(key, int) and key < _UINT64_FROM:
        return str(key)
    if isinstance(key, float):
        return {"+Inf": ".inf", "-Inf": "-.inf", "NaN": ".nan"}.get(_float32(key), _float32(key))
    kind = "%!s(<nil>)" if key is None else "uint64"
    raise GoError(f"unsupported map key of type: {kind}, key: {_go_scalar(key)}, value: {_go_syntax(value)}", mark)


def _float32(number: float) -> str:
    """Write a float as `strconv.FormatFloat(f, 'g', -1, 32)`."""
    if number != number or number in (float("inf"), float("-inf")):
        return gotext.general_float(number)
    try:
        narrow = struct.unpack("f", struct.pack("f", number))[0]
    except OverflowError:
        return "+Inf" if number > 0 else "-Inf"
    for digits in range(1, 10):
        shortest = float(f"{narrow:.{digits}g}")
        if struct.unpack("f", struct.pack("f", shortest))[0] == narrow:
            return gotext.general_float(shortest)
    return gotext.general_float(narrow)


def _go_type(value: Scalar) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return "int" if value < _UINT64_FROM else "uint64"
    return type(value).__name__


def _go_scalar(value: Scalar) -> str:
    """Write a scalar as `%#v`."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return gotext.quote(value)
    if isinstance(value, float):
        return gotext.general_float(value)
    return str(value) if value < _UINT64_FROM else hex(value)


def _go_syntax(root: _Any) -> str:
    """Write a value as `%#v`: map[interface {}]interface {}{"a":1}."""
    parts: list[str] = []
    todo: list[_Any | str] = [root]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            parts.append(item)
        elif isinstance(item, _Leaf):
            parts.append("interface {}(nil)" if item.value is None and item is not root else _go_scalar(item.value))
        elif isinstance(item, _List):
            parts.append("[]interface {}{")
            todo.append("}")
            for position, child in reversed(list(enumerate(item.items))):
                todo.append(child)
                todo.append(", " if position else "")
        else:
            parts.append("map[interface {}]interface {}{")
            todo.append("}")
            for position, (key, _, child) in reversed(list(enumerate(item.entries.values()))):
                todo.append(child)
                todo.append((", " if position else "") + _go_scalar(key) + ":")
    return "".join(parts)
