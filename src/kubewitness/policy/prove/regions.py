"""
The algebra of requests: a region is a product of value sets, one for each member that a rule can look at.

Requests have endlessly many values, policies name finitely many: all values that no policy names behave alike. So each
member (`Dimension`) falls into finitely many classes (atoms), a set of values is the bits of an integer, and a
rule is a union of boxes. Groups are different, because a user has a set of them: each named group is there or not, and
a rule asks for at least one of its own.

A `Domain` is a part of the universe in which the members are independent of each other: the universe is cut into
domains so that what ties members together (a create has no name, a service account's groups follow from
its name) is said once, here, and the search in `answer` knows nothing of it.
"""

import enum
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from kubewitness.policy.prove import universe as facts
from kubewitness.policy.prove.targets import Form, Target, Targets, find_targets, unused
from kubewitness.policy.prove.universe import Identity, Universe, identity_of, service_account_namespace
from kubewitness.policy.types import Attributes, PolicyRule


class Dimension(enum.IntEnum):
    """The members of a request that rules look at. What: the API group, resource and subresource, or the URL path."""

    WHAT = 0
    VERB = 1
    NAMESPACE = 2
    NAME = 3
    USER = 4


Sets = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class Atom:
    """A class of values: one named value, or (not `is_named`) all values that are not named, shown by one of them."""

    rank: int
    text: str | None
    is_named: bool = True


@dataclass(frozen=True, slots=True)
class Box:
    """A product of value sets. `any_group` holds groups of which the user must be in one; 0 asks for none."""

    sets: Sets
    any_group: int = 0

    def holds(self, choice: Sequence[int], groups: int) -> bool:
        """Whether one request, as atoms and groups, lies in it."""
        is_in_groups = not self.any_group or bool(self.any_group & groups)
        return is_in_groups and all(atoms >> atom & 1 for atoms, atom in zip(self.sets, choice, strict=True))


@dataclass(frozen=True, slots=True)
class Domain:
    """A part of the universe whose members are independent of each other.

    `fixed_groups` gives the groups of users whose name decides them; otherwise a user has the `required`
    groups, none of the `forbidden`, and any of the rest.
    """

    sets: Sets
    required: int = 0
    forbidden: int = 0
    fixed_groups: dict[int, int] | None = field(default=None, hash=False)


@dataclass(frozen=True, slots=True)
class Region:
    """A product of value sets with a word about groups: in one of each of `any_groups`, in none of `no_group`."""

    sets: Sets
    any_groups: tuple[int, ...] = ()
    no_group: int = 0

    def meet(self, box: Box) -> "Region":
        """Give what is also in a box."""
        wanted = self.any_groups
        if box.any_group and not any(mask & ~box.any_group == 0 for mask in wanted):
            wanted = (*(mask for mask in wanted if box.any_group & ~mask), box.any_group)
        return Region(meet(self.sets, box.sets), wanted, self.no_group)

    def without(self, box: Box, choice: Sequence[int], groups: int) -> "Region":
        """Cut off a box that does not hold this example, along the member that costs the fewest values."""
        if not all(meet(self.sets, box.sets)):
            return self
        if box.any_group and not box.any_group & ~self.no_group:
            return self
        ways = [
            (-(own & ~other).bit_count() / own.bit_count(), dimension)
            for dimension, (own, other) in enumerate(zip(self.sets, box.sets, strict=True))
            if not other >> choice[dimension] & 1
        ]
        if box.any_group and not box.any_group & groups:
            ways.append((-0.5, len(self.sets)))
        _, dimension = min(ways)
        if dimension == len(self.sets):
            return replace(self, no_group=self.no_group | box.any_group)
        sets = list(self.sets)
        sets[dimension] &= ~box.sets[dimension]
        return replace(self, sets=(sets[0], sets[1], sets[2], sets[3], sets[4]))


def meet(left: Sets, right: Sets) -> Sets:
    """Give the values in both."""
    return left[0] & right[0], left[1] & right[1], left[2] & right[2], left[3] & right[3], left[4] & right[4]


