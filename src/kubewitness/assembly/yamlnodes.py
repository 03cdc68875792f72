"""
Read a configuration file strictly, and say of everything that is wrong where it stands and what would be right.

YAML nodes keep their place; a `Reader` walks them with the types that are wanted. Unknown and doubled keys are errors.
"""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn, TypeVar

import yaml

T = TypeVar("T")
_UNITS = {"": 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "k": 10**3, "M": 10**6, "G": 10**9}
_SIZE = re.compile(r"([0-9]{1,15})(Ki|Mi|Gi|k|M|G)?")
_SECONDS = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|s|m)?")
MAX_BYTES = 1 << 20


class ConfigError(Exception):
    """The configuration cannot be used: in which file and line, which field, what is wrong and what would be right."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A place in a configuration: the file, the field, and its node; None where the field is not given."""

    file: str
    field: str
    node: yaml.Node | None
    parent: yaml.Node | None = None

    @classmethod
    def of(cls, file: str, text: str) -> "Reader":
        """Read YAML. Raises ConfigError."""
        if len(text) > MAX_BYTES:
            raise ConfigError(f"{file}: more than {MAX_BYTES} characters are no configuration")
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as exc:
            line = f":{exc.problem_mark.line + 1}" if exc.problem_mark else ""
            raise ConfigError(f"{file}{line}: not YAML: {exc.problem}") from exc
        except yaml.YAMLError as exc:
            raise ConfigError(f"{file}: not YAML: {exc}") from exc
        except RecursionError as exc:
            raise ConfigError(f"{file}: nested too deep") from exc
        if node is None:
            raise ConfigError(f"{file}: it is empty")
        return cls(file, "", node)

    def fail(self, why: str) -> NoReturn:
        """Raise ConfigError about this place."""
        node = self.node or self.parent
        line = f":{node.start_mark.line + 1}" if node is not None and node.start_mark else ""
        raise ConfigError(f"{self.file}{line}: {self.field}{': ' if self.field else ''}{why}")

    @property
    def is_given(self) -> bool:
        """Whether the field is there and not null."""
        return self.node is not None and self.node.tag != "tag:yaml.org,2002:null"

    def fields(self, *names: str) -> dict[str, "Reader"]:
        """Open a mapping with these fields, of which any may be missing. Raises ConfigError."""
        found: dict[str, Reader] = {}
        if self.is_given:
            if not isinstance(self.node, yaml.MappingNode):
                self.fail(f"fields are wanted here: {', '.join(names)}")
            for key, value in self.node.value:
                name = key.value if isinstance(key, yaml.ScalarNode) else "?"
                place = Reader(self.file, self._path(name), value, key)
                if name not in names:
                    near = difflib.get_close_matches(name, names, n=1)
                    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(names)}"
                    Reader(self.file, self._path(name), key).fail(f"there is no such field; {hint}")
                if name in found:
                    Reader(self.file, self._path(name), key).fail("given twice")
                found[name] = place
        return {name: found.get(name) or Reader(self.file, self._path(name), None, self.node) for name in names}

    def items(self) -> list["Reader"]:
        """Open a list; a single value is a list of one; nothing is an empty list."""
        if not self.is_given:
            return []
        if isinstance(self.node, yaml.SequenceNode):
            return [Reader(self.file, f"{self.field}[{number}]", node) for number, node in enumerate(self.node.value)]
        return [self]

    def text(self, default: str | None = None) -> str:
        """Give a string. Raises ConfigError, also when it is missing and there is no default."""
        if not self.is_given:
            if default is None:
                self.fail("it is needed")
            return default
        if not isinstance(self.node, yaml.ScalarNode):
            self.fail("a single value is wanted here")
        value = str(self.node.value)
        if not value or not value.isprintable():
            self.fail("it is empty or holds characters that cannot be printed")
        return value

    def flag(self, *, default: bool) -> bool:
        """Give true or false. Raises ConfigError."""
        return self._match({"true": True, "false": False}.get, "true or false", default)

    def size(self, default: int) -> int:
        """Give a count or a number of bytes, such as 64Mi. Raises ConfigError."""
        return self._match(_size, "a whole number, with Ki, Mi or Gi after it if need be", default)

    def seconds(self, default: float) -> float:
        """Give a duration, such as 10s. Raises ConfigError."""
        return self._match(_duration, "a duration such as 500ms, 10s or 2m", default)

    def address(self, default: tuple[str, int] | None = None) -> tuple[str, int]:
        """Give host and port, such as 127.0.0.1:9443, [::]:9443 or :9443. Raises ConfigError."""
        return self._match(parse_address, "an address such as 127.0.0.1:9443, [::1]:9443 or :9443", default)

    def _match(self, read: Callable[[str], T | None], wanted: str, default: T | None) -> T:
        if not self.is_given and default is not None:
            return default
        text = self.text()
        value = read(text)
        if value is None:
            self.fail(f"{text!r} is not {wanted}")
        return value

    def _path(self, name: str) -> str:
        return f"{self.field}.{name}" if self.field else name


def parse_address(text: str) -> tuple[str, int] | None:
    """Read host and port; the host is an IP address, all of them when it is left out. None if it is neither."""
    import ipaddress

    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        return None
    if host == "localhost":
        host = "127.0.0.1"
    try:
        ipaddress.ip_address(host or "::")
    except ValueError:
        return None
    return host or "::", int(port)


def _size(text: str) -> int | None:
    match = _SIZE.fullmatch(text)
    return None if match is None else int(match[1]) * _UNITS[match[2] or ""]


def _duration(text: str) -> float | None:
    match = _SECONDS.fullmatch(text)
    scale: Mapping[str, float] = {"ms": 0.001, "s": 1.0, "m": 60.0}
    return None if match is None else float(match[1]) * scale[match[2] or "s"]
