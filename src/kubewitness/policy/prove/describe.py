"""
Regions and requests in words: `get, list of secrets in kube-system by anyone but system:kube-scheduler`.

One line each, in the names a policy uses (`pods/exec`, `deployments.apps`, `/healthz*`). Log and policy text is
returned as it stands; whoever prints it escapes it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from kubewitness.policy.prove.regions import Atom, Dimension, Region, Space
from kubewitness.policy.prove.targets import Form, Target, Triple, bits, path_matches
from kubewitness.policy.types import Attributes, Decision

# longer lists are cut with a count
_MOST = 8
_HOLE = " (but not "


def request_text(request: Attributes) -> str:
    """Say one request: verb, object, who."""
    verb = request.verb or '""'
    if not request.resource_request:
        return f"{verb} {request.path} by {_who(request)}"
    what = _kind(request.api_group, request.resource, request.subresource)
    name = f" {request.name}" if request.name else ""
    where = f" in namespace {request.namespace}" if request.namespace and request.resource != "namespaces" else ""
    return f"{verb} {what}{name}{where} by {_who(request)}"


def decision_text(decision: Decision) -> str:
    """Say a decision: level, stages left out, managed fields, and the rule (from 1)."""
    stages = ", ".join(stage.value for stage in sorted(decision.omit_stages))
    text = decision.level.value
    text += f" without {stages}" if stages else ""
    text += " and managed fields" if decision.omit_managed_fields and stages else ""
    text += " without managed fields" if decision.omit_managed_fields and not stages else ""
    return f"{text} ({rule_text(decision.rule_index)})"


def rule_text(index: int | None) -> str:
    """Say which rule, as kube-apiserver's messages count them: from rules[0]."""
    return "no rule" if index is None else f"rules[{index}]"


def region_text(space: Space, region: Region) -> str:
    """Say a region: only what it asks for."""
    what, *values = region.sets
    parts = [_what_text(space, what)]
    spoken = (
        (Dimension.VERB, space.verbs, "", "any verb", '""'),
        (Dimension.NAMESPACE, space.namespaces, "in namespace ", "any", "(none)"),
        (Dimension.NAME, space.names, "named ", "anything", "(no name)"),
        (Dimension.USER, space.users, "by ", "anyone", '""'),
    )
    for mask, (dimension, atoms, before, every, empty) in zip(values, spoken, strict=True):
        if space.possible[dimension] & ~mask == 0:
            continue
        text = before + _values(atoms, mask, space.possible[dimension], every, empty)
        if dimension is Dimension.VERB:
            parts.insert(0, text + " of")
        else:
            parts.append(text)
    parts += ["in group " + _join(_group_names(space, mask), "or") for mask in region.any_groups]
    if region.no_group:
        parts.append("not in group " + _join(_group_names(space, region.no_group), "or"))
    return " ".join(parts)


def _who(request: Attributes) -> str:
    if request.user is None:
        return "no user (401)"
    groups = ", ".join(request.groups or ())
    return f"{request.user or 'a user named '}" + (f" ({groups})" if groups else "")


def _kind(group: str, resource: str, subresource: str) -> str:
    return resource + (f".{group}" if group else "") + (f"/{subresource}" if subresource else "")


def _group_names(space: Space, mask: int) -> list[str]:
    return [group for index, group in enumerate(space.groups) if mask >> index & 1]


def _join(texts: Iterable[str], word: str = "and") -> str:
    found = list(texts)
    if len(found) > _MOST:
        found = [*found[:_MOST], f"{len(found) - _MOST} more"]
    return found[0] if len(found) == 1 else f"{', '.join(found[:-1])} {word} {found[-1]}"


def _values(atoms: Sequence[Atom], mask: int, possible: int, every: str, empty: str) -> str:
    """Say a set of values: those in it, or every value but those that are not."""
    is_open = any(not atoms[index].is_named for index in bits(mask))
    spoken = possible & (~mask if is_open else mask)
    texts = [_value(atoms[index], empty) for index in bits(spoken) if atoms[index].is_named]
    if not texts:
        return every
    return f"{every} but {_join(texts)}" if is_open else _join(texts, "or")