def join(left: Sets, right: Sets) -> Sets:
    """Give the values in either."""
    return left[0] | right[0], left[1] | right[1], left[2] | right[2], left[3] | right[3], left[4] | right[4]


def hull(boxes: Iterable[Box]) -> Sets:
    """Give the values that some of these boxes have."""
    sets: Sets = (0, 0, 0, 0, 0)
    for box in boxes:
        sets = join(sets, box.sets)
    return sets


# the cost of a value in an example; the example with the least sum is the smallest
_VERBS = {verb: rank for rank, verb in enumerate(facts.RESOURCE_VERBS)}
_NAMED = 1
_IDENTITY_RANK = {
    Identity.OTHER: 1,
    Identity.SERVICE_ACCOUNT: 3,
    Identity.NODE: 3,
    Identity.ANONYMOUS: 4,
    Identity.NOBODY: 5,
    Identity.IMPOSSIBLE: 9,
}
GROUP_RANK = 2


class Space:
    """The classes of values that a set of rules can tell apart, in one universe."""

    def __init__(self, rules: Iterable[PolicyRule], universe: Universe = Universe.POSSIBLE) -> None:
        rules = tuple(rules)
        self.universe = universe
        self.targets: Targets = find_targets(rules, universe)
        self.groups: tuple[str, ...] = tuple(sorted({g for rule in rules for g in rule.user_groups}))
        self.verbs = _sorted(self._verbs({v for rule in rules for v in rule.verbs}))
        self.namespaces = _sorted(self._namespaces({n for rule in rules for n in rule.namespaces}))
        self.names = _sorted(self._names({n for rule in rules for e in rule.resources for n in e.resource_names}))
        self.users = _sorted(self._users({u for rule in rules for u in rule.users}))
        self.ranks: tuple[tuple[int, ...], ...] = (
            tuple(target.rank for target in self.targets.classes),
            *(tuple(atom.rank for atom in atoms) for atoms in (self.verbs, self.namespaces, self.names, self.users)),
        )
        self.full: Sets = tuple((1 << len(ranks)) - 1 for ranks in self.ranks)  # type: ignore[assignment]
        self._group_bit = {group: 1 << index for index, group in enumerate(self.groups)}
        self._index = tuple(
            {atom.text: 1 << index for index, atom in enumerate(atoms) if atom.is_named}
            for atoms in (self.verbs, self.namespaces, self.names, self.users)
        )
        self.domains: tuple[Domain, ...] = tuple(self._domains())
        # the values that some request of the universe has
        self.possible: Sets = (0, 0, 0, 0, 0)
        for domain in self.domains:
            self.possible = join(self.possible, domain.sets)

    # --- the values

    def _verbs(self, named: set[str]) -> Iterator[Atom]:
        known = {*facts.RESOURCE_VERBS, *facts.METHODS}
        for verb in named | known:
            yield Atom(_VERBS.get(verb, len(_VERBS)), verb)
        yield Atom(len(_VERBS) + 1, unused("other", named | known), is_named=False)

    def _namespaces(self, named: set[str]) -> Iterator[Atom]:
        for namespace in named | {""}:
            yield Atom(_NAMED, namespace)
        yield Atom(0, unused("default", named), is_named=False)

    def _names(self, named: set[str]) -> Iterator[Atom]:
        for name in named | {""}:
            yield Atom(0 if name == "" else _NAMED, name)
        yield Atom(0, unused("x", named), is_named=False)

    def _users(self, named: set[str]) -> Iterator[Atom]:
        yield Atom(_IDENTITY_RANK[Identity.NOBODY], None)
        if self.universe is Universe.POSSIBLE:
            named = named | {facts.ANONYMOUS}
            yield Atom(2, unused(facts.NODE_PREFIX + "x", named), is_named=False)
            for namespace in self._service_account_namespaces():
                yield Atom(2, unused(f"{facts.SERVICE_ACCOUNT_PREFIX}{namespace}:x", named), is_named=False)
        for user in named:
            yield Atom(_IDENTITY_RANK[identity_of(user)], user)
        yield Atom(0, unused("someone", named), is_named=False)

    def _service_account_namespaces(self) -> tuple[str, ...]:
        """Give the namespaces whose group of service accounts is named, and one whose group is not."""
        prefix = facts.SERVICE_ACCOUNTS_PREFIX
        named = [group.removeprefix(prefix) for group in self.groups if group.startswith(prefix)]
        return (*(n for n in named if n != "" and facts.is_namespace(n)), unused("default", named))

    # --- rules as boxes

    def boxes(self, rule: PolicyRule) -> tuple[Box, ...]:
        """Give the requests a rule matches: the union of these boxes."""
        verbs = self._bits(Dimension.VERB, rule.verbs)
        namespaces = self._bits(Dimension.NAMESPACE, rule.namespaces)
        users = self._bits(Dimension.USER, rule.users)
        groups = sum(self._group_bit[group] for group in set(rule.user_groups))
        return tuple(
            Box((what, verbs, namespaces, names, users), groups) for what, names in self._what(rule) if what != 0
        )

    def _what(self, rule: PolicyRule) -> Iterator[tuple[int, int]]:
        """Pairs of what a rule is about and the names it asks for."""
        any_name = self.full[Dimension.NAME]
        if not rule.resources:
            what = 0 if rule.non_resource_urls else self.targets.resources
            for url in rule.non_resource_urls:
                what |= self.targets.by_url[url]
            if not rule.non_resource_urls and not rule.namespaces:
                what |= self.targets.paths
            yield what, any_name
            return
        by_names: dict[int, int] = {}
        for entry in rule.resources:
            # the server skips the names of an entry without resources
            names = self._bits(Dimension.NAME, entry.resource_names if entry.resources else ())
            by_names[names] = by_names.get(names, 0) | self.targets.matching(entry)
        for names, what in by_names.items():
            yield what, names

    def _bits(self, dimension: Dimension, values: Sequence[str]) -> int:
        if not values:
            return self.full[dimension]
        index = self._index[dimension - 1]
        return sum(index[value] for value in set(values))

    def bits_where(self, atoms: Sequence[Atom], texts: Iterable[str]) -> int:
        """Give the bits of the named atoms with these texts."""
        wanted = set(texts)
        return sum(1 << index for index, atom in enumerate(atoms) if atom.is_named and atom.text in wanted)

    # --- the universe as domains

    def _domains(self) -> Iterator[Domain]:
        identities = tuple(self._identities())
        for what, verbs, namespaces, names in self._requests():
            if not (what and verbs and namespaces and names):
                continue
            for users, required, forbidden, fixed in identities:
                yield Domain((what, verbs, namespaces, names, users), required, forbidden, fixed)

    def _requests(self) -> Iterator[tuple[int, int, int, int]]:
        """Give what, verb, namespace and name, in parts that are independent of each other."""
        no_namespace = self.bits_where(self.namespaces, [""])
        no_name = self.bits_where(self.names, [""])
        _, any_verb, any_namespace, any_name, _ = self.full
        if self.universe is Universe.ANY:
            yield self.targets.paths, any_verb, no_namespace, no_name
            yield self.targets.resources, any_verb, any_namespace, any_name
            return
        yield self.targets.paths, self.bits_where(self.verbs, facts.METHODS), no_namespace, no_name
        namespaces = _where(self.namespaces, facts.is_namespace)
        some_name = _where(self.names, facts.is_name) & ~no_name
        collection, named, below, selected = (
            self.bits_where(self.verbs, verbs)
            for verbs in (facts.COLLECTION_VERBS, facts.NAMED_VERBS, facts.SUBRESOURCE_VERBS, ("list", "watch"))
        )
        main = self._form(Form.MAIN)
        yield main, collection, namespaces, no_name
        yield main, named, namespaces, some_name
        yield self._form(Form.SUBRESOURCE), below, namespaces, some_name
        a_namespace = self._form(Form.NAMESPACE)
        yield a_namespace, collection, no_namespace, no_name
        yield a_namespace, selected, no_namespace, some_name
        on_object = named & ~self.bits_where(self.verbs, ["list"])
        for same_namespaces, same_names in self._namespace_is_name(namespaces & ~no_namespace, some_name):
            yield a_namespace, on_object, same_namespaces, same_names
            yield self._form(Form.NAMESPACE_SUBRESOURCE), below, same_namespaces, same_names

    def _namespace_is_name(self, namespaces: int, names: int) -> Iterator[tuple[int, int]]:
        """Namespace and name where they are the same text, in parts that are independent of each other."""
        named_namespaces = {a.text: 1 << i for i, a in enumerate(self.namespaces) if a.is_named and namespaces >> i & 1}
        named_names = {a.text: 1 << i for i, a in enumerate(self.names) if a.is_named and names >> i & 1}
        others = sum(1 << i for i, a in enumerate(self.namespaces) if not a.is_named)
        other_names = sum(1 << i for i, a in enumerate(self.names) if not a.is_named)
        only = sum(bit for text, bit in named_namespaces.items() if text not in named_names)
        yield only | others, other_names
        yield (
            others,
            sum(bit for t, bit in named_names.items() if t not in named_namespaces and t and facts.is_namespace(t)),
        )
        for text in named_namespaces.keys() & named_names.keys():
            yield named_namespaces[text], named_names[text]

    def _form(self, form: Form) -> int:
        return sum(1 << index for index, target in enumerate(self.targets.classes) if target.form is form)

    def _identities(self) -> Iterator[tuple[int, int, int, dict[int, int] | None]]:
        """Users with the groups they must, must not or exactly do have."""
        nobody = next(1 << i for i, atom in enumerate(self.users) if atom.text is None)
        if self.universe is Universe.ANY:
            yield nobody, 0, 0, {nobody: 0}
            yield self.full[Dimension.USER] & ~nobody, 0, 0, None
            return
        fixed: dict[int, int] = {}
        kinds = dict.fromkeys(Identity, 0)
        for index, atom in enumerate(self.users):
            kind = identity_of(atom.text)
            kinds[kind] |= 1 << index
            if kind is Identity.NOBODY:
                fixed[1 << index] = 0
            elif kind is Identity.ANONYMOUS:
                fixed[1 << index] = self.group_bits([facts.UNAUTHENTICATED])
            elif kind is Identity.SERVICE_ACCOUNT and atom.text is not None:
                namespace = service_account_namespace(atom.text) or ""
                fixed[1 << index] = self.group_bits(facts.service_account_groups(namespace))
        yield sum(fixed), 0, 0, fixed
        forbidden = self.group_bits(group for group in self.groups if not facts.is_free_group(group))
        yield kinds[Identity.NODE], self.group_bits([facts.NODES, facts.AUTHENTICATED]), forbidden, None
        yield kinds[Identity.OTHER], self.group_bits([facts.AUTHENTICATED]), forbidden, None

    def group_bits(self, groups: Iterable[str]) -> int:
        """Give the bits of those of these groups that any rule names."""
        return sum(self._group_bit.get(group, 0) for group in groups)

    # --- requests as atoms and back

    def holds(self, region: Region, request: Attributes) -> bool:
        """Whether a request lies in a region (of the universe it must be)."""
        atoms = self._atoms(request)
        groups = self.group_bits(request.groups or ())
        return (
            all(values >> atom & 1 for values, atom in zip(region.sets, atoms, strict=True))
            and all(groups & mask for mask in region.any_groups)
            and not groups & region.no_group
        )

    def _atoms(self, request: Attributes) -> tuple[int, ...]:
        values = (request.verb, request.namespace, request.name)
        verb, namespace, name = (
            next(i for i, atom in enumerate(atoms) if atom.text == value)
            if value in index
            else next(i for i, atom in enumerate(atoms) if not atom.is_named)
            for atoms, index, value in zip(
                (self.verbs, self.namespaces, self.names), self._index[:3], values, strict=True
            )
        )
        return self.targets.index_of(request), verb, namespace, name, self._user_atom(request.user)

    def _user_atom(self, user: str | None) -> int:
        bit = self._index[Dimension.USER - 1].get(user)
        if bit is not None:
            return bit.bit_length() - 1
        others = {i: atom.text or "" for i, atom in enumerate(self.users) if not atom.is_named}
        alike = [i for i, text in others.items() if identity_of(text) is identity_of(user)] or list(others)
        namespace = service_account_namespace(user or "")
        same = [i for i in alike if service_account_namespace(others[i]) == namespace]
        # an account of a namespace whose group nobody names is the account of any other such namespace
        rest = [
            i
            for i in alike
            if facts.SERVICE_ACCOUNTS_PREFIX + str(service_account_namespace(others[i])) not in self.groups
        ]
        return (same or rest or alike)[0]

    def request(self, choice: Sequence[int], groups: int) -> Attributes:
        """Give the request an example stands for: one atom for each dimension, and the named groups its user has."""
        target: Target = self.targets.classes[choice[Dimension.WHAT]]
        verb = self.verbs[choice[Dimension.VERB]].text or ""
        user = self.users[choice[Dimension.USER]].text
        named = [group for index, group in enumerate(self.groups) if groups >> index & 1]
        has_groups = None if user is None else self._all_groups(user, named)
        if target.form is Form.PATH:
            return Attributes(verb=verb, user=user, groups=has_groups, path=target.path)
        namespace_atom = self.namespaces[choice[Dimension.NAMESPACE]]
        name_atom = self.names[choice[Dimension.NAME]]
        namespace, name = namespace_atom.text or "", name_atom.text or ""
        if target.form in (Form.NAMESPACE, Form.NAMESPACE_SUBRESOURCE) and namespace and name:
            # one text: the named one decides, and when neither is named, a text that is neither
            both = {atom.text for atom in (*self.namespaces, *self.names) if atom.is_named}
            free = unused("default", (text for text in both if text is not None))
            namespace = name = name if name_atom.is_named else namespace if namespace_atom.is_named else free
        return Attributes(
            verb=verb,
            user=user,
            groups=has_groups,
            namespace=namespace,
            api_group=target.api_group,
            api_version="v1",
            resource=target.resource,
            subresource=target.subresource,
            name=name,
            resource_request=True,
            path=_url_path(target, verb, namespace, name) if self.universe is Universe.POSSIBLE else "",
        )

    def _all_groups(self, user: str, named: list[str]) -> tuple[str, ...]:
        """Give the named groups and those that come with the user name, system:authenticated last as on a server."""
        groups = set(named)
        if self.universe is Universe.POSSIBLE:
            kind = identity_of(user)
            namespace = service_account_namespace(user) if kind is Identity.SERVICE_ACCOUNT else None
            if namespace is not None:
                groups |= facts.service_account_groups(namespace)
            groups |= {facts.UNAUTHENTICATED} if kind is Identity.ANONYMOUS else {facts.AUTHENTICATED}
            groups |= {facts.NODES} if kind is Identity.NODE else set()
        return tuple(sorted(groups, key=lambda group: (group == facts.AUTHENTICATED, group)))


def _sorted(atoms: Iterable[Atom]) -> tuple[Atom, ...]:
    return tuple(sorted(atoms, key=lambda atom: (atom.rank, len(atom.text or ""), atom.text or "", atom.is_named)))


def _where(atoms: Sequence[Atom], is_wanted: Callable[[str], bool]) -> int:
    return sum(1 << i for i, atom in enumerate(atoms) if atom.text is not None and is_wanted(atom.text))


def _url_path(target: Target, verb: str, namespace: str, name: str) -> str:
    """Give the URL path RequestInfo would read this from; a name selected by a field selector is not in it."""
    parts = [f"/apis/{target.api_group}/v1" if target.api_group else "/api/v1"]
    by_prefix = verb == "proxy" or (verb == "watch" and bool(name) and (target.subresource or namespace == name))
    if by_prefix:
        parts.append(verb)
    if target.form in (Form.NAMESPACE, Form.NAMESPACE_SUBRESOURCE):
        parts.append("namespaces")
    else:
        parts += ["namespaces", namespace] if namespace else []
        parts.append(target.resource)
    if name and (by_prefix or verb not in ("list", "watch")):
        parts.append(name)
    if target.subresource:
        parts.append(target.subresource)
    return "/".join(parts)
