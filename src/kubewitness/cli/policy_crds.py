"""Read CustomResourceDefinitions from files and folders, for the catalogue of `policy check`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kubewitness.cli.errors import UserError
from kubewitness.cli.policy_files import parse_yaml, read_bytes

if TYPE_CHECKING:
    from kubewitness.policy.builtin import Resource

_ENDINGS = frozenset((".yaml", ".yml", ".json"))


def read_custom(paths: Sequence[str]) -> "tuple[Resource, ...]":
    """Give the custom resources that files, or the YAML and JSON files of folders, define. Raises UserError."""
    if not paths:
        return ()
    from kubewitness.policy.catalogue import custom_resources

    found: dict[Resource, None] = {}
    for path in paths:
        before = len(found)
        for file in _files(Path(path)):
            found |= dict.fromkeys(custom_resources(_documents(str(file))))
        if len(found) == before:
            raise UserError(f"{path}: no CustomResourceDefinition is in there")
    return tuple(found)


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    yield from sorted(file for file in path.rglob("*") if file.suffix in _ENDINGS and file.is_file())


def _documents(path: str) -> list[object]:
    found = parse_yaml(path, read_bytes(path), has_many=True)
    return found if isinstance(found, list) else []