def _value(atom: Atom, empty: str) -> str:
    return "no user" if atom.text is None else atom.text or empty


def _what_text(space: Space, mask: int) -> str:
    possible = space.possible[Dimension.WHAT]
    resources, paths = space.targets.resources & possible, space.targets.paths & possible
    if (resources | paths) & ~mask == 0:
        return "anything"
    parts: list[str] = []
    if mask & resources:
        parts.append(_part(space, mask & resources, resources, "any resource", _resource_texts))
    if mask & paths:
        parts.append(_part(space, mask & paths, paths, "any non-resource URL", _path_texts))
    return " and ".join(parts)


def _part(space: Space, mask: int, every: int, name: str, texts: Callable[[Space, int], Iterator[str]]) -> str:
    if mask == every:
        return name
    listed = list(texts(space, mask))
    left_out = list(texts(space, every & ~mask))
    if not _has_holes(left_out) and (_has_holes(listed) or len(left_out) < len(listed)):
        return f"{name} but {_join(left_out)}"
    return _join(listed)


def _members(space: Space, mask: int) -> list[Target]:
    return [target for index, target in enumerate(space.targets.classes) if mask >> index & 1]


def _path_texts(space: Space, mask: int) -> Iterator[str]:
    """Say URLs by their patterns: those inside another only with it, and of which pattern what is not meant."""
    members, others = _members(space, mask), _members(space, space.targets.paths & ~mask)
    holes = {target.pattern: _inside(target.pattern, others) for target in members}
    whole = {pattern for pattern, missing in holes.items() if not missing}
    for target in members:
        if not any(path_matches(target.path, pattern) for pattern in whole - {target.pattern}):
            missing = holes[target.pattern]
            yield f"{target.pattern}{_HOLE}{_join(missing, 'or')})" if missing else target.pattern


def _inside(pattern: str, targets: Sequence[Target]) -> list[str]:
    """Give the patterns of the targets that lie inside a pattern, the outermost of them."""
    found = [target for target in targets if target.pattern != pattern and path_matches(target.path, pattern)]
    return [
        target.pattern
        for target in found
        if not any(other is not target and path_matches(target.path, other.pattern) for other in found)
    ]


def _has_holes(texts: Iterable[str]) -> bool:
    return any(_HOLE in text for text in texts)


def _resource_texts(space: Space, mask: int) -> Iterator[str]:
    """Say resources the way a policy would, joining what belongs together."""
    chosen = {triple for target in _members(space, mask) for triple in target.triples}
    by_group: dict[str | None, dict[str | None, set[Triple]]] = {}
    for target in _members(space, space.targets.resources):
        if target.form is not Form.IMPOSSIBLE:
            for triple in target.triples:
                by_group.setdefault(triple.api_group, {}).setdefault(triple.resource, set()).add(triple)
    for group, resources in sorted(by_group.items(), key=lambda item: (item[0] is None, item[0] or "")):
        suffix = "" if group == "" else f".{group or '<other groups>'}"
        if all(triples <= chosen for triples in resources.values()):
            yield f"everything in {'core' if group == '' else group or 'other API groups'}"
            continue
        for resource, triples in sorted(resources.items(), key=lambda item: (item[0] is None, item[0] or "")):
            yield from _subresource_texts((resource or "<other resources>") + suffix, triples, chosen)


def _subresource_texts(name: str, triples: set[Triple], chosen: set[Triple]) -> Iterator[str]:
    if triples <= chosen:
        yield f"{name}/*"
        return
    taken = {triple.subresource for triple in triples & chosen}
    if "" in taken:
        yield name
    if None in taken:
        others = {triple.subresource for triple in triples} - taken - {""}
        yield f"{name}/<other subresources>" if others else f"{name}/<any subresource>"
        taken = taken if others else set()
    yield from (f"{name}/{subresource}" for subresource in sorted(s for s in taken if s))
