"""
The search: which rule of each policy decides, for every request of the universe at once.

Walks one domain by asking for one member at a time; what is left of the policies after the answers so far is the set of
boxes still alive, and equal sets are walked once. A box that asks nothing more hides all that follow it, so most sets
stay small. The result is a graph whose leaves name the deciding labels; `smallest` reads the least example off it.

Exact, and in the worst case exponential (the question contains DNF tautology), so it works to a budget of
states and says so when that is spent: `TooHardError`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_

from kubewitness.policy.prove.membership import Membership
from kubewitness.policy.prove.regions import GROUP_RANK, Box, Dimension, Domain, Sets, Space, join, meet
from kubewitness.policy.prove.targets import CLUSTER_SCOPED, bits
from kubewitness.policy.types import Attributes

# about a minute of search; policies of 20 rules need some 2,000 states, 1,000 ordinary ones some 30,000
BUDGET_STATES = 400_000

Labels = tuple[int, ...]


class TooHardError(Exception):
    """The answer was not found within the budget of states."""

    def __init__(self, budget_states: int) -> None:
        super().__init__(f"no answer within {budget_states:,} states of the search: the rules overlap in too many ways")


@dataclass(frozen=True, slots=True, eq=False)
class Leaf:
    """All requests here are decided by these labels, one for each policy asked."""

    labels: Labels
    decided: int


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """The answer depends on one member: sets of its values, each with what follows."""

    dimension: Dimension
    ways: tuple[tuple[int, "Node"], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """The answer depends on groups: (the one the user is in, those the user is not in, what follows)."""

    ways: tuple[tuple[int, int, "Node"], ...]


Node = Leaf | Branch | Groups


@dataclass(frozen=True, slots=True, order=True)
class Example:
    """One request as atoms. Ordered: the sum of ranks first, then the atoms, then the groups."""

    cost: int
    choice: tuple[int, ...]
    groups: int


# a policy as the search wants it: boxes in order, each with a label; what no box takes gets the default
@dataclass(frozen=True, slots=True)
class Ordered:
    """Labelled boxes of which the first that matches decides. Requests with a `skipped` label are not looked into."""

    boxes: tuple[tuple[Box, int], ...]
    default: int
    skipped: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Reached:
    """For each member alone, the values that some request has; and the groups that some user is in."""

    sets: Sets
    groups: int

    def join(self, other: "Reached") -> "Reached":
        """Give what either has."""
        return Reached(join(self.sets, other.sets), self.groups | other.groups)


class Search:
    """Ask one or more ordered lists of boxes at once. A list's `skipped` labels end the walk when it comes first.

    `within` are the values that are asked about, if not all: what has others is left out.
    """

    def __init__(
        self,
        space: Space,
        lists: Sequence[Ordered],
        budget_states: int = BUDGET_STATES,
        within: Sets | None = None,
    ) -> None:
        self.space = space
        self._within = space.full if within is None else within
        self._lists = tuple(lists)
        self._boxes = tuple(box for one in lists for box, _ in one.boxes)
        self._labels = tuple(label for one in lists for _, label in one.boxes)
        self._budget = self._budget_left = budget_states
        self._masks: list[int] = []
        self._label_masks: list[dict[int, int]] = []
        self._members = tuple(Membership.of(self._boxes, d, self._within[d]) for d in Dimension)
        self.without_groups = sum(1 << i for i, box in enumerate(self._boxes) if not box.any_group)
        self.by_group: dict[int, int] = {}
        for index, box in enumerate(self._boxes):
            for group in bits(box.any_group):
                self.by_group[group] = self.by_group.get(group, 0) | 1 << index
        first = 0
        for one in lists:
            self._masks.append(((1 << len(one.boxes)) - 1) << first)
            masks: dict[int, int] = {}
            for offset, (_, label) in enumerate(one.boxes):
                masks[label] = masks.get(label, 0) | 1 << (first + offset)
            self._label_masks.append(masks)
            first += len(one.boxes)

    def walks(self) -> "Iterator[Walk]":
        """One walk for each domain of the universe that has some of the values asked about."""
        for domain in self.space.domains:
            sets = meet(domain.sets, self._within)
            if all(sets):
                yield Walk(self, domain, sets)

    def smallest(self, is_wanted: Callable[[Labels], bool]) -> dict[Labels, Example]:
        """Give the smallest example for every wanted combination of labels that some request gets."""
        found: dict[Labels, Example] = {}
        for walk in self.walks():
            _keep_smallest(found, walk.smallest(is_wanted))
        return found

    def labels(self) -> set[Labels]:
        """Every combination of labels that some request gets."""
        return {labels for walk in self.walks() for labels in walk.labels()}

    def reached(self) -> dict[Labels, Reached]:
        """Give for every combination of labels the values of each member that its requests have."""
        found: dict[Labels, Reached] = {}
        for walk in self.walks():
            for labels, reached in walk.reached().items():
                found[labels] = found[labels].join(reached) if labels in found else reached
        return found

    def meeting(self, sets: Sets) -> tuple[tuple[tuple[Box, int], ...], ...]:
        """Give for each list the boxes that have values in common with these sets, with their labels."""
        boxes = (1 << len(self._boxes)) - 1
        for members, atoms, full in zip(self._members, sets, self.space.full, strict=True):
            if atoms != full:
                boxes &= members.taking_any(atoms)
        return tuple(tuple((self._boxes[i], self._labels[i]) for i in bits(boxes & mask)) for mask in self._masks)

    def spend(self) -> None:
        """Count one state against the budget."""
        self._budget_left -= 1
        if self._budget_left < 0:
            raise TooHardError(self._budget)

    def request(self, example: Example) -> Attributes:
        """Give the request an example stands for; of a cluster-scoped kind without a namespace, if that is the same."""
        target = self.space.targets.classes[example.choice[Dimension.WHAT]]
        if target.resource in CLUSTER_SCOPED:
            nowhere = next(i for i, atom in enumerate(self.space.namespaces) if atom.text == "")
            other = _with(example.choice, Dimension.NAMESPACE, nowhere)
            if self._decide(other, example.groups) == self._decide(example.choice, example.groups):
                return self.space.request(other, example.groups)
        return self.space.request(example.choice, example.groups)

    def _decide(self, choice: Sequence[int], groups: int) -> Labels:
        """Give the labels of one request, box by box."""
        return tuple(
            next((label for box, label in one.boxes if box.holds(choice, groups)), one.default) for one in self._lists
        )


def _keep_smallest(found: dict[Labels, Example], more: dict[Labels, Example]) -> None:
    for labels, example in more.items():
        best = found.get(labels)
        if best is None or example < best:
            found[labels] = example


class Walk:
    """The search inside one domain."""

    def __init__(self, search: Search, domain: Domain, sets: Sets) -> None:
        self._search = search
        self._domain = domain
        self._sets = sets
        self._nodes: dict[tuple[int, int, int, int], Node] = {}
        self._loose: dict[int, int] = {}
        self._classes: list[dict[int, int]] = [self._classes_of(dimension) for dimension in Dimension]
        self._taken: dict[tuple[Dimension, int], int] = {}
        alive = (1 << len(search._boxes)) - 1
        self._constrained: list[int] = []
        for classes in self._classes:
            anywhere, everywhere = 0, -1
            for mask in classes:
                anywhere |= mask
                everywhere &= mask
            alive &= anywhere
            self._constrained.append(anywhere & ~everywhere)
        unsettled = 0
        self._any_group: dict[int, int] = {}
        if domain.fixed_groups is None:
            alive, unsettled = self._ask_groups(alive)
        self.root = self._node(alive, unsettled, 0, 0)

    def _classes_of(self, dimension: Dimension) -> dict[int, int]:
        """Give the atoms of one dimension by the boxes that take them."""
        members, atoms = self._search._members[dimension], self._sets[dimension]
        classes: dict[int, int] = {}
        if not self._is_by_groups(dimension):
            others = atoms & ~members.asked
            classes = {members.everywhere: others} if others else {}
            atoms &= members.asked
        for atom in bits(atoms):
            mask = self._taking(dimension, atom)
            classes[mask] = classes.get(mask, 0) | 1 << atom
        return classes

    def _is_by_groups(self, dimension: Dimension) -> bool:
        """Whether boxes that ask for groups take an atom of this dimension by the groups it stands for."""
        return dimension is Dimension.USER and self._domain.fixed_groups is not None and bool(self._search.by_group)

    def _taking(self, dimension: Dimension, atom: int) -> int:
        """Give the boxes that take an atom; a user with fixed groups is taken by no box that asks for others."""
        mask = self._search._members[dimension].taking(atom)
        if self._domain.fixed_groups is not None and self._is_by_groups(dimension):
            return self._with_groups(mask, self._domain.fixed_groups[1 << atom])
        return mask

    def _taken_by(self, dimension: Dimension, index: int) -> int:
        """Give the atoms that a box takes: the other way around."""
        atoms = self._taken.get((dimension, index))
        if atoms is None:
            box, fixed = self._search._boxes[index], self._domain.fixed_groups
            atoms = self._sets[dimension] & box.sets[dimension]
            if dimension is Dimension.USER and fixed is not None and box.any_group:
                atoms = sum(1 << atom for atom in bits(atoms) if fixed[1 << atom] & box.any_group)
            self._taken[dimension, index] = atoms
        return atoms

    def _with_groups(self, mask: int, groups: int) -> int:
        """Those of these boxes that a user with exactly these groups satisfies."""
        satisfied = self._search.without_groups
        for group in bits(groups):
            satisfied |= self._search.by_group.get(group, 0)
        return mask & satisfied

    def _ask_groups(self, alive: int) -> tuple[int, int]:
        """Boxes that may match, and those of them whose groups are not settled by the domain."""
        unsettled = 0
        for index in bits(alive):
            wanted = self._search._boxes[index].any_group
            if not wanted or wanted & self._domain.required:
                continue
            wanted &= ~self._domain.forbidden
            if wanted:
                self._any_group[index] = wanted
                unsettled |= 1 << index
            else:
                alive &= ~(1 << index)
        return alive, unsettled

    # --- the graph

    def _node(self, alive: int, unsettled: int, decided: int, absent: int) -> Node:
        alive, certain = self._without_hidden(alive, unsettled, decided)
        unsettled &= alive
        key = (alive, unsettled, decided, absent and absent & self._groups_of(unsettled))
        node = self._nodes.get(key)
        if node is None:
            self._search.spend()
            node = self._nodes[key] = self._expand(alive, unsettled, certain, decided, absent)
        return node

    def _groups_of(self, boxes: int) -> int:
        groups = 0
        for index in bits(boxes):
            groups |= self._any_group[index]
        return groups

    def _without_hidden(self, alive: int, unsettled: int, decided: int) -> tuple[int, int]:
        """Drop the boxes that a certain box hides, and those that say the same as the certain box after them."""
        loose = self._loose.get(decided)
        if loose is None:
            loose = -1
            for dimension in Dimension:
                if not decided >> dimension & 1:
                    loose &= ~self._constrained[dimension]
            self._loose[decided] = loose
        certain = alive & ~unsettled & loose
        for number, mask in enumerate(self._search._masks):
            sure = certain & mask
            if sure:
                sure &= -sure
                alive &= ~mask | (sure * 2 - 1)
                label = self._search._labels[sure.bit_length() - 1]
            else:
                label = self._search._lists[number].default
            others = alive & mask & ~self._search._label_masks[number].get(label, 0)
            # everything after the last box with another label leads to the same label
            alive &= ~mask | ((1 << others.bit_length()) - 1) | sure
        return alive, certain & alive

    def _expand(self, alive: int, unsettled: int, certain: int, decided: int, absent: int) -> Node:
        labels: list[int] = []
        ask = 0
        for number, mask in enumerate(self._search._masks):
            rest = alive & mask
            low = rest & -rest
            if low & ~certain:
                ask = ask or low
                continue
            label = self._search._labels[low.bit_length() - 1] if low else self._search._lists[number].default
            labels.append(label)
            if label in self._search._lists[number].skipped and not ask:
                return Leaf((*labels, *(-1 for _ in self._search._masks[number + 1 :])), decided)
        if not ask:
            return Leaf(tuple(labels), decided)
        open_dimensions = [d for d in Dimension if not decided >> d & 1 and ask & self._constrained[d]]
        if open_dimensions:
            dimension = max(open_dimensions, key=lambda d: (alive & self._constrained[d]).bit_count())
            return self._branch(dimension, alive, unsettled, decided, absent)
        return self._branch_on_groups(ask.bit_length() - 1, alive, unsettled, decided, absent)

    def _branch(self, dimension: Dimension, alive: int, unsettled: int, decided: int, absent: int) -> Branch:
        merged: dict[int, tuple[int, Node]] = {}
        for left, atoms in self._split(dimension, alive).items():
            node = self._node(left, unsettled & left, decided | 1 << dimension, absent)
            before = merged.get(id(node))
            merged[id(node)] = (atoms | before[0] if before else atoms, node)
        return Branch(dimension, tuple(merged.values()))

    def _split(self, dimension: Dimension, alive: int) -> dict[int, int]:
        """Give the atoms of one dimension by the boxes still alive that take them.

        Class by class, or, where the living boxes ask for fewer atoms than there are classes, by those atoms.
        """
        ways: dict[int, int] = {}
        classes = self._classes[dimension]
        asking = alive & self._constrained[dimension]
        if asking.bit_count() < len(classes):
            asked = reduce(or_, (self._taken_by(dimension, index) for index in bits(asking)), 0)
            if asked.bit_count() < len(classes):
                for atom in bits(asked):
                    left = alive & self._taking(dimension, atom)
                    ways[left] = ways.get(left, 0) | 1 << atom
                if others := self._sets[dimension] & ~asked:
                    ways[alive & ~asking] = others
                return ways
        for mask, atoms in classes.items():
            left = alive & mask
            ways[left] = ways.get(left, 0) | atoms
        return ways

    def _branch_on_groups(self, index: int, alive: int, unsettled: int, decided: int, absent: int) -> Groups:
        """Is the user in one of the groups that this box asks for? In the first, or not there but in the second, ..."""
        ways: list[tuple[int, int, Node]] = []
        for group in bits(self._any_group[index] & ~absent):
            bit = 1 << group
            settled = sum(1 << i for i in bits(unsettled) if self._any_group[i] & bit)
            ways.append((bit, absent, self._node(alive, unsettled & ~settled, decided, absent)))
            absent |= bit
            impossible = sum(1 << i for i in bits(unsettled) if not self._any_group[i] & ~absent)
            alive &= ~impossible
            unsettled &= ~impossible
        ways.append((0, absent, self._node(alive, unsettled, decided, absent)))
        return Groups(tuple(ways))

    # --- what the graph says

    def labels(self) -> set[Labels]:
        """Give the labels of all leaves."""
        return {node.labels for node in self._nodes.values() if isinstance(node, Leaf)}

    def reached(self) -> dict[Labels, Reached]:
        """Give for each leaf label the values of each member on the ways to it."""
        fixed = self._domain.fixed_groups
        found = self._reached(self.root, {})
        if fixed is None:
            return {labels: Reached(r.sets, r.groups | self._domain.required) for labels, r in found.items()}
        groups = {atom: groups for atom, groups in fixed.items() if groups}
        return {
            labels: Reached(r.sets, reduce(or_, (g for atom, g in groups.items() if atom & r.sets[Dimension.USER]), 0))
            for labels, r in found.items()
        }

    def _reached(self, node: Node, done: dict[int, dict[Labels, Reached]]) -> dict[Labels, Reached]:
        """Give what is reached below a node; members asked above it are empty yet."""
        found = done.get(id(node))
        if found is not None:
            return found
        found = {}
        if isinstance(node, Leaf):
            sets = [0 if node.decided >> d & 1 else self._sets[d] for d in Dimension]
            free = (1 << len(self._search.space.groups)) - 1 & ~self._domain.forbidden
            found[node.labels] = Reached((sets[0], sets[1], sets[2], sets[3], sets[4]), free)
        else:
            for added, absent, below in self._ways(node):
                for labels, reached in self._reached(below, done).items():
                    more = Reached(join(reached.sets, added), reached.groups & ~absent)
                    found[labels] = found[labels].join(more) if labels in found else more
        done[id(node)] = found
        return found

    @staticmethod
    def _ways(node: Branch | Groups) -> Iterator[tuple[Sets, int, Node]]:
        """Give the ways down from a node: the values it asks for, the groups it rules out, what follows."""
        if isinstance(node, Groups):
            for _, absent, below in node.ways:
                yield (0, 0, 0, 0, 0), absent, below
        else:
            for atoms, below in node.ways:
                sets = [0, 0, 0, 0, 0]
                sets[node.dimension] = atoms
                yield (sets[0], sets[1], sets[2], sets[3], sets[4]), 0, below

    def smallest(self, is_wanted: Callable[[Labels], bool]) -> dict[Labels, Example]:
        """Give the smallest example of each wanted leaf label."""
        if not any(is_wanted(labels) for labels in self.labels()):
            return {}
        partial = self._partial(self.root, is_wanted, {})
        required = self._domain.required
        fixed = self._domain.fixed_groups
        found: dict[Labels, Example] = {}
        for labels, example in partial.items():
            groups = example.groups | required if fixed is None else fixed[1 << example.choice[Dimension.USER]]
            found[labels] = Example(example.cost, example.choice, groups)
        return found

    def _partial(
        self, node: Node, is_wanted: Callable[[Labels], bool], done: dict[int, dict[Labels, Example]]
    ) -> dict[Labels, Example]:
        """Give the smallest example below a node; members asked above it are -1 and cost nothing yet."""
        found = done.get(id(node))
        if found is not None:
            return found
        found = {}
        if isinstance(node, Leaf):
            if is_wanted(node.labels):
                choice = tuple(-1 if node.decided >> d & 1 else self._least(self._sets[d]) for d in Dimension)
                cost = sum(self._search.space.ranks[d][choice[d]] for d in Dimension if choice[d] >= 0)
                found[node.labels] = Example(cost, choice, 0)
        elif isinstance(node, Branch):
            ranks = self._search.space.ranks[node.dimension]
            for atoms, below in node.ways:
                least = self._least(atoms)
                _keep_smallest(
                    found,
                    {
                        labels: Example(e.cost + ranks[least], _with(e.choice, node.dimension, least), e.groups)
                        for labels, e in self._partial(below, is_wanted, done).items()
                    },
                )
        else:
            for present, _, below in node.ways:
                _keep_smallest(
                    found,
                    {
                        labels: Example(e.cost + (GROUP_RANK if present else 0), e.choice, e.groups | present)
                        for labels, e in self._partial(below, is_wanted, done).items()
                    },
                )
        done[id(node)] = found
        return found

    @staticmethod
    def _least(atoms: int) -> int:
        """Give the first of these atoms: they are numbered by rank."""
        return (atoms & -atoms).bit_length() - 1


def _with(choice: tuple[int, ...], dimension: Dimension, atom: int) -> tuple[int, ...]:
    return (*choice[:dimension], atom, *choice[dimension + 1 :])
