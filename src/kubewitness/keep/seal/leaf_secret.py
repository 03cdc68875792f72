"""
The secret of a commit: the seed from which its salts follow, or what is left of it after groups were removed.

A salt that is gone is gone from the seed too: the commit's seed gives way to the seeds of its groups, and the seed of
a group to the salts of its Events, one by one. Where the secret is kept is left to the segment.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kubewitness.keep.seal.leaf import DESTROYED, SALT_BYTES, Salts, expand, group_seed
from kubewitness.keep.seal.leaf_cut import Group


@dataclass(frozen=True, slots=True)
class Secret:
    """Either the seed of all groups, or for each group its seed, or its salts end to end, or nothing."""

    seed: bytes = b""
    seeds: Mapping[int, bytes] = field(default_factory=dict)
    salts: Mapping[int, bytes] = field(default_factory=dict)

    def expand(self, count: int) -> Salts:
        """Give the salts of a commit of `count` Events."""
        if self.seed:
            return Salts.from_seed(self.seed, count)
        expanded = {group: expand(seed, count if group else 1) for group, seed in self.seeds.items()}
        return Salts(expanded | dict(self.salts))

    def without(self, group: int, count: int, number: int | None = None) -> "Secret":
        """Forget the salt of a group of Event `number` of `count`; of all of them when no number is given."""
        seeds: dict[int, bytes] = {g: group_seed(self.seed, g) for g in Group} if self.seed else {**self.seeds}
        salts = dict(self.salts)
        seed = seeds.pop(group, b"")
        if number is None:
            salts.pop(group, None)
            return Secret(b"", seeds, salts)
        stream = bytearray(expand(seed, count) if seed else salts.get(group, b""))
        stream[number * SALT_BYTES : (number + 1) * SALT_BYTES] = DESTROYED
        return Secret(b"", seeds, salts | {group: bytes(stream)})
