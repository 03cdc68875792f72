"""
Which boxes take a value: the sets of many boxes turned around, once for each dimension.

Boxes are numbered, and a set of them is the bits of an integer, as everywhere in the search. Only the values that some
box asks for are listed, so that this is as small as the policy and not the product of rules and values.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from kubewitness.policy.prove.regions import Box, Dimension
from kubewitness.policy.prove.targets import bits


@dataclass(frozen=True, slots=True)
class Membership:
    """For one dimension, the boxes that take an atom: those that take every atom, and those that take this one."""

    everywhere: int
    by_atom: dict[int, int]
    # the atoms that some box takes and another may not
    asked: int

    @classmethod
    def of(cls, boxes: Sequence[Box], dimension: Dimension, every: int) -> "Membership":
        """Turn the boxes' sets around; of values outside `every` nothing is said."""
        everywhere = asked = 0
        by_atom: dict[int, int] = {}
        for index, box in enumerate(boxes):
            atoms = box.sets[dimension] & every
            if atoms == every:
                everywhere |= 1 << index
                continue
            asked |= atoms
            for atom in bits(atoms):
                by_atom[atom] = by_atom.get(atom, 0) | 1 << index
        return cls(everywhere, by_atom, asked)

    def taking(self, atom: int) -> int:
        """Give the boxes that take this atom."""
        return self.by_atom.get(atom, 0) | self.everywhere

    def taking_any(self, atoms: int) -> int:
        """Give the boxes that take one of these atoms or more."""
        boxes = self.everywhere
        for atom in bits(atoms):
            boxes |= self.by_atom.get(atom, 0)
        return boxes
