"""
Judge a decoded policy as kube-apiserver does before it starts: same checks, same order, same sentences.

Follows k8s.io/apiserver/pkg/apis/audit/validation: the policy's omitStages, then of each rule its level,
nonResourceURLs, resources, omitStages, and last whether both kinds of request are mixed. Not looked at there, and so
not here: verbs, users, groups, namespaces, resource names, unreachable rules. `check` is stricter.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kubewitness.event.types import Level, Stage
from kubewitness.policy import gotext

LEVELS = tuple(level.value for level in Level)
STAGES = tuple(stage.value for stage in Stage)
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
# the versions that read group "*" as every group
_EVERY_GROUP_SINCE = frozenset(("1.36",))
_MAX_SUBDOMAIN = 253
_SUBDOMAIN_MESSAGE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    f"and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN.pattern}')"
)


@dataclass(frozen=True, slots=True)
class RawGroupResources:
    """One entry of `resources` as decoded."""

    group: str
    resources: tuple[str, ...]
    resource_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RawRule:
    """A rule as decoded: any text may stand where a level or stage belongs."""

    level: str
    users: tuple[str, ...]
    user_groups: tuple[str, ...]
    verbs: tuple[str, ...]
    resources: tuple[RawGroupResources, ...]
    namespaces: tuple[str, ...]
    non_resource_urls: tuple[str, ...]
    omit_stages: tuple[str, ...]
    omit_managed_fields: bool | None


@dataclass(frozen=True, slots=True)
class RawPolicy:
    """A policy as decoded, not yet judged."""

    rules: tuple[RawRule, ...]
    omit_stages: tuple[str, ...]
    omit_managed_fields: bool


@dataclass(frozen=True, slots=True)
class Invalid:
    """One error: where in the document, and the server's sentence."""

    path: tuple[str | int, ...]
    message: str


def validate(policy: RawPolicy, server_version: str) -> tuple[Invalid, ...]:
    """Give the server's errors in its order, repeated sentences once."""
    errors: dict[str, Invalid] = {}
    for error in _policy_errors(policy, server_version):
        errors.setdefault(error.message, error)
    return tuple(errors.values())


def aggregate(errors: Sequence[Invalid]) -> str:
    """Join errors as the server prints them: one stands bare, several in brackets."""
    messages = [error.message for error in errors]
    return messages[0] if len(messages) == 1 else f"[{', '.join(messages)}]"


def _policy_errors(policy: RawPolicy, server_version: str) -> Iterator[Invalid]:
    yield from _stage_errors(policy.omit_stages, ())
    for index, rule in enumerate(policy.rules):
        at = ("rules", index)
        yield from _level_errors(rule.level, at)
        yield from _url_errors(rule.non_resource_urls, at)
        yield from _resource_errors(rule.resources, at, server_version)
        yield from _stage_errors(rule.omit_stages, at)
        if rule.non_resource_urls and (rule.resources or rule.namespaces):
            yield Invalid(
                (*at, "nonResourceURLs"),
                f"rules[{index}].nonResourceURLs: Invalid value: {gotext.marshal(rule.non_resource_urls)}: "
                "rules cannot apply to both regular resources and non-resource URLs",
            )


def _field(path: tuple[str | int, ...]) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _level_errors(level: str, at: tuple[str | int, ...]) -> Iterator[Invalid]:
    path = (*at, "level")
    if not level:
        yield Invalid(path, f"{_field(path)}: Required value")
    elif level not in LEVELS:
        supported = ", ".join(f'"{name}"' for name in LEVELS)
        yield Invalid(path, f"{_field(path)}: Unsupported value: {gotext.quote(level)}: supported values: {supported}")


def _stage_errors(stages: Sequence[str], at: tuple[str | int, ...]) -> Iterator[Invalid]:
    for index, stage in enumerate(stages):
        if stage not in STAGES:
            path = (*at, "omitStages", index)
            allowed = ",".join(STAGES)
            yield Invalid(path, f"{_field(path)}: Invalid value: {gotext.quote(stage)}: allowed stages are {allowed}")


def _url_errors(urls: Sequence[str], at: tuple[str | int, ...]) -> Iterator[Invalid]:
    for index, url in enumerate(urls):
        path = (*at, "nonResourceURLs", index)
        if url == "*":
            continue
        start = f"{_field(path)}: Invalid value: {gotext.quote(url)}: "
        if not url.startswith("/"):
            yield Invalid(path, start + "non-resource URL rules must begin with a '/' character")
        if "*" in url[:-1]:
            yield Invalid(path, start + "non-resource URL wildcards '*' must be the final character of the rule")


def _resource_errors(
    entries: Sequence[RawGroupResources], at: tuple[str | int, ...], server_version: str
) -> Iterator[Invalid]:
    for index, entry in enumerate(entries):
        # the server leaves the index of the entry out of the path it prints
        printed = f"{_field(at)}.resources"
        if entry.group and not (entry.group == "*" and server_version in _EVERY_GROUP_SINCE):
            problems = _subdomain_problems(entry.group)
            if problems:
                yield Invalid(
                    (*at, "resources", index, "group"),
                    f"{printed}.group: Invalid value: {gotext.quote(entry.group)}: {','.join(problems)}",
                )
        if entry.resource_names and not entry.resources:
            yield Invalid(
                (*at, "resources", index, "resourceNames"),
                f"{printed}.resourceNames: Invalid value: {gotext.marshal(entry.resource_names)}: "
                "using resourceNames requires at least one resource",
            )


def _subdomain_problems(text: str) -> list[str]:
    problems = []
    if len(text.encode("utf-8", "surrogateescape")) > _MAX_SUBDOMAIN:
        problems.append(f"must be no more than {_MAX_SUBDOMAIN} characters")
    if not _SUBDOMAIN.fullmatch(text):
        problems.append(_SUBDOMAIN_MESSAGE)
    return problems
