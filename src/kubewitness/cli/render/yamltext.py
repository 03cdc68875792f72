"""
Write one value as YAML in ASCII, members in the order given, numbers as the log wrote them.

PyYAML is imported at the first call; its C emitter is used except where a value holds an unpaired surrogate,
which only the Python emitter can escape.
"""

import functools
from typing import Any, Self

from kubewitness.cli.render.values import plain


class NumberText(float):
    """A number that keeps the text it was read from: 1e999 and 1.10 come out as they went in."""

    text: str

    def __new__(cls, text: str) -> Self:
        """Read a number, keeping its text."""
        number = super().__new__(cls, text)
        number.text = text
        return number


def yaml_text(value: object) -> str:
    """Write `value` as block YAML that shows the same on any terminal."""
    fast, sure = _dumpers()
    try:
        return _dump(value, fast)
    except UnicodeEncodeError:
        return _dump(value, sure)


def _dump(value: object, dumper: Any) -> str:
    import yaml

    return str(
        yaml.dump(
            plain(value), Dumper=dumper, allow_unicode=False, sort_keys=False, default_flow_style=False, width=120
        )
    )


@functools.cache
def _dumpers() -> tuple[Any, Any]:
    import yaml

    def number(dumper: Any, value: NumberText) -> Any:
        return dumper.represent_scalar("tag:yaml.org,2002:float", value.text)

    dumpers = []
    for base in (getattr(yaml, "CSafeDumper", yaml.SafeDumper), yaml.SafeDumper):
        dumper = type("Dumper", (base,), {})
        dumper.add_representer(NumberText, number)  # type: ignore[attr-defined]
        dumpers.append(dumper)
    return dumpers[0], dumpers[1]
