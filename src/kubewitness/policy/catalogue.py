"""
What the user's API servers know: the built-in resources of one Kubernetes version, and the user's custom resources.

    catalogue = Catalogue("1.34", custom_resources(documents))
    catalogue.find("example.com", "widgets")

`documents` are decoded YAML: CustomResourceDefinitions, Lists of them, and anything else, which is left alone.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from kubewitness.policy import builtin
from kubewitness.policy.builtin import Resource


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The resources that a policy may name. Of groups that are nowhere in it nothing is known."""

    server_version: str
    custom: tuple[Resource, ...] = ()
    _by_name: dict[tuple[str, str], Resource] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the custom resources."""
        object.__setattr__(self, "_by_name", {(r.group, r.name): r for r in self.custom})

    def find(self, group: str, name: str) -> Resource | None:
        """Give the resource of this plural name in this group, built-in (of any version) or custom."""
        return builtin.find(group, name) or self._by_name.get((group, name))

    def is_complete(self, group: str) -> bool:
        """Say whether every resource of the group is known: only of built-in groups."""
        return group in builtin.GROUPS

    def is_known(self, group: str) -> bool:
        """Say whether any resource of the group is known."""
        return group in builtin.GROUPS or any(resource.group == group for resource in self.custom)

    def can_exist(self, group: str) -> bool:
        """Say whether a cluster can have this group: names without a dot are kept for Kubernetes's own."""
        return "." in group or group in ("*", *builtin.GONE_GROUPS) or self.is_known(group)

    def names(self, group: str) -> list[str]:
        """Give the plural names of a group that this version serves."""
        known = (r for r in (*builtin.RESOURCES, *self.custom) if r.versions.has(self.server_version))
        return [r.name for r in known if r.group == group]

    def by_any_name(self, word: str) -> tuple[Resource, ...]:
        """Give the resources that people mean by a word: plural, singular, kind or short name, whatever its case."""
        wanted = word.lower()
        mine = (r for r in self.custom if wanted in (r.name, r.singular, *r.short_names))
        return (*builtin.by_any_name(word), *mine)


def custom_resources(documents: Iterable[object]) -> Iterator[Resource]:
    """Give the resources that these documents define; what is no CustomResourceDefinition is passed over."""
    for document in documents:
        if not isinstance(document, Mapping):
            continue
        if document.get("kind") == "CustomResourceDefinition":
            found = _resource(document.get("spec"))
            if found is not None:
                yield found
        elif isinstance(document.get("items"), list):
            yield from custom_resources(document["items"])


def _resource(spec: object) -> Resource | None:
    if not isinstance(spec, Mapping) or not isinstance(spec.get("names"), Mapping):
        return None
    names, group = spec["names"], spec.get("group")
    plural, kind = names.get("plural"), names.get("kind")
    if not (isinstance(group, str) and isinstance(plural, str)):
        return None
    singular = names.get("singular") or (kind.lower() if isinstance(kind, str) else plural)
    short_names = tuple(name for name in _items(names.get("shortNames")) if isinstance(name, str))
    parts = [spec, *(version for version in _items(spec.get("versions")) if isinstance(version, Mapping))]
    found = {
        str(name) for part in parts if isinstance(part.get("subresources"), Mapping) for name in part["subresources"]
    }
    return Resource(group, plural, str(singular), spec.get("scope") != "Cluster", tuple(sorted(found)), short_names)


def _items(value: object) -> list[object]:
    return value if isinstance(value, list) else []
