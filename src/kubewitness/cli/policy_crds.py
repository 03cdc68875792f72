"""Read CustomResourceDefinitions from files and folders, for the catalogue of `policy check`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kubewitness.cli.errors import UserError

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
            found |= dict.fromkeys(custom_resources(_documents(file)))
        if len(found) == before:
            raise UserError(f"{path}: no CustomResourceDefinition is in there")
    return tuple(found)


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    yield from sorted(file for file in path.rglob("*") if file.suffix in _ENDINGS and file.is_file())


def _documents(path: Path) -> Iterator[object]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        yield from yaml.load_all(path.read_bytes(), Loader=loader)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: no YAML or JSON: {line}") from error
